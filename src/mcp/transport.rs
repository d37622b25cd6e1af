//! The two pipes of the protocol, with limits. No more requests are read from a client that does not read its
//! responses, so neither requests nor responses accumulate in memory.

use rmcp::model::{GetExtensions, JsonRpcMessage};
use rmcp::service::{RoleServer, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Maximum number of requests that are read and not answered yet, including waiting ones. It is greater than
/// the number of concurrent calls, so that a client can cancel a waiting one.
const MAX_REQUESTS: usize = 32;
/// Maximum number of responses that wait to be written. The size of each is limited too.
const MAX_ANSWERS: usize = 16;
/// Time that the end waits for a response to a client that does not read.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Responses being written, and their errors.
#[derive(Debug, Default)]
pub struct Output {
    waiting: AtomicUsize,
    /// Notified when a response was written or its write failed.
    moved: Notify,
    failure: Mutex<Option<io::Error>>,
    is_over: std::sync::atomic::AtomicBool,
}

impl Output {
    /// Why responses could not be written. `None` also if the client closed its end, which is its normal way to
    /// disconnect.
    pub fn failure(&self) -> Option<io::Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn fail(&self, error: &io::Error) {
        if error.kind() != io::ErrorKind::BrokenPipe {
            let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert_with(|| io::Error::new(error.kind(), error.to_string()));
        }
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// A response being written; it counts as such until it is dropped.
struct Waiting(Arc<Output>);

impl Waiting {
    fn new(output: &Arc<Output>) -> Self {
        output.waiting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(output))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.moved.notify_one();
    }
}

/// A transport with a limit on the numbers of requests and responses.
pub struct Bounded<T> {
    inner: T,
    requests: Arc<Semaphore>,
    /// Permit for the next request. It is kept here so that the wait for it can be cancelled and resumed.
    permit: Option<OwnedSemaphorePermit>,
    output: Arc<Output>,
}

impl<T> Bounded<T> {
    /// Adds the limits to a transport; `output` has the state of its responses.
    pub fn new(inner: T, output: Arc<Output>) -> Self {
        Self { inner, requests: Arc::new(Semaphore::new(MAX_REQUESTS)), permit: None, output }
    }
}

impl<T> Transport<RoleServer> for Bounded<T>
where
    T: Transport<RoleServer, Error = io::Error> + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), io::Error>> + Send + 'static {
        let waiting = Waiting::new(&self.output);
        let sent = self.inner.send(item);
        async move {
            let sent = sent.await;
            if let Err(error) = &sent {
                waiting.0.fail(error);
            }
            sent
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            let moved = self.output.moved.notified();
            if self.output.is_over() {
                return None;
            }
            if self.output.waiting.load(Ordering::Relaxed) < MAX_ANSWERS {
                break;
            }
            moved.await;
        }
        if self.permit.is_none() {
            self.permit = Some(Arc::clone(&self.requests).acquire_owned().await.ok()?);
        }
        let mut message = self.inner.receive().await?;
        if let JsonRpcMessage::Request(request) = &mut message
            && let Some(permit) = self.permit.take()
        {
            // The permit is dropped with the request: answered, cancelled, or refused.
            request.request.extensions_mut().insert(Arc::new(permit));
        }
        Some(message)
    }

    async fn close(&mut self) -> Result<(), io::Error> {
        let closed = tokio::time::timeout(CLOSE_TIMEOUT, self.inner.close()).await;
        closed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}
