//! How much the peer may send, and when it is told.
//!
//! A stream's window is what its receiver is ready to hold: what it holds unread and what the peer
//! may still send come to no more. As the application reads, credit is *missing*; it is given back
//! when enough of it is missing to be worth a frame.
//!
//! yamux windows grow: when half a window is read within a few round trips, the window may be what holds
//! the peer up, and it is doubled (docs/wire Y44). The whole difference is given as credit at once. A
//! window that has grown gives back a quarter at a time, so that three quarters of it, less what is on
//! its way, keep the sender going.

use super::Dialect;

/// What is known of one stream's window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) size: u32,
    /// What the peer may still send.
    pub(crate) credit: u32,
    pub(crate) unread: u32,
}

impl Window {
    /// What the peer could be allowed and is not.
    pub(crate) const fn missing(self) -> u32 {
        self.size
            .saturating_sub(self.credit)
            .saturating_sub(self.unread)
    }

    /// True if it is time to give credit back.
    pub(crate) const fn is_due(self, dialect: Dialect, initial: u32) -> bool {
        let missing = self.missing();
        match dialect {
            // docs/wire Y38.
            Dialect::Yamux => missing > 0 && missing >= self.share(initial),
            // docs/wire U31: a peer with a smaller window than ours stalls long before half of ours
            // is used, but then has nothing on its way.
            Dialect::Muxado => missing > 0 && (missing >= self.size / 2 || self.unread == 0),
        }
    }

    const fn share(self, initial: u32) -> u32 {
        if self.size > initial {
            self.size / 4
        } else {
            self.size / 2
        }
    }

    /// The size that the window should grow to, if it should: what is missing was read within `age`;
    /// `round_trip` and `factor` as configured.
    pub(crate) fn grown(self, age: u32, round_trip: u32, factor: u32, max: u32) -> Option<u32> {
        let size = self.size.saturating_mul(2).min(max);
        // The time of half a window at the rate of what is missing.
        let half = u64::from(age) * u64::from(self.size / 2);
        let limit = u128::from(round_trip) * u128::from(factor) * u128::from(self.missing());
        (size > self.size && u128::from(half) < limit).then_some(size)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INITIAL: u32 = 256 << 10;

    /// docs/wire Y38: half a window, exactly.
    #[test]
    fn the_first_window_is_given_back_by_halves() {
        let window = |read| Window {
            size: INITIAL,
            credit: 0,
            unread: INITIAL - read,
        };
        assert!(!window(131_071).is_due(Dialect::Yamux, INITIAL));
        assert!(window(131_072).is_due(Dialect::Yamux, INITIAL));
        assert_eq!(window(131_072).missing(), 131_072);
    }

    #[test]
    fn a_grown_window_is_given_back_by_quarters() {
        let window = |read| Window {
            size: 4 * INITIAL,
            credit: 4 * INITIAL - read,
            unread: 0,
        };
        assert!(!window(INITIAL - 1).is_due(Dialect::Yamux, INITIAL));
        assert!(window(INITIAL).is_due(Dialect::Yamux, INITIAL));
    }

    /// docs/wire U31.
    #[test]
    fn an_emptied_buffer_gives_credit_back_in_muxado() {
        let window = Window {
            size: INITIAL,
            credit: INITIAL - 8,
            unread: 0,
        };
        assert!(window.is_due(Dialect::Muxado, INITIAL));
        let window = Window {
            unread: 1,
            credit: INITIAL - 8,
            ..window
        };
        assert!(!window.is_due(Dialect::Muxado, INITIAL));
    }

    proptest! {
        /// docs/wire Y44: doubles within the time alone, and never above the largest.
        #[test]
        fn windows_double_up_to_the_largest(
            size in 1_u32.., age: u32, round_trip: u32, factor in 0_u32..100, max: u32,
        ) {
            // Half of it is missing.
            let window = Window { size, credit: size - size / 2, unread: 0 };
            let in_time = u64::from(age) < u64::from(round_trip) * u64::from(factor);
            match window.grown(age, round_trip, factor, max) {
                Some(grown) => {
                    prop_assert!(grown > size && grown <= max && grown <= size.saturating_mul(2));
                    prop_assert!(in_time);
                }
                None => prop_assert!(max <= size || size == u32::MAX || size == 1 || !in_time),
            }
        }

        /// A quarter of a window in half the time says the same of the rate as half a window.
        #[test]
        fn what_counts_is_the_rate(age in 0_u32..1 << 30, round_trip: u32, factor in 0_u32..100) {
            let window = |missing: u32| Window { size: 1 << 20, credit: (1 << 20) - missing, unread: 0 };
            prop_assert_eq!(
                window(1 << 19).grown(age * 2, round_trip, factor, u32::MAX),
                window(1 << 18).grown(age, round_trip, factor, u32::MAX)
            );
        }

        /// Whatever is due, credit and unread bytes never come to more than the window.
        #[test]
        fn credit_never_exceeds_the_window(size: u32, credit: u32, unread: u32) {
            let window = Window { size, credit, unread };
            let after = u64::from(credit) + u64::from(unread) + u64::from(window.missing());
            prop_assert!(after <= u64::from(size).max(u64::from(credit) + u64::from(unread)));
        }
    }
}
