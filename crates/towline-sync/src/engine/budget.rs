//! The bandwidth limit.

use std::time::{Duration, Instant};

/// Smallest amount that may go at once, in bytes: pieces of files are as large.
const LEAST_BURST: u64 = 256 << 10;

/// A token bucket: so many bytes a second, and what was saved in the last quarter of a second.
///
/// ```
/// use std::time::{Duration, Instant};
/// use towline_sync::engine::Bucket;
///
/// # #[expect(clippy::disallowed_methods, reason = "an example has to start somewhere")]
/// let now = Instant::now();
/// let mut bucket = Bucket::new(4 << 20);
/// assert_eq!(bucket.ready(now), None);
/// bucket.take(5 << 20);
/// assert_eq!(bucket.ready(now), Some(now + Duration::from_secs(1)));
/// ```
#[derive(Debug, Clone)]
pub struct Bucket {
    rate: u64,
    burst: i64,
    tokens: i64,
    filled: Option<Instant>,
}

impl Bucket {
    /// A full bucket of this rate, in bytes a second; at least 1.
    pub fn new(rate: u64) -> Self {
        let rate = rate.clamp(1, i64::MAX as u64 / 4);
        let burst = (rate / 4).max(LEAST_BURST) as i64;
        Self {
            rate,
            burst,
            tokens: burst,
            filled: None,
        }
    }

    /// When something may go next; `None` for now.
    pub fn ready(&mut self, now: Instant) -> Option<Instant> {
        let since = self
            .filled
            .map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        let gained = since.as_nanos().saturating_mul(self.rate.into()) / 1_000_000_000;
        if gained > 0 || self.filled.is_none() {
            self.filled = Some(now);
        }
        let gained = i64::try_from(gained).unwrap_or(i64::MAX);
        self.tokens = self.tokens.saturating_add(gained).min(self.burst);
        if self.tokens >= 0 {
            return None;
        }
        let missing = self.tokens.unsigned_abs();
        let wait = u128::from(missing) * 1_000_000_000 / u128::from(self.rate);
        Some(now + Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX).max(1)))
    }

    /// So many bytes go. More than there are is lent, and waited for afterwards.
    pub fn take(&mut self, bytes: u64) {
        self.tokens = self.tokens.saturating_sub_unsigned(bytes);
    }
}
