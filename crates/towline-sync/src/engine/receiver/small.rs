//! Small files: asked for by the hundred, stored by the dozen.

use bytes::Bytes;

use super::{Receiver, Target};
use crate::engine::{Failed, Job, SmallFile, Violation};
use crate::wire::{Hash16, Kind, Message, Meta};

/// Small files asked for and not yet here.
const WANTED: usize = 4096;
/// Bytes of these.
const WANTED_BYTES: u64 = 8 << 20;
/// Files asked for in one message.
const ASKED: usize = 512;
/// Files stored in one job.
const STORED: usize = 32;
/// Times that a file is read again that changed meanwhile.
pub(super) const ATTEMPTS: u32 = 3;

impl Receiver {
    pub(super) fn want_small(&mut self) {
        let mut ids = Vec::new();
        while self.small_wanted.len() < WANTED && self.small_bytes < WANTED_BYTES {
            let Some(target) = self.small_todo.pop_front() else {
                break;
            };
            self.small_bytes += target.meta.size;
            ids.push(target.id);
            self.small_wanted.insert(target.id, target);
            if ids.len() >= ASKED {
                self.out
                    .push_back(Message::WantSmall(std::mem::take(&mut ids)));
            }
        }
        if !ids.is_empty() {
            self.out.push_back(Message::WantSmall(ids));
        }
    }

    fn take_wanted(&mut self, id: u64) -> Option<Target> {
        let target = self.small_wanted.remove(&id)?;
        self.small_bytes = self.small_bytes.saturating_sub(target.meta.size);
        Some(target)
    }

    pub(super) fn small_came(
        &mut self,
        id: u64,
        meta: Meta,
        hash: Hash16,
        bytes: Bytes,
    ) -> Result<(), Violation> {
        let mut target = self.take_wanted(id).ok_or(Violation::UnknownFile)?;
        if meta.size != bytes.len() as u64 {
            return Err(Violation::Range);
        }
        if meta.size > self.options.max_file {
            let most = self.options.max_file;
            let path = &target.path;
            let text = format!("`{path}` has grown: at most {most} bytes are taken here");
            self.failed_file(&target, text);
            return Ok(());
        }
        // What the sender read counts, not what it listed.
        target.meta = meta;
        self.totals.literal = self.totals.literal.saturating_add(bytes.len() as u64);
        self.held += bytes.len();
        self.small_store.push(SmallFile {
            id,
            path: target.path.clone(),
            meta: target.stored_meta(meta),
            bytes,
            hash,
            new: target.old.is_none(),
        });
        self.small_storing.insert(id, target);
        Ok(())
    }

    /// The next small files to store.
    pub(super) fn store_small(&mut self) -> Option<Job> {
        if self.small_store.is_empty() {
            return None;
        }
        let count = self.small_store.len().min(STORED);
        let files = self.small_store.drain(..count).collect();
        let durable = self.options.durable;
        Some(Job::StoreSmall { files, durable })
    }

    pub(super) fn small_stored(&mut self, files: Vec<(u64, Result<(), Failed>)>) {
        for (id, result) in files {
            let Some(target) = self.small_storing.remove(&id) else {
                continue;
            };
            self.held = self.held.saturating_sub(target.meta.size as usize);
            match result {
                Ok(()) => {
                    self.totals.files_done += 1;
                    self.stored(&target, target.meta.size);
                    self.set_due(target.path, Kind::File, target.meta, target.fresh);
                }
                Err(failed) => self.failed_file(&target, failed.text),
            }
        }
    }

    /// The sender cannot send a small file. False if it is none.
    pub(super) fn small_failed(&mut self, id: u64, changed: bool, text: &str) -> bool {
        let Some(mut target) = self.take_wanted(id) else {
            return false;
        };
        target.attempts += 1;
        if changed && target.attempts < ATTEMPTS {
            self.small_todo.push_back(target);
        } else {
            self.drop_id(id);
            self.failed_file(&target, text.to_owned());
        }
        true
    }
}
