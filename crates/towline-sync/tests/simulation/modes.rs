//! Modes that keep even the owner out, at a receiver that is not root's.

use bytes::Bytes;
use towline_sim::{Conditions, Rng};
use towline_sync::engine::Options;
use towline_sync::fs::{Memory, Store as _};
use towline_sync::wire::{FileTime, Kind, Meta, RelPath};

use crate::runs::{failures, mirror, pair, run, said};
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

/// docs/wire D22: a directory of which only one file is meant has its mode again afterwards, and one that was
/// opened up only to be looked at as well.
#[test]
fn what_was_opened_up_is_closed_again() {
    let mut rng = Rng::from_seed(1);
    let (new, old) = (Memory::new(), Memory::new());
    let (file, name) = (path("f"), Bytes::from_static(b"f"));
    new.put(&file, b"content", 0o644, FileTime::default())
        .unwrap();
    set(&old, &RelPath::root(), 0o555, 3);
    old.strict(true);
    let options = Options {
        only: Some(name.clone()),
        rename: Some(name),
        ..mirror()
    };
    let quick = Conditions::default();
    let mut one = pair(&mut rng, &quick, &options, (&new, &old));
    assert!(run(&mut one));
    assert_eq!(failures(&one.b), Vec::<String>::new());
    assert_eq!(old.snapshot()[0].2, &b"content"[..]);
    assert_eq!(old.stat(&RelPath::root()).unwrap().meta.mode, 0o555);

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
