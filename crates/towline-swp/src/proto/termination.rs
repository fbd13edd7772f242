//! Giving up on a peer that is alive but takes nothing.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Counts events, and tells when too many come within a time (docs/wire W43).
#[derive(Debug, Clone)]
pub(crate) struct TerminationLimit {
    limit: usize,
    window: Duration,
    events: VecDeque<Instant>,
}

impl TerminationLimit {
    pub(crate) fn new(limit: usize, window: Duration) -> Self {
        Self {
            limit,
            window,
            events: VecDeque::new(),
        }
    }

    /// Adds an event; true if the last `limit` events came within the window.
    pub(crate) fn add(&mut self, now: Instant) -> bool {
        if self.events.len() >= self.limit {
            self.events.pop_front();
        }
        self.events.push_back(now);
        self.events.len() >= self.limit
            && self
                .events
                .front()
                .is_some_and(|&first| now.saturating_duration_since(first) <= self.window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/wire W43
    #[test]
    fn the_check_sequence_of_the_original_holds() {
        #[expect(clippy::disallowed_methods, reason = "only differences to it matter")]
        let start = Instant::now();
        let mut limit = TerminationLimit::new(4, Duration::from_millis(2700));
        let times = [
            0, 1000, 2000, 3000, 3500, 4000, 10_000, 10_500, 11_000, 12_700,
        ];
        let over: Vec<bool> = times
            .iter()
            .map(|&millis| limit.add(start + Duration::from_millis(millis)))
            .collect();
        assert_eq!(
            over,
            [
                false, false, false, false, true, true, false, false, false, true
            ]
        );
    }
}
