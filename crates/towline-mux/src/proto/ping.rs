//! Pings: who wants one, which are on their way, and what their answers tell.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::Event;

/// Round trips measured in a row when a session begins: the first has both ends' start in it.
const AT_THE_START: u8 = 3;
/// The application's pings on their way at a time; one more shares the last one's answer.
const MOST: usize = 64;

/// What a ping is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The round trip.
    Measure,
    /// To see whether the peer lives.
    KeepAlive,
    /// The application, which knows it by this number.
    User(u64),
    /// To know that the peer has read everything before it.
    Close,
}

#[derive(Debug)]
struct Ping {
    value: u32,
    purpose: Purpose,
    wanted: Instant,
    sent: Option<Instant>,
}

#[derive(Debug)]
pub(crate) struct Pings {
    /// In the order in which they were wanted.
    pings: VecDeque<Ping>,
    unsent: usize,
    next_value: u32,
    next_number: u64,
    rtt: Option<Duration>,
    base: Option<Duration>,
    measured: Option<Instant>,
    /// Measurements of the start that are still to be made.
    at_start: u8,
}

impl Pings {
    /// `measure`: the round trip is measured at once.
    pub(crate) const fn new(measure: bool) -> Self {
        Self {
            pings: VecDeque::new(),
            unsent: 0,
            next_value: 0,
            next_number: 0,
            rtt: None,
            base: None,
            measured: None,
            at_start: if measure { AT_THE_START } else { 0 },
        }
    }

    pub(crate) const fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// The round trip of the path, without what waits in queues on it: the shortest that was measured.
    /// Longer ones count little by little, as a path may change.
    pub(crate) const fn base(&self) -> Option<Duration> {
        self.base
    }

    pub(crate) const fn measured(&self) -> Option<Instant> {
        self.measured
    }

    pub(crate) const fn has_unsent(&self) -> bool {
        self.unsent > 0 || self.at_start == AT_THE_START
    }

    pub(crate) fn want(&mut self, now: Instant, purpose: Purpose) {
        self.pings.push_back(Ping {
            value: self.next_value,
            purpose,
            wanted: now,
            sent: None,
        });
        self.unsent += 1;
        self.next_value = self.next_value.wrapping_add(1);
    }

    /// A ping of the application's; its number.
    pub(crate) fn want_for_user(&mut self, now: Instant) -> u64 {
        let mut users = self.pings.iter().filter_map(|ping| match ping.purpose {
            Purpose::User(number) => Some((number, ping.sent.is_none())),
            _ => None,
        });
        // One that has not left serves both; one that has left answers for what was before it.
        let count = users.clone().count();
        if let Some((number, unsent)) = users.next_back()
            && (unsent || count >= MOST)
        {
            return number;
        }
        let number = self.next_number;
        self.next_number += 1;
        self.want(now, Purpose::User(number));
        number
    }

    /// True if there is one for this purpose.
    pub(crate) fn has(&self, purpose: Purpose) -> bool {
        self.pings.iter().any(|ping| ping.purpose == purpose)
    }

    /// The value of the next ping to send.
    pub(crate) fn next_unsent(&mut self, now: Instant) -> Option<u32> {
        if self.at_start == AT_THE_START {
            self.at_start -= 1;
            self.want(now, Purpose::Measure);
        }
        if self.unsent == 0 {
            return None;
        }
        let ping = self.pings.iter_mut().find(|ping| ping.sent.is_none())?;
        ping.sent = Some(now);
        self.unsent -= 1;
        if ping.purpose == Purpose::Measure {
            self.measured = Some(now);
        }
        Some(ping.value)
    }

    /// An answer came. True if it is the one that a close waits for; nothing if nobody asked.
    pub(crate) fn answered(
        &mut self,
        now: Instant,
        value: u32,
        events: &mut VecDeque<Event>,
    ) -> Option<bool> {
        let at = self
            .pings
            .iter()
            .position(|ping| ping.value == value && ping.sent.is_some())?;
        let ping = self.pings.remove(at)?;
        let took = now.saturating_duration_since(ping.sent?);
        self.note_round_trip(took);
        if ping.purpose == Purpose::Measure && self.at_start > 0 {
            self.at_start -= 1;
            self.want(now, Purpose::Measure);
        }
        if let Purpose::User(number) = ping.purpose {
            events.push_back(Event::Pong(number, took));
        }
        Some(ping.purpose == Purpose::Close)
    }

    fn note_round_trip(&mut self, took: Duration) {
        self.rtt = Some(self.rtt.map_or(took, |old| (old + took) / 2));
        self.base = Some(match self.base {
            // Behind data a ping measures the queues, and larger windows make them longer.
            Some(base) if took > base => took.min(base + base / 32),
            _ => took,
        });
    }

    /// Something came: the peer lives, whatever became of the ping that was to show it.
    pub(crate) fn note_life(&mut self) {
        if let Some(at) = self
            .pings
            .iter()
            .position(|ping| ping.purpose == Purpose::KeepAlive)
            && let Some(ping) = self.pings.get_mut(at)
        {
            // Its answer is still awaited, to be told from one that nobody asked for.
            ping.purpose = Purpose::Measure;
        }
    }

    /// When the first of them is lost, if it is not answered before.
    pub(crate) fn deadline(&self, timeout: Duration) -> Option<Instant> {
        let ping = self.pings.get(self.first()?)?;
        Some(ping.sent.unwrap_or(ping.wanted) + timeout)
    }

    /// Takes the purpose of a ping that is lost by now.
    pub(crate) fn lost(&mut self, now: Instant, timeout: Duration) -> Option<Purpose> {
        if self.deadline(timeout)? > now {
            return None;
        }
        let ping = self.pings.remove(self.first()?)?;
        if ping.sent.is_none() {
            self.unsent -= 1;
        }
        Some(ping.purpose)
    }

    /// The oldest that can be lost: closing has a time-out of its own.
    fn first(&self) -> Option<usize> {
        self.pings
            .iter()
            .position(|ping| ping.purpose != Purpose::Close)
    }

    pub(crate) fn clear(&mut self) {
        self.pings.clear();
        self.unsent = 0;
        self.at_start = 0;
    }
}
