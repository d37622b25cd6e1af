//! Replaces names by placeholders: the same for the same name in one report, numbered in order of occurrence.

use super::Level;
use super::known::{MAX_NUMBER, identifies_nothing, is_ending, is_known_name};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// Directories that contain the homes of users, named after the users.
pub(super) const HOMES: &[&str] = &["/home/", "/Users/", "/var/home/", "/export/home/"];
/// Users that every system has, or that belong to the server: their names identify nothing.
const KNOWN_USERS: &[&str] = &["root", "daemon", "nobody", "www-data", "hermes"];
/// Suffixes of systemd units, systemd.unit(5).
pub(super) const UNIT_ENDINGS: &[&str] =
    &[".service", ".slice", ".scope", ".socket", ".target", ".timer", ".mount", ".path"];
/// Suffixes of the companion files of a SQLite database, which are kept so that they still belong to it.
pub(super) const DATABASE_SUFFIXES: &[&str] = &["-wal", "-shm", "-journal"];
/// Maximum number of digits in a placeholder; a longer number could be a foreign one.
const MAX_PLACEHOLDER: usize = 5;
/// Minimum length of an identifier in hexadecimal: of containers, invocations, commits.
pub(super) const SHORTEST_IDENTIFIER: usize = 12;

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
            Self::Word => "other words",
        }
    }
}

/// The words that are kept in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// Those of errors, states and settings of other programs.
    OfPrograms,
    /// Those of shells and of Hermes' commands.
    OfCommands,
}

/// Names and their placeholders.
pub struct Names {
    pub(super) level: Level,
    /// Names of this machine, in lower case.
    pub(super) hosts: Vec<String>,
    /// The shift of all times at the stricter level.
    pub(super) moved: Option<(SystemTime, SystemTime)>,
    pub(super) users: BTreeMap<String, usize>,
    /// The user of the server, with the home `~`; without a server the first user that occurs.
    pub(super) owner: Option<String>,
    /// The directory of the first home of each user.
    pub(super) homes: HashMap<String, &'static str>,
    pub(super) addresses: HashMap<(Kind, IpAddr), usize>,
    pub(super) hidden: HashMap<String, String>,
    /// Names of units, programs and containers, which are hidden in sentences too, although a sentence of this program
    /// can have the same word.
    pub(super) programs: BTreeSet<String>,
    /// The last number used, by kind. Placeholders that were already in the report are not used again.
    pub(super) last: HashMap<Kind, usize>,
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

    /// The level of redaction.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Whether a part of a text is the name of a user or host of this machine.
    pub fn holds_name(&self, text: &str) -> bool {
        let is_separator = |character: char| !character.is_alphanumeric();
        text.split(is_separator).any(|part| self.users.contains_key(part) && !identifies_nothing(part))
    }

    /// Whether a text is the name of a user, host or program of this machine.
    pub fn is_name(&self, text: &str) -> bool {
        self.users.contains_key(text) || self.programs.contains(text) || self.is_this_host(text)
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

    pub(super) fn next(&mut self, kind: Kind) -> usize {
        let last = self.last.entry(kind).or_insert(0);
        *last += 1;
        *last
    }

    /// The placeholder of a name, whatever its kind at the first occurrence.
    pub(super) fn hide(&mut self, name: &str, kind: Kind, around: impl Fn(String) -> String) -> String {
        if let Some(known) = self.hidden.get(name) {
            return known.clone();
        }
        let placeholder = around(format!("{}-{}", kind.prefix(), self.next(kind)));
        self.hidden.insert(name.to_owned(), placeholder.clone());
        placeholder
    }

    pub(super) fn simply(&mut self, name: &str, kind: Kind) -> String {
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
}

pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_NUMBER && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The number of a placeholder of this kind.
pub fn numbered(word: &str, kind: Kind) -> Option<usize> {
    let number = word.strip_prefix(kind.prefix())?.strip_prefix('-')?;
    let is_plain = number.len() <= MAX_PLACEHOLDER && is_number(number) && !number.starts_with('0');
    if is_plain { number.parse().ok() } else { None }
}

/// Whether a word is already a placeholder, in a report that is written again.
pub(super) fn is_placeholder(word: &str) -> bool {
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
