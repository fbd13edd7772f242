//! Closing (docs/wire W44 to W46, W51).

use std::time::{Duration, Instant};

use super::{CloseReason, Engine, EngineEvent, Now};
use crate::proto::{
    compact::CompactKind,
    numbers::{TcpEvent, TcpState},
    packet::Packet,
    receiver::Echo,
    timers::Timer,
};

/// How often a FIN is sent to a peer of the original's format, which may never answer.
const CLASSIC_FINS: u32 = 4;
/// How long repeated FINs are answered after the end.
const TIME_WAIT: Duration = Duration::from_secs(2);

impl Engine {
    /// Sends no more: what was accepted is delivered, then the peer finds the end. Between two
    /// towlines the other direction goes on (docs/wire W51); the original ends both (docs/wire W44).
    pub fn finish(&mut self, now: Now) {
        if self.reason.is_none() && self.finishing.is_none() {
            self.finishing = Some(false);
            self.advance_close(now.instant);
        }
    }

    /// Closes both directions: what was accepted is delivered, what still comes is thrown away. Takes
    /// at most the time of [`Config::linger`](super::super::Config::linger).
    pub fn close(&mut self, now: Now) {
        if self.reason.is_some() || self.finishing == Some(true) {
            return;
        }
        let had_sent_fin = self.finishing == Some(false) && self.fins_sent > 0;
        self.finishing = Some(true);
        self.receiver.discard();
        if had_sent_fin {
            // The peer knows of the end of our data, and not that nobody reads any more.
            self.fin_acked = false;
            self.fins_sent = 0;
        }
        self.timers
            .set_after(Timer::Linger, now.instant, self.config.linger);
        if self.state != TcpState::ESTABLISHED && self.sender.is_empty() {
            // Nobody is there, and nothing is owed.
            self.tell_of_abort();
            self.end(now.instant, CloseReason::Finished);
            return;
        }
        self.advance_close(now.instant);
    }

    /// True once this end has said that it sends no more, and the peer has acknowledged that and
    /// everything before it.
    pub fn is_finished(&self) -> bool {
        self.finishing.is_some() && self.fin_acked && self.sender.is_empty() && !self.has_lost
    }

    /// Abandons the session at once; the peer is told once, as far as the network carries it
    /// (docs/wire W46).
    pub fn abort(&mut self, now: Now) {
        if self.reason.is_none() {
            self.tell_of_abort();
            self.end(now.instant, CloseReason::Aborted);
        }
    }

    /// The network can never carry a packet of this session: `problem` says why. Sending it again would
    /// not help, so the session ends.
    pub fn fail_to_send(&mut self, now: Now, problem: &str) {
        self.end(now.instant, CloseReason::Unsendable(problem.into()));
    }

    pub(super) fn tell_of_abort(&mut self) {
        if self.is_compact {
            self.due.reset = true;
        } else if self.remote_nonce.is_some() {
            self.due.fin = true;
        }
    }

    /// Sends the FIN when nothing is in its way, and ends the session when nothing is open.
    pub(super) fn advance_close(&mut self, now: Instant) {
        if self.reason.is_some() || self.state != TcpState::ESTABLISHED {
            return;
        }
        if self.peer.has_finished && self.is_compact && self.receiver.is_complete() {
            self.tell(EngineEvent::Readable);
        }
        let Some(is_close) = self.finishing else {
            self.end_if_both_are_done(now);
            return;
        };
        // docs/wire W44: a receiver of the original's throws away what it has not read when a FIN
        // comes; one of ours is told how much there is.
        let may_say_so = if self.is_compact {
            self.sender.all_sent()
        } else {
            self.sender.is_empty()
        };
        if may_say_so && self.fins_sent == 0 && !self.peer.reads_no_more {
            self.fins_sent = 1;
            self.due.fin = true;
            // What came is acknowledged before the peer hears of the end.
            self.answer_in_order();
            self.timers.set_after(Timer::Fin, now, self.sender.rto());
        }
        if self.peer.reads_no_more && self.fins_sent == 0 {
            // Who reads no more waits for its own data to be acknowledged, and for nothing of ours.
            self.end_if_both_are_done(now);
            return;
        }
        if !self.fin_acked || !self.sender.is_empty() {
            return;
        }
        if is_close || !self.is_compact {
            self.end(now, self.reason_in_order());
        } else {
            self.end_if_both_are_done(now);
        }
    }

    fn end_if_both_are_done(&mut self, now: Instant) {
        let ours = self.peer.reads_no_more || (self.finishing.is_some() && self.fin_acked);
        if ours && self.peer.has_finished && self.has_acknowledged_all() && self.sender.is_empty() {
            self.end(now, self.reason_in_order());
        }
    }

    /// docs/wire W51: an end in order is none for what the peer did not take any more.
    fn reason_in_order(&self) -> CloseReason {
        if self.has_lost {
            CloseReason::RemoteClosed
        } else {
            CloseReason::Finished
        }
    }

    fn give_up_unacknowledged(&mut self) {
        self.has_lost |= !self.sender.is_empty();
        self.sender.clear();
    }

    /// Nothing of the peer's is left to be acknowledged: it has arrived, or was taken where that is what
    /// is acknowledged (docs/wire W37).
    fn has_acknowledged_all(&self) -> bool {
        self.receiver.is_complete() && self.ack_next() == self.receiver.next()
    }

    pub(super) fn repeat_fin(&mut self, now: Instant) {
        if self.fin_acked || self.reason.is_some() {
            return;
        }
        if !self.is_compact && self.fins_sent >= CLASSIC_FINS {
            // docs/wire W44: half of the original's answers are never sent.
            self.fin_acked = true;
            self.advance_close(now);
            return;
        }
        let wait = self
            .sender
            .rto()
            .saturating_mul(1 << self.fins_sent.min(8))
            .min(self.config.max_rto);
        self.fins_sent += 1;
        self.due.fin = true;
        self.timers.set_after(Timer::Fin, now, wait);
    }

    /// docs/wire W45: the end of both directions; what came in order can still be read.
    pub(super) fn on_classic_fin(&mut self, now: Instant, echo: Echo) {
        self.due.fin_ack = Some(echo);
        self.peer.has_finished = true;
        self.peer.reads_no_more = true;
        if self.receiver.has_gap() {
            self.is_cut = Some(CloseReason::RemoteClosed);
        }
        let reason = if self.sender.is_empty() {
            CloseReason::Finished
        } else {
            CloseReason::RemoteClosed
        };
        self.end(now, reason);
    }

    /// docs/wire W51
    pub(super) fn on_compact_fin(&mut self, packets: u64, is_close: bool) {
        self.due.fin_ack = Some(Echo::Compact(0));
        self.peer.has_finished = true;
        self.receiver.set_end(packets);
        if is_close && !self.peer.reads_no_more {
            self.peer.reads_no_more = true;
            self.give_up_unacknowledged();
            self.tell(EngineEvent::Acknowledged);
        }
    }

    /// The peer has heard our end of data, and, if `of_close`, that nobody reads here either: an answer
    /// that comes again, or late, is none to a close that followed (docs/wire W51).
    pub(super) fn on_fin_ack(&mut self, of_close: bool) {
        let is_answer = of_close
            || self.finishing == Some(false)
            // Who sends no more, and all of whose data is here, need not know who reads.
            || (self.peer.has_finished && self.receiver.is_complete());
        if self.fins_sent > 0 && !self.fin_acked && is_answer {
            self.fin_acked = true;
            self.timers.stop(Timer::Fin);
            // Who waits for the session to be finished may look.
            self.tell(EngineEvent::Acknowledged);
        }
    }

    pub(super) fn on_reset(&mut self, now: Instant) {
        self.is_cut = Some(CloseReason::Reset);
        self.end(now, CloseReason::Reset);
    }

    /// A frame after the end, of a peer that has not heard of it: it is told again.
    pub(super) fn on_frame_after_end(&mut self, kind: &CompactKind) {
        self.stats.dropped.late += 1;
        if let CompactKind::Fin { is_close: true, .. } = kind {
            self.peer.reads_no_more = true;
        }
        let wants_answer = matches!(
            kind,
            CompactKind::Fin { .. } | CompactKind::Data { .. } | CompactKind::KeepAlive { .. }
        );
        if wants_answer && self.timers.get(Timer::TimeWait).is_some() {
            self.due.fin_ack = Some(Echo::Compact(0));
        }
    }

    /// The same in the original's format: a FIN is answered, and data that came before the end is
    /// acknowledged again (docs/wire W45).
    pub(super) fn on_packet_after_end(&mut self, packet: &Packet) {
        self.stats.dropped.late += 1;
        if self.timers.get(Timer::TimeWait).is_none() {
            return;
        }
        let echo = Echo::Classic(packet.sent, packet.retry);
        match packet.event {
            TcpEvent::FIN => self.due.fin_ack = Some(echo),
            TcpEvent::DATA if u64::try_from(packet.seq).is_ok_and(|seq| seq < self.ack_next()) => {
                self.due.late_ack = Some(echo);
            }
            _ => {}
        }
    }

    pub(super) fn end(&mut self, now: Instant, reason: CloseReason) {
        if self.reason.is_some() {
            return;
        }
        let is_in_order = matches!(reason, CloseReason::Finished | CloseReason::RemoteClosed);
        self.reason = Some(reason);
        self.give_up_unacknowledged();
        self.timers.stop_all();
        self.due.syn = false;
        self.due.syn_ack = false;
        self.due.estab_ack = None;
        if is_in_order && self.established_at.is_some() {
            self.timers.set_after(Timer::TimeWait, now, TIME_WAIT);
            if self.is_compact && self.peer.has_finished {
                // docs/wire W51: its end may have come before its last data, which no acknowledgement
                // has covered yet.
                self.due.fin_ack = Some(Echo::Compact(0));
            }
        }
        self.tell(EngineEvent::Readable);
        self.tell(EngineEvent::Acknowledged);
        self.tell(EngineEvent::Closed);
    }
}
