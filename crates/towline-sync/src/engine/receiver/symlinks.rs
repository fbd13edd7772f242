//! Symlinks.

use bytes::Bytes;

use super::attributes::Due;
use super::{LEAST_SOURCE, Receiver};
use crate::engine::Change;
use crate::fs::Stat;
use crate::wire::{Entry, Kind, Outcome, RelPath};

impl Receiver {
    /// True if the directory it is in changes.
    pub(super) fn symlink_entry(
        &mut self,
        path: RelPath,
        entry: &Entry,
        local: Option<(Stat, Option<Bytes>)>,
        due: Due,
    ) -> bool {
        let target = entry.target.clone().unwrap_or_default();
        if let Some((stat, Some(old))) = &local
            && *old == target
        {
            let differs = stat.meta.mtime != entry.meta.mtime;
            if differs || due.is_something() {
                self.item(Outcome::Touched, &path, 0, String::new());
            }
            self.set_due(path.clone(), Kind::Symlink, entry.meta, due);
            if differs {
                self.set_meta(path, Kind::Symlink, entry.meta);
            }
            return false;
        }
        let outcome = match &local {
            Some(_) => Outcome::Updated,
            None => Outcome::Created,
        };
        // What is in its place may be the old version of another file, until the end.
        let serves = local
            .is_some_and(|(stat, _)| stat.kind == Kind::File && stat.meta.size >= LEAST_SOURCE);
        self.item(outcome, &path, 0, String::new());
        let change = Change::Symlink {
            path,
            // A copy: it may wait longer than the message that it came in.
            target: Bytes::copy_from_slice(&target),
            meta: entry.meta,
            owner: self.due(entry, None).owner,
        };
        let now = match serves {
            true => self.delay(change).err(),
            false => Some(change),
        };
        if let Some(change) = now {
            self.run_change(change);
        }
        true
    }
}
