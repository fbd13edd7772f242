//! What first names of files with several take, at both ends.

use std::collections::HashMap;

/// Bytes that they may take at an honest sender, before it sends further files as if they had one name.
pub(super) const MOST_BYTES: usize = 48 << 20;
/// What one takes beside its name.
const ONE: usize = 128;

/// Counts their bytes: a directory's path once, however many there are in it.
#[derive(Debug, Default)]
pub(super) struct FirstNames {
    /// How many there are in each directory.
    dirs: HashMap<u64, usize>,
    bytes: usize,
}

impl FirstNames {
    /// All of them.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// One more, in a directory with this number, of a path and a name so long.
    pub(super) fn add(&mut self, dir: u64, path: usize, name: usize) {
        let count = self.dirs.entry(dir).or_default();
        if *count == 0 {
            self.bytes += path + ONE;
        }
        *count += 1;
        self.bytes += name + ONE;
    }

    /// Takes one away that was added.
    pub(super) fn remove(&mut self, dir: u64, path: usize, name: usize) {
        self.bytes -= name + ONE;
        if let Some(count) = self.dirs.get_mut(&dir) {
            *count -= 1;
            if *count == 0 {
                self.dirs.remove(&dir);
                self.bytes -= path + ONE;
            }
        }
    }
}
