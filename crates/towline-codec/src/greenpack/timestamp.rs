//! Instants as greenpack carries them.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const NANOS_PER_SEC: i64 = 1_000_000_000;

/// An instant in wall time: whole seconds since 1970 and nanoseconds after them (docs/wire G7).
///
/// The zero instant of the original, the first of January of year 1, means "no time"; readers turn
/// it into `None` (docs/wire G25) and it is never written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
}

impl Timestamp {
    /// Seconds from 1970 to the original's zero instant.
    pub(crate) const ZERO_SECONDS: i64 = -62_135_596_800;

    /// The zero instant of the original: "no time".
    pub const ZERO: Self = Self {
        seconds: Self::ZERO_SECONDS,
        nanos: 0,
    };

    /// An instant from seconds since 1970 and nanoseconds, which may lie outside one second and are
    /// then carried (docs/wire G25). Saturates at the ends of the range.
    pub const fn new(seconds: i64, nanos: i64) -> Self {
        let carry = nanos.div_euclid(NANOS_PER_SEC);
        Self {
            seconds: seconds.saturating_add(carry),
            nanos: nanos.rem_euclid(NANOS_PER_SEC) as u32,
        }
    }

    /// Whole seconds since 1970; negative before it.
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds after the whole second, below 1,000,000,000.
    pub const fn nanos(self) -> u32 {
        self.nanos
    }

    /// The same instant as a `SystemTime`, if the platform can represent it.
    pub fn to_system_time(self) -> Option<SystemTime> {
        let whole = Duration::from_secs(self.seconds.unsigned_abs());
        let start = if self.seconds < 0 {
            UNIX_EPOCH.checked_sub(whole)
        } else {
            UNIX_EPOCH.checked_add(whole)
        };
        start?.checked_add(Duration::from_nanos(u64::from(self.nanos)))
    }

    /// This instant moved by a duration, saturating.
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Self {
        let seconds = i64::try_from(by.as_secs()).unwrap_or(i64::MAX);
        Self::new(
            self.seconds.saturating_add(seconds),
            i64::from(self.nanos) + i64::from(by.subsec_nanos()),
        )
    }
}

impl Timestamp {
    /// How long it is from `earlier` to this instant; zero if this one is not later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        if self <= earlier {
            return Duration::ZERO;
        }
        let seconds = self.seconds.abs_diff(earlier.seconds);
        let nanos = u64::from(self.nanos);
        match nanos.checked_sub(u64::from(earlier.nanos)) {
            Some(nanos) => Duration::new(seconds, nanos as u32),
            None => Duration::new(seconds - 1, (nanos + 1_000_000_000) as u32 - earlier.nanos),
        }
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self::new(
                i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
                i64::from(after.subsec_nanos()),
            ),
            Err(error) => {
                let before = error.duration();
                Self::new(
                    -i64::try_from(before.as_secs()).unwrap_or(i64::MAX),
                    -i64::from(before.subsec_nanos()),
                )
            }
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.seconds, self.nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_are_carried_and_borrowed() {
        assert_eq!(
            Timestamp::new(1, 2_147_483_647),
            Timestamp::new(3, 147_483_647)
        );
        assert_eq!(Timestamp::new(5, -1), Timestamp::new(4, 999_999_999));
    }

    #[test]
    fn times_before_1970_survive_the_way_through_system_time() {
        let time = Timestamp::new(-1, 500);
        let system = time.to_system_time().expect("within the platform's range");
        assert_eq!(Timestamp::from(system), time);
    }

    #[test]
    fn the_time_between_two_instants_is_exact() {
        let (early, late) = (
            Timestamp::new(-3, 900_000_000),
            Timestamp::new(5, 100_000_000),
        );
        assert_eq!(late.saturating_since(early), Duration::from_millis(7200));
        assert_eq!(early.saturating_since(late), Duration::ZERO);
        let (first, last) = (Timestamp::new(i64::MIN, 1), Timestamp::new(i64::MAX, 0));
        assert_eq!(
            last.saturating_since(first),
            Duration::new(u64::MAX - 1, 999_999_999)
        );
    }

    #[test]
    fn extreme_values_do_not_panic() {
        assert_eq!(Timestamp::new(i64::MAX, i64::MAX).seconds(), i64::MAX);
        let _ = Timestamp::new(i64::MIN, i64::MIN).to_system_time();
    }
}
