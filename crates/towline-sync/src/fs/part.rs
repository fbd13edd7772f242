//! Names of partial and temporary files.

use bytes::Bytes;

use crate::wire::RelPath;

/// What a partial file ends with; it begins with a dot and the name of its target.
const PARTIAL: &[u8] = b".tow-partial";
/// What its journal ends with.
const JOURNAL: &[u8] = b".tow-journal";
/// What the temporary file of a small file ends with.
const TEMPORARY: &[u8] = b".tow-part";
/// What the journal of directories that were opened up ends with.
const MODES: &[u8] = b".tow-modes";
/// Digits of the random part of temporary names.
const DIGITS: usize = 16;
/// Longest name of a file.
const NAME_MAX: usize = 255;

/// What a name in a directory is to a sync.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// A partial file, or a journal; both are made of this stem.
    Left(Bytes),
    /// A temporary file.
    Temporary,
    /// A journal of directories that were opened up.
    Modes,
}

/// Tells the names that a sync makes from those of users (docs/wire D20).
pub(super) fn own(name: &[u8]) -> Option<Own> {
    let inner = name.strip_prefix(b".")?;
    for ending in [PARTIAL, JOURNAL] {
        if let Some(stem) = inner.strip_suffix(ending).filter(|stem| !stem.is_empty()) {
            return Some(Own::Left(Bytes::copy_from_slice(stem)));
        }
    }
    let digits = |text: &[u8]| {
        let hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        text.len() == DIGITS && text.iter().all(hex)
    };
    if let Some(random) = inner.strip_suffix(MODES) {
        return digits(random).then_some(Own::Modes);
    }
    let rest = inner.strip_suffix(TEMPORARY)?;
    let dot = rest.len().checked_sub(DIGITS + 1)?;
    (dot > 0 && rest[dot] == b'.' && digits(&rest[dot + 1..])).then_some(Own::Temporary)
}

/// Whether a name is one that a sync makes.
pub(crate) fn is_own(name: &[u8]) -> bool {
    own(name).is_some()
}

/// The part of a target's name that its partial file has.
pub(crate) fn stem(name: &[u8]) -> Bytes {
    let room = NAME_MAX - 1 - PARTIAL.len();
    if name.len() <= room {
        return Bytes::copy_from_slice(name);
    }
    // Of a long name a hash, so that two long names do not share a partial file.
    let hash = blake3::hash(name).to_hex();
    Bytes::copy_from_slice(&hash.as_bytes()[..32])
}

/// Whether a path is that of a partial file.
pub(super) fn is_partial(path: &[u8]) -> bool {
    path.ends_with(PARTIAL)
}

/// The partial file of a target.
pub(super) fn partial(target: &RelPath) -> RelPath {
    beside(target, PARTIAL)
}

/// The journal of a target.
pub(super) fn journal(target: &RelPath) -> RelPath {
    beside(target, JOURNAL)
}

/// A temporary file of a target.
pub(super) fn temporary(target: &RelPath, random: u64) -> RelPath {
    let room = NAME_MAX - 2 - DIGITS - TEMPORARY.len();
    let mut end = target.name().len().min(room);
    // Not inside a character.
    while end > 0
        && target
            .name()
            .get(end)
            .is_some_and(|byte| byte & 0xC0 == 0x80)
    {
        end -= 1;
    }
    let start = String::from_utf8_lossy(&target.name()[..end]).into_owned();
    let start = match start.len() + 2 + DIGITS + TEMPORARY.len() {
        length if length <= NAME_MAX && !start.is_empty() => start,
        _ => "file".to_owned(),
    };
    let name = format!(".{start}.{random:0DIGITS$x}");
    target.parent().join(&[name.as_bytes(), TEMPORARY].concat())
}

/// A journal of directories that were opened up, in the root.
pub(super) fn modes(random: u64) -> RelPath {
    let name = format!(".{random:0DIGITS$x}");
    RelPath::root().join(&[name.as_bytes(), MODES].concat())
}

/// The partial file and the journal of this stem.
pub(super) fn left(dir: &RelPath, stem: &[u8]) -> [RelPath; 2] {
    [PARTIAL, JOURNAL].map(|ending| dir.join(&[b".", stem, ending].concat()))
}

fn beside(target: &RelPath, ending: &[u8]) -> RelPath {
    let name = [b".", &*stem(target.name()), ending].concat();
    target.parent().join(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_ours_are_told_from_those_of_users() {
        let path = |name: &[u8]| RelPath::root().join(name);
        for name in [b"a".to_vec(), vec![b'x'; 255], "é".repeat(127).into_bytes()] {
            let target = path(b"dir").join(&name);
            let own = |path: &RelPath| {
                assert!(path.name().len() <= NAME_MAX);
                assert_eq!(path.parent(), path_of_dir());
                own(path.name())
            };
            assert_eq!(own(&partial(&target)), Some(Own::Left(stem(&name))));
            assert_eq!(own(&journal(&target)), Some(Own::Left(stem(&name))));
            let both = left(&path_of_dir(), &stem(&name));
            assert_eq!(both, [partial(&target), journal(&target)]);
            assert_eq!(own(&temporary(&target, 7)), Some(Own::Temporary));
        }
        assert_eq!(own(modes(7).name()), Some(Own::Modes));
        fn path_of_dir() -> RelPath {
            RelPath::root().join(b"dir")
        }
        for name in [
            &b"a.tow-part"[..],
            b".a.tow-part",
            b".tow-partial.x",
            b".tow-modes",
            b".x.tow-modes",
            b"tow-journal",
            b".",
        ] {
            assert_eq!(own(name), None);
        }
    }
}
