//! The examinations as tools of the Model Context Protocol, for an agent on standard input and output. Each
//! call is one run of the command of that name. It runs outside of the loop that reads and answers, and is
//! answered within its budget.

mod answer;
mod arguments;
mod tools;
mod transport;

use crate::collect::Deadline;
use crate::command;
use crate::examine::Progress;
use crate::examine::sampling::{self, SamplingPlan, Watcher};
use crate::model::{Envelope, Gap, GapDetail, GapReason, Sample, Trend};
use crate::redact::Level;
use crate::report;
use crate::wording;
use answer::Answer;
use arguments::Call;
use rmcp::ServiceExt;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, Implementation,
    ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer, ServerInitializeError};
use rmcp::transport::async_rw::AsyncRwTransport;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Maximum number of concurrent calls: enough to examine a few servers in parallel without loading the host.
const MAX_CALLS: usize = 4;
/// Maximum length of a message; a call has a few hundred bytes.
const MAX_MESSAGE: usize = 1024 * 1024;
/// Time that an examination may take beyond its budget to end its last step, as on the command line.
const GRACE: Duration = Duration::from_secs(5);

/// One flag for each call under way, set when its result is no longer awaited.
static CANCELLED: [AtomicBool; MAX_CALLS] = [const { AtomicBool::new(false) }; MAX_CALLS];

/// Serves one agent until its input ends, and returns the exit status.
pub fn serve(level: Level) -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("the server cannot be started: {error}")),
    };
    let output = Arc::new(transport::Output::default());
    let ended = runtime.block_on(async {
        let pipes =
            AsyncRwTransport::new_server(tokio::io::stdin(), tokio::io::stdout()).with_max_line_length(MAX_MESSAGE);
        let transport = transport::Bounded::new(pipes, Arc::clone(&output));
        match Doctor::new(level).serve(transport).await {
            Ok(running) => {
                let _ = running.waiting().await;
                Ok(())
            }
            // The client has disconnected.
            Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    });
    for called_off in &CANCELLED {
        called_off.store(true, Ordering::Relaxed);
    }
    // Calls under way are abandoned: their results are not awaited, and their workers end with this process.
    runtime.shutdown_background();
    if let Some(error) = output.failure() {
        return complain(&command::unwritten_output(&error));
    }
    ended.map_or_else(|line| complain(&crate::model::text::printable(line.as_bytes())), |()| 0)
}

fn complain(line: &str) -> u8 {
    let _ = writeln!(std::io::stderr().lock(), "hermes-doctor: {line}");
    command::EXIT_UNKNOWN
}

/// The MCP server.
struct Doctor {
    level: Level,
    tools: Vec<Tool>,
    places: Arc<Places>,
}

/// Slots for calls under way.
struct Places {
    free: Arc<Semaphore>,
    called_off: Mutex<Vec<&'static AtomicBool>>,
}

/// A slot, released when the examination has ended and its result is no longer awaited.
struct Place {
    places: Arc<Places>,
    called_off: &'static AtomicBool,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    /// Waits for a free slot.
    async fn take(places: &Arc<Self>) -> Option<Arc<Place>> {
        let permit = Arc::clone(&places.free).acquire_owned().await.ok()?;
        let called_off = places.called_off.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        called_off.store(false, Ordering::Relaxed);
        Some(Arc::new(Place { places: Arc::clone(places), called_off, _permit: permit }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.called_off.lock().unwrap_or_else(PoisonError::into_inner).push(self.called_off);
    }
}

/// Cancels the examination on drop, when its result is no longer awaited.
struct Cancellation(Arc<Place>);

impl Drop for Cancellation {
    fn drop(&mut self) {
        self.0.called_off.store(true, Ordering::Relaxed);
    }
}

impl Doctor {
    fn new(level: Level) -> Self {
        let places = Places {
            free: Arc::new(Semaphore::new(MAX_CALLS)),
            called_off: Mutex::new(CANCELLED.iter().collect()),
        };
        Self { level, tools: tools::list(), places: Arc::new(places) }
    }

    /// The result of a call, within its budget whether or not the examination ends.
    async fn answer(&self, name: &'static str, call: Call) -> Answer {
        let (level, budget) = (self.level, call.budget());
        let begun = Instant::now();
        let nothing =
            |line: String| nothing(name, Gap { reason: GapReason::Timeout, ..command::refusal(line) }, level);
        let Ok(Some(place)) = tokio::time::timeout(budget, Places::take(&self.places)).await else {
            return nothing(GapDetail::CallAgain { count: MAX_CALLS }.to_string());
        };
        let _call_off = Cancellation(Arc::clone(&place));
        // The wait for a slot counts towards the caller's budget.
        let deadline = Deadline::after(budget.saturating_sub(begun.elapsed())).unless(place.called_off);
        let work = tokio::task::spawn_blocking(move || examined(name, &call, deadline, place.called_off, level));
        let limit = (budget + GRACE).saturating_sub(begun.elapsed());
        match tokio::time::timeout(limit, work).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => nothing(GapDetail::ExaminationFailed.to_string()),
            Err(_) => nothing(GapDetail::NotFinished { seconds: limit.as_secs() }.to_string()),
        }
    }
}

impl rmcp::ServerHandler for Doctor {
    fn get_info(&self) -> ServerConfig {
        let tool = report::own_tool();
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new(tool.name, tool.version))
            .with_instructions(tools::INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.tools.clone()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = tools::named(&request.name) else {
            let name = crate::model::text::printable(request.name.as_bytes());
            let line = format!("there is no tool {name:?}; the tools are {}", tools::names());
            return Err(ErrorData::invalid_params(line, None));
        };
        let answer = match arguments::parse(tool.name, tool.arguments, request.arguments.unwrap_or_default()) {
            Ok(call) => context.ct.run_until_cancelled(self.answer(tool.name, call)).await,
            Err(line) => Some(Answer::refusal(line)),
        };
        // This is not sent: the protocol has no response to a cancelled call.
        let answer = answer.unwrap_or_else(|| Answer::refusal(GapDetail::Cancelled));
        let content = vec![ContentBlock::text(answer.text)];
        let mut result =
            if answer.is_error { CallToolResult::error(content) } else { CallToolResult::success(content) };
        result.structured_content = answer.envelope;
        Ok(result.into())
    }
}

fn nothing(command: &str, gap: Gap, level: Level) -> Answer {
    Answer::nothing(command::nothing_examined(command, gap), level)
}

/// One run of the command; outside of the loop, since it blocks on the host.
fn examined(name: &str, call: &Call, deadline: Deadline, called_off: &'static AtomicBool, level: Level) -> Answer {
    let begun = Instant::now();
    let examined = match (&call.cli.command, call.cli.request()) {
        (Some(command::Command::Explain { id }), _) => command::explained(id.as_deref()).map_err(command::refusal),
        (_, Some(request)) => {
            let waiting = Waiting { called_off, deadline };
            command::examine_until(&call.cli, &request, deadline, &waiting).and_then(|envelope| {
                match call.sampling {
                    Some(plan) => sampled(envelope, plan, &waiting, begun).map_err(command::refusal),
                    None => Ok(envelope),
                }
            })
        }
        (_, None) => Err(command::refusal(GapDetail::NothingToExamine.to_string())),
    };
    match examined {
        Ok(envelope) => Answer::examined(envelope, level, call.top),
        // Only facts of the host need redaction; an unknown id is text of the caller.
        Err(gap) if matches!(call.cli.command, Some(command::Command::Explain { .. })) => {
            nothing(name, gap, Level::None)
        }
        Err(gap) => nothing(name, gap, level),
    }
}

/// `fds` over time.
fn sampled(
    mut envelope: Envelope,
    plan: SamplingPlan,
    waiting: &Waiting,
    begun: Instant,
) -> Result<Envelope, String> {
    let several = envelope.servers.len();
    let [server] = envelope.servers.as_mut_slice() else {
        return Err(match several {
            0 => "there is no server to examine; name one with pid, port or home".to_owned(),
            count => format!("{count} servers run here; name one of them with pid or port"),
        });
    };
    if server.process.is_none() {
        return Err(GapDetail::NoProcessToExamine.to_string());
    }
    let mut watcher = *waiting;
    if !sampling::sample(server, plan, &mut watcher) {
        sampling::replace_ended(server, None);
    }
    crate::redact::mask(server);
    wording::judge(server);
    Ok(report::seal(envelope, begun.elapsed()))
}

/// Whether the result is still awaited. Steps are not shown, since standard output belongs to the protocol.
#[derive(Clone, Copy)]
struct Waiting {
    called_off: &'static AtomicBool,
    deadline: Deadline,
}

impl Progress for Waiting {
    fn step(&self, _what: &str) {}

    fn is_over(&self) -> bool {
        self.called_off.load(Ordering::Relaxed)
    }
}

impl Watcher for Waiting {
    fn sample(&mut self, _sample: &Sample, _trend: &Trend) {}

    fn is_over(&self) -> bool {
        self.deadline.is_over()
    }
}
