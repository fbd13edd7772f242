//! Files with several names: links are made as soon as the first of them is in its place.

use std::collections::{HashMap, HashSet, VecDeque};

use super::{LEAST_SOURCE, Receiver};
use crate::engine::first_names::FirstNames;
use crate::engine::{Change, LATER_BYTES};
use crate::fs::Stat;
use crate::wire::{Outcome, RelPath};

/// Links in one job.
const BATCH: usize = 64;
/// What a link takes that waits, beside its name.
const ONE: usize = 64;

/// The first name of a file with several.
#[derive(Debug)]
struct Leader {
    /// The directory it is in.
    dir: u64,
    at: RelPath,
    name: Box<[u8]>,
    /// Which file here, if that stays.
    ino: Option<(u64, u64)>,
    state: State,
    /// No more links to it come.
    ended: bool,
}

/// Where a first name stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its content is on its way.
    Open,
    /// It waits for the end.
    Later,
    /// It is there, or will never be.
    Settled,
}

/// A link to be made.
#[derive(Debug)]
struct To {
    dir: RelPath,
    name: Box<[u8]>,
    weight: usize,
}

/// First names, and links to them.
#[derive(Debug, Default)]
pub(super) struct Links {
    leaders: HashMap<u64, Leader>,
    first_names: FirstNames,
    /// Files here with several names that an entry leads.
    pub(super) led: HashSet<(u64, u64)>,
    waiting: HashMap<u64, Vec<To>>,
    ready: VecDeque<(RelPath, To)>,
    bytes: usize,
    /// Of links whose first name waits for the end.
    later: usize,
}

impl Links {
    /// Bytes of links that wait and will be made before the end.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of first names.
    pub(super) const fn first_names(&self) -> usize {
        self.first_names.bytes()
    }

    /// Directories of links that wait.
    pub(super) fn waiting_in(&self) -> impl Iterator<Item = RelPath> + '_ {
        self.waiting.values().flatten().map(|to| to.dir.clone())
    }

    /// None waits but those that wait for the end.
    pub(super) const fn are_made(&self) -> bool {
        self.bytes == 0
    }
}

impl Receiver {
    /// Remembers the first name of a file with several: in which directory, and which file here if it stays.
    pub(super) fn leads(
        &mut self,
        id: u64,
        (dir, at): (u64, &RelPath),
        path: &RelPath,
        ino: Option<(u64, u64)>,
        state: State,
    ) {
        let name: Box<[u8]> = path.name().into();
        self.links.first_names.add(dir, at.len(), name.len());
        let leader = Leader {
            dir,
            at: at.clone(),
            name,
            ino,
            state,
            ended: false,
        };
        self.links.leaders.insert(id, leader);
    }

    /// The first name that waited for the end is on its way.
    pub(super) fn leader_goes_on(&mut self, id: u64) {
        if let Some(leader) = self.links.leaders.get_mut(&id) {
            leader.state = State::Open;
            for to in self.links.waiting.get(&id).into_iter().flatten() {
                self.links.later -= to.weight;
                self.links.bytes += to.weight;
            }
        }
    }

    /// A first name is there, or will never be: links to it can be made, to whatever is there.
    pub(super) fn settled(&mut self, id: u64) {
        let Some(leader) = self.links.leaders.get_mut(&id) else {
            return;
        };
        let later = leader.state == State::Later;
        leader.state = State::Settled;
        let (from, ended) = (leader.at.join(&leader.name), leader.ended);
        for to in self.links.waiting.remove(&id).unwrap_or_default() {
            if later {
                self.links.later -= to.weight;
                self.links.bytes += to.weight;
            }
            self.links.ready.push_back((from.clone(), to));
        }
        if ended {
            self.forget_leader(id);
        }
    }

    /// No more links to a first name come.
    pub(super) fn link_ended(&mut self, id: u64) {
        if let Some(leader) = self.links.leaders.get_mut(&id) {
            leader.ended = true;
            if leader.state == State::Settled {
                self.forget_leader(id);
            }
        }
    }

    fn forget_leader(&mut self, id: u64) {
        if let Some(leader) = self.links.leaders.remove(&id) {
            let (path, name) = (leader.at.len(), leader.name.len());
            self.links.first_names.remove(leader.dir, path, name);
        }
    }

    /// Where the first name with this number is.
    pub(super) fn leader(&self, id: u64) -> Option<RelPath> {
        let leader = self.links.leaders.get(&id)?;
        Some(leader.at.join(&leader.name))
    }

    /// True if it becomes a link.
    pub(super) fn link_entry(&mut self, leader: u64, path: &RelPath, old: Option<Stat>) -> bool {
        let Some(known) = self.links.leaders.get(&leader) else {
            // docs/wire D14: a link leads to an entry before it.
            let text = format!("`{path}` links to something that was not listed");
            self.fail(path, text);
            return false;
        };
        if old.is_some() && old.map(|stat| (stat.dev, stat.ino)) == known.ino {
            if self.options.checksum {
                self.link(leader, path);
            }
            return false;
        }
        let outcome = match old {
            Some(_) => Outcome::Updated,
            None => Outcome::Created,
        };
        self.item(outcome, path, 0, String::new());
        // What is in its place may be the old version of another file, until the end.
        let serves = old.is_some_and(|stat| stat.meta.size >= LEAST_SOURCE);
        let from = self.leader(leader).filter(|_| serves);
        match from {
            Some(from) => {
                let change = Change::Links(vec![(from, path.clone())]);
                if self.delay(change).is_err() {
                    self.link(leader, path);
                }
            }
            None => self.link(leader, path),
        }
        true
    }

    /// Has a link made when its first name is there.
    fn link(&mut self, leader: u64, path: &RelPath) {
        if self.options.dry_run {
            return;
        }
        let Some(known) = self.links.leaders.get(&leader) else {
            return;
        };
        let state = known.state;
        let from = (state == State::Settled).then(|| known.at.join(&known.name));
        self.link_from(leader, state, from, path);
    }

    /// Has a link made to what is there, unless it waits for its first name.
    pub(super) fn link_from(
        &mut self,
        leader: u64,
        state: State,
        from: Option<RelPath>,
        path: &RelPath,
    ) {
        let name: Box<[u8]> = path.name().into();
        let weight = name.len() + ONE + from.as_ref().map_or(0, RelPath::len);
        let dir = match &self.links.waiting.get(&leader).and_then(|all| all.last()) {
            Some(To { dir, .. }) if path.split().is_some_and(|(at, _)| at == dir.as_bytes()) => {
                dir.clone()
            }
            _ => path.parent(),
        };
        let to = To { dir, name, weight };
        match (from, state) {
            (Some(from), _) => {
                self.links.bytes += weight;
                self.links.ready.push_back((from, to));
            }
            (None, State::Later) => {
                if self.links.later + weight > LATER_BYTES {
                    let text = format!(
                        "`{path}` was not made: too many links wait for a file that a directory gives \
                         way to; sync again"
                    );
                    return self.fail(path, text);
                }
                self.links.later += weight;
                self.links.waiting.entry(leader).or_default().push(to);
            }
            (None, _) => {
                self.links.bytes += weight;
                self.links.waiting.entry(leader).or_default().push(to);
            }
        }
    }

    /// The state of a first name; one that is not remembered any more is settled.
    pub(super) fn leader_state(&self, id: u64) -> State {
        let leader = self.links.leaders.get(&id);
        leader.map_or(State::Settled, |leader| leader.state)
    }

    /// Makes links whose first names are there.
    pub(super) fn run_links(&mut self) {
        while !self.links.ready.is_empty() && self.may_change() {
            let count = self.links.ready.len().min(BATCH);
            let batch: Vec<_> = self.links.ready.drain(..count).collect();
            self.links.bytes -= batch.iter().map(|(_, to)| to.weight).sum::<usize>();
            let links = batch.into_iter();
            let links = links.map(|(from, to)| (from, to.dir.join(&to.name)));
            self.run_change(Change::Links(links.collect()));
        }
    }
}
