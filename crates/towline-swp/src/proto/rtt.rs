//! Round trip times, and how long to wait for an acknowledgement.

use std::time::Duration;

/// Longer samples are not believed (docs/wire W38).
const LONGEST_SAMPLE: Duration = Duration::from_secs(60);
/// The original's first guess, before any sample.
const ORIGINAL_INITIAL: Duration = Duration::from_millis(500);
/// The original's least time-out while it has fewer than ten samples.
const ORIGINAL_FLOOR: Duration = Duration::from_millis(100);
/// The least deviation that is calculated with: the original divides by it.
const LEAST_DEVIATION: f64 = 1000.0;

/// How the time-out of a packet follows from round trips.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RttModel {
    /// Smoothed as RFC 6298 does (docs/wire W38). The default.
    #[default]
    Smoothed,
    /// The original's formula, guarded against what breaks it (docs/wire W39).
    Original,
}

/// What the peer says of its own round trips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerRtt {
    /// Its estimate.
    pub estimate: Duration,
    /// Its standard deviation.
    pub deviation: Duration,
    /// The number of samples behind both.
    pub samples: u64,
}

/// Estimates round trips by both models from the same samples.
///
/// ```
/// use std::time::Duration;
/// use towline_swp::proto::RttEstimator;
///
/// let mut rtt = RttEstimator::default();
/// rtt.add(Duration::from_millis(100));
/// assert_eq!(rtt.smoothed(), Some(Duration::from_millis(100)));
/// assert_eq!(rtt.original_timeout(None), Duration::from_millis(500));
/// ```
#[derive(Debug, Clone, Default)]
pub struct RttEstimator {
    samples: u64,
    latest: Duration,
    smoothed: Duration,
    variation: Duration,
    /// The original's estimate in nanoseconds: a tenth of each new sample.
    estimate: f64,
    /// Running mean and sum of squares of all samples (Welford).
    mean: f64,
    squares: f64,
}

impl RttEstimator {
    /// Adds a sample; one of more than 60 s is not believed.
    pub fn add(&mut self, sample: Duration) {
        if sample > LONGEST_SAMPLE {
            return;
        }
        self.samples += 1;
        self.latest = sample;
        let nanos = sample.as_nanos() as f64;
        if self.samples == 1 {
            self.smoothed = sample;
            self.variation = sample / 2;
            self.estimate = nanos;
        } else {
            let difference = self.smoothed.abs_diff(sample);
            self.variation = (self.variation * 3 + difference) / 4;
            self.smoothed = (self.smoothed * 7 + sample) / 8;
            self.estimate = 0.1 * nanos + 0.9 * self.estimate;
        }
        let from_mean = nanos - self.mean;
        self.mean += from_mean / self.samples as f64;
        self.squares += from_mean * (nanos - self.mean);
    }

    /// How many samples were believed.
    pub const fn samples(&self) -> u64 {
        self.samples
    }

    /// The newest sample.
    pub const fn latest(&self) -> Duration {
        self.latest
    }

    /// The smoothed round trip, by RFC 6298.
    pub fn smoothed(&self) -> Option<Duration> {
        (self.samples > 0).then_some(self.smoothed)
    }

    /// The smoothed round trip and four variations of it (docs/wire W38).
    pub fn timeout(&self) -> Option<Duration> {
        (self.samples > 0).then(|| self.smoothed + self.variation * 4)
    }

    /// The original's estimate (docs/wire W39), zero before the first sample.
    pub fn original_estimate(&self) -> Duration {
        from_nanos(self.estimate)
    }

    /// The original's standard deviation (docs/wire W39): 10 ms before the first sample, half the
    /// estimate after it, then that of all samples.
    pub fn original_deviation(&self) -> Duration {
        match self.samples {
            0 => Duration::from_millis(10),
            1 => from_nanos(self.estimate / 2.0),
            samples => from_nanos((self.squares / (samples - 1) as f64).sqrt()),
        }
    }

    /// The original's time-out (docs/wire W39), with what the peer says mixed in. Deviations of zero
    /// are taken for 1 us: the original divides by them.
    pub fn original_timeout(&self, peer: Option<PeerRtt>) -> Duration {
        let peer = peer.filter(|peer| peer.samples > 2);
        let nanos = |duration: Duration| duration.as_nanos() as f64;
        let (mut estimate, mut deviation) = match (self.samples, peer) {
            (0, None) => return ORIGINAL_INITIAL,
            (0, Some(peer)) => (nanos(peer.estimate), nanos(peer.deviation)),
            (1, _) => (self.estimate.trunc(), self.estimate.trunc()),
            _ => (self.estimate.trunc(), nanos(self.original_deviation())),
        };
        if let Some(peer) = peer
            && self.samples > 2
        {
            let own_variance = deviation.max(LEAST_DEVIATION).powi(2);
            let peer_variance = nanos(peer.deviation).max(LEAST_DEVIATION).powi(2);
            estimate = ((estimate / own_variance + nanos(peer.estimate) / peer_variance)
                / (1.0 / own_variance + 1.0 / peer_variance))
                .trunc();
            deviation = (own_variance / self.samples as f64 + peer_variance / peer.samples as f64)
                .sqrt()
                .trunc();
        }
        let timeout = from_nanos(estimate + 4.0 * deviation);
        if self.samples < 10 {
            timeout.max(ORIGINAL_FLOOR)
        } else {
            timeout
        }
    }
}

fn from_nanos(nanos: f64) -> Duration {
    // Saturates: a float outside the range becomes the nearest end of it.
    Duration::from_nanos(nanos as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimator(samples: &[Duration]) -> RttEstimator {
        let mut rtt = RttEstimator::default();
        for &sample in samples {
            rtt.add(sample);
        }
        rtt
    }

    fn peer(estimate: Duration, deviation: Duration, samples: u64) -> Option<PeerRtt> {
        Some(PeerRtt {
            estimate,
            deviation,
            samples,
        })
    }

    const MS: fn(u64) -> Duration = Duration::from_millis;
    const NS: fn(u64) -> Duration = Duration::from_nanos;

    /// docs/wire W39
    #[test]
    fn estimates_and_deviations_are_the_originals() {
        let mut rtt = RttEstimator::default();
        let expected = [
            (93, 93_000_000_000, 46_500_000_000),
            (8, 84_500_000_000, 60_104_076_400),
            (12, 77_250_000_000, 47_961_790_347),
            (41, 73_625_000_000, 39_196_088_240),
            (73, 73_562_500_000, 37_286_726_860),
            (32, 69_406_250_000, 0),
        ];
        // In thousandths of the recorded seconds, which are beyond what is believed as samples.
        for (sample, estimate, deviation) in expected {
            rtt.add(MS(sample));
            assert_eq!(rtt.original_estimate(), NS(estimate / 1000));
            if deviation > 0 {
                let off = rtt.original_deviation().abs_diff(NS(deviation / 1000));
                assert!(off < Duration::from_nanos(200), "{off:?}");
            }
        }
    }

    /// docs/wire W39
    #[test]
    fn timeouts_are_the_originals() {
        assert_eq!(estimator(&[]).original_timeout(None), MS(500));
        assert_eq!(
            estimator(&[]).original_timeout(peer(MS(10), MS(2), 3)),
            MS(100)
        );
        assert_eq!(
            estimator(&[]).original_timeout(peer(MS(100), MS(20), 3)),
            MS(180)
        );
        assert_eq!(
            estimator(&[]).original_timeout(peer(MS(100), MS(20), 2)),
            MS(500)
        );
        assert_eq!(estimator(&[MS(10)]).original_timeout(None), MS(100));
        assert_eq!(estimator(&[MS(100)]).original_timeout(None), MS(500));
        let near = |timeout: Duration, nanos: u64| {
            assert!(timeout.abs_diff(NS(nanos)) < NS(10), "{timeout:?}");
        };
        near(
            estimator(&[MS(100), MS(200)]).original_timeout(None),
            392_842_712,
        );
        let many: Vec<Duration> = (0..20).map(|n| MS(10 + n % 3)).collect();
        let rtt = estimator(&many);
        near(rtt.original_timeout(None), 14_138_997);
        near(rtt.original_timeout(peer(MS(11), MS(1), 50)), 11_833_074);
        near(
            rtt.original_timeout(peer(MS(500), NS(1000), 1000)),
            500_737_698,
        );
    }

    /// docs/wire W39: what makes the original's time-out not a number.
    #[test]
    fn deviations_of_zero_leave_a_usable_timeout() {
        let many: Vec<Duration> = (0..20).map(|n| MS(10 + n % 3)).collect();
        let timeout = estimator(&many).original_timeout(peer(MS(11), NS(0), 3));
        assert!(timeout > MS(10) && timeout < MS(12), "{timeout:?}");
        let same = estimator(&[MS(10); 20]).original_timeout(peer(NS(0), NS(0), u64::MAX));
        assert!(same < MS(11), "{same:?}");
        let huge = Duration::from_secs(u64::MAX);
        estimator(&many).original_timeout(peer(huge, huge, 3));
    }

    /// docs/wire W38
    #[test]
    fn samples_above_a_minute_are_not_believed() {
        let mut rtt = estimator(&[MS(100)]);
        rtt.add(Duration::from_secs(61));
        assert_eq!((rtt.samples(), rtt.smoothed()), (1, Some(MS(100))));
        assert_eq!(rtt.timeout(), Some(MS(300)));
        rtt.add(MS(180));
        assert_eq!(rtt.smoothed(), Some(MS(110)));
    }
}
