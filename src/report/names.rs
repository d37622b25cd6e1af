//! Replaces names by placeholders: the same for the same name in one report, numbered in order of occurrence.

use super::redact::Level;
use super::vocabulary::{
    MAX_NUMBER, identifies_nothing, in_python_library, is_command_word, is_ending, is_kernel_name, is_known_name,
    is_prose, is_system_name,
};
use crate::model::Timestamp;
use crate::parse::mask::{self, MASK};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddrV4};
use std::time::{Duration, SystemTime};

/// Directories that contain the homes of users, named after the users.
const HOMES: &[&str] = &["/home/", "/Users/", "/var/home/", "/export/home/"];
/// Users that every system has, or that belong to the server: their names identify nothing.
const KNOWN_USERS: &[&str] = &["root", "daemon", "nobody", "www-data", "hermes"];
/// Suffixes of systemd units, systemd.unit(5).
const UNIT_ENDINGS: &[&str] = &[".service", ".slice", ".scope", ".socket", ".target", ".timer", ".mount", ".path"];
/// Suffixes of the companion files of a SQLite database, which are kept so that they still belong to it.
const DATABASE_SUFFIXES: &[&str] = &["-wal", "-shm", "-journal"];
/// Maximum number of digits in a placeholder; a longer number could be a foreign one.
const MAX_PLACEHOLDER: usize = 5;
/// Minimum length of an identifier in hexadecimal: of containers, invocations, commits.
const SHORTEST_IDENTIFIER: usize = 12;

/// Kind of redacted text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    User,
    Host,
    Private,
    Public,
    Directory,
    File,
    Unit,
    Name,
    Flag,
    Argument,
    Identifier,
    Number,
    Word,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::User,
        Self::Host,
        Self::Private,
        Self::Public,
        Self::Directory,
        Self::File,
        Self::Unit,
        Self::Name,
        Self::Flag,
        Self::Argument,
        Self::Identifier,
        Self::Number,
        Self::Word,
    ];

    /// The placeholder without its number.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Host => "host",
            Self::Private => "private",
            Self::Public => "public",
            Self::Directory => "dir",
            Self::File => "file",
            Self::Unit => "unit",
            Self::Name => "name",
            Self::Flag => "flag",
            Self::Argument => "arg",
            Self::Identifier => "id",
            Self::Number => "number",
            Self::Word => "word",
        }
    }

    /// Meaning of the placeholder, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::User => "names of users",
            Self::Host => "names of hosts",
            Self::Private => "private addresses",
            Self::Public => "public addresses",
            Self::Directory => "names of directories and files that not every Hermes host has",
            Self::File => "names of files, by their ending",
            Self::Unit => "names of units",
            Self::Name => "names of programs, processes and services",
            Self::Flag => "names of options",
            Self::Argument => "words of command lines",
            Self::Identifier => "identifiers",
            Self::Number => "long numbers",
            Self::Word => "words that this program does not use",
        }
    }
}

/// Kind of text, which determines the words that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// Sentences of this program and of the programs that it queried.
    Prose,
    /// A command line.
    Command,
}

/// Names and their placeholders.
pub struct Names {
    level: Level,
    /// Names of this machine, in lower case.
    hosts: Vec<String>,
    /// The shift of all times at the stricter level.
    moved: Option<(SystemTime, SystemTime)>,
    users: BTreeMap<String, usize>,
    /// The user of the server, with the home `~`; without a server the first user that occurs.
    owner: Option<String>,
    /// The directory of the first home of each user.
    homes: HashMap<String, &'static str>,
    addresses: HashMap<(Kind, IpAddr), usize>,
    hidden: HashMap<String, String>,
    /// Names of units, programs and containers, which are hidden in sentences too, although a sentence of this program
    /// can have the same word.
    programs: BTreeSet<String>,
    /// The last number used, by kind. Placeholders that were already in the report are not used again.
    last: HashMap<Kind, usize>,
    /// Paths that cannot be separated from the words around them, longest first, with their replacements.
    whole: BTreeMap<(Reverse<usize>, String), String>,
}

impl Names {
    /// An empty table. If `started` is given, the stricter level moves all times, so that this one becomes the
    /// start of the year 2000.
    pub fn new(level: Level, hosts: &[String], started: Option<SystemTime>) -> Self {
        let hosts =
            hosts.iter().map(|host| host.to_ascii_lowercase()).filter(|host| !identifies_nothing(host)).collect();
        let millennium = SystemTime::UNIX_EPOCH + Duration::from_secs(946_684_800);
        let moved = started.filter(|_| level == Level::Paranoid).map(|started| (started, millennium));
        Self {
            level,
            hosts,
            moved,
            users: BTreeMap::new(),
            owner: None,
            homes: HashMap::new(),
            addresses: HashMap::new(),
            hidden: HashMap::new(),
            programs: BTreeSet::new(),
            last: HashMap::new(),
            whole: BTreeMap::new(),
        }
    }

    /// Adds the name of a user, from a process or a home.
    pub fn learn_user(&mut self, user: &str) {
        // A number is a user id, which does not identify a system.
        let is_name = !user.is_empty() && !is_number(user) && !is_placeholder(user);
        if is_name && !KNOWN_USERS.contains(&user) && !self.users.contains_key(user) {
            let number = self.next(Kind::User);
            self.users.insert(user.to_owned(), number);
        }
    }

    /// Adds the server's user.
    pub fn learn_owner(&mut self, user: &str) {
        self.learn_user(user);
        self.owner.get_or_insert_with(|| user.to_owned());
    }

    /// Adds the homes in a text.
    pub fn learn_homes(&mut self, text: &str) {
        for home in HOMES {
            for (at, _) in text.match_indices(home) {
                let before = text.get(..at).unwrap_or_default();
                let name = component(text.get(at + home.len()..).unwrap_or_default()).to_owned();
                // In the middle of a path, the match may be any directory of that name, and the next component a
                // file that every Hermes host has.
                let is_file = name.rsplit_once('.').is_some_and(|(_, ending)| is_ending(ending));
                if !is_path_start(before) && (is_file || is_known_name(&name)) {
                    continue;
                }
                self.learn_user(&name);
                if is_path_start(before) && self.users.contains_key(&name) {
                    self.homes.entry(name).or_insert(home);
                }
            }
        }
    }

    /// Adds the name of a unit, program, service directory or container.
    pub fn learn_program(&mut self, name: &str) {
        if name.contains(char::is_whitespace) {
            return;
        }
        let last = name.rsplit('/').next().unwrap_or_default();
        for part in last.split(':') {
            let stem = UNIT_ENDINGS.iter().find_map(|ending| part.strip_suffix(ending)).unwrap_or(part);
            let stem = stem.split('@').next().unwrap_or_default();
            let is_name = stem.len() > 1 && !is_number(stem) && !is_placeholder(stem) && !identifies_nothing(stem);
            if is_name {
                self.programs.insert(stem.to_owned());
            }
        }
    }

    /// Adds existing placeholders, so that none is used twice.
    pub fn learn_placeholders(&mut self, text: &str) {
        for word in text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '-')) {
            for kind in Kind::ALL {
                if let Some(number) = numbered(word, kind) {
                    let last = self.last.entry(kind).or_insert(0);
                    *last = (*last).max(number);
                }
            }
        }
    }

    /// Adds a path with white space or punctuation: in a sentence it must be matched as a whole.
    pub fn learn_path(&mut self, path: &str) {
        let is_plain = |character: char| character.is_alphanumeric() || "/._-~@+:".contains(character);
        if path.len() > 1 && !path.chars().all(is_plain) {
            let shown = self.path(path);
            self.whole.insert((Reverse(path.len()), path.to_owned()), shown);
        }
    }

    /// The placeholders that were used, each with the name that it replaces, by kind and number.
    pub fn map(&self) -> Vec<(String, String)> {
        let users =
            self.users.iter().map(|(user, number)| (format!("{}-{number}", Kind::User.prefix()), user.clone()));
        let addresses = self
            .addresses
            .iter()
            .map(|((kind, address), number)| (format!("{}-{number}", kind.prefix()), address.to_string()));
        let hidden = self.hidden.iter().map(|(name, placeholder)| (placeholder.clone(), name.clone()));
        let mut map: Vec<(String, String)> = users.chain(addresses).chain(hidden).collect();
        let order = |placeholder: &str| {
            let plain = placeholder.strip_prefix("hermes-").unwrap_or(placeholder);
            let (kind, rest) = plain.split_once('-').unwrap_or((plain, ""));
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            (kind.to_owned(), digits.parse::<usize>().unwrap_or(0))
        };
        map.sort_by_key(|(placeholder, name)| (order(placeholder), name.clone()));
        map
    }

    fn next(&mut self, kind: Kind) -> usize {
        let last = self.last.entry(kind).or_insert(0);
        *last += 1;
        *last
    }

    /// The placeholder of a name, whatever its kind at the first occurrence.
    fn hide(&mut self, name: &str, kind: Kind, around: impl Fn(String) -> String) -> String {
        if let Some(known) = self.hidden.get(name) {
            return known.clone();
        }
        let placeholder = around(format!("{}-{}", kind.prefix(), self.next(kind)));
        self.hidden.insert(name.to_owned(), placeholder.clone());
        placeholder
    }

    fn simply(&mut self, name: &str, kind: Kind) -> String {
        self.hide(name, kind, |placeholder| placeholder)
    }

    /// Redacts the name of a user.
    pub fn user(&mut self, user: &str) -> String {
        match self.users.get(user) {
            Some(number) => format!("user-{number}"),
            None if KNOWN_USERS.contains(&user) || is_placeholder(user) => user.to_owned(),
            None => self.simply(user, Kind::User),
        }
    }

    /// Redacts a path, absolute or not.
    pub fn path(&mut self, path: &str) -> String {
        let (path, deleted) = match path.strip_suffix(" (deleted)") {
            Some(path) => (path, " (deleted)"),
            None => (path, ""),
        };
        let home = HOMES.iter().find_map(|home| Some((*home, path.strip_prefix(home)?)));
        let (start, rest) = match home {
            Some((home, after)) => {
                let (user, rest) =
                    after.split_once('/').map_or((after, ""), |(user, _)| (user, &after[user.len()..]));
                match self.users.get(user) {
                    // The home of the server's user is `~`, whatever the name of the user.
                    Some(number) if self.homes.get(user).is_none_or(|first| *first == home) => {
                        let is_own = self.owner.as_deref().map_or(*number == 1, |owner| owner == user);
                        (if is_own { "~".to_owned() } else { format!("~user-{number}") }, rest)
                    }
                    _ => (String::new(), path),
                }
            }
            None => (String::new(), path),
        };
        let library = in_python_library(rest).filter(|_| self.level != Level::Paranoid);
        let library = library.unwrap_or_default();
        let rest = rest.strip_suffix(library).unwrap_or(rest);
        let count = rest.matches('/').count();
        let is_of_kernel = ["/proc/", "/sys/"].iter().any(|start| path.starts_with(start));
        let one = |(index, part): (usize, &str)| match is_of_kernel && is_kernel_name(part) {
            true => part.to_owned(),
            false => self.component(part, index == count),
        };
        let parts: Vec<String> = rest.split('/').enumerate().map(one).collect();
        format!("{start}{}{library}{deleted}", parts.join("/"))
    }

    /// Redacts one component of a path.
    fn component(&mut self, name: &str, is_last: bool) -> String {
        if matches!(name, "" | "." | ".." | "~" | MASK) || is_placeholder(name) || name.starts_with("~user-") {
            return name.to_owned();
        }
        if let Some(number) = self.users.get(name.trim_start_matches('~')) {
            return format!("user-{number}");
        }
        let stays = match self.level {
            // The last component shows the kind of file.
            Level::Paranoid if !is_last => is_system_name(name),
            _ => is_known_name(name),
        };
        // Names that the kernel assigns: shared memory, and files renamed by NFS and FUSE.
        let is_kernels = name.strip_prefix("SYSV").is_some_and(is_hexadecimal)
            || name == "[aio]"
            || name.strip_prefix('#').is_some_and(is_number);
        if let Some(ending) = UNIT_ENDINGS.iter().find(|ending| name.ends_with(**ending)) {
            return self.unit(name, ending);
        }
        if stays || is_kernels {
            return name.to_owned();
        }
        let suffix = DATABASE_SUFFIXES.iter().find(|suffix| name.ends_with(**suffix)).copied().unwrap_or("");
        let stem = name.strip_suffix(suffix).unwrap_or(name);
        match stem.rsplit_once('.') {
            Some((before, ending)) if !before.is_empty() && is_ending(ending) => {
                let base = self.hide(stem, Kind::File, |placeholder| format!("{placeholder}.{ending}"));
                format!("{base}{suffix}")
            }
            _ => self.simply(name, Kind::Directory),
        }
    }

    /// Redacts the name of a unit. It remains visible whether it is one of Hermes.
    fn unit(&mut self, name: &str, ending: &str) -> String {
        let stem = name.strip_suffix(ending).unwrap_or(name);
        let stays = match self.level {
            Level::Paranoid => is_system_name(stem),
            _ => is_known_name(stem),
        };
        if stays || is_placeholder(stem) {
            return name.to_owned();
        }
        let before = if stem.contains("hermes") { "hermes-" } else { "" };
        self.hide(name, Kind::Unit, |placeholder| format!("{before}{placeholder}{ending}"))
    }

    /// Redacts the name of a program, process, service, label or container; for some supervisors it is a path
    /// or a command line.
    pub fn name(&mut self, name: &str) -> String {
        if name.starts_with('/') && !name.contains(' ') {
            return self.path(name);
        }
        if name.contains(char::is_whitespace) || name.contains('/') {
            return self.text(name, Text::Command);
        }
        if let Some((group, rest)) = name.split_once(':') {
            return format!("{}:{}", self.name(group), self.name(rest));
        }
        if let Some(ending) = UNIT_ENDINGS.iter().find(|ending| name.ends_with(**ending)) {
            return self.unit(name, ending);
        }
        if name.is_empty() || name == MASK || is_placeholder(name) || is_known_name(name) {
            return name.to_owned();
        }
        if let Some(number) = self.users.get(name) {
            return format!("user-{number}");
        }
        if name.len() >= SHORTEST_IDENTIFIER && is_hexadecimal(name) {
            return self.simply(name, Kind::Identifier);
        }
        self.simply(name, Kind::Name)
    }

    /// Redacts the kind of a supervisor with its name, in the form `systemd a.service` or `systemd:a.service`.
    pub fn titled(&mut self, text: &str) -> String {
        match text.find([' ', ':']) {
            Some(at) if is_prose(&text[..at]) => {
                let separator = text.get(at..=at).unwrap_or_default();
                format!("{}{separator}{}", &text[..at], self.name(text.get(at + 1..).unwrap_or_default()))
            }
            _ => self.text(text, Text::Prose),
        }
    }

    /// Redacts a URL, or its path and query.
    pub fn url(&mut self, url: &str) -> String {
        let url = mask::url(url);
        let (start, rest) = match url.split_once("://") {
            Some((scheme, rest)) => {
                let scheme = if is_prose(scheme) { scheme } else { "scheme" };
                let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                let (authority, rest) = rest.split_at(end);
                (format!("{scheme}://{}", self.authority(authority)), rest.to_owned())
            }
            None => (String::new(), url.clone()),
        };
        let (path, query) = match rest.find(['?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest.as_str(), ""),
        };
        // A route of Hermes consists of words that this program knows.
        let segments: Vec<String> = path
            .split('/')
            .map(
                |part| if part.is_empty() || is_prose(part) { part.to_owned() } else { self.component(part, true) },
            )
            .collect();
        format!("{start}{}{}", segments.join("/"), self.text(query, Text::Prose))
    }

    fn authority(&mut self, authority: &str) -> String {
        let (user, host) = match authority.rsplit_once('@') {
            Some((_, host)) => (format!("{MASK}@"), host),
            None => (String::new(), authority),
        };
        if host.starts_with('[') {
            return format!("{user}{}", self.addresses(host));
        }
        let (host, port) = match host.split_once(':') {
            Some((host, port)) if is_number(port) => (host, format!(":{port}")),
            Some((host, _)) => (host, String::new()),
            None => (host, String::new()),
        };
        let host = match host.parse::<IpAddr>() {
            Ok(ip) => self.address(ip),
            Err(_) if matches!(host, "" | "localhost") || is_placeholder(host) => host.to_owned(),
            Err(_) => self.simply(host, Kind::Host),
        };
        format!("{user}{host}{port}")
    }

    /// Redacts a sentence or a command line.
    pub fn text(&mut self, text: &str, what: Text) -> String {
        let whole = std::mem::take(&mut self.whole);
        let mut replaced = text.to_owned();
        for ((_, path), shown) in &whole {
            if replaced.contains(path.as_str()) {
                replaced = replaced.replace(path.as_str(), shown);
            }
        }
        self.whole = whole;
        let text = self.addresses(&replaced);
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
                false => format!("{}{}", self.token(trimmed, what), &token[trimmed.len()..]),
            };
            out.push_str(&shown);
            rest = after;
        }
        out
    }

    /// Redacts one token between white space and punctuation.
    fn token(&mut self, token: &str, what: Text) -> String {
        if token.is_empty() || is_placeholder(token) {
            return token.to_owned();
        }
        if let Some(at) = Timestamp::from(token).time() {
            return self.time(at, token);
        }
        let name = token.trim_start_matches('-');
        if name.len() < token.len() {
            let dashes = &token[..token.len() - name.len()];
            // A short option may be followed directly by its value.
            let stays = name.is_empty() || is_placeholder(name) || name.len() == 1 || is_prose(name);
            let shown = if stays { name.to_owned() } else { self.simply(name, Kind::Flag) };
            return format!("{dashes}{shown}");
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
        if let Some(separator) = [':', '@'].into_iter().find(|separator| self.divides(token, *separator)) {
            let parts: Vec<String> = token.split(separator).map(|part| self.token(part, what)).collect();
            return parts.join(&separator.to_string());
        }
        if token.starts_with('/') || token.starts_with('~') {
            return self.path(token);
        }
        if token.contains('/') {
            let stays = what == Text::Prose && token.split('/').all(|part| part.is_empty() || is_prose(part));
            return if stays { token.to_owned() } else { self.path(token) };
        }
        if let Some(ending) =
            UNIT_ENDINGS.iter().find(|ending| token.len() > ending.len() && token.ends_with(**ending))
        {
            return self.unit(token, ending);
        }
        let stays = match what {
            Text::Prose => is_prose(token) || is_known_name(token),
            Text::Command => is_command_word(token),
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
        self.simply(token, if what == Text::Prose { Kind::Word } else { Kind::Argument })
    }

    /// Whether a token is several, with this character between them. An `@` divides only where a known name is beside it:
    /// elsewhere it is part of an address of mail, or of the name of a unit.
    fn divides(&self, token: &str, separator: char) -> bool {
        let is_name =
            |part: &str| self.users.contains_key(part) || self.programs.contains(part) || self.is_this_host(part);
        token.contains(separator) && (separator == ':' || token.split(separator).any(is_name))
    }

    fn is_this_host(&self, token: &str) -> bool {
        let token = token.to_ascii_lowercase();
        self.hosts.iter().any(|host| {
            token == *host || token.strip_prefix(host.as_str()).is_some_and(|rest| rest.starts_with('.'))
        })
    }

    /// A time; the stricter level moves it with all others.
    fn time(&self, at: SystemTime, text: &str) -> String {
        let Some((from, to)) = self.moved else { return text.to_owned() };
        let moved = match at.duration_since(from) {
            Ok(after) => to.checked_add(after),
            Err(before) => to.checked_sub(before.duration()),
        };
        let write = if text.contains('.') { Timestamp::millis } else { Timestamp::seconds };
        moved.and_then(write).map_or_else(|| MASK.to_owned(), |at| at.to_string())
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
                _ => out.push_str(word),
            }
            rest = more;
        }
        out + rest
    }

    fn address(&mut self, ip: IpAddr) -> String {
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
fn is_version(token: &str) -> bool {
    let token = token.strip_prefix('v').unwrap_or(token);
    token.contains('.') && token.split('.').all(is_number)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_NUMBER && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_hexadecimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The number of a placeholder of this kind.
pub fn numbered(word: &str, kind: Kind) -> Option<usize> {
    let number = word.strip_prefix(kind.prefix())?.strip_prefix('-')?;
    let is_plain = number.len() <= MAX_PLACEHOLDER && is_number(number) && !number.starts_with('0');
    if is_plain { number.parse().ok() } else { None }
}

/// Whether a word is already a placeholder, in a report that is written again.
fn is_placeholder(word: &str) -> bool {
    let word = word.strip_prefix('~').unwrap_or(word);
    let word = word.strip_prefix("hermes-").unwrap_or(word);
    let word = DATABASE_SUFFIXES.iter().find_map(|suffix| word.strip_suffix(suffix)).unwrap_or(word);
    let stem = match word.split_once('.') {
        Some((stem, ending)) if is_ending(ending) => stem,
        Some((stem, ending)) if UNIT_ENDINGS.iter().any(|unit| unit.strip_prefix('.') == Some(ending)) => stem,
        Some(_) => return false,
        None => word,
    };
    Kind::ALL.into_iter().any(|kind| numbered(stem, kind).is_some())
}

/// The first component of a path.
fn component(path: &str) -> &str {
    let end = path.find(|character: char| {
        character == '/' || character.is_whitespace() || "'\"`,;:()[]{}<>=&|".contains(character)
    });
    path.get(..end.unwrap_or(path.len())).unwrap_or_default()
}

/// Whether a path that begins here is absolute, and not part of another.
fn is_path_start(before: &str) -> bool {
    !before.ends_with(|character: char| character.is_alphanumeric() || matches!(character, '.' | '_' | '-' | '/'))
}
