//! Owners and extended attributes follow, whatever happens on the way.

use std::collections::BTreeMap;

use bytes::Bytes;
use towline_sim::{Conditions, Rng};
use towline_sync::engine::{Ids, Options};
use towline_sync::fs::{AttributeStore as _, Memory, Store as _, Wanted};
use towline_sync::wire::{Attributes, FileTime, Kind, Message, Meta, Owner, RelPath};

use crate::for_seeds;
use crate::runs::{conditions, failures, mirror, pair, run, said};
use crate::trees::{assert_equal, facts, later, tree};

const ALL: Wanted = Wanted {
    owner: true,
    xattrs: true,
};

fn options() -> Options {
    Options {
        owner: true,
        xattrs: true,
        ..mirror()
    }
}

/// The two ends know different people: of what number, at the end with what comes.
fn sender_people(store: &Memory) {
    for (name, id) in [(&b"root"[..], 0), (b"ann", 1), (b"bob", 2)] {
        store.add_user(name, id);
    }
}

/// Ann has another number here, and nobody knows Bob, whose number somebody else has.
fn receiver_people(store: &Memory) {
    for (name, id) in [(&b"root"[..], 0), (b"ann", 7), (b"carl", 2)] {
        store.add_user(name, id);
    }
}

/// docs/wire D24: who at the receiver owns what belongs to this number at the sender.
const fn here(id: u32) -> u32 {
    match id {
        1 => 7,
        other => other,
    }
}

fn pairs(rng: &mut Rng) -> Vec<(Bytes, Bytes)> {
    let names = [&b"user.a"[..], b"user.comment", b"user.mime_type"];
    let mut pairs = Vec::new();
    for name in names {
        if rng.chance(1, 2) {
            let value = vec![rng.any() as u8; rng.below(40)];
            pairs.push((Bytes::from_static(name), value.into()));
        }
    }
    pairs
}

/// Gives some of a tree to others, and attributes to some of it; modes and times stay.
fn decorate(rng: &mut Rng, store: &Memory, ids: &[u32]) {
    for (path, kind, ..) in store.snapshot() {
        let meta = store.stat(&path).unwrap().meta;
        if rng.chance(1, 2) {
            let (user, group) = (ids[rng.below(ids.len())], ids[rng.below(ids.len())]);
            store.set_owner(&path, Ids { user, group }).unwrap();
        }
        if rng.chance(1, 2) && kind != Kind::Symlink {
            store.set_xattrs(&path, kind, &pairs(rng)).unwrap();
        }
        store.set_path_meta(&path, kind, &meta).unwrap();
    }
}

/// What an entry has beside its facts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    owner: Ids,
    xattrs: Vec<(Bytes, Bytes)>,
}

fn held(store: &Memory) -> BTreeMap<RelPath, Held> {
    let mut all = BTreeMap::new();
    for (path, kind, ..) in store.snapshot() {
        let held = store.attributes(&path, kind, ALL).unwrap();
        let (owner, xattrs) = (held.owner.unwrap(), held.xattrs);
        let (user, group) = (owner.uid, owner.gid);
        let owner = Ids { user, group };
        all.insert(path, Held { owner, xattrs });
    }
    all
}

fn two_trees(rng: &mut Rng) -> (Memory, Memory) {
    let old = tree(rng);
    let new = if rng.chance(1, 3) {
        tree(rng)
    } else {
        later(rng, &old)
    };
    sender_people(&new);
    receiver_people(&old);
    decorate(rng, &new, &[0, 1, 2, 3]);
    decorate(rng, &old, &[0, 2, 3, 7]);
    (old, new)
}

/// Whatever belongs to others does not run as them before it is theirs.
fn nobody_was_impersonated(now: &Memory, old: &Memory, new: &Memory) {
    let allowed = |store: &Memory, map: fn(u32) -> u32| -> Vec<(Bytes, u32)> {
        let owners = held(store);
        let files = facts(store).into_iter();
        let set = files.filter(|fact| fact.1 == Kind::File && fact.3 & 0o6000 != 0);
        set.map(|fact| (fact.2, map(owners[&fact.0].owner.user)))
            .collect()
    };
    let known: Vec<_> = [allowed(old, |id| id), allowed(new, here)].concat();
    for fact in allowed(now, |id| id) {
        assert!(known.contains(&fact), "it runs as {}", fact.1);
    }
}

/// docs/wire D24: killed and cut off anywhere, in the end owners are mapped by name, or by number where
/// the name is not known, attributes are equal, and a second run changes nothing.
#[test]
fn sim_owners_and_attributes_follow_whatever_happens() {
    for_seeds(|_, mut rng| {
        let (old, new) = two_trees(&mut rng);
        let before = crate::trees::copy(&old);
        for (path, held) in held(&old) {
            let meta = before.stat(&path).unwrap().meta;
            before.set_owner(&path, held.owner).unwrap();
            let kind = before.stat(&path).unwrap().kind;
            before.set_path_meta(&path, kind, &meta).unwrap();
        }
        for _ in 0..rng.below(4) {
            let mut conditions = conditions(&mut rng);
            if rng.chance(1, 2) {
                conditions = conditions.cut_after(1 + rng.spread(3_000_000) as u64);
            }
            let mut pair = pair(&mut rng, &conditions, &options(), (&new, &old));
            if rng.chance(2, 3) {
                old.kill_after(rng.spread(300) as u64);
            }
            run(&mut pair);
            drop(pair);
            old.revive();
            nobody_was_impersonated(&old, &before, &new);
        }
        let conditions = conditions(&mut rng);
        let mut first = pair(&mut rng, &conditions, &options(), (&new, &old));
        assert!(run(&mut first), "not complete: {:?}", first.b.engine);
        assert_eq!(failures(&first.b), Vec::<String>::new());
        assert_equal(&old, &new);
        let mut wanted = held(&new);
        for Held { owner, .. } in wanted.values_mut() {
            (owner.user, owner.group) = (here(owner.user), here(owner.group));
        }
        assert_eq!(held(&old), wanted);
        let changes = old.changes();
        let quick = Conditions::default();
        let mut second = pair(&mut rng, &quick, &options(), (&new, &old));
        assert!(run(&mut second));
        assert_eq!(said(&second.b), []);
        assert_eq!(old.changes(), changes);
    });
}

/// docs/wire D21, D24: what a dry run says of owners and attributes is what the run does.
#[test]
fn sim_a_dry_run_tells_of_owners_and_attributes() {
    for_seeds(|_, mut rng| {
        let (old, new) = two_trees(&mut rng);
        let before = (facts(&old), held(&old));
        // Whether a file still shares its content when it is looked at depends on what was done before.
        if before.0.iter().any(|fact| fact.5 != fact.0) {
            return;
        }
        let checksum = rng.chance(1, 2);
        let real = Options {
            checksum,
            ..options()
        };
        let dry = Options {
            dry_run: true,
            ..real.clone()
        };
        let quick = Conditions::default();
        let mut first = pair(&mut rng, &quick, &dry, (&new, &old));
        assert!(run(&mut first));
        assert_eq!((facts(&old), held(&old)), before);
        let mut second = pair(&mut rng, &quick, &real, (&new, &old));
        assert!(run(&mut second));
        assert_eq!(said(&first.b), said(&second.b));
    });
}

/// One file of each end, in trees of nothing else.
fn one_file(mode: u32) -> (Memory, Memory, RelPath) {
    let (old, new) = (Memory::new(), Memory::new());
    let path = RelPath::root().join(b"file");
    new.put(&path, b"content", mode, FileTime::default())
        .unwrap();
    sender_people(&new);
    receiver_people(&old);
    (old, new, path)
}

/// docs/wire D24: content comes even so, without the bits that would make it run as the wrong user, and
/// each run says what was not permitted, and what to do.
#[test]
fn what_cannot_be_given_away_is_told() {
    let (old, new, path) = one_file(0o6755);
    let (user, group) = (1, 1);
    new.set_owner(&path, Ids { user, group }).unwrap();
    let meta = Meta {
        size: 7,
        mtime: FileTime::default(),
        mode: 0o6755,
    };
    new.set_path_meta(&path, Kind::File, &meta).unwrap();
    old.unprivileged(true);
    let mut rng = Rng::from_seed(1);
    for _ in 0..2 {
        let quick = Conditions::default();
        let mut pair = pair(&mut rng, &quick, &options(), (&new, &old));
        assert!(run(&mut pair));
        let told = failures(&pair.b);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("user 7") && told[0].contains("leave --owner out"));
        let fact = &old.snapshot()[0];
        assert_eq!((&fact.2[..], fact.3), (&b"content"[..], 0o755));
    }
}

/// docs/wire D24: more than 4 KiB do not come, and what is here is not taken for too much.
#[test]
fn too_many_attributes_are_told_and_the_content_comes() {
    let (old, new, path) = one_file(0o644);
    let one = |length| [(Bytes::from_static(b"user.a"), Bytes::from(vec![1; length]))];
    new.set_xattrs(&path, Kind::File, &one(Attributes::MOST_BYTES))
        .unwrap();
    let mut rng = Rng::from_seed(1);
    let quick = Conditions::default();
    let mut pair = pair(&mut rng, &quick, &options(), (&new, &old));
    assert!(run(&mut pair));
    let told = failures(&pair.b);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("more than 4096 bytes"), "{told:?}");
    assert_equal(&old, &new);
    // What a file has that stays is left alone.
    drop(pair);
    old.set_xattrs(&path, Kind::File, &one(3)).unwrap();
    let mut again = crate::runs::pair(&mut rng, &quick, &options(), (&new, &old));
    assert!(run(&mut again));
    assert_eq!(failures(&again.b).len(), 1);
    assert_eq!(held(&old)[&path].xattrs, one(3));
}

/// docs/wire D24: a sender that tells of owners and attributes unasked has nothing of it set.
#[test]
fn what_was_not_asked_for_is_not_set() {
    let (old, new, path) = one_file(0o644);
    let mut rng = Rng::from_seed(1);
    let quick = Conditions::default();
    let mut pair = pair(&mut rng, &quick, &mirror(), (&new, &old));
    pair.a.lie = Some(|_, message| match message {
        Message::List {
            dir,
            first,
            last,
            error,
            patterns,
            mut entries,
        } => {
            for entry in &mut entries {
                let owner = Some(Owner {
                    uid: 9,
                    gid: 9,
                    ..Default::default()
                });
                let xattrs = vec![(Bytes::from_static(b"user.a"), Bytes::new())];
                entry.attributes = Some(std::sync::Arc::new(Attributes {
                    owner,
                    xattrs,
                    incomplete: true,
                }));
            }
            Message::List {
                dir,
                first,
                last,
                error,
                patterns,
                entries,
            }
        }
        other => other,
    });
    assert!(run(&mut pair));
    assert_eq!(failures(&pair.b), Vec::<String>::new());
    let (user, group, xattrs) = (0, 0, Vec::new());
    let owner = Ids { user, group };
    assert_eq!(held(&old)[&path], Held { owner, xattrs });
}
