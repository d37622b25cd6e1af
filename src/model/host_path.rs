//! A path on the host: any bytes except NUL, and their printable text.

use crate::model::text::{kept, printable, raw};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A path as the kernel has it (path_resolution(7)), which may not be valid text. It dereferences to the text
/// that is printed and serialized, where control characters are escaped. [`HostPath::path`] is the path for
/// opening the file.
#[derive(Clone, Default)]
pub struct HostPath {
    bytes: Vec<u8>,
    shown: String,
}

impl HostPath {
    /// A path of these bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self { shown: printable(&bytes), bytes }
    }

    /// A path from text that [`kept`] has made of bytes: arguments and configurations.
    pub fn from_kept(text: &str) -> Self {
        Self::new(raw(text))
    }

    /// The path for opening the file.
    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.bytes))
    }

    /// The path as text from which the bytes can be restored.
    pub fn kept(&self) -> String {
        kept(&self.bytes)
    }
}

impl From<&Path> for HostPath {
    fn from(path: &Path) -> Self {
        Self::new(path.as_os_str().as_bytes())
    }
}

impl From<&str> for HostPath {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for HostPath {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl std::str::FromStr for HostPath {
    type Err = ();

    /// The path at a place of a sentence.
    ///
    /// # Errors
    /// It does not begin like an absolute path, or has white space, as a command line has.
    fn from_str(text: &str) -> Result<Self, ()> {
        let is_path = text.starts_with(['/', '~']) && !text.contains(char::is_whitespace);
        if is_path { Ok(Self::new(text)) } else { Err(()) }
    }
}

impl From<HostPath> for PathBuf {
    fn from(path: HostPath) -> Self {
        Self::from(OsString::from_vec(path.bytes))
    }
}

impl From<HostPath> for String {
    fn from(path: HostPath) -> Self {
        path.shown
    }
}

impl From<&HostPath> for String {
    fn from(path: &HostPath) -> Self {
        path.shown.clone()
    }
}

impl From<HostPath> for serde_json::Value {
    fn from(path: HostPath) -> Self {
        Self::String(path.shown)
    }
}

impl Deref for HostPath {
    type Target = str;

    fn deref(&self) -> &str {
        &self.shown
    }
}

impl fmt::Display for HostPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.shown)
    }
}

impl fmt::Debug for HostPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.shown, formatter)
    }
}

impl Hash for HostPath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

impl PartialEq<str> for HostPath {
    fn eq(&self, other: &str) -> bool {
        self.shown == other
    }
}

impl PartialEq<&str> for HostPath {
    fn eq(&self, other: &&str) -> bool {
        self.shown == *other
    }
}

impl PartialEq for HostPath {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for HostPath {}

impl PartialOrd for HostPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for HostPath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes.cmp(&other.bytes)
    }
}

impl Serialize for HostPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown)
    }
}

impl<'de> Deserialize<'de> for HostPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(String::deserialize(deserializer)?))
    }
}

impl JsonSchema for HostPath {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        String::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_every_byte_and_escapes_unsafe_bytes_for_display() {
        let bytes = b"/home/jos\xe9/tab\tx";
        let path = HostPath::new(&bytes[..]);
        assert_eq!(path.path().as_os_str().as_bytes(), bytes);
        assert_eq!(&*path, "/home/jos\\xe9/tab\\u{9}x");
        assert_eq!(serde_json::to_string(&path).unwrap(), r#""/home/jos\\xe9/tab\\u{9}x""#);
        assert_eq!(HostPath::from_kept(&path.kept()), path);
        // The printed text of one path can be the name of another.
        assert_ne!(HostPath::from(&*path), path);
    }
}
