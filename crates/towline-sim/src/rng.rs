//! Randomness that follows from a seed.

use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// Random numbers that follow from one seed, on every platform and in every version of this crate's
/// dependencies' generators alike.
///
/// ```
/// use towline_sim::Rng;
///
/// let draw = |seed| { let mut rng = Rng::from_seed(seed); (rng.below(1000), rng.chance(1, 2)) };
/// assert_eq!(draw(7), draw(7));
/// ```
#[derive(Debug, Clone)]
pub struct Rng(ChaCha12Rng);

impl Rng {
    /// The generator of a seed.
    pub fn from_seed(seed: u64) -> Self {
        Self(ChaCha12Rng::seed_from_u64(seed))
    }

    /// A generator of its own, so that what one part of a simulation draws does not change what
    /// another part draws.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::from_seed(self.0.next_u64())
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        // The bias of the remainder is far below what a test can see.
        if end == 0 {
            0
        } else {
            (self.0.next_u64() % end as u64) as usize
        }
    }

    /// A number from `low` to `high`, both included; `low` if `high` is smaller.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// A number from 0 to `max`, small ones as likely as large ones in their order of magnitude.
    pub fn spread(&mut self, max: usize) -> usize {
        let bits = usize::BITS - max.leading_zeros();
        let magnitude = self.below(bits as usize + 1);
        let end = 1_usize.checked_shl(magnitude as u32).unwrap_or(usize::MAX);
        self.below(end.min(max.saturating_add(1)))
    }

    /// True `times` times `out_of`, on average.
    pub fn chance(&mut self, times: usize, out_of: usize) -> bool {
        self.below(out_of) < times
    }

    /// A duration up to `max`, in whole microseconds.
    pub fn duration(&mut self, max: Duration) -> Duration {
        let micros = usize::try_from(max.as_micros()).unwrap_or(usize::MAX - 1);
        Duration::from_micros(self.below(micros.saturating_add(1)) as u64)
    }

    /// `len` random bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// A 32-byte seed for a core.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.0.fill_bytes(&mut seed);
        seed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_in_their_ranges() {
        let mut rng = Rng::from_seed(1);
        for _ in 0..10_000 {
            assert!(rng.below(7) < 7);
            assert!((3..=5).contains(&rng.between(3, 5)));
            assert!(rng.spread(1000) <= 1000);
            assert!(rng.duration(Duration::from_millis(2)) <= Duration::from_millis(2));
        }
        assert_eq!((rng.below(0), rng.between(4, 1), rng.spread(0)), (0, 4, 0));
        assert_eq!(rng.duration(Duration::ZERO), Duration::ZERO);
        assert!(rng.spread(usize::MAX) < usize::MAX);
    }

    #[test]
    fn spread_reaches_small_and_large_numbers() {
        let mut rng = Rng::from_seed(2);
        let drawn: Vec<usize> = (0..1000).map(|_| rng.spread(100_000)).collect();
        assert!(drawn.iter().filter(|&&number| number < 10).count() > 100);
        assert!(drawn.iter().filter(|&&number| number > 10_000).count() > 100);
    }

    #[test]
    fn a_fork_is_not_disturbed_by_its_origin() {
        let mut rng = Rng::from_seed(3);
        let mut fork = rng.clone().fork();
        let mut again = rng.fork();
        rng.any();
        assert_eq!(fork.any(), again.any());
    }
}
