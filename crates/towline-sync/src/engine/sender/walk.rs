//! Listing the tree, directory by directory, no further than the receiver keeps up.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{QUEUE, Sender};
use crate::engine::{Failed, Job, Listing, first_names};
use crate::fs::Found;
use crate::wire::{Entry, Kind, Message, Meta, PATH_MAX, RelPath};

/// Directories that are listed ahead, and how many entries these may have.
const AHEAD: usize = 8;
const AHEAD_ENTRIES: usize = 32 << 10;
/// Directories in one message: they are listed before any that come after them.
const DIRS: usize = 32;
/// Most bytes of entries in one message, roughly.
const PIECE: usize = 32 << 10;
/// Components of a path.
const DEPTH_MAX: usize = 256;

/// A directory whose entries are to be sent.
#[derive(Debug)]
pub(super) struct Dir {
    id: u64,
    path: RelPath,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting,
    Running,
    Ready(Box<Ready>),
}

/// What is to be sent of a directory.
#[derive(Debug)]
struct Ready {
    left: VecDeque<Found>,
    patterns: Bytes,
    error: Option<String>,
    begun: bool,
    root: Option<Meta>,
}

/// The first name of a file with several.
#[derive(Debug)]
pub(super) struct Known {
    id: u64,
    /// Names of it that were not listed.
    left: u64,
    dir: u64,
    /// How long the directory's path and its name in it are.
    path: usize,
    name: usize,
}

impl Dir {
    pub(super) const fn new(id: u64, path: RelPath) -> Self {
        Self {
            id,
            path,
            state: State::Waiting,
        }
    }
}

impl Sender {
    /// Lists one of the next directories.
    pub(super) fn list_ahead(&mut self) -> Option<Job> {
        let mut ahead = 0;
        for (place, dir) in self.dirs.iter_mut().take(AHEAD).enumerate() {
            match &dir.state {
                State::Running => {}
                State::Ready(ready) => ahead += ready.left.len(),
                State::Waiting if place > 0 && ahead > AHEAD_ENTRIES => return None,
                State::Waiting => {
                    dir.state = State::Running;
                    return Some(Job::List {
                        dir: dir.id,
                        path: dir.path.clone(),
                        ignore_file: self.ignore_file.clone(),
                        wanted: self.wanted,
                    });
                }
            }
        }
        None
    }

    pub(super) fn dir_listed(&mut self, id: u64, result: Result<Listing, Failed>) {
        let only = self.only.clone();
        let Some(dir) = self.dirs.iter_mut().find(|dir| dir.id == id) else {
            return;
        };
        let (listing, error) = match result {
            Ok(listing) => (listing, None),
            Err(failed) => (Listing::default(), Some(failed.text)),
        };
        let mut left = VecDeque::from(listing.found);
        if let Some(only) = only.as_ref().filter(|_| id == 0) {
            left.retain(|found| found.name == *only);
        }
        dir.state = State::Ready(Box::new(Ready {
            left,
            patterns: listing.patterns,
            error,
            begun: false,
            root: listing.root.filter(|_| only.is_none()),
        }));
    }

    /// Sends entries as long as the window and the queue have room.
    pub(super) fn emit(&mut self) {
        while self.control.len() < QUEUE && self.window.has_room() {
            let Some(mut dir) = self.dirs.pop_front() else {
                if !self.listed {
                    self.listed = true;
                    self.push(Message::ListEnd);
                }
                return;
            };
            let State::Ready(ready) = &mut dir.state else {
                self.dirs.push_front(dir);
                return;
            };
            if !std::mem::replace(&mut ready.begun, true) && !ready.patterns.is_empty() {
                self.filter.add(&dir.path, &ready.patterns);
            }
            if let Some(meta) = ready.root.take() {
                self.control.push_back(Message::Root(meta));
            }
            let first = self.next_id;
            let (mut entries, mut dirs) = (Vec::new(), Vec::new());
            let mut weight = 0;
            while weight < PIECE && dirs.len() < DIRS && self.window.has_room() {
                let Some(found) = ready.left.pop_front() else {
                    break;
                };
                let path = dir.path.join(&found.name);
                let is_dir = found.stat.kind == Kind::Dir;
                if self.filter.excludes(&path, is_dir) {
                    continue;
                }
                if path.as_bytes().len() > PATH_MAX || path.depth() > DEPTH_MAX {
                    // Told as an error of its directory, whose entries are then not taken for complete.
                    ready.error.get_or_insert_with(|| {
                        format!("`{}`: a path in it is too long to be sent", dir.path)
                    });
                    continue;
                }
                let id = self.next_id;
                self.next_id += 1;
                let entry = self.entry((dir.id, dir.path.as_bytes().len()), id, found);
                if is_dir {
                    dirs.push(Dir::new(id, path.clone()));
                }
                weight += entry.weight();
                self.window.add(id, path, &entry);
                entries.push(entry);
            }
            let last = ready.left.is_empty();
            let message = Message::List {
                dir: dir.id,
                first,
                last,
                error: ready.error.take(),
                patterns: std::mem::take(&mut ready.patterns),
                entries,
            };
            self.control.push_back(message);
            // Depth first, so that few directories are known and not listed: what is beneath comes before
            // what is beside.
            if !last {
                self.dirs.push_front(dir);
            }
            for dir in dirs.into_iter().rev() {
                self.dirs.push_front(dir);
            }
        }
    }

    /// What is said of something in a directory with this number, whose path is so long.
    fn entry(&mut self, (dir, path): (u64, usize), id: u64, found: Found) -> Entry {
        let mut entry = Entry {
            name: found.name,
            kind: found.stat.kind,
            meta: found.stat.meta,
            target: found.target,
            link: None,
            leads: false,
            ends: false,
            attributes: found.attributes,
        };
        if entry.kind != Kind::File || found.stat.links < 2 {
            return entry;
        }
        let key = (found.stat.dev, found.stat.ino);
        let Some(known) = self.links.get_mut(&key) else {
            // docs/wire D14: with no room to remember it, it is sent as if it had one name.
            if self.first_names.bytes() < first_names::MOST_BYTES {
                let name = entry.name.len();
                entry.leads = true;
                self.first_names.add(dir, path, name);
                let known = Known {
                    id,
                    left: found.stat.links - 1,
                    dir,
                    path,
                    name,
                };
                self.links.insert(key, known);
            }
            return entry;
        };
        entry.link = Some(known.id);
        // Those of the first name are those of all.
        entry.attributes = None;
        known.left -= 1;
        if known.left == 0 {
            entry.ends = true;
            self.first_names.remove(known.dir, known.path, known.name);
            self.links.remove(&key);
        }
        entry
    }
}
