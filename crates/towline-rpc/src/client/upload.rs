//! The client's end of an upload.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
};

use super::{
    Core, Inner,
    stream::{Next, OpenStream},
};
use crate::{
    error::{SendError, StreamError},
    proto::Message,
};

/// An upload: parts go to the server, one reply comes back (docs/wire S3).
///
/// Dropping it before [`finish`](Self::finish) returned cancels it at the server (docs/wire S16).
#[derive(Debug)]
pub struct Upload {
    stream: OpenStream,
    /// How it ended, once that has been seen.
    end: Option<Result<Message, StreamError>>,
    over: bool,
}

impl Upload {
    pub(super) async fn begin(inner: Arc<Inner>, first: Message) -> Result<Self, SendError> {
        Ok(Self {
            stream: OpenStream::begin(inner, first, Core::begin_upload).await?,
            end: None,
            over: false,
        })
    }

    /// Sends the next part. Waits while the connection's outbox is full or the server, if it is towline,
    /// has no room for more of this stream (docs/wire S20).
    ///
    /// # Errors
    ///
    /// [`SendError::Ended`] if the upload is over, at the server or by its deadline: [`finish`](Self::finish) then tells
    /// how it ended. After [`SendError::TooLarge`] it goes on as if the part had not been there.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, the part was not sent.
    pub async fn send(&mut self, part: Message) -> Result<(), SendError> {
        self.stream.send(part, false).await
    }

    /// Sends the last part, which may be empty, and waits for the reply, up to the deadline of the first part if it had
    /// one. If
    /// the server has ended the upload already, sends nothing and returns how it did.
    ///
    /// # Errors
    ///
    /// [`StreamError`]; a reply that says the function failed is `Ok`: see
    /// [`Message::into_result`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the upload.
    pub async fn finish(mut self, last: Message) -> Result<Message, StreamError> {
        if self.end.is_none() {
            match self.stream.send(last, true).await {
                Ok(()) | Err(SendError::Ended) => {}
                Err(error) => return Err(error.into()),
            }
            poll_fn(|cx| self.poll_ended(cx)).await;
        }
        self.end.take().unwrap_or(Err(StreamError::Ended))
    }

    /// Ready when the upload is over, so that nothing more need be sent: [`finish`](Self::finish) then tells how it ended.
    pub(crate) fn poll_ended(&mut self, cx: &Context<'_>) -> Poll<()> {
        while self.end.is_none() {
            // A server that sends parts into an upload: nobody asked for them.
            if let Next::End(end) = ready!(self.stream.poll_next(cx)) {
                self.end = Some(end);
                self.over = true;
            }
        }
        Poll::Ready(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.over {
            self.stream.cancel();
        }
    }
}
