//! The sending half: numbering, windows, what is in flight, what is lost.

mod acknowledgements;
mod figures;
mod losses;
mod payload;

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use towline_codec::greenpack::Timestamp;

pub(crate) use self::acknowledgements::Acknowledgement;
pub use self::payload::Payload;
use super::{
    checksum::checksum_field,
    rate::{Rate, Snapshot},
    receiver::Echo,
    rtt::{PeerRtt, RttEstimator, RttModel},
    timers::later,
};

/// The wait for an acknowledgement before any round trip was measured.
const INITIAL_RTO: Duration = Duration::from_millis(500);

/// How packets are timed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) model: RttModel,
    pub(crate) min_rto: Duration,
    pub(crate) max_rto: Duration,
}

/// A data packet that is to leave now.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) seq: u64,
    pub(crate) retry: u32,
    pub(crate) transmission: u64,
    pub(crate) cumulative: u64,
    pub(crate) data: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    InFlight,
    Lost,
    Arrived,
}

#[derive(Debug)]
struct Slot {
    data: Bytes,
    checksum: Option<Bytes>,
    /// Data bytes up to and with this packet.
    cumulative: u64,
    state: State,
    /// Transmissions so far.
    sent: u32,
    transmission: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Outstanding,
    Lost,
    Arrived,
}

#[derive(Debug)]
struct Transmission {
    seq: u64,
    retry: u32,
    wall: Timestamp,
    sent_at: Instant,
    fate: Fate,
    snapshot: Snapshot,
}

#[derive(Debug)]
pub(crate) struct Sender {
    timing: Timing,
    /// Bytes of a packet beside its data.
    overhead: u64,
    /// The lowest packet that is not acknowledged; `slots` begins with it.
    base: u64,
    slots: VecDeque<Slot>,
    /// The first packet that was never sent.
    next: u64,
    acked_bytes: u64,
    accepted_bytes: u64,
    buffered_bytes: usize,
    /// The first packet beyond the peer's window, and the bytes up to which it reaches (W34).
    edge_messages: u64,
    edge_bytes: u64,
    flying_packets: usize,
    flying_bytes: u64,
    lost: BTreeSet<u64>,
    probe: Option<u64>,
    /// In the order of sending; the first has number `first_transmission`.
    transmissions: VecDeque<Transmission>,
    first_transmission: u64,
    /// All transmissions before this one are decided.
    undecided: u64,
    /// The newest transmission that is known to have arrived.
    newest_arrived: u64,
    rate: Rate,
    rtt: RttEstimator,
    peer_rtt: Option<PeerRtt>,
    /// How much later than expected packets are known to have arrived.
    reordering: Duration,
    rto_at: Option<Instant>,
    rto_backoff: u32,
    loss_at: Option<Instant>,
    paced_until: Option<Instant>,
    gap_reports: u32,
    retransmissions: u64,
    most_sent: u32,
    spurious: u64,
    overdue: u64,
}

impl Sender {
    pub(crate) fn new(timing: Timing, overhead: u64, now: Instant) -> Self {
        Self {
            timing,
            overhead,
            base: 0,
            slots: VecDeque::new(),
            next: 0,
            acked_bytes: 0,
            accepted_bytes: 0,
            buffered_bytes: 0,
            edge_messages: 0,
            edge_bytes: 0,
            flying_packets: 0,
            flying_bytes: 0,
            lost: BTreeSet::new(),
            probe: None,
            transmissions: VecDeque::new(),
            first_transmission: 1,
            undecided: 1,
            newest_arrived: 0,
            rate: Rate::new(now),
            rtt: RttEstimator::default(),
            peer_rtt: None,
            reordering: Duration::ZERO,
            rto_at: None,
            rto_backoff: 0,
            loss_at: None,
            paced_until: None,
            gap_reports: 0,
            retransmissions: 0,
            most_sent: 0,
            spurious: 0,
            overdue: 0,
        }
    }

    /// Queues a packet and returns its number.
    pub(crate) fn push(&mut self, payload: Payload) -> u64 {
        let seq = self.base + self.slots.len() as u64;
        self.accepted_bytes += payload.data.len() as u64;
        self.buffered_bytes += payload.data.len();
        self.slots.push_back(Slot {
            data: payload.data,
            checksum: payload.checksum,
            cumulative: self.accepted_bytes,
            state: State::Waiting,
            sent: 0,
            transmission: 0,
        });
        seq
    }

    /// Forgets everything that is not acknowledged: the peer takes nothing any more.
    pub(crate) fn clear(&mut self) {
        self.slots.clear();
        self.lost.clear();
        self.next = self.base;
        self.flying_packets = 0;
        self.flying_bytes = 0;
        self.buffered_bytes = 0;
        self.probe = None;
        self.rto_at = None;
        self.loss_at = None;
        self.paced_until = None;
    }

    pub(crate) fn buffered(&self) -> (usize, usize) {
        (self.slots.len(), self.buffered_bytes)
    }

    /// The first packet that is not acknowledged.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// How many packets were accepted so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.base + self.slots.len() as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// True once every packet was sent at least once.
    pub(crate) fn all_sent(&self) -> bool {
        self.next == self.accepted()
    }

    /// True if the peer's window keeps packets from leaving and nothing in flight will open it.
    pub(crate) fn is_blocked(&self) -> bool {
        self.flying_packets == 0 && self.lost.is_empty() && !self.all_sent() && !self.has_window()
    }

    pub(crate) fn set_overhead(&mut self, overhead: u64) {
        self.overhead = overhead;
    }

    /// The checksum of a packet that is to leave; calculated once.
    pub(crate) fn checksum(&mut self, seq: u64) -> Bytes {
        match self.slot(seq) {
            Some(slot) => slot
                .checksum
                .get_or_insert_with(|| checksum_field(&slot.data))
                .clone(),
            None => Bytes::new(),
        }
    }

    /// The data packet that may leave now, if any (docs/wire W31, W32, W34).
    pub(crate) fn poll(&mut self, now: Instant, wall: Timestamp) -> Option<Outgoing> {
        self.paced_until = None;
        self.rate.advance(now);
        if let Some(seq) = self.probe.take()
            && self
                .slot(seq)
                .is_some_and(|slot| slot.state != State::Arrived)
        {
            return self.transmit(now, wall, seq);
        }
        let seq = match self.lost.first() {
            Some(&seq) => seq,
            None if !self.all_sent() && self.has_window() => self.next,
            None => {
                self.rate.set_limited(true);
                return None;
            }
        };
        let len = self.slot(seq).map_or(0, |slot| slot.data.len() as u64) + self.overhead;
        // What everything else waits for does not wait for room: a peer that answers only what is in
        // order makes room for nothing else.
        let is_first = self
            .slots
            .iter()
            .position(|slot| slot.state != State::Arrived)
            == usize::try_from(seq - self.base).ok();
        if self.flying_packets > 0 && !is_first && self.flying_bytes + len > self.rate.window(len) {
            self.rate.set_limited(false);
            return None;
        }
        let credit_at = self.rate.credit_at();
        if credit_at > now {
            self.rate.set_limited(false);
            self.paced_until = Some(credit_at);
            return None;
        }
        self.transmit(now, wall, seq)
    }

    fn transmit(&mut self, now: Instant, wall: Timestamp, seq: u64) -> Option<Outgoing> {
        let index = usize::try_from(seq.checked_sub(self.base)?).ok()?;
        let transmission = self.first_transmission + self.transmissions.len() as u64;
        let slot = self.slots.get_mut(index)?;
        let len = slot.data.len() as u64 + self.overhead;
        match slot.state {
            State::Waiting => self.next = seq + 1,
            State::InFlight => {
                self.flying_packets -= 1;
                self.flying_bytes -= len;
            }
            State::Lost | State::Arrived => {}
        }
        self.lost.remove(&seq);
        let snapshot = self.rate.on_send(now, len, self.flying_bytes);
        slot.state = State::InFlight;
        slot.transmission = transmission;
        slot.sent = slot.sent.saturating_add(1);
        self.flying_packets += 1;
        self.flying_bytes += len;
        let retry = slot.sent - 1;
        self.retransmissions += u64::from(retry > 0);
        self.most_sent = self.most_sent.max(slot.sent);
        let outgoing = Outgoing {
            seq,
            retry,
            transmission,
            cumulative: slot.cumulative,
            data: slot.data.clone(),
        };
        self.transmissions.push_back(Transmission {
            seq,
            retry,
            wall,
            sent_at: now,
            fate: Fate::Outstanding,
            snapshot,
        });
        if self.rto_at.is_none() {
            self.rto_at = later(now, self.backed_off_rto());
        }
        Some(outgoing)
    }

    /// docs/wire W34: bytes are counted before the packet leaves; one packet may reach beyond the
    /// edge if it is alone, or a packet larger than the window would never leave.
    fn has_window(&self) -> bool {
        if self.next >= self.edge_messages {
            return false;
        }
        let index = usize::try_from(self.next - self.base).unwrap_or(usize::MAX);
        let Some(slot) = self.slots.get(index) else {
            return false;
        };
        let before = slot.cumulative - slot.data.len() as u64;
        slot.cumulative <= self.edge_bytes
            || (before == self.acked_bytes && before < self.edge_bytes)
    }

    fn slot(&mut self, seq: u64) -> Option<&mut Slot> {
        let ahead = seq.checked_sub(self.base)?;
        self.slots.get_mut(usize::try_from(ahead).ok()?)
    }
}
