//! The file that is moved if the user names none.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
};

/// Half of it text, half noise.
const LEN: usize = 256 << 20;

pub(super) fn make(path: &Path) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create_new(path)?);
    let mut left = LEN / 2;
    for number in 0_u64.. {
        let line = format!("line {number:08}: the quick brown fox jumps over the lazy dog\n");
        let take = line.len().min(left);
        file.write_all(&line.as_bytes()[..take])?;
        left -= take;
        if left == 0 {
            break;
        }
    }
    // SplitMix64: noise to a compressor, and the same on every machine.
    let mut state = 1_u64;
    for _ in 0..LEN / 2 / 8 {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        file.write_all(&(z ^ (z >> 31)).to_le_bytes())?;
    }
    file.into_inner()?.sync_all()
}
