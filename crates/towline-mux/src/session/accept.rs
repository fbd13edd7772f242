//! Accepting streams: one by one, as a `Stream`, or as from a listener.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::Stream as FuturesStream;

use super::{Beneath, Session};
use crate::{
    driver::{Shared, now},
    native::{Native, NativeFuture, NativeStream, ended},
    proto::{Accepting, SessionEnd},
    stream::Stream,
};

impl Session {
    /// Takes the next stream that the peer opened; `Ok(None)` when the session has ended well and none
    /// comes any more.
    ///
    /// # Errors
    ///
    /// Why the session ended, if not well.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no stream.
    pub async fn accept(&self) -> Result<Option<Stream>, SessionEnd> {
        match &self.inner.beneath {
            Beneath::Engine(shared, _) => {
                Accept {
                    session: self,
                    shared,
                    ticket: None,
                }
                .await
            }
            Beneath::Native(native) => {
                let accepted = native.session.accept().await;
                self.accepted(native, accepted)
            }
        }
    }

    /// The streams that the peer opens, as a [`futures_core::Stream`]. It ends when the session ends
    /// well, and behind an error.
    ///
    /// ```
    /// # use towline_mux::yamux;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let client = yamux::client(here, yamux::Config::default())?;
    /// # let server = yamux::server(there, yamux::Config::default())?;
    /// use futures_util::StreamExt;
    ///
    /// # let opened = client.open().await?;
    /// let mut incoming = server.incoming();
    /// while let Some(stream) = incoming.next().await {
    ///     println!("{}", stream?.id());
    /// #   break;
    /// }
    /// # drop(opened);
    /// # drop(server);
    /// # Ok(())
    /// # }
    /// ```
    pub fn incoming(&self) -> Incoming {
        Incoming {
            session: self.clone(),
            ticket: None,
            accepting: None,
            ended: false,
        }
    }

    /// The session as something that accepts connections, for servers that want a listener.
    ///
    /// ```
    /// # use towline_mux::yamux;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let client = yamux::client(here, yamux::Config::default())?;
    /// # let server = yamux::server(there, yamux::Config::default())?;
    /// # let opened = client.open().await?;
    /// let listener = server.clone().into_listener();
    /// let (stream, peer) = listener.accept().await?;
    /// println!("{} from {peer}", stream.id());
    /// # drop(opened);
    /// # drop(server);
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_listener(self) -> Listener {
        Listener { session: self }
    }

    fn accepted(
        &self,
        native: &Native,
        accepted: Result<Box<dyn NativeStream>, SessionEnd>,
    ) -> Result<Option<Stream>, SessionEnd> {
        match accepted {
            Ok(stream) => {
                let stream = native.count(stream, true);
                Ok(Some(Stream::of_native(Arc::clone(&self.inner), stream)))
            }
            Err(end) => ended(end),
        }
    }

    fn poll_accept(
        &self,
        shared: &Arc<Shared>,
        cx: &Context<'_>,
        ticket: &mut Option<u64>,
    ) -> Poll<Result<Option<Stream>, SessionEnd>> {
        let mut state = shared.lock();
        match state.engine.accept(now()) {
            Accepting::Stream(key) => {
                let id = state.engine.stream_id(key);
                state.accepting.leave(ticket.take());
                // Whoever waits for another one may have been told of both by one event.
                let next = if state.engine.has_backlog() {
                    state.accepting.next()
                } else {
                    state.keep_accepting();
                    None
                };
                shared.settle(state);
                next.into_iter().for_each(std::task::Waker::wake);
                Poll::Ready(Ok(Some(self.stream(shared, key, id))))
            }
            Accepting::Blocked => {
                state.accepting.wait(ticket, cx.waker());
                Poll::Pending
            }
            Accepting::Ended => {
                state.accepting.leave(ticket.take());
                Poll::Ready(ended(state.end_reason()))
            }
        }
    }
}

/// Somebody who waited for a stream waits no more; another takes its turn.
fn stop_accepting(shared: &Shared, ticket: Option<u64>) {
    let mut state = shared.lock();
    if !state.accepting.leave(ticket) {
        return;
    }
    if state.engine.has_backlog() {
        let next = state.accepting.next();
        drop(state);
        next.into_iter().for_each(std::task::Waker::wake);
    } else {
        state.keep_accepting();
    }
}

/// A session as a listener: what the peer opens is accepted like connections; made by
/// [`Session::into_listener`].
#[derive(Debug)]
pub struct Listener {
    session: Session,
}

impl Listener {
    /// The next stream, and the peer's address.
    ///
    /// # Errors
    ///
    /// The end of the session, however it ended: a listener has no other way to tell.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no stream.
    pub async fn accept(&self) -> io::Result<(Stream, String)> {
        match self.session.accept().await {
            Ok(Some(stream)) => Ok((stream, self.session.peer_addr().to_owned())),
            Ok(None) => Err(self.session.inner.beneath.end_reason().into()),
            Err(end) => Err(end.into()),
        }
    }

    /// The session's [`local_addr`](Session::local_addr).
    pub fn local_addr(&self) -> &str {
        self.session.local_addr()
    }

    /// The session.
    pub const fn session(&self) -> &Session {
        &self.session
    }
}

/// The streams that the peer opens; made by [`Session::incoming`].
pub struct Incoming {
    session: Session,
    ticket: Option<u64>,
    /// What a native session is asked for.
    accepting: Option<NativeFuture<Result<Box<dyn NativeStream>, SessionEnd>>>,
    ended: bool,
}

impl FuturesStream for Incoming {
    type Item = Result<Stream, SessionEnd>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let this = &mut *self;
        let result = match &this.session.inner.beneath {
            Beneath::Engine(shared, _) => {
                ready!(this.session.poll_accept(shared, cx, &mut this.ticket))
            }
            Beneath::Native(native) => {
                let accepting = this
                    .accepting
                    .get_or_insert_with(|| native.session.accept());
                let accepted = ready!(accepting.as_mut().poll(cx));
                this.accepting = None;
                this.session.accepted(native, accepted)
            }
        };
        self.ended = !matches!(result, Ok(Some(_)));
        Poll::Ready(result.transpose())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Beneath::Engine(shared, _) = &self.session.inner.beneath {
            stop_accepting(shared, self.ticket);
        }
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("session", &self.session)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

struct Accept<'a> {
    session: &'a Session,
    shared: &'a Arc<Shared>,
    ticket: Option<u64>,
}

impl Future for Accept<'_> {
    type Output = Result<Option<Stream>, SessionEnd>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut ticket = self.ticket.take();
        let polled = self.session.poll_accept(self.shared, cx, &mut ticket);
        self.ticket = ticket;
        polled
    }
}

impl Drop for Accept<'_> {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            stop_accepting(self.shared, self.ticket);
        }
    }
}
