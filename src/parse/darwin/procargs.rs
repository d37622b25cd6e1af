//! `KERN_PROCARGS2`: path of the program, arguments and environment of a process in one block (sysctl(3), XNU's
//! `bsd/kern/kern_sysctl.c`).

use crate::parse::ParseError;
use crate::parse::command::{is_python, is_shell, program_name};

const WHAT: &str = "arguments of a process";

/// The parts of the block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments<'a> {
    /// Path that was executed.
    pub executable: &'a [u8],
    /// Arguments, the program's name first; one may be empty.
    pub arguments: Vec<&'a [u8]>,
    /// `NAME=VALUE`. Empty where the system hides it, as it does for its own protected programs.
    pub environment: Vec<&'a [u8]>,
}

/// Splits the block: a count, the path, NULs up to the next word, arguments, environment. The words that a
/// kernel puts after the environment (paths and cookies for the dynamic linker) have names that no caller
/// reads.
///
/// # Errors
/// When the count is not valid, or the block ends before the arguments do.
pub fn parse(block: &[u8]) -> Result<Arguments<'_>, ParseError> {
    let (count, rest) =
        block.split_first_chunk().ok_or_else(|| ParseError::new(WHAT, "the argument count is missing"))?;
    let count = i32::from_le_bytes(*count);
    let count = usize::try_from(count).ok().filter(|count| *count <= rest.len());
    let count = count.ok_or_else(|| ParseError::new(WHAT, "the argument count is not valid"))?;
    let (executable, rest) = word(rest)?;
    let padding = rest.iter().take_while(|byte| **byte == 0).count();
    let mut rest = rest.get(padding..).unwrap_or_default();
    let mut arguments = Vec::new();
    for _ in 0..count {
        let (argument, behind) = word(rest)?;
        arguments.push(argument);
        rest = behind;
    }
    // The last word may be cut if the block was too large.
    let environment = rest.split(|byte| *byte == 0).take_while(|word| !word.is_empty()).collect();
    Ok(Arguments { executable, arguments, environment })
}

fn word(bytes: &[u8]) -> Result<(&[u8], &[u8]), ParseError> {
    let end = bytes.iter().position(|byte| *byte == 0);
    let end = end.ok_or_else(|| ParseError::new(WHAT, "the block ends within a word"))?;
    Ok((bytes.get(..end).unwrap_or_default(), bytes.get(end + 1..).unwrap_or_default()))
}

/// Whether a program, by its path alone, could be running a Hermes server. A program that Hermes cannot use could
/// not, even if its arguments cannot be read.
pub fn could_be_hermes(path: &str) -> bool {
    let name = program_name(path);
    is_python(name)
        || is_shell(name)
        || path.to_ascii_lowercase().contains("hermes")
        || matches!(name, "uv" | "uvx" | "node" | "env" | "sudo" | "su" | "caffeinate" | "pipx" | "poetry")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &[u8] =
        b"\x04\0\0\0/opt/homebrew/bin/python3.13\0\0\0\0\0\0python\0/Users/h/hermes-webui/server.py\0\0--x\0\
        HERMES_HOME=/Users/h/.hermes\0XPC_SERVICE_NAME=com.example.hermes-webui\0API_KEY=secret\0\0ptr_munge=\0";

    #[test]
    fn takes_the_block_apart() {
        let found = parse(BLOCK).unwrap();
        assert_eq!(found.executable, b"/opt/homebrew/bin/python3.13");
        assert_eq!(found.arguments, [&b"python"[..], b"/Users/h/hermes-webui/server.py", b"", b"--x"]);
        assert_eq!(found.environment.len(), 3);
        assert_eq!(found.environment[1], b"XPC_SERVICE_NAME=com.example.hermes-webui");
    }

    #[test]
    fn a_hidden_environment_is_empty() {
        let found = parse(b"\x01\0\0\0/bin/zsh\0\0\0-zsh\0").unwrap();
        assert_eq!((found.arguments, found.environment.len()), (vec![&b"-zsh"[..]], 0));
        let found = parse(b"\0\0\0\0/bin/zsh\0").unwrap();
        assert!(found.arguments.is_empty());
    }

    #[test]
    fn refuses_malformed_input() {
        for block in [
            &b""[..],
            b"\x01\0\0",
            b"\xff\xff\xff\xff/bin/zsh\0\0-zsh\0",
            b"\xff\xff\xff\x7f/bin/zsh\0\0-zsh\0",
            b"\x02\0\0\0/bin/zsh\0\0-zsh\0",
            b"\x01\0\0\0/bin/zsh",
            b"\x01\0\0\0/bin/zsh\0\0-zs",
        ] {
            assert!(parse(block).is_err(), "{block:?}");
        }
    }

    #[test]
    fn a_path_excludes_programs_that_cannot_be_a_server() {
        for path in ["/opt/homebrew/bin/python3.13", "/bin/bash", "/Users/h/.local/bin/hermes", "/usr/bin/sudo"] {
            assert!(could_be_hermes(path), "{path}");
        }
        for path in ["/sbin/launchd", "/usr/libexec/logd", "/Applications/Safari.app/Contents/MacOS/Safari", ""] {
            assert!(!could_be_hermes(path), "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }
    }
}
