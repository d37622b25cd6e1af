//! Foreign bytes by family, each given to everything that reads its kind. Nothing here may panic, whatever the bytes.
//! The fuzz targets and `tests/it/seeds.rs` share it, so that the seeds are proven by an ordinary test.

use hermes_doctor::collect::replay;
use hermes_doctor::command::Cli;
use hermes_doctor::examine::{Request, replaying};
use hermes_doctor::model::{Part, ServerKind};
use hermes_doctor::parse;
use hermes_doctor::parse::link::SqlitePart;
use hermes_doctor::parse::mask;
use hermes_doctor::redact::Level;
use hermes_doctor::render::{self, Style, View, plot};

/// Terminal controls that no foreign text may carry into output.
fn no_controls(text: &str) {
    assert!(!text.chars().any(|it| it.is_control() && it != '\n'), "a control character comes out: {text:?}");
}

fn text_of(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Files of the kernel about one process and the machine, link targets, groups, and the table of locks.
pub fn kernel(bytes: &[u8]) {
    use hermes_doctor::parse::{cgroup, descriptors, limits, link, locks, mounts, process, resources, thread};
    let _ = process::stat(bytes);
    let _ = process::status(bytes);
    let _ = limits::limits(bytes);
    let _ = mounts::local_mounts(bytes);
    let _ = process::mount_id(bytes);
    let _ = process::descriptor_inode(bytes);
    let all: Vec<_> = mounts::mounts(bytes).collect();
    let _ = mounts::of_path(&all, b"/srv/hermes/state.db");
    let _ = mounts::hidepid(bytes);
    let _ = process::namespace_inode(bytes);
    for (name, value) in process::environment(bytes).markers {
        no_controls(&name);
        no_controls(&value);
    }
    for arch in ["x86_64", "aarch64"] {
        let _ = thread::system_call(bytes, arch);
    }
    if let Some(channel) = thread::wait_channel(bytes) {
        no_controls(&channel);
    }
    let _ = thread::voluntary_switches(bytes);
    let _ = thread::is_open_for_reading(bytes);
    let _ = link::classify(bytes);
    let _ = link::is_device_path(bytes);
    let _ = link::is_unlinked_by_design(bytes);
    let file = descriptors::OpenFile { kind: "regular", path: bytes, count: 1, deleted: true, size_bytes: None };
    descriptors::Rows::default().add_file(&file, true);
    if let Some(path) = cgroup::path_of(bytes) {
        let _ = cgroup::unit_of(&path);
        let _ = cgroup::container_of(&path);
    }
    let _ = locks::parse(bytes);
    for part in [SqlitePart::Database, SqlitePart::Wal, SqlitePart::Shm] {
        let _ = locks::roles_of_answers(bytes, part);
    }
    let mounts = resources::hierarchies(bytes);
    for controller in [resources::Controller::Pids, resources::Controller::Memory] {
        let group = resources::group_of(bytes, controller);
        let path = group.map_or_else(|| text_of(bytes).into_owned(), |(_, path)| path);
        for mount in &mounts {
            let _ = resources::directories(mount, &path);
        }
        for version in [1, 2] {
            let files = resources::files_of(controller, version);
            let files: resources::GroupFiles = files.iter().map(|name| (*name, bytes.to_vec())).collect();
            let _ = resources::task_group(path.clone(), version, true, &files);
            let _ = resources::memory_group(path.clone(), version, true, &files);
        }
    }
    let _ = resources::limit(bytes);
    let _ = resources::pressure(bytes);
    let _ = resources::is_bound(bytes);
}

/// Tables of sockets, and the kernel's answer about one connection.
pub fn sockets(bytes: &[u8]) {
    use hermes_doctor::parse::{descriptors, sockets};
    let _ = sockets::progress(bytes);
    #[cfg(target_os = "linux")]
    let _ = parse::socket_diagnostics::datagram(bytes, &mut Vec::new());
    for socket in sockets::tcp_table(bytes).0 {
        let _ = descriptors::tcp_row(&socket, 1);
    }
    let others =
        [sockets::udp_table(bytes).0, sockets::unix_table(bytes).0, sockets::inode_column(bytes, "raw", 9)];
    for socket in others.iter().flatten() {
        let _ = descriptors::other_row(socket, 1);
    }
}

/// A database, its log and its index.
pub fn databases(bytes: &[u8]) {
    use hermes_doctor::parse::sqlite;
    let _ = sqlite::database_header(bytes);
    let _ = sqlite::wal_index(bytes);
    if let Ok(header) = sqlite::wal_header(bytes) {
        let _ = sqlite::frame_header(bytes.get(32..).unwrap_or_default(), &header);
    }
    let mut read = |offset: u64, length: usize| {
        let start = usize::try_from(offset).ok()?;
        bytes.get(start..start.checked_add(length)?).map(<[u8]>::to_vec)
    };
    // The size is read apart from the bytes, so it can be any.
    for size in [bytes.len() as u64, u64::MAX] {
        let (file, _) = sqlite::wal_file(size, &mut read);
        assert!(file.committed_frames <= file.frames_of_this_generation.or(file.committed_frames));
    }
    // A file that answers the same, wherever it is read.
    let mut same = |_: u64, length: usize| bytes.get(..length).map(<[u8]>::to_vec);
    let _ = sqlite::wal_file(u64::MAX, &mut same);
    if let Some((start, rest)) = bytes.split_first_chunk() {
        let start = u64::from_le_bytes(*start);
        let end = rest.first_chunk().map(|end| u64::from_le_bytes(*end));
        let _ = sqlite::lock_roles_of_database(start, end);
        let _ = sqlite::lock_roles_of_index(start, end);
    }
}

/// Texts of systemd and launchd, property lists, status bytes, answers of supervisord and of container engines, and
/// the files in which a server's home keeps pids and settings.
pub fn supervisors(bytes: &[u8]) {
    use hermes_doctor::parse::home;
    use hermes_doctor::supervisor::container::wire as container;
    use hermes_doctor::supervisor::launchd::{plist, wire as launchd};
    use hermes_doctor::supervisor::openrc::wire as openrc;
    use hermes_doctor::supervisor::service_directory::wire as service_status;
    use hermes_doctor::supervisor::supervisord::wire as supervisord;
    use hermes_doctor::supervisor::systemd::wire as systemd;
    for unit in systemd::show(bytes) {
        no_controls(&unit.state());
        let _ = (unit.ended_by_itself(), unit.ran_for(), unit.exited_with_success());
    }
    let _ = systemd::unit_file(bytes);
    if let Ok(launchd::Answer::Found(job)) = launchd::job(bytes) {
        no_controls(&job.target());
        let _ = job.log();
    }
    let _ = launchd::domain(bytes);
    let _ = plist::job_file(bytes).map(|job| job.is_enabled());
    let _ = service_status::parse(bytes);
    let _ = supervisord::configuration(bytes, "/etc/supervisor");
    let _ = supervisord::process_info(bytes);
    let _ = (openrc::command(bytes), openrc::number(bytes), openrc::pid_file(bytes));
    let _ = container::inspect(bytes);
    let _ = home::pid_file(bytes);
    let _ = home::control_state(bytes);
    let _ = home::webui_port(bytes);
    let _ = home::hermes_home(bytes);
    let _ = home::variable(bytes, "HERMES_HOME");
    let _ = home::variable_directories(bytes);
}

/// Messages of pm2's daemon, and its title.
pub fn pm2(bytes: &[u8]) {
    use hermes_doctor::parse::amp;
    use hermes_doctor::supervisor::pm2::wire as pm2;
    if let Ok(Some(length)) = amp::frame(bytes).map(|frame| frame.map(|frame| frame.length)) {
        assert!(length <= bytes.len(), "a message is longer than what it was read from");
    }
    let _ = pm2::programs(bytes);
    // Mutations seldom keep the lengths right, so the same bytes also come as the body of a whole message.
    let body = [b"j:", bytes].concat();
    let request = pm2::request();
    let id = request.get(request.len().saturating_sub(b"s:hermes-doctor:0".len())..).unwrap_or_default();
    let mut message = request.get(..1).unwrap_or_default().to_vec();
    for argument in [body.as_slice(), id] {
        message.extend_from_slice(&u32::try_from(argument.len()).unwrap_or(0).to_be_bytes());
        message.extend_from_slice(argument);
    }
    let _ = pm2::programs(&message);
    let _ = pm2::home_of_title(&text_of(bytes));
}

/// Answers of servers: head, body, and what the body says of health.
pub fn http(bytes: &[u8]) {
    use hermes_doctor::parse::{health, http};
    let kinds = [
        ServerKind::Webui,
        ServerKind::Gateway,
        ServerKind::Dashboard,
        ServerKind::Serve,
        ServerKind::Mcp,
        ServerKind::Other,
    ];
    let _ = http::complete(bytes);
    if let Ok(Some(head)) = http::head(bytes) {
        assert!(head.length <= bytes.len(), "a head is longer than what it was read from");
        head.server.iter().chain(&head.location).for_each(|text| no_controls(text));
        let _ = http::is_unmarked(&head);
        let rest = bytes.get(head.length..).unwrap_or_default();
        let _ = http::body(&head, rest, false);
        if let Ok(http::Body::Complete(body)) = http::body(&head, rest, true) {
            assert!(body.len() <= http::MAX_BODY_BYTES, "a body is larger than its bound");
            for kind in kinds {
                let (_, answer) = health::read_answer(kind, head.status, head.server.as_deref(), &body);
                let _ = health::is_hermes_answer(head.server.as_deref(), answer.as_ref());
            }
        }
    }
    for kind in kinds {
        let (_, answer) = health::read_answer(kind, 200, None, bytes);
        answer.iter().flat_map(|answer| &answer.status).for_each(|text| no_controls(text));
    }
}

/// Logs, and lines of the flight recorder.
pub fn logs(bytes: &[u8]) {
    use hermes_doctor::parse::{darwin, history, log};
    let clock = log::Clock {
        zone: Some(jiff::tz::TimeZone::UTC),
        now: jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(500_000),
        started: Some(jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(499_000)),
    };
    let (first, second) = bytes.split_at(bytes.len() / 2);
    for clock in [&log::Clock::default(), &clock] {
        let mut facts = log::log(&[first, second], false, clock);
        log::all_older(&mut facts);
        let _ = log::log(&[bytes], true, clock);
    }
    let _ = darwin::descriptor::raised_limit(bytes);
    let mut lines = history::Lines::default();
    if lines.take_from(bytes).is_ok() {
        let history = lines.history();
        for record in &history.records {
            no_controls(&record.server);
            no_controls(record.at.as_str());
        }
        let records: Vec<_> = history.records.iter().collect();
        if let Some(Ok(drawing)) = records.first().map(|first| plot::svg(&first.server, &records)) {
            no_controls(&drawing);
        }
    }
}

/// Python source at each of its lines, and the blocks of Markdown.
pub fn sources(bytes: &[u8]) {
    use hermes_doctor::parse::{markdown, python_source};
    for block in markdown::fenced_blocks(bytes) {
        assert!(bytes.get(block.clone()).is_some(), "a block lies outside its text");
        let _ = markdown::unquoted(bytes.get(block).unwrap_or_default());
    }
    let text = text_of(bytes);
    let source = python_source::parse(&text);
    // Threads wait at a handful of lines, so a handful is asked for of a long text.
    let lines = u32::try_from(text.lines().count()).unwrap_or(u32::MAX);
    let step = usize::try_from(lines / 32 + 1).unwrap_or(1);
    for line in (0..=lines.saturating_add(1)).step_by(step) {
        let _ = source.taking(line);
        let _ = source.waits_for_condition(line);
        for expression in source.inside(line) {
            let _ = source.assigned(line, &expression.text);
            let _ = python_source::is_dotted(&expression.text);
        }
        if let Some(function) = source.function(line) {
            for parameter in &function.parameters {
                let _ = source.argument(line, &function, parameter);
                let _ = source.given(&function, parameter);
            }
        }
    }
}

/// A saved report: read, judged again, redacted and shown in every form.
pub fn reports(bytes: &[u8]) {
    let Ok(envelope) = replay::read(bytes) else { return };
    let request = request();
    for parts in [vec![Part::Databases], request.parts.clone()] {
        let Ok(judged) = replaying::replay(envelope.clone(), &Request { parts, ..request.clone() }) else {
            continue;
        };
        let _ = render::json(&judged);
        for level in [Level::None, Level::Default, Level::Paranoid] {
            let hidden = hermes_doctor::examine::redacted(judged.clone(), level, &["forge".to_owned()]);
            let _ = render::json(&hidden);
            no_controls(&render::markdown(&hidden));
            no_controls(&render::html(&hidden));
        }
        for (width, unicode, verbose) in [(40, false, true), (80, true, false), (120, true, true)] {
            let view = View { style: Style::plain(width, unicode), verbose, quiet: false, top: 10 };
            no_controls(&render::people(&judged, &view));
        }
    }
}

/// The request of `hermes-doctor check --from`.
fn request() -> Request {
    use clap::Parser;
    let cli = Cli::try_parse_from(["hermes-doctor", "check", "--from", "report.json"]);
    cli.ok().and_then(|cli| cli.request()).unwrap_or_else(|| std::process::abort())
}

/// What the kernel of macOS fills in.
pub fn darwin(bytes: &[u8]) {
    use hermes_doctor::parse::darwin::{descriptor, procargs, process, socket};
    let _ = process::table(bytes);
    let _ = process::task(bytes);
    let _ = process::thread(bytes);
    let _ = process::thread_handles(bytes);
    let _ = process::working_directory(bytes);
    if let Ok(socket) = socket::parse(bytes) {
        let _ = socket.handle();
    }
    let _ = socket::pipe(bytes);
    if let Ok(arguments) = procargs::parse(bytes) {
        let _ = procargs::could_be_hermes(&text_of(arguments.executable));
    }
    let mut records: Vec<_> = descriptor::list(bytes)
        .into_iter()
        .map(|(descriptor, kind)| descriptor::Record { descriptor, kind, answer: Ok(bytes.to_vec()) })
        .take(16)
        .collect();
    records.extend(descriptor::decode(bytes).unwrap_or_default());
    let _ = descriptor::vnode(bytes);
    let _ = descriptor::read(&records);
    let _ = descriptor::output_files(&records);
    for record in &records {
        let _ = descriptor::database_part(record, &[b"/srv/hermes/state.db".to_vec()]);
    }
}

/// Command lines, expectations of who starts a server, and what is masked of both.
pub fn commands(bytes: &[u8]) {
    use hermes_doctor::model::text;
    use hermes_doctor::parse::command;
    use hermes_doctor::supervisor::{expect, role};
    let shown = text::printable(bytes);
    assert!(text::is_printable(&shown), "what was made printable is not: {shown:?}");
    let words = text::nul_separated(bytes);
    let argv: Vec<String> = words.iter().map(|word| text_of(word).into_owned()).collect();
    let _ = command::recognise(&argv);
    let _ = command::recognise_configured(&argv);
    let _ = role::classify(1, argv.first().map_or("", String::as_str), &argv);
    no_controls(&mask::command(&words));
    let text = text_of(bytes);
    let _ = mask::text(&text);
    let _ = mask::url(&text);
    if let Ok(expected) = text.parse::<expect::Expect>() {
        no_controls(&expected.name());
        let _ = expected.to_string();
    }
    let _ = parse::version::is_newer(&text);
}
