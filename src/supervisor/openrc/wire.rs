//! The command line of `supervise-daemon`, and the files that it keeps below `/run/openrc` for a service. The formats are
//! those of OpenRC 0.45 (`src/rc/supervise-daemon.c`, `src/librc/librc-daemon.c`).

use crate::model::HostPath;
use crate::model::text::{kept, printable};

/// Words of a command that are read.
const MAX_WORDS: usize = 2048;

/// The command line of a supervising process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Supervising {
    /// Name of the service.
    pub service: String,
    /// File that standard error of the service is written to, else that of standard output.
    pub log: Option<String>,
}

/// Parses the command line of a process. `None` if it does not start a service, such as `supervise-daemon NAME --stop`,
/// or if its service has a name that is no file name.
pub fn supervising(argv: &[String]) -> Option<Supervising> {
    let service = argv.get(1).filter(|name| is_service_name(name))?.clone();
    // The words after `--` are those of the service.
    let options: Vec<&str> = argv.iter().skip(2).map(String::as_str).take_while(|word| *word != "--").collect();
    if !options.iter().any(|word| matches!(*word, "--start" | "-S")) {
        return None;
    }
    let value = |names: [&str; 2]| {
        let at = options.iter().position(|word| names.contains(word))?;
        options.get(at + 1).map(|path| printable(path.as_bytes()))
    };
    let log = value(["--stderr", "-2"]).or_else(|| value(["--stdout", "-1"])).filter(|path| path.starts_with('/'));
    Some(Supervising { service, log })
}

/// Whether a name can be that of a service: it is a file in `/etc/init.d`.
pub fn is_service_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['-', '.']) && !name.contains('/')
}

/// Parses `daemons/NAME/001`: the command of the service, one word a line after `argv_N=`.
pub fn command(bytes: &[u8]) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for line in kept(bytes).lines() {
        let word = line.strip_prefix("argv_").and_then(|rest| rest.split_once('='));
        match word.filter(|(number, _)| number.parse() == Ok(words.len())) {
            Some((_, word)) if words.len() < MAX_WORDS => words.push(word.to_owned()),
            _ => {}
        }
    }
    words
}

/// Parses a file below `options/NAME` with a number, such as `child_pid`.
pub fn number(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.trim().parse().ok()
}

/// Parses `options/NAME/pidfile`: the path of the file with the pid of the supervising process.
pub fn pid_file(bytes: &[u8]) -> Option<HostPath> {
    let line = bytes.split(|byte| *byte == b'\n').next()?;
    line.starts_with(b"/").then(|| HostPath::new(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        shlex::split(line).unwrap()
    }

    #[test]
    fn reads_the_files_of_a_real_service() {
        let daemon = include_bytes!("../../../tests/openrc/daemons/hermes/001");
        let expected = "/usr/bin/python3 /srv/hermes-webui/server.py --no-browser 127.0.0.1 8787";
        assert_eq!(command(daemon), words(expected));
        let option = |name: &str| match name {
            "child_pid" => number(include_bytes!("../../../tests/openrc/options/hermes/child_pid")),
            "start_count" => number(include_bytes!("../../../tests/openrc/options/hermes/start_count")),
            _ => number(include_bytes!("../../../tests/openrc/options/hermes/respawn_delay")),
        };
        assert_eq!((option("start_count"), option("respawn_delay")), (Some(2), Some(1)));
        assert!(option("child_pid").is_some_and(|pid| pid > 1));
        let path = pid_file(include_bytes!("../../../tests/openrc/options/hermes/pidfile"));
        assert_eq!(path.as_deref(), Some("/var/run/supervise-hermes.pid"));
        let argv = include_bytes!("../../../tests/openrc/cmdline");
        let argv: Vec<String> = crate::model::text::nul_separated(argv).into_iter().map(kept).collect();
        let found = supervising(&argv).unwrap();
        assert_eq!((found.service.as_str(), found.log.as_deref()), ("hermes", Some("/run/hermes.log")));
    }

    #[test]
    fn only_a_process_that_starts_a_service_supervises_it() {
        let of = |line: &str| supervising(&words(line)).map(|found| found.service);
        assert_eq!(of("supervise-daemon hermes --start /usr/bin/python3 -- x"), Some("hermes".into()));
        for line in [
            "supervise-daemon hermes --stop",
            "supervise-daemon hermes /usr/bin/python3 -- --start",
            "supervise-daemon ../x --start y",
            "supervise-daemon --start",
            "supervise-daemon",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }

    #[test]
    fn a_file_of_another_format_is_no_value() {
        assert_eq!(
            (number(b""), number(b"x"), number(b"-1"), number(b"99999999999999999999")),
            (None, None, None, None)
        );
        assert_eq!(command(b"exec=/bin/x\nargv_1=late\npidfile=\n"), Vec::<String>::new());
        assert_eq!(pid_file(b"relative"), None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = (command(&bytes), number(&bytes), pid_file(&bytes));
        }
    }
}
