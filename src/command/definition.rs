//! The definition of the command line for the parser: each command with the options that apply to it.

use super::Cli;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches};
use std::ffi::OsString;

/// Options that select servers.
const SELECTION: &[&str] = &["pid", "port", "url", "home", "kind", "expect", "from"];
/// Options of the output.
const OUTPUT: &[&str] = &["format", "json", "output", "verbose", "quiet", "color"];
/// Options of the examination.
const EXAMINATION: &[&str] = &["deep", "stacks", "all_holders", "routes", "observe", "timeout", "budget"];
/// Options that `hermes-doctor -h` lists; `--help` lists all.
const SHORT_HELP: &[&str] = &["pid", "port", "url", "home", "json", "verbose"];

/// Options, by id, that apply to a command.
fn options_of(command: &str) -> Vec<&'static str> {
    let (groups, options): (&[&[&str]], &[&str]) = match command {
        "check" | "report" => (&[SELECTION, OUTPUT, EXAMINATION], &[]),
        "watch" => (&[OUTPUT, EXAMINATION], &["pid", "port", "url", "home", "kind", "expect"]),
        "fds" => (&[SELECTION, OUTPUT], &["timeout", "budget"]),
        "lineage" => (&[SELECTION, OUTPUT], &["observe", "budget"]),
        "health" => (&[SELECTION, OUTPUT], &["deep", "routes", "timeout", "budget"]),
        "port" => (&[SELECTION, OUTPUT], &["all_holders", "budget"]),
        "db" | "stacks" => (&[SELECTION, OUTPUT], &["budget"]),
        "demo" => (&[EXAMINATION], &["format", "json", "verbose", "quiet", "color"]),
        "explain" | "history" => (&[], &["format", "json", "verbose", "quiet", "color"]),
        super::DEMO_SERVER => (&[SELECTION, OUTPUT, EXAMINATION], &[]),
        _ => (&[], &["color"]),
    };
    groups.iter().copied().flatten().chain(options).copied().collect()
}

/// Whether a command examines servers. For these commands, an option that has no effect is hidden in the help and
/// not refused.
fn examines(command: &str) -> bool {
    options_of(command).contains(&"pid")
}

/// The command line with the options of each command; options that do not apply are hidden in its help.
pub fn definition() -> Command {
    let root = Cli::command();
    let shared: Vec<Arg> = root.get_arguments().filter(|option| option.is_global_set()).cloned().collect();
    let commands: Vec<String> = root.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let mut root = root;
    for name in commands {
        let applying = options_of(&name);
        // An option with the same id replaces the inherited one.
        let own = shared.iter().map(|option| {
            let applies = applying.contains(&option.get_id().as_str());
            option.clone().hide(!applies)
        });
        let own: Vec<Arg> = own.collect();
        root = root.mut_subcommand(&name, |command| command.args(own));
    }
    for option in &shared {
        let id = option.get_id().as_str();
        if !SHORT_HELP.contains(&id) {
            root = root.mut_arg(id, |option| option.hide_short_help(true));
        }
    }
    root
}

impl Cli {
    /// Parses the arguments of the program, its name first.
    ///
    /// # Errors
    /// The parser's error, which can be help or the version that was requested.
    pub fn of_arguments<T: Into<OsString> + Clone>(
        arguments: impl IntoIterator<Item = T>,
    ) -> Result<Self, clap::Error> {
        let matches = definition().try_get_matches_from(arguments).map_err(with_hint)?;
        refuse_others(&matches)?;
        let cli = Self::from_arg_matches(&matches).map_err(|error| error.format(&mut definition()))?;
        cli.check().map(|()| cli)
    }
}

/// Refuses options that select or examine servers for a command that examines none.
fn refuse_others(matches: &ArgMatches) -> Result<(), clap::Error> {
    let Some((command, _)) = matches.subcommand().filter(|(command, _)| !examines(command)) else { return Ok(()) };
    let applying = options_of(command);
    let is_given = |id: &&&str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let other = SELECTION.iter().chain(EXAMINATION).filter(|id| !applying.contains(id)).find(is_given);
    let Some(id) = other else { return Ok(()) };
    let root = Cli::command();
    let name = root.get_arguments().find(|option| option.get_id() == id).and_then(Arg::get_long).unwrap_or(id);
    let text = format!("--{name} does not apply to `{command}`; `hermes-doctor help {command}` lists its options");
    Err(Cli::command().error(ErrorKind::ArgumentConflict, text))
}

/// Words that people try for the full examination.
const CHECK_WORDS: &[&str] = &["status", "diagnose", "doctor", "examine", "inspect", "run", "scan", "test"];

/// Adds the option that was probably meant: a number alone is a port or a pid, and `status` is `check`.
fn with_hint(mut error: clap::Error) -> clap::Error {
    let word = [ContextKind::InvalidSubcommand, ContextKind::InvalidArg].into_iter().find_map(|kind| {
        match error.get(kind) {
            Some(ContextValue::String(word)) => Some(word.clone()),
            _ => None,
        }
    });
    let is_unknown = matches!(error.kind(), ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument);
    let Some(word) = word.filter(|_| is_unknown) else { return error };
    let hint = if word.parse::<u16>().is_ok_and(|port| port > 0) {
        format!("`--port {word}` examines the server on that port, `--pid {word}` the process with that id")
    } else if word.parse::<u32>().is_ok_and(|pid| pid > 0) {
        format!("`--pid {word}` examines the process with that id")
    } else if CHECK_WORDS.contains(&word.as_str()) {
        "`check` runs all checks and prints the verdict".to_owned()
    } else {
        return error;
    };
    error.remove(ContextKind::SuggestedSubcommand);
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(hint)]));
    error
}
