//! Which handlers are begun in the connection's own task.

use std::sync::atomic::{AtomicU8, Ordering};

/// Whether the handlers of a service are run at once, or in tasks of their own from the start.
///
/// A handler that computes for long before its first `.await` raises the score; every call lowers it
/// by one. So a service that is slow now and then, or a thread that lost the processor for a moment,
/// changes nothing, and one that is slow as a rule is tried at once only now and then.
#[derive(Debug, Default)]
pub(super) struct Pace(AtomicU8);

impl Pace {
    const SLOW_CALL: u8 = 32;
    const APART_FROM: u8 = 64;

    pub(super) fn runs_at_once(&self) -> bool {
        // Lost updates of tasks that race here do no harm.
        let score = self.0.load(Ordering::Relaxed);
        if score > 0 {
            self.0.store(score - 1, Ordering::Relaxed);
        }
        score < Self::APART_FROM
    }

    pub(super) fn was_slow(&self) {
        let score = self.0.load(Ordering::Relaxed);
        self.0
            .store(score.saturating_add(Self::SLOW_CALL), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_is_slow_as_a_rule_gets_tasks_of_its_own() {
        let pace = Pace::default();
        let at_once = (0..1000)
            .filter(|_| {
                let at_once = pace.runs_at_once();
                if at_once {
                    pace.was_slow();
                }
                at_once
            })
            .count();
        assert!(at_once < 50, "{at_once} of 1000");

        // One slow call in a hundred is an accident.
        let pace = Pace::default();
        for number in 0..1000 {
            assert!(pace.runs_at_once());
            if number % 100 == 0 {
                pace.was_slow();
            }
        }
    }
}
