//! Opening streams.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use super::Session;
use crate::{
    driver::now,
    proto::{OpenError, Opening},
    stream::Stream,
};

impl Session {
    /// Opens a stream. yamux tells the peer at once; muxado with the first thing that is written, read or
    /// flushed, or by [`open_eager`](Self::open_eager). It does not wait for the peer, except that yamux
    /// waits while as many streams as `accept_backlog` are unacknowledged.
    ///
    /// # Errors
    ///
    /// [`OpenError`]
    ///
    /// # Cancel safety
    ///
    /// Dropping the future opens nothing, and gives up the place in the queue of those who wait.
    pub async fn open(&self) -> Result<Stream, OpenError> {
        Open {
            session: self,
            ticket: None,
        }
        .await
    }

    /// As [`open`](Self::open), and has the peer told in muxado too: for a peer that is to speak first.
    ///
    /// # Errors
    ///
    /// [`OpenError`]
    ///
    /// # Cancel safety
    ///
    /// As [`open`](Self::open).
    pub async fn open_eager(&self) -> Result<Stream, OpenError> {
        let stream = self.open().await?;
        let mut state = self.shared().lock();
        state.engine.announce(stream.key());
        self.shared().settle(state);
        Ok(stream)
    }

    /// Opens a stream if that needs no waiting; `Ok(None)` if it does.
    ///
    /// # Errors
    ///
    /// [`OpenError`]
    pub fn try_open(&self) -> Result<Option<Stream>, OpenError> {
        let mut state = self.shared().lock();
        match state.engine.open(now())? {
            Opening::Blocked => Ok(None),
            Opening::Stream(key) => {
                let id = state.engine.stream_id(key);
                self.shared().settle_opened(state);
                Ok(Some(self.stream(key, id)))
            }
        }
    }
}

struct Open<'a> {
    session: &'a Session,
    ticket: Option<u64>,
}

impl Future for Open<'_> {
    type Output = Result<Stream, OpenError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let shared = self.session.shared();
        let mut state = shared.lock();
        // Those who waited before have their turn first.
        if self.ticket.is_none() && state.opening.is_waiting() && state.engine.end().is_none() {
            let mut ticket = None;
            state.opening.wait(&mut ticket, cx.waker());
            drop(state);
            self.ticket = ticket;
            return Poll::Pending;
        }
        match state.engine.open(now()) {
            Ok(Opening::Blocked) => {
                let mut ticket = self.ticket;
                state.opening.wait(&mut ticket, cx.waker());
                drop(state);
                self.ticket = ticket;
                Poll::Pending
            }
            Ok(Opening::Stream(key)) => {
                let id = state.engine.stream_id(key);
                state.opening.leave(self.ticket);
                // One event may have made several places.
                let next = if state.engine.may_open() {
                    state.opening.next()
                } else {
                    // The event that announced this place was for all who wait.
                    if state.opening.is_waiting() {
                        state.engine.ask_for_openable();
                    }
                    None
                };
                let stream = self.session.stream(key, id);
                shared.settle_opened(state);
                next.into_iter().for_each(std::task::Waker::wake);
                self.ticket = None;
                Poll::Ready(Ok(stream))
            }
            Err(error) => {
                state.opening.leave(self.ticket);
                let next = state.opening.next();
                drop(state);
                next.into_iter().for_each(std::task::Waker::wake);
                self.ticket = None;
                Poll::Ready(Err(error))
            }
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.ticket.is_none() {
            return;
        }
        let mut state = self.session.shared().lock();
        if state.opening.leave(self.ticket) {
            // It had been woken: the place it would have taken is another's.
            let next = state.opening.next();
            drop(state);
            next.into_iter().for_each(std::task::Waker::wake);
        }
    }
}
