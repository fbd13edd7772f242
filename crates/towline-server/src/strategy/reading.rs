//! Reading for a handler, with a buffer only while there is something to read.

use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::sync::{Mutex as Group, OwnedSemaphorePermit};
use tokio::task::yield_now;
use tokio_util::io::poll_read_buf;

use super::desks::{Desk, Desks};
use crate::handler::{Ended, ReadHandler};
use crate::registry::Reading as Numbers;
use crate::socket::{CloseReason, Driven, Socket, SocketStream};

/// The future of a connection that is read for a handler, until it ends or the server stops.
///
/// Written by hand, because there may be very many of it: while it waits for bytes it is as small as it can be. A
/// call of the handler is a future of its own, the [`turn`], at a desk with a buffer that is taken when there are
/// bytes and given back in the same poll, unless the handler waits.
pub(super) struct Reading<H: ReadHandler, F> {
    /// `None` while a turn has it.
    connection: Option<Connection<H>>,
    desks: Arc<Desks<H, F>>,
    now: Now<F>,
    /// Within which no two connections are handled at the same time.
    group: Option<Box<Membership>>,
    /// Bytes since the last pause.
    unpaused: usize,
}

/// A connection of a group, until this is dropped.
pub(super) struct Membership {
    pub(super) turns: Arc<Group<()>>,
    pub(super) _member: super::pool::Member,
}

/// What a turn takes along.
pub(super) struct Connection<H: ReadHandler> {
    stream: SocketStream,
    handler: Arc<H>,
    /// `None` before the handler has seen the connection.
    state: Option<H::State>,
}

enum Now<F> {
    /// For something to read.
    Reading,
    /// For a permit, or for others to have their turn.
    Waiting(Box<Waiting>),
    /// For the handler.
    Turn(Pin<Box<Option<F>>>),
}

type Waiting = Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>;

/// One call of the handler.
pub(super) struct Turn<H: ReadHandler> {
    connection: Connection<H>,
    buffer: BytesMut,
    what: What,
}

enum What {
    Accepted,
    Read {
        permit: Option<OwnedSemaphorePermit>,
        group: Option<Arc<Group<()>>>,
    },
    Ended(Ended),
}

/// What came of a turn: the connection, unless it has ended, and the buffer.
pub(super) struct Done<H: ReadHandler>(Option<Connection<H>>, BytesMut);

/// Calls the handler.
pub(super) async fn turn<H: ReadHandler>(turn: Turn<H>) -> Done<H> {
    let Turn {
        mut connection,
        buffer,
        what,
    } = turn;
    let Connection {
        stream,
        handler,
        state,
    } = &mut connection;
    let socket = stream.socket();
    match (what, state) {
        (What::Read { permit, group }, Some(state)) => {
            // Given back however the handler ends.
            let _permit = permit;
            let _counted = Counted::new(socket);
            let _turn = match &group {
                Some(group) => Some(group.lock().await),
                None => None,
            };
            handler.on_read(state, socket, &buffer).await;
        }
        (What::Ended(ended), state) => {
            if let Some(state) = state.take() {
                handler.on_end(state, socket, ended).await;
            }
            return Done(None, buffer);
        }
        (_, state) => *state = Some(handler.on_accept(socket).await),
    }
    Done(Some(connection), buffer)
}

impl<H: ReadHandler, F: Future<Output = Done<H>>> Reading<H, F> {
    pub(super) fn new(
        stream: SocketStream,
        handler: Arc<H>,
        desks: Arc<Desks<H, F>>,
        group: Option<Membership>,
    ) -> Self {
        Self {
            connection: Some(Connection {
                stream,
                handler,
                state: None,
            }),
            desks,
            now: Now::Reading,
            group: group.map(Box::new),
            unpaused: 0,
        }
    }

    /// What is to be done next: a turn, or to wait.
    fn next(
        &mut self,
        cx: &mut Context<'_>,
        desk: &mut Option<Desk<F>>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Next {
        let Some(Connection { stream, state, .. }) = &mut self.connection else {
            return Next::Nothing;
        };
        if state.is_none() {
            return Next::Turn(What::Accepted);
        }
        if self.unpaused >= self.desks.budget() {
            self.unpaused = 0;
            Numbers::add(&stream.socket().0.registry.reading.yields, 1);
            return Next::wait(async {
                yield_now().await;
                None
            });
        }
        if let Some(ended) = over(stream) {
            return Next::Turn(What::Ended(ended));
        }
        let permit = match (permit, self.desks.handlers()) {
            (None, Some(handlers)) => match Arc::clone(handlers).try_acquire_owned() {
                Ok(permit) => Some(permit),
                // All handlers are at work. Never closed, so there will be one; who waits holds nothing.
                Err(_) => {
                    let handlers = Arc::clone(handlers);
                    return Next::wait(async move { handlers.acquire_owned().await.ok() });
                }
            },
            (permit, _) => permit,
        };
        let buffer = &mut desk.get_or_insert_with(|| self.desks.take()).buffer;
        match poll_read_buf(Pin::new(&mut Driven(stream)), cx, buffer) {
            Poll::Ready(Ok(count @ 1..)) => {
                self.unpaused += count;
                Numbers::add(&stream.socket().0.registry.reading.reads, 1);
                let group = self.group.as_ref().map(|group| Arc::clone(&group.turns));
                Next::Turn(What::Read { permit, group })
            }
            Poll::Ready(Ok(0)) => Next::Turn(What::Ended(Ended::ByPeer)),
            Poll::Ready(Err(error)) => Next::Turn(What::Ended(failed(stream, error))),
            Poll::Pending => {
                self.unpaused = 0;
                Next::Nothing
            }
        }
    }
}

/// What [`Reading::next`] wants.
enum Next {
    Turn(What),
    Wait(Waiting),
    /// The transport wakes the task.
    Nothing,
}

impl Next {
    fn wait(wait: impl Future<Output = Option<OwnedSemaphorePermit>> + Send + 'static) -> Self {
        Self::Wait(Box::pin(wait))
    }
}

// A state is never pinned where it is kept, and turns are pinned on their own.
impl<H: ReadHandler, F> Unpin for Reading<H, F> {}

impl<H: ReadHandler, F: Future<Output = Done<H>>> Future for Reading<H, F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut desk = None;
        let polled = loop {
            let mut permit = None;
            match mem::replace(&mut this.now, Now::Reading) {
                Now::Reading => {}
                Now::Waiting(mut waiting) => match (*waiting).as_mut().poll(cx) {
                    Poll::Ready(got) => permit = got,
                    Poll::Pending => {
                        this.now = Now::Waiting(waiting);
                        break Poll::Pending;
                    }
                },
                Now::Turn(mut turn) => {
                    let Some(future) = turn.as_mut().as_pin_mut() else {
                        break Poll::Ready(());
                    };
                    let Poll::Ready(Done(connection, mut buffer)) = future.poll(cx) else {
                        this.now = Now::Turn(turn);
                        break Poll::Pending;
                    };
                    turn.set(None);
                    buffer.clear();
                    desk = Some(Desk { buffer, turn });
                    this.connection = connection;
                    if this.connection.is_none() {
                        break Poll::Ready(());
                    }
                }
            }
            match this.next(cx, &mut desk, permit) {
                Next::Turn(what) => {
                    let Desk { buffer, mut turn } =
                        desk.take().unwrap_or_else(|| this.desks.take());
                    let Some(connection) = this.connection.take() else {
                        break Poll::Ready(());
                    };
                    turn.set(Some(this.desks.turn(Turn {
                        connection,
                        buffer,
                        what,
                    })));
                    this.now = Now::Turn(turn);
                }
                Next::Wait(waiting) => this.now = Now::Waiting(Box::new(waiting)),
                Next::Nothing => break Poll::Pending,
            }
        };
        if let Some(desk) = desk {
            this.desks.give_back(desk);
        }
        polled
    }
}

/// Why nothing more is to be read, if that is so.
fn over(stream: &SocketStream) -> Option<Ended> {
    let inner = &stream.socket().0;
    if let Some(reason) = inner.close_reason() {
        return Some(Ended::Closed(reason));
    }
    // Whoever is in the middle of a packet gets the time to finish it.
    (inner.registry.is_stopping() && inner.packet_under_way() == 0).then_some(Ended::Stopping)
}

fn failed(stream: &SocketStream, error: io::Error) -> Ended {
    match stream.close_reason() {
        Some(CloseReason::Client | CloseReason::Error) | None => Ended::Failed(error),
        Some(reason) => Ended::Closed(reason),
    }
}

/// A buffer in use.
struct Counted<'a>(&'a Socket);

impl<'a> Counted<'a> {
    fn new(socket: &'a Socket) -> Self {
        let reading = &socket.0.registry.reading;
        reading.buffers.fetch_add(1, Ordering::Relaxed);
        Self(socket)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let reading = &self.0.0.registry.reading;
        reading.buffers.fetch_sub(1, Ordering::Relaxed);
    }
}
