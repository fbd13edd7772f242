//! The tables of services, and how each kind of handler is run.

use std::{
    fmt::{self, Display},
    future::Future,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Poll, Waker},
    time::Instant,
};

use futures_util::FutureExt as _;
use rustc_hash::FxHashMap;
use towline_codec::{Text, greenpack::Timestamp};

use super::{Context, Core, DownloadSink, UploadParts, net_rpc::NetRpcServices, pace::Pace};
#[cfg(feature = "tower")]
use crate::layers::{self, CallRequest};
use crate::{
    driver::{self, Shared},
    measure::Measured,
    proto::{CallKey, Message, NetRpcResponse, Now, ServiceKind, refusal},
};

/// Asked by names that peers choose, and filled by the application alone: no peer can make its entries collide.
type Table = FxHashMap<Text, Entry>;

/// One table a kind of request (docs/wire C3).
#[derive(Default)]
pub(super) struct Services {
    pub(super) calls: Table,
    pub(super) one_ways: Table,
    pub(super) uploads: Table,
    pub(super) downloads: Table,
    pub(super) bistreams: Table,
    pub(super) net_rpc: NetRpcServices,
}

impl Services {
    /// The service, or why there is none: nothing, for what is refused by a CallError (docs/wire E2,
    /// E13).
    pub(super) fn find(&self, kind: ServiceKind, name: &Text) -> Result<&Entry, Option<Text>> {
        let table = match kind {
            ServiceKind::Call => &self.calls,
            ServiceKind::OneWay => &self.one_ways,
            ServiceKind::Upload => &self.uploads,
            ServiceKind::Download => &self.downloads,
            ServiceKind::Bistream => &self.bistreams,
            ServiceKind::NetRpc => return self.net_rpc.find(name).map_err(Some),
        };
        table.get(name).ok_or(None)
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |table: &Table| {
            let mut names: Vec<Text> = table.keys().cloned().collect();
            names.sort();
            names
        };
        f.debug_struct("Services")
            .field("calls", &names(&self.calls))
            .field("one_ways", &names(&self.one_ways))
            .field("uploads", &names(&self.uploads))
            .field("downloads", &names(&self.downloads))
            .field("bistreams", &names(&self.bistreams))
            .field("net_rpc", &self.net_rpc.names())
            .finish()
    }
}

/// A request on its way to its handler.
pub(super) struct Job {
    pub(super) call: OpenCall,
    pub(super) context: Context,
    pub(super) request: Message,
}

/// A call that has a handler, and where its reply goes.
pub(super) struct OpenCall {
    pub(super) shared: Arc<Shared<Core>>,
    pub(super) key: CallKey,
    pub(super) kind: ServiceKind,
    pub(super) measured: Measured,
}

impl OpenCall {
    /// Sends the reply, as soon as there is room for it.
    async fn reply(mut self, mut reply: Message) -> CallKey {
        while let Err(refused) = self.try_reply(reply) {
            reply = refused;
            if self.shared.room().await.is_err() {
                break;
            }
        }
        self.key
    }

    /// Sends the reply, or gives it back if there is no room for it now.
    fn try_reply(&mut self, reply: Message) -> Result<(), Message> {
        self.try_reply_at(driver::now(), reply)
    }

    /// Sends the reply now, or later if there is no room for it.
    fn finish_at(mut self, now: Now, reply: Message) -> Option<Running> {
        let reply = self.try_reply_at(now, reply).err()?;
        Some(Box::pin(self.reply(reply)))
    }

    fn try_reply_at(&mut self, now: Now, reply: Message) -> Result<(), Message> {
        let mut state = self.shared.lock();
        if state.closed.is_some() {
            return Ok(());
        }
        if !state.core.has_room() {
            return Err(reply);
        }
        self.measured.ends(outcome(&reply.error));
        if let Some(reply) = state.core.reply(now, self.key, reply) {
            send_reply(&self.shared, state, now, self.kind, reply);
        }
        Ok(())
    }
}

/// How a handler ended, for metrics.
fn outcome(error: &Text) -> &'static str {
    if error.is_empty() {
        "ok"
    } else if *error == refusal::HANDLER_PANICKED {
        "panicked"
    } else if *error == refusal::DEADLINE_EXCEEDED {
        "timed_out"
    } else {
        "failed"
    }
}

/// Queues a stamped reply; one that is too large is replaced by an error that says so.
pub(super) fn send_reply<'a>(
    shared: &'a Shared<Core>,
    state: std::sync::MutexGuard<'a, driver::State<Core>>,
    now: Now,
    kind: ServiceKind,
    mut reply: Message,
) {
    if let Err(error) = shared.enqueue(state, now, &reply) {
        let error = Text::from(error.describe("the reply"));
        reply.hdr.args.clear();
        reply.hdr.subject = Text::EMPTY;
        match NetRpcResponse::split(&reply.body) {
            // docs/wire C23: never an answer without its header.
            Ok((header, _)) if kind == ServiceKind::NetRpc => {
                reply.body = NetRpcResponse { error, ..header }.with_value(&[]);
            }
            _ => {
                reply.body.clear();
                reply.error = error;
            }
        }
        if let Err(error) = shared.enqueue(shared.lock(), now, &reply) {
            tracing::warn!(%error, "a reply was lost: not even its error fits into a frame");
        }
    }
}

/// A handler on its way to its reply.
pub(super) type Running = Pin<Box<dyn Future<Output = CallKey> + Send>>;

/// What runs a request of one service.
pub(super) trait Service: Send + Sync {
    /// The handler, the reply included. It has not begun yet.
    fn run(&self, job: Job) -> Running;

    /// The handler without its reply, for layers around it.
    #[cfg(feature = "tower")]
    fn handle(
        &self,
        _: CallRequest,
    ) -> futures_util::future::BoxFuture<'static, Result<Message, Text>> {
        Box::pin(std::future::ready(Err(Text::from_static(
            "no layer is put around this kind of service",
        ))))
    }

    /// Begins the handler in the caller's task: most answer without waiting for anything, and a
    /// task for each, even a place in memory for its whole way to the reply, would cost more than
    /// they do. Returns the rest if it waits; the waker it has seen wakes nobody, so it must be
    /// polled again.
    fn begin(&self, job: Job) -> Begun {
        let mut running = self.run(job);
        let waits = poll_once(running.as_mut()).is_pending();
        Begun {
            rest: waits.then_some(running),
            returned: driver::now().instant,
        }
    }
}

/// A handler that has been begun.
pub(super) struct Begun {
    /// What is left of it, if it waits.
    pub(super) rest: Option<Running>,
    /// When it returned.
    pub(super) returned: Instant,
}

/// Polls with a waker that wakes nobody.
fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut std::task::Context::from_waker(Waker::noop()))
}

/// A service in its table.
pub(super) struct Entry {
    pub(super) service: Box<dyn Service>,
    pub(super) pace: Pace,
}

impl Entry {
    pub(super) fn new(service: impl Service + 'static) -> Self {
        Self {
            service: Box::new(service),
            pace: Pace::default(),
        }
    }
}

/// Runs a handler to its reply. A panic and a deadline that passes end it, and only it (docs/wire
/// C10, E6, E8).
async fn run_to_reply<E: Display>(
    deadline: Option<Timestamp>,
    handler: impl Future<Output = Result<Message, E>>,
) -> Message {
    let handler = AssertUnwindSafe(handler).catch_unwind();
    let outcome = match deadline {
        None => Ok(handler.await),
        Some(deadline) => {
            let left = deadline.saturating_since(driver::now().wall);
            tokio::time::timeout(left, handler).await
        }
    };
    match outcome {
        Ok(outcome) => reply_of(outcome),
        Err(_) => failed(Text::from_static(refusal::DEADLINE_EXCEEDED)),
    }
}

/// A handler on its way from its first step to its reply.
pub(super) fn answer<E, Fut>(
    call: OpenCall,
    deadline: Option<Timestamp>,
    handler: impl FnOnce() -> Fut + Send + 'static,
) -> Running
where
    Fut: Future<Output = Result<Message, E>> + Send + 'static,
    E: Display + 'static,
{
    Box::pin(async move {
        // A handler may panic before it has made its future.
        let run = async move { handler().await };
        let reply = run_to_reply(deadline, run).await;
        call.reply(reply).await
    })
}

/// What is sent for how a handler ended: returned, failed or panicked.
fn reply_of<E: Display>(outcome: std::thread::Result<Result<Message, E>>) -> Message {
    match outcome {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => failed(Text::from(error.to_string())),
        Err(_) => {
            tracing::error!("a handler panicked; its call fails");
            failed(Text::from_static(refusal::HANDLER_PANICKED))
        }
    }
}

fn failed(error: Text) -> Message {
    Message {
        error,
        ..Message::new()
    }
}

pub(super) struct CallService<F>(pub(super) Arc<F>);

impl<F, Fut, E> Service for CallService<F>
where
    F: Fn(Context, Message) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Message, E>> + Send + 'static,
    E: Display + 'static,
{
    fn run(&self, job: Job) -> Running {
        let handler = Arc::clone(&self.0);
        let Job {
            call,
            context,
            request,
        } = job;
        answer(call, request.hdr.deadline, move || {
            handler(context, request)
        })
    }

    #[cfg(feature = "tower")]
    fn handle(
        &self,
        request: CallRequest,
    ) -> futures_util::future::BoxFuture<'static, Result<Message, Text>> {
        let handler = Arc::clone(&self.0);
        Box::pin(async move {
            let handled = handler(request.context, request.message).await;
            handled.map_err(|error| Text::from(error.to_string()))
        })
    }

    fn begin(&self, job: Job) -> Begun {
        let Job {
            call,
            context,
            request,
        } = job;
        let deadline = request.hdr.deadline;
        let begun = catch_unwind(AssertUnwindSafe(|| {
            let mut handler = Box::pin((self.0)(context, request));
            match poll_once(handler.as_mut()) {
                Poll::Ready(result) => Ok(result),
                Poll::Pending => Err(handler),
            }
        }));
        // One look at the clock is for the reply and for how long the handler took.
        let now = driver::now();
        let rest = match begun {
            Ok(Err(handler)) => Some(answer(call, deadline, move || handler)),
            Ok(Ok(result)) => call.finish_at(now, reply_of(Ok(result))),
            Err(panic) => call.finish_at(now, reply_of::<E>(Err(panic))),
        };
        Begun {
            rest,
            returned: now.instant,
        }
    }
}

pub(super) struct OneWayService<F>(pub(super) Arc<F>);

impl<F, Fut> Service for OneWayService<F>
where
    F: Fn(Context, Message) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    fn run(&self, job: Job) -> Running {
        let handler = Arc::clone(&self.0);
        Box::pin(async move {
            let Job {
                call:
                    OpenCall {
                        shared,
                        key,
                        mut measured,
                        ..
                    },
                context,
                request,
            } = job;
            let run = async move { handler(context, request).await };
            let ended = AssertUnwindSafe(run).catch_unwind().await;
            if ended.is_err() {
                tracing::error!("a handler of one-way messages panicked");
            }
            measured.ends(if ended.is_ok() { "ok" } else { "panicked" });
            let mut state = shared.lock();
            state.core.finish(key);
            // A call that waited for this one may start.
            shared.wake_driver(state);
            key
        })
    }
}

/// The server's ends of a stream, of which each kind of stream has one or both.
pub(super) trait Ends: Send + Sized + 'static {
    /// Those of a stream that is open.
    fn of(call: &OpenCall) -> Self;

    /// Those that a request has brought through the layers around its handler.
    #[cfg(feature = "tower")]
    fn taken(ends: (Option<UploadParts>, Option<DownloadSink>)) -> Option<Self>;
}

impl Ends for UploadParts {
    fn of(call: &OpenCall) -> Self {
        Self::new(Arc::clone(&call.shared), call.key)
    }

    #[cfg(feature = "tower")]
    fn taken((parts, _): (Option<UploadParts>, Option<DownloadSink>)) -> Option<Self> {
        parts
    }
}

impl Ends for DownloadSink {
    fn of(call: &OpenCall) -> Self {
        Self::new(Arc::clone(&call.shared), call.key)
    }

    #[cfg(feature = "tower")]
    fn taken((_, sink): (Option<UploadParts>, Option<DownloadSink>)) -> Option<Self> {
        sink
    }
}

impl Ends for (UploadParts, DownloadSink) {
    fn of(call: &OpenCall) -> Self {
        (Ends::of(call), Ends::of(call))
    }

    #[cfg(feature = "tower")]
    fn taken((parts, sink): (Option<UploadParts>, Option<DownloadSink>)) -> Option<Self> {
        parts.zip(sink)
    }
}

/// The handler of a stream whose ends are `S`.
pub(super) struct StreamService<F, S> {
    handler: Arc<F>,
    ends: PhantomData<fn() -> S>,
}

impl<F, S> StreamService<F, S> {
    pub(super) fn new(handler: F) -> Self {
        Self {
            handler: Arc::new(handler),
            ends: PhantomData,
        }
    }
}

impl<F, S, Fut, E> Service for StreamService<F, S>
where
    F: Fn(Context, Message, S) -> Fut + Send + Sync + 'static,
    S: Ends,
    Fut: Future<Output = Result<Message, E>> + Send + 'static,
    E: Display + 'static,
{
    fn run(&self, job: Job) -> Running {
        let handler = Arc::clone(&self.handler);
        let Job {
            call,
            context,
            request,
        } = job;
        let ends = S::of(&call);
        answer(call, request.hdr.deadline, move || {
            handler(context, request, ends)
        })
    }

    #[cfg(feature = "tower")]
    fn handle(
        &self,
        request: CallRequest,
    ) -> futures_util::future::BoxFuture<'static, Result<Message, Text>> {
        let handler = Arc::clone(&self.handler);
        Box::pin(async move {
            let Some(ends) = S::taken(request.take_ends()) else {
                return Err(Text::from_static(layers::STREAM_USED));
            };
            let handled = handler(request.context, request.message, ends).await;
            handled.map_err(|error| Text::from(error.to_string()))
        })
    }
}
