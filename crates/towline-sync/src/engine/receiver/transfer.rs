//! One large file: from the question what of it is here to its name.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::BytesMut;

use super::{LEAST_SOURCE, Receiver, Target};
use crate::engine::{ChunkOp, Expect, Failed, Job, Piece, Source, Violation};
use crate::fs::{Claim, Manifest, Span, root_hash};
use crate::wire::{Chunk, Chunking, Hash16, Kind, Message, Meta, Outcome, SubChunk};

/// Smallest old version that is worth cutting.
const LEAST_OLD: u64 = 16 << 10;
/// Times that a file is waited for which somebody else is receiving: with 250 ms between them, 30 s.
const MOST_WAITS: u32 = 120;
/// Chunks of all manifests that are held at a time.
const MOST_CHUNKS: usize = 1 << 20;

/// A large file on its way.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) target: Target,
    /// Nothing is written: only compared.
    pub(super) compare: bool,
    /// Nothing is written before it turns out to differ.
    pub(super) unbegun: bool,
    pub(super) chunking: Chunking,
    pub(super) begun: bool,
    pub(super) claims: HashMap<u64, Claim>,
    /// The old version: its key, and its chunks when it was cut.
    pub(super) basis_key: Option<u64>,
    pub(super) basis: Option<Arc<Manifest>>,
    pub(super) basis_pending: bool,
    /// The new version.
    pub(super) plan: Vec<Chunk>,
    pub(super) offsets: Vec<u64>,
    pub(super) end: Option<(Meta, [u8; 32])>,
    pub(super) planned: bool,
    pub(super) done: Vec<Option<Span>>,
    pub(super) left: usize,
    /// Chunks that were asked for again, whole.
    pub(super) retried: HashSet<usize>,
    /// Sent from the beginning: the last block has come.
    pub(super) last: bool,
    /// Chunks whose second level is awaited, and what came of it.
    pub(super) fine_wanted: usize,
    pub(super) fine_asked: HashSet<usize>,
    pub(super) fine_pending: usize,
    pub(super) fine_source: Option<Arc<Source>>,
    pub(super) fine_here: HashMap<Hash16, (u64, u64)>,
    pub(super) fine: HashMap<usize, Vec<SubChunk>>,
    /// Bytes that will come, in this order.
    pub(super) expected: VecDeque<Expected>,
    /// Chunks that are partly here.
    pub(super) open: Option<OpenChunk>,
    pub(super) ops: Vec<ChunkOp>,
    pub(super) ops_bytes: u64,
    pub(super) applying: usize,
    /// Bytes that were counted, of whatever kind.
    pub(super) counted: u64,
    /// Sent from the beginning: how far.
    pub(super) all: bool,
    pub(super) at: u64,
}

/// A chunk that is made of bytes to come and perhaps of what is here.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) chunk: usize,
    pub(super) pieces: VecDeque<Want>,
}

/// A piece of such a chunk.
#[derive(Debug)]
pub(super) enum Want {
    Here(Piece),
    Comes { offset: u64, length: u64 },
}

#[derive(Debug, Default)]
pub(super) struct OpenChunk {
    pub(super) pieces: Vec<Piece>,
    pub(super) filling: BytesMut,
}

impl Receiver {
    pub(super) fn start(&mut self, target: Target) {
        let compare = self.options.dry_run;
        let id = target.id;
        let same_size = target
            .old
            .is_some_and(|stat| stat.meta.size == target.meta.size);
        // Most likely it is equal: then it costs two hashes.
        let unbegun =
            self.options.checksum && same_size && !(compare || target.shared || target.partial);
        // docs/wire D16: the old version, or a file of the same size somewhere else.
        let source = match &target.old {
            Some(stat) if stat.meta.size >= LEAST_OLD || compare || unbegun => {
                Some(target.path.clone())
            }
            Some(_) => None,
            None => self.sizes.get(target.meta.size).cloned(),
        };
        let chunking = match source {
            Some(_) => Chunking::Content,
            None => Chunking::Blocks,
        };
        let mut transfer = Transfer {
            target,
            compare,
            unbegun,
            chunking,
            begun: compare || unbegun,
            claims: HashMap::new(),
            basis_key: None,
            basis: None,
            basis_pending: false,
            plan: Vec::new(),
            offsets: Vec::new(),
            end: None,
            planned: false,
            done: Vec::new(),
            left: 0,
            retried: HashSet::new(),
            last: false,
            fine_wanted: 0,
            fine_asked: HashSet::new(),
            fine_pending: 0,
            fine_source: None,
            fine_here: HashMap::new(),
            fine: HashMap::new(),
            expected: VecDeque::new(),
            open: None,
            ops: Vec::new(),
            ops_bytes: 0,
            applying: 0,
            counted: 0,
            all: false,
            at: 0,
        };
        if let Some(path) = source {
            let key = self.next_key;
            self.next_key += 1;
            transfer.basis_key = Some(key);
            transfer.basis_pending = true;
            self.bases.insert(key, id);
            self.jobs.push_back(Job::Manifest {
                key,
                path,
                chunking,
            });
        }
        let begins = !transfer.begun;
        self.transfers.insert(id, transfer);
        if begins {
            self.begin(id);
        } else {
            self.out.push_back(Message::WantManifest { id, chunking });
        }
    }

    /// Has a partial file made, or what is left of one taken up.
    pub(super) fn begin(&mut self, id: u64) {
        if let Some(transfer) = self.transfers.get(&id) {
            self.jobs.push_back(Job::BeginPart {
                id,
                path: transfer.target.path.clone(),
                size: transfer.target.meta.size,
                chunking: transfer.chunking,
                again: transfer.target.waits > 0,
            });
        }
    }

    /// docs/wire D20: whoever was killed may hold a file for a while. False if that was long enough.
    fn wait_for(&mut self, id: u64, failed: &Failed) -> bool {
        let Some(transfer) = self.transfers.get_mut(&id) else {
            return false;
        };
        if !failed.changed || transfer.target.waits >= MOST_WAITS {
            return false;
        }
        transfer.target.waits += 1;
        if transfer.target.waits == 1 {
            let path = transfer.target.path.clone();
            let text = format!("{}; waiting until that ends", failed.text);
            self.item(Outcome::Waiting, &path, 0, text);
        }
        self.begin(id);
        true
    }

    pub(super) fn begun(&mut self, id: u64, result: Result<(Chunking, Vec<Claim>), Failed>) {
        let Some(transfer) = self.transfers.get_mut(&id) else {
            if let Some(ending) = self.ending.get_mut(&id) {
                ending.has_begun();
            }
            return self.end_ending(id);
        };
        match result {
            Ok((chunking, claims)) => {
                transfer.begun = true;
                if transfer.end.is_some() {
                    // It was compared first, and is cut as it is.
                    return self.plan(id);
                }
                // docs/wire D20: what is left of an earlier attempt says how the file is cut.
                if claims.is_empty() && transfer.basis_key.is_none() {
                    transfer.all = true;
                    self.out.push_back(Message::WantAll { id });
                    return;
                }
                if !claims.is_empty() {
                    transfer.chunking = chunking;
                }
                transfer.claims = claims
                    .into_iter()
                    .map(|claim| (claim.offset, claim))
                    .collect();
                let chunking = transfer.chunking;
                self.out.push_back(Message::WantManifest { id, chunking });
            }
            Err(failed) => {
                if !self.wait_for(id, &failed) {
                    if let Some(transfer) = self.transfers.get_mut(&id) {
                        transfer.begun = true;
                    }
                    self.give_up(id, failed.text, !failed.full);
                }
            }
        }
    }

    pub(super) fn basis_made(&mut self, key: u64, result: Result<Arc<Manifest>, Failed>) {
        let Some(id) = self.bases.get(&key).copied() else {
            return self.jobs.push_back(Job::Close { key });
        };
        let Some(transfer) = self.transfers.get_mut(&id) else {
            return;
        };
        transfer.basis_pending = false;
        // An old version that cannot be read is as good as none.
        transfer.basis = result.ok();
        if transfer.compare && transfer.basis.is_none() {
            let text = format!("`{}` cannot be read here", transfer.target.path);
            return self.give_up(id, text, false);
        }
        self.plan(id);
    }

    pub(super) fn manifest_came(
        &mut self,
        id: u64,
        chunks: Vec<Chunk>,
        end: Option<(Meta, [u8; 32])>,
    ) -> Result<(), Violation> {
        let Some(transfer) = self.known(id)? else {
            return Ok(());
        };
        if transfer.all || transfer.end.is_some() {
            return Err(Violation::UnknownFile);
        }
        let held: usize = self
            .transfers
            .values()
            .map(|transfer| transfer.plan.len())
            .sum();
        if held + chunks.len() > MOST_CHUNKS {
            let text = "too many chunks at a time".to_owned();
            self.give_up(id, text, true);
            return Ok(());
        }
        let Some(transfer) = self.transfers.get_mut(&id) else {
            return Ok(());
        };
        for chunk in chunks {
            // docs/wire D17: a run of zeros is one chunk.
            let before = transfer.plan.last();
            if chunk.hash.is_none() && before.is_some_and(|before| before.hash.is_none()) {
                return Err(Violation::Manifest);
            }
            // docs/wire D17: only runs of zeros are longer than the largest chunk.
            if chunk.hash.is_some() && chunk.length > 4 << 20 {
                return Err(Violation::Manifest);
            }
            transfer.offsets.push(transfer.at);
            transfer.at = transfer
                .at
                .checked_add(chunk.length)
                .ok_or(Violation::Manifest)?;
            transfer.plan.push(chunk);
        }
        if let Some((meta, _)) = &end {
            if transfer.at != meta.size {
                return Err(Violation::Manifest);
            }
            transfer.target.meta = *meta;
            transfer.end = end;
            if self.fits(id) {
                self.plan(id);
            }
        }
        Ok(())
    }

    /// Whether a file is still within what one may have; if not, it is given up.
    pub(super) fn fits(&mut self, id: u64) -> bool {
        let most = self.options.max_file;
        let Some(transfer) = self.transfers.get(&id) else {
            return false;
        };
        if transfer.at <= most {
            return true;
        }
        let path = &transfer.target.path;
        let text = format!("`{path}` has grown: at most {most} bytes are taken here");
        self.give_up(id, text, false);
        false
    }

    /// Gives the file its name when all of it is there.
    pub(super) fn maybe_finish(&mut self, id: u64) {
        let Some(transfer) = self.transfers.get(&id) else {
            return;
        };
        let Some((meta, root)) = transfer.end else {
            return;
        };
        if transfer.left > 0 || transfer.applying > 0 || !transfer.ops.is_empty() {
            return;
        }
        if !transfer.all && !transfer.planned {
            return;
        }
        // docs/wire D19: the whole file, before it gets its name.
        if root_hash(transfer.done.iter().flatten()) != root {
            let text = format!(
                "`{}` is not what was announced: its hash is another",
                transfer.target.path
            );
            return self.give_up(id, text, false);
        }
        let meta = transfer.target.stored_meta(meta);
        let durable = self.options.durable;
        self.jobs.push_back(Job::FinishPart { id, meta, durable });
    }

    pub(super) fn part_finished(&mut self, id: u64, result: Result<(), Failed>) {
        let Some(transfer) = self.transfers.remove(&id) else {
            return;
        };
        self.close(id, &transfer);
        match result {
            Ok(()) => {
                self.totals.files_done += 1;
                self.stored(&transfer.target, transfer.target.meta.size);
                self.remember_chunks(&transfer);
                let (target, due) = (&transfer.target, transfer.target.fresh.clone());
                self.set_due(target.path.clone(), Kind::File, target.meta, due);
                if target.meta.size >= LEAST_SOURCE {
                    self.sizes.insert(target.meta.size, &target.path);
                }
            }
            Err(failed) => self.failed_file(&transfer.target, failed.text),
        }
    }

    /// Counts bytes that need not come: what an earlier attempt counted is not counted again.
    pub(super) fn count_here(&mut self, id: u64, bytes: u64, zeros: bool) {
        let Some(transfer) = self.transfers.get_mut(&id) else {
            return;
        };
        let before = transfer.counted.max(transfer.target.counted);
        transfer.counted = transfer.counted.saturating_add(bytes);
        let new = transfer.counted.saturating_sub(before);
        let count = match zeros {
            true => &mut self.totals.zeros,
            false => &mut self.totals.reused,
        };
        *count = count.saturating_add(new);
    }
}

impl Transfer {
    /// A chunk of the plan, put together of these pieces.
    pub(super) fn op(&self, index: usize, pieces: Vec<Piece>) -> ChunkOp {
        let chunk = &self.plan[index];
        ChunkOp {
            index,
            offset: self.offsets[index],
            length: chunk.length,
            expect: match chunk.hash {
                Some(hash) => Expect::Hash(hash),
                None => Expect::Zeros,
            },
            pieces,
        }
    }
}
