//! A queue of byte chunks that costs nothing while it is empty.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes, BytesMut};

/// Neighbours are joined while the joined chunk stays below this: a queue of single bytes would
/// otherwise hold fifty times what is counted.
const JOINED: usize = 4 << 10;

/// Chunks in order. Most streams hold none, most others one; only more than one needs memory beside
/// the chunks themselves.
#[derive(Debug)]
pub(crate) enum Chunks {
    /// One, or, if it is empty, none: a variant for none would cost every stream eight bytes.
    One(Bytes),
    #[expect(
        clippy::box_collection,
        reason = "a queue beside the chunk would double the size of every stream"
    )]
    Many(Box<VecDeque<Bytes>>),
}

impl Default for Chunks {
    fn default() -> Self {
        Self::One(Bytes::new())
    }
}

impl Chunks {
    /// Appends a chunk; an empty one is ignored.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        match self {
            Self::One(none) if none.is_empty() => *none = chunk,
            Self::One(first) => {
                let first = std::mem::take(first);
                match join(first, chunk) {
                    (joined, None) => *self = Self::One(joined),
                    (first, Some(second)) => {
                        *self = Self::Many(Box::new(VecDeque::from([first, second])));
                    }
                }
            }
            Self::Many(chunks) => {
                let Some(last) = chunks.pop_back() else {
                    chunks.push_back(chunk);
                    return;
                };
                let (last, next) = join(last, chunk);
                chunks.push_back(last);
                chunks.extend(next);
            }
        }
    }

    /// The next bytes, if any.
    #[cfg(test)]
    pub(crate) fn front(&self) -> Option<&Bytes> {
        match self {
            Self::One(chunk) => Some(chunk).filter(|chunk| !chunk.is_empty()),
            Self::Many(chunks) => chunks.front(),
        }
    }

    /// Takes the next chunk, or its first `max` bytes.
    pub(crate) fn take(&mut self, max: usize) -> Option<Bytes> {
        let front = match self {
            Self::One(chunk) if chunk.is_empty() => return None,
            Self::One(chunk) => chunk,
            Self::Many(chunks) => chunks.front_mut()?,
        };
        if front.len() > max {
            return Some(front.split_to(max));
        }
        let chunk = std::mem::take(front);
        self.drop_front();
        Some(chunk)
    }

    /// Shows up to `max` bytes from the front to `take`, piece by piece, and forgets them; returns how
    /// many.
    pub(crate) fn take_with(&mut self, max: usize, mut take: impl FnMut(&[u8])) -> usize {
        let mut taken = 0;
        while taken < max {
            let front = match self {
                Self::One(chunk) if chunk.is_empty() => break,
                Self::One(chunk) => chunk,
                Self::Many(chunks) => match chunks.front_mut() {
                    Some(chunk) => chunk,
                    None => break,
                },
            };
            let len = front.len().min(max - taken);
            take(&front[..len]);
            taken += len;
            if len == front.len() {
                self.drop_front();
            } else {
                front.advance(len);
            }
        }
        taken
    }

    /// Forgets all of it.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Forgets the first chunk, and its memory with the last one.
    fn drop_front(&mut self) {
        match self {
            Self::One(_) => *self = Self::default(),
            Self::Many(chunks) => {
                chunks.pop_front();
                if chunks.is_empty() {
                    *self = Self::default();
                }
            }
        }
    }
}

/// Joins two chunks if both are small, else returns both.
fn join(first: Bytes, second: Bytes) -> (Bytes, Option<Bytes>) {
    if first.len() + second.len() > JOINED {
        return (first, Some(second));
    }
    let mut joined = match first.try_into_mut() {
        Ok(own) => own,
        Err(shared) => {
            let mut copy = BytesMut::with_capacity(JOINED);
            copy.extend_from_slice(&shared);
            copy
        }
    };
    if joined.capacity() - joined.len() < second.len() {
        // Once for up to four kilobytes of chunks, not once for each of them.
        joined.reserve(JOINED - joined.len());
    }
    joined.extend_from_slice(&second);
    (joined.freeze(), None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn single_bytes_are_joined() {
        let mut chunks = Chunks::default();
        for _ in 0..JOINED {
            chunks.push(Bytes::from_static(b"x"));
        }
        assert!(matches!(&chunks, Chunks::One(chunk) if chunk.len() == JOINED));
        chunks.push(Bytes::from_static(b"y"));
        assert!(matches!(&chunks, Chunks::Many(many) if many.len() == 2));
    }

    #[test]
    fn large_chunks_are_not_copied() {
        let mut chunks = Chunks::default();
        let (a, b) = (Bytes::from(vec![1; 5000]), Bytes::from(vec![2; 5000]));
        chunks.push(a.clone());
        chunks.push(b.clone());
        assert_eq!(chunks.take(usize::MAX).unwrap().as_ptr(), a.as_ptr());
        assert_eq!(chunks.take(usize::MAX).unwrap().as_ptr(), b.as_ptr());
        assert!(chunks.front().is_none());
    }

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(
            lens in proptest::collection::vec(0_usize..6000, 0..12),
            takes in proptest::collection::vec((any::<bool>(), 1_usize..5000), 1..12),
        ) {
            let mut chunks = Chunks::default();
            let mut expected = Vec::new();
            for (number, len) in lens.into_iter().enumerate() {
                let bytes: Vec<u8> = (0..len).map(|at| (at * 7 + number) as u8).collect();
                expected.extend_from_slice(&bytes);
                chunks.push(bytes.into());
            }
            let mut got = Vec::new();
            for (copy, max) in takes.into_iter().cycle() {
                if chunks.front().is_none() { break }
                if copy {
                    chunks.take_with(max, |piece| got.extend_from_slice(piece));
                } else {
                    got.extend_from_slice(&chunks.take(max).unwrap_or_default());
                }
            }
            prop_assert_eq!(got, expected);
        }
    }
}
