//! Text that came from the host, by kind. Each kind has one type, so that a report can hide it by its type.
//!
//! `String` does not implement [`Visited`]: a field of the model with text must have one of these types, or
//! [`super::HostPath`], [`super::Timestamp`] or one of the types of own sentences.

use super::visit::{Visited, Visitor};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use std::borrow::{Borrow, Cow};
use std::convert::Infallible;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

/// Defines the types, and the list of their kinds.
macro_rules! host_text {
    ($($(#[$meta:meta])* $name:ident,)*) => {
        /// The kinds of text: one for each type of this module.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum TextKind {
            $($(#[$meta])* $name,)*
        }

        $(
            $(#[$meta])*
            #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
            #[serde(transparent)]
            pub struct $name(String);

            impl $name {
                /// The text.
                pub fn as_str(&self) -> &str {
                    &self.0
                }
            }

            impl Visited for $name {
                fn accept(&mut self, visitor: &mut dyn Visitor) {
                    visitor.text(TextKind::$name, &mut self.0);
                }
            }

            impl Deref for $name {
                type Target = str;

                fn deref(&self) -> &str {
                    &self.0
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                    fmt::Display::fmt(&self.0, formatter)
                }
            }

            impl From<String> for $name {
                fn from(text: String) -> Self {
                    Self(text)
                }
            }

            impl From<&str> for $name {
                fn from(text: &str) -> Self {
                    Self(text.to_owned())
                }
            }

            impl From<&String> for $name {
                fn from(text: &String) -> Self {
                    Self(text.clone())
                }
            }

            impl From<&$name> for String {
                fn from(text: &$name) -> Self {
                    text.0.clone()
                }
            }

            impl Borrow<str> for $name {
                fn borrow(&self) -> &str {
                    &self.0
                }
            }

            impl From<$name> for String {
                fn from(text: $name) -> Self {
                    text.0
                }
            }

            impl From<$name> for serde_json::Value {
                fn from(text: $name) -> Self {
                    Self::String(text.0)
                }
            }

            impl FromStr for $name {
                type Err = Infallible;

                fn from_str(text: &str) -> Result<Self, Infallible> {
                    Ok(Self(text.to_owned()))
                }
            }

            impl PartialEq<str> for $name {
                fn eq(&self, other: &str) -> bool {
                    self.0 == other
                }
            }

            impl PartialEq<&str> for $name {
                fn eq(&self, other: &&str) -> bool {
                    self.0 == *other
                }
            }

            impl PartialEq<String> for $name {
                fn eq(&self, other: &String) -> bool {
                    self.0 == *other
                }
            }

            impl JsonSchema for $name {
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
        )*
    };
}

host_text! {
    /// The name of a user.
    UserName,
    /// The name of a host.
    HostName,
    /// A command line, or the title of a process, secrets masked.
    CommandLine,
    /// The name of a program, process, unit, service directory, job or container.
    ProgramName,
    /// The name of a thread.
    ThreadName,
    /// An address of a socket: IP address and port, or a bound path.
    Address,
    /// A URL, or the path and query of one, secrets masked.
    Url,
    /// The source of a log: its path, or the command that prints it.
    LogSource,
    /// What a descriptor is open on: a path, or a description such as `tcp CLOSE-WAIT to 149.154.167.220:443`.
    DescriptorTarget,
    /// A name that the kernel gives to one of its functions or system calls.
    KernelSymbol,
    /// A kind of descriptor, or a state of a socket or process.
    Symbol,
    /// A name or an expression in the source of a Python program.
    PythonSymbol,
    /// The version of a program or kernel.
    Version,
    /// The version of the server as it tells it.
    ServerVersion,
    /// A state or setting in the terms of a supervisor.
    SupervisorTerm,
    /// Any other text of another program: errors, answers.
    LogText,
    /// A word of this program: an id, a command, a level. Text of a report that is none of them is hidden.
    OwnTerm,
}
