//! Opening streams.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use super::{Beneath, Session};
use crate::{
    driver::{Shared, now},
    native::{Native, NativeStream},
    proto::{OpenError, Opening},
    stream::Stream,
};

impl Session {
    /// Opens a stream. yamux tells the peer at once; muxado with the first thing that is written, read or
    /// flushed, or by [`open_eager`](Self::open_eager). It does not wait for the peer, except that yamux
    /// waits while as many streams as `accept_backlog` are unacknowledged. In QUIC it waits while the peer allows no
    /// more, and the peer sees the stream with its first byte or its end.
    ///
    /// # Errors
    ///
    /// [`OpenError`]
    ///
    /// # Cancel safety
    ///
    /// Dropping the future opens nothing, and gives up the place in the queue of those who wait.
    pub async fn open(&self) -> Result<Stream, OpenError> {
        match &self.inner.beneath {
            Beneath::Engine(shared, _) => {
                Open {
                    session: self,
                    shared,
                    ticket: None,
                }
                .await
            }
            Beneath::Native(native) => {
                let stream = native.session.open().await?;
                Ok(self.opened(native, stream))
            }
        }
    }

    fn opened(&self, native: &Native, stream: Box<dyn NativeStream>) -> Stream {
        Stream::of_native(Arc::clone(&self.inner), native.count(stream, false))
    }

    /// As [`open`](Self::open), and has the peer told in muxado too: for a peer that is to speak first.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; [`CannotAnnounce`](OpenError::CannotAnnounce) in QUIC, whose peers see a stream with its first byte.
    ///
    /// # Cancel safety
    ///
    /// As [`open`](Self::open).
    pub async fn open_eager(&self) -> Result<Stream, OpenError> {
        if self.dialect().is_none() {
            return Err(OpenError::CannotAnnounce);
        }
        let stream = self.open().await?;
        stream.announce();
        Ok(stream)
    }

    /// Opens a stream if that needs no waiting; `Ok(None)` if it does.
    ///
    /// # Errors
    ///
    /// [`OpenError`]
    pub fn try_open(&self) -> Result<Option<Stream>, OpenError> {
        let shared = match &self.inner.beneath {
            Beneath::Engine(shared, _) => shared,
            Beneath::Native(native) => {
                let mut opening = native.session.open();
                return match opening
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()))
                {
                    Poll::Ready(opened) => Ok(Some(self.opened(native, opened?))),
                    Poll::Pending => Ok(None),
                };
            }
        };
        let mut state = shared.lock();
        match state.engine.open(now())? {
            Opening::Blocked => Ok(None),
            Opening::Stream(key) => {
                let id = state.engine.stream_id(key);
                shared.settle_opened(state);
                Ok(Some(self.stream(shared, key, id)))
            }
        }
    }
}

struct Open<'a> {
    session: &'a Session,
    shared: &'a Arc<Shared>,
    ticket: Option<u64>,
}

impl Future for Open<'_> {
    type Output = Result<Stream, OpenError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let shared = self.shared;
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
                let stream = self.session.stream(shared, key, id);
                shared.settle_opened(state);
                next.into_iter().for_each(Waker::wake);
                self.ticket = None;
                Poll::Ready(Ok(stream))
            }
            Err(error) => {
                state.opening.leave(self.ticket);
                let next = state.opening.next();
                drop(state);
                next.into_iter().for_each(Waker::wake);
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
        let mut state = self.shared.lock();
        if state.opening.leave(self.ticket) {
            // It had been woken: the place it would have taken is another's.
            let next = state.opening.next();
            drop(state);
            next.into_iter().for_each(Waker::wake);
        }
    }
}
