//! What an engine waits for.

use std::time::Instant;

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

#[derive(Debug, Default)]
pub(crate) struct Timers([Option<Instant>; ALL.len()]);

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        self.0[timer as usize] = Some(at);
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
