//! One task per connection: reads, times, writes and wakes. The protocol is in [`proto`](crate::proto).

mod clock;
mod core;
mod heap;
mod seed;
mod shared;

use std::{
    collections::VecDeque,
    future::Future,
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Instant,
};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Sleep,
};
use tokio_util::io::poll_read_buf;

pub use self::clock::VirtualWallClock;
pub(crate) use self::{
    clock::now,
    core::{Core, delegate_core},
    seed::seed,
    shared::{Shared, State},
};
use crate::{
    close::CloseReason,
    proto::{FrameReader, Received, weight},
};

/// Reads begin with this much room and grow while they fill it.
const FIRST_READ: usize = 4 << 10;
const LARGEST_READ: usize = 128 << 10;
/// Messages handled in one turn: so few that both ends work at once, each on a batch of its own, and
/// so many that system calls and wake-ups are shared ...
pub(crate) const BATCH_MESSAGES: usize = 12;
/// ... or, if more have come, this share of them, up to the owner's own limit ...
const BATCH_SHARE: usize = 4;
/// ... unless this many bytes of bodies come first.
const BATCH_BYTES: usize = 256 << 10;
/// Turns without giving other tasks theirs.
const TURNS: u32 = 16;
/// Pieces handed to the transport in one system call.
const PIECES_PER_WRITE: usize = 64;
/// Bytes taken from the core at a time; what is taken can no longer be held back.
const WRITE_AHEAD: usize = 256 << 10;
/// With less than this waiting, it pays to let other tasks add to it before writing.
const WORTH_GATHERING: usize = 64 << 10;

/// What the owner of a driver does with what the core tells.
pub(crate) trait Owner<C: Core>: Send + Unpin + 'static {
    /// Messages that are handled in one turn at most, however many have come.
    const BATCH_MOST: usize;

    /// Some events are about to be handled.
    fn begin_events(&mut self);

    /// True if other tasks, woken by what has just been handled, may want to send too: then it pays
    /// to give them a turn before writing.
    fn gains_by_waiting(&self, core: &C) -> bool;

    /// Handles an event, and says whom to wake. Called with the lock free.
    fn handle_event(&mut self, shared: &Arc<Shared<C>>, event: C::Event) -> Option<Waker>;

    /// Makes progress with what the owner itself waits for.
    fn poll(&mut self, shared: &Arc<Shared<C>>, cx: &mut Context<'_>);

    /// True when nothing more can come out of the owner: a connection that is closing may end.
    fn is_idle(&self) -> bool;

    /// The connection is over. Called with the lock free, after `closed` was set.
    fn handle_close(&mut self, shared: &Arc<Shared<C>>, reason: &CloseReason);
}

/// What a driver does after a turn.
enum Next {
    /// Wait until it is woken.
    Sleep,
    /// Take another turn.
    Turn,
    /// Take another turn after all tasks that are ready now.
    Yield,
}

/// The task of one connection.
pub(crate) struct Driver<C: Core, IO, O> {
    shared: Arc<Shared<C>>,
    owner: O,
    io: IO,
    reader: FrameReader,
    input: BytesMut,
    read_size: usize,
    writing: VecDeque<Bytes>,
    needs_flush: bool,
    /// Other tasks have been given a turn to add to what waits to be written.
    gathered: bool,
    /// The transport is being closed.
    shutting_down: bool,
    timer: Pin<Box<Sleep>>,
    timer_set: Option<Instant>,
    bytes_came: bool,
    received: Vec<Received>,
    events: Vec<C::Event>,
    /// Whom the events of this turn have told something.
    to_wake: Vec<Waker>,
    ended: Option<CloseReason>,
}

impl<C, IO, O> Driver<C, IO, O>
where
    C: Core,
    IO: AsyncRead + AsyncWrite + Unpin,
    O: Owner<C>,
{
    pub(crate) fn new(shared: Arc<Shared<C>>, io: IO, owner: O, max_message: usize) -> Self {
        Self {
            shared,
            owner,
            io,
            reader: FrameReader::with_limit(max_message),
            input: BytesMut::new(),
            read_size: FIRST_READ,
            writing: VecDeque::new(),
            needs_flush: false,
            gathered: false,
            shutting_down: false,
            timer: Box::pin(tokio::time::sleep_until(tokio::time::Instant::from_std(
                now().instant,
            ))),
            timer_set: None,
            bytes_came: false,
            received: Vec::new(),
            events: Vec::new(),
            to_wake: Vec::new(),
            ended: None,
        }
    }

    pub(crate) const fn owner_mut(&mut self) -> &mut O {
        &mut self.owner
    }

    /// One turn: writes what waits, reads and handles a batch, does what is due.
    fn turn(&mut self, cx: &mut Context<'_>) -> Result<Next, CloseReason> {
        match self.write(cx) {
            Ok(Next::Yield) => return Ok(Next::Yield),
            Ok(_) => {}
            // The peer's last words may say why it takes nothing any more.
            Err(reason @ CloseReason::Io(_)) => return Err(self.read(cx).err().unwrap_or(reason)),
            Err(reason) => return Err(reason),
        }
        let (more, end) = match self.read(cx) {
            Ok(more) => (more, None),
            // What came before the end still counts.
            Err(reason) => (false, Some(reason)),
        };
        let handled = self.dispatch()?;
        if let Some(reason) = end {
            return Err(reason);
        }
        self.owner.poll(&self.shared, cx);
        let due = self.time(cx)?;
        let mut state = self.shared.lock();
        if handled > 1 && self.owner.gains_by_waiting(&state.core) {
            // Those who were told something will want to send: what they send now leaves together.
            self.gathered = true;
            return Ok(Next::Yield);
        }
        // What others did while we were running has woken nobody. Writing, too, may have made the
        // room that reading waits for.
        let missed = state.may_resume()
            || state.core.has_events()
            || (self.writing.is_empty() && state.core.unsent() > 0)
            || (state.closing
                // Otherwise the transport says when to go on.
                && self.writing.is_empty()
                && !self.needs_flush
                && !self.shutting_down
                && self.owner.is_idle());
        state.woken = more || due || missed;
        Ok(if state.woken { Next::Turn } else { Next::Sleep })
    }

    /// Reads and decodes a batch; expensive, so without the lock. `Ok(true)` if more may be there.
    ///
    /// Batches are kept small, so that this end works on one while the other end works on the next.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, CloseReason> {
        {
            let mut state = self.shared.lock();
            state.paused = !state.core.wants_input();
            if state.paused {
                return Ok(false);
            }
        }
        let (mut bytes, mut read) = (0, 0);
        loop {
            let mut before = self.input.len();
            while let Some(received) = self.reader.handle_input(&mut self.input)? {
                bytes += weight(&received.message);
                self.received.push(received);
                read += before - self.input.len();
                let left = self.input.len();
                let enough = self.received.len() >= BATCH_MESSAGES
                    && (read * (BATCH_SHARE - 1) >= left || self.received.len() >= O::BATCH_MOST);
                if enough || bytes >= BATCH_BYTES {
                    return Ok(true);
                }
                before = left;
            }
            self.reader.make_room(&mut self.input, self.read_size);
            let room = self.input.capacity() - self.input.len();
            let count = match poll_read_buf(Pin::new(&mut self.io), cx, &mut self.input) {
                Poll::Pending => {
                    if self.input.is_empty() {
                        // An idle connection keeps no buffer.
                        self.input = BytesMut::new();
                    }
                    return Ok(false);
                }
                Poll::Ready(Err(error)) => return Err(CloseReason::from_io(error)),
                Poll::Ready(Ok(0)) => {
                    return Err(match self.reader.violation_at_end(&self.input) {
                        Some(violation) => CloseReason::Violation(violation),
                        None => CloseReason::ClosedByPeer,
                    });
                }
                Poll::Ready(Ok(count)) => count,
            };
            self.bytes_came = true;
            if count >= room.min(self.read_size) {
                self.read_size = (self.read_size * 2).min(LARGEST_READ);
                if self.read_size == LARGEST_READ {
                    heap::keep_for_parts();
                }
            } else if count < self.read_size / 8 {
                self.read_size = (self.read_size / 2).max(FIRST_READ);
            }
        }
    }

    /// Gives the core what came, and others what the core has to tell. Returns how much that was.
    fn dispatch(&mut self) -> Result<usize, CloseReason> {
        let mut result = Ok(());
        if self.received.is_empty() && !self.bytes_came && !self.shared.lock().core.has_events() {
            return Ok(0);
        }
        {
            let now = now();
            let mut state = self.shared.lock();
            for received in self.received.drain(..) {
                result = result.and_then(|()| state.core.handle_message(now, received));
            }
            if std::mem::take(&mut self.bytes_came) {
                let inside_frame = self.reader.is_inside_frame(&self.input);
                state.core.note_input(now, inside_frame);
            }
            while let Some(event) = state.core.poll_event() {
                self.events.push(event);
            }
        }
        let handled = self.events.len();
        if handled > 0 {
            self.owner.begin_events();
        }
        for event in self.events.drain(..) {
            self.to_wake
                .extend(self.owner.handle_event(&self.shared, event));
        }
        result.map_err(CloseReason::Violation)?;
        Ok(handled)
    }

    /// Writes until nothing is left or the transport is full. Asks to yield
    /// first if others are likely to add to it.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<Next, CloseReason> {
        loop {
            if self.writing.is_empty() {
                let closing = {
                    let mut state = self.shared.lock();
                    let unsent = state.core.unsent();
                    // Whoever was woken together with us will want to send too: give them one turn,
                    // and all of it leaves in one system call. They need not wake us meanwhile.
                    if (1..WORTH_GATHERING).contains(&unsent)
                        && !self.gathered
                        && self.owner.gains_by_waiting(&state.core)
                    {
                        self.gathered = true;
                        return Ok(Next::Yield);
                    }
                    let mut taken = 0;
                    while taken < WRITE_AHEAD
                        && let Some(piece) = state.core.poll_transmit()
                    {
                        taken += piece.len();
                        self.writing.push_back(piece);
                    }
                    if taken >= WRITE_AHEAD {
                        heap::keep_for_parts();
                    }
                    state.closing
                };
                if self.writing.is_empty() {
                    self.gathered = false;
                    if self.needs_flush {
                        match Pin::new(&mut self.io).poll_flush(cx) {
                            Poll::Pending => return Ok(Next::Sleep),
                            Poll::Ready(result) => result.map_err(CloseReason::from_io)?,
                        }
                        self.needs_flush = false;
                    }
                    if closing && self.owner.is_idle() {
                        self.shutting_down = true;
                        return match Pin::new(&mut self.io).poll_shutdown(cx) {
                            Poll::Pending => Ok(Next::Sleep),
                            Poll::Ready(_) => Err(CloseReason::ClosedHere),
                        };
                    }
                    return Ok(Next::Sleep);
                }
            }
            match self.poll_write_pieces(cx) {
                Poll::Pending => return Ok(Next::Sleep),
                Poll::Ready(Err(error)) => return Err(CloseReason::from_io(error)),
                Poll::Ready(Ok(count)) => self.note_written(count),
            }
        }
    }

    fn poll_write_pieces(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); PIECES_PER_WRITE];
        let mut used = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.writing) {
            *slice = IoSlice::new(piece);
            used += 1;
        }
        let count = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, &slices[..used]))?;
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let mut left = count;
        while let Some(piece) = self.writing.front_mut() {
            if piece.len() > left {
                piece.advance(left);
                break;
            }
            left -= piece.len();
            self.writing.pop_front();
        }
        self.needs_flush = true;
        Poll::Ready(Ok(count))
    }

    fn note_written(&mut self, count: usize) {
        let has_room = {
            let mut state = self.shared.lock();
            state.core.written(count);
            state.core.has_room()
        };
        if has_room {
            self.shared.room.notify_one();
        }
    }

    /// Sets the timer to what is due next, and does what is due. `Ok(true)` asks for another turn.
    fn time(&mut self, cx: &mut Context<'_>) -> Result<bool, CloseReason> {
        loop {
            let (of_core, close_by) = {
                let state = self.shared.lock();
                (state.core.deadline(), state.close_by)
            };
            let Some(deadline) = of_core.into_iter().chain(close_by).min() else {
                return Ok(false);
            };
            // A timer that fires early costs one look; moving it for every call would cost more.
            if self.timer_set.is_none_or(|set| set > deadline) {
                self.timer
                    .as_mut()
                    .reset(tokio::time::Instant::from_std(deadline));
                self.timer_set = Some(deadline);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Ok(false);
            }
            self.timer_set = None;
            let now = now();
            if close_by.is_some_and(|by| by <= now.instant) {
                return Err(CloseReason::ClosedHere);
            }
            if deadline <= now.instant {
                let mut state = self.shared.lock();
                let result = state.core.handle_timeout(now);
                while let Some(event) = state.core.poll_event() {
                    self.events.push(event);
                }
                drop(state);
                for event in self.events.drain(..) {
                    self.to_wake
                        .extend(self.owner.handle_event(&self.shared, event));
                }
                result.map_err(CloseReason::Violation)?;
                // What it queued is written in the turn it has just asked for.
                return Ok(true);
            }
        }
    }

    fn end(&mut self, reason: CloseReason) -> CloseReason {
        let waiting = {
            let mut state = self.shared.lock();
            state.closed = Some(reason.clone());
            state.take_stream_wakers()
        };
        self.owner.handle_close(&self.shared, &reason);
        self.shared.tell_end(waiting);
        reason
    }
}

impl<C, IO, O> Future for Driver<C, IO, O>
where
    C: Core,
    IO: AsyncRead + AsyncWrite + Unpin,
    O: Owner<C>,
    C::Event: Unpin,
{
    type Output = CloseReason;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let this = self.get_mut();
        if let Some(reason) = &this.ended {
            return Poll::Ready(reason.clone());
        }
        this.shared.driver.register(cx.waker());
        // A task that wakes itself while it runs is offered to another thread.
        this.shared.lock().woken = true;
        for _ in 0..TURNS {
            let next = this.turn(cx);
            if !matches!(next, Ok(Next::Yield)) {
                this.to_wake.drain(..).for_each(Waker::wake);
            }
            match next {
                Ok(Next::Turn) => {}
                Ok(Next::Yield) => break,
                Ok(Next::Sleep) => return Poll::Pending,
                Err(reason) => {
                    let reason = this.end(reason);
                    this.ended = Some(reason.clone());
                    return Poll::Ready(reason);
                }
            }
        }
        // A task that is woken by another goes to the front, and from the second on the runtime
        // calls in another thread each time: for a batch of answers that costs more than all else.
        // What is deferred is woken at once, and one thread called in. The last to be deferred is
        // woken first, and the last to be woken overtakes the others: so we come behind all of them.
        let mut to_wake = this.to_wake.drain(..);
        to_wake.next().iter().for_each(defer);
        defer(cx.waker());
        to_wake.as_slice().iter().for_each(defer);
        Poll::Pending
    }
}

/// Wakes a task when all tasks that are ready now have run. That it is soon is sure, the order is
/// not, and nothing depends on it but speed.
fn defer(waker: &Waker) {
    let deferred = pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(waker));
    debug_assert!(deferred.is_pending());
}

impl<C: Core, IO, O> Drop for Driver<C, IO, O> {
    /// A driver that is dropped, rather than run to its end, still tells everybody who waits.
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.shared.lock();
            state.closed.get_or_insert(CloseReason::ClosedHere);
            state.take_stream_wakers()
        };
        self.shared.tell_end(waiting);
    }
}
