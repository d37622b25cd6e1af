//! Sentences of this program with values of the host in them. Each sentence is a variant of an enum with a typed field for
//! each value, so a report hides the values and keeps the words. In JSON it is the sentence.

use std::cell::Cell;

/// The texts at the `{name}` places of a template, with these names, if the rest of `text` equals the template.
pub(super) fn values<'t>(template: &'static str, text: &'t str) -> Option<Vec<(&'static str, &'t str)>> {
    let mut pieces = template.split('{');
    let mut rest = text.strip_prefix(pieces.next()?)?;
    let mut found: Vec<(&str, &str)> = Vec::new();
    let mut pieces = pieces.map(|piece| piece.split_once('}').unwrap_or((piece, ""))).peekable();
    while let Some((name, after)) = pieces.next() {
        let end = match pieces.peek() {
            None => rest.len().checked_sub(after.len()).filter(|end| rest.get(*end..) == Some(after))?,
            Some(_) => rest.find(after)?,
        };
        let value = rest.get(..end)?;
        if found.iter().any(|(known, other)| *known == name && *other != value) {
            return None;
        }
        found.push((name, value));
        rest = rest.get(end + after.len()..)?;
    }
    rest.is_empty().then_some(found)
}

/// The longest sentence that is parsed, in bytes.
const MAX_LENGTH: usize = 2048;
/// How many sentences can be inside of one another.
const MAX_DEPTH: usize = 4;

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Parses a sentence, unless it is too long or too deep inside of others: a text of a saved report, or the command line of
/// another user, could need exponential time.
pub(super) fn bounded<T>(text: &str, parse: impl FnOnce() -> Option<T>) -> Option<T> {
    let depth = DEPTH.get();
    if text.len() > MAX_LENGTH || depth >= MAX_DEPTH {
        return None;
    }
    DEPTH.set(depth + 1);
    let found = parse();
    DEPTH.set(depth);
    found
}

/// The text at one place.
pub(super) fn value<'t>(values: &[(&str, &'t str)], name: &str) -> Option<&'t str> {
    values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

/// Defines an enum of sentences. A text that is none of them is `Text`, which a report hides like all text of the host.
macro_rules! sentences {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $($variant:ident $({ $($field:ident: $type:ty),+ $(,)? })? => $template:literal,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum $name {
            $(
                #[doc = concat!("`", $template, "`")]
                $variant $({ $(#[doc = "The value at this place."] $field: $type),+ })?,
            )*
            /// Any other text: from the host, or of another version.
            Text($crate::model::LogText),
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $(Self::$variant $({ $($field),+ })? => write!(formatter, $template),)*
                    Self::Text(text) => std::fmt::Display::fmt(text, formatter),
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = ();

            /// The sentence with this text.
            ///
            /// # Errors
            /// It is none of the sentences.
            fn from_str(text: &str) -> Result<Self, ()> {
                $crate::model::sentence::bounded(text, || Self::of_text(text)).ok_or(())
            }
        }

        impl $name {
            fn of_text(text: &str) -> Option<Self> {
                $(
                    let parse = || -> Option<Self> {
                        let _values = $crate::model::sentence::values($template, text)?;
                        $($(
                            let value = $crate::model::sentence::value(&_values, stringify!($field))?;
                            let $field: $type = value.parse().ok()?;
                        )+)?
                        Some(Self::$variant $({ $($field),+ })?)
                    };
                    if let Some(found) = parse() {
                        return Some(found);
                    }
                )*
                None
            }
        }

        impl std::str::FromStr for Box<$name> {
            type Err = ();

            fn from_str(text: &str) -> Result<Self, ()> {
                text.parse().map(Box::new)
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::Text($crate::model::LogText::default())
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                text.parse().unwrap_or_else(|()| Self::Text(text.into()))
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self::from(text.as_str())
            }
        }

        impl From<&String> for $name {
            fn from(text: &String) -> Self {
                Self::from(text.as_str())
            }
        }

        impl From<&$name> for $name {
            fn from(sentence: &$name) -> Self {
                sentence.clone()
            }
        }

        impl From<$name> for serde_json::Value {
            fn from(sentence: $name) -> Self {
                Self::String(sentence.to_string())
            }
        }

        impl From<$name> for String {
            fn from(sentence: $name) -> Self {
                sentence.to_string()
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.to_string().as_str() == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.to_string().as_str() == *other
            }
        }

        impl $crate::model::Visited for $name {
            fn accept(&mut self, visitor: &mut dyn $crate::model::Visitor) {
                match self {
                    $(Self::$variant $({ $($field),+ })? => {
                        let _ = &visitor;
                        $($($crate::model::Visited::accept($field, visitor);)+)?
                    })*
                    Self::Text(text) => $crate::model::Visited::accept(text, visitor),
                }
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                <String as schemars::JsonSchema>::schema_name()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                <String as schemars::JsonSchema>::json_schema(generator)
            }
        }
    };
}
pub(super) use sentences;

#[cfg(test)]
mod tests {
    use super::values;
    use crate::model::{GapDetail, GapSubject, Note};

    /// Texts of a saved report, or of another user's command line, that fit a sentence inside of a sentence many times.
    #[test]
    fn deep_sentences_are_text() {
        let deep = format!("{}no permission", "/x: ".repeat(500));
        assert!(matches!(GapDetail::from(deep.as_str()), GapDetail::Text(_)));
        let step = "; name the server too (--port, --pid) to examine it";
        let wide = format!("{}zzz{}", "/x: ".repeat(36), step.repeat(18));
        assert!(matches!(GapDetail::from(wide.as_str()), GapDetail::Text(_)));
        let many = format!("{}HTTP", "1 homes and profiles, the first ".repeat(600));
        assert!(matches!(GapSubject::from(many.as_str()), GapSubject::Text(_)));
        let of = format!("{}zzz", "cannot read a of uid 1: ".repeat(60));
        assert!(matches!(Note::from(of.as_str()), Note::Text(_)));
    }

    #[test]
    fn finds_the_values_of_a_sentence() {
        for (template, text, expected) in [
            ("all facts", "all facts", Some(vec![])),
            ("all facts", "all facts of x", None),
            ("limits of pid {pid}", "limits of pid 7", Some(vec![("pid", "7")])),
            ("{path}-wal", "/x/state.db-wal", Some(vec![("path", "/x/state.db")])),
            (
                "{number} of {all}, {number}",
                "3 of 9, 3",
                Some(vec![("number", "3"), ("all", "9"), ("number", "3")]),
            ),
            ("{number} of {all}, {number}", "3 of 9, 4", None),
            ("log {source}", "log a of log b", Some(vec![("source", "a of log b")])),
            ("log {source}", "a log", None),
        ] {
            assert_eq!(values(template, text), expected, "{template}: {text}");
        }
    }
}
