//! What is synced: noise, the same with edits, and a tree.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::Command,
};

use anyhow::ensure;

const MIB: usize = 1 << 20;
/// Edits of a changed file, each of so many bytes.
const EDITS: u64 = 100;
const EDIT: usize = 4 << 10;
/// Files of one directory of a tree.
const DIRECTORY: usize = 500;
/// Sizes of the files of a tree.
const LEAST: u64 = 1 << 10;
const MOST: u64 = 16 << 10;

/// Endless noise, always the same for the same key.
struct Noise(blake3::OutputReader);

impl Noise {
    fn new(key: u8) -> Self {
        Self(blake3::Hasher::new_keyed(&[key; 32]).finalize_xof())
    }

    fn number(&mut self, below: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes) % below
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.fill(&mut bytes);
        bytes
    }
}

pub(super) fn noise(path: &Path, bytes: u64, key: u8) -> anyhow::Result<()> {
    let mut noise = Noise::new(key);
    let mut file = fs::File::create(path)?;
    let mut left = bytes;
    while left > 0 {
        let count = left.min(MIB as u64);
        file.write_all(&noise.bytes(count as usize))?;
        left -= count;
    }
    Ok(())
}

/// A copy with a hundred edits anywhere, and a mebibyte inserted in the middle.
pub(super) fn edited(old: &Path, new: &Path) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    fs::File::open(old)?.read_to_end(&mut bytes)?;
    let mut noise = Noise::new(13);
    for _ in 0..EDITS {
        let at = noise.number((bytes.len() - EDIT) as u64) as usize;
        bytes[at..at + EDIT].copy_from_slice(&noise.bytes(EDIT));
    }
    let middle = bytes.len() / 2;
    let mut file = fs::File::create(new)?;
    file.write_all(&bytes[..middle])?;
    file.write_all(&noise.bytes(MIB))?;
    file.write_all(&bytes[middle..])?;
    Ok(())
}

/// A tree of small files of different sizes.
pub(super) fn tree(root: &Path, files: usize) -> anyhow::Result<()> {
    let mut noise = Noise::new(17);
    for number in 0..files {
        let dir = root.join(format!("{:03}", number / DIRECTORY));
        if number % DIRECTORY == 0 {
            fs::create_dir_all(&dir)?;
        }
        let size = LEAST + noise.number(MOST - LEAST + 1);
        fs::write(dir.join(format!("{number:06}")), noise.bytes(size as usize))?;
    }
    Ok(())
}

/// Fails if two files differ.
pub(super) fn same(one: &Path, other: &Path) -> anyhow::Result<()> {
    let status = Command::new("cmp").arg(one).arg(other).status()?;
    ensure!(status.success(), "what arrived differs from what was sent");
    Ok(())
}

/// Fails if two trees differ, in content or time.
pub(super) fn same_trees(one: &Path, other: &Path) -> anyhow::Result<()> {
    let status = Command::new("diff")
        .args(["--recursive", "--brief"])
        .args([one, other])
        .status()?;
    ensure!(status.success(), "what arrived differs from what was sent");
    let first = "000/000000";
    let times = [one, other].map(|root| fs::metadata(root.join(first)).map(|meta| meta.mtime()));
    let [one, other] = times;
    ensure!(one? == other?, "the times differ");
    Ok(())
}
