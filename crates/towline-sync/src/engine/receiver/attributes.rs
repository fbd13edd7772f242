//! Owners and extended attributes: what differs, and setting it where the content is in its place.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::{Receiver, Target};
use crate::engine::{Change, Ids, Job, SetAttributes};
use crate::fs::{Found, SET_IDS};
use crate::wire::{Attributes, Entry, Kind, Meta, Owner, RelPath};

/// Entries in one job.
const BATCH: usize = 256;
/// Entries whose attributes wait to be set, from which on nothing is read from the peer.
const MOST_WAITING: usize = 4096;
/// Names of users or groups that are remembered.
const MOST_NAMES: usize = 16 << 10;

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    users: HashMap<Bytes, Option<u32>>,
    groups: HashMap<Bytes, Option<u32>>,
    resolving: bool,
    queue: Vec<SetAttributes>,
    /// In the queue and in jobs.
    entries: usize,
}

/// What of an entry is to be set.
#[derive(Debug, Clone, Default)]
pub(super) struct Due {
    pub(super) owner: Option<Ids>,
    xattrs: Option<Arc<Attributes>>,
}

impl Due {
    pub(super) const fn is_something(&self) -> bool {
        self.owner.is_some() || self.xattrs.is_some()
    }
}

impl Target {
    /// docs/wire D24: until it has its owner, nobody runs it as somebody else.
    pub(super) const fn stored_meta(&self, mut meta: Meta) -> Meta {
        if self.fresh.owner.is_some() {
            meta.mode &= !SET_IDS;
        }
        meta
    }
}

impl Receiver {
    /// There is room for more entries.
    pub(super) const fn attributes_have_room(&self) -> bool {
        self.attributes.entries < MOST_WAITING
    }

    /// True if names among these entries must be looked up first.
    pub(super) fn are_unknown(&mut self, entries: &VecDeque<Entry>) -> bool {
        if self.attributes.resolving {
            return true;
        }
        if !self.options.owner {
            return false;
        }
        let mut unknown = self.unknown(entries);
        if unknown.0.is_empty() && unknown.1.is_empty() {
            return false;
        }
        let waiting = &mut self.attributes;
        if waiting.users.len() + waiting.groups.len() > MOST_NAMES {
            waiting.users.clear();
            waiting.groups.clear();
            unknown = self.unknown(entries);
        }
        self.attributes.resolving = true;
        let (users, groups) = unknown;
        self.jobs.push_back(Job::Resolve { users, groups });
        true
    }

    fn unknown(&self, entries: &VecDeque<Entry>) -> (Vec<Bytes>, Vec<Bytes>) {
        let (mut users, mut groups) = (Vec::new(), Vec::new());
        let owners = entries.iter().filter_map(owner);
        // Each name is told once, and is a copy: it outlives the message.
        let note = |name: &Bytes, known: &HashMap<Bytes, Option<u32>>, list: &mut Vec<Bytes>| {
            if !name.is_empty() && !known.contains_key(name) && list.last() != Some(name) {
                list.push(Bytes::copy_from_slice(name));
            }
        };
        for owner in owners {
            note(&owner.user, &self.attributes.users, &mut users);
            note(&owner.group, &self.attributes.groups, &mut groups);
        }
        for names in [&mut users, &mut groups] {
            names.sort_unstable();
            names.dedup();
        }
        (users, groups)
    }

    pub(super) fn resolved(
        &mut self,
        users: Vec<(Bytes, Option<u32>)>,
        groups: Vec<(Bytes, Option<u32>)>,
    ) {
        self.attributes.resolving = false;
        self.attributes.users.extend(users);
        self.attributes.groups.extend(groups);
    }

    /// What is to be set of an entry: of what is here, what differs; of something new, all.
    pub(super) fn due(&self, entry: &Entry, here: Option<&Found>) -> Due {
        let wanted = self.options.wanted();
        let local = here.and_then(|found| found.attributes.as_deref());
        // docs/wire D24: what was not asked for is not set.
        let owner = owner(entry).filter(|_| wanted.owner);
        let owner = owner.map(|owner| self.ids(owner)).filter(|ids| {
            let local = local.and_then(|local| local.owner.as_ref());
            local.map(|owner| (owner.uid, owner.gid)) != Some((ids.user, ids.group))
        });
        let incomplete = entry.attributes.as_ref().is_some_and(|all| all.incomplete);
        let has = matches!(entry.kind, Kind::File | Kind::Dir) && !incomplete;
        let xattrs = (wanted.xattrs && has).then(|| entry.attributes.clone().unwrap_or_default());
        let xattrs = xattrs.filter(|xattrs| match local {
            Some(local) => local.xattrs != xattrs.xattrs || local.incomplete,
            None => !xattrs.xattrs.is_empty(),
        });
        Due { owner, xattrs }
    }

    /// docs/wire D24: by name, and by number where the name is not known here.
    fn ids(&self, owner: &Owner) -> Ids {
        let known =
            |table: &HashMap<Bytes, Option<u32>>, name: &Bytes| table.get(name).copied().flatten();
        Ids {
            user: known(&self.attributes.users, &owner.user).unwrap_or(owner.uid),
            group: known(&self.attributes.groups, &owner.group).unwrap_or(owner.gid),
        }
    }

    /// Says of an entry that not all of it came.
    pub(super) fn tell_incomplete(&mut self, path: &RelPath, entry: &Entry) {
        let incomplete = entry.attributes.as_ref().is_some_and(|all| all.incomplete);
        if incomplete && self.options.xattrs && entry.link.is_none() {
            let most = Attributes::MOST_BYTES;
            let text = format!(
                "the extended attributes of `{path}` did not come: they cannot be read, or have more than {most} bytes"
            );
            self.fail(path, text);
        }
    }

    /// Sets what is due of something that is in its place.
    pub(super) fn set_due(&mut self, path: RelPath, kind: Kind, meta: Meta, due: Due) {
        if self.options.dry_run || !due.is_something() {
            return;
        }
        let Due { owner, xattrs } = due;
        self.attributes.entries += 1;
        self.attributes.queue.push(SetAttributes {
            path,
            kind,
            meta,
            owner,
            xattrs,
        });
        if self.attributes.queue.len() >= BATCH {
            self.flush_due();
        }
    }

    pub(super) fn flush_due(&mut self) {
        let all = std::mem::take(&mut self.attributes.queue);
        if !all.is_empty() {
            let paths = all.iter().map(|one| one.path.clone()).collect();
            self.run_attributes(paths, Change::Attributes(all));
        }
    }

    pub(super) const fn due_done(&mut self, count: usize) {
        self.attributes.entries -= count;
    }
}

fn owner(entry: &Entry) -> Option<&Owner> {
    entry.attributes.as_ref()?.owner.as_ref()
}
