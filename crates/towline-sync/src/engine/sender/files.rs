//! Sending what the receiver asks for of single files.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::Sender;
use super::window::File;
use crate::engine::{Failed, Job, SMALL, Violation};
use crate::fs::{Manifest, Span, Stat};
use crate::wire::{Chunk, Chunking, Message, RelPath, SubChunk};

/// Chunks in one message.
const CHUNKS: usize = 2048;
/// Files that may be open at a time: each costs a descriptor and perhaps a manifest.
const MOST_OPEN: usize = 64;
/// Bytes of chunks of one file whose second level is told.
const FINE_BYTES: u64 = 64 << 20;
/// Ranges that may be asked for at a time.
const MOST_RANGES: usize = 1 << 20;

/// What becomes of an entry that was listed.
#[derive(Debug)]
pub(super) enum State {
    Listed,
    /// It has no content that could be asked for.
    Bare,
    Small,
    /// It is being opened, or cut, under this key.
    Opening(u64),
    Open(Box<Open>),
    /// It failed, and the receiver knows.
    Failed,
}

/// A file that is open.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) key: u64,
    pub(super) stat: Stat,
    /// Sent from the beginning: where the next read begins, and the blocks so far.
    pub(super) all: Option<(u64, Vec<Span>)>,
    pub(super) ranges: VecDeque<(u64, u64)>,
    /// Reads that were begun, and of these how many were passed on, in order.
    pub(super) begun: u64,
    pub(super) passed: u64,
    pub(super) read: BTreeMap<u64, Vec<(Span, Bytes)>>,
    pub(super) in_turns: bool,
    /// Bytes of chunks whose second level was asked for.
    fine: u64,
}

impl Open {
    pub(super) fn new(key: u64, stat: Stat, all: bool) -> Self {
        Self {
            key,
            stat,
            all: all.then(|| (0, Vec::new())),
            ranges: VecDeque::new(),
            begun: 0,
            passed: 0,
            read: BTreeMap::new(),
            in_turns: false,
            fine: 0,
        }
    }

    pub(super) fn has_more(&self) -> bool {
        match &self.all {
            Some((at, _)) => *at < self.stat.meta.size,
            None => !self.ranges.is_empty(),
        }
    }
}

impl Sender {
    /// The file that was opened under a key, unless it was closed since.
    pub(super) fn current(&mut self, key: u64) -> Option<u64> {
        let id = self.keys.get(&key).copied();
        if id.is_none() {
            // A job that was under way has opened it again.
            self.jobs.push_back(Job::Close { key });
        }
        id
    }

    fn file(&mut self, id: u64) -> Result<&mut File, Violation> {
        self.window.get_mut(id).ok_or(Violation::UnknownFile)
    }

    pub(super) fn drop_entries(&mut self, runs: &[(u64, u64)]) -> Result<(), Violation> {
        self.window.drops(runs, self.next_id)?;
        for &(first, count) in runs {
            for id in first..first + count {
                self.close(id);
            }
        }
        Ok(())
    }

    pub(super) fn want_small(&mut self, ids: Vec<u64>) -> Result<(), Violation> {
        for id in ids {
            let file = self.file(id)?;
            if !matches!(file.state, State::Listed | State::Failed) {
                return Err(Violation::UnknownFile);
            }
            // docs/wire D15: others are sent in pieces.
            if file.size > SMALL {
                return Err(Violation::TooMuch);
            }
            file.state = State::Small;
            self.small.push_back(id);
        }
        Ok(())
    }

    pub(super) fn want_all(&mut self, id: u64) -> Result<(), Violation> {
        let (key, path) = self.reopen(id)?;
        self.jobs.push_back(Job::Open { key, path });
        Ok(())
    }

    pub(super) fn want_manifest(&mut self, id: u64, chunking: Chunking) -> Result<(), Violation> {
        let (key, path) = self.reopen(id)?;
        self.jobs.push_back(Job::Manifest {
            key,
            path,
            chunking,
        });
        Ok(())
    }

    /// A file may be asked for again after it failed.
    fn reopen(&mut self, id: u64) -> Result<(u64, RelPath), Violation> {
        if self.keys.len() >= MOST_OPEN {
            return Err(Violation::TooMuch);
        }
        let key = self.next_key;
        let file = self.file(id)?;
        if !matches!(file.state, State::Listed | State::Failed) {
            return Err(Violation::UnknownFile);
        }
        // A key for each attempt: what jobs of an earlier one bring is told apart.
        file.state = State::Opening(key);
        let path = file.path.clone();
        self.next_key += 1;
        self.keys.insert(key, id);
        Ok((key, path))
    }

    fn open_file(&mut self, id: u64) -> Result<Option<&mut Open>, Violation> {
        match &mut self.file(id)?.state {
            State::Open(open) => Ok(Some(open)),
            // Asked for before the receiver heard of the failure.
            State::Failed => Ok(None),
            _ => Err(Violation::UnknownFile),
        }
    }

    pub(super) fn want_fine(
        &mut self,
        id: u64,
        chunks: Vec<(u64, u64, u64)>,
    ) -> Result<(), Violation> {
        let Some(open) = self.open_file(id)? else {
            return Ok(());
        };
        let size = open.stat.meta.size;
        let most = Chunking::params(size).max() as u64;
        for (_, offset, length) in &chunks {
            let end = offset.checked_add(*length).ok_or(Violation::Range)?;
            if end > size || *length > most || *length == 0 {
                return Err(Violation::Range);
            }
        }
        let asked: u64 = chunks.iter().map(|(_, _, length)| length).sum();
        open.fine = open.fine.saturating_add(asked);
        if open.fine > FINE_BYTES {
            return Err(Violation::TooMuch);
        }
        // So many at a time that no answer, and no thread, is held up for long.
        let key = open.key;
        for chunks in chunks.chunks(64) {
            let chunks = chunks.to_vec();
            self.jobs.push_back(Job::Fine { key, chunks });
        }
        Ok(())
    }

    pub(super) fn get(&mut self, id: u64, ranges: Vec<(u64, u64)>) -> Result<(), Violation> {
        let Some(open) = self.open_file(id)? else {
            return Ok(());
        };
        if open.all.is_some() {
            return Err(Violation::UnknownFile);
        }
        if open.ranges.len() + ranges.len() > MOST_RANGES {
            return Err(Violation::TooMuch);
        }
        for (offset, length) in &ranges {
            let end = offset.checked_add(*length).ok_or(Violation::Range)?;
            if end > open.stat.meta.size || *length == 0 {
                return Err(Violation::Range);
            }
        }
        open.ranges.extend(ranges);
        if !open.in_turns {
            open.in_turns = true;
            self.turns.push_back(id);
        }
        Ok(())
    }

    pub(super) fn close(&mut self, id: u64) {
        if let Some(file) = self.window.remove(id) {
            self.close_key(&file.state);
        }
    }

    fn close_key(&mut self, state: &State) {
        let key = match state {
            State::Opening(key) => *key,
            State::Open(open) => open.key,
            _ => return,
        };
        self.keys.remove(&key);
        self.jobs.push_back(Job::Close { key });
    }

    /// Tells the receiver that a file cannot be sent. Asked for again, it is opened anew.
    pub(super) fn fail(&mut self, id: u64, failed: Failed) {
        let Some(file) = self.window.get_mut(id) else {
            return;
        };
        let state = std::mem::replace(&mut file.state, State::Failed);
        if matches!(state, State::Failed) {
            return;
        }
        let text = match failed.text.starts_with('`') {
            true => failed.text,
            false => format!("`{}`: {}", file.path, failed.text),
        };
        self.close_key(&state);
        let changed = failed.changed;
        self.push_data(Message::Fail { id, changed, text });
    }

    pub(super) fn manifest_made(&mut self, key: u64, result: Result<Arc<Manifest>, Failed>) {
        let Some(id) = self.current(key) else {
            return;
        };
        let manifest = match result {
            Ok(manifest) => manifest,
            Err(failed) => return self.fail(id, failed),
        };
        let Some(file) = self.window.get_mut(id) else {
            return;
        };
        file.state = State::Open(Box::new(Open::new(key, manifest.stat, false)));
        let mut spans = manifest.spans.chunks(CHUNKS).peekable();
        let mut more = true;
        while more {
            let chunks = spans.next().unwrap_or_default();
            more = spans.peek().is_some();
            let end = (!more).then_some((manifest.stat.meta, manifest.root));
            let chunks = chunks
                .iter()
                .map(|span| Chunk {
                    length: span.length,
                    hash: span.short(),
                })
                .collect();
            self.push(Message::Manifest { id, chunks, end });
        }
    }

    pub(super) fn fine_made(
        &mut self,
        key: u64,
        result: Result<Vec<(u64, Vec<SubChunk>)>, Failed>,
    ) {
        let Some(id) = self.current(key) else {
            return;
        };
        match result {
            Ok(chunks) => {
                for (chunk, pieces) in chunks {
                    self.push(Message::Fine { id, chunk, pieces });
                }
            }
            Err(failed) => self.fail(id, failed),
        }
    }
}
