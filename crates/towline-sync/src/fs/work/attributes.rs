//! Reading and setting owners and extended attributes.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::{Worker, failed};
use crate::engine::{Failed, Ids, SetAttributes};
use crate::fs::{Found, Store, Wanted};
use crate::wire::{Attributes, Kind, RelPath};

/// Bits that make a program run as its owner or group.
pub(crate) const SET_IDS: u32 = 0o6000;

impl<S: Store> Worker<S> {
    /// The entries of a directory, with what is wanted of them.
    pub(super) fn list_with(&self, dir: &RelPath, wanted: Wanted) -> io::Result<Vec<Found>> {
        let mut found = self.store.list(dir)?;
        if wanted == Wanted::default() {
            return Ok(found);
        }
        // Most entries of a directory belong to the same people: they share what tells that.
        let mut last: Option<Arc<Attributes>> = None;
        for found in &mut found {
            if found.stat.kind == Kind::Other {
                continue;
            }
            let path = dir.join(&found.name);
            let Ok(attributes) = self.store.attributes(&path, found.stat.kind, wanted) else {
                // What has vanished is noticed when it is read.
                continue;
            };
            if attributes == Attributes::default() {
                continue;
            }
            if last.as_deref() != Some(&attributes) {
                last = Some(Arc::new(attributes));
            }
            found.attributes.clone_from(&last);
        }
        Ok(found)
    }

    /// Which numbers names have here.
    pub(super) fn resolve(
        names: Vec<Bytes>,
        look_up: impl Fn(&[u8]) -> Option<u32>,
    ) -> Vec<(Bytes, Option<u32>)> {
        let found = |name: Bytes| {
            // The number that means none to the system.
            let id = look_up(&name).filter(|id| *id != u32::MAX);
            (name, id)
        };
        names.into_iter().map(found).collect()
    }

    pub(super) fn set_attributes(&self, one: &SetAttributes) -> Result<(), Failed> {
        let (path, kind) = (&one.path, one.kind);
        let mut meta = one.meta;
        let mut failure = None;
        if let Some(owner) = one.owner
            && let Err(failed) = self.give(path, path, owner)
        {
            // docs/wire D24: never for another than whom they were meant for.
            meta.mode &= !SET_IDS;
            failure = Some(failed);
        }
        if let Some(wanted) = &one.xattrs
            && let Err(error) = self.store.set_xattrs(path, kind, &wanted.xattrs)
        {
            let what = match error.kind() {
                io::ErrorKind::Unsupported => {
                    "cannot have its extended attributes on this file system; leave --xattrs out"
                }
                _ => "does not get its extended attributes",
            };
            failure.get_or_insert_with(|| failed(path, what, &error));
        }
        // Giving a file away may have changed its mode.
        let again = || -> io::Result<()> {
            let stat = self.store.stat(path)?;
            if kind == Kind::File && (stat.meta.mode, stat.meta.mtime) != (meta.mode, meta.mtime) {
                self.store.set_path_meta(path, kind, &meta)?;
            }
            Ok(())
        };
        let again = again().map_err(|error| failed(path, "keeps its old time and mode", &error));
        failure.map_or(again, Err)
    }

    /// Gives what is at `place`, and is or will be at `path`, to others.
    pub(super) fn give(&self, place: &RelPath, path: &RelPath, owner: Ids) -> Result<(), Failed> {
        let Err(error) = self.store.set_owner(place, owner) else {
            return Ok(());
        };
        let Ids { user, group } = owner;
        Err(failed(
            path,
            &match error.kind() {
                io::ErrorKind::PermissionDenied => format!(
                    "cannot be given to user {user} and group {group}: the receiving end must run as root, or leave --owner out"
                ),
                _ => format!("cannot be given to user {user} and group {group}"),
            },
            &error,
        ))
    }
}
