//! What is listed and not done with: how far the listing may run ahead.

use std::collections::HashMap;

use super::files::State;
use crate::engine::{LATER_BYTES, MOST_LATER, Violation, later_weight};
use crate::wire::{Entry, Kind, RelPath};

/// Most entries that are listed and neither done nor dropped.
const ENTRIES: usize = 16_384;
/// Bytes of these: of their paths, targets and attributes.
const BYTES: usize = 8 << 20;

/// An entry that was listed.
#[derive(Debug)]
pub(super) struct File {
    pub(super) path: RelPath,
    /// As it was listed.
    pub(super) size: u64,
    pub(super) state: State,
    weight: usize,
    /// It may be asked for at the end, and holds up nothing until then.
    later: bool,
}

/// Entries that the receiver has neither dropped nor been given.
#[derive(Debug, Default)]
pub(super) struct Window {
    files: HashMap<u64, File>,
    bytes: usize,
    later: usize,
    later_bytes: usize,
    /// Entries that were dropped or put off so far.
    dropped: u64,
    put_off: u64,
}

impl Window {
    /// docs/wire D14: more may be listed.
    pub(super) fn has_room(&self) -> bool {
        self.files.len() - self.later < ENTRIES && self.bytes < BYTES
    }

    pub(super) fn add(&mut self, id: u64, path: RelPath, entry: &Entry) {
        let weight = path.as_bytes().len() + entry.weight();
        self.bytes += weight;
        let has_content = entry.kind == Kind::File && entry.link.is_none();
        let (path, state) = match has_content {
            true => (path, State::Listed),
            false => (RelPath::root(), State::Bare),
        };
        let file = File {
            path,
            size: entry.meta.size,
            state,
            weight,
            later: false,
        };
        self.files.insert(id, file);
    }

    pub(super) fn get(&self, id: u64) -> Option<&File> {
        self.files.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut File> {
        self.files.get_mut(&id)
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<File> {
        let file = self.files.remove(&id)?;
        if file.later {
            self.later -= 1;
            self.later_bytes -= later_weight(&file.path);
        } else {
            self.bytes -= file.weight;
        }
        Some(file)
    }

    /// Whether these may be dropped. `next` is the number of the next entry.
    pub(super) fn drops(&mut self, runs: &[(u64, u64)], next: u64) -> Result<(), Violation> {
        count(runs, next, &mut self.dropped)
    }

    /// Puts files off: they may be asked for until the end.
    pub(super) fn later(&mut self, runs: &[(u64, u64)], next: u64) -> Result<(), Violation> {
        count(runs, next, &mut self.put_off)?;
        for &(first, count) in runs {
            for id in first..first + count {
                let file = self.files.get_mut(&id).ok_or(Violation::UnknownFile)?;
                if file.later || !matches!(file.state, State::Listed) {
                    return Err(Violation::UnknownFile);
                }
                file.later = true;
                self.bytes -= file.weight;
                self.later += 1;
                self.later_bytes += later_weight(&file.path);
            }
        }
        // docs/wire D25
        if self.later > MOST_LATER || self.later_bytes > LATER_BYTES {
            return Err(Violation::TooMuch);
        }
        Ok(())
    }
}

/// Each entry is named once: what a message costs is bounded by what was listed.
fn count(runs: &[(u64, u64)], next: u64, sum: &mut u64) -> Result<(), Violation> {
    for &(first, count) in runs {
        if first == 0 || first.saturating_add(count) > next {
            return Err(Violation::UnknownFile);
        }
        *sum += count;
        if *sum >= next {
            return Err(Violation::TooMuch);
        }
    }
    Ok(())
}
