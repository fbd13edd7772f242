//! The sending half: numbering, windows, what is in flight, what is lost.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use towline_codec::greenpack::Timestamp;

use super::{
    checksum::checksum_field,
    rate::{Rate, Snapshot},
    receiver::Echo,
    rtt::{PeerRtt, RttEstimator, RttModel},
};

/// The wait for an acknowledgement before any round trip was measured.
const INITIAL_RTO: Duration = Duration::from_millis(500);
/// Acknowledged transmissions that are remembered beyond twice the packets in flight: a late answer
/// to one that was held to be lost shows how far the network reorders.
const HISTORY: usize = 1024;
/// Acknowledgements of packets beyond a gap that show that a peer sends such (docs/wire W31).
const GAP_REPORTS: u32 = 3;

/// How packets are timed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) model: RttModel,
    pub(crate) min_rto: Duration,
    pub(crate) max_rto: Duration,
}

/// Data to send, with its checksum if somebody has calculated it already.
#[derive(Debug, Clone, Default)]
pub struct Payload {
    data: Bytes,
    checksum: Option<Bytes>,
}

impl Payload {
    /// Calculates the checksum here and now: before a lock is taken, if the session needs it
    /// (docs/wire W9). Without it the checksum is calculated when the packet is first sent.
    #[must_use]
    pub fn with_checksum(mut self) -> Self {
        self.checksum = Some(checksum_field(&self.data));
        self
    }

    /// Bytes of the data.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// True if there is no data: a packet all the same (docs/wire W24).
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
}

impl From<Bytes> for Payload {
    fn from(data: Bytes) -> Self {
        Self {
            data,
            checksum: None,
        }
    }
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

/// What a packet of the peer says about ours.
#[derive(Debug, Default)]
pub(crate) struct Acknowledgement<'a> {
    /// The first packet that is not acknowledged.
    pub(crate) next: Option<u64>,
    /// True if `next` = 1 may mean that nothing is acknowledged (docs/wire W28).
    pub(crate) one_is_unsure: bool,
    pub(crate) echo: Option<Echo>,
    pub(crate) ranges: &'a [(u64, u64)],
    /// Messages and bytes that may follow `next`.
    pub(crate) window: Option<(u64, u64)>,
}

/// What an acknowledgement changed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Acknowledged {
    /// Packets are covered that were not before.
    pub(crate) advanced: bool,
    /// It names what was never sent.
    pub(crate) is_impossible: bool,
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

    // ---- what the application does ----

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

    // ---- sending ----

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
            self.rto_at = Some(now + self.backed_off_rto());
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

    // ---- acknowledgements ----

    /// Takes in what the peer says (docs/wire W28, W30, W34).
    pub(crate) fn on_ack(&mut self, now: Instant, ack: &Acknowledgement<'_>) -> Acknowledged {
        let mut result = Acknowledged::default();
        let echoed = ack.echo.and_then(|echo| self.find(echo));
        let mut next = ack.next.filter(|&next| next >= self.base);
        // docs/wire W28: the original says 0 both for packet 0 and for nothing; it means packet 0 once
        // that is known to have arrived.
        if ack.one_is_unsure
            && next == Some(1)
            && self.base == 0
            && echoed.is_none_or(|index| self.transmissions[index].seq != 0)
            && self
                .slots
                .front()
                .is_none_or(|slot| slot.state != State::Arrived)
        {
            next = Some(0);
        }
        if next.is_some_and(|next| next > self.next) {
            // docs/wire W30: what acknowledges the unsent says nothing.
            result.is_impossible = true;
            return result;
        }
        let mut newest = None;
        if let Some(index) = echoed {
            newest = self.on_echo(now, index, next);
        }
        let mut delivered = newest.is_some();
        for &(first, end) in ack.ranges {
            for seq in first.max(self.base)..end.min(self.next) {
                delivered |= self.arrived(now, seq);
            }
        }
        if let Some(next) = next {
            self.widen(next, ack.window);
            while self.base < next {
                let seq = self.base;
                delivered |= self.arrived(now, seq);
                if let Some(slot) = self.slots.pop_front() {
                    self.acked_bytes = slot.cumulative;
                    self.buffered_bytes -= slot.data.len();
                }
                self.base += 1;
                result.advanced = true;
            }
        }
        if delivered || result.advanced {
            self.rto_backoff = 0;
            let is_open = self.flying_packets > 0 || !self.lost.is_empty();
            self.rto_at = is_open.then(|| now + self.rto());
        }
        self.detect_losses(now);
        self.forget();
        result
    }

    /// The peer answered this transmission: it has arrived, whatever else is missing.
    fn on_echo(&mut self, now: Instant, index: usize, next: Option<u64>) -> Option<u64> {
        let number = self.first_transmission + index as u64;
        let transmission = &mut self.transmissions[index];
        let (seq, retry, fate) = (transmission.seq, transmission.retry, transmission.fate);
        if fate == Fate::Arrived {
            return None;
        }
        transmission.fate = Fate::Arrived;
        let sample = now.saturating_duration_since(transmission.sent_at);
        if fate == Fate::Lost {
            // docs/wire W31: it was only late, and the next one that is as late is waited for.
            self.spurious += 1;
            self.rate.on_not_lost();
            let smoothed = self.rtt.smoothed().unwrap_or(sample);
            let late = sample.saturating_sub(self.patience());
            self.reordering = (self.reordering + late).min(smoothed);
        }
        self.add_rtt(now, sample);
        self.newest_arrived = self.newest_arrived.max(number);
        if retry == 0 && next.is_some_and(|next| next <= seq) {
            self.gap_reports = self.gap_reports.saturating_add(1);
        }
        self.arrived(now, seq).then_some(number)
    }

    /// Marks a packet as arrived; true if that was not known.
    fn arrived(&mut self, now: Instant, seq: u64) -> bool {
        let overhead = self.overhead;
        let Some(slot) = self.slot(seq) else {
            return false;
        };
        if matches!(slot.state, State::Arrived | State::Waiting) {
            return false;
        }
        let (was, number, sent) = (slot.state, slot.transmission, slot.sent);
        let len = slot.data.len() as u64 + overhead;
        slot.state = State::Arrived;
        if was == State::InFlight {
            self.flying_packets -= 1;
            self.flying_bytes -= len;
        } else {
            self.lost.remove(&seq);
        }
        if let Some(index) = number.checked_sub(self.first_transmission)
            && let Some(transmission) = self.transmissions.get_mut(index as usize)
        {
            let age = now.saturating_duration_since(transmission.sent_at);
            let least = self.rate.min_rtt().unwrap_or_default();
            // An answer sooner than any round trip is to an earlier transmission.
            if sent == 1 || age >= least {
                self.newest_arrived = self.newest_arrived.max(number);
            }
            if transmission.fate == Fate::Outstanding {
                transmission.fate = Fate::Arrived;
            }
            let (sent_at, snapshot) = (transmission.sent_at, transmission.snapshot);
            self.rate.on_delivered(now, len, sent_at, &snapshot);
        }
        true
    }

    /// docs/wire W34: the edge only ever moves out.
    fn widen(&mut self, next: u64, window: Option<(u64, u64)>) {
        let Some((messages, bytes)) = window else {
            return;
        };
        let covered = match next.checked_sub(self.base) {
            Some(0) => self.acked_bytes,
            Some(ahead) => {
                let index = usize::try_from(ahead - 1).unwrap_or(usize::MAX);
                self.slots
                    .get(index)
                    .map_or(self.acked_bytes, |slot| slot.cumulative)
            }
            None => return,
        };
        self.edge_messages = self.edge_messages.max(next.saturating_add(messages));
        self.edge_bytes = self.edge_bytes.max(covered.saturating_add(bytes));
    }

    pub(crate) fn add_rtt(&mut self, now: Instant, sample: Duration) {
        self.rtt.add(sample);
        self.rate.on_rtt(now, sample);
    }

    // ---- losses ----

    /// Finds what is lost: sent before something that has arrived, and not heard of for longer than
    /// a round trip and what the network is known to reorder (docs/wire W31).
    fn detect_losses(&mut self, now: Instant) {
        self.loss_at = None;
        let patience = self.patience() + self.reordering;
        if self.gap_reports < GAP_REPORTS {
            self.detect_first_loss(now, patience);
            return;
        }
        while self.undecided < self.newest_arrived {
            let index = (self.undecided - self.first_transmission) as usize;
            let Some(transmission) = self.transmissions.get(index) else {
                return;
            };
            if transmission.fate == Fate::Outstanding && self.is_current(self.undecided) {
                let due = transmission.sent_at + patience;
                if due > now {
                    self.loss_at = Some(due);
                    return;
                }
                self.lose(index);
            }
            self.undecided += 1;
        }
    }

    /// A peer that answers only what is in order says nothing about what follows a gap: only the
    /// first packet of which nothing is known is held to be lost.
    fn detect_first_loss(&mut self, now: Instant, patience: Duration) {
        let first = self.slots.iter().find(|slot| slot.state != State::Arrived);
        let Some((number, State::InFlight)) = first.map(|slot| (slot.transmission, slot.state))
        else {
            return;
        };
        if number >= self.newest_arrived || number < self.first_transmission {
            return;
        }
        let index = (number - self.first_transmission) as usize;
        let Some(transmission) = self.transmissions.get(index) else {
            return;
        };
        let due = transmission.sent_at + patience;
        if due <= now {
            self.lose(index);
        } else {
            self.loss_at = Some(due);
        }
    }

    fn lose(&mut self, index: usize) {
        let transmission = &mut self.transmissions[index];
        transmission.fate = Fate::Lost;
        let seq = transmission.seq;
        let overhead = self.overhead;
        if let Some(slot) = self.slot(seq)
            && slot.state == State::InFlight
        {
            let len = slot.data.len() as u64 + overhead;
            slot.state = State::Lost;
            self.flying_packets -= 1;
            self.flying_bytes -= len;
            self.lost.insert(seq);
            self.rate.on_lost();
        }
    }

    /// True if the packet was not sent again since.
    fn is_current(&self, number: u64) -> bool {
        let index = (number - self.first_transmission) as usize;
        let Some(transmission) = self.transmissions.get(index) else {
            return false;
        };
        transmission
            .seq
            .checked_sub(self.base)
            .and_then(|ahead| self.slots.get(usize::try_from(ahead).ok()?))
            .is_some_and(|slot| slot.transmission == number && slot.state == State::InFlight)
    }

    /// Nine eighths of a round trip, as QUIC waits.
    fn patience(&self) -> Duration {
        match self.rtt.smoothed() {
            Some(smoothed) => smoothed.max(self.rtt.latest()) * 9 / 8 + Duration::from_millis(1),
            None => INITIAL_RTO,
        }
    }

    /// True if packets were overdue.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.loss_at.is_some_and(|at| at <= now) {
            self.detect_losses(now);
        }
        if self.rto_at.is_none_or(|at| at > now) {
            return false;
        }
        // docs/wire W31: one packet, the first of which nothing is known; its answer tells the rest.
        let first = self
            .slots
            .iter()
            .position(|slot| slot.state != State::Arrived);
        let Some(index) = first.filter(|_| self.flying_packets + self.lost.len() > 0) else {
            self.rto_at = None;
            return false;
        };
        self.probe = Some(self.base + index as u64);
        self.rto_backoff = (self.rto_backoff + 1).min(16);
        self.rto_at = Some(now + self.backed_off_rto());
        self.overdue += 1;
        true
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.rto_at, self.loss_at, self.paced_until]
            .into_iter()
            .flatten()
            .min()
    }

    /// docs/wire W38, W39
    pub(crate) fn rto(&self) -> Duration {
        let timeout = match self.timing.model {
            RttModel::Smoothed => self.rtt.timeout().unwrap_or_else(|| {
                // The peer's own measurements serve as a first guess only.
                let guess = self.peer_rtt.filter(|peer| peer.samples > 0);
                guess.map_or(INITIAL_RTO, |peer| {
                    peer.estimate
                        .saturating_add(peer.deviation.saturating_mul(4))
                        .min(INITIAL_RTO)
                })
            }),
            RttModel::Original => self.rtt.original_timeout(self.peer_rtt),
        };
        timeout.clamp(self.timing.min_rto, self.timing.max_rto)
    }

    fn backed_off_rto(&self) -> Duration {
        self.rto()
            .saturating_mul(1 << self.rto_backoff)
            .min(self.timing.max_rto)
    }

    pub(crate) fn set_peer_rtt(&mut self, peer: PeerRtt) {
        if self.peer_rtt.is_none_or(|old| peer.samples > old.samples) {
            self.peer_rtt = Some(peer);
        }
    }

    /// The peer is known to answer every packet, in order or not.
    pub(crate) fn expect_gap_reports(&mut self) {
        self.gap_reports = GAP_REPORTS;
    }

    // ---- lookups ----

    fn slot(&mut self, seq: u64) -> Option<&mut Slot> {
        let ahead = seq.checked_sub(self.base)?;
        self.slots.get_mut(usize::try_from(ahead).ok()?)
    }

    /// The transmission that an echo names, if it is remembered.
    fn find(&self, echo: Echo) -> Option<usize> {
        match echo {
            Echo::Compact(number) => {
                let index = number.checked_sub(self.first_transmission)?;
                let index = usize::try_from(index).ok()?;
                (index < self.transmissions.len()).then_some(index)
            }
            Echo::Classic(wall, retry) => {
                // No two transmissions left at the same time (docs/wire W26).
                let wall = wall?;
                let index = self
                    .transmissions
                    .binary_search_by(|transmission| transmission.wall.cmp(&wall))
                    .ok()?;
                (i64::from(self.transmissions[index].retry) == retry).then_some(index)
            }
        }
    }

    /// Forgets decided transmissions beyond those that a late answer may still name.
    fn forget(&mut self) {
        let keep = HISTORY + 2 * self.slots.len();
        while self.transmissions.len() > keep {
            self.transmissions.pop_front();
            self.first_transmission += 1;
        }
        self.undecided = self.undecided.max(self.first_transmission);
    }

    // ---- figures ----

    pub(crate) fn figures(&self) -> Figures {
        Figures {
            flying_packets: self.flying_packets,
            unacknowledged: (self.next - self.base) as usize,
            edge_messages: self.edge_messages,
            edge_bytes: self.edge_bytes,
            acked_bytes: self.acked_bytes,
            sent_bytes: self.sent_bytes(),
            retransmissions: self.retransmissions,
            most_sent: self.most_sent,
            spurious: self.spurious,
            overdue: self.overdue,
            min_rtt: self.rate.min_rtt(),
            delivery_rate: self.rate.delivery_rate(),
            loss: self.rate.loss(),
        }
    }

    /// Data bytes up to the last packet that was ever sent.
    fn sent_bytes(&self) -> u64 {
        match self.next.checked_sub(self.base) {
            None | Some(0) => self.acked_bytes,
            Some(ahead) => self
                .slots
                .get((ahead - 1) as usize)
                .map_or(self.acked_bytes, |slot| slot.cumulative),
        }
    }

    pub(crate) fn rtt(&self) -> &RttEstimator {
        &self.rtt
    }
}

/// What the sending half counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) flying_packets: usize,
    pub(crate) unacknowledged: usize,
    pub(crate) edge_messages: u64,
    pub(crate) edge_bytes: u64,
    pub(crate) acked_bytes: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) retransmissions: u64,
    pub(crate) most_sent: u32,
    pub(crate) spurious: u64,
    pub(crate) overdue: u64,
    pub(crate) min_rtt: Option<Duration>,
    pub(crate) delivery_rate: f64,
    pub(crate) loss: f64,
}
