//! What is lost, and when it is sent again (docs/wire W31, W38, W39).

use std::time::{Duration, Instant};

use super::{Fate, INITIAL_RTO, PeerRtt, RttModel, Sender, State, later};

/// Acknowledgements of packets beyond a gap that show that a peer sends such (docs/wire W31).
const GAP_REPORTS: u32 = 3;

impl Sender {
    /// Finds what is lost: sent before something that has arrived, and not heard of for longer than
    /// a round trip and what the network is known to reorder (docs/wire W31).
    pub(super) fn detect_losses(&mut self, now: Instant) {
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
    pub(super) fn patience(&self) -> Duration {
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
        self.rto_at = later(now, self.backed_off_rto());
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

    pub(super) fn backed_off_rto(&self) -> Duration {
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
}
