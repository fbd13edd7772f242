//! The journal of directories that were opened up: what their modes were (docs/wire D22).
//!
//! A directory is noted before its mode is changed, and again when it has the mode that it is to keep. So a
//! process that is killed at any moment leaves a journal from which the next can close what is open.

use std::collections::BTreeMap;

use crate::wire::RelPath;

const MAGIC: &[u8; 8] = b"towmode1";
/// Bytes of a record without its path: what happened, mode, number, length of the path; its check.
const FIELDS: usize = 1 + 2 + 8 + 2;
const CHECK: usize = 4;

/// Largest journal, in bytes.
pub(super) const MOST: u64 = 16 << 20;

/// A directory and the mode that it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mode {
    pub(super) mode: u32,
    /// The directory's number: another under its path is none of ours.
    pub(super) ino: u64,
}

/// What a journal begins with.
pub(super) const fn head() -> &'static [u8] {
    MAGIC
}

/// Appends the record of a directory that is about to be opened up, or that has the mode it is to keep.
pub(super) fn record(path: &RelPath, opened: Option<Mode>, out: &mut Vec<u8>) {
    let start = out.len();
    let Mode { mode, ino } = opened.unwrap_or(Mode { mode: 0, ino: 0 });
    out.push(u8::from(opened.is_some()));
    out.extend((mode as u16).to_le_bytes());
    out.extend(ino.to_le_bytes());
    // Paths have 4,096 bytes at most.
    out.extend((path.as_bytes().len() as u16).to_le_bytes());
    out.extend(path.as_bytes());
    let check = blake3::hash(&out[start..]);
    out.extend(&check.as_bytes()[..CHECK]);
}

/// The directories that are open still, by a journal, whatever is in it: up to the first record that is
/// damaged.
pub(super) fn read(bytes: &[u8]) -> BTreeMap<RelPath, Mode> {
    let mut open = BTreeMap::new();
    let mut left = bytes.strip_prefix(MAGIC).unwrap_or_default();
    while let Some((path, mode, rest)) = first(left) {
        match mode {
            Some(mode) => open.insert(path, mode),
            None => open.remove(&path),
        };
        left = rest;
    }
    open
}

fn first(bytes: &[u8]) -> Option<(RelPath, Option<Mode>, &[u8])> {
    let fields = bytes.get(..FIELDS)?;
    let length = u16::from_le_bytes(fields[11..].try_into().ok()?);
    let end = FIELDS + usize::from(length);
    let (record, check) = bytes.get(..end + CHECK)?.split_at(end);
    if blake3::hash(record).as_bytes()[..CHECK] != *check {
        return None;
    }
    let mode = u16::from_le_bytes(fields[1..3].try_into().ok()?).into();
    let ino = u64::from_le_bytes(fields[3..11].try_into().ok()?);
    let path = RelPath::new(&record[FIELDS..]).ok()?;
    let opened = (fields[0] == 1).then_some(Mode { mode, ino });
    Some((path, opened, &bytes[end + CHECK..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    fn journal() -> Vec<u8> {
        let mut bytes = head().to_vec();
        let closed = |ino| Some(Mode { mode: 0o555, ino });
        record(&path("a"), closed(1), &mut bytes);
        record(&path("a/b"), closed(2), &mut bytes);
        record(&path("a"), None, &mut bytes);
        record(&path("c"), closed(u64::MAX), &mut bytes);
        bytes
    }

    #[test]
    fn what_is_open_still_is_read() {
        let open: Vec<_> = read(&journal()).into_iter().collect();
        let mode = |ino| Mode { mode: 0o555, ino };
        assert_eq!(open, [(path("a/b"), mode(2)), (path("c"), mode(u64::MAX))]);
    }

    /// docs/wire D22: damage anywhere hides that record and all behind it, and makes no new one.
    #[test]
    fn damage_opens_and_closes_nothing() {
        let bytes = journal();
        let known = [path("a"), path("a/b"), path("c")];
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            let open = read(&damaged);
            assert!(!open.contains_key(&path("c")), "{at}");
            assert!(open.keys().all(|path| known.contains(path)));
            assert!(!read(&bytes[..at]).contains_key(&path("c")));
        }
    }
}
