//! What comes from the peer.

use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};

use super::{
    AckPolicy, Dialect, Engine, Event, RemoteGoAway, SessionEnd, StreamEnd, Violation,
    engine::{OWED_RESETS, TOMBSTONES},
    frame::{Inbound, StreamFrame},
    memory::Reservation,
    muxado::{self, Step},
    stream::Bits,
    yamux,
};

/// A payload below this is copied out of the buffer it came in: a slice would keep the whole buffer
/// in memory, uncounted, while it waits to be read.
const COPIED_BELOW: usize = 16 << 10;
/// Debug text kept of a muxado go-away; more is skipped (docs/wire U60).
const MAX_DEBUG: usize = 1 << 20;
/// How long a stream that this side reset is remembered (docs/wire U45).
const TOMBSTONE_LIFE: Duration = Duration::from_secs(5);

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
    /// Takes what came from the transport. Payloads are split off `input` without a copy, except small
    /// ones; what remains is the start of a frame.
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
        let result = self.take_frames(now, input);
        self.stats.bytes_received += (before - input.len()) as u64;
        result.or_else(|violation| self.fail(now, violation))
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
            if self.body != Body::None {
                if input.is_empty() {
                    return Ok(());
                }
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
                let piece = if count < COPIED_BELOW {
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
                self.reset_and_bury(now, slot, StreamEnd::ResetHere(code));
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

    /// The session holds more than it may: the stream that holds most has to go.
    fn reset_largest(&mut self, now: Instant) {
        let largest = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.bits.has(Bits::LIVE))
            .max_by_key(|(slot, stream)| (stream.unread, *slot))
            .map(|(slot, _)| slot as u32);
        if let Some(slot) = largest {
            if let Some(stream) = self.streams.get_mut(slot as usize) {
                self.held -= u64::from(stream.unread);
                stream.unread = 0;
                stream.inbox.clear();
                // What was in front of the end is gone: it is no end any more.
                stream.bits.clear(Bits::FIN_RECEIVED);
            }
            self.reset_and_bury(now, slot, StreamEnd::OutOfBudget);
        }
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

    fn skip(&mut self, body: usize) {
        self.body = if body == 0 {
            Body::None
        } else {
            Body::Skip { left: body }
        };
    }

    fn handle_stream(&mut self, now: Instant, frame: StreamFrame) -> Result<(), Violation> {
        let found = if frame.syn {
            self.handle_syn(now, &frame)?
        } else {
            self.lookup(frame.id)
        };
        let Some(slot) = found else {
            self.skip(frame.body);
            if !frame.syn {
                self.handle_unknown(now, &frame)?;
            }
            return Ok(());
        };
        // docs/wire Y9: ACK, FIN and RST take effect in this order, then credit or payload.
        if frame.ack
            && let Some(stream) = self.stream_mut(slot)
            && stream.bits.take(Bits::UNACKED)
        {
            self.unacked -= 1;
            self.note_openable();
        }
        if frame.fin && (frame.body == 0 || frame.reset.is_some()) {
            self.receive_fin(slot);
        }
        if let Some(code) = frame.reset {
            self.kill(slot, StreamEnd::ResetByPeer(code));
            self.skip(frame.body);
            return Ok(());
        }
        if frame.credit > 0 {
            self.add_credit(slot, frame.credit)?;
        }
        if frame.body > 0 {
            self.begin_payload(now, slot, &frame)?;
        }
        Ok(())
    }

    /// A stream that the peer wants to open. Nothing if it was refused.
    fn handle_syn(&mut self, now: Instant, frame: &StreamFrame) -> Result<Option<u32>, Violation> {
        let id = frame.id;
        let muxado = self.settings.dialect == Dialect::Muxado;
        // docs/wire U59: the refusal comes before the look at the id.
        if muxado && self.local_gone {
            return self.refuse(now, id, 5);
        }
        if id == 0 {
            return Err(Violation::StreamIdZero);
        }
        // docs/wire Y15, Y17, U19.
        let ours = match self.role {
            super::Role::Client => 1,
            super::Role::Server => 0,
        };
        if id % 2 == ours {
            return Err(Violation::Parity(id));
        }
        if self.lookup(id).is_some() {
            return Err(Violation::DuplicateStream(id));
        }
        if self.local_gone {
            return self.refuse(now, id, 0);
        }
        self.last_remote = id;
        let (refused, full) = if muxado { (5, 9) } else { (0, 0) };
        // docs/wire Y18 to Y20, U22 to U24: cheap limits first.
        if self.inbound >= self.settings.max_incoming || self.is_too_fast(now) {
            return self.refuse(now, id, refused);
        }
        if self.backlog.len() - self.backlog_dead >= self.settings.accept_backlog {
            return self.refuse(now, id, full);
        }
        let memory = match &self.settings.memory {
            None => None,
            Some(manager) => {
                match Reservation::new(manager, self.settings.initial_window as usize) {
                    Ok(reservation) => Some(Box::new(reservation)),
                    // docs/wire Y67: local pressure costs the peer this stream and not the session.
                    Err(_) => return self.refuse(now, id, refused),
                }
            }
        };
        let mut bits = Bits::BACKLOG;
        if !muxado {
            bits = bits | Bits::ACK_DUE;
        }
        let slot = self.insert(id, bits, memory);
        self.backlog.push_back(slot);
        if std::mem::take(&mut self.accept_wait) {
            self.events.push_back(Event::Acceptable);
        }
        if !muxado && self.settings.ack_policy == AckPolicy::OnArrival {
            if let Some(stream) = self.stream_mut(slot) {
                stream.bits.set(Bits::GREETING_DUE);
            }
            self.queue_control(slot);
        }
        Ok(Some(slot))
    }

    /// Counts streams a second, if that is limited.
    fn is_too_fast(&mut self, now: Instant) -> bool {
        let Some(limit) = self.settings.max_stream_rate else {
            return false;
        };
        let (since, count) = &mut self.stream_rate;
        if now.saturating_duration_since(*since) >= Duration::from_secs(1) {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count > limit
    }

    fn refuse(&mut self, now: Instant, id: u32, code: u32) -> Result<Option<u32>, Violation> {
        self.stats.streams_refused += 1;
        self.owe_reset(id, code)?;
        if self.settings.dialect == Dialect::Muxado {
            self.bury(now, id);
        }
        Ok(None)
    }

    /// Queues a reset that the peer made us owe it.
    fn owe_reset(&mut self, id: u32, code: u32) -> Result<(), Violation> {
        // docs/wire Y72, U78: a peer that makes us answer and does not read is not waited for.
        if self.resets.len() >= OWED_RESETS {
            return Err(Violation::Flood(OWED_RESETS as u32));
        }
        self.resets.push_back((id, code));
        Ok(())
    }

    /// A frame for a stream that is not there. yamux says nothing to it; muxado resets.
    fn handle_unknown(&mut self, now: Instant, frame: &StreamFrame) -> Result<(), Violation> {
        let answered = self.settings.dialect == Dialect::Muxado
            && frame.data
            && (frame.body > 0 || !frame.fin);
        // docs/wire U44, U45: one reset in five seconds, not one for each frame.
        if answered && !self.is_buried(now, frame.id) {
            self.owe_reset(frame.id, 4)?;
            self.bury(now, frame.id);
        }
        Ok(())
    }

    fn add_credit(&mut self, slot: u32, credit: u32) -> Result<(), Violation> {
        let Some(stream) = self.streams.get_mut(slot as usize) else {
            return Ok(());
        };
        // Bytes that are queued have used their credit already; the peer still sees it as used up
        // only when they arrive, so both count.
        stream.send_credit = match self.settings.dialect {
            Dialect::Yamux => stream
                .send_credit
                .checked_add(credit)
                .ok_or(Violation::CreditOverflow(stream.id))?,
            // docs/wire U34.
            Dialect::Muxado => stream
                .send_credit
                .saturating_add(credit)
                .min(muxado::MAX_STREAM),
        };
        self.wake_writer(slot);
        Ok(())
    }

    /// A payload for a stream begins.
    fn begin_payload(
        &mut self,
        now: Instant,
        slot: u32,
        frame: &StreamFrame,
    ) -> Result<(), Violation> {
        let Some(stream) = self.streams.get_mut(slot as usize) else {
            self.skip(frame.body);
            return Ok(());
        };
        let muxado = self.settings.dialect == Dialect::Muxado;
        if muxado && stream.bits.has(Bits::FIN_RECEIVED) {
            // An end that is not one is no end: who has not read it yet is told.
            stream.bits.clear(Bits::FIN_RECEIVED);
            self.skip(frame.body);
            self.reset_and_bury(now, slot, StreamEnd::DataAfterEnd);
            return Ok(());
        }
        // docs/wire Y39, U29, U35: at the header, before a byte of it is kept.
        let len = u32::try_from(frame.body).unwrap_or(u32::MAX);
        let Some(credit) = stream.recv_credit.checked_sub(len) else {
            if !muxado {
                return Err(Violation::WindowExceeded(stream.id));
            }
            self.skip(frame.body);
            self.reset_and_bury(now, slot, StreamEnd::WindowExceeded);
            return Ok(());
        };
        if stream.bits.has(Bits::FIN_RECEIVED) {
            // docs/wire Y28: counted and dropped.
            stream.recv_credit = credit;
            self.skip(frame.body);
            return Ok(());
        }
        if stream.bits.has(Bits::DISCARDS) {
            stream.recv_credit = credit;
            self.skip(frame.body);
            if frame.fin {
                self.receive_fin(slot);
            } else if credit == 0 || (muxado && self.is_unheld(slot)) {
                // docs/wire Y34, U42: the peer must not wait for credit that never comes.
                let code = if muxado { 4 } else { 0 };
                self.reset_and_bury(now, slot, StreamEnd::ResetHere(code));
            }
            return Ok(());
        }
        self.body = Body::Data {
            slot,
            left: frame.body,
            fin: frame.fin,
        };
        Ok(())
    }

    fn is_unheld(&self, slot: u32) -> bool {
        self.stream(slot)
            .is_none_or(|stream| !stream.bits.has(Bits::HANDLE))
    }

    pub(crate) fn receive_fin(&mut self, slot: u32) {
        let Some(stream) = self.stream_mut(slot) else {
            return;
        };
        // docs/wire Y28, U44: a second one says nothing new; a reset is final.
        if !stream.is_receiving() {
            return;
        }
        stream.bits.set(Bits::FIN_RECEIVED);
        stream.bits.clear(Bits::CREDIT_DUE);
        self.wake_reader(slot);
        self.leave_if_done(slot);
    }

    /// Takes a stream whose both directions have ended off the table.
    pub(crate) fn leave_if_done(&mut self, slot: u32) {
        if let Some(stream) = self.stream(slot)
            && stream.bits.has(Bits::FIN_RECEIVED)
            && stream.bits.has(Bits::FIN_SENT)
        {
            self.leave_table(slot);
        }
    }

    /// Resets a stream from this side: ends it, tells the peer, and in muxado remembers it for a while.
    pub(crate) fn reset_and_bury(&mut self, now: Instant, slot: u32, end: StreamEnd) {
        let Some(stream) = self.stream(slot) else {
            return;
        };
        if stream.end.is_some() || !stream.bits.has(Bits::LIVE) {
            return;
        }
        let id = stream.id;
        let code = match (self.settings.dialect, end) {
            (Dialect::Muxado, StreamEnd::OutOfBudget) => 10,
            (Dialect::Muxado, StreamEnd::OpenTimeout) => 6,
            _ => end.code(),
        };
        // docs/wire Y29: a stream whose SYN has not left needs no reset either.
        if !stream.bits.has(Bits::SYN_DUE) {
            self.resets.push_back((id, code));
        }
        if self.settings.dialect == Dialect::Muxado {
            self.bury(now, id);
        }
        self.kill(slot, end);
    }

    fn bury(&mut self, now: Instant, id: u32) {
        if self.tombstones.len() >= TOMBSTONES
            && let Some((_, oldest)) = self.tombstones.pop_front()
        {
            self.buried.remove(&oldest);
        }
        if self.buried.insert(id, ()).is_none() {
            self.tombstones.push_back((now + TOMBSTONE_LIFE, id));
        }
    }

    fn is_buried(&mut self, now: Instant, id: u32) -> bool {
        while let Some(&(until, oldest)) = self.tombstones.front()
            && until <= now
        {
            self.tombstones.pop_front();
            self.buried.remove(&oldest);
        }
        self.buried.contains_key(&id)
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
                // docs/wire U57: what the peer has not seen is lost.
                let unseen: Vec<u32> = self
                    .streams
                    .iter()
                    .filter(|(_, stream)| {
                        stream.bits.has(Bits::OUTBOUND)
                            && stream.bits.has(Bits::LIVE)
                            && stream.id > last
                    })
                    .map(|(slot, _)| slot as u32)
                    .collect();
                for slot in unseen {
                    self.kill(slot, StreamEnd::RemoteGoneAway);
                }
            }
        }
        // Those who wait to open a stream wait in vain.
        self.note_openable();
    }
}

const PEER_EOF: &str = "read EOF from remote peer";
