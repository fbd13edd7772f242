//! The streams of typed methods, at either end.

use std::{
    fmt::Display,
    marker::PhantomData,
    pin::{Pin, pin},
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_util::{StreamExt as _, future::BoxFuture};
use towline_codec::{
    Text,
    greenpack::{DecodeError, Greenpack},
};

use super::{Encoding, Opened, ServiceError, Watched};
use crate::{
    client::{BistreamReceiver, BistreamSender, Download},
    error::{SendError, StreamError},
    proto::{Message, TooLarge},
    server::{DownloadSink, UploadParts},
};

/// The stream that a method takes, at the server.
///
/// A `futures` stream of the client's items, in order. After an error there is nothing more; without one, the
/// end is that of the client's stream. Dropping it has the client told, with the method's answer, that no
/// more is wanted.
#[derive(Debug)]
pub struct Incoming<T> {
    source: Source<T>,
    encoding: Encoding,
    over: bool,
}

enum Source<T> {
    Parts(UploadParts),
    Items(futures_util::stream::BoxStream<'static, T>),
}

impl<T> std::fmt::Debug for Source<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Parts(_) => "Parts",
            Self::Items(_) => "Items",
        })
    }
}

/// Why a client's stream ended before its end.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum IncomingError {
    /// A part was missing, or the connection ended.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// An item is of another type.
    #[error("an item of the stream cannot be read: {0}")]
    Decode(#[from] DecodeError),
}

impl<T: Greenpack> Incoming<T> {
    pub(super) const fn new(parts: UploadParts, encoding: Encoding) -> Self {
        Self {
            source: Source::Parts(parts),
            encoding,
            over: false,
        }
    }

    /// A stream of these items, to call a method without a network.
    pub fn of(items: impl Stream<Item = T> + Send + 'static) -> Self {
        Self {
            source: Source::Items(items.boxed()),
            encoding: Encoding::default(),
            over: false,
        }
    }

    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, IncomingError>>> {
        let parts = match &mut self.source {
            Source::Items(items) => return items.poll_next_unpin(cx).map(|item| item.map(Ok)),
            Source::Parts(parts) => parts,
        };
        loop {
            return Poll::Ready(match std::task::ready!(parts.poll_part(cx)) {
                Ok(None) => None,
                // docs/wire V4: the end of a stream may be an empty part.
                Ok(Some(part)) if part.body.is_empty() => continue,
                Ok(Some(part)) => Some(
                    self.encoding
                        .read(&part.body, T::decode)
                        .map_err(IncomingError::from),
                ),
                Err(error) => Some(Err(error.into())),
            });
        }
    }
}

impl<T: Greenpack> Stream for Incoming<T> {
    type Item = Result<T, IncomingError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        let item = std::task::ready!(this.poll_item(cx));
        this.over = !matches!(item, Some(Ok(_)));
        Poll::Ready(item)
    }
}

impl<T> Unpin for Incoming<T> {}

/// Where generated code sends the items that a method returns.
#[derive(Debug)]
pub struct Outgoing<T, E> {
    sink: DownloadSink,
    encoding: Encoding,
    unsent: Unsent,
    types: PhantomData<fn(T) -> E>,
}

/// Why items of a stream could not be sent, if so. The method's own error type has no room for it.
#[derive(Debug, Clone, Default)]
pub(super) struct Unsent(Arc<OnceLock<TooLarge>>);

impl Unsent {
    /// As the error text of the answer.
    pub(super) fn text(&self) -> Option<Text> {
        let error = self.0.get()?;
        Some(Text::from(error.describe("an item of the stream")))
    }
}

impl<T: Greenpack, E: Greenpack + Display> Outgoing<T, E> {
    pub(super) const fn new(sink: DownloadSink, encoding: Encoding, unsent: Unsent) -> Self {
        Self {
            sink,
            encoding,
            unsent,
            types: PhantomData,
        }
    }

    /// Sends all items, and returns the answer behind them: the first error ends the stream, and so does an item that
    /// is too large (docs/wire V4).
    pub async fn send_all(mut self, items: impl Stream<Item = Result<T, E>>) -> Result<(), E> {
        let mut items = pin!(items);
        while let Some(item) = items.next().await {
            let body = self.encoding.value(&item?);
            match self.sink.send(Message::from_body(body)).await {
                Ok(()) => {}
                // Nobody listens any more: the handler is about to be dropped.
                Err(
                    SendError::Ended
                    | SendError::Closed(_)
                    | SendError::NoConnection(_)
                    | SendError::TimedOut,
                ) => break,
                Err(SendError::TooLarge(error)) => {
                    let _first = self.unsent.0.set(error);
                    break;
                }
            }
        }
        Ok(())
    }
}

/// The items of a stream that a method returns, at the client.
///
/// A `futures` stream; after an error there is nothing more. Dropping it cancels the method at the server.
pub struct Items<T, E> {
    receiver: Receiver,
    watched: Watched,
    /// What the client itself sends meanwhile.
    sending: Option<BoxFuture<'static, Result<(), SendError>>>,
    encoding: Encoding,
    types: PhantomData<fn() -> (T, E)>,
}

pub(super) enum Receiver {
    Download(Download),
    Bistream(BistreamReceiver),
    Finishing(BoxFuture<'static, Result<Message, StreamError>>),
    Over,
}

impl Receiver {
    /// The receiving end of what was opened, and the sending one if it has one.
    pub(super) fn of(opened: Opened) -> (Self, Option<BistreamSender>) {
        match opened {
            Opened::Download(download) => (Self::Download(download), None),
            Opened::Bistream(sender, receiver) => (Self::Bistream(receiver), Some(sender)),
            Opened::Upload(upload) => (
                Self::Finishing(Box::pin(upload.finish(Message::new()))),
                None,
            ),
            #[cfg(feature = "tower")]
            Opened::Answered(reply) => (
                Self::Finishing(Box::pin(std::future::ready(Ok(reply)))),
                None,
            ),
        }
    }
}

impl<T, E> std::fmt::Debug for Items<T, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Items").finish_non_exhaustive()
    }
}

impl<T: Greenpack, E: Greenpack> Items<T, E> {
    pub(super) fn new(
        receiver: Receiver,
        watched: Watched,
        sending: Option<BoxFuture<'static, Result<(), SendError>>>,
        encoding: Encoding,
    ) -> Self {
        Self {
            receiver,
            watched,
            sending,
            encoding,
            types: PhantomData,
        }
    }

    /// How the stream ended, as what is behind the last item.
    fn end(&mut self, reply: Result<Message, StreamError>) -> Option<Result<T, ServiceError<E>>> {
        self.receiver = Receiver::Over;
        self.sending = None;
        let reply = reply
            .map_err(ServiceError::from)
            .and_then(|reply| ServiceError::of_reply(reply, self.encoding));
        reply.err().map(Err)
    }

    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, ServiceError<E>>>> {
        if let Poll::Ready(cut) = self.watched.poll_cut(cx) {
            return Poll::Ready(self.end(cut));
        }
        if let Some(sending) = &mut self.sending
            && let Poll::Ready(sent) = sending.as_mut().poll(cx)
        {
            self.sending = None;
            // That the server has ended the stream is told by its answer.
            if let Err(error @ SendError::TooLarge(_)) = sent {
                self.receiver = Receiver::Over;
                return Poll::Ready(Some(Err(error.into())));
            }
        }
        loop {
            let part = match &mut self.receiver {
                Receiver::Download(download) => download.poll_next_unpin(cx),
                Receiver::Bistream(receiver) => receiver.poll_next_unpin(cx),
                Receiver::Finishing(reply) => {
                    let reply = std::task::ready!(reply.as_mut().poll(cx));
                    return Poll::Ready(self.end(reply));
                }
                Receiver::Over => return Poll::Ready(None),
            };
            match std::task::ready!(part) {
                Some(part) if part.body.is_empty() => {}
                Some(part) => {
                    let item = self.encoding.read(&part.body, T::decode);
                    if item.is_err() {
                        self.receiver = Receiver::Over;
                        self.sending = None;
                    }
                    return Poll::Ready(Some(item.map_err(ServiceError::Decode)));
                }
                None => {
                    let watched = std::mem::take(&mut self.watched);
                    self.receiver = match std::mem::replace(&mut self.receiver, Receiver::Over) {
                        Receiver::Download(download) => {
                            Receiver::Finishing(Box::pin(watched.around(download.finish())))
                        }
                        Receiver::Bistream(receiver) => {
                            Receiver::Finishing(Box::pin(watched.around(receiver.finish())))
                        }
                        other => other,
                    };
                }
            }
        }
    }
}

impl<T: Greenpack, E: Greenpack> Stream for Items<T, E> {
    type Item = Result<T, ServiceError<E>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_item(cx)
    }
}

impl<T, E> Unpin for Items<T, E> {}
