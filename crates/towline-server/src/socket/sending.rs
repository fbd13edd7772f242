//! How bytes leave a socket: whole messages of everybody, the stream's own writes, and what waits.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake, Waker, ready};

use bytes::{Buf, Bytes};

use super::output::{Output, Pushed, Room, SendError};
use super::queue::{Shed, fits};
use super::shared::Inner;
use crate::patience::peer_awaited;

/// What is to be sent as one.
pub(crate) enum Message<'a> {
    Owned(Bytes),
    /// Copied only as far as it has to wait.
    Borrowed(&'a [u8]),
}

impl Message<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Borrowed(bytes) => bytes,
        }
    }

    fn into_rest(self, written: usize) -> Bytes {
        match self {
            Self::Owned(mut bytes) => {
                bytes.advance(written);
                bytes
            }
            Self::Borrowed(bytes) => Bytes::copy_from_slice(&bytes[written..]),
        }
    }
}

impl Inner {
    pub(super) fn push(self: &Arc<Self>, bytes: Bytes, shed: Shed) -> Result<Pushed, SendError> {
        let max = self.registry.max_queued();
        self.push_message(Message::Owned(bytes), shed, max)
    }

    pub(super) fn push_slice(self: &Arc<Self>, bytes: &[u8]) -> Result<Pushed, SendError> {
        let max = self.registry.max_queued();
        self.push_message(Message::Borrowed(bytes), Shed::Refuse, max)
    }

    /// Sends a message at once if nothing waits, else puts it behind what waits. A message for an empty
    /// queue is always taken; behind others at most `max` bytes may wait, what keeping messages costs included.
    pub(crate) fn push_message(
        self: &Arc<Self>,
        message: Message<'_>,
        shed: Shed,
        max: usize,
    ) -> Result<Pushed, SendError> {
        let bytes = message.bytes();
        let mut out = self.out();
        if out.writer.is_none() {
            return Err(SendError::Closed);
        }
        if bytes.is_empty() {
            return Ok(Pushed::Written);
        }
        let key = match shed {
            Shed::Key(key) => Some(key),
            _ => None,
        };
        let (mut written, mut dropped) = (0, 0);
        if out.queued() == 0 {
            let waker = Waker::from(Arc::clone(self));
            let owed = out.owes();
            // Before the transport can wake the task: what it then finds to do waits for this lock.
            self.work.store(true, Ordering::Release);
            match out.write_now(&mut Context::from_waker(&waker), bytes) {
                Ok(count) => written = count,
                Err(error) => {
                    drop(out);
                    self.fail(&error);
                    return Err(SendError::Closed);
                }
            }
            self.count_written(written);
            if written == bytes.len() {
                self.work.store(out.has_work(), Ordering::Release);
                if out.owes() {
                    return Ok(Pushed::Queued);
                }
                drop(out);
                if owed {
                    self.tell_room();
                }
                return Ok(Pushed::Written);
            }
        } else {
            match out.make_room(bytes.len(), max, shed) {
                Some(count) => dropped = count,
                None => {
                    let queued = out.cost();
                    return Err(SendError::Full { queued, max });
                }
            }
        }
        let rest = message.into_rest(written);
        out.enqueue(rest, key, written > 0);
        out.mark(self.registry.marks());
        drop(out);
        if dropped > 0 {
            // Less may wait than before.
            self.tell_room();
            return Ok(Pushed::Replaced);
        }
        Ok(Pushed::Queued)
    }

    pub(super) async fn wait_for(&self, room: Room) -> Result<(), SendError> {
        let max = self.registry.max_queued();
        let waiters = self.waiters();
        loop {
            let changed = waiters.room.notified();
            {
                let out = self.out();
                if out.writer.is_none() {
                    return Err(SendError::Closed);
                }
                let enough = match room {
                    Room::Empty => !out.owes(),
                    Room::Some => !out.is_clogged(),
                    Room::For(len) => out.queued() == 0 || fits(out.cost(), len, max),
                };
                if enough {
                    return Ok(());
                }
            }
            let mut changed = pin!(changed);
            poll_fn(|cx| {
                let changed = changed.as_mut().poll(cx);
                if changed.is_pending() {
                    peer_awaited();
                }
                changed
            })
            .await;
        }
    }

    /// Writes what waits; ready when nothing does, or the connection has ended.
    pub(crate) fn poll_output(self: &Arc<Self>) -> Poll<()> {
        if !self.work.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        let waker = Waker::from(Arc::clone(self));
        let mut out = self.out();
        // Under the lock: whoever waits has asked the transport under it.
        let writable = self.writable.swap(false, Ordering::AcqRel);
        let drained = out.poll_drain(&mut Context::from_waker(&waker), writable, |written| {
            self.count_written(written);
        });
        self.work.store(out.has_work(), Ordering::Release);
        out.mark(self.registry.marks());
        drop(out);
        match drained {
            Poll::Pending => {
                self.tell_room();
                Poll::Pending
            }
            Poll::Ready(Ok(())) => {
                self.tell_room();
                Poll::Ready(())
            }
            Poll::Ready(Err(error)) => {
                self.fail(&error);
                Poll::Ready(())
            }
        }
    }

    /// Writes what waits, and says goodbye.
    pub(crate) fn poll_finish(self: &Arc<Self>) -> Poll<()> {
        ready!(self.poll_output());
        let waker = Waker::from(Arc::clone(self));
        // Who was sent nothing has nothing to lose, and a server that stops has no time to lose.
        let patient = self.traffic.written() > 0 && !self.registry.is_stopping();
        self.out()
            .poll_goodbye(&mut Context::from_waker(&waker), patient)
    }

    /// The stream's own write: straight to the transport, behind what waits.
    pub(super) fn poll_write(
        self: &Arc<Self>,
        cx: &Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_write_by(cx, |out, cx| out.write_now(cx, bytes))
    }

    /// The same for several slices at once.
    pub(super) fn poll_write_vectored(
        self: &Arc<Self>,
        cx: &Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        self.poll_write_by(cx, |out, cx| out.write_vectored_now(cx, slices))
    }

    fn poll_write_by(
        self: &Arc<Self>,
        cx: &Context<'_>,
        write: impl FnOnce(&mut Output, &mut Context<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let waker = Waker::from(Arc::clone(self));
        let mut out = self.out();
        if out.writer.is_none() {
            return Poll::Ready(Err(SendError::Closed.into()));
        }
        let owed = out.owes();
        // Before the transport can wake the task: what it then finds to do waits for this lock.
        self.work.store(true, Ordering::Release);
        let written = match out.queued() {
            0 => write(&mut out, &mut Context::from_waker(&waker)),
            _ => Ok(0),
        };
        match written {
            Ok(0) => {
                out.wait(cx);
                Poll::Pending
            }
            Ok(count) => {
                self.count_written(count);
                self.work.store(out.has_work(), Ordering::Release);
                let caught_up = owed && !out.owes();
                drop(out);
                if caught_up {
                    self.tell_room();
                }
                Poll::Ready(Ok(count))
            }
            Err(error) => {
                drop(out);
                self.fail(&error);
                Poll::Ready(Err(error))
            }
        }
    }

    /// Waits until everything has left.
    pub(super) fn poll_flush(self: &Arc<Self>, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let pending = self.poll_output().is_pending();
        let mut out = self.out();
        if out.writer.is_none() {
            return Poll::Ready(Err(SendError::Closed.into()));
        }
        if !pending {
            return Poll::Ready(Ok(()));
        }
        out.wait(cx);
        self.work.store(true, Ordering::Release);
        Poll::Pending
    }
}

/// What the transport wakes when bytes can leave again: the connection's task.
impl Wake for Inner {
    fn wake(self: Arc<Self>) {
        self.writable.store(true, Ordering::Release);
        self.task.wake();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.writable.store(true, Ordering::Release);
        self.task.wake();
    }
}
