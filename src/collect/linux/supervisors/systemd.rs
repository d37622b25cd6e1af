//! What a systemd manager says of a unit: `systemctl show`, and the file in which it publishes the current activation.

use crate::collect::Deadline;
use crate::collect::reader::wait_readable;
use crate::model::{Gap, GapReason};
use crate::parse::cgroup::Unit;
use crate::parse::systemd::{PROPERTIES, UnitState};
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a manager may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Largest answer that is read.
const LARGEST_ANSWER: usize = 256 * 1024;

/// Asks the manager of a unit.
pub fn show(unit: &Unit, deadline: Deadline) -> Result<UnitState, Gap> {
    let what = format!("{} from its manager", unit.name);
    let mut command = Command::new("systemctl");
    if let Some(user) = unit.user_manager {
        if rustix::process::geteuid().as_raw() != user {
            let detail = format!("the manager of user {user} answers only that user");
            return Err(Gap::new(what, GapReason::Permission, detail));
        }
        // From cron, su or a plain ssh this is not set, although the bus is there.
        command.arg("--user").env("XDG_RUNTIME_DIR", format!("/run/user/{user}"));
    }
    command
        .args(["show", "--no-pager", "--property", PROPERTIES, "--"])
        .arg(&unit.name)
        .env("LC_ALL", "C")
        .env("SYSTEMD_COLORS", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let begun = Instant::now();
    let answer = output(&mut command, deadline.within(PATIENCE))
        .map_err(|error| Gap::from_io(&what, &error).after(begun.elapsed()))?;
    let state = crate::parse::systemd::show(&answer);
    if state.load_state.is_empty() || state.load_state == "not-found" {
        let detail = if state.load_state.is_empty() {
            "systemctl gave no answer: the manager's bus cannot be reached from here"
        } else {
            "the manager that can be asked from here does not know the unit"
        };
        return Err(Gap::new(what, GapReason::Unsupported, detail).after(begun.elapsed()));
    }
    Ok(state)
}

/// Runs a tool and reads its output to the end or the deadline. A tool that hangs is left behind, never signalled.
fn output(command: &mut Command, deadline: Deadline) -> std::io::Result<Vec<u8>> {
    let mut child = command.spawn()?;
    let Some(mut stdout) = child.stdout.take() else { return Ok(Vec::new()) };
    let mut bytes = Vec::new();
    let mut buffer = [0_u8; 8192];
    loop {
        wait_readable(&stdout, deadline)?;
        match stdout.read(&mut buffer)? {
            0 => break,
            count => bytes.extend_from_slice(&buffer[..count]),
        }
        if bytes.len() > LARGEST_ANSWER {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "the answer is too large"));
        }
    }
    // It has closed its output, so it is ending; reaped if that is immediate, else left to init.
    let _ = child.try_wait();
    Ok(bytes)
}

/// The link whose target is the `InvocationID` of the current activation; the manager keeps it, and it is readable
/// without a bus. A user's runtime directory is that user's to mount things in, so it is read where that may hang.
pub fn invocation_link(unit: &Unit) -> std::path::PathBuf {
    let directory = match unit.user_manager {
        None => "/run/systemd/units".to_owned(),
        Some(user) => format!("/run/user/{user}/systemd/units"),
    };
    std::path::PathBuf::from(directory).join(format!("invocation:{}", unit.name))
}
