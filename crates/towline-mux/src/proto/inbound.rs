//! What the peer's frames do to streams.

use std::time::{Duration, Instant};

use super::{
    AckPolicy, Dialect, Engine, Event, Role, StreamEnd, Violation, frame::StreamFrame,
    memory::Reservation, muxado, receive::Body, stream::Bits,
};

/// Resets that a peer may make us owe it before it has to take some.
const OWED_RESETS: usize = 1024;
/// Streams remembered after this side reset them (docs/wire U45).
const TOMBSTONES: usize = 1024;
/// How long a stream that this side reset is remembered (docs/wire U45).
const TOMBSTONE_LIFE: Duration = Duration::from_secs(5);

/// Whether input waits until resets have left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stalled {
    No,
    /// Nothing was transmitted since.
    UntilTransmitted,
    /// It was, and as much is owed as before.
    InVain,
}

impl Engine {
    /// A frame that names a stream.
    pub(super) fn handle_stream(
        &mut self,
        now: Instant,
        frame: StreamFrame,
    ) -> Result<(), Violation> {
        let found = if frame.syn {
            self.handle_syn(now, &frame)?
        } else {
            self.lookup(frame.id)
        };
        let Some(slot) = found else {
            self.skip(frame.body);
            if !frame.syn {
                self.handle_unknown(now, &frame);
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
            self.refuse(now, id, 5);
            return Ok(None);
        }
        if id == 0 {
            return Err(Violation::StreamIdZero);
        }
        // docs/wire Y15, Y17, U19.
        let ours = match self.role {
            Role::Client => 1,
            Role::Server => 0,
        };
        if id % 2 == ours {
            return Err(Violation::Parity(id));
        }
        if self.lookup(id).is_some() {
            return Err(Violation::DuplicateStream(id));
        }
        if self.local_gone {
            self.refuse(now, id, 0);
            return Ok(None);
        }
        self.last_remote = id;
        let (refused, full) = if muxado { (5, 9) } else { (0, 0) };
        // docs/wire Y18 to Y20, U22 to U24: cheap limits first.
        if self.inbound >= self.settings.max_incoming || self.is_too_fast(now) {
            self.refuse(now, id, refused);
            return Ok(None);
        }
        if self.backlog.len() - self.backlog_dead >= self.settings.accept_backlog {
            self.refuse(now, id, full);
            return Ok(None);
        }
        let memory = match &self.settings.memory {
            None => None,
            Some(manager) => {
                match Reservation::new(manager, self.settings.initial_window as usize) {
                    Ok(reservation) => Some(Box::new(reservation)),
                    // docs/wire Y67: local pressure costs the peer this stream and not the session.
                    Err(_) => {
                        self.refuse(now, id, refused);
                        return Ok(None);
                    }
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

    fn refuse(&mut self, now: Instant, id: u32, code: u32) {
        self.stats.streams_refused += 1;
        self.owe_reset(id, code);
        if self.settings.dialect == Dialect::Muxado {
            self.bury(now, id);
        }
    }

    /// Queues a reset that the peer made us owe it.
    fn owe_reset(&mut self, id: u32, code: u32) {
        self.owed += 1;
        self.resets.push_back((id, code));
    }

    /// True if no more frames are to be taken before resets have left that the peer made us owe it. It
    /// is the transport that has not been asked, or the peer that does not read: a peer that makes us
    /// answer and does not read is not waited for (docs/wire Y72, U78).
    pub(super) fn must_wait(&mut self) -> Result<bool, Violation> {
        if self.owed < OWED_RESETS && self.resets.len() <= OWED_RESETS {
            self.stalled = Stalled::No;
            return Ok(false);
        }
        let streams = self.settings.max_incoming + self.settings.max_outgoing;
        // An application that lets go of what it has just accepted, and a peer that opens without end
        // and reads nothing, would together fill the queue of resets.
        let limit = OWED_RESETS.saturating_add(streams.saturating_mul(2));
        let flood = if self.owed >= OWED_RESETS {
            OWED_RESETS
        } else if self.resets.len() > limit {
            limit
        } else {
            self.stalled = Stalled::No;
            return Ok(false);
        };
        if self.blocked_since.is_some() || self.stalled == Stalled::InVain {
            return Err(Violation::Flood(u32::try_from(flood).unwrap_or(u32::MAX)));
        }
        self.stalled = Stalled::UntilTransmitted;
        Ok(true)
    }

    /// Resets a stream for what the peer did.
    pub(super) fn reset_for_peer(&mut self, now: Instant, slot: u32, end: StreamEnd) {
        self.owed += 1;
        self.reset_and_bury(now, slot, end);
    }

    /// A frame for a stream that is not there. yamux says nothing to it; muxado resets.
    fn handle_unknown(&mut self, now: Instant, frame: &StreamFrame) {
        let answered = self.settings.dialect == Dialect::Muxado
            && frame.data
            && (frame.body > 0 || !frame.fin);
        // docs/wire U44, U45: one reset in five seconds, not one for each frame.
        if answered && !self.is_buried(now, frame.id) {
            self.owe_reset(frame.id, 4);
            self.bury(now, frame.id);
        }
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
            self.reset_for_peer(now, slot, StreamEnd::DataAfterEnd);
            return Ok(());
        }
        // docs/wire Y39, U29, U35: at the header, before a byte of it is kept.
        let len = u32::try_from(frame.body).unwrap_or(u32::MAX);
        let Some(credit) = stream.recv_credit.checked_sub(len) else {
            if !muxado {
                return Err(Violation::WindowExceeded(stream.id));
            }
            self.skip(frame.body);
            self.reset_for_peer(now, slot, StreamEnd::WindowExceeded);
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
                self.reset_for_peer(now, slot, StreamEnd::ResetHere(code));
                return Ok(());
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
        let code = end.code_in(self.settings.dialect);
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
}
