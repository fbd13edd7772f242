//! What the peer's packets say about ours (docs/wire W28, W30, W34).

use std::time::{Duration, Instant};

use super::{Echo, Fate, Sender, State, later};

/// Acknowledged transmissions that are remembered beyond twice the packets in flight: a late answer
/// to one that was held to be lost shows how far the network reorders.
const HISTORY: usize = 1024;

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

impl Sender {
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
            self.rto_at = later(now, self.rto()).filter(|_| is_open);
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
}
