//! What the driver and the handles of one session share.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::{
    clock::now,
    defer,
    waiters::Waiters,
    writer::{Progress, Writer},
};
use crate::proto::{Engine, Event, SessionEnd, StreamKey, WriteError};

/// With this much queued, a writer does not leave writing to the driver.
const WORTH_WRITING: usize = 64 << 10;
/// Bytes taken from the engine at a time: what is taken can no longer be overtaken.
const WRITE_AHEAD: usize = 128 << 10;
/// Bytes that callers write while the driver waits for its turn. It may wait for the thread that the
/// writer runs on, and no other thread can take it from there.
const PASSED: usize = 256 << 10;
/// Rounds of writing that a caller does for everybody before it leaves the rest to the driver.
const ROUNDS: usize = 16;

/// What the driver and the handles of one session share.
///
/// There are two locks. The state is held for moments only. The writer is held by whoever writes to
/// the transport, driver or caller, and never waited for: who finds it taken leaves a note, and the
/// one who writes looks for notes when it is done. The writer is taken first, the state second.
pub(crate) struct Shared {
    state: Mutex<State>,
    writer: Mutex<Writer>,
    /// Somebody found the writer taken and has more to write.
    more: AtomicBool,
}

pub(crate) struct State {
    pub(crate) engine: Engine,
    /// When something last came: near enough where only the order of events matters.
    pub(crate) heard: Instant,
    wakers: Vec<Wakers>,
    pub(crate) accepting: Waiters,
    pub(crate) opening: Waiters,
    pub(crate) pings: Vec<PingWait>,
    pub(crate) next_ping_wait: u64,
    waiting_for_end: Vec<Waker>,
    /// Wakes the driver, once it has run.
    pub(super) driver: Waker,
    /// The driver runs or will run, and looks at everything before it sleeps: it need not be woken.
    pub(super) awake: bool,
    /// Bytes that callers have written since the driver last ran.
    pub(super) passed: usize,
    /// The driver will write after all tasks that are ready now.
    pub(super) gathering: bool,
    /// The transport takes nothing; the driver is told when it does.
    pub(super) blocked: bool,
    pub(super) io_error: Option<io::Error>,
    /// The driver has ended.
    pub(super) over: bool,
    coalesce: bool,
}

/// Who waits for one stream.
#[derive(Debug, Default)]
struct Wakers {
    read: Option<Waker>,
    write: Option<Waker>,
}

/// Somebody who waits for an answer to a ping.
#[derive(Debug)]
pub(crate) struct PingWait {
    pub(crate) wait: u64,
    pub(crate) number: u64,
    pub(crate) waker: Option<Waker>,
    /// How long it took; nothing if the answer did not come in time.
    pub(crate) result: Option<Option<Duration>>,
}

impl Shared {
    pub(crate) fn new(engine: Engine, writer: Writer, coalesce: bool) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                engine,
                heard: now(),
                wakers: Vec::new(),
                accepting: Waiters::default(),
                opening: Waiters::default(),
                pings: Vec::new(),
                next_ping_wait: 0,
                waiting_for_end: Vec::new(),
                driver: Waker::noop().clone(),
                awake: true,
                passed: 0,
                gathering: false,
                blocked: false,
                io_error: None,
                over: false,
                coalesce,
            }),
            writer: Mutex::new(writer),
            more: AtomicBool::new(false),
        })
    }

    /// The state. A poisoned lock is a bug that has been reported where it happened; the tables are
    /// consistent between any two statements that can panic, so the others go on.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_writer(&self) -> Option<MutexGuard<'_, Writer>> {
        match self.writer.try_lock() {
            Ok(writer) => Some(writer),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The writer, for the driver, which may wait for it where it has to have it.
    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has what is to be sent leave soon: behind the tasks that are ready, or with the next write.
    pub(crate) fn nudge(&self, mut state: MutexGuard<'_, State>) {
        if state.awake || state.blocked || state.over {
            return;
        }
        state.awake = true;
        let driver = state.driver.clone();
        drop(state);
        driver.wake();
    }

    /// After something was done: tells those whom it concerns, and has what it queued leave soon.
    pub(crate) fn settle(&self, mut state: MutexGuard<'_, State>) {
        let mut woken = Vec::new();
        if state.engine.has_events() {
            state.drain_events(&mut woken);
        }
        if state.engine.has_output() {
            self.nudge(state);
        } else {
            drop(state);
        }
        wake_all(woken);
    }

    /// After a stream was opened: what its opener sends in a row, up to its end, leaves together.
    pub(crate) fn settle_opened(&self, mut state: MutexGuard<'_, State>) {
        let mut woken = Vec::new();
        state.drain_events(&mut woken);
        if state.coalesce || state.engine.has_output() {
            self.nudge(state);
        } else {
            drop(state);
        }
        wake_all(woken);
    }

    /// Has the driver look at everything, whatever it waits for.
    pub(crate) fn wake_driver(&self, mut state: MutexGuard<'_, State>) {
        state.awake = true;
        let driver = state.driver.clone();
        drop(state);
        driver.wake();
    }

    /// Writes what is to be sent until nothing is left or the transport takes no more.
    pub(crate) fn flush(&self) {
        let now = now();
        let mut rounds = 0;
        loop {
            let Some(mut writer) = self.try_writer() else {
                // Whoever has it looks for the note after letting go; if it has let go meanwhile,
                // the second try gets it.
                self.more.store(true, Ordering::SeqCst);
                let Some(writer) = self.try_writer() else {
                    return;
                };
                drop(writer);
                continue;
            };
            self.more.store(false, Ordering::SeqCst);
            let mut woken = Vec::new();
            let done = loop {
                if writer.out.is_empty() {
                    let mut state = self.lock();
                    if rounds >= ROUNDS {
                        drop(writer);
                        self.wake_driver(state);
                        wake_all(woken);
                        return;
                    }
                    state
                        .engine
                        .poll_transmit(now, &mut writer.out, WRITE_AHEAD);
                    state.drain_events(&mut woken);
                }
                rounds += 1;
                match writer.write() {
                    Progress::Idle => break true,
                    Progress::Written => {}
                    Progress::Blocked => break false,
                    Progress::Failed(error) => {
                        let mut state = self.lock();
                        state.io_error.get_or_insert(error);
                        self.wake_driver(state);
                        break false;
                    }
                }
            };
            let changed = writer.blocked_noted == done || writer.progressed;
            if changed {
                let mut state = self.lock();
                state.blocked = !done && !writer.failed;
                if writer.progressed || done {
                    state.engine.note_blocked(now, false);
                }
                if !done && !writer.failed {
                    state.engine.note_blocked(now, true);
                }
                writer.blocked_noted = !done;
                writer.progressed = false;
            }
            drop(writer);
            wake_all(woken);
            if !self.more.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    /// Writes bytes of a stream: straight to the transport if it is free, else into the stream's queue.
    pub(crate) fn poll_write(
        &self,
        cx: &Context<'_>,
        key: StreamKey,
        buf: &[u8],
    ) -> Poll<Result<usize, WriteError>> {
        if self.lock().lets_driver_pass(cx, buf.len()) {
            return Poll::Pending;
        }
        if let Some(count) = self.write_direct(key, buf) {
            return Poll::Ready(Ok(count));
        }
        let mut state = self.lock();
        let room = state.engine.write_room(key)?;
        if room == 0 && !buf.is_empty() {
            state.wait_to_write(key, cx);
            self.leave_writing(state);
            return Poll::Pending;
        }
        let count = room.min(buf.len());
        let copy = bytes::Bytes::copy_from_slice(&buf[..count]);
        state.engine.write(key, copy)?;
        self.leave_writing(state);
        Poll::Ready(Ok(count))
    }

    /// Queues as much of `chunk` as there is room for, and takes it off; pending if there is none.
    pub(crate) fn poll_write_chunk(
        &self,
        cx: &Context<'_>,
        key: StreamKey,
        chunk: &mut bytes::Bytes,
    ) -> Poll<Result<(), WriteError>> {
        let mut state = self.lock();
        if state.lets_driver_pass(cx, chunk.len()) {
            return Poll::Pending;
        }
        let room = state.engine.write_room(key)?;
        if chunk.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if room == 0 {
            state.wait_to_write(key, cx);
            self.leave_writing(state);
            return Poll::Pending;
        }
        let part = chunk.split_to(room.min(chunk.len()));
        state.engine.write(key, part)?;
        self.leave_writing(state);
        Poll::Ready(Ok(()))
    }

    /// Something was queued: writes it, unless somebody else will.
    fn leave_writing(&self, state: MutexGuard<'_, State>) {
        if state.blocked || (state.driver_writes_soon() && state.engine.queued() < WORTH_WRITING) {
            return;
        }
        drop(state);
        self.flush();
    }

    /// Writes to a transport that is free, from where the bytes are. Nothing if it is not.
    fn write_direct(&self, key: StreamKey, buf: &[u8]) -> Option<usize> {
        let mut writer = self.try_writer()?;
        if !writer.is_free() || buf.is_empty() {
            return None;
        }
        let mut woken = Vec::new();
        let direct = {
            let mut state = self.lock();
            if state.blocked || (state.driver_writes_soon() && buf.len() < WORTH_WRITING) {
                return None;
            }
            let direct = state
                .engine
                .write_direct(now(), key, buf.len(), &mut writer.out);
            state.drain_events(&mut woken);
            direct
        };
        if direct.total() == 0 && writer.out.is_empty() {
            drop(writer);
            wake_all(woken);
            return None;
        }
        let progress = writer.write_direct(&direct, buf);
        let (total, more) = (direct.total(), !writer.out.is_empty());
        drop(writer);
        wake_all(woken);
        if let Progress::Failed(error) = progress {
            let mut state = self.lock();
            state.io_error.get_or_insert(error);
            self.wake_driver(state);
        } else if more || self.more.load(Ordering::SeqCst) {
            self.flush();
        }
        (total > 0).then_some(total)
    }

    /// Ready when everything written on the stream was handed to the transport.
    pub(crate) fn poll_flush(
        &self,
        cx: &Context<'_>,
        key: StreamKey,
    ) -> Poll<Result<(), WriteError>> {
        let mut state = self.lock();
        if state.engine.poll_flushed(key)? {
            return Poll::Ready(Ok(()));
        }
        if state.blocked {
            state.wait_to_write(key, cx);
            return Poll::Pending;
        }
        drop(state);
        self.flush();
        let mut state = self.lock();
        if state.engine.poll_flushed(key)? {
            return Poll::Ready(Ok(()));
        }
        state.wait_to_write(key, cx);
        Poll::Pending
    }

    /// Ready when the session is over.
    pub(crate) fn poll_over(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.over {
            return Poll::Ready(());
        }
        if !state
            .waiting_for_end
            .iter()
            .any(|waker| waker.will_wake(cx.waker()))
        {
            state.waiting_for_end.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The driver has ended, or was dropped.
    pub(super) fn end(&self) {
        let mut woken = Vec::new();
        self.writer().drop_transport();
        {
            let mut state = self.lock();
            state.over = true;
            state.engine.abort();
            state.drain_events(&mut woken);
            state.wake_everybody(&mut woken);
            woken.append(&mut state.waiting_for_end);
        }
        wake_all(woken);
    }
}

impl State {
    /// True if small writes are better left to the driver: those of tasks that were woken together then
    /// leave together, and so do the opening, the data and the end that one task sends in a row.
    const fn driver_writes_soon(&self) -> bool {
        self.gathering || (self.awake && self.coalesce)
    }

    /// True if a writer should give the driver its turn first. Who writes without pause would else keep
    /// it, and whoever waits for an answer, from reading for milliseconds.
    fn lets_driver_pass(&mut self, cx: &Context<'_>, len: usize) -> bool {
        if !self.awake {
            self.passed = 0;
            return false;
        }
        if self.passed < PASSED {
            self.passed += len.min(PASSED);
            return false;
        }
        self.passed = 0;
        defer(cx.waker());
        true
    }

    /// Tells everybody whom the engine's events are for. True if tasks were woken that may want to
    /// send together.
    pub(super) fn drain_events(&mut self, woken: &mut Vec<Waker>) -> bool {
        let mut accepts = false;
        while let Some(event) = self.engine.poll_event() {
            match event {
                Event::Readable(key) => woken.extend(self.wakers(key).read.take()),
                Event::Writable(key) => woken.extend(self.wakers(key).write.take()),
                Event::Acceptable => {
                    woken.extend(self.accepting.next());
                    accepts = true;
                }
                Event::Openable => {
                    // One place may have become free, or the reason to wait has gone for all.
                    if self.engine.end().is_some() || self.engine.remote_go_away().is_some() {
                        woken.extend(std::iter::from_fn(|| self.opening.next()));
                    } else {
                        woken.extend(self.opening.next());
                    }
                }
                Event::Pong(number, took) => self.answer_ping(number, Some(took), woken),
                Event::PingLost(number) => self.answer_ping(number, None, woken),
                Event::Ended => self.wake_everybody(woken),
            }
        }
        self.coalesce && (accepts || woken.len() > 1)
    }

    fn answer_ping(&mut self, number: u64, result: Option<Duration>, woken: &mut Vec<Waker>) {
        for wait in self.pings.iter_mut().filter(|wait| wait.number == number) {
            wait.result.get_or_insert(result);
            woken.extend(wait.waker.take());
        }
    }

    fn wake_everybody(&mut self, woken: &mut Vec<Waker>) {
        for wakers in &mut self.wakers {
            woken.extend(wakers.read.take());
            woken.extend(wakers.write.take());
        }
        woken.extend(std::iter::from_fn(|| self.accepting.next()));
        woken.extend(std::iter::from_fn(|| self.opening.next()));
        woken.extend(self.pings.iter_mut().filter_map(|wait| wait.waker.take()));
    }

    fn wakers(&mut self, key: StreamKey) -> &mut Wakers {
        let index = key.index();
        if self.wakers.len() <= index {
            self.wakers.resize_with(index + 1, Wakers::default);
        }
        &mut self.wakers[index]
    }

    pub(crate) fn wait_to_read(&mut self, key: StreamKey, cx: &Context<'_>) {
        set(&mut self.wakers(key).read, cx);
    }

    pub(crate) fn wait_to_write(&mut self, key: StreamKey, cx: &Context<'_>) {
        set(&mut self.wakers(key).write, cx);
    }

    /// Nobody waits for this stream any more.
    pub(crate) fn forget_wakers(&mut self, key: StreamKey) {
        if let Some(wakers) = self.wakers.get_mut(key.index()) {
            *wakers = Wakers::default();
        }
    }

    /// Why the session is over, or is to be taken for.
    pub(crate) fn end_reason(&self) -> SessionEnd {
        self.engine.end().cloned().unwrap_or(SessionEnd::ClosedHere)
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.over
    }
}

fn set(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
}

pub(super) fn wake_all(woken: Vec<Waker>) {
    woken.into_iter().for_each(Waker::wake);
}
