//! Which chunks of a file are here, which of their pieces are, and which bytes are nowhere.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::transfer::{Expected, Want};
use super::{MOST_CHUNKS, Receiver};
use crate::engine::{Failed, Job, Piece, Source, Violation};
use crate::fs::Span;
use crate::wire::{Chunking, Hash16, Kind, Message, Outcome, SubChunk};

/// Bytes of chunks, here and there, up to which the second level is worth its hashes.
const FINE_BYTES: u64 = 64 << 20;
/// Files up to this size are cut finely at once.
const FINE_FROM: u64 = 256 << 10;
/// Chunks in one request for their second level.
const FINE_CHUNKS: usize = 256;
/// Ranges in one request.
const RANGES: usize = 4096;

impl Receiver {
    /// Decides about every chunk, once both versions are cut.
    pub(super) fn plan(&mut self, id: u64) {
        let Some(transfer) = self.transfers.get_mut(&id) else {
            return;
        };
        if transfer.basis_pending || transfer.end.is_none() || transfer.planned {
            return;
        }
        transfer.planned = true;
        if self.is_same(id) {
            return self.keep(id);
        }
        let Some(transfer) = self.transfers.get_mut(&id) else {
            return;
        };
        if transfer.compare {
            let target = transfer.target.clone();
            if let Some(transfer) = self.transfers.remove(&id) {
                self.close(id, &transfer);
            }
            return self.would_write(&target);
        }
        if std::mem::take(&mut transfer.unbegun) {
            (transfer.begun, transfer.planned) = (false, false);
            return self.begin(id);
        }
        let basis = transfer.basis.clone();
        let spans = basis.as_ref().map_or(&[][..], |basis| &basis.spans);
        let here: HashMap<Hash16, &Span> = spans
            .iter()
            .filter_map(|span| Some((span.short()?, span)))
            .collect();
        let source = transfer.basis_key.map(|key| {
            let path = match transfer.target.old {
                Some(_) => transfer.target.path.clone(),
                None => self
                    .sizes
                    .get(transfer.target.meta.size)
                    .unwrap_or(&transfer.target.path)
                    .clone(),
            };
            Arc::new(Source { key, path })
        });
        transfer.done = vec![None; transfer.plan.len()];
        transfer.left = transfer.plan.len();
        let mut used = HashSet::new();
        let (mut ops, mut missing) = (Vec::new(), Vec::new());
        let (mut claimed, mut zeros) = (0, 0);
        for (index, chunk) in transfer.plan.iter().enumerate() {
            let offset = transfer.offsets[index];
            if let Some(claim) = transfer.claims.get(&offset)
                && (claim.length, claim.short()) == (chunk.length, chunk.hash)
            {
                transfer.done[index] = Some(*claim);
                transfer.left -= 1;
                match chunk.hash {
                    Some(_) => claimed += chunk.length,
                    None => zeros += chunk.length,
                }
                continue;
            }
            let Some(hash) = chunk.hash else {
                ops.push(transfer.op(index, Vec::new()));
                continue;
            };
            let near = here.get(&hash).filter(|span| span.length == chunk.length);
            let found = match (near, &source) {
                (Some(span), Some(source)) => Some((Arc::clone(source), span.offset)),
                _ => self.chunks.get(&(hash, chunk.length)).cloned(),
            };
            match found {
                Some((source, offset)) => {
                    used.insert(hash);
                    let length = chunk.length;
                    let piece = Piece::Copy {
                        source,
                        offset,
                        length,
                    };
                    ops.push(transfer.op(index, vec![piece]));
                }
                None => missing.push(index),
            }
        }
        let missing_bytes: u64 = missing
            .iter()
            .map(|index| transfer.plan[*index].length)
            .sum();
        // The old chunks that nothing became of: what was changed was changed in them.
        let changed: Vec<(u64, u64)> = spans
            .iter()
            .filter(|span| span.short().is_some_and(|hash| !used.contains(&hash)))
            .map(|span| (span.offset, span.length))
            .collect();
        let changed_bytes: u64 = changed.iter().map(|(_, length)| length).sum();
        let worth = transfer.chunking == Chunking::Content
            && transfer.target.meta.size > FINE_FROM
            && !used.is_empty()
            && !missing.is_empty()
            && (1..=FINE_BYTES).contains(&changed_bytes)
            && missing_bytes <= FINE_BYTES;
        if worth && let Some(key) = transfer.basis_key {
            transfer.fine_wanted = missing.len();
            transfer.fine_asked = missing.iter().copied().collect();
            transfer.fine_source = source;
            for chunks in missing.chunks(FINE_CHUNKS) {
                let chunks = chunks
                    .iter()
                    .map(|index| {
                        let length = transfer.plan[*index].length;
                        (*index as u64, transfer.offsets[*index], length)
                    })
                    .collect();
                self.out.push_back(Message::WantFine { id, chunks });
            }
            for chunks in changed.chunks(FINE_CHUNKS) {
                transfer.fine_pending += 1;
                // Numbered by their offsets, which come back with their pieces.
                let chunks = chunks
                    .iter()
                    .map(|(offset, length)| (*offset, *offset, *length))
                    .collect();
                self.jobs.push_back(Job::Fine { key, chunks });
            }
            missing.clear();
        }
        self.count_here(id, claimed, false);
        self.count_here(id, zeros, true);
        for op in ops {
            self.push_op(id, op);
        }
        self.get_whole(id, missing);
        self.flush_ops(id);
        self.maybe_finish(id);
    }

    /// Whether the file here has this content already.
    fn is_same(&self, id: u64) -> bool {
        let Some(transfer) = self.transfers.get(&id) else {
            return false;
        };
        let (Some(basis), Some((_, root))) = (&transfer.basis, &transfer.end) else {
            return false;
        };
        transfer.target.old.is_some() && !transfer.target.shared && basis.root == *root
    }

    /// Leaves the content of a file as it is.
    fn keep(&mut self, id: u64) {
        let Some(transfer) = self.transfers.remove(&id) else {
            return;
        };
        self.close(id, &transfer);
        let (target, meta) = (transfer.target.clone(), transfer.target.meta);
        self.totals.files_done += 1;
        self.totals.reused = self.totals.reused.saturating_add(meta.size);
        self.is_over(&target);
        let old = target.old.map(|stat| (stat.meta.mtime, stat.meta.mode));
        let differs = old != Some((meta.mtime, meta.mode));
        if differs || target.kept.is_something() {
            self.item(Outcome::Touched, &target.path, meta.size, String::new());
        }
        if target.kept.is_something() {
            self.set_due(target.path, Kind::File, meta, target.kept);
        } else if differs {
            self.set_meta(target.path, Kind::File, meta);
        }
        if !transfer.compare && !transfer.unbegun {
            self.leave(id, transfer, false, None);
        }
    }

    /// Asks for chunks whole.
    pub(super) fn get_whole(&mut self, id: u64, chunks: Vec<usize>) {
        let Some(transfer) = self.transfers.get_mut(&id) else {
            return;
        };
        let mut ranges = Vec::new();
        for chunk in chunks {
            let (offset, length) = (transfer.offsets[chunk], transfer.plan[chunk].length);
            push_range(&mut ranges, offset, length);
            transfer.expected.push_back(Expected {
                chunk,
                pieces: VecDeque::from([Want::Comes { offset, length }]),
            });
        }
        self.get(id, ranges);
    }

    fn get(&mut self, id: u64, ranges: Vec<(u64, u64)>) {
        for ranges in ranges.chunks(RANGES) {
            let ranges = ranges.to_vec();
            self.out.push_back(Message::Get { id, ranges });
        }
    }

    pub(super) fn fine_came(
        &mut self,
        id: u64,
        chunk: u64,
        pieces: Vec<SubChunk>,
    ) -> Result<(), Violation> {
        let Some(transfer) = self.known(id)? else {
            return Ok(());
        };
        let index = usize::try_from(chunk).map_err(|_| Violation::Manifest)?;
        let planned = transfer.plan.get(index).ok_or(Violation::Manifest)?;
        let length: u64 = pieces.iter().map(|piece| u64::from(piece.length)).sum();
        // docs/wire D17: each that was asked for, once.
        if length != planned.length || pieces.iter().any(|piece| piece.length == 0) {
            return Err(Violation::Manifest);
        }
        if !transfer.fine_asked.remove(&index) {
            return Err(Violation::Range);
        }
        transfer.fine.insert(index, pieces);
        self.plan_fine(id);
        Ok(())
    }

    pub(super) fn basis_fine(
        &mut self,
        key: u64,
        result: Result<Vec<(u64, Vec<SubChunk>)>, Failed>,
    ) {
        let Some(id) = self.bases.get(&key).copied() else {
            return;
        };
        let Some(transfer) = self.transfers.get_mut(&id) else {
            return;
        };
        transfer.fine_pending -= 1;
        // Without them, more has to come over; nothing else.
        for (offset, pieces) in result.unwrap_or_default() {
            let mut offset = offset;
            for piece in pieces {
                let length = u64::from(piece.length);
                transfer.fine_here.insert(piece.hash, (offset, length));
                offset += length;
            }
        }
        self.plan_fine(id);
    }

    /// Decides about every piece, once all are known.
    fn plan_fine(&mut self, id: u64) {
        let Some(transfer) = self.transfers.get_mut(&id) else {
            return;
        };
        let ready = transfer.fine_pending == 0 && transfer.fine.len() == transfer.fine_wanted;
        let Some(source) = transfer.fine_source.clone().filter(|_| ready) else {
            return;
        };
        transfer.fine_source = None;
        let mut chunks: Vec<_> = std::mem::take(&mut transfer.fine).into_iter().collect();
        chunks.sort_unstable_by_key(|(index, _)| *index);
        let here = std::mem::take(&mut transfer.fine_here);
        let (mut ops, mut ranges) = (Vec::new(), Vec::new());
        for (chunk, pieces) in chunks {
            let mut offset = transfer.offsets[chunk];
            let mut wants: VecDeque<Want> = VecDeque::new();
            for piece in pieces {
                let length = u64::from(piece.length);
                let found = here.get(&piece.hash).filter(|(_, found)| *found == length);
                match (found, wants.back_mut()) {
                    (Some((from, _)), _) => wants.push_back(Want::Here(Piece::Copy {
                        source: Arc::clone(&source),
                        offset: *from,
                        length,
                    })),
                    (None, Some(Want::Comes { length: before, .. })) => *before += length,
                    (None, _) => wants.push_back(Want::Comes { offset, length }),
                }
                offset += length;
            }
            for want in &wants {
                if let Want::Comes { offset, length } = want {
                    push_range(&mut ranges, *offset, *length);
                }
            }
            if wants.iter().any(|want| matches!(want, Want::Comes { .. })) {
                let pieces = wants;
                transfer.expected.push_back(Expected { chunk, pieces });
                continue;
            }
            let pieces = wants.into_iter().filter_map(|want| match want {
                Want::Here(piece) => Some(piece),
                Want::Comes { .. } => None,
            });
            ops.push(transfer.op(chunk, pieces.collect()));
        }
        for op in ops {
            self.push_op(id, op);
        }
        self.get(id, ranges);
        self.flush_ops(id);
    }

    /// Remembers the chunks of a file that is complete, for other files.
    pub(super) fn remember_chunks(&mut self, transfer: &super::Transfer) {
        if transfer.all || transfer.chunking != Chunking::Content {
            return;
        }
        let path = transfer.target.path.clone();
        let source = Arc::new(Source { key: 0, path });
        for (chunk, offset) in transfer.plan.iter().zip(&transfer.offsets) {
            if self.chunks.len() >= MOST_CHUNKS {
                return;
            }
            if let Some(hash) = chunk.hash {
                let found = (Arc::clone(&source), *offset);
                self.chunks.insert((hash, chunk.length), found);
            }
        }
    }
}

/// Adjoining ranges are one.
fn push_range(ranges: &mut Vec<(u64, u64)>, offset: u64, length: u64) {
    match ranges.last_mut() {
        Some((start, before)) if *start + *before == offset => *before += length,
        _ => ranges.push((offset, length)),
    }
}
