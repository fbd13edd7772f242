//! The three sizes that steer a chunker.

/// Smallest value of any size, in bytes.
const LEAST: usize = 64;
/// Largest value of any size, in bytes.
const MOST: usize = 1 << 30;

/// The smallest, the aimed-at and the largest size of a chunk, in bytes.
///
/// The default is the original's for both chunkers: 2,048, 10,240 and 65,536.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkParams {
    min: usize,
    target: usize,
    max: usize,
}

impl ChunkParams {
    /// What the original's delta sync takes: 4,096, 61,440 and 81,920.
    pub const RSYNC: Self = Self {
        min: 4096,
        target: 61_440,
        max: 81_920,
    };

    /// Checked sizes (docs/wire D2).
    ///
    /// # Errors
    ///
    /// [`ChunkParamsError`]: each must lie between 64 bytes and 1 GiB, and `min < target < max`.
    pub const fn new(min: usize, target: usize, max: usize) -> Result<Self, ChunkParamsError> {
        if target < LEAST || target > MOST {
            return Err(ChunkParamsError::Target { target });
        }
        if min < LEAST || min >= target {
            return Err(ChunkParamsError::Min { min, target });
        }
        if max > MOST || max <= target {
            return Err(ChunkParamsError::Max { max, target });
        }
        Ok(Self { min, target, max })
    }

    /// Sizes as they are, as the original's chunkers take them. Whatever they are, chunks have at
    /// least one byte.
    pub const fn unchecked(min: usize, target: usize, max: usize) -> Self {
        Self { min, target, max }
    }

    /// The smallest chunk but the last, in bytes.
    pub const fn min(&self) -> usize {
        self.min
    }

    /// The size aimed at, in bytes.
    pub const fn target(&self) -> usize {
        self.target
    }

    /// The largest chunk, in bytes.
    pub const fn max(&self) -> usize {
        self.max
    }
}

impl Default for ChunkParams {
    fn default() -> Self {
        Self {
            min: 2048,
            target: 10_240,
            max: 65_536,
        }
    }
}

/// Sizes that no chunker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkParamsError {
    /// The size aimed at is out of range.
    #[error("the target size {target} must lie between 64 bytes and 1 GiB")]
    Target {
        /// What was given.
        target: usize,
    },
    /// The smallest size is out of range.
    #[error("the smallest size {min} must be at least 64 bytes and below the target size {target}")]
    Min {
        /// What was given.
        min: usize,
        /// The target it was given with.
        target: usize,
    },
    /// The largest size is out of range.
    #[error("the largest size {max} must be above the target size {target} and at most 1 GiB")]
    Max {
        /// What was given.
        max: usize,
        /// The target it was given with.
        target: usize,
    },
}
