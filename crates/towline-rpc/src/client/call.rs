//! Calls: one request, one reply.

use std::time::Duration;

use tokio::sync::SemaphorePermit;
use tracing::Instrument as _;

use super::{Answer, CallOptions, Client, Core, Outcome, answer, cancel, time_left::TimeLeft};
use crate::{
    driver::{self, Shared},
    error::{CallError, NoSuchService},
    measure::{End, Measured},
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

    /// As [`call`](Self::call), as the options say. A client of one connection makes the call once, whatever they say of
    /// attempts: see [`Pool::call_with`](crate::Pool::call_with).
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    pub async fn call_with(
        &self,
        message: Message,
        options: CallOptions,
    ) -> Result<Message, CallError> {
        match options.timeout {
            None => self.call(message).await,
            Some(limit) => self.call_with_timeout(message, limit).await,
        }
    }

    async fn call_within(
        &self,
        message: Message,
        timeout: Option<Duration>,
    ) -> Result<Message, CallError> {
        let reply = self.try_call(message, timeout).await;
        reply.map_err(|failure| failure.error)
    }

    /// A call, and if it fails whether the server may have begun it.
    pub(crate) async fn try_call(
        &self,
        mut message: Message,
        timeout: Option<Duration>,
    ) -> Result<Message, CallFailure> {
        let span = self.inner.traces.begin_call(&mut message);
        let mut measured = Measured::begin(End::Client, &message.hdr.service_name);
        let call = self.run_call(message, timeout);
        let result = match span.is_disabled() {
            true => call.await,
            false => call.instrument(span).await,
        };
        measured.ends(match &result {
            Ok(reply) if reply.error.is_empty() => "ok",
            Ok(_) => "failed",
            Err(failure) => failure.error.outcome(),
        });
        result
    }

    async fn run_call(
        &self,
        message: Message,
        timeout: Option<Duration>,
    ) -> Result<Message, CallFailure> {
        let limit = time_limit(timeout, &message);
        let (_place, timeout) = self
            .place(timeout, &message)
            .await
            .map_err(CallFailure::before)?;
        let (mut guard, answer) = match self.begin_call(message, timeout) {
            Ok(begun) => begun,
            Err(NotBegun::NoRoom(message)) => self
                .begin_call_later(message, timeout, limit)
                .await
                .map_err(CallFailure::before)?,
            Err(NotBegun::Failed(error)) => return Err(CallFailure::before(error)),
        };
        let answer = answer.await;
        guard.seqno = None;
        self.ended(answer, limit)
    }

    /// How a call ended that was sent, with this time limit.
    pub(super) fn ended(
        &self,
        answer: Option<Outcome>,
        limit: Option<Duration>,
    ) -> Result<Message, CallFailure> {
        let error = match answer {
            Some(Ok(reply)) => return Ok(reply),
            Some(Err(Failed::Refused(text))) => {
                NoSuchService::of(text).map_or_else(CallError::Refused, CallError::NoSuchService)
            }
            Some(Err(Failed::NotBegun(text))) => {
                return Err(CallFailure::before(CallError::Overloaded(text)));
            }
            Some(Err(Failed::TimedOut)) => CallError::TimedOut(limit.unwrap_or_default()),
            None => CallError::Closed(self.close_reason()),
        };
        Err(CallFailure {
            error,
            may_have_begun: true,
        })
    }

    /// A place among the calls in flight, for which it waits within the time of the call, and what is left of that.
    pub(super) async fn place(
        &self,
        timeout: Option<Duration>,
        message: &Message,
    ) -> Result<(Option<SemaphorePermit<'_>>, Option<Duration>), CallError> {
        let Some(places) = &self.inner.places else {
            return Ok((None, timeout));
        };
        let limit = time_limit(timeout, message);
        let begun = driver::now().instant;
        let Some(place) = places.take(limit).await? else {
            return Err(CallError::Closed(self.close_reason()));
        };
        let waited = driver::now().instant.saturating_duration_since(begun);
        let left = timeout.map(|limit| limit.saturating_sub(waited));
        Ok((Some(place), left))
    }

    /// Registers and queues a call as soon as there is room for it, within what is left of its time; `limit` is what
    /// it had.
    async fn begin_call_later(
        &self,
        mut message: Message,
        timeout: Option<Duration>,
        limit: Option<Duration>,
    ) -> Result<(CancelOnDrop<'_>, Answer<Outcome>), CallError> {
        let time = TimeLeft::begin(time_limit(timeout, &message));
        loop {
            time.wait_for(self.inner.shared.room())
                .await
                .ok_or_else(|| CallError::TimedOut(limit.unwrap_or_default()))??;
            match self.begin_call(message, time.left()) {
                Ok(begun) => return Ok(begun),
                Err(NotBegun::NoRoom(refused)) => message = refused,
                Err(NotBegun::Failed(error)) => return Err(error),
            }
        }
    }

    /// Registers and queues a call, if there is room for it now.
    fn begin_call(
        &self,
        mut message: Message,
        timeout: Option<Duration>,
    ) -> Result<(CancelOnDrop<'_>, Answer<Outcome>), NotBegun> {
        let shared = &*self.inner.shared;
        let (waiter, answer) = answer();
        let now = driver::now();
        let mut state = shared.lock();
        if let Some(reason) = &state.closed {
            return Err(NotBegun::Failed(CallError::Closed(reason.clone())));
        }
        if !state.core.has_room() {
            return Err(NotBegun::NoRoom(message));
        }
        let seqno = if state.is_better_encoded_outside(&message) {
            let seqno = state.core.begin_call(now, &mut message, timeout, waiter);
            if let Err(too_large) = shared.enqueue(state, now, &message) {
                shared.lock().core.abandon(seqno);
                return Err(NotBegun::Failed(CallError::TooLarge(too_large)));
            }
            seqno
        } else {
            let seqno = state
                .core
                .call(now, message, timeout, waiter)
                .map_err(|too_large| NotBegun::Failed(CallError::TooLarge(too_large)))?;
            shared.wake_driver(state);
            seqno
        };
        let seqno = Some(seqno);
        Ok((CancelOnDrop { shared, seqno }, answer))
    }
}

/// Why a call was not begun.
enum NotBegun {
    /// So much waits to be written that callers wait, too.
    NoRoom(Message),
    Failed(CallError),
}

/// How a call failed, and whether the server may have begun it.
#[derive(Debug)]
pub(crate) struct CallFailure {
    pub(crate) error: CallError,
    pub(crate) may_have_begun: bool,
}

impl CallFailure {
    /// Nothing was begun.
    fn before(error: impl Into<CallError>) -> Self {
        Self {
            error: error.into(),
            may_have_begun: false,
        }
    }
}

/// docs/wire C11: a limit that was given for a call is told to the server.
pub(crate) fn set_deadline(message: &mut Message, limit: Option<Duration>) {
    if let Some(limit) = limit {
        let deadline = || driver::now().wall.saturating_add(limit);
        message.hdr.deadline.get_or_insert_with(deadline);
    }
}

/// How long a call may take, if there is a limit: as long as its time limit and its deadline both say.
pub(super) fn time_limit(timeout: Option<Duration>, message: &Message) -> Option<Duration> {
    let left = message
        .hdr
        .deadline
        .map(|deadline| deadline.saturating_since(driver::now().wall));
    let limits = [timeout, left].into_iter().flatten();
    limits.min()
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
