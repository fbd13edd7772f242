//! What the driver and the handles of one session share.

use std::{
    io,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tokio::sync::Notify;

use super::{
    clock::now,
    state::State,
    writer::{Progress, Writer},
};
use crate::proto::{Engine, StreamKey, WriteError};

/// With this much queued, a writer does not leave writing to the driver.
const WORTH_WRITING: usize = 64 << 10;
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
    /// The driver has ended.
    ended: Notify,
}

impl Shared {
    pub(crate) fn new(engine: Engine, writer: Writer, coalesce: bool) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::new(engine, coalesce)),
            writer: Mutex::new(writer),
            more: AtomicBool::new(false),
            ended: Notify::new(),
        })
    }

    /// The state. If somebody panicked while holding it, in a frame tap or a memory manager, a frame may
    /// be half made: the session ends, so that the peer never reads one.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| {
            let mut state = poisoned.into_inner();
            self.state.clear_poison();
            tracing::error!("session ended: a call of the application's panicked inside it");
            state.engine.abort();
            state.awake = true;
            state.driver.wake_by_ref();
            state
        })
    }

    /// The writer, unless somebody has it. Whoever lets go of it looks at `more`.
    fn try_writer(&self) -> Option<MutexGuard<'_, Writer>> {
        match self.writer.try_lock() {
            Ok(writer) => Some(writer),
            Err(TryLockError::Poisoned(poisoned)) => Some(self.mend_writer(poisoned)),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The writer, for the driver, which may wait for it where it has to have it.
    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer
            .lock()
            .unwrap_or_else(|poisoned| self.mend_writer(poisoned))
    }

    /// The transport panicked, and nobody knows what it has taken.
    fn mend_writer<'a>(
        &self,
        poisoned: PoisonError<MutexGuard<'a, Writer>>,
    ) -> MutexGuard<'a, Writer> {
        let mut writer = poisoned.into_inner();
        self.writer.clear_poison();
        writer.drop_transport();
        let mut state = self.lock();
        state.fail(io::Error::other("the transport panicked"));
        self.release(state);
        writer
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
    pub(crate) fn settle(&self, state: MutexGuard<'_, State>) {
        if state.is_early() {
            self.wake_driver(state);
            return;
        }
        self.settle_read(state);
    }

    /// As [`settle`](Self::settle), after something that sets no time limit.
    pub(crate) fn settle_read(&self, mut state: MutexGuard<'_, State>) {
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
        if state.is_early() {
            self.wake_driver(state);
            return;
        }
        let mut woken = Vec::new();
        state.drain_events(&mut woken);
        if state.coalesce || state.engine.has_output() {
            self.nudge(state);
        } else {
            drop(state);
        }
        wake_all(woken);
    }

    /// Has the driver look at everything, and write, whatever it waits for.
    pub(crate) fn wake_driver(&self, mut state: MutexGuard<'_, State>) {
        state.awake = true;
        state.left = true;
        let driver = state.driver.clone();
        drop(state);
        driver.wake();
    }

    /// Writes what is to be sent until nothing is left or the transport takes no more.
    pub(crate) fn flush(&self) {
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
            let mut state = self.lock();
            loop {
                if writer.out.is_empty() {
                    if rounds >= ROUNDS {
                        drop(writer);
                        self.wake_driver(state);
                        wake_all(woken);
                        return;
                    }
                    state.transmit(&mut writer.out);
                    state.note_position(writer.position(), &mut woken);
                    state.drain_events(&mut woken);
                }
                drop(state);
                rounds += 1;
                let progress = writer.write();
                state = self.lock();
                state.note_position(writer.position(), &mut woken);
                match progress {
                    Progress::Written => continue,
                    Progress::Idle => state.note_written(),
                    Progress::Blocked => state.note_blocked(writer.take_progressed()),
                    Progress::Failed(error) => {
                        state.note_written();
                        state.fail(error);
                    }
                }
                break;
            }
            writer.take_progressed();
            drop(writer);
            self.release(state);
            wake_all(woken);
            if !self.more.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    /// Lets go of the state, and has the driver look at an error of the transport, or at a time limit
    /// that was set while it sleeps.
    pub(crate) fn release(&self, state: MutexGuard<'_, State>) {
        if state.io_error.is_some() || state.is_early() {
            self.wake_driver(state);
        }
    }

    /// Writes bytes of a stream: straight to the transport if it is free, else into the stream's queue.
    pub(crate) fn poll_write(
        &self,
        cx: &Context<'_>,
        key: StreamKey,
        buf: &[u8],
    ) -> Poll<Result<usize, WriteError>> {
        {
            let mut state = self.lock();
            if state.lets_driver_pass(cx, buf.len()) {
                return Poll::Pending;
            }
            state.note_write(key);
        }
        if let Some(count) = self.write_direct(key, buf) {
            return Poll::Ready(Ok(count));
        }
        let mut state = self.lock();
        let room = state.engine.write_room(key)?;
        if room == 0 && !buf.is_empty() {
            let old = state.wait_to_write(key, cx);
            self.leave_writing(state);
            drop(old);
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
        state.note_write(key);
        let room = state.engine.write_room(key)?;
        if chunk.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if room == 0 {
            let old = state.wait_to_write(key, cx);
            self.leave_writing(state);
            drop(old);
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
        let mut woken = Vec::new();
        let (total, more) = {
            let writer = self.try_writer()?;
            self.write_through(writer, key, buf, &mut woken)
        };
        wake_all(woken);
        if more || self.more.load(Ordering::SeqCst) {
            self.flush();
        }
        (total > 0).then_some(total)
    }

    /// What [`write_direct`](Self::write_direct) does while it has the writer. Returns how many bytes of
    /// `buf` were written, and whether something is left to write.
    fn write_through(
        &self,
        mut writer: MutexGuard<'_, Writer>,
        key: StreamKey,
        buf: &[u8],
        woken: &mut Vec<Waker>,
    ) -> (usize, bool) {
        if !writer.is_free() || buf.is_empty() {
            return (0, false);
        }
        let direct = {
            let mut state = self.lock();
            if state.blocked || (state.driver_writes_soon() && buf.len() < WORTH_WRITING) {
                return (0, false);
            }
            let now = state.transmit_time();
            let direct = state
                .engine
                .write_direct(now, key, buf.len(), &mut writer.out);
            state.drain_events(woken);
            direct
        };
        if direct.total() == 0 && writer.out.is_empty() {
            return (0, false);
        }
        let progress = writer.write_direct(&direct, buf);
        let more = writer.has_more();
        if let Progress::Failed(error) = progress {
            let mut state = self.lock();
            state.fail(error);
            self.release(state);
        } else if more {
            self.lock().note_position(writer.position(), woken);
        }
        (direct.total(), more)
    }

    /// Ready when everything written on the stream was handed to the transport.
    pub(crate) fn poll_flush(
        &self,
        cx: &Context<'_>,
        key: StreamKey,
    ) -> Poll<Result<(), WriteError>> {
        for last in [false, true] {
            let mut state = self.lock();
            if state.engine.poll_flushed(key)? {
                return state.poll_position(key, cx).map(Ok);
            }
            if last || state.blocked {
                let old = state.wait_to_write(key, cx);
                drop(state);
                drop(old);
                return Poll::Pending;
            }
            drop(state);
            self.flush();
        }
        Poll::Pending
    }

    /// Closes the transport's writing side once everything was written.
    pub(super) fn shut_down(&self) {
        let closed = {
            let mut writer = self.writer();
            writer.out.is_empty() && writer.poll_shutdown().is_ready()
        };
        if closed {
            self.lock().engine.handle_shutdown(now());
        }
    }

    /// Waits until the session is over.
    pub(crate) async fn over(&self) {
        let mut ended = pin!(self.ended.notified());
        ended.as_mut().enable();
        if !self.lock().over {
            ended.await;
        }
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
        }
        self.ended.notify_waiters();
        wake_all(woken);
    }
}

pub(super) fn wake_all(woken: Vec<Waker>) {
    woken.into_iter().for_each(Waker::wake);
}
