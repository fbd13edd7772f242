//! How fast to send: as fast as packets are delivered (docs/wire W32).
//!
//! A bus and a lossy link lose packets without being congested, so loss alone does not slow the
//! sender. It measures the rate at which packets are delivered, divides by the share that arrives
//! even when nothing queues, and sends at that rate; from time to time it tries a higher one. Packets
//! in flight are bounded by twice what the rate puts on the path in the least round trip.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Packets that may be in flight before anything is known.
const INITIAL_PACKETS: u64 = 10;
/// Packets below this size count as this much: a few small ones must not wait for one another.
const SMALL_PACKET: u64 = 1500;
/// Growth per round trip while the capacity is not known: enough to double.
const STARTUP_GAIN: f64 = 2.77;
/// One round trip above the measured rate, one below, six at it.
const CYCLE: [f64; 8] = [1.25, 0.8, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
/// Rounds over which the highest delivery rate and the lowest loss are remembered.
const ROUNDS: usize = 10;
/// Fewer packets than this say nothing about the loss of a round.
const LEAST_SAMPLE: u64 = 20;
/// The least round trip is forgotten after this long.
const MIN_RTT_AGE: Duration = Duration::from_secs(10);
/// What may leave at once to make up for a timer that fired late.
const BURST: Duration = Duration::from_millis(2);
/// What the receiver and the scheduler may hold back acknowledgements.
const HOLDUP: Duration = Duration::from_millis(10);

/// What a transmission remembers of the moment it left, for the rate sample its acknowledgement gives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Snapshot {
    delivered: u64,
    delivered_at: Instant,
    first_sent: Instant,
    is_limited: bool,
}

#[derive(Debug)]
pub(crate) struct Rate {
    /// Bytes delivered so far.
    delivered: u64,
    delivered_at: Instant,
    first_sent: Instant,
    /// The round ends when a transmission is acknowledged that left after this much was delivered.
    round_end: u64,
    round: u64,
    delivered_packets_in_round: u64,
    lost_packets_in_round: u64,
    /// Highest delivery rates in bytes a second, by round.
    rates: VecDeque<(u64, f64)>,
    /// Shares of packets lost, by round.
    losses: VecDeque<f64>,
    min_rtt: Option<(Duration, Instant)>,
    startup: Option<Startup>,
    /// Place in [`CYCLE`], and when it was taken.
    phase: usize,
    phase_at: Instant,
    /// When the next packet may leave.
    credit_at: Instant,
    /// True while the application or the peer's window, not the rate, holds the sender back.
    is_limited: bool,
}

#[derive(Debug, Clone, Copy)]
struct Startup {
    best: f64,
    rounds_without_growth: u32,
}

impl Rate {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            delivered: 0,
            delivered_at: now,
            first_sent: now,
            round_end: 0,
            round: 0,
            delivered_packets_in_round: 0,
            lost_packets_in_round: 0,
            rates: VecDeque::new(),
            losses: VecDeque::new(),
            min_rtt: None,
            startup: Some(Startup {
                best: 0.0,
                rounds_without_growth: 0,
            }),
            phase: 2,
            phase_at: now,
            credit_at: now,
            is_limited: true,
        }
    }

    /// A packet leaves.
    pub(crate) fn on_send(&mut self, now: Instant, len: u64, in_flight: u64) -> Snapshot {
        if in_flight == 0 {
            self.first_sent = now;
            self.delivered_at = now;
        }
        if let Some(rate) = self.pacing_rate() {
            let from = self.credit_at.max(now.checked_sub(BURST).unwrap_or(now));
            self.credit_at = from + Duration::from_secs_f64((len as f64 / rate).min(1.0));
        }
        Snapshot {
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent: self.first_sent,
            is_limited: self.is_limited,
        }
    }

    /// Whether the rate is what the sender makes of the path, or less because it had nothing to send
    /// or no window to send into.
    pub(crate) fn set_limited(&mut self, is_limited: bool) {
        self.is_limited = is_limited;
    }

    /// A packet was delivered; `snapshot` is of the transmission that was.
    pub(crate) fn on_delivered(
        &mut self,
        now: Instant,
        len: u64,
        sent_at: Instant,
        snapshot: &Snapshot,
    ) {
        self.delivered += len;
        self.delivered_at = now;
        self.delivered_packets_in_round += 1;
        // docs/wire W32: neither faster than it was sent nor than it was acknowledged.
        let sending = sent_at.saturating_duration_since(snapshot.first_sent);
        let arriving = now.saturating_duration_since(snapshot.delivered_at);
        self.first_sent = self.first_sent.max(sent_at);
        let elapsed = sending.max(arriving);
        if self.min_rtt.is_some_and(|(least, _)| elapsed >= least) && !elapsed.is_zero() {
            let rate = (self.delivered - snapshot.delivered) as f64 / elapsed.as_secs_f64();
            if !snapshot.is_limited || rate > self.delivery_rate() {
                self.add_rate(rate);
            }
        }
        if snapshot.delivered >= self.round_end {
            self.end_round();
        }
    }

    /// A packet is held to be lost.
    pub(crate) fn on_lost(&mut self) {
        self.lost_packets_in_round += 1;
    }

    /// A packet that was held to be lost had arrived.
    pub(crate) fn on_not_lost(&mut self) {
        self.lost_packets_in_round = self.lost_packets_in_round.saturating_sub(1);
    }

    pub(crate) fn on_rtt(&mut self, now: Instant, rtt: Duration) {
        let renew = self.min_rtt.is_none_or(|(least, at)| {
            rtt <= least || now.saturating_duration_since(at) > MIN_RTT_AGE
        });
        if renew {
            self.min_rtt = Some((rtt.max(Duration::from_micros(10)), now));
        }
    }

    pub(crate) fn min_rtt(&self) -> Option<Duration> {
        self.min_rtt.map(|(least, _)| least)
    }

    /// When the next packet may leave.
    pub(crate) fn credit_at(&self) -> Instant {
        self.credit_at
    }

    /// Moves on in the cycle of higher and lower rates.
    pub(crate) fn advance(&mut self, now: Instant) {
        if self.startup.is_some() {
            return;
        }
        let Some((min_rtt, _)) = self.min_rtt else {
            return;
        };
        if now.saturating_duration_since(self.phase_at) >= min_rtt {
            self.phase = (self.phase + 1) % CYCLE.len();
            self.phase_at = now;
        }
    }

    /// Bytes that may be in flight when packets are `packet` bytes long.
    pub(crate) fn window(&self, packet: u64) -> u64 {
        let least = packet.max(SMALL_PACKET).saturating_mul(INITIAL_PACKETS);
        let (Some(rate), Some((min_rtt, _))) = (self.sending_rate(), self.min_rtt) else {
            return least;
        };
        let gain = if self.startup.is_some() {
            STARTUP_GAIN
        } else {
            2.0
        };
        let path = rate * (min_rtt.as_secs_f64() * gain + HOLDUP.as_secs_f64());
        (path as u64).max(least)
    }

    /// The rate at which packets leave, in bytes a second; `None` while nothing was measured.
    pub(crate) fn pacing_rate(&self) -> Option<f64> {
        let gain = if self.startup.is_some() {
            STARTUP_GAIN
        } else {
            CYCLE[self.phase]
        };
        Some(self.sending_rate()? * gain)
    }

    /// The highest delivery rate of the last rounds, in bytes a second.
    pub(crate) fn delivery_rate(&self) -> f64 {
        self.rates.front().map_or(0.0, |&(_, rate)| rate)
    }

    /// The share of packets that is lost even when nothing queues.
    pub(crate) fn loss(&self) -> f64 {
        let least = self.losses.iter().copied().fold(1.0, f64::min);
        if self.losses.is_empty() {
            0.0
        } else {
            least.min(0.5)
        }
    }

    /// What must be sent so that the measured rate is delivered.
    fn sending_rate(&self) -> Option<f64> {
        let rate = self.delivery_rate();
        (rate > 0.0).then(|| (rate / (1.0 - self.loss())).max(1000.0))
    }

    /// Keeps the highest rates in falling order, so that the first is the highest of all that are
    /// not too old.
    fn add_rate(&mut self, rate: f64) {
        while self.rates.back().is_some_and(|&(_, last)| last <= rate) {
            self.rates.pop_back();
        }
        self.rates.push_back((self.round, rate));
    }

    fn end_round(&mut self) {
        self.round += 1;
        self.round_end = self.delivered;
        let packets = self.delivered_packets_in_round + self.lost_packets_in_round;
        if packets >= LEAST_SAMPLE {
            if self.losses.len() == ROUNDS {
                self.losses.pop_front();
            }
            self.losses
                .push_back(self.lost_packets_in_round as f64 / packets as f64);
            self.delivered_packets_in_round = 0;
            self.lost_packets_in_round = 0;
        }
        // The highest rate is forgotten after ten rounds, unless it is the only one.
        while self.rates.len() > 1
            && self
                .rates
                .front()
                .is_some_and(|&(round, _)| round + (ROUNDS as u64) < self.round)
        {
            self.rates.pop_front();
        }
        let rate = self.delivery_rate();
        if let Some(startup) = &mut self.startup {
            if rate > startup.best * 1.25 {
                startup.best = rate;
                startup.rounds_without_growth = 0;
            } else if !self.is_limited {
                startup.rounds_without_growth += 1;
                if startup.rounds_without_growth >= 3 {
                    self.startup = None;
                    // What startup has queued on the path drains first.
                    self.phase = 1;
                }
            }
        }
    }
}
