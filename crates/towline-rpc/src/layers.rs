//! Middleware as `tower` services and layers, at both ends (feature `tower`).
//!
//! At a server, [`ServerBuilder::layer`](crate::server::ServerBuilder::layer) puts a layer around the handlers of all calls without
//! streams, typed ones included: it sees who calls and what, may answer by itself, wait, time, count.
//! [`stream_layer`](crate::server::ServerBuilder::stream_layer) does so for uploads, downloads and bistreams. At a client, a
//! [`Client`] and a [`Pool`] are services of messages, for whatever takes a service; and
//! [`Caller::layer`](crate::service::Caller::layer) puts a layer around the calls of a typed client,
//! [`Caller::stream_layer`](crate::service::Caller::stream_layer) around its uploads, downloads and bistreams. A layer of
//! streams, at either end, waits from the first message to the final reply: it may refuse the stream, change its first message,
//! limit how many there are or how long they take; the parts go past it.
//!
//! What most programs need is there without layers: who may call what
//! ([`ServerBuilder::authorise`](crate::server::ServerBuilder::authorise)), spans with W3C trace contexts
//! ([`TraceContext`](crate::TraceContext)), and metrics (feature `metrics`).
//!
//! ```
//! use std::time::Duration;
//! use tower::{limit::ConcurrencyLimitLayer, timeout::TimeoutLayer};
//! use towline_rpc::{Context, Message, Server};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::builder()
//!     .call("echo", |_: Context, request: Message| async move {
//!         Ok::<_, std::convert::Infallible>(Message::from_body(request.body))
//!     })
//!     .layer(TimeoutLayer::new(Duration::from_secs(3)))
//!     .layer(ConcurrencyLimitLayer::new(100))
//!     .build();
//! let client = server.connect_here();
//! assert_eq!(client.call(Message::request("echo", "hi")).await?.body, "hi");
//! # Ok(())
//! # }
//! ```

mod streams;

use std::{
    error::Error,
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex, PoisonError},
    task::{Context as TaskContext, Poll},
};

use futures_util::future::BoxFuture;
use tower_layer::Layer;
use tower_service::Service;
use towline_codec::Text;

pub use self::streams::{OutgoingStream, StreamSender};
use crate::{
    client::{CallOptions, Client},
    error::CallError,
    pool::Pool,
    proto::Message,
    server::{Context, DownloadSink, UploadParts},
};

type BoxError = Box<dyn Error + Send + Sync>;

/// What layers are here: those whose service takes a request `R`, answers it with a message, and can be used by many tasks at
/// once. Every layer that fits is one; `S` is what it is put around.
pub trait LayerOf<S, R>:
    Layer<
        S,
        Service: Service<R, Response = Message, Error: Into<BoxError>, Future: Send>
                     + Clone
                     + Send
                     + Sync
                     + 'static,
    >
{
}

impl<L, S, R> LayerOf<S, R> for L where
    L: Layer<
            S,
            Service: Service<R, Response = Message, Error: Into<BoxError>, Future: Send>
                         + Clone
                         + Send
                         + Sync
                         + 'static,
        >
{
}

/// A service as a function.
type Asked<R, E> = dyn Fn(R) -> BoxFuture<'static, Result<Message, E>> + Send + Sync;

/// What a layer at a server sees: who calls, and the request.
#[derive(Debug, Clone)]
pub struct CallRequest {
    /// Who calls, over which connection.
    pub context: Context,
    /// The request; of a stream its first message.
    pub message: Message,
    ends: StreamEnds,
}

impl CallRequest {
    pub(crate) const fn new(context: Context, message: Message, ends: StreamEnds) -> Self {
        Self {
            context,
            message,
            ends,
        }
    }

    /// The ends of a stream, for the handler. A stream has one handler, however often a layer calls.
    pub(crate) fn take_ends(&self) -> (Option<UploadParts>, Option<DownloadSink>) {
        let Some(ends) = &self.ends.0 else {
            return (None, None);
        };
        let mut ends = ends.lock().unwrap_or_else(PoisonError::into_inner);
        (ends.0.take(), ends.1.take())
    }
}

/// What a handler gets that is called a second time for one stream.
pub(crate) const STREAM_USED: &str =
    "a layer called the handler of a stream twice: what has come cannot come again";

type Ends = (Option<UploadParts>, Option<DownloadSink>);

/// The ends of a stream on their way through the layers; all clones of a request have the same.
#[derive(Debug, Clone)]
pub(crate) struct StreamEnds(Option<Arc<Mutex<Ends>>>);

impl StreamEnds {
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    pub(crate) fn of(parts: Option<UploadParts>, sink: Option<DownloadSink>) -> Self {
        Self(Some(Arc::new(Mutex::new((parts, sink)))))
    }
}

/// How a handler failed, for the layers around it: the text that the caller gets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HandlerError(Text);

/// The handler of a call, or layers around it, as a service: what a layer at a server is put around. Always ready.
#[derive(Clone)]
pub struct CallHandler(Arc<Asked<CallRequest, HandlerError>>);

impl CallHandler {
    pub(crate) fn new(
        handle: impl Fn(CallRequest) -> BoxFuture<'static, Result<Message, Text>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self(Arc::new(move |request| {
            let handling = handle(request);
            Box::pin(async move { handling.await.map_err(HandlerError) })
        }))
    }

    pub(crate) fn handle(
        &self,
        request: CallRequest,
    ) -> BoxFuture<'static, Result<Message, HandlerError>> {
        (self.0)(request)
    }
}

impl Service<CallRequest> for CallHandler {
    type Response = Message;
    type Error = HandlerError;
    type Future = BoxFuture<'static, Result<Message, HandlerError>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), HandlerError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: CallRequest) -> Self::Future {
        self.handle(request)
    }
}

impl fmt::Debug for CallHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallHandler")
    }
}

/// Waits until a layer is ready, and asks it.
async fn ask<S, R>(mut service: S, request: R) -> Result<Message, BoxError>
where
    S: Service<R, Response = Message>,
    S::Error: Into<BoxError>,
{
    poll_fn(|cx| service.poll_ready(cx))
        .await
        .map_err(Into::into)?;
    service.call(request).await.map_err(Into::into)
}

/// The error of what the layers are around, if it was that which failed.
fn own<E: Error + Send + Sync + 'static>(error: BoxError) -> Result<E, BoxError> {
    error.downcast().map(|error| *error)
}

/// What a layer has made, as a function. An error that is not of what the layer is around becomes one by `other`.
fn asked<S, R, E>(service: S, other: fn(BoxError) -> E) -> Arc<Asked<R, E>>
where
    S: Service<R, Response = Message> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    R: Send + 'static,
    E: Error + Send + Sync + 'static,
{
    Arc::new(move |request| {
        let answering = ask(service.clone(), request);
        Box::pin(async move {
            answering
                .await
                .map_err(|error| own(error).unwrap_or_else(other))
        })
    })
}

/// A layer of a server, whatever its type.
pub(crate) type ServerLayer = Box<dyn Fn(CallHandler) -> CallHandler + Send + Sync>;

pub(crate) fn server_layer<L>(layer: L) -> ServerLayer
where
    L: LayerOf<CallHandler, CallRequest> + Send + Sync + 'static,
{
    let other = |error: BoxError| HandlerError(Text::from(error.to_string()));
    Box::new(move |handler| CallHandler(asked(layer.layer(handler), other)))
}

/// A call on its way out, for the layers of a [`Caller`](crate::service::Caller).
#[derive(Debug, Clone)]
pub struct OutgoingCall {
    /// The request.
    pub message: Message,
    /// What was said of the call.
    pub options: CallOptions,
}

/// A client, or layers around one, as a service: what a layer of a [`Caller`](crate::service::Caller) is put around. Always ready.
#[derive(Clone)]
pub struct CallSender(Arc<Asked<OutgoingCall, CallError>>);

impl CallSender {
    pub(crate) fn client(client: Client) -> Self {
        Self(Arc::new(move |call| {
            let client = client.clone();
            Box::pin(async move { client.call_with(call.message, call.options).await })
        }))
    }

    pub(crate) fn pool(pool: Pool) -> Self {
        Self(Arc::new(move |call| {
            let pool = pool.clone();
            Box::pin(async move { pool.call_with(call.message, call.options).await })
        }))
    }

    pub(crate) fn send(
        &self,
        call: OutgoingCall,
    ) -> BoxFuture<'static, Result<Message, CallError>> {
        (self.0)(call)
    }

    pub(crate) fn layered(self, layer: &impl LayerOf<Self, OutgoingCall>) -> Self {
        let other = |error: BoxError| CallError::Layer(Arc::from(error));
        Self(asked(layer.layer(self), other))
    }
}

impl Service<OutgoingCall> for CallSender {
    type Response = Message;
    type Error = CallError;
    type Future = BoxFuture<'static, Result<Message, CallError>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), CallError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: OutgoingCall) -> Self::Future {
        self.send(call)
    }
}

impl fmt::Debug for CallSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallSender")
    }
}

/// [`Client::call`], for whatever takes a service. Always ready: a call waits by itself.
///
/// ```
/// # async fn run(client: towline_rpc::Client) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// use std::time::Duration;
/// use tower::{Service as _, ServiceBuilder, ServiceExt as _};
/// use towline_rpc::Message;
///
/// let mut service = ServiceBuilder::new()
///     .timeout(Duration::from_secs(1))
///     .concurrency_limit(10)
///     .service(client);
/// let reply = service.ready().await?.call(Message::request("echo", "hi")).await?;
/// # drop(reply);
/// # Ok(())
/// # }
/// ```
impl Service<Message> for Client {
    type Response = Message;
    type Error = CallError;
    type Future = BoxFuture<'static, Result<Message, CallError>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), CallError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, message: Message) -> Self::Future {
        let client = self.clone();
        Box::pin(async move { Self::call(&client, message).await })
    }
}

/// [`Pool::call`], for whatever takes a service. Always ready: a call waits by itself.
impl Service<Message> for Pool {
    type Response = Message;
    type Error = CallError;
    type Future = BoxFuture<'static, Result<Message, CallError>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), CallError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, message: Message) -> Self::Future {
        let pool = self.clone();
        Box::pin(async move { Self::call(&pool, message).await })
    }
}
