//! Files that travel, and their comparison.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// The unit in which noise and text alternate, so that both compressible and incompressible
/// stretches cross every part boundary.
const STRETCH: usize = 64 * 1024;

/// Writes `size` bytes, half text and half noise, the same for the same size.
pub(super) fn make(path: &Path, size: u64) -> Result<()> {
    let file =
        File::create_new(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut out = BufWriter::new(file);
    let mut left = size;
    let mut state = size;
    let mut noise = true;
    while left > 0 {
        let stretch = if noise {
            noise_stretch(&mut state)
        } else {
            text_stretch(size - left)
        };
        let taken = usize::try_from(left).map_or(STRETCH, |left| left.min(STRETCH));
        out.write_all(&stretch[..taken])?;
        left -= taken as u64;
        noise = !noise;
    }
    out.flush()?;
    Ok(())
}

/// splitmix64.
fn noise_stretch(state: &mut u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(STRETCH);
    while bytes.len() < STRETCH {
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bytes.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    bytes
}

fn text_stretch(offset: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(STRETCH + 64);
    for line in 0_u64.. {
        if bytes.len() >= STRETCH {
            break;
        }
        bytes.extend_from_slice(format!("{offset}: this is line {line} of the text\n").as_bytes());
    }
    bytes
}

/// Both files hold the same bytes; the error says where they part.
pub(super) fn expect_same(sent: &Path, arrived: &Path) -> Result<()> {
    let open = |path: &Path| {
        let file = File::open(path).with_context(|| format!("no file {}", path.display()))?;
        anyhow::Ok((file.metadata()?.len(), BufReader::new(file)))
    };
    let (sent_size, mut sent) = open(sent)?;
    let (arrived_size, mut arrived) = open(arrived)?;
    ensure!(
        sent_size == arrived_size,
        "{sent_size} bytes were sent, {arrived_size} arrived"
    );
    let mut blocks = [vec![0; STRETCH], vec![0; STRETCH]];
    let mut at = 0;
    while at < sent_size {
        let taken = usize::try_from(sent_size - at).map_or(STRETCH, |left| left.min(STRETCH));
        sent.read_exact(&mut blocks[0][..taken])?;
        arrived.read_exact(&mut blocks[1][..taken])?;
        ensure!(
            blocks[0][..taken] == blocks[1][..taken],
            "the bytes differ within {taken} bytes of offset {at}"
        );
        at += taken as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{STRETCH, expect_same, make};

    #[test]
    fn a_file_has_its_size_and_equals_itself_only() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let one = dir.path().join("one");
        let two = dir.path().join("two");
        let size = 3 * STRETCH as u64 + 17;
        make(&one, size).expect("made");
        make(&two, size).expect("made");
        assert_eq!(fs::metadata(&one).expect("there").len(), size);
        expect_same(&one, &two).expect("the same");

        let mut bytes = fs::read(&two).expect("read");
        bytes[STRETCH + 5] ^= 1;
        fs::write(&two, &bytes).expect("written");
        assert!(expect_same(&one, &two).is_err());
        fs::write(&two, &bytes[..STRETCH]).expect("written");
        assert!(expect_same(&one, &two).is_err());
    }
}
