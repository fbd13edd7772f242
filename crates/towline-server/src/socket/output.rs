//! What one connection sends: a queue of whole messages in front of a writer.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::ReadBuf;
use tokio::time::Instant;
use towline_codec::framing::EncodeError;

use super::queue::{Queue, Shed, Waiting};
use super::stream::Reader;
use super::writer::Writer;
use crate::admission::Admitted;
use crate::clock::now;

/// Buffers that leave in one vectored write.
const SLICES: usize = 64;
/// What a peer may still send after our goodbye, in bytes, before it is cut off.
const DISCARDED: usize = 256 * 1024;
/// More bytes than this no encrypting transport holds back: when it has taken so many, some have left.
const HELD: usize = 128 * 1024;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pushed {
    /// The system has all of it.
    Written,
    /// It waits, whole or in part, and leaves in its turn.
    Queued,
    /// It took the place of older messages, which were dropped.
    Replaced,
}

/// Why a message was not sent. Nothing of it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The connection has ended.
    #[error("the connection has ended")]
    Closed,
    /// Too much waits already.
    #[error(
        "{queued} bytes wait to be sent and at most {max} may: the peer reads too slowly; send later or close"
    )]
    Full {
        /// What waits, in bytes, 128 on top for each message.
        queued: usize,
        /// The limit.
        max: usize,
    },
    /// The payload cannot be a packet.
    #[error(transparent)]
    Packet(EncodeError),
}

impl From<SendError> for io::Error {
    fn from(error: SendError) -> Self {
        let kind = match error {
            SendError::Closed => io::ErrorKind::NotConnected,
            SendError::Full { .. } => io::ErrorKind::WouldBlock,
            SendError::Packet(_) => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Until nothing waits.
    Empty,
    /// Until no more waits than the low water mark, if more than the high one did.
    Some,
    /// Until a message of so many bytes fits.
    For(usize),
}

/// The queue. Its owner locks it for as long as one call takes.
#[derive(Default)]
pub(super) struct Output {
    /// `None` when the connection has ended.
    pub(super) writer: Option<Writer>,
    /// The connection's places below the limits; they are free when it has ended.
    pub(super) admitted: Option<Admitted>,
    /// A connection that has caught up holds nothing.
    queue: Option<Box<Queue>>,
    /// What the handler has left unread, and how much of it was thrown away.
    left: Option<Box<(Reader, usize)>>,
    /// The writer was given bytes that it may still hold.
    unflushed: bool,
    /// Our side has ended in order.
    said_goodbye: bool,
    /// More waits than the high water mark, or did and not yet less than the low one.
    clogged: bool,
}

impl Output {
    pub(super) fn new(writer: Writer, admitted: Option<Admitted>) -> Self {
        Self {
            admitted,
            writer: Some(writer),
            ..Self::default()
        }
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.bytes)
    }

    /// The same, with what keeping it costs.
    pub(super) fn cost(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.cost())
    }

    /// Whether something has not left: messages, or what the transport holds back.
    pub(super) fn owes(&self) -> bool {
        self.queued() > 0 || self.unflushed
    }

    /// Whether the connection's task has something to write or to flush, or somebody to wake.
    pub(super) fn has_work(&self) -> bool {
        self.owes()
            || self
                .queue
                .as_ref()
                .is_some_and(|queue| queue.writer.is_some())
    }

    /// Looks at the water marks again.
    pub(super) fn mark(&mut self, (low, high): (usize, usize)) {
        self.clogged = self.cost() > if self.clogged { low } else { high };
    }

    pub(super) const fn is_clogged(&self) -> bool {
        self.clogged
    }

    /// Whatever waits has not waited before.
    pub(super) fn forget_silence(&mut self) {
        if let Some(queue) = &mut self.queue
            && let Some(since) = &mut queue.stuck_since
        {
            *since = now();
        }
    }

    pub(super) fn stuck_since(&self) -> Option<Instant> {
        let queue = self.queue.as_ref().filter(|_| self.has_work())?;
        queue.stuck_since
    }

    /// Keeps the reading half until the peer has heard our goodbye; gives it back if that is over.
    pub(super) fn leave(&mut self, reader: Reader) -> Option<Reader> {
        if self.writer.is_none() {
            return Some(reader);
        }
        self.left = Some(Box::new((reader, 0)));
        None
    }

    pub(super) const fn has_said_goodbye(&self) -> bool {
        self.said_goodbye
    }

    /// Says goodbye. A connection that is closed over unread bytes is reset, and its peer may lose what
    /// it was sent: what comes until its side has ended as well is taken first, up to a limit. Only what was on its way
    /// already, and what follows, if nobody is to be waited for (`patient`).
    pub(super) fn poll_goodbye(&mut self, cx: &mut Context<'_>, patient: bool) -> Poll<()> {
        let Some(writer) = &mut self.writer else {
            return Poll::Ready(());
        };
        if !self.said_goodbye {
            // What the peer makes of it does not matter any more.
            let _said = ready!(writer.poll_shutdown(cx));
            self.said_goodbye = true;
        }
        let Some((reader, discarded)) = self.left.as_deref_mut() else {
            return Poll::Ready(());
        };
        let mut bytes = [0; 4096];
        while *discarded <= DISCARDED {
            let mut buffer = ReadBuf::new(&mut bytes);
            match reader.poll_read(cx, &mut buffer) {
                // Nothing was on its way.
                Poll::Pending if *discarded == 0 && !patient => break,
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    *discarded += buffer.filled().len();
                }
                Poll::Ready(_) => break,
            }
        }
        Poll::Ready(())
    }

    /// Forgets everything, wakes whoever waits, and gives the transport away: to be closed without a
    /// lock, for its destructor may do anything.
    pub(super) fn end(&mut self) -> (Option<Writer>, Option<Box<(Reader, usize)>>) {
        if let Some(writer) = self.queue.take().and_then(|queue| queue.writer) {
            writer.wake();
        }
        (self.writer.take(), self.left.take())
    }

    /// Writes what there is room for right now; the number of bytes. Only into an empty queue, or the
    /// bytes would overtake others.
    pub(super) fn write_now(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize> {
        debug_assert!(self.queued() == 0, "bytes never overtake others");
        let Some(writer) = &mut self.writer else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let mut written = 0;
        while written < bytes.len() {
            match writer.poll_write(cx, &bytes[written..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        if written > 0 {
            self.flush_now(cx, written)?;
        }
        Ok(written)
    }

    /// As [`write_now`](Self::write_now), once, for several slices.
    pub(super) fn write_vectored_now(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        debug_assert!(self.queued() == 0, "bytes never overtake others");
        let Some(writer) = &mut self.writer else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        match writer.poll_write_vectored(cx, slices) {
            Poll::Ready(Ok(0)) => Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(count)) => {
                self.flush_now(cx, count)?;
                Ok(count)
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Ok(0),
        }
    }

    /// Puts a message at the end; `begun` if its first bytes have left.
    pub(super) fn enqueue(&mut self, bytes: Bytes, key: Option<u64>, begun: bool) {
        let queue = self.queue.get_or_insert_default();
        if queue.messages.is_empty() {
            queue.begun = begun;
            queue.stuck_since = Some(now());
            queue.held = 0;
        }
        queue.bytes += bytes.len();
        queue.messages.push_back(Waiting { bytes, key });
    }

    /// Makes room below `max` for a message of `len` bytes ([`Queue::make_room`]).
    pub(super) fn make_room(&mut self, len: usize, max: usize, shed: Shed) -> Option<usize> {
        match &mut self.queue {
            Some(queue) => queue.make_room(len, max, shed),
            None => Some(0),
        }
    }

    /// Writes what waits. Ready when nothing does; the numbers of bytes go to `written`. Who waits to write is
    /// woken behind what waited, or if the transport has said that it takes bytes again (`writable`): woken
    /// without a reason it would try, wait, and have this called again, for ever.
    pub(super) fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        writable: bool,
        mut written: impl FnMut(usize),
    ) -> Poll<io::Result<()>> {
        let owed = self.owes();
        while let Some(queue) = &mut self.queue
            && !queue.messages.is_empty()
        {
            let Some(writer) = &mut self.writer else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = queue
                .messages
                .iter()
                .zip(&mut slices)
                .map(|(waiting, slice)| *slice = IoSlice::new(&waiting.bytes))
                .count();
            let left = match count {
                1 => ready!(writer.poll_write(cx, &queue.messages[0].bytes))?,
                _ => ready!(writer.poll_write_vectored(cx, &slices[..count]))?,
            };
            if left == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            written(left);
            queue.take_off(left);
            self.unflushed = true;
            queue.stuck_since = (!queue.messages.is_empty()).then(now);
        }
        if self.unflushed {
            let Some(writer) = &mut self.writer else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            if let Poll::Ready(flushed) = writer.poll_flush(cx) {
                flushed?;
                self.unflushed = false;
            } else {
                let queue = self.queue.get_or_insert_default();
                queue.stuck_since.get_or_insert_with(now);
                return Poll::Pending;
            }
        }
        let waits = if owed {
            self.queue.take().and_then(|queue| queue.writer)
        } else if writable {
            // Since when it waits stays: it may have to go on waiting.
            self.queue.as_mut().and_then(|queue| queue.writer.take())
        } else {
            None
        };
        if let Some(writer) = waits {
            writer.wake();
        }
        Poll::Ready(Ok(()))
    }

    /// Remembers who waits to write into the empty queue.
    pub(super) fn wait(&mut self, cx: &Context<'_>) {
        let queue = self.queue.get_or_insert_default();
        queue.stuck_since.get_or_insert_with(now);
        match &mut queue.writer {
            Some(writer) => writer.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// Flushes behind `count` bytes that the transport has just taken, with nothing before them in the queue.
    fn flush_now(&mut self, cx: &mut Context<'_>, count: usize) -> io::Result<()> {
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        match writer.poll_flush(cx) {
            Poll::Ready(flushed) => {
                flushed?;
                self.unflushed = false;
                if let Some(writer) = self.queue.take().and_then(|queue| queue.writer) {
                    writer.wake();
                }
            }
            Poll::Pending => {
                self.unflushed = true;
                let queue = self.queue.get_or_insert_default();
                queue.held += count;
                // There was no room and now there is, or it has taken more than it holds: some have left.
                if queue.writer.is_some() || queue.held > HELD || queue.stuck_since.is_none() {
                    queue.stuck_since = Some(now());
                    queue.held = 0;
                }
            }
        }
        Ok(())
    }
}
