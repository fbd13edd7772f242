//! What the two ends of a sync hold, whatever the trees are and whatever a peer does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod pair;

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use pair::{Ended, Tree, found, sync};
use peak_alloc::PeakAlloc;
use towline_sync::engine::{Done, Filter, Job, Listing, Options, Receiver, Violation};
use towline_sync::fs::Found;
use towline_sync::wire::{Entry, FileTime, Kind, Message, Meta, RelPath};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// One test at a time: the memory is everybody's.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Links in one message.
const LINKS: u64 = 32;

/// Links with long targets, numbered on.
fn links(first: u64, all: u64) -> Message {
    let entry = |number: u64| Entry {
        name: format!("{number:010}").into(),
        kind: Kind::Symlink,
        meta: Meta {
            size: 0,
            mtime: FileTime::default(),
            mode: 0o777,
        },
        target: Some(Bytes::from(vec![b'x'; 1000])),
        link: None,
        leads: false,
        ends: false,
        attributes: None,
    };
    Message::List {
        dir: 0,
        first,
        last: first + LINKS > all,
        error: None,
        patterns: Bytes::new(),
        entries: (first..first + LINKS).map(entry).collect(),
    }
}

/// Does work without a file system.
fn work(receiver: &mut Receiver) {
    while let Some(job) = receiver.poll_job() {
        let done = match job {
            Job::Prepare { dir, .. } => {
                let result = Ok(Listing::default());
                Done::Listed { dir, result }
            }
            Job::Change { token, .. } => {
                let failures = Vec::new();
                Done::Changed { token, failures }
            }
            _ => Done::Nothing,
        };
        receiver.handle_done(done).unwrap();
    }
    while receiver.poll_event().is_some() {}
}

fn receiver() -> Receiver {
    let options = Options {
        report: true,
        ..Options::default()
    };
    let mut receiver = Receiver::new(options, Filter::default());
    work(&mut receiver);
    receiver
}

/// docs/wire D15: a receiver whose reports are not read goes through no more of what is listed; a peer that
/// lists on even so, beyond what D14 lets it, ends the sync, and takes no memory without end.
#[test]
fn who_lists_without_reading_ends_the_sync_and_takes_little() {
    const ALL: u64 = 2_000_000;
    let _alone = alone();
    let mut receiver = receiver();
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let mut first = 1;
    let mut ended = Ok(());
    while first <= ALL && ended.is_ok() {
        ended = receiver.handle_message(links(first, ALL));
        if ended.is_ok() {
            work(&mut receiver);
        }
        first += LINKS;
    }
    assert_eq!(ended, Err(Violation::TooMuch), "after {first} entries");
    let peak = MEMORY.peak_usage() - before;
    assert!(peak < 96 << 20, "{peak} bytes after {first} entries");
}

/// A directory with a path of 602 bytes, and what is in it.
fn deep(path: &RelPath, inside: impl Fn() -> Vec<Found>) -> Vec<Found> {
    match path.depth() {
        0..3 => vec![found("d".repeat(200), Kind::Dir, (1, 1))],
        _ => inside(),
    }
}

/// A name that makes paths of 709 bytes there.
fn name(number: u64) -> String {
    format!("{number:06}{}", "n".repeat(100))
}

fn mirror() -> Options {
    Options {
        delete: true,
        report: true,
        ..Options::default()
    }
}

/// Syncs two trees; what both ends held at most, together and with the listings that they were given.
fn measured(from: Tree, to: Tree, options: &Options) -> (Ended, usize) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let ended = sync(from, to, options, 64);
    let peak = MEMORY.peak_usage() - before;
    assert_eq!(ended.result, Ok(()));
    assert!(ended.finished, "{:?}", ended.totals);
    (ended, peak >> 20)
}

const MANY: u64 = 300_000;

fn nothing(_: &RelPath) -> Vec<Found> {
    Vec::new()
}

/// docs/wire D15: an honest pair comes to its end, whatever has links.
#[test]
fn very_many_links_to_one_file_are_made_as_they_come() {
    let _alone = alone();
    let links: Tree = |path| {
        deep(path, || {
            (0..MANY)
                .map(|n| found(name(n), Kind::File, (7, MANY)))
                .collect()
        })
    };
    let (ended, peak) = measured(links, nothing, &mirror());
    assert_eq!((ended.links, ended.failures.len()), (MANY - 1, 0));
    assert!(peak < 128, "{peak} MiB");
}

/// docs/wire D14: first names are remembered until their last links came.
#[test]
fn very_many_files_of_two_names_are_linked() {
    let _alone = alone();
    let pairs: Tree = |path| match path.depth() {
        0 => vec![
            found("x".repeat(250), Kind::Dir, (1, 1)),
            found("y".repeat(250), Kind::Dir, (1, 1)),
        ],
        _ => (0..MANY / 2)
            .map(|n| found(format!("{n:06}"), Kind::File, (n + 10, 2)))
            .collect(),
    };
    let (ended, peak) = measured(pairs, nothing, &mirror());
    assert_eq!((ended.links, ended.failures.len()), (MANY / 2, 0));
    assert!(peak < 128, "{peak} MiB");
}

/// docs/wire D21: what is to be deleted is known by little until then.
#[test]
fn very_many_entries_are_deleted() {
    let _alone = alone();
    let extras: Tree = |path| {
        deep(path, || {
            (0..MANY)
                .map(|n| found(name(n), Kind::File, (n + 10, 1)))
                .collect()
        })
    };
    let only_dirs: Tree = |path| deep(path, Vec::new);
    let (ended, peak) = measured(only_dirs, extras, &mirror());
    assert!(peak < 128, "{peak} MiB");
    assert_eq!((ended.removed, ended.failures.len()), (MANY, 0));
    assert_eq!(ended.told, MANY);
    let (ended, peak) = measured(nothing, extras, &mirror());
    assert!(peak < 128, "{peak} MiB");
    assert_eq!((ended.removed, ended.failures.len()), (MANY + 3, 0));
}

/// docs/wire D25: a directory gives way whatever is in it, and nobody takes it for too much.
#[test]
fn a_very_large_directory_gives_way_to_a_file() {
    let _alone = alone();
    let large: Tree = |path| {
        deep(path, || {
            (0..200_000)
                .map(|n| found(name(n), Kind::File, (n + 10, 1)))
                .collect()
        })
    };
    let file: Tree = |path| match path.depth() {
        0 => vec![found("d".repeat(200), Kind::File, (5, 1))],
        _ => Vec::new(),
    };
    let (ended, peak) = measured(file, large, &mirror());
    assert_eq!((ended.removed, ended.totals.deleted), (200_003, 200_003));
    assert_eq!((ended.totals.files_done, ended.failures.len()), (1, 0));
    assert!(peak < 128, "{peak} MiB");
}

#[test]
fn very_many_small_files_and_directories_come() {
    let _alone = alone();
    let files: Tree = |path| {
        deep(path, || {
            (0..MANY)
                .map(|n| found(format!("{n:06}"), Kind::File, (n + 10, 1)))
                .collect()
        })
    };
    let (ended, peak) = measured(files, nothing, &mirror());
    assert_eq!((ended.totals.files_done, ended.failures.len()), (MANY, 0));
    assert!(peak < 128, "{peak} MiB");
    let dirs: Tree = |path| match path.depth() {
        0 => (0..MANY)
            .map(|n| found(format!("{n:06}"), Kind::Dir, (n + 10, 1)))
            .collect(),
        _ => Vec::new(),
    };
    let (ended, peak) = measured(dirs, nothing, &mirror());
    assert_eq!((ended.totals.entries, ended.failures.len()), (MANY, 0));
    assert!(peak < 128, "{peak} MiB");
}
