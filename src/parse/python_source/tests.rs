use super::*;

/// The line of `text` that contains `mark`.
fn line(text: &str, mark: &str) -> u32 {
    let at = text.lines().position(|line| line.contains(mark)).unwrap_or_else(|| panic!("no {mark}"));
    u32::try_from(at + 1).unwrap()
}

fn inside(text: &str, mark: &str) -> Vec<String> {
    parse(text).inside(line(text, mark)).into_iter().map(|found| found.text).collect()
}

fn taken(text: &str, mark: &str) -> Vec<String> {
    let taking = parse(text).taking(line(text, mark));
    taking.map(|taking| taking.expressions.into_iter().map(|found| found.text).collect()).unwrap_or_default()
}

#[test]
fn finds_the_locks_that_a_line_acquires() {
    for (text, expected) in [
        ("with LOCK: # HERE", vec!["LOCK"]),
        ("with self._lock:  # HERE\n    pass", vec!["self._lock"]),
        ("with LOCK as held:  # HERE", vec!["LOCK"]),
        ("with a, self.b as c:  # HERE", vec!["a", "self.b"]),
        ("with (a, b):  # HERE", vec!["a", "b"]),
        ("with (a):  # HERE", vec!["a"]),
        ("with (a).b:  # HERE", vec!["(a).b"]),
        ("with (a)[0], (b):  # HERE", vec!["(a)[0]", "(b)"]),
        ("with locks[key, 1]:  # HERE", vec!["locks[key, 1]"]),
        ("with lock_for(user, kind='x: y'):  # HERE", vec!["lock_for(user, kind='x: y')"]),
        ("with LOCK: work()  # HERE", vec!["LOCK"]),
        ("LOCK.acquire()  # HERE", vec!["LOCK"]),
        ("if not self.a.b.acquire(timeout=-1):  # HERE", vec!["self.a.b"]),
        ("locks[name].acquire()  # HERE", vec!["locks[name]"]),
        ("f(x)(y)[0].acquire()  # HERE", vec!["f(x)(y)[0]"]),
        ("(a or b).acquire()  # HERE", vec!["(a or b)"]),
        ("while not (a).acquire():  # HERE", vec!["(a)"]),
        ("async with LOCK:  # HERE", vec![]),
        ("text = 'with LOCK:'  # HERE", vec![]),
        ("# with LOCK: HERE", vec![]),
        ("withdraw(LOCK)  # HERE", vec![]),
        ("acquire(LOCK)  # HERE", vec![]),
    ] {
        assert_eq!(taken(text, "HERE"), expected, "{text}");
    }
}

#[test]
fn distinguishes_with_items_on_separate_lines() {
    let text = "with (\n    first,\n    second as held,  # HERE\n):\n    pass\n";
    let taking = parse(text).taking(3).unwrap();
    assert_eq!(taking.expressions[0].text, "second");
    assert_eq!(taking.before[0].text, "first");
    let text = "with first, \\\n        second:\n    pass\n";
    assert_eq!(parse(text).taking(2).unwrap().expressions[0].text, "second");
}

#[test]
fn the_blocks_around_a_line() {
    let text = "\
def f():
    before()
    with OUTER:  # HEAD

        # a comment at any depth
# even here
        text = '''
with NOT_A_LOCK:
    '''
        if ready:
            with self.inner, other as held:
                call(
    1,
                )  # CONTINUED
                deep()  # DEEP
        else:
            shallow()  # SHALLOW
        value = (1 +
    2)  # HANGING
        last()  # LAST
    after()  # AFTER
";
    assert_eq!(inside(text, "DEEP"), ["other", "self.inner", "OUTER"]);
    assert_eq!(inside(text, "CONTINUED"), ["other", "self.inner", "OUTER"]);
    assert_eq!(inside(text, "SHALLOW"), ["OUTER"]);
    assert_eq!(inside(text, "HANGING"), ["OUTER"]);
    assert_eq!(inside(text, "LAST"), ["OUTER"]);
    assert!(inside(text, "AFTER").is_empty());
    assert!(inside(text, "HEAD").is_empty());
    assert!(inside(text, "before").is_empty());
}

#[test]
fn a_function_inside_a_block_has_not_entered_it() {
    let text = "\
with LOCK:
    def later():
        work()  # NESTED
    class Thing:
        value = work()  # CLASS
    async def soon():
        with OWN:
            work()  # OWN
    for x in y:
        work()  # LOOP
";
    assert!(inside(text, "NESTED").is_empty());
    assert!(inside(text, "CLASS").is_empty());
    assert_eq!(inside(text, "# OWN"), ["OWN"]);
    assert_eq!(inside(text, "LOOP"), ["LOCK"]);
}

#[test]
fn tabs_and_foreign_line_ends() {
    let text = "def f():\r\n\twith LOCK:\r\n\t\twork()  # HERE\r\n\tdone()  # DONE\r\n";
    assert_eq!(inside(text, "HERE"), ["LOCK"]);
    assert!(inside(text, "DONE").is_empty());
    let mixed = "if x:\n        with LOCK:\n\t\twork()  # HERE\n";
    assert_eq!(inside(mixed, "HERE"), ["LOCK"]);
    assert_eq!(inside("\u{feff}with LOCK:\n  work() # HERE", "HERE"), ["LOCK"]);
}

#[test]
fn acquired_before_a_try_that_releases_at_last() {
    let text = "\
def f(self):
    self.lock.acquire()
    try:
        work()  # HELD
    except E:
        handle()  # EXCEPT
    finally:
        self.lock.release()  # FINALLY
    other.acquire()
    try:
        work()  # NOT_RELEASED
    finally:
        pass
";
    assert_eq!(inside(text, "HELD"), ["self.lock"]);
    assert!(inside(text, "NOT_RELEASED").is_empty());
    assert!(inside(text, "FINALLY").is_empty());
}

#[test]
fn functions_and_their_arguments() {
    let text = "\
class Keeper:
    def keep(self, lock: Lock, *rest, wait=None):
        with lock:  # BODY
            work()
    def start(self):
        self.keep(self.one, 2)  # CALL
        Thread(target=self.keep, args=(B, 1), name=\"keeper\").start()
def free(first, second):
    pass  # FREE
def background(target, *arguments):
    pass
free(A, second=B)  # DIRECT
background(free, C, D, name='n')
pool.submit(free, *things)
free(A, B) or free(B, A)  # TWICE
";
    let source = parse(text);
    let keep = source.function(line(text, "BODY")).unwrap();
    assert_eq!((keep.name.as_str(), keep.class.as_deref()), ("keep", Some("Keeper")));
    assert_eq!(keep.parameters, ["self", "lock", "rest", "wait"]);
    assert_eq!(source.argument(line(text, "# CALL"), &keep, "lock").as_deref(), Some("self.one"));
    let given =
        |argument: &str, name: &str, line| Given { argument: argument.into(), name: Some(name.into()), line };
    assert_eq!(source.given(&keep, "lock"), [given("B", "keeper", 7)]);
    let free = source.function(line(text, "# FREE")).unwrap();
    assert_eq!(source.argument(line(text, "DIRECT"), &free, "second").as_deref(), Some("B"));
    assert_eq!(source.argument(line(text, "DIRECT"), &free, "first").as_deref(), Some("A"));
    assert_eq!(source.argument(line(text, "TWICE"), &free, "first"), None);
    assert_eq!(source.given(&free, "second"), [given("D", "n", 13)]);
    assert_eq!(source.function(line(text, "DIRECT")), None);
}

#[test]
fn finds_the_expression_assigned_to_a_name() {
    let text = "\
def f():
    lock = self.lock
    many = 1
    many = other
    made = Lock()
    for each in locks:
        pass
    with open() as file:
        global shared
        shared = x
        here()  # HERE
";
    let source = parse(text);
    let of = |name: &str| source.assigned(line(text, "HERE"), name);
    assert_eq!(of("lock"), Some(Some("self.lock".to_owned())));
    assert_eq!((of("many"), of("made"), of("each"), of("file")), (Some(None), Some(None), Some(None), Some(None)));
    assert_eq!((of("shared"), of("nowhere")), (None, None));
}

#[test]
fn conditions() {
    let text = "with self.cond:\n    self.cond.wait()  # A\n    event.set()  # B\n    c.wait_for(lambda: x)  # C\n";
    let source = parse(text);
    assert!(source.waits_for_condition(2) && source.waits_for_condition(4) && !source.waits_for_condition(3));
}

proptest::proptest! {
    #[test]
    fn any_text_is_read(
        text in "[ \\t\\n\\r\\\\\"'#:().,a-c\\[\\]{}=]{0,300}",
        words in proptest::collection::vec("with |def |class |as |try:|finally:|acquire|a|\\(|\\)|:|\\n    |\\n", 0..60),
    ) {
        for text in [text, words.concat()] {
            let source = parse(&text);
            for line in 0..12 {
                let _ = (source.taking(line), source.inside(line), source.assigned(line, "a"));
                if let Some(function) = source.function(line) {
                    let _ = (source.given(&function, "a"), source.argument(line, &function, "a"));
                }
            }
        }
    }
}
