//! What comes from the peer.

use std::time::Instant;

use bytes::{Buf as _, Bytes, BytesMut};

use super::{
    Dialect, Engine, RemoteGoAway, SessionEnd, StreamEnd, Violation,
    close::Phase,
    frame::Inbound,
    inbound::Stalled,
    muxado::{self, Step},
    stream::Bits,
    yamux,
};

/// A payload below this, or below half of the buffer it came in, is copied out of it: a slice would
/// keep the whole buffer in memory, uncounted, while it waits to be read.
const COPIED_BELOW: usize = 16 << 10;
/// Debug text kept of a muxado go-away; more is skipped (docs/wire U60).
const MAX_DEBUG: usize = 1 << 20;

/// What the bytes in front of the reader belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// The next header.
    None,
    /// The payload of a stream; behind it the stream may end.
    Data { slot: u32, left: usize, fin: bool },
    /// Nobody.
    Skip { left: usize },
    /// The text of a go-away.
    Debug { left: usize },
}

impl Engine {
    /// Takes what came from the transport. Payloads are split off `input` without a copy, except those that
    /// are small, or less than half of the buffer that they would keep in memory; what remains is the start
    /// of a frame.
    ///
    /// It stops early, and leaves frames in `input`, when the peer has made it owe 1,024 resets: see
    /// [`must_transmit`](Self::must_transmit).
    ///
    /// # Errors
    ///
    /// A rule that the peer broke. The session has ended then; what the peer is told of it is the next
    /// and last thing to be transmitted.
    pub fn handle_input(&mut self, now: Instant, input: &mut BytesMut) -> Result<(), Violation> {
        if input.is_empty() {
            return Ok(());
        }
        self.last_input = now;
        self.pings.note_life();
        let before = input.len();
        self.note_buffer(input);
        let result = self.take_frames(now, input);
        self.stats.bytes_received += (before - input.len()) as u64;
        result.or_else(|violation| self.fail(now, violation))
    }

    /// True if [`handle_input`](Self::handle_input) has left frames untaken, because answers to the peer have
    /// to leave first. Whoever drives the engine then
    ///
    /// 1. reads no more,
    /// 2. calls [`poll_transmit`](Self::poll_transmit) and offers what it gives to the transport,
    /// 3. calls [`note_blocked`](Self::note_blocked) if the transport does not take it, and
    /// 4. calls [`handle_input`](Self::handle_input) again with the same input, until this is false. Only
    ///    then may it read on, or call [`handle_end`](Self::handle_end).
    ///
    /// It stays true until `handle_input` has gone on, whoever has transmitted meanwhile. The peer is taken
    /// for hostile, [`Violation::Flood`], if `handle_input` is called while the transport is blocked, or
    /// when `poll_transmit` was called since and has taken none of the answers.
    pub fn must_transmit(&self) -> bool {
        self.stalled != Stalled::No && self.phase.receives()
    }

    /// Keeps track of how large the buffer is that the input lies in. It knows that itself only at its
    /// start: what is taken off its front no longer counts.
    fn note_buffer(&mut self, input: &BytesMut) {
        let start = input.as_ptr().addr();
        let end = start + input.capacity();
        // The end stays where it is while the front advances.
        if self.input_buffer.end != end || start < self.input_buffer.start {
            self.input_buffer = start..end;
        }
    }

    /// How many bytes the payload that is being received still has, if it is a large one: reading
    /// exactly these and the next header lands it in memory of its own.
    pub fn read_hint(&self) -> Option<usize> {
        let header = match self.settings.dialect {
            Dialect::Yamux => yamux::HEADER_LEN,
            Dialect::Muxado => muxado::HEADER_LEN,
        };
        match self.body {
            Body::Data { left, .. } if left >= COPIED_BELOW => Some(left + header),
            _ => None,
        }
    }

    /// The transport has ended: nothing comes any more. `rest` is what was left of the input.
    pub fn handle_end(&mut self, now: Instant, rest: &[u8]) {
        // docs/wire Y4, U53: a boundary, the inside of a header or of a fixed body, a payload.
        let muxado = self.settings.dialect == Dialect::Muxado;
        let (end, code, debug) = match self.body {
            // docs/wire U61: after a go-away the end is what was expected.
            _ if muxado && self.remote.is_some() => (SessionEnd::ClosedByPeer, 15, PEER_EOF),
            Body::None if rest.is_empty() => (SessionEnd::ClosedByPeer, 15, PEER_EOF),
            Body::None if muxado && rest.len() == muxado::HEADER_LEN => {
                (SessionEnd::Truncated, 15, PEER_EOF)
            }
            Body::None => (SessionEnd::Truncated, 255, "unexpected EOF"),
            Body::Data { .. } => (SessionEnd::Truncated, 15, PEER_EOF),
            Body::Skip { .. } | Body::Debug { .. } => (SessionEnd::Truncated, 255, "EOF"),
        };
        self.transport_ended(now, end, code, debug);
    }

    fn take_frames(&mut self, now: Instant, input: &mut BytesMut) -> Result<(), Violation> {
        loop {
            if !self.phase.receives() {
                input.clear();
                return Ok(());
            }
            if input.is_empty() {
                self.stalled = Stalled::No;
                return Ok(());
            }
            if self.must_wait()? {
                return Ok(());
            }
            if self.body != Body::None {
                self.take_body(now, input);
                continue;
            }
            let Some(frame) = self.decode(input)? else {
                return Ok(());
            };
            self.note_received(&frame);
            self.handle_frame(now, frame)?;
        }
    }

    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Inbound>, Violation> {
        match self.settings.dialect {
            Dialect::Yamux => {
                let Some(header) = input.first_chunk() else {
                    return Ok(None);
                };
                let header = yamux::Header::decode(header)?;
                input.advance(yamux::HEADER_LEN);
                Ok(Some(header.into_inbound()))
            }
            Dialect::Muxado => loop {
                let limits = (self.settings.initial_window, self.settings.max_payload);
                let limits = self.after_go_away.then_some(limits);
                match muxado::decode(input, limits)? {
                    Step::Incomplete => return Ok(None),
                    Step::Frame(frame) => {
                        self.after_go_away = false;
                        return Ok(Some(frame));
                    }
                    Step::MoreDebug(stray) => {
                        self.after_go_away = false;
                        self.add_debug(&stray);
                    }
                }
            },
        }
    }

    fn take_body(&mut self, now: Instant, input: &mut BytesMut) {
        match self.body {
            Body::None => {}
            Body::Data { slot, left, fin } => {
                let count = left.min(input.len());
                let piece = if count < COPIED_BELOW || count < self.input_buffer.len() / 2 {
                    let copy = Bytes::copy_from_slice(&input[..count]);
                    input.advance(count);
                    copy
                } else {
                    input.split_to(count).freeze()
                };
                self.body = if count == left {
                    Body::None
                } else {
                    Body::Data {
                        slot,
                        left: left - count,
                        fin,
                    }
                };
                self.deliver(now, slot, piece);
                if count == left && fin {
                    self.receive_fin(slot);
                }
            }
            Body::Skip { left } => {
                let count = left.min(input.len());
                input.advance(count);
                self.stats.bytes_discarded += count as u64;
                self.body = if count == left {
                    Body::None
                } else {
                    Body::Skip { left: left - count }
                };
            }
            Body::Debug { left } => {
                let count = left.min(input.len());
                let text = input.split_to(count);
                self.add_debug(&text);
                self.after_go_away = count == left;
                self.body = if count == left {
                    Body::None
                } else {
                    Body::Debug { left: left - count }
                };
            }
        }
    }

    fn add_debug(&mut self, text: &[u8]) {
        if let Some(remote) = &mut self.remote {
            let room = MAX_DEBUG.saturating_sub(remote.debug.len());
            if room == 0 || text.is_empty() {
                return;
            }
            let old = std::mem::take(&mut remote.debug);
            let mut all = old
                .try_into_mut()
                .unwrap_or_else(|shared| BytesMut::from(&shared[..]));
            all.extend_from_slice(&text[..text.len().min(room)]);
            remote.debug = all.freeze();
        }
    }

    /// Puts payload where its reader finds it.
    fn deliver(&mut self, now: Instant, slot: u32, piece: Bytes) {
        let Some(stream) = self.streams.get_mut(slot as usize) else {
            return;
        };
        let len = piece.len() as u32;
        // As it arrives, not at the header: what is still on its way is not to be given back.
        stream.recv_credit = stream.recv_credit.saturating_sub(len);
        if stream.bits.has(Bits::DISCARDS) || stream.end.is_some() {
            self.stats.bytes_discarded += u64::from(len);
            if stream.recv_credit == 0 {
                let code = self.code_for_unread();
                self.reset_for_peer(now, slot, StreamEnd::ResetHere(code));
            }
            return;
        }
        stream.inbox.push(piece);
        stream.unread += len;
        self.held += u64::from(len);
        self.wake_reader(slot);
        if self.settings.overcommit && self.held > self.settings.budget() {
            self.reset_largest(now);
        }
    }

    /// The session holds more than it may: the stream that holds most has to go (docs/wire Y46).
    fn reset_largest(&mut self, now: Instant) {
        let largest = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.unread > 0)
            .max_by_key(|(slot, stream)| (stream.unread, *slot))
            .map(|(slot, _)| slot);
        let Some(slot) = largest else {
            return;
        };
        let Some(stream) = self.streams.get_mut(slot) else {
            return;
        };
        self.held -= u64::from(stream.unread);
        stream.unread = 0;
        stream.inbox.clear();
        // What was in front of the end is gone: it is no end any more.
        stream.bits.clear(Bits::FIN_RECEIVED);
        let slot = slot as u32;
        if stream.bits.has(Bits::LIVE) {
            self.reset_for_peer(now, slot, StreamEnd::OutOfBudget);
            return;
        }
        // The peer has forgotten it: there is nobody to be told but the application.
        if stream.end.replace(StreamEnd::OutOfBudget).is_none() {
            self.stats.streams_reset += 1;
        }
        self.leave_table(slot);
    }

    fn handle_frame(&mut self, now: Instant, frame: Inbound) -> Result<(), Violation> {
        match frame {
            Inbound::Stream(frame) => self.handle_stream(now, frame),
            Inbound::Ping { value } => {
                // docs/wire Y52, Y57: in order, once, and no more than are kept.
                if self.pongs.len() < self.settings.ping_backlog {
                    self.pongs.push_back(value);
                } else {
                    self.stats.pings_dropped += 1;
                }
                Ok(())
            }
            Inbound::Pong { value } => {
                if let Some(close) = self.pings.answered(now, value, &mut self.events)
                    && close
                {
                    self.close_was_acknowledged(now);
                }
                Ok(())
            }
            Inbound::GoAway { last, code, debug } => {
                self.handle_go_away(now, last, code, debug);
                Ok(())
            }
            Inbound::Unknown { body } => {
                self.skip(body);
                Ok(())
            }
        }
    }

    /// Has the next bytes thrown away.
    pub(super) fn skip(&mut self, body: usize) {
        self.body = if body == 0 {
            Body::None
        } else {
            Body::Skip { left: body }
        };
    }

    fn handle_go_away(&mut self, now: Instant, last: u32, code: u32, debug: usize) {
        let first = self.remote.is_none();
        self.remote = Some(RemoteGoAway {
            code,
            debug: Bytes::new(),
        });
        match self.settings.dialect {
            Dialect::Yamux => {
                if code != 0 {
                    // docs/wire Y60.
                    self.ended_by_peer(
                        now,
                        SessionEnd::GoneAway {
                            code,
                            debug: Bytes::new(),
                        },
                    );
                } else if first {
                    tracing::trace!("the peer accepts no more streams");
                }
            }
            Dialect::Muxado => {
                self.body = if debug == 0 {
                    Body::None
                } else {
                    Body::Debug { left: debug }
                };
                self.after_go_away = debug == 0;
                self.kill_unseen(last);
            }
        }
        // Those who wait to open a stream wait in vain.
        self.note_openable();
    }

    /// docs/wire U57: what the peer has not seen is lost.
    fn kill_unseen(&mut self, last: u32) {
        // None is opened behind a go-away: only one that names a lower id has anything new to say.
        if last >= self.lowest_last {
            return;
        }
        self.lowest_last = last;
        let unseen: Vec<u32> = self
            .streams
            .iter()
            .filter(|(_, stream)| {
                stream.bits.has(Bits::OUTBOUND) && stream.bits.has(Bits::LIVE) && stream.id > last
            })
            .map(|(slot, _)| slot as u32)
            .collect();
        // Whoever closes the session meanwhile has not closed it well.
        self.left_behind |= !unseen.is_empty() && !matches!(self.phase, Phase::Running);
        for slot in unseen {
            self.kill(slot, StreamEnd::RemoteGoneAway);
        }
    }
}

const PEER_EOF: &str = "read EOF from remote peer";
