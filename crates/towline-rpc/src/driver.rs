//! One task per connection: reads, times, writes and wakes. The protocol is in [`proto`](crate::proto).

use std::{
    cell::Cell,
    collections::VecDeque,
    future::Future,
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant, SystemTime},
};

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::task::AtomicWaker;
use rustc_hash::FxHashMap;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Sleep,
};
use tokio_util::io::poll_read_buf;

use crate::{
    close::CloseReason,
    proto::{Compression, EncodedFrame, FrameReader, Message, Now, Received, TooLarge, Violation},
};

/// Reads begin with this much room and grow while they fill it.
const FIRST_READ: usize = 4 << 10;
const LARGEST_READ: usize = 128 << 10;
/// Messages handled in one turn ...
const BATCH_MESSAGES: usize = 32;
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
/// A body at least this large is compressed outside the lock.
const COMPRESS_OUTSIDE: usize = 8 << 10;

/// What a driver needs of a protocol core.
pub(crate) trait Core: Send + 'static {
    /// What the core tells its owner.
    type Event: Send;
    /// Names a stream.
    type Stream: std::hash::Hash + Eq + Copy + Send;

    fn handle_message(&mut self, now: Now, received: Received) -> Result<(), Violation>;
    fn note_input(&mut self, now: Now, inside_frame: bool);
    fn poll_transmit(&mut self) -> Option<Bytes>;
    fn written(&mut self, len: usize);
    fn unsent(&self) -> usize;
    fn has_room(&self) -> bool;
    fn wants_input(&self) -> bool;
    fn poll_event(&mut self) -> Option<Self::Event>;
    fn has_events(&self) -> bool;
    fn deadline(&self) -> Option<Instant>;
    fn handle_timeout(&mut self, now: Now) -> Result<(), Violation>;
    fn compression(&self) -> Compression;
    fn enqueue(&mut self, now: Now, message: &Message) -> Result<(), TooLarge>;
    fn enqueue_encoded(&mut self, now: Now, frame: EncodedFrame);
}

/// Implements [`Core`] by the inherent methods of the same names.
macro_rules! delegate_core {
    ($core:ty, $event:ty, $stream:ty) => {
        impl $crate::driver::Core for $core {
            type Event = $event;
            type Stream = $stream;

            fn handle_message(&mut self, now: Now, received: Received) -> Result<(), Violation> {
                <$core>::handle_message(self, now, received)
            }
            fn note_input(&mut self, now: Now, inside_frame: bool) {
                <$core>::note_input(self, now, inside_frame);
            }
            fn poll_transmit(&mut self) -> Option<bytes::Bytes> {
                <$core>::poll_transmit(self)
            }
            fn written(&mut self, len: usize) {
                <$core>::written(self, len);
            }
            fn unsent(&self) -> usize {
                <$core>::unsent(self)
            }
            fn has_room(&self) -> bool {
                <$core>::has_room(self)
            }
            fn wants_input(&self) -> bool {
                <$core>::wants_input(self)
            }
            fn poll_event(&mut self) -> Option<Self::Event> {
                <$core>::poll_event(self)
            }
            fn has_events(&self) -> bool {
                <$core>::has_events(self)
            }
            fn deadline(&self) -> Option<std::time::Instant> {
                <$core>::deadline(self)
            }
            fn handle_timeout(&mut self, now: Now) -> Result<(), Violation> {
                <$core>::handle_timeout(self, now)
            }
            fn compression(&self) -> Compression {
                <$core>::compression(self)
            }
            fn enqueue(&mut self, now: Now, message: &Message) -> Result<(), TooLarge> {
                <$core>::enqueue(self, now, message)
            }
            fn enqueue_encoded(&mut self, now: Now, frame: EncodedFrame) {
                <$core>::enqueue_encoded(self, now, frame);
            }
        }
    };
}
pub(crate) use delegate_core;

/// How long the wall clock may be derived from the other one before it is read again.
const WALL_CLOCK_AGE: Duration = Duration::from_millis(50);

thread_local! {
    // Reading both clocks for every message would be a twentieth of the cost of a call.
    static WALL_CLOCK: Cell<Option<Now>> = const { Cell::new(None) };
}

/// The present, by the clocks of the runtime and of the machine.
#[expect(
    clippy::disallowed_methods,
    reason = "the driver is where the clocks are read"
)]
pub(crate) fn now() -> Now {
    let instant = tokio::time::Instant::now().into_std();
    if let Some(read) = WALL_CLOCK.get()
        && let Some(age) = instant.checked_duration_since(read.instant)
        && age < WALL_CLOCK_AGE
    {
        return Now {
            instant,
            wall: read.wall.saturating_add(age),
        };
    }
    let now = Now {
        instant,
        wall: SystemTime::now().into(),
    };
    WALL_CLOCK.set(Some(now));
    now
}

/// What the driver and the handles of one connection share.
pub(crate) struct Shared<C: Core> {
    state: Mutex<State<C>>,
    driver: AtomicWaker,
}

impl<C: Core> std::fmt::Debug for Shared<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("closed", &self.lock().closed)
            .finish_non_exhaustive()
    }
}

pub(crate) struct State<C: Core> {
    pub(crate) core: C,
    /// Why the connection is over, once it is.
    pub(crate) closed: Option<CloseReason>,
    /// Nothing more will be queued: write what there is, then end.
    closing: bool,
    /// The driver is running, or will run: it need not be woken. It looks at everything before it
    /// takes this back.
    woken: bool,
    /// Reading is paused by the core's back-pressure.
    paused: bool,
    waiting_for_room: Vec<Waker>,
    waiting_for_part: FxHashMap<C::Stream, Waker>,
    waiting_for_close: Vec<Waker>,
}

impl<C: Core> Shared<C> {
    pub(crate) fn new(core: C) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                core,
                closed: None,
                closing: false,
                woken: false,
                paused: false,
                waiting_for_room: Vec::new(),
                waiting_for_part: FxHashMap::default(),
                waiting_for_close: Vec::new(),
            }),
            driver: AtomicWaker::new(),
        })
    }

    /// The state. A poisoned lock is a bug that has been reported where it happened; the tables
    /// are consistent between any two statements that can panic, so the others go on.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the state and has the driver look at what has changed in it.
    pub(crate) fn wake_driver(&self, mut state: MutexGuard<'_, State<C>>) {
        let asleep = !std::mem::replace(&mut state.woken, true);
        drop(state);
        if asleep {
            self.driver.wake();
        }
    }

    /// Ready when senders may queue more, or nothing can be sent any more.
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<Result<(), CloseReason>> {
        let mut state = self.lock();
        if let Some(reason) = &state.closed {
            return Poll::Ready(Err(reason.clone()));
        }
        if state.core.has_room() {
            return Poll::Ready(Ok(()));
        }
        if !state
            .waiting_for_room
            .iter()
            .any(|waker| waker.will_wake(cx.waker()))
        {
            state.waiting_for_room.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Ready when the connection is over.
    pub(crate) fn poll_closed(&self, cx: &Context<'_>) -> Poll<CloseReason> {
        let mut state = self.lock();
        if let Some(reason) = &state.closed {
            return Poll::Ready(reason.clone());
        }
        if !state
            .waiting_for_close
            .iter()
            .any(|waker| waker.will_wake(cx.waker()))
        {
            state.waiting_for_close.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Has the driver write what is queued, and end.
    pub(crate) fn start_closing(&self) {
        let mut state = self.lock();
        state.closing = true;
        self.wake_driver(state);
    }

    /// Queues a message that the core has stamped under the lock `state`. A large one is compressed
    /// with the lock released: other tasks go on meanwhile.
    pub(crate) fn enqueue<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<C>>,
        now: Now,
        message: &Message,
    ) -> Result<(), TooLarge> {
        if state.is_better_encoded_outside(message) {
            let compression = state.core.compression();
            drop(state);
            let frame = EncodedFrame::new(message, compression)?;
            state = self.lock();
            state.core.enqueue_encoded(now, frame);
        } else {
            state.core.enqueue(now, message)?;
        }
        self.wake_driver(state);
        Ok(())
    }
}

impl<C: Core> State<C> {
    /// True for a message whose compression would hold the lock for long.
    pub(crate) fn is_better_encoded_outside(&self, message: &Message) -> bool {
        message.body.len() >= COMPRESS_OUTSIDE
            && self.core.compression() != Compression::None
            && !message.hdr.no_system_compression
    }

    /// Notes whom to wake when a stream has something to take, or the connection ends.
    pub(crate) fn wait_for_part(&mut self, stream: C::Stream, cx: &Context<'_>) {
        match self.waiting_for_part.get_mut(&stream) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => {
                self.waiting_for_part.insert(stream, cx.waker().clone());
            }
        }
    }

    /// Nobody waits for this stream any more.
    pub(crate) fn forget_stream(&mut self, stream: C::Stream) {
        self.waiting_for_part.remove(&stream);
    }

    pub(crate) fn take_stream_waker(&mut self, stream: C::Stream) -> Option<Waker> {
        self.waiting_for_part.remove(&stream)
    }

    /// True if the driver should be woken because reading can go on.
    pub(crate) fn may_resume(&self) -> bool {
        self.paused && self.core.wants_input()
    }

    fn all_waiting(&mut self) -> Vec<Waker> {
        let mut all = std::mem::take(&mut self.waiting_for_room);
        all.extend(self.waiting_for_part.drain().map(|(_, waker)| waker));
        all.append(&mut self.waiting_for_close);
        all
    }
}

/// What the owner of a driver does with what the core tells.
pub(crate) trait Owner<C: Core>: Send + Unpin + 'static {
    /// Some events are about to be handled.
    fn begin_events(&mut self);

    /// True if other tasks, woken by what has just been handled, may want to send too: then it pays
    /// to give them a turn before writing.
    fn gains_by_waiting(&self, core: &C) -> bool;

    /// Handles an event. Called with the lock free.
    fn handle_event(&mut self, shared: &Arc<Shared<C>>, event: C::Event);

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
    ended: Option<CloseReason>,
}

impl<C, IO, O> Driver<C, IO, O>
where
    C: Core,
    IO: AsyncRead + AsyncWrite + Unpin,
    O: Owner<C>,
{
    pub(crate) fn new(shared: Arc<Shared<C>>, io: IO, owner: O) -> Self {
        Self {
            shared,
            owner,
            io,
            reader: FrameReader::new(),
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
            || (state.closing && !self.shutting_down && self.owner.is_idle());
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
        let mut bytes = 0;
        loop {
            while let Some(received) = self.reader.handle_input(&mut self.input)? {
                bytes += received.message.body.len();
                self.received.push(received);
                if self.received.len() >= BATCH_MESSAGES || bytes >= BATCH_BYTES {
                    return Ok(true);
                }
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
            } else if count < self.read_size / 8 {
                self.read_size = (self.read_size / 2).max(FIRST_READ);
            }
        }
    }

    /// Gives the core what came, and others what the core has to tell. Returns how much that was.
    fn dispatch(&mut self) -> Result<usize, CloseReason> {
        let mut result = Ok(());
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
            self.owner.handle_event(&self.shared, event);
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
        let waiting = {
            let mut state = self.shared.lock();
            state.core.written(count);
            if !state.core.has_room() || state.waiting_for_room.is_empty() {
                return;
            }
            std::mem::take(&mut state.waiting_for_room)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Sets the timer to the core's next deadline, and does what is due. `Ok(true)` asks for another
    /// turn.
    fn time(&mut self, cx: &mut Context<'_>) -> Result<bool, CloseReason> {
        loop {
            let Some(deadline) = self.shared.lock().core.deadline() else {
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
            if deadline <= now.instant {
                let mut state = self.shared.lock();
                let result = state.core.handle_timeout(now);
                while let Some(event) = state.core.poll_event() {
                    self.events.push(event);
                }
                drop(state);
                for event in self.events.drain(..) {
                    self.owner.handle_event(&self.shared, event);
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
            state.all_waiting()
        };
        self.owner.handle_close(&self.shared, &reason);
        waiting.into_iter().for_each(Waker::wake);
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
            match this.turn(cx) {
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
        // Behind every task that is ready now. Waking ourselves directly would offer this task to
        // another thread, which would then run it beside the tasks that it wants to wait for.
        let deferred = pin!(tokio::task::yield_now()).poll(cx);
        debug_assert!(deferred.is_pending());
        Poll::Pending
    }
}

impl<C: Core, IO, O> Drop for Driver<C, IO, O> {
    /// A driver that is dropped, rather than run to its end, still tells everybody who waits.
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.shared.lock();
            state.closed.get_or_insert(CloseReason::ClosedHere);
            state.all_waiting()
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}
