//! Temporary files of transfers: their names, who holds them, and what becomes of those whose process
//! was killed.
//!
//! Whoever receives a file holds an advisory lock on its temporary file for as long as the process
//! lives. A file of that name whose lock can be had belongs to nobody any more.

use std::fmt;
use std::fs::{File, TryLockError};
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cap_std::fs::{Dir, MetadataExt as _, OpenOptions, OpenOptionsExt as _};

use crate::transfer::root::NAME_MAX;
use crate::transfer::source::never_wait;

/// What temporary files end with.
const ENDING: &str = ".tow-part";
/// Digits of the random part of their names.
const DIGITS: usize = 16;

/// Entries that are looked at before a file is received: a large directory must not make every small
/// file slow.
const GLANCE: usize = 4096;

/// The temporary name; removed on drop unless the file got its own.
pub(crate) struct Temporary {
    dir: Arc<Dir>,
    name: String,
    armed: AtomicBool,
}

impl Temporary {
    /// Creates a temporary file beside `target` and takes its lock.
    pub(crate) fn create(dir: &Arc<Dir>, target: &str) -> io::Result<(Self, File)> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        let keys = RandomState::new();
        // A name in use is skipped; so many in a row are not by chance.
        for attempt in 0..16_u32 {
            let name = temporary_name(target, keys.hash_one(attempt));
            match dir.open_with(&name, &options) {
                Ok(file) => {
                    let file = file.into_std();
                    let temporary = Self {
                        dir: Arc::clone(dir),
                        name,
                        armed: AtomicBool::new(true),
                    };
                    if take_lock(&file)? {
                        return Ok((temporary, file));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn disarm(&self) {
        self.armed.store(false, Ordering::Relaxed);
    }

    /// Removes the file now, whoever still writes to it: a rename that comes later finds nothing.
    /// One that came before has taken the name away, and it is never given out again.
    pub(crate) fn remove(&self) {
        if !self.armed.swap(false, Ordering::Relaxed) {
            return;
        }
        match self.dir.remove_file(&self.name) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(name = self.name, %error, "a temporary file could not be removed");
            }
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        self.remove();
    }
}

impl fmt::Debug for Temporary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Temporary").field(&self.name).finish()
    }
}

/// True for a name of exactly the form that temporary files have.
pub(crate) fn is_temporary(name: &str) -> bool {
    let Some(rest) = name
        .strip_prefix('.')
        .and_then(|rest| rest.strip_suffix(ENDING))
    else {
        return false;
    };
    let Some((target, digits)) = rest.rsplit_once('.') else {
        return false;
    };
    !target.is_empty()
        && digits.len() == DIGITS
        && digits
            .bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a suffix of stored files would make names end as those of temporary files do.
pub(crate) fn ends_alike(suffix: &str) -> bool {
    format!(".{suffix}").ends_with(ENDING)
}

/// Removes what killed processes left of transfers to `target`. In a directory of more than 4,096
/// entries only so many are looked at. Errors are of no interest to who is about to store a file.
pub(crate) fn sweep_for(dir: &Dir, target: &str) {
    let (start, length) = beginning(target);
    let wanted = |name: &str| {
        name.starts_with(&start)
            && name.len() == length + DIGITS + ENDING.len()
            && is_temporary(name)
    };
    if let Ok(entries) = dir.entries() {
        for entry in entries.take(GLANCE).flatten() {
            if let Some(name) = entry.file_name().to_str().filter(|name| wanted(name)) {
                remove_if_abandoned(dir, name);
            }
        }
    }
}

/// Removes what killed processes left in `top`, and with `below` in every directory beneath it on the
/// same file system. Returns how many files that were. What cannot be read is passed over.
pub(crate) fn sweep_all(top: &Dir, below: bool) -> io::Result<u64> {
    let device = top.dir_metadata()?.dev();
    let mut removed = 0;
    let mut pending = vec![PathBuf::from(".")];
    while let Some(path) = pending.pop() {
        let Ok(dir) = top.open_dir(&path) else {
            continue;
        };
        if dir.dir_metadata().map(|meta| meta.dev()).ok() != Some(device) {
            continue;
        }
        let Ok(entries) = dir.entries() else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && below => pending.push(path.join(name)),
                Ok(kind) if kind.is_file() => {
                    if let Some(name) = name.to_str().filter(|name| is_temporary(name)) {
                        removed += u64::from(remove_if_abandoned(&dir, name));
                    }
                }
                _ => {}
            }
        }
    }
    Ok(removed)
}

/// Removes a temporary file if nobody holds its lock.
fn remove_if_abandoned(dir: &Dir, name: &str) -> bool {
    let is_ours = dir
        .symlink_metadata(name)
        .is_ok_and(|meta| meta.file_type().is_file());
    if !is_ours {
        return false;
    }
    let open = |write: bool| {
        let mut options = OpenOptions::new();
        options.read(!write).write(write).custom_flags(never_wait());
        dir.open_with(name, &options)
    };
    // Some file systems lock only what is open for writing; some files may only be read.
    let Ok(file) = open(true).or_else(|_| open(false)) else {
        return false;
    };
    let file = file.into_std();
    if file.try_lock().is_err() {
        return false;
    }
    // The name may have been given away since it was opened.
    let same = match (file.metadata(), dir.symlink_metadata(name)) {
        (Ok(held), Ok(named)) => (held.dev(), held.ino()) == (named.dev(), named.ino()),
        _ => false,
    };
    let removed = same && dir.remove_file(name).is_ok();
    if removed {
        tracing::info!(name, "removed what a killed process left of a transfer");
    }
    removed
}

/// Takes the lock of a file that was just created. False if somebody who clears away was faster.
fn take_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(file.metadata()?.nlink() > 0),
        Err(TryLockError::WouldBlock) => Ok(false),
        // A file system without locks: nobody gets the lock, so nobody removes the file.
        Err(TryLockError::Error(_)) => Ok(true),
    }
}

/// `.NAME.RANDOM.tow-part`, with NAME shortened between characters so that the whole fits.
fn temporary_name(target: &str, random: u64) -> String {
    let (start, _) = beginning(target);
    format!("{start}{random:0DIGITS$x}{ENDING}")
}

/// What the temporary names of a target begin with, and its length in bytes.
fn beginning(target: &str) -> (String, usize) {
    let room = NAME_MAX - DIGITS - ENDING.len() - 2;
    let mut end = target.len().min(room);
    while !target.is_char_boundary(end) {
        end -= 1;
    }
    (format!(".{}.", &target[..end]), end + 2)
}

#[cfg(test)]
mod tests {
    use cap_std::ambient_authority;

    use super::*;

    fn open(dir: &tempfile::TempDir) -> Arc<Dir> {
        Arc::new(Dir::open_ambient_dir(dir.path(), ambient_authority()).unwrap())
    }

    #[test]
    fn temporary_names_fit_whatever_the_target_is() {
        for target in ["f".repeat(255), "é".repeat(127), "日".repeat(85)] {
            let name = temporary_name(&target, u64::MAX);
            assert!(
                name.len() <= NAME_MAX && name.len() > NAME_MAX - 4,
                "{name}"
            );
            assert!(is_temporary(&name));
        }
        assert_eq!(
            temporary_name("a.txt", 255),
            ".a.txt.00000000000000ff.tow-part"
        );
    }

    #[test]
    fn only_exactly_our_form_is_a_temporary_name() {
        assert!(is_temporary(".a.txt.00000000000000ff.tow-part"));
        for other in [
            "a.txt.00000000000000ff.tow-part",
            ".a.txt.00000000000000f.tow-part",
            ".a.txt.000000000000000ff.tow-part",
            ".a.txt.00000000000000FF.tow-part",
            ".a.txt.00000000000000fg.tow-part",
            ".a.txt00000000000000ff.tow-part.",
            ".00000000000000ff.tow-part",
            "..00000000000000ff.tow-part",
            ".a.txt.tow-part",
            "",
        ] {
            assert!(!is_temporary(other), "{other}");
        }
        assert!(ends_alike("tow-part") && ends_alike("x.tow-part"));
        assert!(!ends_alike("tow-parts") && !ends_alike("not-tow-part"));
    }

    #[test]
    fn what_is_held_stays_and_what_is_abandoned_goes() {
        let place = tempfile::tempdir().unwrap();
        let dir = open(&place);
        let (held, _file) = Temporary::create(&dir, "f").unwrap();
        let abandoned = temporary_name("f", 1);
        std::fs::write(place.path().join(&abandoned), "part").unwrap();
        sweep_for(&dir, "f");
        let names = crate::transfer::names_in(place.path());
        assert_eq!(names, [held.name()]);
    }

    #[test]
    fn a_new_transfer_clears_away_only_what_is_of_its_target() {
        let place = tempfile::tempdir().unwrap();
        let dir = open(&place);
        let others = [
            temporary_name("f.txt", 1),
            temporary_name("g", 1),
            ".f.1.tow-part".to_owned(),
        ];
        for name in others.iter().chain([&temporary_name("f", 1)]) {
            std::fs::write(place.path().join(name), "part").unwrap();
        }
        // A directory and a link of that form are not ours.
        std::fs::create_dir(place.path().join(temporary_name("f", 2))).unwrap();
        std::os::unix::fs::symlink("g", place.path().join(temporary_name("f", 3))).unwrap();
        sweep_for(&dir, "f");
        let mut expected = others.to_vec();
        expected.extend([temporary_name("f", 2), temporary_name("f", 3)]);
        expected.sort();
        assert_eq!(crate::transfer::names_in(place.path()), expected);
    }

    #[test]
    fn a_whole_tree_is_swept_or_only_its_top() {
        let place = tempfile::tempdir().unwrap();
        let deep = place.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        for dir in [place.path(), &deep] {
            std::fs::write(dir.join(temporary_name("f", 1)), "part").unwrap();
            std::fs::write(dir.join("f"), "whole").unwrap();
        }
        let dir = open(&place);
        assert_eq!(sweep_all(&dir, false).unwrap(), 1);
        assert_eq!(crate::transfer::names_in(place.path()), ["a", "f"]);
        assert_eq!(sweep_all(&dir, true).unwrap(), 1);
        assert_eq!(crate::transfer::names_in(&deep), ["f"]);
    }

    #[test]
    fn a_file_that_was_cleared_away_before_its_lock_was_taken_is_noticed() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("f");
        let file = File::create(&path).unwrap();
        let sweeper = File::open(&path).unwrap();
        sweeper.try_lock().unwrap();
        assert!(!take_lock(&file).unwrap(), "the lock is held");
        std::fs::remove_file(&path).unwrap();
        drop(sweeper);
        assert!(!take_lock(&file).unwrap(), "the file has no name any more");
    }
}
