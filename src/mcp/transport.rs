//! The protocol's two pipes with bounds: a client that sends requests and reads no answers is not read from any more, so that neither
//! requests nor answers pile up in memory.

use rmcp::model::{GetExtensions, JsonRpcMessage};
use rmcp::service::{RoleServer, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Requests that are read and not answered yet, those that wait for their turn included. A client has to be able to call one off, so
/// that it is more than are examined at once.
const MAX_REQUESTS: usize = 32;
/// Answers that wait to be written. Each has a size of its own that is bounded.
const MAX_ANSWERS: usize = 16;
/// How long the end waits for an answer that is being written to a client that does not read.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Answers on their way out, and what became of them.
#[derive(Debug, Default)]
pub struct Output {
    waiting: AtomicUsize,
    /// An answer was written, or could not be.
    moved: Notify,
    failure: Mutex<Option<io::Error>>,
    is_over: std::sync::atomic::AtomicBool,
}

impl Output {
    /// Why answers could not be written; `None` also where the client has closed its end, which is how it leaves.
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

/// One answer on its way out; its drop says that it is not any more.
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

/// A transport whose requests and answers are bounded in number.
pub struct Bounded<T> {
    inner: T,
    requests: Arc<Semaphore>,
    /// For the next request: the wait for it can be given up and taken up again.
    permit: Option<OwnedSemaphorePermit>,
    output: Arc<Output>,
}

impl<T> Bounded<T> {
    /// Puts the bounds around a transport; what becomes of its answers is in `output`.
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
            // It goes with the request, and is given back when that is dropped: answered, called off, or refused.
            request.request.extensions_mut().insert(Arc::new(permit));
        }
        Some(message)
    }

    async fn close(&mut self) -> Result<(), io::Error> {
        let closed = tokio::time::timeout(CLOSE_TIMEOUT, self.inner.close()).await;
        closed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}
