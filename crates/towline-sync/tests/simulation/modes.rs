//! Modes that keep even the owner out, at a receiver that is not root's.

use bytes::Bytes;
use towline_sim::{Conditions, Rng};
use towline_sync::engine::{Filter, Options};
use towline_sync::fs::{Memory, Store as _};
use towline_sync::wire::{FileTime, Kind, Meta, RelPath};

use crate::runs::{failures, mirror, pair, pair_with, run, said};
use crate::trees::assert_equal;

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

fn set(store: &Memory, dir: &RelPath, mode: u32, seconds: i64) {
    let mtime = FileTime { seconds, nanos: 0 };
    let (size, kind) = (0, Kind::Dir);
    store
        .set_path_meta(dir, kind, &Meta { size, mtime, mode })
        .unwrap();
}

/// Directories of these modes with files that nobody may read or write.
fn closed(content: &[u8]) -> Memory {
    let store = Memory::new();
    for mode in [0o555, 0o300, 0o600, 0] {
        let dir = path(&format!("{mode:o}"));
        store.make_dir(&dir, 0o700).unwrap();
        store.make_dir(&dir.join(b"in"), mode).unwrap();
        for name in ["small", "large"] {
            let file = dir.join(name.as_bytes());
            let bytes = content.repeat(if name == "small" { 1 } else { 30_000 });
            store.put(&file, &bytes, 0, FileTime::default()).unwrap();
        }
    }
    for mode in [0o555, 0o300, 0o600, 0] {
        let dir = path(&format!("{mode:o}"));
        set(&store, &dir.join(b"in"), mode, 5);
        set(&store, &dir, mode, 7);
    }
    store
}

/// docs/wire D22: what is new is filled first and closed afterwards; what is there is opened up for the time
/// of the sync.
#[test]
fn closed_directories_are_made_filled_changed_and_emptied() {
    let mut rng = Rng::from_seed(1);
    let (first, second) = (closed(b"one"), closed(b"other"));
    let removed = path("555/in/deep");
    first.make_dir(&removed, 0).unwrap();
    set(&first, &path("555/in"), 0o555, 5);
    let old = Memory::new();
    old.strict(true);
    for new in [&first, &second] {
        let quick = Conditions::default();
        let mut pair = pair(&mut rng, &quick, &mirror(), (new, &old));
        assert!(run(&mut pair));
        assert_eq!(failures(&pair.b), Vec::<String>::new());
        assert_equal(&old, new);
    }
}

/// docs/wire D22: what was opened up only to be looked at has its mode again afterwards.
#[test]
fn what_was_opened_up_is_closed_again() {
    let mut rng = Rng::from_seed(1);
    let quick = Conditions::default();
    let (new, old) = (closed(b"same"), closed(b"same"));
    old.strict(true);
    let mut same = pair(&mut rng, &quick, &mirror(), (&new, &old));
    assert!(run(&mut same));
    assert_eq!(said(&same.b), []);
    assert_equal(&old, &new);
}

/// docs/wire D22: a sync that ends early closes what it has opened up.
#[test]
fn a_sync_that_is_cut_off_leaves_nothing_open() {
    let mut rng = Rng::from_seed(1);
    let (new, old) = (closed(b"newer"), closed(b"old"));
    old.strict(true);
    let cut = Conditions::default().cut_after(2000);
    let mut first = pair(&mut rng, &cut, &mirror(), (&new, &old));
    assert!(!run(&mut first));
    assert!(old.stat(&path("300")).unwrap().meta.mode == 0o700, "opened");
    drop(first);
    for mode in [0o555, 0o300, 0o600, 0] {
        let dir = path(&format!("{mode:o}"));
        assert_eq!(old.stat(&dir).unwrap().meta.mode, mode);
    }
}

/// A tree with one file, `f`.
fn one_file() -> Memory {
    let new = Memory::new();
    new.put(&path("f"), b"content", 0o644, FileTime::default())
        .unwrap();
    new
}

/// docs/wire D22: nobody would know the mode again of a root that is not the sync's to set.
#[test]
fn a_closed_root_that_keeps_its_mode_is_not_opened_up() {
    let mut rng = Rng::from_seed(1);
    let name = Bytes::from_static(b"f");
    let single = Options {
        only: Some(name.clone()),
        rename: Some(name),
        ..mirror()
    };
    let served = Options {
        keep_root: true,
        ..mirror()
    };
    for options in [single, served] {
        let (new, old) = (one_file(), Memory::new());
        set(&old, &RelPath::root(), 0o555, 3);
        old.strict(true);
        let before = old.changes();
        let quick = Conditions::default();
        let mut sync = pair(&mut rng, &quick, &options, (&new, &old));
        assert!(run(&mut sync));
        let said = failures(&sync.b);
        assert!(
            said.len() == 1 && said[0].starts_with("`f` cannot be stored"),
            "{said:?}"
        );
        assert_eq!(old.stat(&RelPath::root()).unwrap().meta.mode, 0o555);
        assert_eq!(old.snapshot(), []);
        assert!(old.changes() - before < 5, "tried, and nothing changed");
    }
}

/// docs/wire D22: whoever is killed while directories are open leaves a journal, and the next run closes them,
/// whatever that is.
#[test]
fn what_a_killed_sync_leaves_open_is_closed_by_the_next() {
    // Entries that the sender does not have, some of which stay because a pattern leaves them out.
    let closed = || {
        let old = Memory::new();
        for (dir, mode) in [("x", 0o555), ("x/y", 0o500), ("x/y/z", 0)] {
            old.make_dir(&path(dir), 0o700).unwrap();
            for name in ["gone", "kept"] {
                let file = path(dir).join(name.as_bytes());
                old.put(&file, b"old", 0o600, FileTime::default()).unwrap();
            }
            set(&old, &path(dir), mode, 5);
        }
        set(&old, &RelPath::root(), 0o755, 3);
        old.strict(true);
        old
    };
    let modes = |old: &Memory| {
        ["x", "x/y", "x/y/z"].map(|dir| {
            let found = old.snapshot();
            let found = found.iter().find(|found| found.0 == path(dir));
            found.map(|found| found.3)
        })
    };
    let kept = Filter::new(b"kept\n").unwrap();
    let quick = Conditions::default();
    let mut rng = Rng::from_seed(1);
    let whole = closed();
    let before = whole.changes();
    let mut sync = pair_with(&mut rng, &quick, &mirror(), &kept, (&one_file(), &whole));
    assert!(run(&mut sync));
    assert_eq!(failures(&sync.b), Vec::<String>::new());
    drop(sync);
    assert_eq!(modes(&whole), [Some(0o555), Some(0o500), Some(0)]);
    assert_eq!(whole.snapshot().len(), 3 + 3 + 1, "{:?}", whole.snapshot());
    let name = Bytes::from_static(b"f");
    let single = Options {
        only: Some(name.clone()),
        rename: Some(name),
        ..mirror()
    };
    let mut opened = 0;
    for changes in 0..whole.changes() - before {
        let old = closed();
        let mut rng = Rng::from_seed(changes);
        let mut killed = pair_with(&mut rng, &quick, &mirror(), &kept, (&one_file(), &old));
        old.kill_after(changes);
        run(&mut killed);
        drop(killed);
        old.revive();
        opened += u32::from(modes(&old) != modes(&whole));
        // Another sync than the one that was killed.
        let mut next = pair(&mut rng, &quick, &single, (&one_file(), &old));
        assert!(run(&mut next));
        drop(next);
        assert_eq!(modes(&old), modes(&whole), "killed after {changes} changes");
        let own = |name: &RelPath| name.name().ends_with(b".tow-modes");
        assert!(!old.snapshot().iter().any(|found| own(&found.0)));
        assert_eq!(old.stat(&RelPath::root()).unwrap().meta.mode, 0o755);
    }
    assert!(opened > 5, "{opened}");
}

/// docs/wire D22: a mode that a directory was given since is nobody's to change.
#[test]
fn a_mode_that_was_meant_is_not_taken_back() {
    let mut rng = Rng::from_seed(1);
    let quick = Conditions::default();
    for (meant, then) in [(0o755, 0o555), (0o700, 0o700), (0o750, 0o750)] {
        let old = closed(b"old");
        old.strict(true);
        let cut = Conditions::default().cut_after(2000);
        let mut first = pair(&mut rng, &cut, &mirror(), (&closed(b"newer"), &old));
        run(&mut first);
        old.kill_after(0);
        drop(first);
        old.revive();
        assert_eq!(
            old.stat(&path("555")).unwrap().meta.mode,
            0o755,
            "left open"
        );
        set(&old, &path("555"), meant, 9);
        let none = Options {
            delete: false,
            ..mirror()
        };
        let mut next = pair(&mut rng, &quick, &none, (&one_file(), &old));
        assert!(run(&mut next));
        assert_eq!(old.stat(&path("555")).unwrap().meta.mode, then);
        assert_eq!(old.stat(&path("300")).unwrap().meta.mode, 0o300);
    }
}
