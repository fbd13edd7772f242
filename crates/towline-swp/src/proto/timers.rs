//! What an engine waits for.

use std::time::{Duration, Instant};

/// What is due at a time. The sending half has its own (time-outs of packets, pacing).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Send the handshake packet again.
    Handshake,
    /// Connecting has taken too long.
    ConnectLimit,
    /// Answer what came in order.
    AckDelay,
    /// Give a sign of life.
    KeepAlive,
    /// Send the FIN again.
    Fin,
    /// Closing has taken too long.
    Linger,
    /// Answer repeated FINs no longer.
    TimeWait,
}

const ALL: [Timer; 7] = [
    Timer::Handshake,
    Timer::ConnectLimit,
    Timer::AckDelay,
    Timer::KeepAlive,
    Timer::Fin,
    Timer::Linger,
    Timer::TimeWait,
];

/// A wait of this and more is never over: clocks cannot add every duration to the present.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// When a wait is over; `None` if never.
pub(crate) fn later(now: Instant, wait: Duration) -> Option<Instant> {
    if wait < NEVER {
        now.checked_add(wait)
    } else {
        None
    }
}

#[derive(Debug, Default)]
pub(crate) struct Timers([Option<Instant>; ALL.len()]);

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        self.0[timer as usize] = Some(at);
    }

    /// Has a timer run out after a wait; one that is never over leaves it off.
    pub(crate) fn set_after(&mut self, timer: Timer, now: Instant, wait: Duration) {
        self.0[timer as usize] = later(now, wait);
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    pub(crate) fn stop_all(&mut self) {
        self.0 = [None; ALL.len()];
    }

    pub(crate) fn get(&self, timer: Timer) -> Option<Instant> {
        self.0[timer as usize]
    }

    /// A timer that has run out, which is stopped by that.
    pub(crate) fn expired(&mut self, now: Instant) -> Option<Timer> {
        let timer = ALL
            .into_iter()
            .find(|&timer| self.get(timer).is_some_and(|at| at <= now))?;
        self.stop(timer);
        Some(timer)
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }
}
