//! The client's ends of a stream in both directions.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;

use super::{
    Core, Inner,
    stream::{Incoming, OpenStream},
};
use crate::{
    error::{SendError, StreamError},
    proto::Message,
};

pub(super) async fn begin(
    inner: Arc<Inner>,
    first: Message,
) -> Result<(BistreamSender, BistreamReceiver), SendError> {
    let stream = Arc::new(OpenStream::begin(inner, first, Core::begin_bistream).await?);
    Ok((
        BistreamSender {
            stream: Arc::clone(&stream),
            finished: false,
        },
        BistreamReceiver {
            stream,
            incoming: Incoming::new(),
        },
    ))
}

/// The client's half of a bistream (docs/wire S19).
///
/// Dropping it before [`finish`](Self::finish) returned cancels the stream at the server, which
/// could not tell a truncated half from a whole one. Of a stream that the server has ended, or whose
/// connection is over, what has come stays there for the [`BistreamReceiver`].
#[derive(Debug)]
pub struct BistreamSender {
    stream: Arc<OpenStream>,
    finished: bool,
}

impl BistreamSender {
    /// Sends the next part. Waits while the connection's outbox is full or the server, if it is towline,
    /// has no room for more of this stream (docs/wire S20).
    ///
    /// # Errors
    ///
    /// [`SendError::Ended`] if the stream is over, at the server or by its deadline: [`BistreamReceiver::finish`] tells
    /// how it ended. After [`SendError::TooLarge`] it goes on as if the part had not been there.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, the part was not sent.
    pub async fn send(&mut self, part: Message) -> Result<(), SendError> {
        self.stream.send(part, false).await
    }

    /// Sends the last part, which may be empty. The server's half goes on.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it returns cancels the stream.
    pub async fn finish(mut self, last: Message) -> Result<(), SendError> {
        self.stream.send(last, true).await?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for BistreamSender {
    fn drop(&mut self) {
        if !self.finished {
            self.stream.cancel_unless_over();
        }
    }
}

/// The server's half of a bistream, and its final reply (docs/wire S8, S19).
///
/// Also a `futures` stream of the parts. Parts wait in a bounded queue; when it is full the
/// server stops sending: between towlines this stream alone, by credit (docs/wire S20), otherwise the
/// connection stops reading. Dropping it before the final reply was
/// taken cancels the stream at the server (docs/wire S16).
#[derive(Debug)]
pub struct BistreamReceiver {
    stream: Arc<OpenStream>,
    incoming: Incoming,
}

impl BistreamReceiver {
    /// The next part; `None` when all have been taken: [`finish`](Self::finish) then tells how the
    /// stream ended.
    ///
    /// # Cancel safety
    ///
    /// Safe: no part is lost.
    pub async fn next(&mut self) -> Option<Message> {
        poll_fn(|cx| self.incoming.poll_part(&self.stream, cx)).await
    }

    /// Passes over the parts that have not been taken, and waits for the final reply.
    ///
    /// # Errors
    ///
    /// [`StreamError`]; a reply that says the function failed is `Ok`: see
    /// [`Message::into_result`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the stream.
    pub async fn finish(mut self) -> Result<Message, StreamError> {
        self.incoming.finish(&self.stream).await
    }
}

impl Stream for BistreamReceiver {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let this = self.get_mut();
        this.incoming.poll_part(&this.stream, cx)
    }
}

impl Drop for BistreamReceiver {
    fn drop(&mut self) {
        if !self.incoming.is_over() {
            self.stream.cancel();
        }
    }
}
