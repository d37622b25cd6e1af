//! Every finding is worded with the smallest and the largest values, and fits on a terminal of 80 columns.

mod tests {
    use crate::collect::replay;
    use crate::model::{
        DatabaseFinding, DatabaseProblem, DescriptorFinding, Envelope, Growth, HttpFinding, HttpProblem,
        LineageFinding, LockFinding, LockWait, PortFinding, PortProblem, ProcessFinding, ResourceFinding, Severity,
        Status, TaskLimit, TrendFacts, WalIndex, id,
    };
    use crate::render::{Style, View, people};
    use crate::wording::*;
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn fixtures() -> Vec<Envelope> {
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| replay::read(&std::fs::read(path).unwrap()).unwrap()).collect()
    }

    /// The findings of all recorded hosts, and those that none of them has.
    fn every_finding() -> Vec<Raised> {
        let mut found: Vec<Raised> = Vec::new();
        let mut envelopes = fixtures();
        for envelope in &mut envelopes {
            found.extend(envelope.servers.iter_mut().flat_map(diagnose::judge));
            found.extend(diagnose::judge_host(&[], &envelope.databases));
        }
        let exchange = found.iter().find_map(|raised| match &raised.finding {
            Finding::Http(finding) => Some(finding.exchange.clone()),
            _ => None,
        });
        let database = envelopes.iter().flat_map(|envelope| &envelope.databases).next().cloned();
        let database = database
            .or_else(|| envelopes.iter().flat_map(|it| &it.servers).flat_map(|it| &it.databases).next().cloned());
        let (exchange, database) = (exchange.unwrap(), database.unwrap());
        let http = |problem| Finding::from(HttpFinding { exchange: exchange.clone(), problem });
        let port = |problem| Finding::from(PortFinding { port: 8787, examined: Some(7), problem });
        let database = |problem| Finding::from(DatabaseFinding { database: database.clone(), problem });
        let others = [
            http(HttpProblem::WorkersExhausted),
            http(HttpProblem::Empty),
            http(HttpProblem::Reset),
            http(HttpProblem::OnlyIpv6 { answers_at: "[::1]:8787".into(), listens_on: vec!["::1".into()] }),
            port(PortProblem::BacklogFull { accept_queue: 9, backlog: 5 }),
            port(PortProblem::OtherHome { wanted: "/srv/a".into(), found: "/srv/b".into() }),
            database(DatabaseProblem::GenerationDeleted { holders: Vec::new() }),
            database(DatabaseProblem::LocksLost { holders: Vec::new() }),
            DescriptorFinding::LimitLow { limit: 256, hard_limit: None }.into(),
            DescriptorFinding::LeftByHealthRequests { requests: 9, before: 1, after: 90, limit: Some(256) }.into(),
            ProcessFinding::Traced { pid: 7, tracer_pid: 8 }.into(),
            ProcessFinding::ZombieChildren { count: 12 }.into(),
            ResourceFinding::MemoryWaits.into(),
            ResourceFinding::HostFilesExhausted { files: 99, max: 100 }.into(),
            ResourceFinding::ThreadsExhausted {
                reached: vec![TaskLimit::Host { name: "kernel.pid_max".into(), tasks: 99, max: 100 }],
                log: None,
                threads: Some(9),
            }
            .into(),
            LineageFinding::OrphanedBackend {
                pid: 7,
                parent: 1,
                owner: 6,
                command: "hermes serve --port 0".into(),
                no_supervisor_because: "no supervisor is above it".into(),
            }
            .into(),
        ];
        let growth: Growth = serde_json::from_value(serde_json::json!({
            "series": "family:/srv/state.db", "shape": "staircase", "first": 10, "last": 200, "peak": 200,
            "floor_first": 10, "floor_last": 200, "falls": 0, "per_hour": 18.5, "per_hour_low": 15.0,
            "per_hour_high": 21.0, "to_limit_ms": 60_000, "samples": 48, "span_ms": 480_000, "missing": null,
            "idle": true
        }))
        .unwrap();
        let facts = || TrendFacts { growth: growth.clone(), soft_limit: Some(256) };
        let path = || "/srv/state.db".to_owned();
        let index: WalIndex = serde_json::from_value(serde_json::json!({
            "version": 3_007_000, "is_initialised": true, "page_size_bytes": 4096, "max_frame": 5000, "pages": 9,
            "salt": [1, 2], "change": 1, "backfilled_frames": 7, "backfill_attempted": null,
            "read_marks": [0, 7, null, null, null], "copies_agree": true, "checksum_is_right": true
        }))
        .unwrap();
        let lock = LockWait { file: "server.py".into(), line: 9, waiters: 3, ..LockWait::default() };
        let rest = [
            http(HttpProblem::Refused { addresses: vec!["127.0.0.1:8787".into()] }),
            http(HttpProblem::Unexpected { redirect_to: None }),
            DescriptorFinding::DeferredClose { path: path(), facts: facts(), most_open: Some(9) }.into(),
            DescriptorFinding::HandleGrowth { path: path(), facts: facts() }.into(),
            DescriptorFinding::Growth { facts: facts(), parts: vec![growth.clone()] }.into(),
            DescriptorFinding::Rise { facts: facts(), limit: 256, limit_in_ms: 60_000 }.into(),
            database(DatabaseProblem::CheckpointPinned { slot: 1, mark: 7, pids: vec![8], index, after_ms: 500 }),
            LockFinding { subject: "LOCK".into(), locks: vec![lock], between_ms: 500 }.into(),
        ];
        found.extend(others.into_iter().chain(rest).map(|finding| Raised::new(Severity::Critical, finding)));
        found
    }

    /// The finding with every number replaced by the largest of `numbers` that its field can have.
    fn with_numbers(finding: &Finding, numbers: &[u64]) -> Finding {
        let mut value = serde_json::to_value(finding).unwrap();
        let mut paths = Vec::new();
        number_paths(&value, String::new(), &mut paths);
        for path in paths {
            for number in numbers {
                let old = std::mem::replace(value.pointer_mut(&path).unwrap(), (*number).into());
                if serde_json::from_value::<Finding>(value.clone()).is_ok() {
                    break;
                }
                *value.pointer_mut(&path).unwrap() = old;
            }
        }
        serde_json::from_value(value).unwrap()
    }

    fn number_paths(value: &Value, path: String, paths: &mut Vec<String>) {
        match value {
            Value::Number(_) => paths.push(path),
            Value::Array(items) => {
                items
                    .iter()
                    .take(6)
                    .enumerate()
                    .for_each(|(at, item)| number_paths(item, format!("{path}/{at}"), paths));
            }
            Value::Object(fields) => fields.iter().for_each(|(name, item)| {
                number_paths(item, format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), paths);
            }),
            _ => {}
        }
    }

    /// The verdict with this finding alone, on a terminal of 80 columns.
    fn printed(finding: &WordedFinding, template: &Envelope, is_verbose: bool) -> String {
        let mut envelope = template.clone();
        let server = &mut envelope.servers[0];
        server.findings = vec![finding.clone()];
        server.root_causes = vec![finding.id.clone()];
        server.status = Status::Critical;
        people(&envelope, &View { style: Style::plain(80, true), verbose: is_verbose, quiet: false, top: 5 })
    }

    #[test]
    fn every_finding_fits_with_the_smallest_and_the_largest_values() {
        let template = fixtures().into_iter().find(|envelope| envelope.servers.len() == 1).unwrap();
        let (mut worded_ids, mut seen) = (BTreeSet::new(), BTreeSet::new());
        for raised in every_finding() {
            worded_ids.insert(raised.id());
            // One finding of each kind is enough for the values.
            let kind = serde_json::to_value(&raised.finding).map(|value| shape(&value)).unwrap();
            if !seen.insert(kind) {
                continue;
            }
            let numbers = [&[0][..], &[u64::MAX, u64::from(u32::MAX), u64::from(u16::MAX), u64::from(u8::MAX)]];
            let variants = numbers.map(|numbers| with_numbers(&raised.finding, numbers));
            for finding in variants.into_iter().chain([raised.finding.clone()]) {
                for os in [Os::Linux, Os::MacOs] {
                    let raised = Raised { finding: finding.clone(), ..raised.clone() };
                    let context = Context { pid: Some(7), ..Context::host(os) };
                    let finding = worded(&raised, words(&raised, &context), os);
                    assert!(!finding.title.is_empty() && !finding.title.contains('\n'), "{finding:#?}");
                    assert!(finding.evidence.iter().all(|item| !item.source.is_empty()), "{finding:#?}");
                    if os == Os::MacOs {
                        let steps = finding.next.iter().flat_map(|step| [Some(&step.what), step.command.as_ref()]);
                        let sources = finding.evidence.iter().map(|item| &item.source);
                        let is_kernel = |text: &&String| text.starts_with("/proc/") || text.contains("sock_diag");
                        // Limits of tasks and memory are not read on macOS.
                        let is_linux_only = matches!(raised.finding, Finding::Resources(_));
                        let linux = steps.flatten().chain(sources).find(is_kernel);
                        assert!(is_linux_only || linux.is_none(), "{linux:?} in {finding:#?}");
                    }
                    for is_verbose in [false, true] {
                        let printed = printed(&finding, &template, is_verbose);
                        let own: Vec<&str> = printed.lines().filter(|line| line.chars().count() > 80).collect();
                        let commands: Vec<&str> =
                            finding.next.iter().filter_map(|step| step.command.as_deref()).collect();
                        let is_command = |line: &&str| commands.contains(&line.trim());
                        let is_one_word =
                            |line: &&str| line.split_whitespace().any(|word| word.chars().count() > 40);
                        let long: Vec<_> =
                            own.iter().filter(|line| !is_command(line) && !is_one_word(line)).collect();
                        assert!(long.is_empty(), "{}: {long:#?}", finding.id);
                    }
                }
            }
        }
        let missing: Vec<_> =
            catalogue::CATALOGUE.iter().map(|entry| entry.id).filter(|id| !worded_ids.contains(id)).collect();
        assert!(missing.is_empty(), "no finding of these was worded: {missing:?}");
        assert!(worded_ids.contains(id::STATE_DB_HANDLE_LEAK));
    }

    /// The names of the variants and of their fields down to the second level.
    fn shape(value: &Value) -> String {
        let Value::Object(outer) = value else { return value.to_string() };
        let names = |value: &Value| match value {
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| match value {
                    Value::Object(inner) if name == "problem" => inner.keys().cloned().collect(),
                    Value::String(variant) if name == "problem" => variant.clone(),
                    Value::Null => format!("{name} null"),
                    _ => name.clone(),
                })
                .collect::<Vec<_>>()
                .join(" "),
            other => other.to_string(),
        };
        outer.iter().map(|(name, value)| format!("{name} {}", names(value))).collect()
    }
}
