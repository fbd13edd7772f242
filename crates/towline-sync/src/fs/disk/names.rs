//! Names of users and groups, looked up once each.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use nix::unistd::{Gid, Group, Uid, User};

/// Names and numbers that are remembered of each kind.
const MOST: usize = 4096;

/// What the system said so far. What it could not say counts as unknown.
#[derive(Debug, Default)]
pub(super) struct Names {
    user_names: Mutex<HashMap<u32, Bytes>>,
    group_names: Mutex<HashMap<u32, Bytes>>,
    user_ids: Mutex<HashMap<Bytes, Option<u32>>>,
    group_ids: Mutex<HashMap<Bytes, Option<u32>>>,
}

impl Names {
    /// The name of a user; empty if there is none.
    pub(super) fn user(&self, uid: u32) -> Bytes {
        remembered(&self.user_names, uid, || {
            let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
            user.map_or_else(Bytes::new, |user| carried(user.name))
        })
    }

    /// The name of a group; empty if there is none.
    pub(super) fn group(&self, gid: u32) -> Bytes {
        remembered(&self.group_names, gid, || {
            let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
            group.map_or_else(Bytes::new, |group| carried(group.name))
        })
    }

    pub(super) fn user_id(&self, name: &[u8]) -> Option<u32> {
        remembered(&self.user_ids, Bytes::copy_from_slice(name), || {
            let user = User::from_name(std::str::from_utf8(name).ok()?);
            Some(user.ok()??.uid.as_raw())
        })
    }

    pub(super) fn group_id(&self, name: &[u8]) -> Option<u32> {
        remembered(&self.group_ids, Bytes::copy_from_slice(name), || {
            let group = Group::from_name(std::str::from_utf8(name).ok()?);
            Some(group.ok()??.gid.as_raw())
        })
    }
}

/// A name that is too long to be carried is as good as none.
fn carried(name: String) -> Bytes {
    if name.len() > 255 {
        return Bytes::new();
    }
    name.into()
}

/// Asks the system outside the lock: it may have to ask over a network.
fn remembered<K: std::hash::Hash + Eq + Clone, V: Clone>(
    known: &Mutex<HashMap<K, V>>,
    key: K,
    look_up: impl FnOnce() -> V,
) -> V {
    let table = || known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(value) = table().get(&key) {
        return value.clone();
    }
    let value = look_up();
    let mut table = table();
    if table.len() >= MOST {
        table.clear();
    }
    table.insert(key, value.clone());
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_user_has_its_name_and_others_have_none() {
        let names = Names::default();
        for _ in 0..2 {
            assert_eq!(&names.user(0)[..], b"root");
            assert_eq!(names.user_id(b"root"), Some(0));
            assert_eq!(names.group_id(&names.group(0)), Some(0));
            assert_eq!(names.user_id(b"nobody of this name"), None);
            assert_eq!(names.group_id(b"\xff"), None);
            assert_eq!(names.user(4_000_000_123).len(), 0);
        }
    }
}
