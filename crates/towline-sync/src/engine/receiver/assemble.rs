//! The bytes of a large file, from the connection to the jobs that write them.

use bytes::Bytes;

use super::Receiver;
use super::transfer::{Transfer, Want};
use crate::engine::{ChunkOp, Expect, Failed, Job, Piece, Violation};
use crate::fs::Span;
use crate::wire::Meta;

/// Bytes of chunks in one job.
const APPLY: u64 = 1 << 20;

/// Sizes of blocks (docs/wire D17).
const BLOCKS: [u64; 2] = [256 << 10, 1 << 20];
/// Blocks of one file.
const MOST_BLOCKS: usize = 4 << 20;

impl Transfer {
    /// docs/wire D17: what is sent from the beginning comes in blocks of one size, and only the last is shorter.
    fn block(&mut self, offset: u64, length: u64) -> Result<(), Violation> {
        if offset != self.at || length == 0 || self.last || self.done.len() >= MOST_BLOCKS {
            return Err(Violation::Range);
        }
        self.last = !BLOCKS.contains(&length);
        self.at = offset.checked_add(length).ok_or(Violation::Range)?;
        Ok(())
    }
}

impl Receiver {
    /// Bytes of a file came.
    pub(super) fn data_came(
        &mut self,
        id: u64,
        offset: u64,
        bytes: Bytes,
    ) -> Result<(), Violation> {
        let length = bytes.len() as u64;
        self.totals.literal = self.totals.literal.saturating_add(length);
        let Some(transfer) = self.known(id)? else {
            return Ok(());
        };
        transfer.counted = transfer.counted.saturating_add(length);
        if transfer.all {
            transfer.block(offset, length)?;
            if !self.fits(id) {
                return Ok(());
            }
            self.held += bytes.len();
            let pieces = vec![Piece::Bytes(bytes)];
            self.push_all(id, offset, length, Expect::Anything, pieces);
            return Ok(());
        }
        self.fill(id, offset, bytes)
    }

    pub(super) fn zeros_came(
        &mut self,
        id: u64,
        offset: u64,
        length: u64,
    ) -> Result<(), Violation> {
        let Some(transfer) = self.known(id)? else {
            return Ok(());
        };
        if !transfer.all {
            return Err(Violation::Range);
        }
        transfer.block(offset, length)?;
        if !self.fits(id) {
            return Ok(());
        }
        self.count_here(id, length, true);
        self.push_all(id, offset, length, Expect::Zeros, Vec::new());
        Ok(())
    }

    fn push_all(&mut self, id: u64, offset: u64, length: u64, expect: Expect, pieces: Vec<Piece>) {
        if let Some(transfer) = self.transfers.get_mut(&id) {
            let index = transfer.done.len();
            transfer.done.push(None);
            transfer.left += 1;
            let op = ChunkOp {
                index,
                offset,
                length,
                expect,
                pieces,
            };
            self.push_op(id, op);
        }
    }

    pub(super) fn end_came(
        &mut self,
        id: u64,
        meta: Meta,
        root: [u8; 32],
    ) -> Result<(), Violation> {
        let Some(transfer) = self.known(id)? else {
            return Ok(());
        };
        if !transfer.all || transfer.end.is_some() || transfer.at != meta.size {
            return Err(Violation::Range);
        }
        transfer.target.meta = meta;
        transfer.end = Some((meta, root));
        self.flush_ops(id);
        self.maybe_finish(id);
        Ok(())
    }

    /// Puts bytes that came into the chunks that wait for them.
    fn fill(&mut self, id: u64, offset: u64, mut bytes: Bytes) -> Result<(), Violation> {
        let mut offset = offset;
        while !bytes.is_empty() {
            let Some(transfer) = self.transfers.get_mut(&id) else {
                return Ok(());
            };
            let expected = transfer.expected.front_mut().ok_or(Violation::Range)?;
            let open = transfer.open.get_or_insert_default();
            while let Some(Want::Here(_)) = expected.pieces.front() {
                if let Some(Want::Here(piece)) = expected.pieces.pop_front() {
                    open.pieces.push(piece);
                }
            }
            let Some(Want::Comes {
                offset: from,
                length,
            }) = expected.pieces.front_mut()
            else {
                return Err(Violation::Range);
            };
            if *from != offset {
                return Err(Violation::Range);
            }
            let count = (*length).min(bytes.len() as u64);
            let piece = bytes.split_to(count as usize);
            self.held += piece.len();
            offset += count;
            *from += count;
            *length -= count;
            if *length > 0 {
                open.filling.extend_from_slice(&piece);
                continue;
            }
            expected.pieces.pop_front();
            // Whole in one message, as nearly always: not copied.
            open.pieces.push(Piece::Bytes(if open.filling.is_empty() {
                piece
            } else {
                open.filling.extend_from_slice(&piece);
                open.filling.split().freeze()
            }));
            let more = expected
                .pieces
                .iter()
                .any(|want| matches!(want, Want::Comes { .. }));
            if !more {
                self.chunk_complete(id);
            }
        }
        Ok(())
    }

    fn chunk_complete(&mut self, id: u64) {
        let Some(transfer) = self.transfers.get_mut(&id) else {
            return;
        };
        let (Some(mut expected), Some(mut open)) =
            (transfer.expected.pop_front(), transfer.open.take())
        else {
            return;
        };
        for want in expected.pieces.drain(..) {
            if let Want::Here(piece) = want {
                open.pieces.push(piece);
            }
        }
        let op = transfer.op(expected.chunk, open.pieces);
        let last = transfer.expected.is_empty();
        self.push_op(id, op);
        if last {
            self.flush_ops(id);
        }
    }

    /// Queues a chunk to be written.
    pub(super) fn push_op(&mut self, id: u64, op: ChunkOp) {
        let Some(transfer) = self.transfers.get_mut(&id) else {
            return;
        };
        if op.expect != Expect::Zeros {
            transfer.ops_bytes += op.length;
        }
        transfer.ops.push(op);
        if transfer.ops_bytes >= APPLY || transfer.ops.len() >= 1024 {
            self.flush_ops(id);
        }
    }

    pub(super) fn flush_ops(&mut self, id: u64) {
        if let Some(transfer) = self.transfers.get_mut(&id)
            && !transfer.ops.is_empty()
        {
            let ops = std::mem::take(&mut transfer.ops);
            transfer.ops_bytes = 0;
            transfer.applying += 1;
            self.jobs.push_back(Job::Apply { id, ops });
        }
    }

    pub(super) fn applied(
        &mut self,
        id: u64,
        received: usize,
        result: Result<Vec<(usize, Option<Span>, usize)>, Failed>,
    ) {
        self.held = self.held.saturating_sub(received);
        let Some(transfer) = self.transfers.get_mut(&id) else {
            if let Some(ending) = self.ending.get_mut(&id) {
                ending.applying -= 1;
            }
            return self.end_ending(id);
        };
        transfer.applying -= 1;
        let done = match result {
            Ok(done) => done,
            Err(failed) => return self.give_up(id, failed.text, !failed.full),
        };
        let mut wrong = Vec::new();
        let (mut reused, mut zeros) = (0, 0);
        for (index, span, received) in done {
            match span {
                Some(span) => {
                    let here = span.length.saturating_sub(received as u64);
                    match span.hash {
                        _ if transfer.all => {}
                        Some(_) => reused += here,
                        None => zeros += here,
                    }
                    if let Some(done) = transfer.done.get_mut(index) {
                        *done = Some(span);
                        transfer.left -= 1;
                    }
                }
                None => wrong.push(index),
            }
        }
        self.count_here(id, reused, false);
        self.count_here(id, zeros, true);
        if !wrong.is_empty() {
            return self.again(id, wrong);
        }
        self.maybe_finish(id);
    }

    /// Chunks that were not what they must be are asked for whole, once.
    fn again(&mut self, id: u64, wrong: Vec<usize>) {
        let Some(transfer) = self.transfers.get_mut(&id) else {
            return;
        };
        let tried = wrong.iter().any(|index| !transfer.retried.insert(*index));
        if transfer.all || tried {
            let text = format!(
                "`{}` is not what was announced: its chunks have other hashes",
                transfer.target.path
            );
            return self.give_up(id, text, false);
        }
        self.get_whole(id, wrong);
    }
}
