//! One task per session: reads, times and wakes; and writes what callers leave to it. The protocol is
//! in [`proto`](crate::proto).

mod clock;
mod shared;
mod state;
mod timer;
mod transport;
mod waiters;
mod writer;

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::BytesMut;
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

pub use self::transport::Transport;
pub(crate) use self::{
    clock::{now, seed},
    shared::Shared,
    state::PingWait,
};
use self::{shared::wake_all, timer::Timer, writer::Writer};
use crate::proto::Engine;

/// A read is never larger.
const LARGEST_READ: usize = 64 << 10;
/// A payload is read into memory of its own up to this size; what a peer announces is not believed
/// beyond it.
const LARGEST_PAYLOAD: usize = 256 << 10;
/// Bytes read before those who were woken have their turn.
const BATCH_BYTES: usize = 256 << 10;
/// Bytes read after a write has failed, before that ends the session: what the peer had sent by then.
const LAST_WORDS: usize = 64 << 20;
/// Turns without giving other tasks theirs.
const TURNS: u32 = 16;

/// What a driver does after a turn.
enum Next {
    /// Wait until it is woken.
    Sleep,
    /// Take another turn.
    Turn,
    /// Take another turn after all tasks that are ready now.
    Yield,
    /// The session is over.
    End,
}

/// The task of one session.
struct Driver {
    shared: Arc<Shared>,
    io: Box<dyn AsyncRead + Send + Unpin>,
    input: BytesMut,
    first_read: usize,
    read_size: usize,
    /// The rest of a long payload that is being received.
    hint: Option<usize>,
    read_ended: bool,
    /// Who is to be woken when this turn is over.
    woken: Vec<Waker>,
    timer: Timer,
    /// When this turn has read something.
    now: Option<Instant>,
    /// There is something to write in the next turn, or to try to.
    writes: bool,
    /// Bytes read since the transport failed to write.
    after_failure: usize,
}

/// Starts the task of a session on the runtime that the caller is in.
pub(crate) fn spawn(
    transport: Transport,
    engine: Engine,
    first_read: usize,
    coalesce: bool,
) -> Arc<Shared> {
    let shared = Shared::new(engine, Writer::new(transport.write), coalesce);
    let driver = Driver {
        shared: Arc::clone(&shared),
        io: transport.read,
        input: BytesMut::new(),
        first_read: first_read.clamp(64, LARGEST_READ),
        read_size: first_read.clamp(64, LARGEST_READ),
        hint: None,
        read_ended: false,
        woken: Vec::new(),
        timer: Timer::new(),
        now: None,
        writes: true,
        after_failure: 0,
    };
    // Its end is awaited by whoever closes the session or waits for it to be closed.
    tokio::spawn(driver);
    shared
}

impl Driver {
    /// One turn: writes what waits, reads a batch, does what is due.
    fn turn(&mut self, cx: &mut Context<'_>) -> Next {
        if self.writes {
            self.shared.flush();
        }
        let (more, gather) = self.read(cx);
        let mut state = self.shared.lock();
        if (!more || self.after_failure >= LAST_WORDS)
            && let Some(error) = state.io_error.take()
        {
            // What the peer sent before is in the engine by now: answers, and the reason perhaps.
            state.engine.handle_io_error(error);
            state.drain_events(&mut self.woken);
        }
        let due = self.timer.poll(cx, &mut state.engine, self.now);
        state.timer = self.timer.fires();
        if due {
            state.drain_events(&mut self.woken);
        }
        if state.engine.wants_shutdown() && !state.engine.is_over() {
            drop(state);
            self.shared.shut_down();
            state = self.shared.lock();
        }
        if state.engine.is_over() {
            return Next::End;
        }
        state.gathering = gather || more;
        if state.gathering {
            // Those who were told something will want to send: what they send now leaves together.
            return Next::Yield;
        }
        // What others did while we were running has woken nobody.
        let missed = (state.engine.has_output() && !state.blocked)
            || state.left
            || state.engine.has_events()
            || state.io_error.is_some();
        state.awake = due || missed;
        self.writes = state.has_work();
        if state.awake { Next::Turn } else { Next::Sleep }
    }

    /// Reads and handles a batch. Returns whether more may be there, and whether several tasks were
    /// woken.
    fn read(&mut self, cx: &mut Context<'_>) -> (bool, bool) {
        let (mut bytes, mut gather) = (0, false);
        self.now = None;
        while !self.read_ended {
            if bytes >= BATCH_BYTES {
                return (true, gather);
            }
            let room = self.make_room();
            let result = poll_read_buf(Pin::new(&mut self.io), cx, &mut self.input);
            let mut state = match result {
                Poll::Pending => {
                    if self.input.is_empty() && self.input.capacity() > self.first_read {
                        // An idle session keeps no large buffer.
                        self.input = BytesMut::new();
                    }
                    return (false, gather);
                }
                Poll::Ready(Err(error)) => {
                    self.read_ended = true;
                    let mut state = self.shared.lock();
                    state.engine.handle_io_error(error);
                    state
                }
                Poll::Ready(Ok(0)) => {
                    self.read_ended = true;
                    let mut state = self.shared.lock();
                    state.engine.handle_end(now(), &self.input);
                    state
                }
                Poll::Ready(Ok(count)) => {
                    bytes += count;
                    self.adapt(count, room);
                    let mut state = self.shared.lock();
                    let now = now();
                    state.heard = now;
                    if state.io_error.is_some() {
                        self.after_failure = self.after_failure.saturating_add(count);
                    }
                    self.now = Some(now);
                    if let Err(violation) = state.engine.handle_input(now, &mut self.input) {
                        tracing::warn!(%violation, "session ended by this side");
                    }
                    self.hint = state.engine.read_hint();
                    state
                }
            };
            gather |= state.drain_events(&mut self.woken);
            let waits = state.engine.must_transmit();
            drop(state);
            if waits {
                self.let_go_of_resets();
            }
        }
        (false, gather)
    }

    /// The engine takes no more input before resets have left that the peer has made it owe: they are
    /// written, and what was read before is taken. If the peer does not read them, that is a flood.
    fn let_go_of_resets(&mut self) {
        while self.shared.lock().engine.must_transmit() {
            self.shared.flush();
            let mut state = self.shared.lock();
            let now = state.heard;
            if let Err(violation) = state.engine.handle_input(now, &mut self.input) {
                tracing::warn!(%violation, "session ended by this side");
            }
            self.hint = state.engine.read_hint();
            state.drain_events(&mut self.woken);
        }
    }

    /// Makes room for the next read: for the rest of a long payload in memory of its own, else for what
    /// usually comes.
    fn make_room(&mut self) -> usize {
        let room = match self.hint {
            Some(hint) => hint.min(LARGEST_PAYLOAD),
            None => self.read_size,
        };
        if self.input.capacity() - self.input.len() < room.min(self.first_read)
            || self.input.is_empty()
        {
            self.input.reserve(room);
        }
        self.input.capacity() - self.input.len()
    }

    /// Lets the size of reads follow what comes.
    fn adapt(&mut self, count: usize, room: usize) {
        if count >= room {
            self.read_size = (self.read_size * 4).min(LARGEST_READ);
        } else if count < self.read_size / 8 {
            self.read_size = (self.read_size / 2).max(self.first_read);
        }
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let moved = {
            let mut state = this.shared.lock();
            // A task that wakes itself while it runs is offered to another thread.
            state.awake = true;
            state.passed = 0;
            state.gathering = false;
            // Whatever woke us: the transport may take more by now, of one who is about to note that it
            // is blocked. That one has the writer, and finds our note.
            this.writes = true;
            let moved = !state.driver.will_wake(cx.waker());
            if moved {
                state.driver = cx.waker().clone();
            }
            moved
        };
        if moved {
            this.shared.writer().waker = cx.waker().clone();
            // The timer knows the old waker.
            this.timer.forget();
        }
        for _ in 0..TURNS {
            let next = this.turn(cx);
            if matches!(next, Next::Yield) && this.woken.len() > 1 {
                break;
            }
            this.woken.drain(..).for_each(Waker::wake);
            match next {
                Next::Turn => {}
                Next::Yield => break,
                Next::Sleep => return Poll::Pending,
                Next::End => {
                    this.shared.end();
                    return Poll::Ready(());
                }
            }
        }
        // A task that is woken by another goes to the front, and from the second on the runtime
        // calls in another thread each time: for a batch that costs more than all else. What is
        // deferred is woken at once, and one thread called in. The last to be deferred is woken first,
        // and the last to be woken overtakes the others: so we come behind all of them. Waking
        // ourselves directly would offer this task to another thread, which would then run it beside
        // those that it wants to wait for.
        let mut woken = this.woken.drain(..);
        woken.next().iter().for_each(defer);
        defer(cx.waker());
        woken.as_slice().iter().for_each(defer);
        Poll::Pending
    }
}

/// Wakes a task when all tasks that are ready now have run. That it is soon is sure, the order is
/// not, and nothing depends on it but speed.
fn defer(waker: &Waker) {
    let deferred = pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(waker));
    debug_assert!(deferred.is_pending());
}

impl Drop for Driver {
    /// A driver that is dropped, rather than run to its end, still tells everybody who waits.
    fn drop(&mut self) {
        self.shared.end();
        wake_all(std::mem::take(&mut self.woken));
    }
}
