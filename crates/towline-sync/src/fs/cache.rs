//! Manifests of files that have not changed, kept on disk from one sync to the next.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::manifest::root_hash;
use super::work::ManifestCache;
use super::{Manifest, Span, Stat};
use crate::wire::Chunking;

/// Files below this are cut as fast as their manifest is found.
const LEAST: u64 = 1 << 20;
/// Bytes of one chunk in a manifest: length and hash.
const RECORD: usize = 40;
/// Largest manifest that is read, in bytes.
const MOST_BYTES: u64 = 256 << 20;
/// Most manifests that are kept; then the oldest quarter goes.
const MOST_FILES: usize = 1024;
/// A file that was changed so short a time ago may be changed again without its time telling.
const SETTLED: i64 = 2;

/// A directory of manifests.
///
/// A manifest is found by device, number, size, modification time and change time of its file, and
/// is not kept while the file is younger than two seconds. It takes 40 bytes for each chunk: 640 KiB
/// for a file of 1 GiB.
#[derive(Debug, Clone)]
pub struct DiskCache {
    dir: PathBuf,
}

impl DiskCache {
    /// Keeps manifests in this directory, which is made when the first is kept.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    fn path(&self, stat: &Stat, chunking: Chunking) -> PathBuf {
        let mut key = blake3::Hasher::new();
        for number in [stat.dev, stat.ino, stat.meta.size] {
            key.update(&number.to_le_bytes());
        }
        for time in [stat.meta.mtime, stat.ctime] {
            key.update(&time.seconds.to_le_bytes());
            key.update(&time.nanos.to_le_bytes());
        }
        key.update(&[chunking.number()]);
        self.dir.join(&key.finalize().to_hex()[..32])
    }

    fn read(path: &Path, stat: &Stat) -> Option<Manifest> {
        let mut bytes = Vec::new();
        let file = fs::File::open(path).ok()?;
        file.take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
        let (records, check) = bytes.split_last_chunk::<32>()?;
        if blake3::hash(records).as_bytes() != check || records.len() % RECORD != 0 {
            return None;
        }
        let mut offset = 0_u64;
        let mut spans = Vec::with_capacity(records.len() / RECORD);
        for record in records.chunks_exact(RECORD) {
            let (length, hash) = record.split_first_chunk::<8>()?;
            let length = u64::from_le_bytes(*length);
            let hash: [u8; 32] = hash.try_into().ok()?;
            let hash = Some(hash).filter(|hash| *hash != [0; 32]);
            spans.push(Span {
                offset,
                length,
                hash,
            });
            offset = offset.checked_add(length)?;
        }
        let root = root_hash(&spans);
        (offset == stat.meta.size).then_some(Manifest {
            stat: *stat,
            spans,
            root,
        })
    }

    fn write(&self, manifest: &Manifest, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)?;
        let mut bytes = Vec::with_capacity(manifest.spans.len() * RECORD + 32);
        for span in &manifest.spans {
            bytes.extend(span.length.to_le_bytes());
            bytes.extend(span.hash.unwrap_or([0; 32]));
        }
        let check = blake3::hash(&bytes);
        bytes.extend(check.as_bytes());
        let temporary = path.with_extension(std::process::id().to_string());
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        let settled = file.metadata()?.mtime() - manifest.stat.ctime.seconds >= SETTLED;
        let kept = if settled {
            file.write_all(&bytes)
                .and_then(|()| fs::rename(&temporary, path))
        } else {
            Err(io::ErrorKind::ResourceBusy.into())
        };
        if kept.is_err() {
            fs::remove_file(&temporary).ok();
        }
        kept
    }

    /// Makes room when there are too many.
    fn prune(&self) -> io::Result<()> {
        let mut kept: Vec<(SystemTime, PathBuf)> = fs::read_dir(&self.dir)?
            .flatten()
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        if kept.len() > MOST_FILES {
            kept.sort();
            for (_, path) in kept.drain(..MOST_FILES / 4) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

impl ManifestCache for DiskCache {
    fn find(&self, stat: &Stat, chunking: Chunking) -> Option<Manifest> {
        if stat.meta.size < LEAST {
            return None;
        }
        Self::read(&self.path(stat, chunking), stat)
    }

    fn keep(&self, manifest: &Manifest, chunking: Chunking) {
        if manifest.stat.meta.size < LEAST {
            return;
        }
        let path = self.path(&manifest.stat, chunking);
        if let Err(error) = self.write(manifest, &path).and_then(|()| self.prune()) {
            tracing::debug!(%error, "a manifest is not kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{FileTime, Kind, Meta};

    fn manifest(ctime: i64) -> Manifest {
        let spans = vec![
            Span {
                offset: 0,
                length: 2 << 20,
                hash: Some([3; 32]),
            },
            Span {
                offset: 2 << 20,
                length: 5,
                hash: None,
            },
        ];
        let (seconds, nanos) = (ctime, 7);
        let stat = Stat {
            kind: Kind::File,
            meta: Meta {
                size: (2 << 20) + 5,
                ..Meta::default()
            },
            dev: 1,
            ino: 2,
            links: 1,
            ctime: FileTime { seconds, nanos },
        };
        let root = root_hash(&spans);
        Manifest { stat, spans, root }
    }

    #[test]
    fn a_manifest_is_found_while_its_file_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let cache = DiskCache::new(dir.path().join("deep/cache"));
        let kept = manifest(1000);
        cache.keep(&kept, Chunking::Content);
        assert_eq!(
            cache.find(&kept.stat, Chunking::Content),
            Some(kept.clone())
        );
        assert_eq!(cache.find(&kept.stat, Chunking::Blocks), None);
        assert_eq!(cache.find(&manifest(1001).stat, Chunking::Content), None);
        // Damage is no manifest.
        let path = cache.path(&kept.stat, Chunking::Content);
        let mut bytes = fs::read(&path).unwrap();
        bytes[9] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(cache.find(&kept.stat, Chunking::Content), None);
    }

    #[test]
    fn a_file_that_may_still_change_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let cache = DiskCache::new(dir.path());
        let kept = manifest(i64::from(u32::MAX));
        cache.keep(&kept, Chunking::Content);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
