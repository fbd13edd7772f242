//! What comes after the files: links, deletions, times of directories.

use std::collections::{HashMap, HashSet};

use super::Receiver;
use super::attributes::Due;
use crate::engine::{Change, Failed, Job};
use crate::wire::{Entry, Kind, Meta, Outcome, RelPath};

/// Changes in one job.
const BATCH: usize = 512;
/// Entries that are deleted in one sync, at most.
pub(super) const MOST_DELETED: usize = 1 << 20;

/// How far the end of a sync is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Files,
    Changes,
    Links,
    Walking,
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
    /// Symlinks, and leftovers to be removed.
    pub(super) changes: Vec<Change>,
    pub(super) links: Vec<Change>,
    /// First names of files with several: where, and which file here if it stays.
    pub(super) leaders: HashMap<u64, (RelPath, Option<(u64, u64)>)>,
    /// Files here with several names that an entry leads.
    pub(super) led: HashSet<(u64, u64)>,
    pub(super) extra: Vec<(RelPath, Kind)>,
    /// How many there are: none is remembered of too many.
    pub(super) extra_count: u64,
    pub(super) files: Vec<(RelPath, Kind, Meta)>,
    pub(super) dirs: Vec<(RelPath, Kind, Meta)>,
    /// Directories that give way to something else.
    pub(super) replacing: HashMap<u64, Replacing>,
    running: HashMap<u64, Running>,
    doomed: Vec<(RelPath, Kind)>,
    next_token: u64,
}

/// A directory that gives way to an entry.
#[derive(Debug)]
pub(super) struct Replacing {
    id: u64,
    path: RelPath,
    entry: Entry,
}

#[derive(Debug)]
enum Running {
    Change(Vec<RelPath>),
    Attributes(Vec<RelPath>),
    Delete(Vec<(RelPath, Kind)>),
    Walk(RelPath),
}

impl Receiver {
    fn token(&mut self) -> u64 {
        self.wrap.next_token += 1;
        self.wrap.next_token
    }

    /// Empties a directory, and then takes the entry up again.
    pub(super) fn replace_dir(&mut self, id: u64, path: RelPath, entry: Entry) {
        let token = self.token();
        self.jobs.push_back(Job::Walk {
            token,
            path: path.clone(),
            dry_run: self.options.dry_run,
        });
        self.wrap
            .replacing
            .insert(token, Replacing { id, path, entry });
    }

    fn replaced(&mut self, replacing: Replacing) {
        let Replacing { id, path, entry } = replacing;
        match entry.kind {
            Kind::File => {
                self.file_entry(id, path, &entry, None, (Due::default(), false));
            }
            _ => {
                self.drop_id(id);
                self.item(Outcome::Created, &path, 0, String::new());
                let owner = self.due(&entry, None).owner;
                let target = entry.target.unwrap_or_default();
                let change = Change::Symlink {
                    path,
                    target,
                    meta: entry.meta,
                    owner,
                };
                self.run_changes(vec![change]);
            }
        }
    }

    /// Begins the next phase when the one before is through.
    pub(super) fn wrap_up(&mut self) {
        while self.wrap.phase != Phase::Over && self.wrap.running.is_empty() {
            let next = match self.wrap.phase {
                Phase::Files if !self.is_idle() => return,
                Phase::Files => {
                    self.flush_due();
                    Phase::Changes
                }
                Phase::Changes if !self.wrap.changes.is_empty() => {
                    let changes = std::mem::take(&mut self.wrap.changes);
                    self.run_changes(changes);
                    continue;
                }
                Phase::Changes => Phase::Links,
                Phase::Links if !self.wrap.links.is_empty() => {
                    let links = std::mem::take(&mut self.wrap.links);
                    self.run_changes(links);
                    continue;
                }
                Phase::Links => Phase::Walking,
                Phase::Walking if !self.wrap.extra.is_empty() => {
                    self.walk_extra();
                    continue;
                }
                Phase::Walking => {
                    self.check_deletions();
                    Phase::Deleting
                }
                // Until those that are gone were told of.
                Phase::Deleting if !self.items_have_room() => return,
                Phase::Deleting if !self.wrap.doomed.is_empty() => {
                    self.delete_some();
                    continue;
                }
                Phase::Deleting => Phase::Metas,
                Phase::Metas if !self.wrap.files.is_empty() || !self.wrap.dirs.is_empty() => {
                    self.set_metas();
                    continue;
                }
                Phase::Metas => {
                    if !self.options.dry_run {
                        let token = self.token();
                        self.jobs.push_back(Job::CloseUp { token });
                        self.wrap
                            .running
                            .insert(token, Running::Change(vec![RelPath::root()]));
                    }
                    Phase::Closing
                }
                Phase::Closing => {
                    if self.options.durable && !self.options.dry_run {
                        let token = self.token();
                        self.jobs.push_back(Job::SyncAll { token });
                        self.wrap
                            .running
                            .insert(token, Running::Change(vec![RelPath::root()]));
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
            let files = std::mem::take(&mut self.wrap.files);
            self.run_metas(files);
        }
    }

    pub(super) fn run_changes(&mut self, changes: Vec<Change>) {
        if self.options.dry_run {
            return;
        }
        for change in changes {
            let path = match &change {
                Change::Symlink { path, .. } | Change::Link { to: path, .. } => path.clone(),
                _ => RelPath::root(),
            };
            let token = self.token();
            self.wrap.running.insert(token, Running::Change(vec![path]));
            self.jobs.push_back(Job::Change { token, change });
        }
    }

    pub(super) fn run_attributes(&mut self, paths: Vec<RelPath>, change: Change) {
        let token = self.token();
        self.wrap.running.insert(token, Running::Attributes(paths));
        self.jobs.push_back(Job::Change { token, change });
    }

    /// Finds what is in directories that are to be deleted.
    fn walk_extra(&mut self) {
        for (path, kind) in std::mem::take(&mut self.wrap.extra) {
            if kind == Kind::Dir {
                let token = self.token();
                self.jobs.push_back(Job::Walk {
                    token,
                    path: path.clone(),
                    dry_run: self.options.dry_run,
                });
                self.wrap.running.insert(token, Running::Walk(path));
            } else {
                self.wrap.doomed.push((path, kind));
            }
        }
    }

    /// What of a directory may be deleted, deepest first, and itself if nothing stays in it.
    fn doomed(&self, path: RelPath, beneath: Vec<(RelPath, Kind)>) -> Vec<(RelPath, Kind)> {
        // What is left out protects all beneath it, and the directories that lead to it.
        let mut kept = HashSet::new();
        let mut leading = HashSet::new();
        for (path, kind) in &beneath {
            if self.filter.excludes(path, *kind == Kind::Dir) {
                let mut above = path.parent();
                while !above.is_root() && leading.insert(above.clone()) {
                    above = above.parent();
                }
                kept.insert(path.clone());
            }
        }
        let stays = |path: &RelPath| {
            let mut at = path.clone();
            loop {
                if kept.contains(&at) {
                    return true;
                }
                if at.is_root() {
                    return leading.contains(path);
                }
                at = at.parent();
            }
        };
        let mut doomed: Vec<_> = beneath
            .into_iter()
            .filter(|(path, _)| !stays(path))
            .collect();
        if kept.is_empty() {
            doomed.push((path, Kind::Dir));
        }
        doomed
    }

    pub(super) fn walked(&mut self, token: u64, result: Result<Vec<(RelPath, Kind)>, Failed>) {
        if let Some(replacing) = self.wrap.replacing.remove(&token) {
            return self.replace_walked(token, replacing, result);
        }
        let Some(Running::Walk(path)) = self.wrap.running.remove(&token) else {
            return;
        };
        match result {
            Ok(beneath) => {
                let doomed = self.doomed(path, beneath);
                self.wrap.doomed.extend(doomed);
            }
            Err(failed) => self.failed(&path, failed),
        }
    }

    fn replace_walked(
        &mut self,
        token: u64,
        replacing: Replacing,
        result: Result<Vec<(RelPath, Kind)>, Failed>,
    ) {
        let path = replacing.path.clone();
        let beneath = match result {
            Ok(beneath) => beneath,
            Err(failed) => {
                self.drop_id(replacing.id);
                return self.failed(&path, failed);
            }
        };
        let all = beneath.len() + 1;
        let doomed = self.doomed(path.clone(), beneath);
        let most = self.options.max_delete.unwrap_or(u64::MAX);
        if doomed.len() < all || self.totals.deleted + all as u64 > most {
            self.drop_id(replacing.id);
            let why = format!("`{path}` is a directory with entries that must not be deleted");
            return self.fail(&path, why);
        }
        for (path, _) in &doomed {
            self.item(Outcome::Deleted, path, 0, String::new());
        }
        self.totals.deleted += doomed.len() as u64;
        if self.options.dry_run {
            return self.replaced(replacing);
        }
        let change = Change::Remove(doomed);
        self.jobs.push_back(Job::Change { token, change });
        self.wrap.replacing.insert(token, replacing);
    }

    /// docs/wire D21: too many deletions are none.
    fn check_deletions(&mut self) {
        let known = self.wrap.doomed.len() as u64;
        let count = known.max(self.wrap.extra_count) + self.totals.deleted;
        let most = self.options.max_delete.unwrap_or(MOST_DELETED as u64);
        if count > most {
            self.wrap.doomed.clear();
            let what = match self.totals.deleted {
                0 => "nothing",
                _ => "nothing more",
            };
            let text = format!("{what} was deleted: {count} entries would be, at most {most} may");
            self.fail(&RelPath::root(), text);
        }
    }

    fn delete_some(&mut self) {
        let count = self.wrap.doomed.len().min(BATCH);
        let batch: Vec<_> = self.wrap.doomed.drain(..count).collect();
        if self.options.dry_run {
            return self.deleted(&batch, Vec::new());
        }
        let token = self.token();
        let change = Change::Remove(batch.clone());
        self.wrap.running.insert(token, Running::Delete(batch));
        self.jobs.push_back(Job::Change { token, change });
    }

    fn deleted(&mut self, batch: &[(RelPath, Kind)], failures: Vec<(usize, Failed)>) {
        let mut failures = failures.into_iter().peekable();
        for (place, (path, _)) in batch.iter().enumerate() {
            match failures.next_if(|(failed, _)| *failed == place) {
                Some((_, failed)) => self.failed(path, failed),
                None => {
                    self.totals.deleted += 1;
                    self.item(Outcome::Deleted, path, 0, String::new());
                }
            }
        }
    }

    /// Files first, then directories, deepest first: setting one changes none of the others.
    fn set_metas(&mut self) {
        let mut all = std::mem::take(&mut self.wrap.files);
        all.extend(std::mem::take(&mut self.wrap.dirs).into_iter().rev());
        self.run_metas(all);
    }

    fn run_metas(&mut self, all: Vec<(RelPath, Kind, Meta)>) {
        if self.options.dry_run {
            return;
        }
        let token = self.token();
        let paths = all.iter().map(|(path, ..)| path.clone()).collect();
        self.wrap.running.insert(token, Running::Change(paths));
        let change = Change::Meta(all);
        self.jobs.push_back(Job::Change { token, change });
    }

    pub(super) fn changed(&mut self, token: u64, failures: Vec<(usize, Failed)>) {
        if let Some(replacing) = self.wrap.replacing.remove(&token) {
            if failures.is_empty() {
                return self.replaced(replacing);
            }
            self.drop_id(replacing.id);
            for (_, failed) in failures {
                self.failed(&replacing.path, failed);
            }
            return;
        }
        let running = self.wrap.running.remove(&token);
        if let Some(Running::Attributes(paths)) = &running {
            self.due_done(paths.len());
        }
        match running {
            Some(Running::Change(paths) | Running::Attributes(paths)) => {
                for (place, failed) in failures {
                    let path = paths.get(place).cloned().unwrap_or_else(RelPath::root);
                    self.failed(&path, failed);
                }
            }
            Some(Running::Delete(batch)) => self.deleted(&batch, failures),
            _ => {}
        }
    }
}
