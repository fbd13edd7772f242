//! Owners and extended attributes of a tree in memory.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;

use super::{Memory, error};
use crate::engine::Ids;
use crate::fs::{AttributeStore, Wanted};
use crate::wire::{Attributes, Kind, Owner, RelPath};

/// What a node has of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    user: u32,
    group: u32,
    xattrs: BTreeMap<Bytes, Bytes>,
}

/// Who is known, and what may be done.
#[derive(Debug, Default)]
pub(super) struct People {
    ids: BTreeMap<Bytes, u32>,
    unprivileged: bool,
}

impl Memory {
    /// Makes the name of a user, and of a group of the same number, known. All files belong to number 0
    /// at first.
    pub fn add_user(&self, name: &'static [u8], id: u32) {
        let mut inner = self.inner();
        inner.people.ids.insert(Bytes::from_static(name), id);
    }

    /// Whether files cannot be given to others, as where the process is not root's.
    pub fn unprivileged(&self, unprivileged: bool) {
        self.inner().people.unprivileged = unprivileged;
    }
}

impl AttributeStore for Memory {
    fn attributes(&self, path: &RelPath, kind: Kind, wanted: Wanted) -> io::Result<Attributes> {
        let inner = self.inner();
        let held = &inner.nodes[inner.find(path)?].held;
        let name = |id: u32| {
            let known = inner.people.ids.iter().find(|(_, known)| **known == id);
            known.map_or_else(Bytes::new, |(name, _)| name.clone())
        };
        let mut found = Attributes::default();
        if wanted.owner {
            found.owner = Some(Owner {
                uid: held.user,
                gid: held.group,
                user: name(held.user),
                group: name(held.group),
            });
        }
        if wanted.xattrs && matches!(kind, Kind::File | Kind::Dir) {
            let pairs = held.xattrs.iter();
            found.xattrs = pairs.map(|(n, v)| (n.clone(), v.clone())).collect();
            let bytes: usize = found.xattrs.iter().map(|(n, v)| n.len() + v.len()).sum();
            if bytes > Attributes::MOST_BYTES {
                found.xattrs.clear();
                found.incomplete = true;
            }
        }
        Ok(found)
    }

    fn set_owner(&self, path: &RelPath, owner: Ids) -> io::Result<()> {
        let mut inner = self.inner();
        inner.change()?;
        let node = inner.find(path)?;
        let unprivileged = inner.people.unprivileged;
        let node = &mut inner.nodes[node];
        if (node.held.user, node.held.group) == (owner.user, owner.group) {
            return Ok(());
        }
        if unprivileged {
            return Err(error(io::ErrorKind::PermissionDenied));
        }
        (node.held.user, node.held.group) = (owner.user, owner.group);
        // As systems do.
        if node.kind == Kind::File {
            node.meta.mode &= !0o6000;
        }
        Ok(())
    }

    fn set_xattrs(&self, path: &RelPath, kind: Kind, xattrs: &[(Bytes, Bytes)]) -> io::Result<()> {
        let mut inner = self.inner();
        inner.change()?;
        let node = inner.find(path)?;
        let node = &mut inner.nodes[node];
        if node.kind != kind {
            return Err(error(io::ErrorKind::NotFound));
        }
        node.held.xattrs = xattrs.iter().cloned().collect();
        Ok(())
    }

    fn user_id(&self, name: &[u8]) -> Option<u32> {
        self.inner().people.ids.get(name).copied()
    }

    fn group_id(&self, name: &[u8]) -> Option<u32> {
        self.user_id(name)
    }
}
