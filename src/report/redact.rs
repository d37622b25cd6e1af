//! Takes out of an envelope whose machine it is: names of people and hosts, and addresses. What a diagnosis needs stays:
//! which texts are equal, and of what class an address is.

use super::emptied;
use crate::model::Envelope;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddrV4};

/// Directories below which each user has a home of that name.
const HOMES: &[&str] = &["/home/", "/Users/", "/var/home/", "/export/home/"];
/// Users that every system has, or that belong to the server: their names say nothing.
const KNOWN_USERS: &[&str] = &["root", "daemon", "nobody", "www-data", "hermes"];

/// An envelope to be kept or shown. One that cannot be walked comes back empty.
pub fn redacted(envelope: Envelope) -> Envelope {
    let Ok(mut value) = serde_json::to_value(&envelope) else { return emptied(envelope) };
    let mut names = Names::default();
    // The server's own user first, so that `~` is his home.
    let owners = envelope.servers.iter().filter_map(|server| server.process.as_ref()?.user.as_deref());
    owners.for_each(|user| names.learn_user(user));
    names.learn(&value);
    names.replace(&mut value);
    serde_json::from_value(value).unwrap_or_else(|_| emptied(envelope))
}

/// Names by what they become: the same in the whole envelope.
#[derive(Default)]
struct Names {
    users: BTreeMap<String, usize>,
    hosts: BTreeMap<String, usize>,
    private: BTreeMap<IpAddr, usize>,
    public: BTreeMap<IpAddr, usize>,
}

fn number<T: Ord>(known: &mut BTreeMap<T, usize>, name: T) -> usize {
    let next = known.len() + 1;
    *known.entry(name).or_insert(next)
}

impl Names {
    /// Users, from the processes that belong to them and from the names of homes.
    fn learn(&mut self, value: &Value) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(user)) = map.get("user") {
                    self.learn_user(user);
                }
                map.values().for_each(|value| self.learn(value));
            }
            Value::Array(values) => values.iter().for_each(|value| self.learn(value)),
            Value::String(text) => {
                for home in HOMES {
                    for (at, _) in text.match_indices(home) {
                        let rest = text.get(at + home.len()..).unwrap_or_default();
                        self.learn_user(component(rest));
                    }
                }
            }
            _ => {}
        }
    }

    fn learn_user(&mut self, user: &str) {
        if !user.is_empty() && !KNOWN_USERS.contains(&user) {
            number(&mut self.users, user.to_owned());
        }
    }

    fn replace(&mut self, value: &mut Value) {
        match value {
            Value::Object(map) => {
                for (key, value) in map.iter_mut() {
                    match value {
                        Value::String(user) if key == "user" => {
                            if let Some(number) = self.users.get(user.as_str()) {
                                *user = format!("user-{number}");
                            }
                        }
                        value => self.replace(value),
                    }
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.replace(value)),
            Value::String(text) => *text = self.text(text),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) -> String {
        let text = self.hosts(&self.paths(text));
        self.addresses(&text)
    }

    /// Homes, and components of paths that are a user's name.
    fn paths(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        'text: while let Some(first) = rest.chars().next() {
            if first == '/' {
                for home in HOMES {
                    let Some(after) = rest.strip_prefix(home) else { continue };
                    let name = component(after);
                    if let (Some(number), true) = (self.users.get(name), is_path_start(&out)) {
                        // One home is that of the server's user, whatever he is called.
                        out.push('~');
                        if *number > 1 {
                            out.push_str(&format!("user-{number}"));
                        }
                        rest = after.get(name.len()..).unwrap_or_default();
                        continue 'text;
                    }
                }
                let after = rest.get(1..).unwrap_or_default();
                let name = component(after);
                if let Some(number) = self.users.get(name) {
                    out.push_str(&format!("/user-{number}"));
                    rest = after.get(name.len()..).unwrap_or_default();
                    continue;
                }
            }
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
        out
    }

    /// Hosts in URLs; addresses there are left to [`Self::addresses`].
    fn hosts(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("://") {
            let (before, after) = rest.split_at(at + 3);
            out.push_str(before);
            let end = after
                .find(|character: char| !(character.is_alphanumeric() || "-._".contains(character)))
                .unwrap_or(after.len());
            let (host, more) = after.split_at(end);
            let is_local = matches!(host, "" | "localhost");
            if is_local || host.parse::<IpAddr>().is_ok() {
                out.push_str(host);
            } else {
                out.push_str(&format!("host-{}", number(&mut self.hosts, host.to_owned())));
            }
            rest = more;
        }
        out + rest
    }

    /// Addresses that are neither of this host nor of no host, by class.
    fn addresses(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let is_part = |character: char| character.is_ascii_hexdigit() || matches!(character, '.' | ':');
        let mut rest = text;
        while let Some(start) = rest.find(is_part) {
            let (before, run) = rest.split_at(start);
            out.push_str(before);
            let end = run.find(|character| !is_part(character)).unwrap_or(run.len());
            let (word, more) = run.split_at(end);
            // A sentence may go on behind it.
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
            IpAddr::V4(four) => four.is_private() || four.is_link_local(),
            IpAddr::V6(six) => six.is_unique_local() || six.is_unicast_link_local(),
        };
        match is_private {
            true => format!("private-{}", number(&mut self.private, plain)),
            false => format!("public-{}", number(&mut self.public, plain)),
        }
    }
}

/// The first component of a path.
fn component(path: &str) -> &str {
    let end = path.find(|character: char| {
        character == '/' || character.is_whitespace() || "'\"`,;:()[]{}<>=&|".contains(character)
    });
    path.get(..end.unwrap_or(path.len())).unwrap_or_default()
}

/// Whether a path that begins here is absolute, and no part of another.
fn is_path_start(before: &str) -> bool {
    !before.ends_with(|character: char| character.is_alphanumeric() || matches!(character, '.' | '_' | '-' | '/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Gap, GapReason, HostFacts};
    use std::time::SystemTime;

    fn shown(texts: &[&str]) -> Vec<String> {
        let mut envelope = crate::report::envelope("check", HostFacts::default(), SystemTime::UNIX_EPOCH);
        envelope.gaps = texts.iter().map(|text| Gap::new(*text, GapReason::Timeout, "x")).collect();
        redacted(envelope).gaps.into_iter().map(|gap| gap.what).collect()
    }

    #[test]
    fn people_hosts_and_addresses_are_hidden_and_stay_apart() {
        assert_eq!(
            shown(&[
                "/home/ann/.hermes/state.db",
                "python3 /Users/bob/hermes-webui/server.py --home=/home/ann/.hermes",
                "/srv/ann/x and /srv/annex",
                "10.0.0.5:443, 192.168.1.2 and 10.0.0.5.",
                "[2001:db8::1]:443 to 93.184.216.34:80 from [::1]:8787, 127.0.0.1:8787 and 0.0.0.0",
                "https://box.example.org:8443/health and http://localhost:8787",
                "started 2026-11-24T20:00:00Z, sqlite 3.45.1, /root/.hermes",
            ]),
            [
                "~/.hermes/state.db",
                "python3 ~user-2/hermes-webui/server.py --home=~/.hermes",
                "/srv/user-1/x and /srv/annex",
                "private-1:443, private-2 and private-1.",
                "[public-1]:443 to public-2:80 from [::1]:8787, 127.0.0.1:8787 and 0.0.0.0",
                "https://host-1:8443/health and http://localhost:8787",
                "started 2026-11-24T20:00:00Z, sqlite 3.45.1, /root/.hermes",
            ]
        );
    }

    /// Whoever reads it comes to the same result.
    #[test]
    fn a_redacted_host_is_judged_the_same() {
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let mut seen = 0;
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let envelope = crate::collect::replay::read(&std::fs::read(&path).unwrap()).unwrap();
            let mut hidden = redacted(envelope.clone());
            assert_eq!(hidden.servers.len(), envelope.servers.len(), "{}", path.display());
            for (hidden, mut server) in hidden.servers.iter_mut().zip(envelope.servers) {
                crate::diagnose::judge(hidden);
                crate::diagnose::judge(&mut server);
                assert_eq!((hidden.status, &hidden.root_causes), (server.status, &server.root_causes));
            }
            seen += 1;
        }
        assert!(seen > 20, "{seen}");
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".{0,200}") {
            let _ = shown(&[&text, &format!("/home/{text}"), &format!("http://{text}")]);
        }
    }
}
