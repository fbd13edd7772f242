//! The client's end of a download.

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

/// A download: parts in order, then one final reply (docs/wire S6, S8).
///
/// Also a `futures` stream of the parts. Parts wait in a bounded queue; when it is full the
/// server stops sending: between towlines this stream alone, by credit (docs/wire S20), otherwise the
/// connection stops reading. Dropping it before the final reply
/// was taken cancels it at the server (docs/wire S16).
#[derive(Debug)]
pub struct Download {
    stream: OpenStream,
    incoming: Incoming,
}

impl Download {
    pub(super) async fn begin(inner: Arc<Inner>, request: Message) -> Result<Self, SendError> {
        Ok(Self {
            stream: OpenStream::begin(inner, request, Core::begin_download).await?,
            incoming: Incoming::new(),
        })
    }

    /// The next part; `None` when all have been taken: [`finish`](Self::finish) then tells how the
    /// download ended.
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
    /// Dropping the future cancels the download.
    pub async fn finish(mut self) -> Result<Message, StreamError> {
        self.incoming.finish(&self.stream).await
    }
}

impl Stream for Download {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let this = self.get_mut();
        this.incoming.poll_part(&this.stream, cx)
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if !self.incoming.is_over() {
            self.stream.cancel();
        }
    }
}
