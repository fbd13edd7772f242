//! Reading for a handler, with a buffer only while there is something to read.

use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::sync::{Mutex as Group, OwnedMutexGuard};
use tokio::task::yield_now;
use tokio_util::io::poll_read_buf;

use super::desks::{Desk, Desks};
use super::permits::Limited;
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
}

/// A connection of a group, until this is dropped.
pub(super) struct Membership {
    pub(super) turns: Arc<Group<()>>,
    pub(super) _member: super::pool::Member,
}

/// What a turn takes along.
pub(super) struct Connection<H: ReadHandler> {
    stream: SocketStream,
    handler: Arc<Limited<H>>,
    /// `None` before the handler has seen the connection.
    state: Option<H::State>,
}

/// What it waits for, and how many bytes it has read since the last pause.
enum Now<F> {
    /// Something to read.
    Reading(u32),
    /// The group, a permit, or that others had their turn.
    Waiting(u32, Box<Waiting>),
    /// The handler.
    Turn(u32, Pin<Box<Option<F>>>),
}

/// What a read needs, as far as it is there. Not while there is nothing to read.
#[derive(Default)]
struct Held {
    /// One of the strategy's permits; it must be given back.
    permit: bool,
    /// The turn of the connection's group.
    group: Option<OwnedMutexGuard<()>>,
}

/// Says what came of it.
type Waiting = Pin<Box<dyn Future<Output = Held> + Send>>;

/// One call of the handler.
pub(super) struct Turn<H: ReadHandler> {
    connection: Connection<H>,
    buffer: BytesMut,
    what: What,
}

enum What {
    Accepted,
    /// With a permit.
    Read {
        group: Option<OwnedMutexGuard<()>>,
    },
    Ended(Ended),
}

/// What came of a turn: the connection, unless it has ended, and the buffer.
pub(super) struct Done<H: ReadHandler>(Option<Connection<H>>, BytesMut);

/// Calls the handler.
pub(super) async fn turn<H: ReadHandler>(turn: Turn<H>) -> Done<H> {
    let Turn {
        mut connection,
        mut buffer,
        what,
    } = turn;
    let Connection {
        stream,
        handler,
        state,
    } = &mut connection;
    let socket = stream.socket();
    match (what, state) {
        (What::Read { group }, Some(state)) => {
            // Counted out however the handler ends.
            let _counted = Counted::new(socket);
            let call = handler.handler.on_read(state, socket, &buffer);
            handler.work(call).await;
            drop(group);
            buffer.clear();
        }
        (What::Ended(ended), state) => {
            if let Some(state) = state.take() {
                handler.handler.on_end(state, socket, ended).await;
            }
            return Done(None, buffer);
        }
        (_, state) => *state = Some(handler.handler.on_accept(socket).await),
    }
    Done(Some(connection), buffer)
}

impl<H, F> Reading<H, F>
where
    H: ReadHandler,
    F: Future<Output = Done<H>> + Send + 'static,
{
    pub(super) fn new(
        stream: SocketStream,
        handler: Arc<Limited<H>>,
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
            now: Now::Reading(0),
            group: group.map(Box::new),
        }
    }

    /// What is to be done next: a turn, or to wait. What a read needs may be there, and is after a read.
    fn next(
        &mut self,
        cx: &mut Context<'_>,
        desk: &mut Option<Desk<F>>,
        unpaused: &mut u32,
        held: &mut Held,
    ) -> Next {
        let Some(Connection {
            stream,
            handler,
            state,
        }) = &mut self.connection
        else {
            return Next::Nothing;
        };
        if state.is_none() {
            return Next::Turn(What::Accepted);
        }
        if *unpaused as usize >= self.desks.budget() {
            *unpaused = 0;
            Numbers::add(&stream.socket().0.registry.reading.yields, 1);
            return Next::wait(async {
                yield_now().await;
                Held::default()
            });
        }
        if let Some(ended) = over(stream) {
            return Next::Turn(What::Ended(ended));
        }
        // Who waits for its group holds nothing else: a group that is stuck takes nothing from the others.
        if let (Some(group), None) = (&self.group, &held.group) {
            let turns = Arc::clone(&group.turns);
            match turns.try_lock_owned() {
                Ok(group) => held.group = Some(group),
                Err(_) => {
                    let turns = Arc::clone(&group.turns);
                    return Next::wait(async {
                        Held {
                            permit: false,
                            group: Some(turns.lock_owned().await),
                        }
                    });
                }
            }
        }
        // All handlers may be at work; who waits for a permit has no buffer.
        if !held.permit && !handler.take() {
            let (handler, group) = (Arc::clone(handler), held.group.take());
            return Next::wait(async {
                handler.wait().await;
                Held {
                    permit: true,
                    group,
                }
            });
        }
        held.permit = true;
        let buffer = &mut desk.get_or_insert_with(|| self.desks.take()).buffer;
        match poll_read_buf(Pin::new(&mut Driven(stream)), cx, buffer) {
            Poll::Ready(Ok(count @ 1..)) => {
                *unpaused = unpaused.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
                Numbers::add(&stream.socket().0.registry.reading.reads, 1);
                let group = held.group.take();
                Next::Turn(What::Read { group })
            }
            Poll::Ready(Ok(0)) => Next::Turn(What::Ended(Ended::ByPeer)),
            Poll::Ready(Err(error)) => Next::Turn(What::Ended(failed(stream, error))),
            Poll::Pending => {
                *unpaused = 0;
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
    fn wait(wait: impl Future<Output = Held> + Send + 'static) -> Self {
        Self::Wait(Box::pin(wait))
    }
}

// A state is never pinned where it is kept, and turns are pinned on their own.
impl<H: ReadHandler, F> Unpin for Reading<H, F> {}

impl<H, F> Future for Reading<H, F>
where
    H: ReadHandler,
    F: Future<Output = Done<H>> + Send + 'static,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut desk = None;
        let polled = loop {
            let mut held = Held::default();
            let mut unpaused = match &mut this.now {
                Now::Reading(unpaused) => *unpaused,
                Now::Waiting(unpaused, waiting) => match (**waiting).as_mut().poll(cx) {
                    Poll::Ready(got) => {
                        held = got;
                        *unpaused
                    }
                    Poll::Pending => break Poll::Pending,
                },
                Now::Turn(unpaused, turn) => {
                    let unpaused = *unpaused;
                    let polled = turn.as_mut().as_pin_mut().map(|future| future.poll(cx));
                    let Some(Poll::Ready(Done(connection, buffer))) = polled else {
                        break Poll::Pending;
                    };
                    turn.set(None);
                    this.connection = connection;
                    let rest = Now::Reading(unpaused);
                    if let Now::Turn(_, turn) = mem::replace(&mut this.now, rest) {
                        desk = Some(Desk { buffer, turn });
                    }
                    if this.connection.is_none() {
                        break Poll::Ready(());
                    }
                    unpaused
                }
            };
            let next = this.next(cx, &mut desk, &mut unpaused, &mut held);
            if held.permit
                && !matches!(next, Next::Turn(What::Read { .. }))
                && let Some(Connection { handler, .. }) = &this.connection
            {
                handler.give_back();
            }
            match next {
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
                    // Polled in the next round of this loop: from then on its permit is its own.
                    this.now = Now::Turn(unpaused, turn);
                }
                Next::Wait(waiting) => this.now = Now::Waiting(unpaused, Box::new(waiting)),
                Next::Nothing => {
                    this.now = Now::Reading(unpaused);
                    break Poll::Pending;
                }
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
