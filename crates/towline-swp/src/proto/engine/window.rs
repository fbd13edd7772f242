//! What is acknowledged and what room there is for more (docs/wire W33, W35 to W37).

use std::time::Instant;

use super::Engine;
use crate::proto::{config::AckMode, timers::Timer};

impl Engine {
    /// The first packet that is not acknowledged to the peer (docs/wire W27, W37).
    pub(super) fn ack_next(&self) -> u64 {
        match self.config.ack_mode {
            AckMode::OnReceive => self.receiver.next(),
            AckMode::OnConsume => self.receiver.consumed(),
        }
    }

    /// The window to advertise: messages and bytes that may follow `ack_next` (docs/wire W33, W35).
    pub(super) fn window(&self) -> (u64, u64) {
        let (messages, bytes) = self.receiver.window_after(self.ack_next());
        if self.is_compact || self.peer.is_towline {
            return (messages, bytes);
        }
        let clamp = u64::try_from(self.peer.largest_window).unwrap_or(0).max(1);
        (messages.min(clamp), bytes)
    }

    /// The application has taken something: acknowledge it, or tell of the room (docs/wire W36, W37).
    pub(super) fn consumed(&mut self, now: Instant) {
        if self.reason.is_some() {
            return;
        }
        if self.config.ack_mode == AckMode::OnConsume {
            if let Some(echo) = self.receiver.consumed_echo()
                && self.receiver.consumed() > self.stats.consumed
            {
                self.unanswered = Some(echo);
                self.unanswered_count += 1;
                if self.timers.get(Timer::AckDelay).is_none() {
                    self.timers.set(Timer::AckDelay, now);
                }
            }
            self.stats.consumed = self.receiver.consumed();
            // The end may have waited for this.
            self.advance_close(now);
            return;
        }
        self.stats.consumed = self.receiver.consumed();
        self.update_window();
    }

    /// Tells the peer of room when there is a quarter of the window more than it knows of, or when it
    /// knows of none (docs/wire W36).
    pub(super) fn update_window(&mut self) {
        let (messages, bytes) = self.window();
        let edge = self.ack_next() + messages;
        let bytes_edge = self.receiver.received_bytes() + bytes;
        let known = self.advertised.0.saturating_sub(self.receiver.next());
        let known_bytes = self
            .advertised
            .1
            .saturating_sub(self.receiver.received_bytes());
        let more = edge.saturating_sub(self.advertised.0);
        let more_bytes = bytes_edge.saturating_sub(self.advertised.1);
        let window = u64::from(self.config.window_messages).min(self.clamp());
        if (more > 0 && (known == 0 || more >= window.div_ceil(4)))
            || (more_bytes > 0 && (known_bytes == 0 || more_bytes >= self.config.window_bytes / 4))
        {
            self.due.update = true;
        }
    }

    pub(super) fn clamp(&self) -> u64 {
        if self.is_compact || self.peer.is_towline {
            u64::MAX
        } else {
            u64::try_from(self.peer.largest_window).unwrap_or(0).max(1)
        }
    }

    /// What came in order is answered without waiting for more.
    pub(super) fn answer_in_order(&mut self) {
        self.timers.stop(Timer::AckDelay);
        if let Some(echo) = self.unanswered.take() {
            self.unanswered_count = 0;
            self.receiver.push_echo(echo);
            self.ack_now = true;
        }
    }
}
