//! `/proc/PID/limits` (proc_pid_limits(5)).

use super::ParseError;
use procfs_core::FromBufRead;
use procfs_core::process::{LimitValue, Limits};

/// Parses the limits of a process.
///
/// # Errors
/// When the table is incomplete.
pub fn limits(bytes: &[u8]) -> Result<Limits, ParseError> {
    let text = String::from_utf8_lossy(bytes);
    // The procfs parser counts words from the end of each line, and panics on fewer than four.
    let lines: String =
        text.lines().filter(|line| line.split_whitespace().count() >= 4).flat_map(|line| [line, "\n"]).collect();
    Limits::from_buf_read(lines.as_bytes()).map_err(|error| ParseError::new("limits", error.to_string()))
}

/// The number of a limit; `None` is unlimited.
pub fn number(limit: LimitValue) -> Option<u64> {
    match limit {
        LimitValue::Unlimited => None,
        LimitValue::Value(value) => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_soft_and_hard_limits() {
        let table = limits(include_bytes!("testdata/limits.txt")).unwrap();
        let open = table.max_open_files;
        assert_eq!((number(open.soft_limit), number(open.hard_limit)), (Some(256), None));
        let own = std::fs::read("/proc/self/limits").unwrap_or_default();
        assert_eq!(limits(&own).is_ok(), cfg!(target_os = "linux"));
    }

    #[test]
    fn incomplete_tables_are_errors() {
        for table in
            [&b""[..], b"\n\nx\n", b"Max processes\n", b"Max open files  7\n", b"Max open files  x  y  files\n"]
        {
            assert!(limits(table).is_err(), "{}", String::from_utf8_lossy(table));
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(table in "(Max [a-z ]{0,20}[0-9 ]{0,20}[a-z]{0,9}\n){0,20}") {
            let _ = limits(table.as_bytes());
        }
    }
}
