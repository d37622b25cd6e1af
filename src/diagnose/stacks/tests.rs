//! Each lock pattern as threads and source, and a healthy pattern with similar facts.

use super::*;
use crate::model::PythonStack;
use crate::parse::python_source::parse;

const FILE: &str = "/srv/app/server.py";
const THREADING: &str = "/usr/lib/python3.11/threading.py";

/// A thread in the description of a test.
struct Staged {
    tid: u32,
    name: &'static str,
    /// Innermost first: function, and the mark of its line, or a file of the library.
    frames: Vec<(&'static str, &'static str)>,
    call: Option<(&'static str, Option<bool>)>,
}

fn at(text: &str, mark: &str) -> u32 {
    let at = text.lines().position(|line| line.contains(mark)).unwrap_or_else(|| panic!("no {mark}"));
    u32::try_from(at + 1).unwrap()
}

fn waits(tid: u32, frames: Vec<(&'static str, &'static str)>) -> Staged {
    Staged { tid, name: "waiter", frames, call: Some(("futex", Some(true))) }
}

fn sleeps(tid: u32, frames: Vec<(&'static str, &'static str)>) -> Staged {
    Staged { tid, name: "holder", frames, call: Some(("clock_nanosleep", None)) }
}

fn staged(text: &str, threads: &[Staged]) -> Stacks {
    let stacks = threads
        .iter()
        .map(|thread| {
            let frame = |(function, mark): &(&str, &str)| StackFrame {
                function: (*function).to_owned().into(),
                file: if mark.starts_with('/') { (*mark).to_owned().into() } else { FILE.to_owned().into() },
                line: Some(if mark.starts_with('/') { 320 } else { at(text, mark) }),
            };
            PythonStack {
                frames: thread.frames.iter().map(frame).collect(),
                frames_omitted: 0,
                threads: vec![PythonThread {
                    tid: Some(thread.tid),
                    name: Some(thread.name.to_owned().into()),
                    ..PythonThread::default()
                }],
            }
        })
        .collect();
    let look = PythonSample { interpreter: "3.11.7".into(), stacks, threads_omitted: 0, is_complete: true };
    let kernel = threads
        .iter()
        .map(|thread| {
            let call = thread.call.map(|(name, is_unlimited)| SystemCall {
                name: name.to_owned().into(),
                descriptor: None,
                is_unlimited,
            });
            let wait_channel = Some("futex_wait_queue".into());
            (thread.tid, ThreadSample { state: ProcessState::Sleeping, wait_channel, system_call: call })
        })
        .collect();
    assert!(files_of_waiters(&look, &kernel).iter().all(|file| file == FILE));
    let sources = HashMap::from([(FILE.into(), SourceText::Read(parse(text)))]);
    join(&look, &kernel, &sources)
}

fn only(stacks: &Stacks) -> &LockWait {
    let [lock] = stacks.locks.as_slice() else { panic!("{:#?}", stacks.locks) };
    lock
}

fn holder_of(lock: &LockWait) -> Option<u32> {
    lock.held_by.as_ref().and_then(|holder| holder.tid)
}

const GLOBAL: &str = "
LOCK = Lock()
def handler():
    with LOCK:  # TAKE
        pass
def sync():
    with LOCK:
        def later():
            work()  # NESTED
        slow()  # HELD
def slow():
    sleep()  # SLOW
def manual():
    LOCK.acquire()
    try:
        slow()  # MANUAL
    finally:
        LOCK.release()
";

#[test]
fn a_global_lock_is_certain() {
    let stacks = staged(
        GLOBAL,
        &[
            waits(1, vec![("handler", "# TAKE")]),
            waits(2, vec![("handler", "# TAKE")]),
            sleeps(3, vec![("slow", "# SLOW"), ("sync", "# HELD")]),
        ],
    );
    let lock = only(&stacks);
    assert_eq!((lock.waiters, holder_of(lock), lock.is_probable, lock.is_cycle), (2, Some(3), false, false));
    let holder = lock.held_by.as_ref().unwrap();
    assert_eq!(
        (holder.function.as_str(), holder.line, holder.role),
        ("sync", at(GLOBAL, "# HELD"), StackRole::Waits)
    );
    assert_eq!(holder.innermost.function, "slow");
    assert_eq!(lock.place(), format!("server.py:{}", at(GLOBAL, "# TAKE")));
    let manual = staged(
        GLOBAL,
        &[waits(1, vec![("handler", "# TAKE")]), sleeps(3, vec![("slow", "# SLOW"), ("manual", "# MANUAL")])],
    );
    assert_eq!(holder_of(only(&manual)), Some(3));
}

/// Written inside the block but not executed in it: a function, a lambda.
#[test]
fn code_defined_but_not_run_in_a_block_does_not_hold_its_lock() {
    for frames in [vec![("later", "# NESTED")], vec![("<lambda>", "# HELD")], vec![("slow", "# SLOW")]] {
        let stacks = staged(GLOBAL, &[waits(1, vec![("handler", "# TAKE")]), sleeps(3, frames)]);
        let lock = only(&stacks);
        assert_eq!(holder_of(lock), None);
        assert!(lock.no_holder.as_ref().unwrap().to_string().contains("no thread stands inside"));
    }
}

/// A thread that waits for the interpreter lock can be at any line, and waits for milliseconds.
#[test]
fn the_wait_for_the_interpreter_is_no_lock() {
    let turn = Staged { call: Some(("futex", Some(false))), ..waits(1, vec![("handler", "# TAKE")]) };
    let runs = Staged { call: None, ..waits(2, vec![("slow", "# SLOW")]) };
    let stacks = staged(GLOBAL, &[turn, runs]);
    assert!(stacks.locks.is_empty(), "{:?}", stacks.locks);
}

/// If the system call cannot be read, a futex at a line that takes a lock is enough.
#[test]
fn the_wait_channel_is_the_fallback_for_the_system_call() {
    let unknown = Staged { call: None, ..waits(1, vec![("handler", "# TAKE")]) };
    assert_eq!(only(&staged(GLOBAL, &[unknown])).waiters, 1);
}

#[test]
fn a_lock_that_a_thread_takes_twice_is_its_own_cycle() {
    let text = "
LOCK = Lock()
def outer():
    with LOCK:
        inner()  # OUTER
def inner():
    with LOCK:  # INNER
        pass
";
    let stacks = staged(text, &[waits(1, vec![("inner", "# INNER"), ("outer", "# OUTER")])]);
    let lock = only(&stacks);
    assert_eq!((holder_of(lock), lock.is_cycle), (Some(1), true));
}

const OBJECTS: &str = "
class Store:
    def get(self):
        with self._lock:  # GET
            pass
    def load(self):
        with self._lock:
            slow()  # LOAD
class Other:
    def load(self):
        with self._lock:
            slow()  # OTHER
    def child(self):
        with self._lock:
            self.next.child_get()  # PARENT
    def child_get(self):
        with self._lock:  # CHILD
            pass
";

/// `self._lock` of one class is probably the same lock, that of another class never; for two objects it is
/// unknown.
#[test]
fn locks_of_objects_are_only_probable() {
    let probably =
        staged(OBJECTS, &[waits(1, vec![("Store.get", "# GET")]), sleeps(2, vec![("Store.load", "# LOAD")])]);
    assert_eq!((holder_of(only(&probably)), only(&probably).is_probable), (Some(2), true));
    let other =
        staged(OBJECTS, &[waits(1, vec![("Store.get", "# GET")]), sleeps(2, vec![("Other.load", "# OTHER")])]);
    assert_eq!(holder_of(only(&other)), None);
    let both = staged(
        OBJECTS,
        &[
            waits(1, vec![("Store.get", "# GET")]),
            sleeps(2, vec![("Store.load", "# LOAD")]),
            Staged { tid: 3, ..sleeps(3, vec![("Store.load", "# LOAD")]) },
        ],
    );
    assert_eq!(holder_of(only(&both)), None);
    assert!(only(&both).no_holder.as_ref().unwrap().to_string().contains("2 threads stand inside"));
    // Parent and child have a lock each: no thread waits for itself.
    let tree = staged(OBJECTS, &[waits(1, vec![("Other.child_get", "# CHILD"), ("Other.child", "# PARENT")])]);
    assert_eq!((holder_of(only(&tree)), only(&tree).is_cycle), (None, false));
}

/// Each thread has a connection, file or lock of its own, whatever it waits for.
#[test]
fn the_same_call_gives_another_object_each_time() {
    for (expression, is_named) in
        [("connect(path)", false), ("locks[user]", false), ("locks['agent']", true), ("locks[0]", true)]
    {
        let text = format!(
            "def take():\n    with {expression}:  # TAKE\n        pass\ndef hold():\n    with {expression}:\n        slow()  # HOLD\n"
        );
        let stacks = staged(&text, &[waits(1, vec![("take", "# TAKE")]), sleeps(2, vec![("hold", "# HOLD")])]);
        let lock = only(&stacks);
        assert_eq!(holder_of(lock).is_some(), is_named, "{expression}");
        assert_eq!(
            lock.no_holder.as_ref().is_some_and(|why| why.to_string().contains("each time")),
            !is_named,
            "{expression}"
        );
        assert!(lock.is_probable);
    }
}

const CONDITIONS: &str = "
COND = Condition()
LOCK = Lock()
def take():
    with COND:  # TAKE
        pass
def consume():
    with COND:
        COND.wait()  # WAIT
def hold():
    with LOCK:
        event.wait()  # EVENT
def want():
    with LOCK:  # WANT
        pass
";

/// `condition.wait()` releases its lock during the wait; `event.wait()` does not release the locks of its
/// caller.
#[test]
fn conditions_give_their_lock_back() {
    for (names, entered) in
        [(["Condition.wait", "Event.wait"], "Condition.__enter__"), (["wait", "wait"], "__enter__")]
    {
        let consumer = waits(1, vec![(names[0], THREADING), ("consume", "# WAIT")]);
        let taker = waits(2, vec![(entered, THREADING), ("take", "# TAKE")]);
        let stacks = staged(CONDITIONS, &[consumer, taker]);
        let lock = only(&stacks);
        assert_eq!((lock.threads[0].tid, holder_of(lock)), (Some(2), None), "{lock:#?}");
        let keeper = waits(1, vec![(names[0], THREADING), (names[1], THREADING), ("hold", "# EVENT")]);
        let stacks = staged(CONDITIONS, &[keeper, waits(2, vec![("want", "# WANT")])]);
        assert_eq!(holder_of(only(&stacks)), Some(1));
        assert_eq!(only(&stacks).held_by.as_ref().unwrap().role, StackRole::Waits);
    }
}

const GIVEN: &str = "
A = Lock()
B = Lock()
def both(first, second):
    with first:
        with second:  # SECOND
            pass
def use():
    with A:  # USE
        pass
def call():
    helper(A)  # CALL
def helper(lock):
    with lock:
        slow()  # HELPER
def alias(self):
    mine = A
    with mine:
        slow()  # ALIAS
Thread(target=both, args=(A, B), name='one')
Thread(target=both, args=(B, A), name='two')
";

#[test]
fn parameters_are_traced_to_their_arguments() {
    let thread = |tid, name| Staged { tid, name, ..waits(tid, vec![("both", "# SECOND"), ("run", THREADING)]) };
    let stacks = staged(GIVEN, &[thread(1, "one"), thread(2, "two"), waits(3, vec![("use", "# USE")])]);
    let of = |name: &str| {
        let lock = stacks.locks.iter().find(|lock| lock.given_as.as_deref() == Some(name)).unwrap();
        (holder_of(lock), lock.is_cycle, lock.is_probable)
    };
    assert_eq!((of("A"), of("B")), ((Some(1), true, true), (Some(2), true, true)));
    let handlers = stacks.locks.iter().find(|lock| lock.expression.as_deref() == Some("A")).unwrap();
    assert_eq!(holder_of(handlers), Some(1));
    assert_eq!(handlers.held_by.as_ref().unwrap().waits_for.as_deref(), Some("B at server.py:6"));
    // Without the names of the threads it can be either.
    let stacks = staged(GIVEN, &[thread(1, "?"), thread(2, "?"), waits(3, vec![("use", "# USE")])]);
    assert!(stacks.locks.iter().all(|lock| lock.held_by.is_none()), "{:#?}", stacks.locks);
    // The call that passed it is on the stack, so it is certain. A local name could have been assigned since.
    for (frames, is_probable) in
        [(vec![("helper", "# HELPER"), ("call", "# CALL")], false), (vec![("alias", "# ALIAS")], true)]
    {
        let stacks = staged(GIVEN, &[waits(1, vec![("use", "# USE")]), sleeps(2, frames)]);
        assert_eq!((holder_of(only(&stacks)), only(&stacks).is_probable), (Some(2), is_probable));
    }
}

/// Lines of a file that differs from the running code name other functions.
#[test]
fn a_source_that_does_not_fit_is_not_used() {
    let stacks = staged(GLOBAL, &[waits(1, vec![("something_else", "# TAKE")])]);
    assert!(stacks.locks.is_empty());
    assert_eq!(stacks.groups[0].role, StackRole::Waits);
}

#[test]
fn a_second_sample_distinguishes_a_held_lock_from_contention() {
    let look = |holder| {
        staged(
            GLOBAL,
            &[waits(1, vec![("handler", "# TAKE")]), sleeps(holder, vec![("slow", "# SLOW"), ("sync", "# HELD")])],
        )
    };
    let slept = |count| Sleeps::from([(1, count), (3, Some(1)), (4, Some(1))]);
    for (again, before, after, expected) in [
        (look(3), Some(7), Some(7), true),
        // Woken in between, but another thread was quicker.
        (look(3), Some(7), Some(8), false),
        (look(3), None, None, false),
        (look(4), Some(7), Some(7), false),
        (staged(GLOBAL, &[]), Some(7), Some(7), false),
    ] {
        let mut first = look(3);
        compare(&mut first, &again, 500, (&slept(before), &slept(after)));
        assert_eq!((only(&first).is_still, first.between_ms), (Some(expected), Some(500)));
    }
}

#[test]
fn roles_of_threads_that_wait_for_work() {
    let thread = |frames: Vec<(&'static str, &'static str)>, call| Staged { call: Some(call), ..waits(1, frames) };
    for (frames, call, role) in [
        (vec![("select", "/usr/lib/python3.11/selectors.py")], ("poll", None), StackRole::Idle),
        (
            vec![("_worker", "/usr/lib/python3.11/concurrent/futures/thread.py")],
            ("futex", Some(true)),
            StackRole::Idle,
        ),
        (
            vec![("wait", THREADING), ("get", "/usr/lib/python3.11/queue.py"), ("slow", "# SLOW")],
            ("futex", Some(true)),
            StackRole::Idle,
        ),
        (
            vec![
                ("SocketIO.readinto", "/usr/lib/python3.11/socket.py"),
                ("handle_one_request", "/usr/lib/python3.11/http/server.py"),
            ],
            ("recvfrom", None),
            StackRole::Idle,
        ),
        (vec![("accept", "/usr/lib/python3.11/socket.py"), ("slow", "# SLOW")], ("accept4", None), StackRole::Idle),
        (vec![("Condition.wait", THREADING), ("slow", "# SLOW")], ("futex", Some(true)), StackRole::Waits),
        (vec![("slow", "# SLOW")], ("clock_nanosleep", None), StackRole::Waits),
        (vec![("slow", "# SLOW")], ("select", None), StackRole::Waits),
        (vec![("slow", "# SLOW")], ("recvfrom", None), StackRole::InCall),
        (vec![("handler", "# TAKE")], ("futex", Some(true)), StackRole::WaitsForLock),
    ] {
        let look = staged_any(&[thread(frames.clone(), call)]);
        assert_eq!(look.groups[0].role, role, "{frames:?}");
    }
}

/// Like [`staged`], without a check of which files are requested.
fn staged_any(threads: &[Staged]) -> Stacks {
    let stacks = threads
        .iter()
        .map(|thread| PythonStack {
            frames: thread
                .frames
                .iter()
                .map(|(function, mark)| StackFrame {
                    function: (*function).to_owned().into(),
                    file: if mark.starts_with('/') { (*mark).to_owned().into() } else { FILE.to_owned().into() },
                    line: Some(if mark.starts_with('/') { 320 } else { at(GLOBAL, mark) }),
                })
                .collect(),
            frames_omitted: 0,
            threads: vec![PythonThread { tid: Some(thread.tid), ..PythonThread::default() }],
        })
        .collect();
    let kernel = threads
        .iter()
        .map(|thread| {
            let (name, is_unlimited) = thread.call.unwrap();
            let system_call = Some(SystemCall { name: name.to_owned().into(), descriptor: None, is_unlimited });
            (thread.tid, ThreadSample { state: ProcessState::Sleeping, wait_channel: None, system_call })
        })
        .collect();
    let look = PythonSample { stacks, is_complete: true, ..PythonSample::default() };
    join(&look, &kernel, &HashMap::from([(FILE.into(), SourceText::Read(parse(GLOBAL)))]))
}
