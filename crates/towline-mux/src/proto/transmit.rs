//! What waits to be written, in the pieces in which it is written.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf as _, Bytes};

/// A payload up to this size is copied beside its header: one slice costs less than two.
const INLINE: usize = 512;

/// Frames on their way to the transport: headers and small payloads in one buffer that is used again
/// and again, large payloads as the memory they came in.
///
/// An [`Engine`](super::Engine) fills it, the driver writes its [`slices`](Self::slices) in one system
/// call and [`advance`](Self::advance)s by what was taken.
#[derive(Debug, Default)]
pub struct Transmit {
    inline: Vec<u8>,
    pieces: VecDeque<Piece>,
    len: usize,
}

#[derive(Debug)]
enum Piece {
    Inline { start: usize, end: usize },
    Shared(Bytes),
}

impl Transmit {
    /// Nothing to write.
    pub const fn new() -> Self {
        Self {
            inline: Vec::new(),
            pieces: VecDeque::new(),
            len: 0,
        }
    }

    /// Bytes that wait.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True if nothing waits.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills `slices` from the front; returns how many were filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(match piece {
                Piece::Inline { start, end } => &self.inline[*start..*end],
                Piece::Shared(bytes) => bytes,
            });
            used += 1;
        }
        used
    }

    /// Forgets the first `count` bytes: they were written.
    pub fn advance(&mut self, mut count: usize) {
        count = count.min(self.len);
        self.len -= count;
        while count > 0
            && let Some(piece) = self.pieces.front_mut()
        {
            let left = match piece {
                Piece::Inline { start, end } => {
                    let taken = count.min(*end - *start);
                    *start += taken;
                    count -= taken;
                    *end - *start
                }
                Piece::Shared(bytes) => {
                    let taken = count.min(bytes.len());
                    bytes.advance(taken);
                    count -= taken;
                    bytes.len()
                }
            };
            if left == 0 {
                self.pieces.pop_front();
            }
        }
        if self.len == 0 {
            self.pieces.clear();
            self.inline.clear();
        }
    }

    /// Takes all of it as one run of bytes, for tests and for transports without vectored writes.
    pub fn take(&mut self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len);
        for piece in &self.pieces {
            match piece {
                Piece::Inline { start, end } => all.extend_from_slice(&self.inline[*start..*end]),
                Piece::Shared(bytes) => all.extend_from_slice(bytes),
            }
        }
        self.advance(self.len);
        all
    }

    /// Appends bytes by copying them.
    pub fn push_inline(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let at = self.inline.len();
        self.inline.extend_from_slice(bytes);
        let until = self.inline.len();
        self.len += bytes.len();
        match self.pieces.back_mut() {
            Some(Piece::Inline { end, .. }) if *end == at => *end = until,
            _ => self.pieces.push_back(Piece::Inline {
                start: at,
                end: until,
            }),
        }
    }

    /// Appends bytes without copying them, unless they are few.
    pub fn push(&mut self, bytes: Bytes) {
        if bytes.len() <= INLINE {
            self.push_inline(&bytes);
        } else {
            self.len += bytes.len();
            self.pieces.push_back(Piece::Shared(bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn headers_and_small_payloads_are_one_slice() {
        let mut out = Transmit::new();
        out.push_inline(b"head");
        out.push(Bytes::from_static(b"small"));
        out.push_inline(b"next");
        out.push(Bytes::from(vec![7; 4096]));
        out.push_inline(b"last");
        let mut slices = [IoSlice::new(&[]); 8];
        assert_eq!(out.slices(&mut slices), 3);
        assert_eq!(&*slices[0], b"headsmallnext");
        assert_eq!(slices[1].len(), 4096);
    }

    proptest! {
        #[test]
        fn bytes_leave_in_order_however_they_are_taken(
            pieces in proptest::collection::vec((any::<bool>(), 0_usize..2000), 0..20),
            steps in proptest::collection::vec(1_usize..700, 1..20),
        ) {
            let mut out = Transmit::new();
            let mut expected = Vec::new();
            for (number, (inline, len)) in pieces.into_iter().enumerate() {
                let bytes = vec![number as u8; len];
                expected.extend_from_slice(&bytes);
                if inline { out.push_inline(&bytes) } else { out.push(bytes.into()) }
            }
            let mut got = Vec::new();
            for step in steps.into_iter().cycle() {
                prop_assert_eq!(out.len(), expected.len() - got.len());
                if out.is_empty() { break }
                let mut slices = [IoSlice::new(&[]); 3];
                let used = out.slices(&mut slices);
                let mut seen = slices[..used].iter().flat_map(|slice| slice.iter().copied()).collect::<Vec<_>>();
                seen.truncate(step);
                got.extend_from_slice(&seen);
                let count = seen.len();
                out.advance(count);
            }
            prop_assert_eq!(got, expected);
        }
    }
}
