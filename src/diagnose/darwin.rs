//! Sources of facts, and next steps, in the terms of macOS.

use crate::model::{Finding, Server, SupervisorKind};

/// Replaces the steps for Linux that macOS cannot do.
const NO_COPY: &str = "macOS has no way to copy an unlinked file out of another process: have the server itself write a \
    backup before it ends, if it can; with the process the content is lost";

/// Whether the facts are from macOS: on Linux every process has a pid namespace and a control group.
fn is_darwin(server: &Server) -> bool {
    let of_process =
        |process: &crate::model::Process| process.namespace_pids.is_empty() && process.cgroup.is_none();
    let of_lineage = |lineage: &crate::model::Lineage| lineage.supervisor.kind == SupervisorKind::Launchd;
    server.process.as_ref().map_or_else(|| server.lineage.as_ref().is_some_and(of_lineage), of_process)
}

/// Replaces Linux files as sources with the interfaces of macOS.
pub fn rename(server: &Server, findings: &mut [Finding]) {
    if !is_darwin(server) {
        return;
    }
    for finding in findings {
        for evidence in &mut finding.evidence {
            evidence.source = source(&evidence.source);
        }
        for step in &mut finding.next {
            if step.what.contains("/proc/") {
                step.what = NO_COPY.to_owned();
            }
            if step.command.as_deref().is_some_and(|command| command.contains("/proc/")) {
                step.command = None;
            }
        }
    }
}

fn source(linux: &str) -> String {
    let of_pid = |rest: &str| rest.split('/').next().unwrap_or_default().to_owned();
    let Some(rest) = linux.strip_prefix("/proc/") else {
        return linux
            .replace("sock_diag and /proc/PID/fd", "proc_pidfdinfo")
            .replace("sock_diag", "proc_pidfdinfo");
    };
    match rest {
        _ if rest.starts_with("locks") => "fcntl(F_GETLK)".to_owned(),
        _ if rest.contains("/fd") => format!("proc_pidfdinfo of pid {}", of_pid(rest)),
        _ if rest.contains("/task") => format!("proc_pidinfo of the threads of pid {}", of_pid(rest)),
        _ if rest.contains("/cmdline") || rest.contains("/environ") => {
            format!("sysctl KERN_PROCARGS2 of pid {}", of_pid(rest))
        }
        _ => format!("sysctl KERN_PROC of pid {}", of_pid(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::source;

    #[test]
    fn sources_have_their_names() {
        for (linux, darwin) in [
            ("/proc/7/fd", "proc_pidfdinfo of pid 7"),
            ("/proc/7/fd and sock_diag", "proc_pidfdinfo of pid 7"),
            ("/proc/7/stat", "sysctl KERN_PROC of pid 7"),
            ("/proc/7/cmdline", "sysctl KERN_PROCARGS2 of pid 7"),
            ("/proc/7/task, looked at twice", "proc_pidinfo of the threads of pid 7"),
            ("/proc/locks, looked at twice", "fcntl(F_GETLK)"),
            ("sock_diag and /proc/PID/fd", "proc_pidfdinfo"),
            ("sock_diag", "proc_pidfdinfo"),
            ("HTTP probe", "HTTP probe"),
        ] {
            assert_eq!(source(linux), darwin);
        }
    }
}
