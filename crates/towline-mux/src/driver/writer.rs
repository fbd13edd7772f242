//! The transport's writing half, and what waits in front of it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::state::Position;
use crate::proto::{Direct, Transmit};

/// Slices handed to the transport in one system call.
const SLICES: usize = 64;
/// What a transport without vectored writes is given at a time.
const GATHERED: usize = 64 << 10;

pub(crate) struct Writer {
    io: Box<dyn AsyncWrite + Send + Unpin>,
    /// The driver's: whoever writes, the driver is told when the transport takes more.
    pub(super) waker: Waker,
    pub(super) out: Transmit,
    gathered: Vec<u8>,
    needs_flush: bool,
    /// Bytes that the transport has taken.
    written: u64,
    /// Something was written since the state was told.
    progressed: bool,
    failed: bool,
}

/// What became of an attempt to write.
pub(super) enum Progress {
    /// Nothing is left to write.
    Idle,
    /// Something was written; there may be more.
    Written,
    /// The transport takes no more; the driver is told when it does.
    Blocked,
    /// The transport failed.
    Failed(io::Error),
}

impl Writer {
    pub(crate) fn new(io: Box<dyn AsyncWrite + Send + Unpin>) -> Self {
        Self {
            io,
            waker: Waker::noop().clone(),
            out: Transmit::new(),
            gathered: Vec::new(),
            needs_flush: false,
            written: 0,
            progressed: false,
            failed: false,
        }
    }

    /// True if what is written now goes to the transport at once and without a copy.
    pub(super) fn is_free(&self) -> bool {
        self.out.is_empty() && !self.failed && self.io.is_write_vectored()
    }

    /// True if something waits to be written or flushed.
    pub(super) const fn has_more(&self) -> bool {
        !self.out.is_empty() || self.needs_flush
    }

    /// How far the transport has got.
    pub(super) const fn position(&self) -> Position {
        Position {
            written: self.written,
            pushed: self.written + self.out.len() as u64,
        }
    }

    /// True if something was written since this was last asked.
    pub(super) const fn take_progressed(&mut self) -> bool {
        std::mem::replace(&mut self.progressed, false)
    }

    /// Hands what waits to the transport, once; flushes it when nothing waits.
    pub(super) fn write(&mut self) -> Progress {
        if self.failed {
            self.out.advance(usize::MAX);
            return Progress::Idle;
        }
        let mut cx = Context::from_waker(&self.waker);
        if self.out.is_empty() {
            if self.needs_flush {
                match Pin::new(&mut self.io).poll_flush(&mut cx) {
                    Poll::Pending => return Progress::Blocked,
                    Poll::Ready(Err(error)) => return self.fail(error),
                    Poll::Ready(Ok(())) => self.needs_flush = false,
                }
            }
            return Progress::Idle;
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let used = self.out.slices(&mut slices);
        let result = if used == 1 {
            Pin::new(&mut self.io).poll_write(&mut cx, &slices[0])
        } else if self.io.is_write_vectored() {
            Pin::new(&mut self.io).poll_write_vectored(&mut cx, &slices[..used])
        } else {
            // One write for all of it: a record of TLS for each header would double what is sent.
            self.gathered.clear();
            for slice in &slices[..used] {
                let room = GATHERED - self.gathered.len();
                self.gathered
                    .extend_from_slice(&slice[..slice.len().min(room)]);
            }
            Pin::new(&mut self.io).poll_write(&mut cx, &self.gathered)
        };
        match result {
            Poll::Pending => Progress::Blocked,
            Poll::Ready(Ok(0)) => self.fail(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(count)) => {
                self.out.advance(count);
                self.note_progress(count);
                Progress::Written
            }
            Poll::Ready(Err(error)) => self.fail(error),
        }
    }

    /// Writes what waits and, right behind it, the frames of `direct` with the start of `buf` as their
    /// payloads. What the transport does not take waits: all of it is written as far as the caller is
    /// concerned.
    pub(super) fn write_direct(&mut self, direct: &Direct, buf: &[u8]) -> Progress {
        let small = direct.total() <= 512;
        if small {
            self.queue_rest(direct, buf, 0);
            return self.write();
        }
        let waiting = self.out.len();
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut used = self.out.slices(&mut slices);
        let mut rest = buf;
        // Slices beyond those that fit are queued with what the transport does not take.
        for (head, body) in direct.frames() {
            let (payload, later) = rest.split_at(body.min(rest.len()));
            rest = later;
            for slice in [head, payload] {
                if used < SLICES {
                    slices[used] = IoSlice::new(slice);
                    used += 1;
                }
            }
        }
        let mut cx = Context::from_waker(&self.waker);
        let result = Pin::new(&mut self.io).poll_write_vectored(&mut cx, &slices[..used]);
        let (count, progress) = match result {
            Poll::Pending => (0, Progress::Blocked),
            Poll::Ready(Ok(0)) => (0, self.fail(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(count)) => {
                self.note_progress(count);
                (count, Progress::Written)
            }
            Poll::Ready(Err(error)) => (0, self.fail(error)),
        };
        self.out.advance(count.min(waiting));
        self.queue_rest(direct, buf, count.saturating_sub(waiting));
        if self.out.is_empty()
            && self.needs_flush
            && let Poll::Ready(Ok(())) =
                Pin::new(&mut self.io).poll_flush(&mut Context::from_waker(&self.waker))
        {
            self.needs_flush = false;
        }
        progress
    }

    /// Queues the frames of `direct` but for their first `written` bytes.
    fn queue_rest(&mut self, direct: &Direct, buf: &[u8], mut written: usize) {
        let mut rest = buf;
        for (head, body) in direct.frames() {
            let (payload, later) = rest.split_at(body.min(rest.len()));
            rest = later;
            let skipped = written.min(head.len());
            written -= skipped;
            self.out.push_inline(&head[skipped..]);
            let skipped = written.min(payload.len());
            written -= skipped;
            if skipped < payload.len() {
                self.out.push(Bytes::copy_from_slice(&payload[skipped..]));
            }
        }
    }

    /// Closes the writing side.
    pub(super) fn poll_shutdown(&mut self) -> Poll<io::Result<()>> {
        let mut cx = Context::from_waker(&self.waker);
        Pin::new(&mut self.io).poll_shutdown(&mut cx)
    }

    /// Lets go of the transport: handles of a session that is over keep no connection open.
    pub(super) fn drop_transport(&mut self) {
        self.io = Box::new(tokio::io::sink());
        self.failed = true;
        self.out.advance(usize::MAX);
    }

    const fn note_progress(&mut self, count: usize) {
        self.written += count as u64;
        self.needs_flush = true;
        self.progressed = true;
    }

    fn fail(&mut self, error: io::Error) -> Progress {
        self.failed = true;
        self.out.advance(usize::MAX);
        Progress::Failed(error)
    }
}
