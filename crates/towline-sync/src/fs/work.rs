//! The engine's jobs, done on a store.

mod apply;
mod attributes;
mod extent;
mod modes;
mod read;
mod tree;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use self::attributes::SET_IDS;
use self::extent::LastExtent;
pub(crate) use self::tree::name_hash;
use super::{Manifest, Stat, Store};
use crate::engine::{Done, Failed, Job};
use crate::wire::{Chunking, RelPath};

/// Keeps manifests of files that have not changed.
pub trait ManifestCache: Send + Sync {
    /// The manifest of a file that is still as `stat` says.
    fn find(&self, stat: &Stat, chunking: Chunking) -> Option<Manifest>;

    /// Keeps a manifest.
    fn keep(&self, manifest: &Manifest, chunking: Chunking);
}

/// Does jobs on a store, on as many threads as call it.
pub struct Worker<S: Store> {
    store: S,
    cache: Option<Box<dyn ManifestCache>>,
    sources: Mutex<HashMap<u64, Arc<OpenSource<S::File>>>>,
    parts: Mutex<HashMap<u64, Arc<apply::Part<S::File>>>>,
    opened: Mutex<modes::Opened<S::File>>,
    keep_root: bool,
    counter: AtomicU64,
    seed: u64,
}

struct OpenSource<F> {
    file: F,
    stat: Stat,
    extent: LastExtent,
}

impl<F> OpenSource<F> {
    fn new(file: F, stat: Stat) -> Self {
        Self {
            file,
            stat,
            extent: LastExtent::default(),
        }
    }
}

impl<S: Store> Worker<S> {
    /// A worker on a store. `seed` makes the names of its temporary files its own.
    pub fn new(store: S, seed: u64) -> Self {
        Self {
            store,
            cache: None,
            sources: Mutex::default(),
            parts: Mutex::default(),
            opened: Mutex::default(),
            keep_root: false,
            counter: AtomicU64::new(0),
            seed,
        }
    }

    /// Looks manifests up here before it reads files.
    #[must_use]
    pub fn cache(mut self, cache: Box<dyn ManifestCache>) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Leaves the root closed if it is, as for a sync that does not set its mode (docs/wire D22).
    #[must_use]
    pub const fn keep_root(mut self, keep: bool) -> Self {
        self.keep_root = keep;
        self
    }

    /// The store.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// Does one job, which may take its time.
    pub fn run(&self, job: Job) -> Done {
        match job {
            Job::List {
                dir,
                path,
                ignore_file,
                wanted,
            } => Done::Listed {
                dir,
                result: self.list(&path, ignore_file.as_deref(), wanted),
            },
            Job::ReadSmall(files) => Done::Small(
                files
                    .into_iter()
                    .map(|(id, path)| (id, self.read_small(&path)))
                    .collect(),
            ),
            Job::Manifest {
                key,
                path,
                chunking,
            } => Done::Manifest {
                key,
                result: self.manifest(key, &path, chunking),
            },
            Job::Fine { key, chunks } => Done::Fine {
                key,
                result: self.fine(key, &chunks),
            },
            Job::Open { key, path } => Done::Opened {
                key,
                result: self.open(key, &path),
            },
            Job::Read {
                key,
                turn,
                ranges,
                block,
            } => Done::Read {
                key,
                turn,
                asked: ranges.iter().map(|(_, length)| length).sum(),
                result: self.read(key, &ranges, block),
            },
            Job::Close { key } => {
                lock(&self.sources).remove(&key);
                Done::Nothing
            }
            Job::Prepare {
                dir,
                path,
                make,
                dry_run,
                wanted,
            } => Done::Listed {
                dir,
                result: self.prepare(&path, (make, dry_run), wanted),
            },
            Job::Resolve { users, groups } => Done::Resolved {
                users: Self::resolve(users, |name| self.store.user_id(name)),
                groups: Self::resolve(groups, |name| self.store.group_id(name)),
            },
            Job::StoreSmall { files, durable } => Done::Stored(self.store_small(files, durable)),
            Job::BeginPart {
                id,
                path,
                size,
                chunking,
                ..
            } => Done::Begun {
                id,
                result: self.begin_part(id, path, size, chunking),
            },
            Job::Apply { id, ops } => Done::Applied {
                id,
                received: ops.iter().map(apply::received).sum(),
                result: self.apply(id, ops),
            },
            Job::FinishPart { id, meta, durable } => Done::Finished {
                id,
                result: self.finish_part(id, &meta, durable),
            },
            Job::LeavePart { id, keep } => {
                self.leave_part(id, keep);
                Done::Left { id }
            }
            Job::Change { token, change } => Done::Changed {
                token,
                failures: self.change(&change),
            },
            Job::Walk {
                token,
                path,
                among,
                dry_run,
            } => Done::Walked {
                token,
                result: self.walk(&path, among.as_deref().map(Vec::as_slice), dry_run),
            },
            Job::CloseUp { token } => Done::Changed {
                token,
                failures: self.close_up(),
            },
            Job::SyncAll { token } => Done::Changed {
                token,
                failures: match self.store.sync_all() {
                    Ok(()) => Vec::new(),
                    Err(error) => {
                        vec![(0, failed(&RelPath::root(), "cannot be written out", &error))]
                    }
                },
            },
        }
    }

    fn source(&self, key: u64) -> Option<Arc<OpenSource<S::File>>> {
        lock(&self.sources).get(&key).cloned()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The tables are consistent between any two statements that could panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What happened to which path.
fn failed(path: &RelPath, what: &str, error: &io::Error) -> Failed {
    let full = matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    );
    Failed {
        text: if full {
            format!("no space left to store `{path}`; free some space and try again ({error})")
        } else {
            format!("`{path}` {what}: {error}")
        },
        changed: error.kind() == io::ErrorKind::Interrupted,
        full,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::engine::SmallFile;
    use crate::fs::{Memory, manifest};
    use crate::wire::{FileTime, Meta};

    fn small(path: &str, bytes: &'static [u8]) -> SmallFile {
        SmallFile {
            id: 1,
            path: RelPath::new(path.as_bytes()).unwrap(),
            meta: Meta {
                size: bytes.len() as u64,
                mode: 0o640,
                mtime: FileTime {
                    seconds: 5,
                    nanos: 0,
                },
            },
            bytes: Bytes::from_static(bytes),
            hash: manifest::short(blake3::hash(bytes).as_bytes()),
            new: true,
        }
    }

    fn store(worker: &Worker<Memory>, file: SmallFile) {
        let files = vec![file];
        let done = worker.run(Job::StoreSmall {
            files,
            durable: false,
        });
        assert!(
            matches!(&done, Done::Stored(stored) if matches!(stored[..], [(1, Ok(()))])),
            "{done:?}"
        );
    }

    /// docs/wire D20.
    #[test]
    fn a_new_small_file_replaces_what_has_come_into_its_place() {
        let memory = Memory::new();
        let worker = Worker::new(memory.clone(), 1);
        store(&worker, small("file", b"first"));
        let first = memory.changes();
        assert_eq!(first, 4, "made, written, dated, named");
        store(&worker, small("file", b"second"));
        let found = memory.snapshot();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((&found[0].2[..], found[0].3), (&b"second"[..], 0o640));
    }

    /// docs/wire D20.
    #[test]
    fn nothing_is_left_of_a_new_small_file_wherever_the_process_is_killed() {
        for changes in 0..4 {
            let memory = Memory::new();
            memory.kill_after(changes);
            let files = vec![small("file", b"content")];
            Worker::new(memory.clone(), 1).run(Job::StoreSmall {
                files,
                durable: false,
            });
            assert_eq!(memory.snapshot(), [], "after {changes} changes");
        }
    }
}
