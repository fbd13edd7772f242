//! Trees by chance, and what became of them.

use bytes::Bytes;
use towline_sim::Rng;
use towline_sync::fs::{Memory, Store as _};
use towline_sync::wire::{FileTime, Kind, Meta, RelPath};

const NAMES: [&[u8]; 12] = [
    b"a",
    b"b",
    b"c",
    b"d.o",
    b"e.txt",
    b"f",
    b"\xff\xfe",
    b"long name with spaces",
    b"g",
    b"h",
    b"i",
    b".hidden",
];

fn time(rng: &mut Rng) -> FileTime {
    FileTime {
        seconds: rng.below(1_000_000) as i64,
        nanos: rng.below(1_000_000_000) as u32,
    }
}

fn content(rng: &mut Rng) -> Vec<u8> {
    let length = match rng.below(10) {
        0 => 0,
        1..=4 => rng.below(2000),
        5..=6 => rng.below(60_000),
        7..=8 => 30_000 + rng.below(400_000),
        _ => 500_000 + rng.below(1_500_000),
    };
    let mut bytes: Vec<u8> = Vec::with_capacity(length + 8);
    let zeros = rng.chance(1, 5);
    while bytes.len() < length {
        if zeros && rng.chance(1, 3) {
            bytes.extend(vec![0; rng.below(100_000)]);
        }
        bytes.append(&mut rng.bytes(4096));
    }
    bytes.truncate(length);
    bytes
}

/// Changes some bytes here and there.
fn edit(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..1 + rng.below(3) {
        let at = rng.below(bytes.len() + 1);
        match rng.below(3) {
            0 => drop(bytes.splice(at..at, (0..rng.below(5000)).map(|n| n as u8))),
            1 => drop(bytes.drain(at..(at + rng.below(5000)).min(bytes.len()))),
            _ => bytes[at..]
                .iter_mut()
                .take(100)
                .for_each(|byte| *byte ^= 0x55),
        }
    }
}

/// A tree by chance.
pub(crate) fn tree(rng: &mut Rng) -> Memory {
    let store = Memory::new();
    let mut dirs = vec![RelPath::root()];
    let mut files: Vec<RelPath> = Vec::new();
    for _ in 0..rng.below(25) {
        let path = dirs[rng.below(dirs.len())].join(NAMES[rng.below(NAMES.len())]);
        if store.stat(&path).is_ok() {
            continue;
        }
        add(rng, &store, &path, &mut dirs, &mut files);
    }
    settle(rng, &store);
    store
}

fn add(
    rng: &mut Rng,
    store: &Memory,
    path: &RelPath,
    dirs: &mut Vec<RelPath>,
    files: &mut Vec<RelPath>,
) {
    match rng.below(10) {
        0..=2 => {
            store
                .make_dir(path, [0o755, 0o700, 0o1777, 0o555][rng.below(4)])
                .unwrap();
            dirs.push(path.clone());
        }
        3 => store.symlink(NAMES[rng.below(NAMES.len())], path).unwrap(),
        4 if !files.is_empty() => {
            store
                .hard_link(&files[rng.below(files.len())], path)
                .unwrap();
        }
        _ => {
            let (bytes, mode) = (content(rng), [0o644, 0o600, 0o4755, 0o444, 0][rng.below(5)]);
            store.put(path, &bytes, mode, time(rng)).unwrap();
            files.push(path.clone());
        }
    }
}

/// Gives directories times of their own, as a tree that has been left alone has, and perhaps holes to files.
fn settle(rng: &mut Rng, store: &Memory) {
    store.holes(rng.chance(1, 2));
    let root = (
        RelPath::root(),
        Kind::Dir,
        [0o755, 0o700, 0o555][rng.below(3)],
    );
    let all = store.snapshot().into_iter();
    let all = all.map(|(path, kind, _, mode, ..)| (path, kind, mode));
    for (path, kind, mode) in all.chain([root]) {
        if kind == Kind::Dir {
            let (size, mtime) = (0, time(rng));
            store
                .set_path_meta(&path, kind, &Meta { size, mtime, mode })
                .unwrap();
        }
    }
}

/// A later version of a tree: some of it changed, moved, gone, or of another kind.
pub(crate) fn later(rng: &mut Rng, old: &Memory) -> Memory {
    let store = Memory::new();
    let mut moved = Vec::new();
    let (mut dirs, mut files) = (vec![RelPath::root()], Vec::new());
    for (path, kind, bytes, mode, mtime, first) in old.snapshot() {
        if store.stat(&path.parent()).map(|stat| stat.kind).ok() != Some(Kind::Dir) {
            continue;
        }
        match (rng.below(10), kind) {
            (0, _) => {}
            (1, _) => add(rng, &store, &path, &mut dirs, &mut files),
            (_, Kind::Dir) => {
                store.make_dir(&path, mode).unwrap();
                dirs.push(path);
            }
            (_, Kind::Symlink) => store.symlink(&bytes, &path).unwrap(),
            (_, _) if first != path && store.stat(&first).is_ok_and(|s| s.kind == Kind::File) => {
                store.hard_link(&first, &path).unwrap();
            }
            (2, _) => moved.push((bytes, mode, mtime)),
            (3..=5, _) => {
                let mut bytes = bytes.to_vec();
                edit(rng, &mut bytes);
                store.put(&path, &bytes, mode, time(rng)).unwrap();
            }
            (6, _) => store.put(&path, &bytes, 0o640, mtime).unwrap(),
            _ => store.put(&path, &bytes, mode, mtime).unwrap(),
        }
    }
    for (bytes, mode, mtime) in moved {
        let path = dirs[rng.below(dirs.len())].join(b"moved");
        if store.stat(&path).is_err() {
            store.put(&path, &bytes, mode, mtime).unwrap();
        }
    }
    settle(rng, &store);
    store
}

/// A copy of a tree.
pub(crate) fn copy(tree: &Memory) -> Memory {
    let store = Memory::new();
    for (path, kind, bytes, mode, mtime, first) in tree.snapshot() {
        match kind {
            Kind::Dir => store.make_dir(&path, mode).unwrap(),
            Kind::Symlink => store.symlink(&bytes, &path).unwrap(),
            _ if first != path => store.hard_link(&first, &path).unwrap(),
            _ => store.put(&path, &bytes, mode, mtime).unwrap(),
        }
    }
    for (path, kind, _, mode, mtime, _) in tree.snapshot() {
        let meta = Meta {
            size: 0,
            mtime,
            mode,
        };
        store.set_path_meta(&path, kind, &meta).unwrap();
    }
    store
}

/// What must be equal.
pub(crate) fn facts(tree: &Memory) -> Vec<(RelPath, Kind, Bytes, u32, FileTime, RelPath)> {
    tree.snapshot()
}

/// Fails with the first difference.
pub(crate) fn assert_equal(found: &Memory, wanted: &Memory) {
    let root = |store: &Memory| store.stat(&RelPath::root()).unwrap().meta;
    assert_eq!(root(found), root(wanted), "the root");
    let (found, wanted) = (facts(found), facts(wanted));
    let show = |fact: &(RelPath, Kind, Bytes, u32, FileTime, RelPath)| {
        let (path, kind, bytes, mode, mtime, first) = fact;
        let hash = blake3::hash(bytes).to_hex();
        format!(
            "{path} {kind:?} {} bytes {hash:.8} {mode:o} {mtime:?} = {first}",
            bytes.len()
        )
    };
    let found: Vec<_> = found.iter().map(show).collect();
    let wanted: Vec<_> = wanted.iter().map(show).collect();
    let more: Vec<_> = found.iter().filter(|fact| !wanted.contains(fact)).collect();
    let less: Vec<_> = wanted.iter().filter(|fact| !found.contains(fact)).collect();
    assert!(
        more.is_empty() && less.is_empty(),
        "here: {more:#?}\nwanted: {less:#?}"
    );
}
