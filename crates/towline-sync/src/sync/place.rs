//! Which directory a path means, and whether it means one file in it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::fs::{Disk, Store as _};
use crate::wire::{Kind, RelPath};

/// A directory, and the one entry of it that is meant, if it is one.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) disk: Disk,
    pub(super) name: Option<Bytes>,
    /// It was made just now, or would have been.
    pub(super) made: bool,
}

impl Place {
    const fn new(disk: Disk, name: Option<Bytes>) -> Self {
        Self {
            disk,
            name,
            made: false,
        }
    }
}

/// What is to be sent, by any path here; of a file, with the name that it was given, which may be that of a
/// link to it.
pub(super) fn source(given: &Path) -> io::Result<(Place, Option<Bytes>)> {
    if fs::metadata(given)?.is_dir() {
        return Ok((Place::new(Disk::open_root(given)?, None), None));
    }
    let path = fs::canonicalize(given)?;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let bytes = |name: &OsStr| Some(Bytes::copy_from_slice(name.as_bytes()));
    let given = bytes(given.file_name().unwrap_or(name));
    Ok((Place::new(Disk::open_root(parent)?, bytes(name)), given))
}

/// Where something goes, by any path here; `single` is the name of what comes, if it is one file.
pub(super) fn target(path: &Path, single: Option<Bytes>, make: bool) -> io::Result<Place> {
    let is_dir = path.is_dir() || path.as_os_str().as_bytes().ends_with(b"/");
    let (dir, name) = match (single, path.file_name()) {
        (Some(_), Some(name)) if !is_dir => {
            let name = Bytes::copy_from_slice(name.as_bytes());
            let parent = path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            (
                parent.unwrap_or_else(|| Path::new(".")).to_owned(),
                Some(name),
            )
        }
        (single, _) => (path.to_owned(), single),
    };
    let dir = if dir.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        dir
    };
    let opened = Disk::open_root(&dir);
    let made = is_missing(&opened);
    let disk = match made {
        true if make => {
            fs::create_dir_all(&dir)?;
            Disk::open_root(&dir)?
        }
        true => Disk::missing(),
        false => opened?,
    };
    Ok(Place { disk, name, made })
}

fn is_missing(opened: &io::Result<Disk>) -> bool {
    opened
        .as_ref()
        .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Where one file goes, by the path that it gets: what is there is replaced, and a symlink not followed.
pub(super) fn file(path: &Path) -> io::Result<Place> {
    let Some(name) = path.file_name() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let disk = Disk::open_root(parent.unwrap_or_else(|| Path::new(".")))?;
    let name = Bytes::copy_from_slice(name.as_bytes());
    Ok(Place::new(disk, Some(name)))
}

/// What is to be sent, beneath an open directory.
pub(super) fn source_beneath(top: impl AsFd, path: &RelPath) -> io::Result<Place> {
    let whole = Disk::beneath(top.as_fd(), &RelPath::root(), false)?;
    if path.is_root() || whole.stat(path)?.kind == Kind::Dir {
        let disk = Disk::beneath(top.as_fd(), path, false)?;
        return Ok(Place::new(disk, None));
    }
    let disk = Disk::beneath(top.as_fd(), &path.parent(), false)?;
    let name = Bytes::copy_from_slice(path.name());
    Ok(Place::new(disk, Some(name)))
}

/// Where something goes, beneath an open directory.
pub(super) fn target_beneath(
    top: impl AsFd,
    path: &RelPath,
    into: bool,
    single: Option<Bytes>,
    make: bool,
) -> io::Result<Place> {
    let whole = Disk::beneath(top.as_fd(), &RelPath::root(), false)?;
    let is_dir =
        into || path.is_root() || whole.stat(path).is_ok_and(|stat| stat.kind == Kind::Dir);
    let (dir, name) = match single {
        Some(_) if !is_dir => (path.parent(), Some(Bytes::copy_from_slice(path.name()))),
        single => (path.clone(), single),
    };
    let opened = Disk::beneath(top.as_fd(), &dir, false);
    let made = is_missing(&opened);
    let disk = match made {
        true if make => Disk::beneath(top.as_fd(), &dir, true)?,
        true => Disk::missing(),
        false => opened?,
    };
    Ok(Place { disk, name, made })
}
