//! A hash for stream ids that a peer cannot make collide.

use std::hash::{BuildHasher, Hasher};

/// Multiplies by a secret odd number: a peer that chooses ids does not choose where they land.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdHasher {
    add: u64,
    factor: u64,
}

impl IdHasher {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        let word = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&seed[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        Self {
            add: word(0),
            // Odd, and with high bits of its own even for a seed of zeros.
            factor: (word(8) ^ 0x9E37_79B9_7F4A_7C15) | 1,
        }
    }
}

impl BuildHasher for IdHasher {
    type Hasher = IdHash;

    fn build_hasher(&self) -> IdHash {
        IdHash {
            keys: *self,
            hash: 0,
        }
    }
}

#[derive(Debug)]
pub(crate) struct IdHash {
    keys: IdHasher,
    hash: u64,
}

impl Hasher for IdHash {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(byte.into());
        }
    }

    fn write_u32(&mut self, id: u32) {
        let mixed = (self.hash ^ u64::from(id))
            .wrapping_add(self.keys.add)
            .wrapping_mul(self.keys.factor);
        // The table uses the lowest and the highest bits; the best are in the middle and above.
        self.hash = mixed ^ (mixed >> 32);
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_spread_over_a_table() {
        for seed in [[0; 32], [7; 32], [255; 32]] {
            let hasher = IdHasher::new(seed);
            for step in [1_u32, 2, 1024, 65_536] {
                let buckets: HashSet<u64> = (0..1024_u32)
                    .map(|at| hasher.hash_one(at.wrapping_mul(step)) % 1024)
                    .collect();
                assert!(buckets.len() > 300, "{seed:?} {step}: {}", buckets.len());
            }
        }
    }
}
