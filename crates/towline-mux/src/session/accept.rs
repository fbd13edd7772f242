//! Accepting streams: one by one, as a `Stream`, or as from a listener.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream as FuturesStream;

use super::Session;
use crate::{
    driver::now,
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
        Accept {
            session: self,
            ticket: None,
        }
        .await
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

    fn poll_accept(
        &self,
        cx: &Context<'_>,
        ticket: &mut Option<u64>,
    ) -> Poll<Result<Option<Stream>, SessionEnd>> {
        let mut state = self.shared().lock();
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
                self.shared().settle(state);
                next.into_iter().for_each(std::task::Waker::wake);
                Poll::Ready(Ok(Some(self.stream(key, id))))
            }
            Accepting::Blocked => {
                state.accepting.wait(ticket, cx.waker());
                Poll::Pending
            }
            Accepting::Ended => {
                state.accepting.leave(ticket.take());
                match state.end_reason() {
                    end if end.is_clean() => Poll::Ready(Ok(None)),
                    SessionEnd::ClosedWithCode(_) => Poll::Ready(Ok(None)),
                    end => Poll::Ready(Err(end)),
                }
            }
        }
    }

    /// Somebody who waited for a stream waits no more; another takes its turn.
    fn stop_accepting(&self, ticket: Option<u64>) {
        let mut state = self.shared().lock();
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
            Ok(None) => {
                let state = self.session.shared().lock();
                Err(state.end_reason().into())
            }
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
#[derive(Debug)]
pub struct Incoming {
    session: Session,
    ticket: Option<u64>,
    ended: bool,
}

impl FuturesStream for Incoming {
    type Item = Result<Stream, SessionEnd>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut ticket = self.ticket.take();
        let polled = self.session.poll_accept(cx, &mut ticket);
        self.ticket = ticket;
        let result = ready!(polled);
        self.ended = !matches!(result, Ok(Some(_)));
        Poll::Ready(result.transpose())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.session.stop_accepting(self.ticket);
    }
}

struct Accept<'a> {
    session: &'a Session,
    ticket: Option<u64>,
}

impl Future for Accept<'_> {
    type Output = Result<Option<Stream>, SessionEnd>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut ticket = self.ticket.take();
        let polled = self.session.poll_accept(cx, &mut ticket);
        self.ticket = ticket;
        polled
    }
}

impl Drop for Accept<'_> {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            self.session.stop_accepting(self.ticket);
        }
    }
}
