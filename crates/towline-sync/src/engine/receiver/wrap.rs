//! What comes after the files: deletions, times of directories.

use std::collections::HashMap;

use super::Receiver;
use crate::engine::{Change, Failed, Job};
use crate::wire::{Kind, Meta, RelPath};

/// Changes in one job.
const BATCH: usize = 512;
/// What a directory that is set at the end takes, beside its name.
const TOUCHED: usize = 96;

/// How far the end of a sync is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Files,
    Counting,
    Giving,
    Changes,
    Deleting,
    Metas,
    Closing,
    Syncing,
    Over,
}

/// What is left for the end.
#[derive(Debug, Default)]
pub(super) struct Wrap {
    pub(super) phase: Phase,
    pub(super) told: bool,
    /// Links in place of files that may be old versions of others, and leftovers to be removed.
    delayed: Vec<Change>,
    files: Vec<(RelPath, Kind, Meta)>,
    dirs: Vec<Touched>,
    /// Directories that are being set, those that come last first.
    setting: Vec<Touched>,
    pub(super) running: HashMap<u64, Running>,
    next_token: u64,
}

/// A directory whose time and mode are to be set.
#[derive(Debug)]
struct Touched {
    /// Where it is: one path for all that are there.
    at: RelPath,
    name: Box<[u8]>,
    meta: Meta,
}

/// Work that is under way.
#[derive(Debug)]
pub(super) enum Running {
    Change(Vec<RelPath>, usize),
    Attributes(Vec<RelPath>),
    Delete(Vec<(RelPath, Kind)>),
    /// Listing a directory that goes, or of which something does.
    Walk {
        path: RelPath,
        goes: bool,
    },
}

impl Touched {
    fn path(&self) -> RelPath {
        match self.name.is_empty() {
            true => RelPath::root(),
            false => self.at.join(&self.name),
        }
    }

    /// Its path without making one: what is beneath a directory comes after it.
    fn order(&self) -> impl Iterator<Item = u8> + '_ {
        let at = self.at.as_bytes();
        let between = (!at.is_empty()).then_some(b'/');
        let name = self.name.iter().copied();
        at.iter().copied().chain(between).chain(name)
    }

    fn weight(&self) -> usize {
        self.name.len() + TOUCHED
    }
}

impl Receiver {
    pub(super) fn token(&mut self) -> u64 {
        self.wrap.next_token += 1;
        self.wrap.next_token
    }

    /// Begins the next phase when the one before is through.
    pub(super) fn wrap_up(&mut self) {
        while self.wrap.phase != Phase::Over && self.wrap.running.is_empty() {
            let next = match self.wrap.phase {
                Phase::Files if !(self.is_listed() && self.is_idle()) => return,
                Phase::Files => {
                    self.flush_due();
                    Phase::Counting
                }
                Phase::Counting => {
                    if !self.count_deletions() {
                        return;
                    }
                    Phase::Giving
                }
                Phase::Giving => {
                    let given = self.give_way();
                    self.ask();
                    self.run_links();
                    if !(given && self.is_idle()) {
                        return;
                    }
                    self.flush_due();
                    Phase::Changes
                }
                Phase::Changes if !self.wrap.delayed.is_empty() => {
                    self.run_delayed();
                    continue;
                }
                Phase::Changes => Phase::Deleting,
                Phase::Deleting => {
                    if !self.delete_extras() {
                        return;
                    }
                    self.run_file_metas();
                    let Wrap { setting, dirs, .. } = &mut self.wrap;
                    setting.append(dirs);
                    self.sort_dirs();
                    Phase::Metas
                }
                Phase::Metas if !self.wrap.setting.is_empty() => {
                    self.set_dirs();
                    continue;
                }
                Phase::Metas => {
                    if !self.options.dry_run {
                        let token = self.token();
                        self.jobs.push_back(Job::CloseUp { token });
                        self.runs(token, vec![RelPath::root()]);
                    }
                    Phase::Closing
                }
                Phase::Closing => {
                    if self.options.durable && !self.options.dry_run {
                        let token = self.token();
                        self.jobs.push_back(Job::SyncAll { token });
                        self.runs(token, vec![RelPath::root()]);
                    }
                    Phase::Syncing
                }
                Phase::Syncing | Phase::Over => Phase::Over,
            };
            self.wrap.phase = next;
        }
    }

    /// Sets time and mode of something whose content stays; soon.
    pub(super) fn set_meta(&mut self, path: RelPath, kind: Kind, meta: Meta) {
        self.wrap.files.push((path, kind, meta));
        if self.wrap.files.len() >= BATCH {
            self.run_file_metas();
        }
    }

    /// Sets time and mode of a directory, when all is done in it.
    pub(super) fn set_dir_later(&mut self, path: &RelPath, at: RelPath, meta: Meta) {
        if self.options.dry_run {
            return;
        }
        let name = path.name().into();
        let touched = Touched { at, name, meta };
        self.room.touched(touched.weight());
        self.wrap.dirs.push(touched);
    }

    /// Sets directories in which nothing more happens, where many wait and nothing else is under way.
    pub(super) fn set_some_dirs(&mut self) {
        let running = !self.wrap.running.is_empty();
        if self.wrap.phase != Phase::Files || running || !self.is_idle() {
            return;
        }
        if !self.wrap.setting.is_empty() {
            return self.set_dirs();
        }
        if !self.room.is_touched_enough() {
            return;
        }
        let mut busy = self.deleting.dirs();
        let later = self.givings.all.iter().map(|giving| giving.path.parent());
        busy.extend(later.chain(self.links.waiting_in()));
        busy.extend(self.wrap.delayed.iter().map(place));
        for dir in self.dirs.values() {
            busy.insert(dir.path.clone());
            busy.insert(dir.path.parent());
        }
        let all = std::mem::take(&mut self.wrap.dirs);
        (self.wrap.dirs, self.wrap.setting) =
            all.into_iter().partition(|dir| busy.contains(&dir.path()));
        self.sort_dirs();
        let stay = self.wrap.setting.is_empty();
        if stay {
            self.room.touched_must_wait();
        } else {
            self.set_dirs();
        }
    }

    /// Leaves a change for the end because it is better so; gives it back if too much was left already.
    pub(super) fn delay(&mut self, change: Change) -> Result<(), Change> {
        if self.options.dry_run {
            return Ok(());
        }
        if !self.room.delay(weight(&change)) {
            return Err(change);
        }
        self.wrap.delayed.push(change);
        Ok(())
    }

    fn run_delayed(&mut self) {
        while self.may_change()
            && let Some(change) = self.wrap.delayed.pop()
        {
            self.room.delayed_runs(weight(&change));
            self.run_change(change);
        }
    }

    /// Has something changed.
    pub(super) fn run_change(&mut self, change: Change) {
        if self.options.dry_run {
            return;
        }
        let paths = match &change {
            Change::Symlink { path, .. } => vec![path.clone()],
            Change::Links(all) => all.iter().map(|(_, to)| to.clone()).collect(),
            Change::Meta(all) => all.iter().map(|(path, ..)| path.clone()).collect(),
            _ => vec![RelPath::root()],
        };
        let (token, weight) = (self.token(), weight(&change));
        self.room.change(weight);
        let running = Running::Change(paths, weight);
        self.wrap.running.insert(token, running);
        self.jobs.push_back(Job::Change { token, change });
    }

    pub(super) fn run_attributes(&mut self, paths: Vec<RelPath>, change: Change) {
        let token = self.token();
        self.wrap.running.insert(token, Running::Attributes(paths));
        self.jobs.push_back(Job::Change { token, change });
    }

    fn runs(&mut self, token: u64, paths: Vec<RelPath>) {
        self.wrap.running.insert(token, Running::Change(paths, 0));
    }

    fn run_file_metas(&mut self) {
        let files = std::mem::take(&mut self.wrap.files);
        if !files.is_empty() {
            self.run_change(Change::Meta(files));
        }
    }

    /// Deepest last: they are taken from the end, and setting one changes none of the others.
    fn sort_dirs(&mut self) {
        self.wrap.setting.sort_by(|a, b| a.order().cmp(b.order()));
    }

    fn set_dirs(&mut self) {
        let from = self.wrap.setting.len().saturating_sub(BATCH);
        let some = self.wrap.setting.drain(from..).rev();
        let mut metas = Vec::new();
        for dir in some {
            self.room.touched_is_set(dir.weight());
            metas.push((dir.path(), Kind::Dir, dir.meta));
        }
        self.run_change(Change::Meta(metas));
    }

    pub(super) fn changed(&mut self, token: u64, failures: Vec<(usize, Failed)>) {
        let running = self.wrap.running.remove(&token);
        let paths = match running {
            Some(Running::Change(paths, weight)) => {
                self.room.changed(weight);
                paths
            }
            Some(Running::Attributes(paths)) => {
                self.due_done(paths.len());
                paths
            }
            Some(Running::Delete(batch)) => return self.deleted(&batch, failures),
            _ => return,
        };
        for (place, failed) in failures {
            let path = paths.get(place).cloned().unwrap_or_else(RelPath::root);
            self.failed(&path, failed);
        }
    }
}

/// In which directory something is changed.
fn place(change: &Change) -> RelPath {
    match change {
        Change::Symlink { path, .. } => path.parent(),
        Change::Links(all) => all
            .first()
            .map_or_else(RelPath::root, |(_, to)| to.parent()),
        Change::Discard { dir, .. } => dir.clone(),
        _ => RelPath::root(),
    }
}

/// Bytes of a change.
fn weight(change: &Change) -> usize {
    64 + match change {
        Change::Symlink { path, target, .. } => path.len() + target.len(),
        Change::Links(all) => all
            .iter()
            .map(|(from, to)| from.len() + to.len() + 64)
            .sum(),
        Change::Meta(all) => all.iter().map(|(path, ..)| path.len() + 64).sum(),
        Change::Discard { dir, stem } => dir.len() + stem.len(),
        _ => 0,
    }
}
