//! Symlinks, and files with several names.

use bytes::Bytes;

use super::Receiver;
use super::attributes::Due;
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
        let waits = local.is_some_and(|(stat, _)| stat.kind == Kind::File);
        self.item(outcome, &path, 0, String::new());
        let change = Change::Symlink {
            path,
            target,
            meta: entry.meta,
            owner: self.due(entry, None).owner,
        };
        if waits {
            self.kept += entry.weight();
            self.wrap.changes.push(change);
        } else {
            self.run_changes(vec![change]);
        }
        true
    }

    /// True if it becomes a link.
    pub(super) fn link_entry(&mut self, leader: u64, path: RelPath, old: Option<Stat>) -> bool {
        let Some((from, ino)) = self.wrap.leaders.get(&leader).cloned() else {
            // docs/wire D14: a link leads to an entry before it.
            self.fail(
                &path,
                format!("`{path}` links to something that was not listed"),
            );
            return false;
        };
        if old.is_some() && old.map(|stat| (stat.dev, stat.ino)) == ino {
            if self.options.checksum {
                self.keeps(&path);
                self.wrap.links.push(Change::Link { from, to: path });
            }
            return false;
        }
        self.keeps(&path);
        let outcome = match old {
            Some(_) => Outcome::Updated,
            None => Outcome::Created,
        };
        self.item(outcome, &path, 0, String::new());
        self.wrap.links.push(Change::Link { from, to: path });
        true
    }
}
