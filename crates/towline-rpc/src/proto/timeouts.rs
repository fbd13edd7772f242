//! When calls end for want of a reply.

use std::{collections::VecDeque, time::Instant};

/// Deadlines of calls, the earliest first.
///
/// Nearly all calls of a connection have the same time limit and end in about the order they began
/// in, so a queue beats a tree: a deadline goes to the back, and one whose call has ended is
/// dropped when it comes to the front. A call that outlives many others cannot make the queue grow
/// beyond twice the calls that are open.
#[derive(Debug, Default)]
pub(crate) struct Timeouts {
    queue: VecDeque<(Instant, u64)>,
}

/// Below this many entries, ended calls among them are not worth looking for.
const SMALL: usize = 64;

impl Timeouts {
    pub(crate) fn insert(&mut self, deadline: Instant, seqno: u64) {
        let at = match self.queue.back() {
            Some(&(last, _)) if last > deadline => {
                self.queue.partition_point(|&(other, _)| other <= deadline)
            }
            _ => self.queue.len(),
        };
        self.queue.insert(at, (deadline, seqno));
    }

    /// Forgets calls that are not among the `open` calls any more.
    pub(crate) fn forget_ended(&mut self, open: usize, is_open: impl Fn(u64) -> bool) {
        while let Some(&(_, seqno)) = self.queue.front()
            && !is_open(seqno)
        {
            self.queue.pop_front();
        }
        if self.queue.len() > SMALL + 2 * open {
            self.queue.retain(|&(_, seqno)| is_open(seqno));
        }
    }

    pub(crate) fn first(&self) -> Option<(Instant, u64)> {
        self.queue.front().copied()
    }

    pub(crate) fn pop(&mut self) {
        self.queue.pop_front();
    }

    pub(crate) fn clear(&mut self) {
        self.queue.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_earliest_open_deadline_comes_first(
            operations in proptest::collection::vec((0..50_u64, any::<bool>()), 1..300)
        ) {
            #[expect(clippy::disallowed_methods, reason = "any instant will do")]
            let start = Instant::now();
            let mut timeouts = Timeouts::default();
            let mut open = BTreeSet::new();
            let mut model = BTreeSet::new();
            for (number, (millis, end)) in operations.into_iter().enumerate() {
                let seqno = number as u64;
                let deadline = start + Duration::from_millis(millis);
                timeouts.insert(deadline, seqno);
                open.insert(seqno);
                model.insert((deadline, seqno));
                if end && let Some(&ended) = open.iter().nth(open.len() / 2) {
                    open.remove(&ended);
                    model.retain(|&(_, seqno)| seqno != ended);
                    timeouts.forget_ended(open.len(), |seqno| open.contains(&seqno));
                }
                let first = timeouts.first().map(|(deadline, _)| deadline);
                prop_assert_eq!(first, model.first().map(|&(deadline, _)| deadline));
                prop_assert!(timeouts.queue.len() <= SMALL + 2 * open.len() + 1);
            }
        }
    }
}
