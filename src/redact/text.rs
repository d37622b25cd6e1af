//! Redaction of text of other programs, command lines and addresses.

use super::known::*;
use super::names::*;
use super::path::is_hexadecimal;
use crate::model::Timestamp;
use crate::parse::mask::MASK;
use std::net::{IpAddr, Ipv6Addr, SocketAddrV4};
use std::time::{Duration, SystemTime};

impl Names {
    /// Redacts text of another program, or a command line.
    pub fn text(&mut self, text: &str, words: Words) -> String {
        let text = self.addresses(text);
        let mut out = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(first) = rest.chars().next() {
            if !is_token(first) {
                // Characters other than letters identify nothing, except pictographs, of which there are
                // thousands.
                let is_harmless = first.is_ascii() || "…·→≥≤≠≈×–—’‘“”│├└─◀".contains(first);
                out.push(if is_harmless { first } else { '?' });
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
                continue;
            }
            let end = rest.find(|character| !is_token(character)).unwrap_or(rest.len());
            let is_url = rest.get(..end).is_some_and(|token| token.contains("://"));
            let end = match is_url {
                true => rest.find(|c: char| c.is_whitespace() || "'\"<>`|".contains(c)).unwrap_or(rest.len()),
                false => end,
            };
            let (token, after) = rest.split_at(end);
            let trimmed = token.trim_end_matches(['.', ':']);
            let shown = match is_url {
                true => self.url(token),
                false => format!("{}{}", self.token(trimmed, words), &token[trimmed.len()..]),
            };
            out.push_str(&shown);
            rest = after;
        }
        out
    }

    /// Redacts one token between white space and punctuation.
    fn token(&mut self, token: &str, words: Words) -> String {
        if token.is_empty() || is_placeholder(token) {
            return token.to_owned();
        }
        let time = Timestamp::from(token);
        if time.time().is_some() {
            return self.time(&time).to_string();
        }
        if let Ok(ip) = token.parse::<IpAddr>() {
            return self.address(ip);
        }
        let name = token.trim_start_matches('-');
        if name.len() < token.len() {
            let dashes = &token[..token.len() - name.len()];
            // A short option may be followed directly by its value.
            let stays = name.is_empty()
                || is_placeholder(name)
                || name.len() == 1
                || is_word(name)
                || is_command_word(name);
            // Options for another machine, which a rule reads.
            let (kept, name) = name.strip_prefix("ssh-").map_or(("", name), |rest| ("ssh-", rest));
            let stays = stays || is_placeholder(name);
            let shown = if stays { name.to_owned() } else { self.simply(name, Kind::Flag) };
            return format!("{dashes}{kept}{shown}");
        }
        if let Some(number) = self.users.get(token).filter(|_| !identifies_nothing(token)) {
            return format!("user-{number}");
        }
        if self.is_this_host(token) {
            return self.simply(&token.to_ascii_lowercase(), Kind::Host);
        }
        if self.programs.contains(token) {
            return self.simply(token, Kind::Name);
        }
        if let Some((first, rest)) = token.split_once(':')
            && let Ok(ip) = rest.parse::<Ipv6Addr>()
        {
            return format!("{}:{}", self.token(first, words), self.address(ip.into()));
        }
        if let Some(separator) = [':', '@'].into_iter().find(|separator| self.divides(token, *separator)) {
            let parts: Vec<String> = token.split(separator).map(|part| self.token(part, words)).collect();
            return parts.join(&separator.to_string());
        }
        if token.starts_with('/') || token.starts_with('~') {
            return self.path(token);
        }
        if token.contains('/') {
            let stays = words == Words::OfPrograms
                && token.split('/').all(|part| part.is_empty() || is_word(part) && !self.holds_name(part));
            return if stays { token.to_owned() } else { self.path(token) };
        }
        if let Some(ending) =
            UNIT_ENDINGS.iter().find(|ending| token.len() > ending.len() && token.ends_with(**ending))
        {
            return self.unit(token, ending);
        }
        let stays = !self.holds_name(token)
            && match words {
                Words::OfPrograms => is_word(token) || is_known_name(token),
                Words::OfCommands => is_command_word(token),
            };
        if stays || !self.hidden.contains_key(token) && is_version(token) {
            return token.to_owned();
        }
        if token.bytes().all(|byte| byte.is_ascii_digit()) {
            return self.simply(token, Kind::Number);
        }
        if token.len() >= SHORTEST_IDENTIFIER && is_hexadecimal(token) {
            return self.simply(token, Kind::Identifier);
        }
        if let Some((_, ending)) = token.rsplit_once('.') {
            let stem = DATABASE_SUFFIXES.iter().find_map(|suffix| ending.strip_suffix(suffix)).unwrap_or(ending);
            if is_ending(stem) {
                return self.component(token, true);
            }
            if ending.len() > 1 && ending.bytes().all(|byte| byte.is_ascii_alphabetic()) {
                return self.simply(token, Kind::Host);
            }
        }
        self.simply(token, if words == Words::OfPrograms { Kind::Word } else { Kind::Argument })
    }

    /// Whether a token is several, with this character between them. An `@` divides only where a known name is beside it:
    /// elsewhere it is part of an address of mail, or of the name of a unit.
    fn divides(&self, token: &str, separator: char) -> bool {
        token.contains(separator) && (separator == ':' || token.split(separator).any(|part| self.is_name(part)))
    }

    pub(super) fn is_this_host(&self, token: &str) -> bool {
        let token = token.to_ascii_lowercase();
        self.hosts.iter().any(|host| {
            token == *host || token.strip_prefix(host.as_str()).is_some_and(|rest| rest.starts_with('.'))
        })
    }

    /// A time; the stricter level moves it with all others.
    pub fn time(&self, time: &Timestamp) -> Timestamp {
        let Some((from, to)) = self.moved else { return time.clone() };
        let moved = time.time().and_then(|at| match at.duration_since(from) {
            Ok(after) => to.checked_add(after),
            Err(before) => to.checked_sub(before.duration()),
        });
        let write = if time.as_str().contains('.') { Timestamp::millis } else { Timestamp::seconds };
        moved.and_then(write).unwrap_or_else(|| MASK.into())
    }

    /// The same for nanoseconds since 1970.
    pub fn nanoseconds(&self, at: u64) -> u64 {
        let Some((from, to)) = self.moved else { return at };
        let moved = (SystemTime::UNIX_EPOCH + Duration::from_nanos(at))
            .duration_since(from)
            .map_or_else(|before| to.checked_sub(before.duration()), |after| to.checked_add(after));
        let since = moved.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        since.and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or(0)
    }

    /// Redacts addresses other than those that are the same on every host (loopback, unspecified), by class.
    pub fn addresses(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let is_part = |character: char| character.is_ascii_hexdigit() || matches!(character, '.' | ':');
        let mut rest = text;
        while let Some(start) = rest.find(is_part) {
            let (before, run) = rest.split_at(start);
            out.push_str(before);
            let end = run.find(|character| !is_part(character)).unwrap_or(run.len());
            let (word, more) = run.split_at(end);
            // The address may be at the end of a sentence.
            let address = word.trim_end_matches(['.', ':']);
            // With a port, where it is no IPv4 address: `::ffff:10.0.0.1:443`.
            let with_port = address.rsplit_once(':').filter(|(_, port)| is_number(port));
            let six = with_port.and_then(|(ip, port)| Some((ip.parse::<IpAddr>().ok()?, port)));
            let is_whole = !out.ends_with(char::is_alphanumeric) && !more.starts_with(char::is_alphanumeric);
            match (is_whole, address.parse::<IpAddr>(), address.parse::<SocketAddrV4>()) {
                (true, Ok(ip), _) => {
                    out.push_str(&self.address(ip));
                    out.push_str(word.get(address.len()..).unwrap_or_default());
                }
                (true, _, Ok(socket)) => {
                    out.push_str(&format!("{}:{}", self.address((*socket.ip()).into()), socket.port()));
                    out.push_str(word.get(address.len()..).unwrap_or_default());
                }
                (true, ..) if six.is_some_and(|(ip, _)| ip.is_ipv6()) && address.contains('.') => {
                    let (ip, port) = six.unwrap_or((IpAddr::from([0, 0, 0, 0]), ""));
                    out.push_str(&format!("{}:{port}", self.address(ip)));
                    out.push_str(word.get(address.len()..).unwrap_or_default());
                }
                _ => out.push_str(word),
            }
            rest = more;
        }
        out + rest
    }

    pub(super) fn address(&mut self, ip: IpAddr) -> String {
        let plain = match ip {
            IpAddr::V6(six) => six.to_ipv4_mapped().map_or(ip, IpAddr::V4),
            IpAddr::V4(_) => ip,
        };
        if plain.is_loopback() || plain.is_unspecified() {
            return ip.to_string();
        }
        let is_private = match plain {
            // 100.64.0.0/10 is used by overlay networks (RFC 6598).
            IpAddr::V4(four) => {
                four.is_private()
                    || four.is_link_local()
                    || matches!(four.octets(), [100, second, ..] if second & 0xc0 == 0x40)
            }
            IpAddr::V6(six) => six.is_unique_local() || six.is_unicast_link_local(),
        };
        let kind = if is_private { Kind::Private } else { Kind::Public };
        let number = match self.addresses.get(&(kind, plain)) {
            Some(number) => *number,
            None => {
                let number = self.next(kind);
                self.addresses.insert((kind, plain), number);
                number
            }
        };
        format!("{}-{number}", kind.prefix())
    }
}

/// Whether a character belongs to a token. Quotes, brackets, `=` and similar characters separate tokens.
fn is_token(character: char) -> bool {
    character.is_alphanumeric() || "_.@~/-:".contains(character)
}

/// For example `3.45.1`, `0.51.900-rc1`: numbers with dots.
pub(super) fn is_version(token: &str) -> bool {
    let token = token.strip_prefix('v').unwrap_or(token);
    token.contains('.') && token.split('.').all(is_number) && !holds_address(token)
}
