//! Listing the tree, directory by directory, no further than the receiver keeps up.

use std::collections::VecDeque;

use bytes::Bytes;

use super::files::File;
use super::{QUEUE, Sender, WINDOW};
use crate::engine::{Failed, Job, Listing};
use crate::fs::Found;
use crate::wire::{Entry, Kind, Message, Meta, PATH_MAX, RelPath};

/// Directories that are listed ahead.
const AHEAD: usize = 8;
/// Most bytes of entries in one message, roughly.
const PIECE: usize = 32 << 10;
/// Components of a path.
const DEPTH_MAX: usize = 256;
/// Most files with several names that are known at a time.
const MOST_LINKS: usize = 1 << 20;

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
    Ready {
        left: VecDeque<Found>,
        patterns: Bytes,
        error: Option<String>,
        begun: bool,
        root: Option<Meta>,
        /// Its own directories, in order.
        dirs: Vec<Dir>,
    },
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
        let dir = self
            .dirs
            .iter_mut()
            .take(AHEAD)
            .find(|dir| matches!(dir.state, State::Waiting))?;
        dir.state = State::Running;
        Some(Job::List {
            dir: dir.id,
            path: dir.path.clone(),
            ignore_file: self.ignore_file.clone(),
            wanted: self.wanted,
        })
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
        dir.state = State::Ready {
            left,
            patterns: listing.patterns,
            error,
            begun: false,
            root: listing.root.filter(|_| only.is_none()),
            dirs: Vec::new(),
        };
    }

    /// Sends entries as long as the window and the queue have room.
    pub(super) fn emit(&mut self) {
        while self.control.len() < QUEUE && self.files.len() < WINDOW {
            let Some(dir) = self.dirs.front_mut() else {
                if !self.listed {
                    self.listed = true;
                    self.push(Message::ListEnd);
                }
                return;
            };
            let State::Ready {
                left,
                patterns,
                error,
                begun,
                root,
                dirs,
            } = &mut dir.state
            else {
                return;
            };
            if !std::mem::replace(begun, true) && !patterns.is_empty() {
                self.filter.add(&dir.path, patterns);
            }
            if let Some(meta) = root.take() {
                self.control.push_back(Message::Root(meta));
            }
            let first = self.next_id;
            let mut entries = Vec::new();
            let mut weight = 0;
            while weight < PIECE && self.files.len() < WINDOW {
                let Some(found) = left.pop_front() else {
                    break;
                };
                let path = dir.path.join(&found.name);
                let is_dir = found.stat.kind == Kind::Dir;
                if self.filter.excludes(&path, is_dir) {
                    continue;
                }
                if path.as_bytes().len() > PATH_MAX || path.depth() > DEPTH_MAX {
                    // Told as an error of its directory, whose entries are then not taken for complete.
                    error.get_or_insert_with(|| {
                        format!("`{}`: a path in it is too long to be sent", dir.path)
                    });
                    continue;
                }
                let id = self.next_id;
                self.next_id += 1;
                let mut entry = Entry {
                    name: found.name,
                    kind: found.stat.kind,
                    meta: found.stat.meta,
                    target: found.target,
                    link: None,
                    leads: false,
                    attributes: found.attributes,
                };
                if is_dir {
                    dirs.push(Dir::new(id, path));
                } else if found.stat.kind == Kind::File {
                    if found.stat.links > 1 {
                        let key = (found.stat.dev, found.stat.ino);
                        match self.links.get(&key) {
                            Some(leader) => {
                                entry.link = Some(*leader);
                                // Those of the first name are those of all.
                                entry.attributes = None;
                            }
                            None if self.links.len() < MOST_LINKS => {
                                entry.leads = true;
                                self.links.insert(key, id);
                            }
                            None => {}
                        }
                    }
                    if entry.link.is_none() {
                        self.files.insert(id, File::new(path, entry.meta.size));
                    }
                }
                weight += entry.weight();
                entries.push(entry);
            }
            let last = left.is_empty();
            let message = Message::List {
                dir: dir.id,
                first,
                last,
                error: error.take(),
                patterns: std::mem::take(patterns),
                entries,
            };
            self.control.push_back(message);
            if last {
                // Depth first: what is beneath comes before what is beside.
                let dirs = std::mem::take(dirs);
                self.dirs.pop_front();
                for dir in dirs.into_iter().rev() {
                    self.dirs.push_front(dir);
                }
            }
        }
    }
}
