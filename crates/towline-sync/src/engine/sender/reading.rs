//! Reading what was asked for, small files by the batch and large ones in turns.

use bytes::Bytes;

use super::Sender;
use super::files::{Open, State};
use super::window::File;
use crate::engine::{Failed, Job, SmallRead};
use crate::fs::{Span, Stat, root_hash};
use crate::wire::{Chunking, Message};

/// Bytes that are read at a time.
const READ: u64 = 1 << 20;
/// Ranges that are read at a time.
const RANGES: usize = 512;
/// Most bytes of a range in one message.
const PIECE: usize = 256 << 10;
/// Reads of one file at a time.
const READS: u64 = 4;
/// Small files that are read at a time, and how many bytes they may have.
const SMALL_FILES: usize = 64;
/// What a small file counts for in the budget until it is read.
const SMALL_GUESS: usize = 32 << 10;

impl Sender {
    /// Reads a batch of small files.
    pub(super) fn read_small(&mut self) -> Option<Job> {
        let mut files = Vec::new();
        while files.len() < SMALL_FILES {
            let Some(id) = self.small.pop_front() else {
                break;
            };
            if let Some(file) = self.window.get(id) {
                files.push((id, file.path.clone()));
            }
        }
        if files.is_empty() {
            return None;
        }
        self.ahead += files.len() * SMALL_GUESS;
        Some(Job::ReadSmall(files))
    }

    pub(super) fn small_read(&mut self, files: Vec<(u64, Result<SmallRead, Failed>)>) {
        self.ahead = self.ahead.saturating_sub(files.len() * SMALL_GUESS);
        for (id, result) in files {
            match result {
                Ok(SmallRead { meta, hash, bytes }) => {
                    self.window.remove(id);
                    self.ahead += bytes.len();
                    self.push(Message::Small {
                        id,
                        meta,
                        hash,
                        bytes,
                    });
                }
                Err(failed) => self.fail(id, failed),
            }
        }
    }

    pub(super) fn opened(&mut self, key: u64, result: Result<Stat, Failed>) {
        let Some(id) = self.current(key) else {
            return;
        };
        let stat = match result {
            Ok(stat) => stat,
            Err(failed) => return self.fail(id, failed),
        };
        let Some(file) = self.window.get_mut(id) else {
            return;
        };
        let mut open = Open::new(key, stat, true);
        open.in_turns = true;
        file.state = State::Open(Box::new(open));
        if stat.meta.size == 0 {
            self.end(id);
        } else {
            self.turns.push_back(id);
        }
    }

    /// Reads on in the file whose turn it is.
    pub(super) fn read_large(&mut self) -> Option<Job> {
        for _ in 0..self.turns.len() {
            let id = self.turns.pop_front()?;
            let Some(File {
                state: State::Open(open),
                ..
            }) = self.window.get_mut(id)
            else {
                continue;
            };
            if !open.has_more() {
                open.in_turns = false;
                continue;
            }
            self.turns.push_back(id);
            if open.begun - open.passed >= READS {
                continue;
            }
            let size = open.stat.meta.size;
            let mut ranges = Vec::new();
            let mut total = 0;
            let block = match &mut open.all {
                Some((at, _)) => {
                    total = READ.min(size - *at);
                    ranges.push((*at, total));
                    *at += total;
                    Some(Chunking::block(size))
                }
                None => {
                    while total < READ && ranges.len() < RANGES {
                        let Some((offset, length)) = open.ranges.front_mut() else {
                            break;
                        };
                        let now = (*length).min(READ - total);
                        ranges.push((*offset, now));
                        total += now;
                        *offset += now;
                        *length -= now;
                        if *length == 0 {
                            open.ranges.pop_front();
                        }
                    }
                    None
                }
            };
            let turn = open.begun;
            open.begun += 1;
            self.ahead += total as usize;
            let key = open.key;
            return Some(Job::Read {
                key,
                turn,
                ranges,
                block,
            });
        }
        None
    }

    pub(super) fn read_done(
        &mut self,
        key: u64,
        turn: u64,
        asked: u64,
        result: Result<Vec<(Span, Bytes)>, Failed>,
    ) {
        self.ahead = self.ahead.saturating_sub(asked as usize);
        let Some(id) = self.current(key) else {
            return;
        };
        let pieces = match result {
            Ok(pieces) => pieces,
            Err(failed) => return self.fail(id, failed),
        };
        let Some(File {
            state: State::Open(open),
            ..
        }) = self.window.get_mut(id)
        else {
            return;
        };
        open.read.insert(turn, pieces);
        let mut messages = Vec::new();
        while let Some(pieces) = open.read.remove(&open.passed) {
            open.passed += 1;
            for (span, mut bytes) in pieces {
                let mut offset = span.offset;
                if let Some((_, spans)) = &mut open.all {
                    spans.push(span);
                    if span.hash.is_none() {
                        let length = span.length;
                        messages.push(Message::Zeros { id, offset, length });
                        continue;
                    }
                    messages.push(Message::Data { id, offset, bytes });
                    continue;
                }
                while !bytes.is_empty() {
                    let piece = bytes.split_to(bytes.len().min(PIECE));
                    let length = piece.len() as u64;
                    let bytes = piece;
                    messages.push(Message::Data { id, offset, bytes });
                    offset += length;
                }
            }
        }
        let ended = open.all.is_some() && !open.has_more() && open.passed == open.begun;
        for message in messages {
            self.ahead += message.payload();
            self.push_data(message);
        }
        if ended {
            self.end(id);
        }
    }

    /// A file that was sent from the beginning is complete.
    fn end(&mut self, id: u64) {
        let Some(File {
            state: State::Open(open),
            ..
        }) = self.window.get_mut(id)
        else {
            return;
        };
        let spans = open.all.take().map(|(_, spans)| spans).unwrap_or_default();
        let (meta, root) = (open.stat.meta, root_hash(&spans));
        self.push_data(Message::End { id, meta, root });
    }
}
