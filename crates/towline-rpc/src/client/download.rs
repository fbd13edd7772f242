//! The client's end of a download.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;

use super::{Core, Inner, begin_stream, cancel};
use crate::{
    driver,
    error::{SendError, StreamError},
    proto::{Message, StreamEnd, Taken},
};

/// A download: parts in order, then one final reply (docs/wire S6, S8).
///
/// Also a `futures` stream of the parts. Parts wait in a bounded queue; when it is full the
/// connection stops reading, and so the server stops sending. Dropping it before the final reply
/// was taken cancels it at the server (docs/wire S16).
#[derive(Debug)]
pub struct Download {
    inner: Arc<Inner>,
    seqno: u64,
    end: Option<Result<Message, StreamError>>,
    over: bool,
}

impl Download {
    pub(super) async fn begin(inner: Arc<Inner>, mut request: Message) -> Result<Self, SendError> {
        let seqno = begin_stream(&inner.shared, &mut request, Core::begin_download).await?;
        Ok(Self {
            inner,
            seqno,
            end: None,
            over: false,
        })
    }

    /// The next part; `None` when all have been taken: [`finish`](Self::finish) then tells how the
    /// download ended.
    ///
    /// # Cancel safety
    ///
    /// Safe: no part is lost.
    pub async fn next(&mut self) -> Option<Message> {
        poll_fn(|cx| self.poll_part(cx)).await
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
        while self.next().await.is_some() {}
        self.end
            .take()
            .unwrap_or(Err(StreamError::Closed(crate::CloseReason::ClosedHere)))
    }

    fn poll_part(&mut self, cx: &Context<'_>) -> Poll<Option<Message>> {
        if self.over {
            return Poll::Ready(None);
        }
        let shared = &self.inner.shared;
        let mut state = shared.lock();
        let end = match state.core.take_part(driver::now(), self.seqno) {
            Taken::Part(part) => {
                if state.may_resume() {
                    shared.wake_driver(state);
                }
                return Poll::Ready(Some(part));
            }
            Taken::End(StreamEnd::Reply(reply)) => Ok(reply),
            Taken::End(StreamEnd::Refused(text)) => Err(StreamError::Refused(text)),
            Taken::End(StreamEnd::OutOfSync(error)) => Err(StreamError::OutOfSync(error)),
            Taken::Nothing => match &state.closed {
                Some(reason) => Err(StreamError::Closed(reason.clone())),
                None => {
                    state.wait_for_part(self.seqno, cx);
                    return Poll::Pending;
                }
            },
        };
        self.end = Some(end);
        self.over = true;
        Poll::Ready(None)
    }
}

impl Stream for Download {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.get_mut().poll_part(cx)
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if !self.over {
            cancel(&self.inner.shared, self.seqno);
        }
    }
}
