//! Signs of life, the peer's and ours (docs/wire W41, W42).

use std::time::{Duration, Instant};

use super::{CloseReason, Engine};
use crate::proto::timers::{Timer, later};

impl Engine {
    /// docs/wire W41: after an interval without anything that the peer answers; sooner while the
    /// peer's window keeps packets here and nothing in flight will open it.
    pub(super) fn keep_alive_interval(&self) -> Duration {
        let interval = self.config.keep_alive_interval;
        if self.sender.is_blocked() {
            let probe = self
                .sender
                .rto()
                .saturating_mul(1 << self.probe_backoff.min(16));
            interval.min(probe)
        } else {
            interval
        }
    }

    pub(super) fn watch_window(&mut self, now: Instant) {
        if self.is_connected() && self.sender.is_blocked() {
            let at = later(now, self.keep_alive_interval());
            let set = self.timers.get(Timer::KeepAlive);
            if let Some(at) = at.filter(|&at| set.is_none_or(|set| set > at)) {
                self.timers.set(Timer::KeepAlive, at);
            }
        }
    }

    pub(super) fn give_sign_of_life(&mut self, now: Instant) {
        if !self.is_connected() {
            return;
        }
        let is_blocked = self.sender.is_blocked();
        let Some(due) = later(self.elicited_at, self.keep_alive_interval()) else {
            return;
        };
        if is_blocked || due <= now {
            self.probe_backoff = if is_blocked {
                self.probe_backoff + 1
            } else {
                0
            };
            self.due.keep_alive = true;
            let wait = self.keep_alive_interval();
            self.timers.set_after(Timer::KeepAlive, now, wait);
        } else {
            self.timers.set(Timer::KeepAlive, due);
        }
    }

    pub(super) fn peer_deadline(&self) -> Option<Instant> {
        let failed = self.config.failed_keep_alives?;
        // docs/wire W42: nobody is missed before there was somebody.
        self.established_at?;
        let interval = self.config.keep_alive_interval;
        later(self.heard_at, interval.saturating_mul(failed.max(1)))
    }

    pub(super) fn overdue_peer(&self, now: Instant) -> Option<CloseReason> {
        let deadline = self.peer_deadline()?;
        (self.reason.is_none() && deadline <= now)
            .then(|| CloseReason::PeerTimeout(now.saturating_duration_since(self.heard_at)))
    }
}
