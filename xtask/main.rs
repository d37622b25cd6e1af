//! Writes the generated files of this repository: `cargo xtask`. Tests compare them, and do not write them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::print_stderr, clippy::print_stdout)]

#[path = "../tests/it/common/mod.rs"]
mod common;
#[allow(dead_code, unused_imports)]
#[path = "../tests/it/launchd.rs"]
mod launchd;
#[path = "../tests/it/pages.rs"]
mod pages;
mod record;

use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Writes generated files. `git diff` shows the changes.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// docs/findings.md and docs/fixtures.md
    Docs,
    /// docs/schema/hermes-doctor-1.json; build the program again afterwards, since it contains the schema
    Schema,
    /// fixtures/, from test servers (needs Python), or from answers that tests have kept
    Fixtures {
        /// Only the hosts of public reports and the Macs, which need no server
        #[arg(long)]
        made: bool,
        /// Use the answers that tests have written into this directory instead (HERMES_DOCTOR_KEEP=DIR tests/run)
        #[arg(long, value_name = "DIR", conflicts_with = "made")]
        of_tests: Option<PathBuf>,
    },
    /// Snapshots of the terminal output: tests/it/snapshots/
    Snapshots,
    /// docs/pictures/
    Pictures,
}

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let write = |name: &str, text: String| std::fs::write(root.join(name), text).unwrap();
    match Arguments::parse().task {
        Task::Docs => {
            write("docs/findings.md", pages::findings_page());
            write("docs/fixtures.md", pages::fixtures_page());
        }
        Task::Schema => write("docs/schema/hermes-doctor-1.json", hermes_doctor::report::schema::text()),
        Task::Fixtures { of_tests: Some(directory), .. } => record::of_tests(&directory),
        Task::Fixtures { made, .. } => {
            record::reported_hosts();
            record::macs();
            if !made {
                record::servers();
                record::wedges();
            }
        }
        Task::Snapshots => {
            let parts = ["snapshots::", "terminal::", "fleet::", "mcp::"];
            let mut command = Command::new("cargo");
            command.args(["test", "--test", "it", "--"]).args(parts).env("INSTA_UPDATE", "always");
            return run(&mut command);
        }
        Task::Pictures => return run(&mut Command::new(root.join("docs/pictures/record"))),
    }
    ExitCode::SUCCESS
}

/// Runs a program, and returns its status.
fn run(command: &mut Command) -> ExitCode {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
