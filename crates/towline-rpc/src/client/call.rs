//! Calls: one request, one reply.

use std::{future::poll_fn, time::Duration};

use super::{Answer, Client, Core, Outcome, answer, cancel};
use crate::{
    driver::{self, Shared},
    error::CallError,
    proto::{Failed, Message},
};

impl Client {
    /// Calls a service and waits for its reply, up to the time limit of the connection (default
    /// 10 s; docs/wire C11).
    ///
    /// A function that failed still *replied*: see [`Message::into_result`].
    ///
    /// # Errors
    ///
    /// [`CallError`] says whether the server refused, the time was up, or the connection ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call: the server is told once, and a reply that is on its way
    /// is discarded.
    pub async fn call(&self, message: Message) -> Result<Message, CallError> {
        self.call_within(message, self.inner.call_timeout).await
    }

    /// As [`call`](Self::call), with a time limit of its own; `None` waits for ever. The server learns
    /// of the limit by the deadline in the header, unless the message has one: whichever comes first
    /// ends the call.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    pub async fn call_with_timeout(
        &self,
        mut message: Message,
        timeout: Option<Duration>,
    ) -> Result<Message, CallError> {
        set_deadline(&mut message, timeout);
        self.call_within(message, timeout).await
    }

    async fn call_within(
        &self,
        message: Message,
        timeout: Option<Duration>,
    ) -> Result<Message, CallError> {
        let limit = shorter(timeout, &message);
        poll_fn(|cx| self.inner.shared.poll_room(cx)).await?;
        let (mut guard, answer) = self.begin_call(message, timeout)?;
        let answer = answer.await;
        guard.seqno = None;
        match answer {
            Some(Ok(reply)) => Ok(reply),
            Some(Err(Failed::Refused(text))) => Err(CallError::Refused(text)),
            Some(Err(Failed::TimedOut)) => Err(CallError::TimedOut(limit)),
            None => Err(CallError::Closed(self.close_reason())),
        }
    }

    /// Registers and queues a call.
    fn begin_call(
        &self,
        mut message: Message,
        timeout: Option<Duration>,
    ) -> Result<(CancelOnDrop<'_>, Answer<Outcome>), CallError> {
        let shared = &*self.inner.shared;
        let (waiter, answer) = answer();
        let now = driver::now();
        let mut state = shared.lock();
        if let Some(reason) = &state.closed {
            return Err(CallError::Closed(reason.clone()));
        }
        let seqno = if state.is_better_encoded_outside(&message) {
            let seqno = state.core.begin_call(now, &mut message, timeout, waiter);
            if let Err(too_large) = shared.enqueue(state, now, &message) {
                shared.lock().core.abandon(seqno);
                return Err(CallError::TooLarge(too_large));
            }
            seqno
        } else {
            let seqno = state.core.call(now, message, timeout, waiter)?;
            shared.wake_driver(state);
            seqno
        };
        let seqno = Some(seqno);
        Ok((CancelOnDrop { shared, seqno }, answer))
    }
}

/// docs/wire C11: a limit that was given for a call is told to the server.
pub(super) fn set_deadline(message: &mut Message, limit: Option<Duration>) {
    if let Some(limit) = limit {
        let deadline = || driver::now().wall.saturating_add(limit);
        message.hdr.deadline.get_or_insert_with(deadline);
    }
}

/// How long a call may take: as long as its time limit and its deadline both say.
pub(super) fn shorter(timeout: Option<Duration>, message: &Message) -> Duration {
    let left = message
        .hdr
        .deadline
        .map(|deadline| deadline.saturating_since(driver::now().wall));
    let limits = [timeout, left].into_iter().flatten();
    limits.min().unwrap_or_default()
}

/// Cancels a call whose future is dropped before its answer came (docs/wire C12).
pub(super) struct CancelOnDrop<'a> {
    pub(super) shared: &'a Shared<Core>,
    pub(super) seqno: Option<u64>,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(seqno) = self.seqno {
            cancel(self.shared, seqno);
        }
    }
}
