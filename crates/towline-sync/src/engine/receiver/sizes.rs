//! Files that are here, found by their size: each may be the old version of another of the same size.

use std::collections::HashMap;

use crate::wire::RelPath;

/// Bytes of their paths.
const MOST_BYTES: usize = 8 << 20;
/// What one takes beside its path.
const ONE: usize = 96;

/// A file of each size.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    paths: HashMap<u64, RelPath>,
    bytes: usize,
}

impl Sizes {
    /// Remembers a file, the last of its size, if there is room.
    pub(super) fn insert(&mut self, size: u64, path: &RelPath) {
        let more = path.len() + ONE;
        if self.bytes + more > MOST_BYTES {
            return;
        }
        self.bytes += more;
        if let Some(before) = self.paths.insert(size, path.clone()) {
            self.bytes -= before.len() + ONE;
        }
    }

    /// A file of this size.
    pub(super) fn get(&self, size: u64) -> Option<&RelPath> {
        self.paths.get(&size)
    }
}
