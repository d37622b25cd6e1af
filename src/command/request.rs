//! The request of a command line, and conflicts between its arguments.

use super::arguments::*;
use super::run::STANDARD_INPUT;
use crate::examine::{Request, Routes};
use crate::model::{Part, ServerKind};
use crate::target::Selection;
use std::path::Path;
use std::time::Duration;

impl Cli {
    /// The servers to examine.
    fn selection(&self) -> Selection {
        let positional = match self.command {
            Some(Command::Port(PortArguments { number })) => number,
            _ => None,
        };
        Selection {
            pid: self.selection.pid,
            port: self.selection.port.or(positional),
            url: self.selection.url.clone(),
            home: self
                .selection
                .home
                .as_ref()
                .map(|home| std::path::absolute(home).unwrap_or_else(|_| home.clone())),
            kind: self.selection.kind.map(ServerKind::from),
            expect: self.selection.expect.clone(),
        }
    }

    /// The examination of the subcommand; `None` for those without one.
    pub fn request(&self) -> Option<Request> {
        let mut all = vec![Part::Descriptors, Part::Lineage, Part::Port, Part::Databases, Part::Health];
        all.extend(self.examination.stacks.then_some(Part::Stacks));
        let (command, parts) = match &self.command {
            None | Some(Command::Check) => ("check", all),
            // The requests need the address of the server, and whether it answers.
            Some(Command::Fds(arguments)) if !arguments.exercise.is_empty() => {
                ("fds", vec![Part::Descriptors, Part::Port, Part::Health])
            }
            Some(Command::Fds(_)) => ("fds", vec![Part::Descriptors]),
            Some(Command::Db(_)) => ("db", vec![Part::Databases]),
            Some(Command::Stacks) => ("stacks", vec![Part::Stacks]),
            Some(Command::Lineage) => ("lineage", vec![Part::Lineage]),
            Some(Command::Health(_)) => ("health", vec![Part::Health]),
            Some(Command::Port(_)) => ("port", vec![Part::Port]),
            Some(Command::Demo { .. }) => ("demo", all),
            Some(Command::Watch(_)) => ("watch", all),
            Some(
                Command::Explain { .. }
                | Command::Schema
                | Command::Completions { .. }
                | Command::Man(_)
                | Command::DemoServer { .. }
                | Command::History(_),
            ) => return None,
            Some(Command::Report(_)) => ("report", all),
            #[cfg(feature = "mcp")]
            Some(Command::Mcp(_)) => return None,
        };
        Some(Request {
            command,
            selection: self.selection(),
            parts,
            deep: self.examination.deep,
            repetition: match &self.command {
                Some(Command::Health(arguments)) => arguments.repetition(),
                _ => None,
            },
            routes: match &self.command {
                _ if !self.examination.routes.is_empty() => Routes::Named(self.examination.routes.clone()),
                // These repeat their examination.
                Some(Command::Watch(_) | Command::Fds(_)) => Routes::None,
                _ => Routes::Usual,
            },
            all_holders: self.examination.all_holders,
            observe: self.examination.observe,
            file: match &self.command {
                Some(Command::Db(DbArguments { file: Some(file) })) => {
                    Some(std::path::absolute(file).unwrap_or_else(|_| file.clone()))
                }
                _ => None,
            },
            timeout: self.examination.timeout,
            budget: self.budget(),
        })
    }

    /// Time for the whole run.
    pub fn budget(&self) -> Duration {
        let usual = if matches!(self.command, Some(Command::Demo { name: None })) { 60 } else { 10 };
        // A requested duration is not cut off by the default budget.
        let repeated = match &self.command {
            Some(Command::Health(arguments)) => arguments.repetition().map_or(Duration::ZERO, |plan| {
                plan.every
                    .max(self.examination.timeout)
                    .saturating_mul(u32::try_from(plan.requests).unwrap_or(u32::MAX))
            }),
            _ => Duration::ZERO,
        };
        let looking_on = self.examination.observe.unwrap_or_default().saturating_add(repeated);
        self.examination.budget.unwrap_or(Duration::from_secs(usual).saturating_add(looking_on))
    }

    /// Checks that the parser cannot make: two ports for one server, three reports, or a report where a live
    /// host is required.
    ///
    /// # Errors
    /// The same kind of error as that of the parser.
    pub fn check(&self) -> Result<(), clap::Error> {
        use clap::CommandFactory;
        match (&self.command, self.selection.port) {
            (Some(Command::Port(PortArguments { number: Some(number) })), Some(port)) if *number != port => {
                let text = format!("the port is given twice: {number} and --port {port}; remove one");
                Err(Self::command().error(clap::error::ErrorKind::ArgumentConflict, text))
            }
            (Some(command), _) if self.examination.stacks && !command.takes_stacks() => {
                let text = "--stacks belongs to `check`, `report`, `watch` and `stacks`";
                Err(Self::command().error(clap::error::ErrorKind::ArgumentConflict, text))
            }
            _ if matches!(&self.command, Some(Command::Report(report)) if report.markdown || report.html)
                && self.output.is_json() =>
            {
                let text = "--json conflicts with --markdown and --html; give only one of them";
                Err(Self::command().error(clap::error::ErrorKind::ArgumentConflict, text))
            }
            _ => self.check_output().and_then(|()| self.check_replay()).and_then(|()| self.check_input()),
        }
    }

    /// Checks the formats of a command, and the output files.
    fn check_output(&self) -> Result<(), clap::Error> {
        use clap::CommandFactory;
        let form = self.output.form();
        let is_watched = matches!(form, Format::Nagios | Format::Openmetrics);
        let is_report = matches!(self.command, Some(Command::Report(_)));
        let text = if self.output.json && form != Format::Json {
            format!("--json is short for --format json, and --format {} was given too", form.word())
        } else if is_watched && !self.command.as_ref().is_none_or(Command::is_for_monitoring) {
            let commands = "`check`, `fds`, `lineage`, `health` and `port`";
            format!("--format {} belongs to {commands}", form.word())
        } else if self.output.output.is_some() && !is_report && form != Format::Openmetrics {
            "-o works with `report` and --format openmetrics only; redirect standard output instead: > FILE"
                .to_owned()
        } else if matches!(&self.command, Some(Command::Report(report)) if report.force)
            && self.output.output.is_none()
        {
            "--force needs -o FILE".to_owned()
        } else {
            return Ok(());
        };
        Err(Self::command().error(clap::error::ErrorKind::ArgumentConflict, text))
    }

    /// Standard input can be read only once.
    fn check_input(&self) -> Result<(), clap::Error> {
        use clap::CommandFactory;
        let compared = match &self.command {
            Some(Command::Fds(arguments)) => arguments.compare.as_slice(),
            _ => &[],
        };
        let reports = self.selection.from.iter().chain(compared);
        if reports.filter(|report| report.as_path() == Path::new(STANDARD_INPUT)).count() < 2 {
            return Ok(());
        }
        let text = "standard input (-) can be only one of the reports; give the other one as a file";
        Err(Self::command().error(clap::error::ErrorKind::ArgumentConflict, text))
    }

    fn check_replay(&self) -> Result<(), clap::Error> {
        use clap::CommandFactory;
        if self.selection.from.is_empty() {
            return Ok(());
        }
        let live = match &self.command {
            Some(Command::Watch(_)) => Some("watch"),
            Some(Command::Db(DbArguments { file: Some(_) })) => Some("db --file"),
            Some(Command::Fds(arguments)) if arguments.sampling().is_some() => Some("fds --samples"),
            Some(Command::Fds(arguments)) if !arguments.exercise.is_empty() => Some("fds --exercise"),
            Some(Command::Fds(arguments)) if !arguments.compare.is_empty() => Some("fds --compare"),
            Some(Command::Health(arguments)) if arguments.repeat.is_some() => Some("health --repeat"),
            _ if self.selection.url.is_some() => Some("--url"),
            _ if self.selection.expect.is_some() => Some("--expect"),
            _ if self.examination.observe.is_some() => Some("--observe"),
            _ if self.examination.deep => Some("--deep"),
            _ if self.examination.all_holders => Some("--all-holders"),
            _ if !self.examination.routes.is_empty() => Some("--route"),
            _ => None,
        };
        let compares = matches!(self.command, None | Some(Command::Check | Command::Fds(_)));
        let text = match (live, self.selection.from.len()) {
            (Some(what), _) => format!(
                "{what} needs a live host, and --from names a saved report; to compare two reports, give --from twice"
            ),
            (None, 2) if !compares => {
                "two reports (--from) are compared by their descriptors: use `check` or `fds`".to_owned()
            }
            (None, 1 | 2) => return Ok(()),
            (None, count) => format!("--from takes one report, or two to compare; it was given {count} times"),
        };
        Err(Self::command().error(clap::error::ErrorKind::ArgumentConflict, text))
    }
}

impl Command {
    /// Whether the output describes the present state of servers, as monitoring systems require.
    fn is_for_monitoring(&self) -> bool {
        matches!(self, Self::Check | Self::Fds(_) | Self::Lineage | Self::Health(_) | Self::Port(_))
    }

    /// Whether `--stacks` has an effect on it.
    fn takes_stacks(&self) -> bool {
        matches!(self, Self::Check | Self::Report(_) | Self::Watch(_) | Self::Stacks | Self::Demo { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    fn request(line: &str) -> Request {
        Cli::try_parse_from(line.split(' ')).unwrap().request().unwrap()
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    /// As in `render::Style`: readable on light and dark backgrounds.
    #[test]
    fn its_messages_are_read_on_every_ground() {
        use clap::builder::styling::{AnsiColor, Color, Effects};
        let styles = Cli::command().get_styles().clone();
        for style in [
            styles.get_header(),
            styles.get_error(),
            styles.get_usage(),
            styles.get_literal(),
            styles.get_placeholder(),
            styles.get_valid(),
            styles.get_invalid(),
            styles.get_context(),
            styles.get_context_value(),
        ] {
            let usual = [AnsiColor::Red, AnsiColor::Green, AnsiColor::Magenta].map(Color::Ansi);
            assert!(style.get_fg_color().is_none_or(|colour| usual.contains(&colour)), "{style:?}");
            assert!(style.get_fg_color().is_none() || style.get_effects().contains(Effects::BOLD), "{style:?}");
            assert_eq!(style.get_bg_color(), None, "{style:?}");
        }
    }

    #[test]
    fn selection_goes_before_or_after_the_subcommand() {
        for line in ["hermes-doctor --port 8787 fds", "hermes-doctor fds --port 8787"] {
            let request = request(line);
            assert_eq!((request.command, request.selection.port), ("fds", Some(8787)));
        }
        assert_eq!(request("hermes-doctor port 9119").selection.port, Some(9119));
        assert_eq!(request("hermes-doctor").command, "check");
    }

    #[test]
    fn a_saved_report_is_no_live_host() {
        let checked = |line: &str| Cli::of_arguments(line.split(' '));
        assert_eq!(request("hermes-doctor --from a.json lineage").command, "lineage");
        assert!(checked("hermes-doctor fds --from a --from b").is_ok());
        for bad in [
            "watch --record x --from a",
            "demo --from a",
            "fds --samples 3 --from a",
            "fds --compare b --from a",
            "health --repeat 3 --from a",
            "check --url http://h --from a",
            "check --from a --from b --from c",
            "lineage --from a --from b",
            "lineage --expect none --from a",
            "health --deep --from a",
            "health --route /x --from a",
            "port --all-holders --from a",
            "lineage --observe 3s --from a",
        ] {
            assert!(checked(&format!("hermes-doctor {bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn stacks_are_requested_only_by_command_or_flag() {
        assert_eq!(request("hermes-doctor stacks --pid 7").parts, [Part::Stacks]);
        assert!(request("hermes-doctor check --stacks").parts.contains(&Part::Stacks));
        assert!(request("hermes-doctor --stacks").parts.contains(&Part::Stacks));
        assert!(!request("hermes-doctor check").parts.contains(&Part::Stacks));
        let cli = Cli::try_parse_from("hermes-doctor fds --stacks".split(' ')).unwrap();
        assert!(cli.check().is_err());
    }

    #[test]
    fn an_answer_has_one_form() {
        let checked = |line: &str| {
            let cli = Cli::try_parse_from(format!("hermes-doctor {line}").split(' ')).unwrap();
            cli.check().map(|()| cli.output.form())
        };
        for (good, form) in [
            ("check", Format::Text),
            ("check --json", Format::Json),
            ("--json --format json", Format::Json),
            ("--format nagios", Format::Nagios),
            ("fds --format nagios --port 8787", Format::Nagios),
            ("health --format openmetrics -o x.prom", Format::Openmetrics),
            ("-o x.prom --format openmetrics", Format::Openmetrics),
            ("port 8787 --format openmetrics -o -", Format::Openmetrics),
            ("report -o x --force", Format::Text),
            ("-o x report --force", Format::Text),
        ] {
            assert_eq!(checked(good).unwrap(), form, "{good}");
        }
        for (bad, why) in [
            ("--json --format nagios", "--json is short for"),
            ("--json --format text", "--json is short for"),
            ("report --format openmetrics", "belongs to `check`"),
            ("explain --format nagios", "belongs to `check`"),
            ("watch --record x --format openmetrics", "belongs to `check`"),
            ("check -o x", "-o works with"),
            ("check --json -o x", "-o works with"),
            ("--format nagios -o x", "-o works with"),
            ("report --force", "--force needs -o"),
        ] {
            let error = checked(bad).unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn one_duration_syntax() {
        assert_eq!(request("hermes-doctor --budget 500ms").budget, Duration::from_millis(500));
        assert_eq!(request("hermes-doctor --timeout 5m").timeout, Duration::from_secs(300));
        for bad in ["--budget 5", "--budget 0s", "--timeout x", "--pid 0", "--port 70000", "--pid -1", "--url nope"]
        {
            let line = format!("hermes-doctor {bad}");
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{bad}");
        }
    }
}
