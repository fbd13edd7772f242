//! The mark beside a locked file, `FILE.locked`: a lock is not undone by losing the file
//! (docs/wire I43).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::SaveError;
use crate::files;

const TEXT: &[u8] =
    b"# The known keys beside this file are locked. Without them nobody is admitted.\n";

/// Where it is.
pub(super) fn path(list: &Path) -> PathBuf {
    let mut name = list.as_os_str().to_owned();
    name.push(".locked");
    PathBuf::from(name)
}

/// Whether it is there, or may be.
pub(super) fn is_set(list: &Path) -> bool {
    match fs::symlink_metadata(path(list)) {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

pub(super) fn set(list: &Path) -> io::Result<()> {
    if is_set(list) {
        return Ok(());
    }
    match files::write(&path(list), TEXT, false) {
        Ok(()) | Err(SaveError::Exists { .. }) => Ok(()),
        Err(SaveError::Write { source, .. }) => Err(source),
        Err(error) => Err(io::Error::other(error)),
    }
}

pub(super) fn clear(list: &Path) -> io::Result<()> {
    match fs::remove_file(path(list)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
