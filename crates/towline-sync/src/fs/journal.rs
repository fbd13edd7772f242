//! The journal beside a partial file: which of its ranges were verified.
//!
//! Records are appended when their range has been written, so a process that is killed at any moment
//! leaves a journal that says less than was written. What a disk lost or changed since is found when
//! the file is taken up again: then every range is read and hashed.

use crate::wire::Chunking;

use super::Span;

const MAGIC: &[u8; 8] = b"towjrnl2";
/// Bytes before the first record: magic, how the file is cut.
pub(super) const HEAD: usize = 8 + 1;
/// Bytes of a record: offset, length, hash, check.
pub(super) const RECORD: usize = 8 + 8 + 32 + 4;

/// A range of a partial file that was verified.
pub type Claim = Span;

/// Reads a journal, whatever is in it.
#[derive(Debug, Clone, Copy)]
pub struct JournalReader<'a> {
    bytes: &'a [u8],
}

impl<'a> JournalReader<'a> {
    /// What is in the file.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// How the file is cut; `None` if it is no journal.
    pub fn head(&self) -> Option<Chunking> {
        let chunking = self.bytes.get(..HEAD)?.strip_prefix(MAGIC)?;
        Chunking::from_number(*chunking.first()?)
    }

    /// Its claims, up to the first that is damaged or lies behind `size`.
    pub fn claims(&self, size: u64) -> impl Iterator<Item = Claim> + 'a {
        let records = self.bytes.get(HEAD..).unwrap_or_default();
        records.chunks_exact(RECORD).map_while(move |record| {
            let (fields, check) = record.split_at(RECORD - 4);
            if blake3::hash(fields).as_bytes()[..4] != *check {
                return None;
            }
            let number = |at: usize| {
                let bytes = fields[at..at + 8].try_into().unwrap_or_default();
                u64::from_le_bytes(bytes)
            };
            let (offset, length) = (number(0), number(8));
            let mut hash = [0; 32];
            hash.copy_from_slice(&fields[16..48]);
            let fits = length > 0 && offset.checked_add(length)? <= size;
            fits.then_some(Span {
                offset,
                length,
                hash: Some(hash).filter(|hash| *hash != [0; 32]),
            })
        })
    }
}

/// What a journal begins with.
pub(super) fn head(chunking: Chunking) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.push(chunking.number());
    head
}

/// Appends the record of a range.
pub(super) fn record(claim: &Claim, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend(claim.offset.to_le_bytes());
    out.extend(claim.length.to_le_bytes());
    out.extend(claim.hash.unwrap_or([0; 32]));
    let check = blake3::hash(&out[start..]);
    out.extend(&check.as_bytes()[..4]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> (Vec<u8>, [Span; 3]) {
        let claims = [(0, 5, Some([7; 32])), (5, 1, None), (6, 90, Some([9; 32]))].map(
            |(offset, length, hash)| Span {
                offset,
                length,
                hash,
            },
        );
        let mut bytes = head(Chunking::Blocks);
        claims.iter().for_each(|claim| record(claim, &mut bytes));
        (bytes, claims)
    }

    #[test]
    fn what_was_written_is_read() {
        let (bytes, claims) = journal();
        let reader = JournalReader::new(&bytes);
        assert_eq!(reader.head(), Some(Chunking::Blocks));
        assert!(reader.claims(96).eq(claims));
    }

    /// docs/wire D20: damage anywhere hides that claim and all behind it, and makes no new one.
    #[test]
    fn damage_makes_no_claims() {
        let (bytes, claims) = journal();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            let reader = JournalReader::new(&damaged);
            let read: Vec<_> = reader.claims(96).collect();
            assert!(claims.starts_with(&read));
            assert!(read.len() < 3 || at < HEAD);
            if at < 8 {
                assert_eq!(reader.head(), None);
            }
            assert!(JournalReader::new(&bytes[..at]).claims(96).count() < 3);
        }
        assert_eq!(JournalReader::new(&bytes).claims(95).count(), 2);
    }
}
