#![allow(clippy::unwrap_used)]
use super::*;
use crate::collect::{Deadline, this_host};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Processes of one program, killed by their pids.
struct Many(Vec<Child>);

impl Many {
    fn start(directory: &Path, name: &str, count: usize) -> Self {
        let program = directory.join(name);
        // Copied by cp(1): a child that another test forks can inherit a descriptor that this process has open for
        // writing, and then the file cannot be executed.
        assert!(Command::new("cp").arg("/bin/sleep").arg(&program).status().unwrap().success());
        let mut started = Self(Vec::new());
        for _ in 0..count {
            started.0.push(Command::new(&program).arg("600").spawn().unwrap());
        }
        started
    }

    fn pids(&self) -> Vec<u32> {
        self.0.iter().map(Child::id).collect()
    }
}

impl Drop for Many {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn many_equal_processes_are_sampled_unless_they_run_other_programs() {
    let directory = tempfile::tempdir().unwrap();
    let workers = Many::start(directory.path(), "worker", SAMPLE_SIZE + 8);
    let interpreters = Many::start(directory.path(), "python3.99", SAMPLE_SIZE + 8);
    let few = Many::start(directory.path(), "few", SAMPLE_SIZE);
    let host = this_host(Deadline::after(Duration::from_secs(20)));
    let (each, many) = Survey::new(&*host).by_program();
    let are_each = |group: &Many| group.pids().iter().all(|pid| each.contains(pid));
    assert!(are_each(&interpreters) && are_each(&few));
    assert!(many.contains(&workers.pids()), "{many:?}");
    assert!(each.contains(&std::process::id()));
}

/// Pid 1 has thousands of children, and holds the ports of socket units.
#[test]
fn children_of_many_are_taken_from_the_table() {
    let directory = tempfile::tempdir().unwrap();
    let many = Many::start(directory.path(), "many", MAX_SINGLE_READS + 8);
    let host = this_host(Deadline::after(Duration::from_secs(20)));
    let survey = Survey::new(&*host);
    let children: Vec<u32> = survey.children(std::process::id()).into_iter().map(|child| child.pid).collect();
    assert!(many.pids().iter().all(|pid| children.contains(pid)), "{children:?}");
    assert!(survey.processes.get().is_some());
    assert!(survey.children(many.pids()[0]).is_empty());
}

#[test]
fn single_reads_agree_with_the_process_table() {
    // Not children of this process, because other tests start many. They end with their input.
    let mut parent = Command::new("sh");
    parent.args(["-c", "exec 3<&0; cat <&3 & cat <&3 & echo; wait"]);
    let started = parent.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut parent = Many(vec![started.unwrap()]);
    std::io::Read::read_exact(parent.0[0].stdout.as_mut().unwrap(), &mut [0]).unwrap();
    let own = parent.0[0].id();
    let host = this_host(Deadline::after(Duration::from_secs(20)));
    let (single, whole) = (Survey::new(&*host), Survey::new(&*host));
    whole.processes();
    let children: Vec<u32> = whole.children(own).into_iter().map(|child| child.pid).collect();
    assert_eq!(children.len(), 2);
    for child in &children {
        assert_eq!(single.entry(*child), whole.entry(*child));
        assert_eq!(single.entry(*child).unwrap().ppid, own);
        assert_eq!(single.ancestors(*child), whole.ancestors(*child));
        assert!(single.children(own).iter().any(|entry| entry.pid == *child));
    }
    assert!(children.iter().all(|pid| single.relatives(own).contains(pid) && single.are_relatives(own, *pid)));
    assert!(children.iter().all(|pid| single.are_relatives(*pid, std::process::id())));
    assert!(!single.are_relatives(children[0], children[1]) && !single.are_relatives(own, 1));
    assert!(single.processes.get().is_none(), "none of this takes the whole table");
    assert_eq!(single.entry(4_000_000_000), None);
    assert!(single.children(4_000_000_000).is_empty());
}
