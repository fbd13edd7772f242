//! FastCDC with regression, as in Google's cdc-file-transfer.

use super::gear::GEAR;
use super::{ChunkParams, Chunker};

/// Bytes that the rolling hash remembers.
const WINDOW: usize = 64;

/// The original's FastCDC (docs/wire D3). It is not the algorithm of the paper: where no position
/// is good enough before the largest size, the best seen one wins ("regression").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FastCdc {
    params: ChunkParams,
}

impl FastCdc {
    /// A chunker of these sizes.
    pub const fn new(params: ChunkParams) -> Self {
        Self { params }
    }
}

impl Chunker for FastCdc {
    fn name(&self) -> &'static str {
        "fastcdc-Stadia-Google-64bit-arbitrary-regression-jea"
    }

    fn params(&self) -> ChunkParams {
        self.params
    }

    fn first_cut(&self, data: &[u8]) -> usize {
        let (min, target) = (self.params.min(), self.params.target());
        if data.len() <= min {
            return data.len();
        }
        let end = data.len().min(self.params.max());
        let steps = (target as u64).wrapping_sub(min as u64).wrapping_add(1);
        let threshold = u64::MAX / steps.max(1);
        let mut hash = u64::MAX;
        for &byte in &data[min.saturating_sub(WINDOW)..min] {
            hash = roll(hash, byte);
        }
        // The original keeps a mask of the bits above the best hash's highest; that a hash has none of
        // them is that it is not above `limit`.
        let mut limit = u64::MAX;
        let mut best = end;
        let Some(searched) = data.get(min..end) else {
            return end.max(1);
        };
        for (offset, &byte) in searched.iter().enumerate() {
            if hash <= limit {
                let at = min + offset;
                if hash <= threshold {
                    return at.max(1);
                }
                best = at;
                limit = u64::MAX >> hash.leading_zeros();
            }
            hash = roll(hash, byte);
        }
        if hash > limit { best.max(1) } else { end }
    }
}

#[inline(always)]
fn roll(hash: u64, byte: u8) -> u64 {
    (hash << 1).wrapping_add(GEAR[usize::from(byte)])
}
