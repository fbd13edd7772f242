//! An honest pair of ends, and trees that take no memory themselves.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use towline_sync::engine::{
    Beneath, Change, Done, Event, Filter, Job, Listing, Options, Output, Receiver, Sender,
    SmallRead, Violation,
};
use towline_sync::fs::{Found, Stat};
use towline_sync::wire::{FileTime, Item, Kind, Message, Meta, Outcome, RelPath, Totals};

/// A tree: what is in each of its directories.
pub(crate) type Tree = fn(&RelPath) -> Vec<Found>;

/// An entry of a tree. Files with the same `ino` share their content.
pub(crate) fn found(name: String, kind: Kind, (ino, links): (u64, u64)) -> Found {
    let size = if kind == Kind::File { 3 } else { 0 };
    Found {
        name: name.into(),
        stat: Stat {
            kind,
            meta: Meta {
                size,
                mtime: FileTime::default(),
                mode: 0o644,
            },
            dev: 1,
            ino,
            links,
            ctime: FileTime::default(),
        },
        target: (kind == Kind::Symlink).then(|| Bytes::from_static(b"x")),
        attributes: None,
    }
}

/// What an end does with its tree, and what it was told.
struct Files {
    tree: Tree,
    removed: u64,
    links: u64,
}

impl Files {
    fn list(&self, path: &RelPath) -> Listing {
        let mut found = (self.tree)(path);
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Listing {
            found,
            ..Listing::default()
        }
    }

    fn run(&mut self, job: Job) -> Done {
        match job {
            Job::List { dir, path, .. } => {
                let result = Ok(self.list(&path));
                Done::Listed { dir, result }
            }
            Job::Prepare {
                dir, path, make, ..
            } => {
                let listing = if make {
                    Listing::default()
                } else {
                    self.list(&path)
                };
                let result = Ok(listing);
                Done::Listed { dir, result }
            }
            Job::ReadSmall(files) => {
                let bytes = Bytes::from_static(b"abc");
                let hash = hash(&bytes);
                let read = SmallRead {
                    meta: found(String::new(), Kind::File, (0, 1)).stat.meta,
                    hash,
                    bytes,
                };
                let files = files.into_iter().map(|(id, _)| (id, Ok(read.clone())));
                Done::Small(files.collect())
            }
            Job::StoreSmall { files, .. } => {
                Done::Stored(files.iter().map(|file| (file.id, Ok(()))).collect())
            }
            Job::Walk {
                token, path, among, ..
            } => {
                let found = (self.tree)(&path).into_iter().filter(|found| {
                    let hash = hash(&found.name);
                    let mut among = among.iter();
                    among.all(|among| among.binary_search(&hash).is_ok())
                });
                let root = RelPath::root();
                let found = found.map(|found| (root.join(&found.name), found.stat.kind));
                let result = Ok(Beneath {
                    found: found.collect(),
                    whole: false,
                });
                Done::Walked { token, result }
            }
            Job::Change { token, change } => {
                match change {
                    Change::Remove(all) => self.removed += all.len() as u64,
                    Change::Links(all) => self.links += all.len() as u64,
                    _ => {}
                }
                let failures = Vec::new();
                Done::Changed { token, failures }
            }
            Job::CloseUp { token } | Job::SyncAll { token } => {
                let failures = Vec::new();
                Done::Changed { token, failures }
            }
            _ => Done::Nothing,
        }
    }
}

fn hash(bytes: &[u8]) -> [u8; 16] {
    let mut hash = [0; 16];
    hash.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    hash
}

/// How a sync ended.
pub(crate) struct Ended {
    pub(crate) result: Result<(), Violation>,
    pub(crate) finished: bool,
    pub(crate) totals: Totals,
    pub(crate) removed: u64,
    pub(crate) links: u64,
    /// What failed.
    pub(crate) failures: Vec<Item>,
    /// Items that the sender heard of.
    pub(crate) told: u64,
}

#[expect(
    clippy::disallowed_methods,
    reason = "virtual time has to start somewhere"
)]
fn now() -> Instant {
    Instant::now()
}

fn over_the_wire(message: &Message) -> Message {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes);
    Message::decode(&mut bytes.freeze()).unwrap()
}

/// Syncs between two trees. The sender is slow: it reads one message for `slow` that it sends.
pub(crate) fn sync(from: Tree, to: Tree, options: &Options, slow: usize) -> Ended {
    let mut sender = Sender::new(options, Filter::default(), None);
    let mut receiver = Receiver::new(options.clone(), Filter::default());
    let (tree, removed, links) = (from, 0, 0);
    let mut here = Files {
        tree,
        removed,
        links,
    };
    let tree = to;
    let mut there = Files {
        tree,
        removed,
        links,
    };
    let now = now();
    let (mut failures, mut told) = (Vec::new(), 0);
    let mut sent: VecDeque<Message> = VecDeque::new();
    let mut result = Ok(());
    loop {
        let mut idle = true;
        for _ in 0..slow {
            while let Some(job) = sender.poll_job() {
                sender.handle_done(here.run(job));
                idle = false;
            }
            if sent.is_empty()
                && let Output::Message(message) = sender.poll_message(now)
            {
                sent.push_back(message);
            }
            if receiver.wants_input()
                && let Some(message) = sent.pop_front()
            {
                idle = false;
                result = result.and_then(|()| receiver.handle_message(over_the_wire(&message)));
            }
            while let Some(job) = receiver.poll_job() {
                idle = false;
                let done = there.run(job);
                result = result.and_then(|()| receiver.handle_done(done));
            }
            while let Some(event) = receiver.poll_event() {
                if let Event::Item(item) = event
                    && item.outcome == Outcome::Failed
                {
                    failures.push(item);
                }
            }
        }
        if sender.wants_input() {
            match receiver.poll_message() {
                Output::Message(message) => {
                    idle = false;
                    let message = over_the_wire(&message);
                    result = result.and_then(|()| sender.handle_message(message));
                }
                Output::Broken(violation) => result = Err(violation),
                _ => {}
            }
        }
        while let Some(event) = sender.poll_event() {
            told += u64::from(matches!(event, Event::Item(_)));
        }
        if idle || result.is_err() {
            break;
        }
    }
    Ended {
        result,
        finished: sender.is_finished() && receiver.is_finished(),
        totals: receiver.totals(),
        removed: there.removed,
        links: there.links,
        failures,
        told,
    }
}
