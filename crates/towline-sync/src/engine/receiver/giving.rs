//! Directories that give way to something else: after the listing, when all deletions are counted.

use std::collections::VecDeque;

use bytes::Bytes;

use super::attributes::Due;
use super::links::State;
use super::{Receiver, push_run};
use crate::engine::{LATER_BYTES, MOST_LATER, later_weight};
use crate::wire::{Entry, Kind, Outcome, RelPath};

/// What waits until directories may go (docs/wire D25).
#[derive(Debug, Default)]
pub(super) struct Givings {
    pub(super) all: VecDeque<Giving>,
    /// Files among these, which the sender remembers.
    files: usize,
    files_bytes: usize,
    /// Bytes of the others, and of what is remembered here alone.
    bytes: usize,
}

/// A directory that gives way to an entry.
#[derive(Debug)]
pub(super) struct Giving {
    pub(super) path: RelPath,
    becomes: Becomes,
    /// Something in it must not be deleted.
    pub(super) stays: bool,
}

#[derive(Debug)]
enum Becomes {
    File {
        id: u64,
        entry: Box<Entry>,
    },
    Symlink(Box<Entry>),
    /// A link to the first name with this number, and where that is.
    Link(u64, RelPath),
}

impl Receiver {
    /// Has an entry wait until the directory in its place may go. `dir` is where it is.
    pub(super) fn give_way_later(
        &mut self,
        dir: (u64, &RelPath),
        id: u64,
        path: RelPath,
        mut entry: Entry,
    ) {
        let is_file = entry.kind == Kind::File && entry.link.is_none();
        let (target, attributes) = (entry.target.take(), entry.attributes.as_ref());
        let target = target.map(|target| Bytes::copy_from_slice(&target));
        let held = attributes.map_or(0, |attributes| attributes.weight())
            + target.as_ref().map_or(0, Bytes::len);
        let (weight, givings) = (later_weight(&path), &self.givings);
        let fits = givings.bytes + held + weight <= LATER_BYTES
            && (!is_file
                || givings.files < MOST_LATER && givings.files_bytes + weight <= LATER_BYTES);
        let leader = entry.link.map(|leader| (leader, self.leader(leader)));
        if matches!(leader, Some((_, None))) {
            self.drop_id(id);
            let text = format!("`{path}` links to something that was not listed");
            return self.fail(&path, text);
        }
        if entry.leads {
            let state = if fits { State::Later } else { State::Settled };
            self.leads(id, dir, &path, None, state);
        }
        if !fits {
            self.drop_id(id);
            let text = format!(
                "`{path}` is a directory here; more of them give way than can be remembered: sync again"
            );
            return self.fail(&path, text);
        }
        self.givings.bytes += held;
        if is_file {
            self.givings.files += 1;
            self.givings.files_bytes += weight;
            push_run(&mut self.put_off, id);
        } else {
            self.givings.bytes += weight;
            self.drop_id(id);
        }
        // Neither pins the message that it came in.
        (entry.name, entry.target) = (Bytes::new(), target);
        let entry = Box::new(entry);
        let becomes = match leader {
            Some((leader, Some(from))) => Becomes::Link(leader, from),
            _ if entry.kind == Kind::File => Becomes::File { id, entry },
            _ => Becomes::Symlink(entry),
        };
        let stays = false;
        self.givings.all.push_back(Giving {
            path,
            becomes,
            stays,
        });
    }

    /// Takes up the entry whose place is free now.
    pub(super) fn has_given_way(&mut self, giving: Giving) {
        let path = giving.path;
        match giving.becomes {
            Becomes::File { id, entry } => {
                if entry.leads {
                    self.leader_goes_on(id);
                }
                self.new_file(id, path, &entry, (None, false), (Due::default(), false));
            }
            Becomes::Symlink(entry) => {
                let due = Due::default();
                self.symlink_entry(path, &entry, None, due);
            }
            Becomes::Link(leader, from) => {
                self.item(Outcome::Created, &path, 0, String::new());
                if !self.options.dry_run {
                    let state = self.leader_state(leader);
                    let from = (state == State::Settled).then_some(from);
                    self.link_from(leader, state, from, &path);
                }
            }
        }
    }

    /// A directory stays, and the entry fails.
    pub(super) fn does_not_give_way(&mut self, giving: &Giving, text: String) {
        if let Becomes::File { id, entry } = &giving.becomes {
            self.drop_id(*id);
            if entry.leads {
                self.settled(*id);
            }
        }
        self.fail(&giving.path, text);
    }
}
