//! What the application does with streams.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;

use super::{
    AckPolicy, Dialect, Engine, OpenError, ReadError, Role, SessionEnd, StreamEnd, StreamKey,
    WriteError, close::Phase, flow::Window, memory::Reservation, muxado, stream::Bits, yamux,
};

/// The last id that a yamux client gives; a server's is one less (docs/wire Y14).
const LAST_YAMUX_ID: u32 = 4_294_967_293;

/// What became of a wish to open a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// It is open.
    Stream(StreamKey),
    /// As many as the peer keeps unacknowledged are: [`Event::Openable`](super::Event::Openable) tells
    /// when to ask again.
    Blocked,
}

/// What became of a wish to accept a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepting {
    /// A stream that the peer opened.
    Stream(StreamKey),
    /// None waits: [`Event::Acceptable`](super::Event::Acceptable) tells when to ask again.
    Blocked,
    /// The session is over, and none comes any more.
    Ended,
}

/// What became of a wish to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// The next bytes, at least one.
    Chunk(Bytes),
    /// The peer has ended its data, and all of it was read.
    End,
    /// Nothing has come: [`Event::Readable`](super::Event::Readable) tells when to ask again.
    Blocked,
}

impl Engine {
    /// Opens a stream. In yamux the peer is told at once; in muxado with the first thing that is done
    /// with it.
    ///
    /// # Errors
    ///
    /// [`OpenError`]. No id is used up then.
    pub fn open(&mut self, now: Instant) -> Result<Opening, OpenError> {
        if let Some(end) = &self.end {
            return Err(end.clone().into());
        }
        if !matches!(self.phase, Phase::Running) {
            return Err(SessionEnd::ClosedHere.into());
        }
        if self.remote.is_some() {
            return Err(OpenError::RemoteNotAccepting);
        }
        if self.next_id == 0 {
            return Err(OpenError::StreamsExhausted);
        }
        if self.outbound >= self.settings.max_outgoing {
            return Err(OpenError::TooManyStreams(self.outbound));
        }
        let yamux = self.settings.dialect == Dialect::Yamux;
        // docs/wire Y12: the peer's backlog is taken to be as long as ours.
        if yamux && self.unacked >= self.settings.accept_backlog {
            self.open_wait = true;
            return Ok(Opening::Blocked);
        }
        let memory = match &self.settings.memory {
            None => None,
            Some(manager) => Some(Box::new(
                Reservation::new(manager, self.settings.initial_window as usize)
                    .map_err(|error| OpenError::Memory(Arc::from(error)))?,
            )),
        };
        let id = self.next_id;
        let last = match (self.settings.dialect, self.role) {
            (Dialect::Yamux, _) => LAST_YAMUX_ID,
            (Dialect::Muxado, Role::Client | Role::Server) => muxado::MAX_STREAM,
        };
        // docs/wire Y14, U25: never again from the start.
        self.next_id = id.checked_add(2).filter(|&next| next <= last).unwrap_or(0);
        let mut bits = Bits::OUTBOUND | Bits::HANDLE | Bits::SYN_DUE;
        if yamux {
            bits = bits | Bits::UNACKED | Bits::GREETING_DUE;
            self.unacked += 1;
        }
        let slot = self.insert(id, bits, memory);
        let micros = self.micros(now);
        if let Some(stream) = self.stream_mut(slot) {
            stream.credited = micros;
        }
        self.stats.streams_opened += 1;
        if yamux {
            self.queue_control(slot);
            if let Some(timeout) = self.settings.open_timeout {
                self.compact_opening();
                self.opening.push_back((now + timeout, slot, id));
            }
        }
        Ok(Opening::Stream(StreamKey(slot)))
    }

    /// Asks to be told by [`Event::Openable`](super::Event::Openable) when a stream may be opened again, as
    /// [`open`](Self::open) does itself when it is blocked.
    pub const fn ask_for_openable(&mut self) {
        self.open_wait = true;
    }

    /// muxado: tells the peer of a stream without waiting for something to send on it.
    pub fn announce(&mut self, key: StreamKey) {
        // What is queued tells of it, and in its turn.
        if let Some(stream) = self.stream_mut(key.0)
            && stream.bits.has(Bits::SYN_DUE)
            && !stream.bits.has(Bits::GREETING_DUE)
            && stream.queued == 0
        {
            stream.bits.set(Bits::GREETING_DUE);
            self.queue_control(key.0);
        }
    }

    /// Takes the next stream that the peer opened.
    pub fn accept(&mut self, now: Instant) -> Accepting {
        let micros = self.micros(now);
        while let Some(slot) = self.backlog.pop_front() {
            let ended = self.end.is_some();
            let Some(stream) = self.stream_mut(slot) else {
                continue;
            };
            // docs/wire Y65: a stream that was reset meanwhile is nobody's. One that has ended well is
            // given out even after the session: its data is whole.
            if stream.end.is_some() && stream.bits.has(Bits::DISCARDS)
                || (ended && !stream.bits.has(Bits::FIN_RECEIVED))
            {
                self.forget_backlog_entry(slot);
                continue;
            }
            stream.bits.clear(Bits::BACKLOG);
            stream.bits.set(Bits::HANDLE);
            stream.credited = micros;
            let greets = stream.bits.has(Bits::ACK_DUE) && stream.bits.has(Bits::LIVE);
            self.stats.streams_accepted += 1;
            if greets && self.settings.ack_policy == AckPolicy::OnAccept {
                if let Some(stream) = self.stream_mut(slot) {
                    stream.bits.set(Bits::GREETING_DUE);
                }
                self.queue_control(slot);
            }
            return Accepting::Stream(StreamKey(slot));
        }
        if self.end.is_some() || !self.phase.receives() {
            return Accepting::Ended;
        }
        self.accept_wait = true;
        Accepting::Blocked
    }

    /// Asks to be told by [`Event::Acceptable`](super::Event::Acceptable) of the next stream, as
    /// [`accept`](Self::accept) does itself when it is blocked.
    pub const fn ask_for_acceptable(&mut self) {
        self.accept_wait = true;
    }

    /// True if a stream waits to be accepted.
    pub fn has_backlog(&self) -> bool {
        self.backlog.len() > self.backlog_dead
    }

    /// True if a stream could be opened without waiting, or asking says why not.
    pub fn may_open(&self) -> bool {
        self.settings.dialect == Dialect::Muxado || self.unacked < self.settings.accept_backlog
    }

    /// Takes the next bytes of a stream, at most `max`, without a copy.
    ///
    /// # Errors
    ///
    /// [`ReadError`], after everything that had come before was read.
    pub fn read(&mut self, key: StreamKey, max: usize) -> Result<Reading, ReadError> {
        if let Some(stream) = self.stream_mut(key.0)
            && let Some(chunk) = stream.inbox.take(max.max(1))
        {
            self.note_read(key.0, chunk.len() as u32);
            return Ok(Reading::Chunk(chunk));
        }
        self.read_nothing(key)
            .map(|end| if end { Reading::End } else { Reading::Blocked })
    }

    /// Shows the next bytes of a stream, at most `max`, to `take`, piece by piece, for a reader that has
    /// its own memory. Returns how many; `Ok(Some(0))` is the end, `Ok(None)` that nothing has come.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_with(
        &mut self,
        key: StreamKey,
        max: usize,
        take: impl FnMut(&[u8]),
    ) -> Result<Option<usize>, ReadError> {
        if let Some(stream) = self.stream_mut(key.0) {
            let count = stream.inbox.take_with(max, take);
            if count > 0 {
                self.note_read(key.0, count as u32);
                return Ok(Some(count));
            }
        }
        self.read_nothing(key).map(|end| end.then_some(0))
    }

    /// There is nothing to read: true at the end, false if something may come.
    fn read_nothing(&mut self, key: StreamKey) -> Result<bool, ReadError> {
        let session_end = self.end.clone();
        let Some(stream) = self.stream_mut(key.0) else {
            return Err(ReadError::Closed);
        };
        if stream.bits.has(Bits::FIN_RECEIVED) && !stream.bits.has(Bits::DISCARDS) {
            return Ok(true);
        }
        if let Some(end) = stream.end {
            return Err(end.into());
        }
        if stream.bits.has(Bits::DISCARDS) {
            return Err(ReadError::Closed);
        }
        if let Some(end) = session_end {
            return Err(end.into());
        }
        stream.bits.set(Bits::READ_WAIT);
        let unannounced = stream.bits.has(Bits::SYN_DUE);
        if unannounced {
            // Nothing would ever come on a stream that the peer does not know.
            self.announce(key);
        }
        Ok(false)
    }

    /// The application has taken bytes: they may become credit.
    fn note_read(&mut self, slot: u32, count: u32) {
        let (dialect, initial) = (self.settings.dialect, self.settings.initial_window);
        self.held -= u64::from(count);
        let Some(stream) = self.stream_mut(slot) else {
            return;
        };
        stream.unread -= count;
        if !stream.bits.has(Bits::LIVE) {
            self.settle(slot);
            return;
        }
        // docs/wire Y47, U32.
        let gives = stream.is_receiving() || dialect == Dialect::Muxado;
        // What the acknowledgement will give is not missing.
        let promised = if stream.bits.has(Bits::ACK_DUE) {
            initial.saturating_sub(yamux::FIRST_WINDOW)
        } else {
            0
        };
        let window = Window {
            size: stream.window,
            credit: stream.recv_credit.saturating_add(promised),
            unread: stream.unread,
        };
        if gives && window.is_due(dialect, initial) && !stream.bits.has(Bits::CREDIT_DUE) {
            stream.bits.set(Bits::CREDIT_DUE);
            self.queue_control(slot);
        }
    }

    /// How many bytes a stream takes now. 0: [`Event::Writable`](super::Event::Writable) tells when to
    /// ask again.
    ///
    /// # Errors
    ///
    /// [`WriteError`]
    pub fn write_room(&mut self, key: StreamKey) -> Result<usize, WriteError> {
        let ahead = self.stream_ahead();
        let (queued, budget) = (self.queued, self.settings.send_budget);
        self.check_writable(key)?;
        let Some(stream) = self.stream_mut(key.0) else {
            return Err(WriteError::Closed);
        };
        // A stream that has nothing queued gets in where others have to wait: what it has to say may
        // be short, and what they have is long.
        let budget = if stream.queued == 0 {
            budget + budget / 4
        } else {
            budget
        };
        let shared = budget.saturating_sub(queued);
        let own = ahead.saturating_sub(stream.queued as usize);
        let room = (stream.send_credit as usize).min(own).min(shared);
        if room == 0 {
            stream.bits.set(Bits::WRITE_WAIT);
            if shared == 0 && stream.send_credit > 0 {
                self.queue_for_budget(key.0);
            }
        }
        Ok(room)
    }

    /// Queues bytes on a stream: no more than [`write_room`](Self::write_room) has just allowed; what
    /// is above is returned.
    ///
    /// # Errors
    ///
    /// [`WriteError`]
    pub fn write(&mut self, key: StreamKey, mut bytes: Bytes) -> Result<Bytes, WriteError> {
        let room = self.write_room(key)?;
        let rest = bytes.split_off(room.min(bytes.len()));
        if !bytes.is_empty()
            && let Some(stream) = self.streams.get_mut(key.0 as usize)
        {
            let len = bytes.len() as u32;
            stream.send_credit -= len;
            stream.queued += len;
            self.queued += bytes.len();
            stream.outbox.push(bytes);
            self.queue_fresh(key.0);
        }
        Ok(rest)
    }

    fn check_writable(&self, key: StreamKey) -> Result<(), WriteError> {
        let Some(stream) = self.stream(key.0) else {
            return Err(WriteError::Closed);
        };
        if let Some(end) = stream.end {
            return Err(end.into());
        }
        if !stream.is_writable() {
            return Err(WriteError::Closed);
        }
        if let Some(end) = &self.end {
            return Err(end.clone().into());
        }
        if !matches!(self.phase, Phase::Running) {
            return Err(SessionEnd::ClosedHere.into());
        }
        Ok(())
    }

    /// True if everything written on a stream, and its end, was handed to the transport. If not,
    /// [`Event::Writable`](super::Event::Writable) tells.
    ///
    /// # Errors
    ///
    /// [`WriteError`], if it never will be.
    pub fn poll_flushed(&mut self, key: StreamKey) -> Result<bool, WriteError> {
        if let Some(stream) = self.stream(key.0)
            && let Some(end) = stream.end
        {
            return Err(end.into());
        }
        if let Some(end) = &self.end
            && self
                .stream(key.0)
                .is_some_and(|stream| !stream.bits.has(Bits::FIN_SENT))
        {
            return Err(end.clone().into());
        }
        // Whoever flushes a stream wants the peer to know of it.
        self.announce(key);
        let Some(stream) = self.stream_mut(key.0) else {
            return Ok(true);
        };
        let flushed = stream.queued == 0 && !stream.bits.has(Bits::FIN_DUE | Bits::SYN_DUE);
        if !flushed {
            stream.bits.set(Bits::WRITE_WAIT);
        }
        Ok(flushed)
    }

    /// Ends this side's data: the peer reads its end behind what was written. Again is nothing.
    ///
    /// # Errors
    ///
    /// [`WriteError`], if the stream or the session ended before.
    pub fn shutdown(&mut self, key: StreamKey) -> Result<(), WriteError> {
        let Some(stream) = self.stream_mut(key.0) else {
            return Ok(());
        };
        if stream.bits.has(Bits::FIN_DUE | Bits::FIN_SENT) {
            return Ok(());
        }
        self.check_writable(key)?;
        if let Some(stream) = self.stream_mut(key.0) {
            stream.bits.set(Bits::FIN_DUE);
            if stream.queued == 0 {
                self.queue_control(key.0);
            }
        }
        Ok(())
    }

    /// Gives up reading: what comes is thrown away, and when the peer has used up its credit the stream
    /// is reset.
    pub fn close_read(&mut self, now: Instant, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key.0 as usize) else {
            return;
        };
        stream.bits.set(Bits::DISCARDS);
        stream.bits.clear(Bits::CREDIT_DUE);
        self.held -= u64::from(stream.unread);
        self.stats.bytes_discarded += u64::from(stream.unread);
        stream.unread = 0;
        stream.inbox.clear();
        let stuck = stream.is_receiving() && stream.recv_credit == 0;
        if !stream.bits.has(Bits::LIVE) {
            self.settle(key.0);
        } else if stuck {
            let code = self.code_for_unread();
            self.reset_and_bury(now, key.0, StreamEnd::ResetHere(code));
        }
    }

    /// Ends a stream in both directions at once. What is queued is dropped; after the end, nothing.
    pub fn reset(&mut self, now: Instant, key: StreamKey, code: u32) {
        self.discard_inbox(key.0);
        self.reset_and_bury(now, key.0, StreamEnd::ResetHere(code));
    }

    /// The application lets go of a stream. One whose data was not ended is reset; one that only the
    /// peer has not ended lingers (docs/wire Y33).
    pub fn release(&mut self, now: Instant, key: StreamKey) {
        let slot = key.0;
        let Some(stream) = self.stream_mut(slot) else {
            return;
        };
        stream
            .bits
            .clear(Bits::HANDLE | Bits::READ_WAIT | Bits::WRITE_WAIT);
        if !stream.bits.has(Bits::LIVE) {
            self.settle(slot);
            return;
        }
        let ended = stream.bits.has(Bits::FIN_DUE | Bits::FIN_SENT);
        let id = stream.id;
        if !ended {
            self.discard_inbox(slot);
            let code = match self.settings.dialect {
                Dialect::Yamux => 0,
                Dialect::Muxado => 6,
            };
            self.reset_and_bury(now, slot, StreamEnd::ResetHere(code));
            return;
        }
        self.close_read(now, key);
        if let Some(stream) = self.stream(slot)
            && stream.bits.has(Bits::LIVE)
            && stream.is_receiving()
        {
            self.compact_lingering();
            self.lingering
                .push_back((now + self.settings.linger, slot, id));
        }
    }

    /// The code of a reset that tells a peer that nobody reads what it sends.
    pub(crate) const fn code_for_unread(&self) -> u32 {
        match self.settings.dialect {
            Dialect::Yamux => 0,
            Dialect::Muxado => 4,
        }
    }

    fn discard_inbox(&mut self, slot: u32) {
        if let Some(stream) = self.streams.get_mut(slot as usize) {
            self.held -= u64::from(stream.unread);
            self.stats.bytes_discarded += u64::from(stream.unread);
            stream.unread = 0;
            stream.inbox.clear();
            if stream.end.is_none() && stream.bits.has(Bits::LIVE) {
                stream.bits.set(Bits::DISCARDS);
            }
        }
    }
}
