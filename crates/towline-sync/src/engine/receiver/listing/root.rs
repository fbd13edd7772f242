//! The directory that is synced, and directories that cannot be had.

use bytes::Bytes;

use super::{Dir, Here};
use crate::engine::Violation;
use crate::engine::receiver::Receiver;
use crate::engine::receiver::attributes::Due;
use crate::wire::{Meta, Outcome, RelPath};

impl Receiver {
    /// Takes in what the root is.
    pub(in super::super) fn root_came(&mut self, meta: Meta) -> Result<(), Violation> {
        let keeps = self.keeps_root();
        let begun = self.next_id > 1 || !self.pending.is_empty() || self.list_ended;
        let Some(dir) = self.dirs.get_mut(&0).filter(|_| !begun) else {
            return Err(Violation::Order);
        };
        // docs/wire D14: one file changes nothing of the directory that it comes into.
        if !keeps {
            dir.meta = Some(meta);
        }
        Ok(())
    }

    /// Says what becomes of the root.
    pub(super) fn root_listed(&mut self, dir: &mut Dir) {
        let Some(meta) = dir.meta.filter(|_| !dir.refused) else {
            return;
        };
        let own = dir.own.map(|own| (own.mtime, own.mode));
        let outcome = match own {
            Some(_) if !self.options.made => Outcome::Touched,
            _ => Outcome::Created,
        };
        if self.options.made || own != Some((meta.mtime, meta.mode)) {
            dir.touched = true;
            self.item(outcome, &dir.path, 0, String::new());
        }
    }

    /// Takes the entries of a directory that cannot be had, and does nothing with them.
    pub(in super::super) fn refuse_dir(&mut self, id: u64, path: RelPath) {
        self.drop_id(id);
        let dir = Dir {
            at: path.parent(),
            path,
            meta: None,
            here: Some(Here::default()),
            last_name: Bytes::new(),
            doubtful: true,
            touched: false,
            refused: true,
            too_long: false,
            due: Due::default(),
            sets: 0,
            own: None,
        };
        self.room.announced(dir.weight());
        self.dirs.insert(id, dir);
    }
}
