//! Layers around the streams of a caller.
//!
//! The service that a layer is put around opens the stream, hands its ends to the caller past the layers, and answers when the
//! caller has the final reply. So a layer lasts as long as its stream does.

use std::{
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::sync::oneshot;
use tower_service::Service;

use super::{Asked, BoxError, LayerOf, asked};
use crate::{
    client::Client,
    error::{CallError, StreamError},
    pool::Pool,
    proto::{Message, ServiceKind},
    service::{Opened, Watched},
};

/// Why a caller's stream is opened once only.
const OPENED_TWICE: &str = "a layer opened a stream twice: its caller has but one";

/// A stream on its way out, for the layers of a [`Caller`](crate::service::Caller).
#[derive(Debug, Clone)]
pub struct OutgoingStream {
    /// The first message: its Args are the metadata, its deadline is that of the whole stream.
    pub message: Message,
    /// An upload, a download or a bistream.
    pub kind: ServiceKind,
    ends: Arc<Mutex<Option<Ends>>>,
}

/// Where the ends of a stream go, and where its final reply comes from.
#[derive(Debug)]
struct Ends {
    hand: oneshot::Sender<Opened>,
    /// Of the caller, when it has come.
    reply: oneshot::Receiver<Result<Message, StreamError>>,
}

/// A client, or layers around one, as a service that opens streams: what a
/// [`stream_layer`](crate::service::Caller::stream_layer) of a caller is put around. Always ready. The answer is the final reply.
#[derive(Clone)]
pub struct StreamSender(Arc<Asked<OutgoingStream, StreamError>>);

impl StreamSender {
    pub(crate) fn client(client: Client) -> Self {
        Self::connecting(move || {
            let client = client.clone();
            Box::pin(async move { Ok(client) })
        })
    }

    pub(crate) fn pool(pool: Pool) -> Self {
        Self::connecting(move || {
            let pool = pool.clone();
            Box::pin(async move { pool.connection().await })
        })
    }

    fn connecting(
        connect: impl Fn() -> BoxFuture<'static, Result<Client, CallError>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(move |stream| {
            let ends = stream
                .ends
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            let connecting = connect();
            Box::pin(async move {
                // A caller has one stream, however often a layer asks.
                let Some(Ends { hand, reply }) = ends else {
                    return Err(StreamError::Layer(Arc::from(BoxError::from(OPENED_TWICE))));
                };
                let client = connecting.await.map_err(of_connecting)?;
                let opened = Opened::of(&client, stream.kind, stream.message).await?;
                // Who does not take it any more has dropped it: it is cancelled by that.
                drop(hand.send(opened));
                reply.await.unwrap_or(Err(StreamError::Cancelled))
            })
        }))
    }

    pub(crate) fn layered(self, layer: &impl LayerOf<Self, OutgoingStream>) -> Self {
        let other = |error: BoxError| StreamError::Layer(Arc::from(error));
        Self(asked(layer.layer(self), other))
    }

    /// Opens a stream through the layers.
    pub(crate) async fn open(
        &self,
        kind: ServiceKind,
        message: Message,
    ) -> Result<(Opened, Watched), StreamError> {
        let (hand, handed) = oneshot::channel();
        let (ended, reply) = oneshot::channel();
        let ends = Arc::new(Mutex::new(Some(Ends { hand, reply })));
        // Whoever holds them may let go of them without a stream: then the answer alone is waited for.
        let mut handed = Some(handed);
        let mut layers = (self.0)(OutgoingStream {
            message,
            kind,
            ends,
        });
        let opened = poll_fn(|cx| {
            if let Poll::Ready(answer) = layers.poll_unpin(cx) {
                return Poll::Ready(answer.map(Opened::Answered));
            }
            let Some(hand) = &mut handed else {
                return Poll::Pending;
            };
            let opened = ready!(hand.poll_unpin(cx));
            handed = None;
            opened.map_or(Poll::Pending, |opened| Poll::Ready(Ok(opened)))
        })
        .await?;
        let watched = match opened {
            Opened::Answered(_) => Watched::default(),
            _ => Watched::by(layers, ended),
        };
        Ok((opened, watched))
    }
}

impl Service<OutgoingStream> for StreamSender {
    type Response = Message;
    type Error = StreamError;
    type Future = BoxFuture<'static, Result<Message, StreamError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, stream: OutgoingStream) -> Self::Future {
        (self.0)(stream)
    }
}

impl fmt::Debug for StreamSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamSender")
    }
}

/// A connection that cannot be had, as an error of streams.
fn of_connecting(error: CallError) -> StreamError {
    match error {
        CallError::NoConnection(why) => StreamError::NoConnection(why),
        CallError::Closed(reason) => StreamError::Closed(reason),
        other => StreamError::Layer(Arc::from(BoxError::from(other))),
    }
}
