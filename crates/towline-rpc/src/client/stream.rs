//! What the client's ends of all streams do alike.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use super::{Core, Inner, Waits, call::time_limit, cancel, cancel_in, time_left::TimeLeft};
use crate::{
    driver::{self, Shared},
    error::{NoSuchService, SendError, StreamError},
    proto::{Message, Now, StreamEnd, Taken},
};

/// Waits until there is room for a message, up to its deadline if it has one.
pub(super) async fn room_for(shared: &Shared<Core>, message: &Message) -> Result<(), SendError> {
    let time = TimeLeft::begin(time_limit(None, message));
    let room = time.wait_for(shared.room()).await;
    Ok(room.ok_or(SendError::TimedOut)??)
}

/// A stream that the client has opened.
#[derive(Debug)]
pub(super) struct OpenStream {
    inner: Arc<Inner>,
    seqno: u64,
}

/// The next part of a stream, or how it ended.
pub(super) enum Next {
    Part(Message),
    End(Result<Message, StreamError>),
}

impl OpenStream {
    /// Registers a stream and queues its first message.
    pub(super) async fn begin(
        inner: Arc<Inner>,
        mut first: Message,
        begin: impl FnOnce(&mut Core, Now, &mut Message) -> u64,
    ) -> Result<Self, SendError> {
        let shared = &inner.shared;
        room_for(shared, &first).await?;
        let now = driver::now();
        let mut state = shared.lock();
        if let Some(reason) = &state.closed {
            return Err(SendError::Closed(reason.clone()));
        }
        let seqno = begin(&mut state.core, now, &mut first);
        if let Err(too_large) = shared.enqueue(state, now, &first) {
            shared.lock().core.abandon(seqno);
            return Err(too_large.into());
        }
        Ok(Self { inner, seqno })
    }

    /// Sends the next part, as soon as there is room for it.
    pub(super) async fn send(&self, mut part: Message, last: bool) -> Result<(), SendError> {
        let shared = &*self.inner.shared;
        let seqno = self.seqno;
        shared
            .may_send(
                Some(Waits::Credit(seqno)),
                |core| core.has_ended(seqno),
                |core| core.may_send(seqno),
            )
            .await?;
        let now = driver::now();
        let mut state = shared.lock();
        if let Some(reason) = &state.closed {
            return Err(SendError::Closed(reason.clone()));
        }
        if !state.core.stamp_part(now, self.seqno, &mut part, last) {
            return Err(SendError::Ended);
        }
        if let Err(too_large) = shared.enqueue(state, now, &part) {
            shared.lock().core.unstamp_part(seqno, &part);
            return Err(too_large.into());
        }
        Ok(())
    }

    pub(super) fn poll_next(&self, cx: &Context<'_>) -> Poll<Next> {
        let shared = &self.inner.shared;
        let mut state = shared.lock();
        let (taken, wake) = state.take(|core| core.take_part(driver::now(), self.seqno));
        let end = match taken {
            Taken::Part(part) => {
                if wake {
                    shared.wake_driver(state);
                }
                return Poll::Ready(Next::Part(part));
            }
            Taken::End(StreamEnd::Reply(reply)) => Ok(reply),
            Taken::End(StreamEnd::Refused(text)) => Err(NoSuchService::of(text)
                .map_or_else(StreamError::Refused, StreamError::NoSuchService)),
            Taken::End(StreamEnd::OutOfSync(error)) => Err(StreamError::OutOfSync(error)),
            Taken::End(StreamEnd::TimedOut) => Err(StreamError::TimedOut),
            Taken::Nothing => match &state.closed {
                None if state.core.has_ended(self.seqno) => Err(StreamError::Cancelled),
                Some(reason) => Err(StreamError::Closed(reason.clone())),
                None => {
                    state.wait_for_part(Waits::Stream(self.seqno), cx);
                    return Poll::Pending;
                }
            },
        };
        // The other half may wait still, or have given up waiting.
        let sender = state.take_stream_waker(Waits::Credit(self.seqno));
        drop(state);
        sender.into_iter().for_each(Waker::wake);
        Poll::Ready(Next::End(end))
    }

    /// Tells the server that nobody waits any more (docs/wire S16). Of a stream that has ended,
    /// nothing is sent.
    pub(super) fn cancel(&self) {
        cancel(&self.inner.shared, self.seqno);
    }

    /// As [`cancel`](Self::cancel), but of a stream that has ended keeps what has come: its other half takes it.
    pub(super) fn cancel_unless_over(&self) {
        let shared = &*self.inner.shared;
        let state = shared.lock();
        if state.closed.is_none() && !state.core.has_ended(self.seqno) {
            cancel_in(shared, state, self.seqno);
        }
    }
}

/// The parts that a server sends, and its reply.
#[derive(Debug)]
pub(super) struct Incoming {
    end: Option<Result<Message, StreamError>>,
    over: bool,
}

impl Incoming {
    pub(super) const fn new() -> Self {
        Self {
            end: None,
            over: false,
        }
    }

    /// True once the reply came.
    pub(super) const fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn poll_part(
        &mut self,
        stream: &OpenStream,
        cx: &Context<'_>,
    ) -> Poll<Option<Message>> {
        if self.over {
            return Poll::Ready(None);
        }
        match std::task::ready!(stream.poll_next(cx)) {
            Next::Part(part) => Poll::Ready(Some(part)),
            Next::End(end) => {
                self.end = Some(end);
                self.over = true;
                Poll::Ready(None)
            }
        }
    }

    /// Passes over the parts that are left.
    pub(super) async fn finish(&mut self, stream: &OpenStream) -> Result<Message, StreamError> {
        while poll_fn(|cx| self.poll_part(stream, cx)).await.is_some() {}
        self.end
            .take()
            .unwrap_or(Err(StreamError::Closed(crate::CloseReason::ClosedHere)))
    }
}
