//! When to connect again.

use std::time::{Duration, Instant};

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// How a client connects again: after ever longer times, each drawn at random so that the clients of a server that was
/// away do not all come back at once.
///
/// ```
/// use std::time::Duration;
/// use towline_rpc::proto::ReconnectPolicy;
///
/// let policy = ReconnectPolicy::default().first(Duration::from_millis(50)).attempts(Some(20));
/// assert!(policy.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconnectPolicy {
    first: Duration,
    cap: Duration,
    attempts: Option<u32>,
    healthy_after: Duration,
}

/// A policy whose numbers contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReconnectPolicyError {
    /// The first wait is longer than the longest.
    #[error(
        "the first wait, {first:?}, is longer than the cap, {cap:?}: lower one or raise the other"
    )]
    FirstAboveCap {
        /// [`ReconnectPolicy::first`].
        first: Duration,
        /// [`ReconnectPolicy::cap`].
        cap: Duration,
    },
    /// Without a wait a server that is down would be dialled without pause.
    #[error(
        "the first wait is {0:?}: it must be above zero, or a server that is down is dialled without pause"
    )]
    NoWait(Duration),
    /// No attempt is allowed.
    #[error("the limit of attempts is {0}: it must be at least 1, or none")]
    NoAttempts(u32),
}

impl Default for ReconnectPolicy {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            cap: Duration::from_secs(30),
            attempts: None,
            healthy_after: Duration::from_secs(10),
        }
    }
}

impl ReconnectPolicy {
    /// About how long the first wait is; each further one is twice as long. Default: 100 ms. A wait is drawn between half
    /// of this and all of it.
    #[must_use]
    pub const fn first(mut self, wait: Duration) -> Self {
        self.first = wait;
        self
    }

    /// The longest wait. Default: 30 s. It is how late a server that was away for long is noticed to be back.
    #[must_use]
    pub const fn cap(mut self, wait: Duration) -> Self {
        self.cap = wait;
        self
    }

    /// After so many failures in a row no more is tried. Default: none, for ever.
    #[must_use]
    pub const fn attempts(mut self, attempts: Option<u32>) -> Self {
        self.attempts = attempts;
        self
    }

    /// How long a connection must have lived for its end to begin the waits anew. Default: 10 s. A server that accepts and
    /// hangs up at once is thus not dialled ever faster.
    #[must_use]
    pub const fn healthy_after(mut self, time: Duration) -> Self {
        self.healthy_after = time;
        self
    }

    /// Whether the numbers fit together. Whatever takes a policy calls this.
    ///
    /// # Errors
    ///
    /// [`ReconnectPolicyError`] names both numbers.
    pub const fn validate(&self) -> Result<(), ReconnectPolicyError> {
        let Self { first, cap, .. } = *self;
        if first.is_zero() {
            return Err(ReconnectPolicyError::NoWait(first));
        }
        if first.as_nanos() > cap.as_nanos() {
            return Err(ReconnectPolicyError::FirstAboveCap { first, cap });
        }
        if let Some(attempts @ 0) = self.attempts {
            return Err(ReconnectPolicyError::NoAttempts(attempts));
        }
        Ok(())
    }
}

/// The waits of one connection that is made again and again: what a [`ReconnectPolicy`] and a seed say. It has no clock of
/// its own.
///
/// ```
/// use std::time::Duration;
/// use towline_rpc::proto::{Backoff, ReconnectPolicy};
///
/// let mut backoff = Backoff::new(ReconnectPolicy::default(), [7; 32]);
/// let first = backoff.failed().expect("no limit of attempts");
/// assert!((Duration::from_millis(50)..=Duration::from_millis(100)).contains(&first));
/// ```
#[derive(Debug)]
pub struct Backoff {
    policy: ReconnectPolicy,
    rng: ChaCha12Rng,
    failures: u32,
    connected: Option<Instant>,
}

impl Backoff {
    /// The waits of a new connection. All of them follow from `seed`.
    pub fn new(policy: ReconnectPolicy, seed: [u8; 32]) -> Self {
        Self {
            policy,
            rng: ChaCha12Rng::from_seed(seed),
            failures: 0,
            connected: None,
        }
    }

    /// Notes that the connection was made.
    pub const fn connected(&mut self, now: Instant) {
        self.connected = Some(now);
    }

    /// True if the connection has lived for [`ReconnectPolicy::healthy_after`].
    pub fn is_healthy(&self, now: Instant) -> bool {
        self.connected
            .is_some_and(|since| now.saturating_duration_since(since) >= self.policy.healthy_after)
    }

    /// The connection was lost: how long to wait, or `None` if no more is to be tried.
    pub fn lost(&mut self, now: Instant) -> Option<Duration> {
        if self.is_healthy(now) {
            self.failures = 0;
        }
        self.connected = None;
        self.failed()
    }

    /// Connecting failed: how long to wait, or `None` if no more is to be tried.
    pub fn failed(&mut self) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        if self
            .policy
            .attempts
            .is_some_and(|most| self.failures >= most)
        {
            return None;
        }
        let doublings = (self.failures - 1).min(31);
        let longest = self
            .policy
            .first
            .saturating_mul(1 << doublings)
            .min(self.policy.cap);
        Some(self.draw(longest))
    }

    /// How long to wait before a call is made again that was refused for the `refused`th time.
    pub fn before_retry(&mut self, refused: u32) -> Duration {
        let longest = self.policy.first.saturating_mul(1 << refused.min(6));
        self.draw(longest.min(self.policy.cap))
    }

    /// A seed for something that belongs to the connection.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        seed
    }

    /// Between half of it and all of it.
    fn draw(&mut self, longest: Duration) -> Duration {
        let half = longest / 2;
        let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX - 1);
        half + Duration::from_nanos(self.rng.next_u64() % (nanos + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> ReconnectPolicy {
        ReconnectPolicy::default()
            .first(Duration::from_millis(100))
            .cap(Duration::from_secs(2))
    }

    #[test]
    fn waits_double_up_to_the_cap_and_are_drawn_from_the_seed() {
        let waits = |seed| {
            let mut backoff = Backoff::new(policy(), [seed; 32]);
            (0..40)
                .map(|_| backoff.failed().expect("no limit"))
                .collect::<Vec<_>>()
        };
        let first = waits(1);
        for (number, wait) in first.iter().enumerate() {
            let longest = Duration::from_millis(100 << number.min(10)).min(Duration::from_secs(2));
            assert!((longest / 2..=longest).contains(wait), "{number}: {wait:?}");
        }
        assert_eq!(first, waits(1));
        assert_ne!(first, waits(2));
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "only differences to this instant matter"
    )]
    #[test]
    fn only_a_healthy_time_begins_anew() {
        let mut backoff = Backoff::new(policy(), [3; 32]);
        let mut now = Instant::now();
        for _ in 0..5 {
            backoff.failed();
        }
        // A server that hangs up at once is not dialled faster.
        backoff.connected(now);
        now += Duration::from_secs(9);
        assert!(backoff.lost(now).expect("no limit") >= Duration::from_secs(1));
        backoff.connected(now);
        now += Duration::from_secs(10);
        assert!(backoff.lost(now).expect("no limit") <= Duration::from_millis(100));
    }

    #[test]
    fn attempts_have_an_end_and_numbers_must_fit() {
        let mut backoff = Backoff::new(policy().attempts(Some(3)), [0; 32]);
        assert!(backoff.failed().is_some() && backoff.failed().is_some());
        assert_eq!(backoff.failed(), None);

        let above = policy().first(Duration::from_secs(3));
        assert_eq!(
            above.validate().expect_err("above").to_string(),
            "the first wait, 3s, is longer than the cap, 2s: lower one or raise the other"
        );
        assert!(policy().first(Duration::ZERO).validate().is_err());
        assert!(policy().attempts(Some(0)).validate().is_err());
    }
}
