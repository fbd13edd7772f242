//! The client's end of an upload.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use super::{Core, Inner, begin_stream, cancel};
use crate::{
    driver,
    error::{SendError, StreamError},
    proto::{Message, StreamEnd, Taken},
};

/// An upload: parts go to the server, one reply comes back (docs/wire S3).
///
/// Dropping it before [`finish`](Self::finish) returned cancels it at the server (docs/wire S16).
#[derive(Debug)]
pub struct Upload {
    inner: Arc<Inner>,
    seqno: u64,
    over: bool,
}

impl Upload {
    pub(super) async fn begin(inner: Arc<Inner>, mut first: Message) -> Result<Self, SendError> {
        let seqno = begin_stream(&inner.shared, &mut first, Core::begin_upload).await?;
        Ok(Self {
            inner,
            seqno,
            over: false,
        })
    }

    /// Sends the next part. Waits while the connection's outbox is full.
    ///
    /// # Errors
    ///
    /// [`SendError::Ended`] if the server has ended the upload: [`finish`](Self::finish) then tells
    /// its reply.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, the part was not sent.
    pub async fn send(&mut self, part: Message) -> Result<(), SendError> {
        self.send_part(part, false).await
    }

    /// Sends the last part, which may be empty, and waits for the reply; there is no time limit. If
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
        match self.send_part(last, true).await {
            Ok(()) | Err(SendError::Ended) => {}
            Err(error) => return Err(error.into()),
        }
        poll_fn(|cx| self.poll_end(cx)).await
    }

    async fn send_part(&mut self, mut part: Message, last: bool) -> Result<(), SendError> {
        let shared = &*self.inner.shared;
        poll_fn(|cx| shared.poll_room(cx)).await?;
        let now = driver::now();
        let mut state = shared.lock();
        if let Some(reason) = &state.closed {
            return Err(SendError::Closed(reason.clone()));
        }
        if !state.core.stamp_part(now, self.seqno, &mut part, last) {
            return Err(SendError::Ended);
        }
        Ok(shared.enqueue(state, now, &part)?)
    }

    fn poll_end(&mut self, cx: &Context<'_>) -> Poll<Result<Message, StreamError>> {
        let mut state = self.inner.shared.lock();
        loop {
            let end = match state.core.take_part(driver::now(), self.seqno) {
                Taken::End(end) => end,
                // A server that sends parts into an upload: nobody asked for them.
                Taken::Part(_) => continue,
                Taken::Nothing => {
                    if let Some(reason) = &state.closed {
                        return Poll::Ready(Err(StreamError::Closed(reason.clone())));
                    }
                    state.wait_for_part(self.seqno, cx);
                    return Poll::Pending;
                }
            };
            self.over = true;
            return Poll::Ready(match end {
                StreamEnd::Reply(reply) => Ok(reply),
                StreamEnd::Refused(text) => Err(StreamError::Refused(text)),
                StreamEnd::OutOfSync(error) => Err(StreamError::OutOfSync(error)),
            });
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.over {
            cancel(&self.inner.shared, self.seqno);
        }
    }
}
