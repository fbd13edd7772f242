//! Going through what is to be deleted: no more is known at a time than one directory of each level.

use std::collections::HashSet;
use std::sync::Arc;
use std::vec::IntoIter;

use super::super::wrap::Running;
use crate::engine::receiver::Receiver;
use crate::engine::{Beneath, Change, Failed, Job};
use crate::wire::{Hash16, Kind, Outcome, PATH_MAX, RelPath};

/// Entries that are removed in one job.
const BATCH: usize = 512;

/// A walk through a directory.
#[derive(Debug)]
pub(in super::super) struct Walk {
    /// Otherwise it only counts.
    removes: bool,
    levels: Vec<Level>,
    /// It is over when what it found is removed; otherwise that is left to the next.
    waits: bool,
    /// What is to be listed first: a directory, all of it or what has these hashes.
    first: Option<(RelPath, Option<Arc<Vec<Hash16>>>)>,
    walked: Walked,
}

/// What came of a walk.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Walked {
    pub(super) count: u64,
    /// Something in it is left out, or could not be listed.
    pub(super) stays: bool,
    /// Something could not be removed.
    pub(super) failed: bool,
}

/// A directory, and what of it was not gone through.
#[derive(Debug)]
struct Level {
    path: RelPath,
    left: IntoIter<(RelPath, Kind)>,
    /// What is beneath is among these, and all of them go.
    whole: bool,
    /// It goes itself if nothing in it stays.
    goes: bool,
    stays: bool,
}

impl Walk {
    /// Through a directory that goes itself.
    pub(super) fn of(path: RelPath, removes: bool) -> Self {
        Self {
            removes,
            levels: Vec::new(),
            waits: true,
            first: Some((path, None)),
            walked: Walked::default(),
        }
    }

    /// Through some of what is in a directory: these, and what has these hashes.
    pub(super) fn among(
        dir: RelPath,
        names: Vec<(RelPath, Kind)>,
        hashes: Option<Arc<Vec<Hash16>>>,
        removes: bool,
    ) -> Self {
        let level = Level {
            path: dir.clone(),
            left: names.into_iter(),
            whole: false,
            goes: false,
            stays: false,
        };
        Self {
            removes,
            levels: vec![level],
            waits: false,
            first: hashes.map(|hashes| (dir, Some(hashes))),
            walked: Walked::default(),
        }
    }

    fn something_stays(&mut self) {
        match self.levels.last_mut() {
            Some(level) => level.stays = true,
            None => self.walked.stays = true,
        }
    }
}

impl Receiver {
    pub(super) fn begin_walk(&mut self, walk: Walk) {
        self.deleting.walk = Some(walk);
    }

    fn visit(&mut self, walk: &mut Walk, path: RelPath, kind: Kind) {
        walk.walked.count += 1;
        if walk.removes {
            self.deleting.batch.push((path, kind));
        }
    }

    /// Goes on with the walk as far as it may; what came of it when it is over.
    pub(super) fn walk_on(&mut self) -> Option<Walked> {
        let mut walk = self.deleting.walk.take()?;
        let over = self.walk_levels(&mut walk);
        if over {
            return Some(walk.walked);
        }
        self.deleting.walk = Some(walk);
        None
    }

    /// False if it waits for something.
    fn walk_levels(&mut self, walk: &mut Walk) -> bool {
        loop {
            if !self.wrap.running.is_empty() {
                return false;
            }
            if walk.removes && !self.may_report() {
                self.room.stopped = true;
                return false;
            }
            if self.deleting.batch.len() >= BATCH {
                self.remove();
                continue;
            }
            if let Some((path, among)) = walk.first.take() {
                self.list_for(path, among);
                continue;
            }
            let Some(level) = walk.levels.last_mut() else {
                if !walk.waits || self.deleting.batch.is_empty() {
                    return true;
                }
                self.remove();
                continue;
            };
            let Some((name, kind)) = level.left.next() else {
                if let Some(level) = walk.levels.pop() {
                    match (level.goes, level.stays) {
                        (true, false) => self.visit(walk, level.path, Kind::Dir),
                        (true, true) => walk.something_stays(),
                        (false, _) => {}
                    }
                }
                continue;
            };
            let path = level.path.join(name.as_bytes());
            let is_dir = kind == Kind::Dir;
            if level.whole {
                self.visit(walk, path, kind);
            } else if path.len() > PATH_MAX || self.filter.excludes(&path, is_dir) {
                level.stays = true;
            } else if is_dir {
                self.list_for(path, None);
            } else {
                self.visit(walk, path, kind);
            }
        }
    }

    fn list_for(&mut self, path: RelPath, among: Option<Arc<Vec<Hash16>>>) {
        let token = self.token();
        let goes = among.is_none();
        self.jobs.push_back(Job::Walk {
            token,
            path: path.clone(),
            among,
            dry_run: self.options.dry_run,
        });
        self.wrap
            .running
            .insert(token, Running::Walk { path, goes });
    }

    pub(in super::super) fn walked(&mut self, token: u64, result: Result<Beneath, Failed>) {
        let Some(Running::Walk { path, goes }) = self.wrap.running.remove(&token) else {
            return;
        };
        let Some(mut walk) = self.deleting.walk.take() else {
            return;
        };
        match result {
            Ok(Beneath { found, whole }) => {
                let (found, stays) = match whole {
                    true => self.doomed(&path, found),
                    false => (found, false),
                };
                walk.levels.push(Level {
                    path,
                    left: found.into_iter(),
                    whole,
                    goes,
                    stays,
                });
            }
            Err(failed) => {
                walk.something_stays();
                if walk.removes {
                    self.failed(&path, failed);
                }
            }
        }
        self.deleting.walk = Some(walk);
    }

    /// What of all that is in a directory may go, and whether something stays in it.
    fn doomed(&self, dir: &RelPath, beneath: Vec<(RelPath, Kind)>) -> (Vec<(RelPath, Kind)>, bool) {
        // What is left out protects all beneath it, and the directories that lead to it.
        let mut kept = HashSet::new();
        let mut leading = HashSet::new();
        for (name, kind) in &beneath {
            let path = dir.join(name.as_bytes());
            if path.len() > PATH_MAX || self.filter.excludes(&path, *kind == Kind::Dir) {
                let mut above = name.parent();
                while !above.is_root() && leading.insert(above.clone()) {
                    above = above.parent();
                }
                kept.insert(name.clone());
            }
        }
        if kept.is_empty() {
            return (beneath, false);
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
        let goes = beneath.into_iter().filter(|(path, _)| !stays(path));
        (goes.collect(), true)
    }

    /// Removes what was gone through.
    pub(super) fn remove(&mut self) {
        let batch = std::mem::take(&mut self.deleting.batch);
        if self.options.dry_run {
            self.tell_deleted(&batch, Vec::new());
            return;
        }
        let token = self.token();
        let change = Change::Remove(batch.clone());
        self.wrap.running.insert(token, Running::Delete(batch));
        self.jobs.push_back(Job::Change { token, change });
    }

    /// What was removed, and what could not be.
    pub(in super::super) fn deleted(
        &mut self,
        batch: &[(RelPath, Kind)],
        failures: Vec<(usize, Failed)>,
    ) {
        if let Some(walk) = &mut self.deleting.walk {
            walk.walked.failed |= !failures.is_empty();
        }
        self.tell_deleted(batch, failures);
    }

    fn tell_deleted(&mut self, batch: &[(RelPath, Kind)], failures: Vec<(usize, Failed)>) {
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
}
