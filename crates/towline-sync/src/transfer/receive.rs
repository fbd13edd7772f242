//! The parts of one file as they arrive: their order, their hashes, their sum.

use bytes::Bytes;

use crate::hash_name::HashName;
use crate::transfer::outgoing::OutPart;

/// How much is fed to one hasher before the other: small enough to stay in a core's own cache, so
/// that the bytes are fetched from memory once; large enough for BLAKE3's widest code.
pub(crate) const HASH_SLICE: usize = 128 * 1024;

/// One arriving part of a file.
#[derive(Debug, Clone)]
pub struct InPart {
    /// Its number, as the header said (`StreamPart`).
    pub number: i64,
    /// Its bytes.
    pub body: Bytes,
    /// The hash that came with it.
    pub hash: Option<HashName>,
    /// Whether it was marked as the end of the stream.
    pub last: bool,
}

impl From<OutPart> for InPart {
    fn from(part: OutPart) -> Self {
        Self {
            number: i64::try_from(part.number).unwrap_or(i64::MAX),
            body: part.body,
            hash: Some(part.hash),
            last: part.last,
        }
    }
}

/// Checks the parts of one file and sums them up; it neither reads nor writes anything.
///
/// Parts must come as 0, 1, 2, … (docs/wire T16); all but the first must carry the hash of their
/// body, the first may (docs/wire T15); nothing may follow the last one.
///
/// ```
/// use towline_sync::{HashName, InPart, Receiver};
///
/// let mut receiver = Receiver::new(u64::MAX);
/// receiver.accept(&InPart { number: 0, body: "only".into(), hash: None, last: true })?;
/// let received = receiver.finish(None, None, false)?;
/// assert_eq!(received.total, HashName::of(b"only"));
/// # Ok::<(), towline_sync::ReceiveError>(())
/// ```
#[derive(Debug)]
pub struct Receiver {
    next: i64,
    bytes: u64,
    limit: u64,
    ended: bool,
    total: blake3::Hasher,
}

impl Receiver {
    /// Expects part 0 of a file of at most `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self {
            next: 0,
            bytes: 0,
            limit,
            ended: false,
            total: blake3::Hasher::new(),
        }
    }

    /// Takes the next part. After an error nothing of the part is counted, and the file cannot be
    /// completed any more.
    ///
    /// # Errors
    ///
    /// Every rule of the type has its own variant of [`ReceiveError`].
    pub fn accept(&mut self, part: &InPart) -> Result<(), ReceiveError> {
        if self.ended {
            return Err(ReceiveError::AfterLast { part: part.number });
        }
        if part.number != self.next {
            return Err(ReceiveError::OutOfSync {
                expected: self.next,
                found: part.number,
            });
        }
        let bytes = self.bytes.saturating_add(part.body.len() as u64);
        if bytes > self.limit {
            return Err(ReceiveError::TooLarge { limit: self.limit });
        }
        match part.hash {
            Some(claimed) => {
                // Both sums take each slice in turn while it is in the cache. After a wrong part
                // the total is of no use to anyone, so it does not matter that it took the part.
                let mut hasher = blake3::Hasher::new();
                for slice in part.body.chunks(HASH_SLICE) {
                    hasher.update(slice);
                    self.total.update(slice);
                }
                let computed = HashName::from(hasher.finalize());
                if computed != claimed {
                    self.ended = true;
                    return Err(ReceiveError::WrongHash {
                        part: part.number,
                        bytes: part.body.len(),
                        claimed,
                        computed,
                    });
                }
            }
            None if part.number == 0 => {
                self.total.update(&part.body);
            }
            None => return Err(ReceiveError::NoHash { part: part.number }),
        }
        self.bytes = bytes;
        self.next += 1;
        self.ended = part.last;
        Ok(())
    }

    /// Bytes accepted so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ends the file: the last part must have come, and size and sum must be `size` and `expected`
    /// where they are given (docs/wire T19).
    ///
    /// With `lone_begin` an empty part 0 may stand alone without being marked as the last: so the
    /// original sends an empty file (docs/wire T18).
    ///
    /// # Errors
    ///
    /// [`ReceiveError::Unfinished`], [`ReceiveError::WrongSize`] and [`ReceiveError::WrongTotal`].
    pub fn finish(
        &self,
        expected: Option<HashName>,
        size: Option<u64>,
        lone_begin: bool,
    ) -> Result<Received, ReceiveError> {
        let lone_begin = lone_begin && self.next == 1 && self.bytes == 0;
        if !self.ended && !lone_begin {
            return Err(ReceiveError::Unfinished { parts: self.next });
        }
        if let Some(announced) = size.filter(|size| *size != self.bytes) {
            return Err(ReceiveError::WrongSize {
                announced,
                arrived: self.bytes,
            });
        }
        let computed = HashName::from(self.total.finalize());
        if let Some(expected) = expected.filter(|expected| *expected != computed) {
            return Err(ReceiveError::WrongTotal { expected, computed });
        }
        Ok(Received {
            bytes: self.bytes,
            parts: self.next.unsigned_abs(),
            total: computed,
        })
    }
}

/// A file of which all parts came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// Its size.
    pub bytes: u64,
    /// How many parts it took.
    pub parts: u64,
    /// The hash of all its bytes.
    pub total: HashName,
}

/// A rule that the sender of a file broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// A part is missing, came twice, or the first one was not number 0.
    #[error("stream out of sync, expected next StreamPart to be {expected}; but we see {found}")]
    OutOfSync {
        /// The number that had to come.
        expected: i64,
        /// The number that came.
        found: i64,
    },
    /// A part came after the last one.
    #[error("part {part} came after the end of the file")]
    AfterLast {
        /// Its number.
        part: i64,
    },
    /// A part other than the first came without its hash.
    #[error("part {part} came without its hash; the argument `blake3` is mandatory from part 1 on")]
    NoHash {
        /// Its number.
        part: i64,
    },
    /// The bytes of a part do not have the hash that came with them.
    #[error(
        "part {part} was damaged on its way: {bytes} bytes with the hash {computed} came as {claimed}"
    )]
    WrongHash {
        /// Its number.
        part: i64,
        /// Length of its body.
        bytes: usize,
        /// The hash that came with it.
        claimed: HashName,
        /// The hash of what came.
        computed: HashName,
    },
    /// The file is larger than is accepted here.
    #[error("the file is larger than the {limit} bytes accepted here")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The stream ended before the last part.
    #[error("the stream ended after {parts} parts, without the last one")]
    Unfinished {
        /// Parts that came.
        parts: i64,
    },
    /// The file is not as long as the sender said.
    #[error(
        "the sender announced {announced} bytes, {arrived} came; the file may have changed while it was read"
    )]
    WrongSize {
        /// The size that was announced.
        announced: u64,
        /// Bytes that came.
        arrived: u64,
    },
    /// The bytes of the whole file do not have the hash that the sender gave for them.
    #[error("the whole file has the hash {computed}, the sender gave {expected}")]
    WrongTotal {
        /// The sender's hash.
        expected: HashName,
        /// The hash of what came.
        computed: HashName,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: i64, body: &'static str, last: bool) -> InPart {
        InPart {
            number,
            body: body.into(),
            hash: Some(HashName::of(body.as_bytes())),
            last,
        }
    }

    #[test]
    fn the_first_part_must_be_number_0() {
        for number in [1, -1, i64::MAX, i64::MIN] {
            let error = Receiver::new(9)
                .accept(&part(number, "a", false))
                .unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "stream out of sync, expected next StreamPart to be 0; but we see {number}"
                )
            );
        }
    }

    #[test]
    fn gaps_and_repetitions_are_refused() {
        for number in [0, 1, 3] {
            let mut receiver = Receiver::new(9);
            receiver.accept(&part(0, "a", false)).unwrap();
            receiver.accept(&part(1, "b", false)).unwrap();
            assert_eq!(
                receiver.accept(&part(number, "c", true)),
                Err(ReceiveError::OutOfSync {
                    expected: 2,
                    found: number
                })
            );
        }
    }

    #[test]
    fn nothing_follows_the_last_part() {
        let mut receiver = Receiver::new(9);
        receiver.accept(&part(0, "a", true)).unwrap();
        assert_eq!(
            receiver.accept(&part(1, "b", true)),
            Err(ReceiveError::AfterLast { part: 1 })
        );
        assert_eq!(receiver.finish(None, None, false).unwrap().bytes, 1);
    }

    #[test]
    fn the_limit_counts_the_whole_file() {
        let mut receiver = Receiver::new(3);
        receiver.accept(&part(0, "abc", false)).unwrap();
        assert_eq!(
            receiver.accept(&part(1, "d", false)),
            Err(ReceiveError::TooLarge { limit: 3 })
        );
        receiver.accept(&part(1, "", true)).unwrap();
        assert_eq!(receiver.finish(None, None, false).unwrap().parts, 2);
    }

    #[test]
    fn a_wrong_part_spoils_the_file() {
        let mut receiver = Receiver::new(9);
        let mut wrong = part(0, "a", false);
        wrong.hash = Some(HashName::of(b"b"));
        assert!(matches!(
            receiver.accept(&wrong),
            Err(ReceiveError::WrongHash { part: 0, .. })
        ));
        assert_eq!(
            receiver.accept(&part(0, "a", true)),
            Err(ReceiveError::AfterLast { part: 0 })
        );
    }

    #[test]
    fn an_end_is_needed_except_for_the_originals_empty_file() {
        let mut receiver = Receiver::new(9);
        assert_eq!(
            receiver.finish(None, None, true),
            Err(ReceiveError::Unfinished { parts: 0 })
        );
        receiver.accept(&part(0, "", false)).unwrap();
        assert_eq!(
            receiver.finish(None, None, false),
            Err(ReceiveError::Unfinished { parts: 1 })
        );
        assert_eq!(
            receiver.finish(None, None, true).unwrap().total,
            HashName::of(b"")
        );
        receiver.accept(&part(1, "x", false)).unwrap();
        assert_eq!(
            receiver.finish(None, None, true),
            Err(ReceiveError::Unfinished { parts: 2 })
        );
    }

    #[test]
    fn total_and_size_are_compared() {
        let mut receiver = Receiver::new(9);
        receiver.accept(&part(0, "ab", false)).unwrap();
        receiver.accept(&part(1, "c", true)).unwrap();
        assert!(
            receiver
                .finish(Some(HashName::of(b"abc")), Some(3), false)
                .is_ok()
        );
        assert_eq!(
            receiver.finish(None, Some(4), false),
            Err(ReceiveError::WrongSize {
                announced: 4,
                arrived: 3
            })
        );
        assert_eq!(
            receiver.finish(Some(HashName::of(b"abd")), None, false),
            Err(ReceiveError::WrongTotal {
                expected: HashName::of(b"abd"),
                computed: HashName::of(b"abc")
            })
        );
    }

    #[test]
    fn split_bodies_have_one_sum() {
        let bytes = vec![7_u8; 3 * HASH_SLICE + 1];
        for size in [1, HASH_SLICE - 1, HASH_SLICE, HASH_SLICE + 1, bytes.len()] {
            // One byte at a time would only be slow, not different.
            let size = size.max(1000);
            let mut receiver = Receiver::new(u64::MAX);
            for (number, body) in (0..).zip(bytes.chunks(size)) {
                let body = Bytes::copy_from_slice(body);
                let hash = Some(HashName::of(&body));
                let last = (number as usize + 1) * size >= bytes.len();
                let part = InPart {
                    number,
                    body,
                    hash,
                    last,
                };
                receiver.accept(&part).unwrap();
            }
            let received = receiver.finish(None, None, false).unwrap();
            assert_eq!(received.total, HashName::of(&bytes));
        }
    }
}
