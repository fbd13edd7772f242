//! The server's ends of streams.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use super::{Core, Waits};
use crate::{
    driver::{self, Shared},
    error::{SendError, StreamError},
    proto::{CallKey, Message, PartTaken},
};

/// The parts of an upload behind the first, in order.
///
/// They wait in a bounded queue; while it is full the client sends no more of them, or, if it is the
/// original, the connection reads nothing (docs/wire S13, S14, S20).
#[derive(Debug)]
pub struct UploadParts {
    shared: Arc<Shared<Core>>,
    key: CallKey,
}

impl UploadParts {
    pub(super) fn new(shared: Arc<Shared<Core>>, key: CallKey) -> Self {
        Self { shared, key }
    }

    /// The next part; `None` when the last has been taken.
    ///
    /// # Errors
    ///
    /// [`StreamError`] if a part was missing or came twice, or the connection is over; [`StreamError::Ended`] if the call
    /// is over, because the client has cancelled it or the handler has answered. So `None` means that all parts were taken.
    ///
    /// # Cancel safety
    ///
    /// Safe: no part is lost.
    pub async fn next(&mut self) -> Result<Option<Message>, StreamError> {
        poll_fn(|cx| self.poll_part(cx)).await
    }

    pub(crate) fn poll_part(
        &mut self,
        cx: &Context<'_>,
    ) -> Poll<Result<Option<Message>, StreamError>> {
        let mut state = self.shared.lock();
        let (taken, wake) = state.take(|core| core.take_part(driver::now(), self.key));
        match taken {
            PartTaken::Part(part, _) => {
                if wake {
                    self.shared.wake_driver(state);
                }
                Poll::Ready(Ok(Some(part)))
            }
            PartTaken::End => Poll::Ready(Ok(None)),
            PartTaken::Over => Poll::Ready(Err(match &state.closed {
                Some(reason) => StreamError::Closed(reason.clone()),
                None => StreamError::Ended,
            })),
            PartTaken::OutOfSync(error) => Poll::Ready(Err(error.into())),
            // The handler is about to be dropped, and must not answer in words of its own before.
            PartTaken::Nothing | PartTaken::Cancelled => match &state.closed {
                Some(reason) => Poll::Ready(Err(StreamError::Closed(reason.clone()))),
                None => {
                    state.wait_for_part(Waits::Part(self.key), cx);
                    Poll::Pending
                }
            },
        }
    }
}

impl Drop for UploadParts {
    fn drop(&mut self) {
        self.shared.lock().forget_stream(Waits::Part(self.key));
    }
}

/// Sends the parts of a download (docs/wire S6).
#[derive(Debug)]
pub struct DownloadSink {
    shared: Arc<Shared<Core>>,
    key: CallKey,
}

impl DownloadSink {
    pub(super) fn new(shared: Arc<Shared<Core>>, key: CallKey) -> Self {
        Self { shared, key }
    }

    /// Sends the next part. Waits while the connection's outbox is full or the client, if it is towline, has
    /// no room for more of this stream (docs/wire S20). To an original client send
    /// 1 MiB or less at a time (docs/wire S15).
    ///
    /// # Errors
    ///
    /// [`SendError::Ended`] if the client has cancelled the download. After [`SendError::TooLarge`] the stream is as it was,
    /// and smaller parts may follow.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, the part was not sent.
    pub async fn send(&mut self, part: Message) -> Result<(), SendError> {
        self.send_part(part, false).await
    }

    /// Sends the last part, marked as such. The handler's reply ends the download in any case.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub async fn send_last(&mut self, part: Message) -> Result<(), SendError> {
        self.send_part(part, true).await
    }

    async fn send_part(&mut self, mut part: Message, last: bool) -> Result<(), SendError> {
        let key = self.key;
        self.shared
            .may_send(
                Some(Waits::Credit(key)),
                |_| false,
                |core| core.may_send(key),
            )
            .await?;
        let now = driver::now();
        let mut state = self.shared.lock();
        if !state.core.stamp_part(now, self.key, &mut part, last) {
            return Err(SendError::Ended);
        }
        let sent = self.shared.enqueue(state, now, &part);
        if sent.is_err() {
            let mut state = self.shared.lock();
            state.core.take_back_part(self.key, &mut part);
        }
        Ok(sent?)
    }
}

impl Drop for DownloadSink {
    fn drop(&mut self) {
        self.shared.lock().forget_stream(Waits::Credit(self.key));
    }
}
