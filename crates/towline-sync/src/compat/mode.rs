//! File modes, as Go and as Unix number them.

/// Bits of Go's word beside the nine permissions, and of Unix's: set-uid, set-gid, sticky.
const SPECIAL: [(u32, u32); 3] = [(1 << 23, 0o4000), (1 << 22, 0o2000), (1 << 20, 0o1000)];
/// Kinds: directory, symlink, device, pipe, socket.
const KINDS: [(u32, u32); 6] = [
    (1 << 31, 0o040_000),
    (1 << 27, 0o120_000),
    (1 << 26, 0o060_000),
    (1 << 26 | 1 << 21, 0o020_000),
    (1 << 25, 0o010_000),
    (1 << 24, 0o140_000),
];
/// The bits of a Unix mode that tell the kind.
const UNIX_KIND: u32 = 0o170_000;
/// A regular file, for which Go has no bit.
const UNIX_REGULAR: u32 = 0o100_000;

/// Go's file-mode word of a Unix `st_mode` (docs/wire D8).
///
/// ```
/// use towline_sync::compat::{go_mode, unix_mode};
///
/// assert_eq!(go_mode(0o100_644), 0o644);
/// assert_eq!(go_mode(0o040_755), 1 << 31 | 0o755);
/// assert_eq!(unix_mode(go_mode(0o104_755)), 0o104_755);
/// ```
pub const fn go_mode(unix: u32) -> u32 {
    let mut mode = unix & 0o777;
    let mut at = 0;
    while at < SPECIAL.len() {
        if unix & SPECIAL[at].1 != 0 {
            mode |= SPECIAL[at].0;
        }
        at += 1;
    }
    let mut at = 0;
    while at < KINDS.len() {
        if unix & UNIX_KIND == KINDS[at].1 {
            mode |= KINDS[at].0;
        }
        at += 1;
    }
    mode
}

/// The Unix `st_mode` of Go's file-mode word (docs/wire D8).
pub const fn unix_mode(go: u32) -> u32 {
    let mut mode = go & 0o777;
    let mut at = 0;
    while at < SPECIAL.len() {
        if go & SPECIAL[at].0 != 0 {
            mode |= SPECIAL[at].1;
        }
        at += 1;
    }
    let mut kind = UNIX_REGULAR;
    let mut at = 0;
    while at < KINDS.len() {
        if go & KINDS[at].0 == KINDS[at].0 {
            kind = KINDS[at].1;
        }
        at += 1;
    }
    mode | kind
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/wire D8: every kind and every special bit survives.
    #[test]
    fn every_mode_goes_there_and_back() {
        for kind in [
            0o100_000, 0o040_000, 0o120_000, 0o060_000, 0o020_000, 0o010_000, 0o140_000,
        ] {
            for special in 0..8 {
                let mode = kind | special << 9 | 0o751;
                assert_eq!(unix_mode(go_mode(mode)), mode, "{mode:o}");
            }
        }
        assert_eq!(go_mode(0o104_755), 1 << 23 | 0o755);
        assert_eq!(go_mode(0o041_777), 1 << 31 | 1 << 20 | 0o777);
        assert_eq!(go_mode(0o120_777), 1 << 27 | 0o777);
    }
}
