//! Redaction of paths, names of programs, and URLs.

use super::Level;
use super::known::*;
use super::names::*;
use crate::parse::mask::{self, MASK};
use std::net::{IpAddr, Ipv6Addr};

impl Names {
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
    pub(super) fn component(&mut self, name: &str, is_last: bool) -> String {
        if matches!(name, "" | "." | ".." | "~" | MASK) || is_placeholder(name) || name.starts_with("~user-") {
            return name.to_owned();
        }
        if let Some(number) = self.users.get(name.trim_start_matches('~')) {
            return format!("user-{number}");
        }
        let stays = !self.holds_name(name)
            && match self.level {
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
    pub(super) fn unit(&mut self, name: &str, ending: &str) -> String {
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
            return self.text(name, Words::OfCommands);
        }
        let is_address = |text: &str| text.parse::<Ipv6Addr>().is_ok();
        if self.addresses(name) != name || name.split_once(':').is_some_and(|(_, rest)| is_address(rest)) {
            return self.text(name, Words::OfCommands);
        }
        if name.contains(':') {
            let parts: Vec<String> = name.split(':').map(|part| self.name(part)).collect();
            return parts.join(":");
        }
        if let Some(ending) = UNIT_ENDINGS.iter().find(|ending| name.ends_with(**ending)) {
            return self.unit(name, ending);
        }
        if name.is_empty() || name == MASK || is_placeholder(name) || is_known_name(name) && !self.holds_name(name)
        {
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

    /// Redacts a URL, or its path and query.
    pub fn url(&mut self, url: &str) -> String {
        let url = mask::url(url);
        let (start, rest) = match url.split_once("://") {
            Some((scheme, rest)) => {
                let scheme = if matches!(scheme, "http" | "https") { scheme } else { "scheme" };
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
        // A route of Hermes consists of known words.
        let mut segments = Vec::new();
        for part in path.split('/') {
            segments.push(match part {
                "" => String::new(),
                _ if part.contains(':') => self.text(part, Words::OfPrograms),
                _ if is_word(part) && !self.holds_name(part) => part.to_owned(),
                _ => self.component(part, true),
            });
        }
        format!("{start}{}{}", segments.join("/"), self.text(query, Words::OfPrograms))
    }

    /// Redacts the name of a host.
    pub fn host(&mut self, host: &str) -> String {
        match host.parse::<IpAddr>() {
            Ok(ip) => self.address(ip),
            Err(_) if matches!(host, "" | "localhost") || is_placeholder(host) => host.to_owned(),
            Err(_) => self.simply(host, Kind::Host),
        }
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
        let host = self.host(host);
        format!("{user}{host}{port}")
    }
}

pub(super) fn is_hexadecimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
