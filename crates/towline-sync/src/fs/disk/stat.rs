//! What the system says of a file, and is told of it.

use rustix::fs::{FileType, Timespec, Timestamps, UTIME_OMIT};

use crate::fs::Stat;
use crate::wire::{FileTime, Kind, Meta};

/// What is known of a file.
pub(super) fn stat_of(stat: &rustix::fs::Stat) -> Stat {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Symlink,
        _ => Kind::Other,
    };
    let size = match kind {
        Kind::File => u64::try_from(stat.st_size).unwrap_or(0),
        _ => 0,
    };
    Stat {
        kind,
        meta: Meta {
            size,
            mtime: FileTime {
                seconds: stat.st_mtime,
                nanos: stat.st_mtime_nsec as u32,
            },
            mode: stat.st_mode & 0o7777,
        },
        dev: stat.st_dev,
        ino: stat.st_ino,
        links: stat.st_nlink,
        ctime: FileTime {
            seconds: stat.st_ctime,
            nanos: stat.st_ctime_nsec as u32,
        },
    }
}

/// The times that a file gets.
pub(super) fn times(meta: &Meta) -> Timestamps {
    let time = Timespec {
        tv_sec: meta.mtime.seconds,
        tv_nsec: meta.mtime.nanos.into(),
    };
    Timestamps {
        // When it was read is nobody's to set.
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: time,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};
    use std::os::unix::fs::MetadataExt as _;
    use std::time::{Duration, SystemTime};

    use crate::fs::{Disk, Store as _};
    use crate::wire::{FileTime, Kind, Meta, RelPath};

    #[test]
    fn when_a_file_was_read_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("f")).unwrap();
        let read = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        file.set_times(FileTimes::new().set_accessed(read)).unwrap();
        let disk = Disk::open_root(dir.path()).unwrap();
        let (seconds, nanos) = (5, 7);
        let meta = Meta {
            size: 0,
            mode: 0o600,
            mtime: FileTime { seconds, nanos },
        };
        let path = RelPath::new(b"f").unwrap();
        disk.set_path_meta(&path, Kind::File, &meta).unwrap();
        let found = file.metadata().unwrap();
        assert_eq!((found.atime(), found.mtime()), (1_000_000, 5));
    }
}
