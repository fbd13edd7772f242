//! Files that are read: regular ones only, opened without ever waiting for a writer.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::SystemTime;

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use rustix::fs::OFlags;

use crate::transfer::part::FileMeta;
use crate::transfer::root::NameError;

/// A regular file opened for reading, and what was known of it at that moment.
#[derive(Debug)]
pub struct SourceFile {
    pub(crate) file: File,
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) mtime: Option<SystemTime>,
    mode: u32,
}

impl SourceFile {
    /// Opens a local file by any path; symlinks are followed.
    ///
    /// To serve what a peer asks for, use [`crate::Root::open_for_read`].
    ///
    /// # Errors
    ///
    /// [`OpenError`]; a pipe, socket or device is refused before it is opened, and so is a file whose
    /// own name is not UTF-8: it could not travel.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let shown = shown(path);
        if path.file_name().is_some_and(|name| name.to_str().is_none()) {
            return Err(OpenError::NotText { path: shown });
        }
        let failed = |source| OpenError::from_io(&shown, source);
        check_kind(&shown, std::fs::metadata(path).map_err(failed)?.file_type())?;
        let file = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(never_wait())
            .open(path)
            .map_err(failed)?;
        Self::from_file(file, shown)
    }

    /// Opens `path` beneath `dir`.
    pub(crate) fn open_beneath(dir: &Dir, path: &Path, shown: &str) -> Result<Self, OpenError> {
        let failed = |source| OpenError::from_io(shown, source);
        // Opening some devices has effects, so the type is looked at first; it is looked at again
        // on the open file, which nobody can exchange any more.
        check_kind(shown, dir.metadata(path).map_err(failed)?.file_type())?;
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(never_wait());
        let file = dir.open_with(path, &options).map_err(failed)?;
        Self::from_file(file.into_std(), shown.to_owned())
    }

    fn from_file(file: File, path: String) -> Result<Self, OpenError> {
        let metadata = file
            .metadata()
            .map_err(|source| OpenError::from_io(&path, source))?;
        check_kind(&path, metadata.file_type())?;
        Ok(Self {
            file,
            path,
            size: metadata.len(),
            mtime: metadata.modified().ok(),
            mode: metadata.permissions().mode() & 0o777,
        })
    }

    /// The path it was opened by.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The last component of the path.
    pub fn name(&self) -> &str {
        Path::new(&self.path)
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or(&self.path)
    }

    /// Size in bytes when it was opened.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Size, modification time and permission bits when it was opened.
    pub fn meta(&self) -> FileMeta {
        FileMeta {
            size: Some(self.size),
            mtime: self.mtime,
            mode: Some(self.mode),
        }
    }

    /// What is known of the open file now.
    pub(crate) fn look_again(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }
}

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The name or path is not acceptable.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There is nothing under the path.
    #[error("no such file `{path}`")]
    NotFound {
        /// The path as given.
        path: String,
    },
    /// A symlink on the path leads out of the directory that is served.
    #[error("`{path}` leads out of the directory that is served")]
    Outside {
        /// The path as given.
        path: String,
    },
    /// The last component of the path is not UTF-8.
    #[error(
        "the name of `{path}` is not UTF-8, and names travel as UTF-8 only; rename the file, or name a link to it"
    )]
    NotText {
        /// The path as given, the bytes that are no text as `\\xNN`.
        path: String,
    },
    /// The path names a directory.
    #[error("`{path}` is a directory; name a file in it")]
    Directory {
        /// The path as given.
        path: String,
    },
    /// The path names a pipe, socket or device.
    #[error("`{path}` is a {kind}, not a regular file")]
    Special {
        /// The path as given.
        path: String,
        /// What it is.
        kind: &'static str,
    },
    /// The process has no right to read the file.
    #[error("`{path}` cannot be read: permission denied")]
    Denied {
        /// The path as given.
        path: String,
    },
    /// Anything else the system reported.
    #[error("`{path}` cannot be opened: {source}")]
    Io {
        /// The path as given.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

impl OpenError {
    fn from_io(path: &str, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::NotFound { path },
            io::ErrorKind::IsADirectory => Self::Directory { path },
            io::ErrorKind::PermissionDenied if escaped(&source) => Self::Outside { path },
            io::ErrorKind::PermissionDenied => Self::Denied { path },
            _ => Self::Io { path, source },
        }
    }
}

/// A path as text; bytes that are none as `\\xNN`, so that two paths never look alike.
fn shown(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

/// cap-std reports a path that leads out as "permission denied" of its own making; the system's
/// refusal has an error number.
pub(crate) fn escaped(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none()
}

/// A pipe put in a file's place between the check and the open must not make the open wait, and a
/// terminal must not become ours.
pub(crate) fn never_wait() -> i32 {
    (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed()
}

/// The questions both kinds of file type answer.
pub(crate) trait FileKind {
    /// Regular file, directory, symlink, and what else with its name.
    fn ask(&self) -> (bool, bool, bool, [(bool, &'static str); 4]);
}

impl FileKind for std::fs::FileType {
    fn ask(&self) -> (bool, bool, bool, [(bool, &'static str); 4]) {
        let special = [
            (self.is_fifo(), "pipe"),
            (self.is_socket(), "socket"),
            (self.is_char_device(), "device"),
            (self.is_block_device(), "device"),
        ];
        (self.is_file(), self.is_dir(), self.is_symlink(), special)
    }
}

impl FileKind for cap_std::fs::FileType {
    fn ask(&self) -> (bool, bool, bool, [(bool, &'static str); 4]) {
        use cap_std::fs::FileTypeExt as _;
        let special = [
            (self.is_fifo(), "pipe"),
            (self.is_socket(), "socket"),
            (self.is_char_device(), "device"),
            (self.is_block_device(), "device"),
        ];
        (self.is_file(), self.is_dir(), self.is_symlink(), special)
    }
}

/// What a file is, for a sentence.
pub(crate) fn kind_of(kind: &impl FileKind) -> &'static str {
    match kind.ask() {
        (true, ..) => "regular file",
        (_, true, ..) => "directory",
        (_, _, true, _) => "symlink",
        (.., special) => special
            .into_iter()
            .find_map(|(is, name)| is.then_some(name))
            .unwrap_or("special file"),
    }
}

fn check_kind(path: &str, kind: impl FileKind) -> Result<(), OpenError> {
    let path = path.to_owned();
    match kind.ask() {
        (true, ..) => Ok(()),
        (_, true, ..) => Err(OpenError::Directory { path }),
        _ => Err(OpenError::Special {
            path,
            kind: kind_of(&kind),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn the_systems_refusals_have_their_variants() {
        // A test that runs as root cannot meet these on a real file.
        let denied = OpenError::from_io("f", io::Error::from_raw_os_error(13));
        assert!(matches!(denied, OpenError::Denied { .. }));
        let outside = OpenError::from_io("f", io::Error::new(io::ErrorKind::PermissionDenied, "x"));
        assert!(matches!(outside, OpenError::Outside { .. }));
        let broken = OpenError::from_io("f", io::Error::from_raw_os_error(5));
        assert!(broken.to_string().starts_with("`f` cannot be opened: "));
    }

    #[test]
    fn a_local_file_is_opened_and_others_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.txt");
        std::fs::write(&path, "abc").unwrap();
        let source = SourceFile::open(&path).unwrap();
        assert_eq!((source.name(), source.size()), ("f.txt", 3));
        assert!(matches!(
            SourceFile::open(dir.path()),
            Err(OpenError::Directory { .. })
        ));
        assert!(matches!(
            SourceFile::open(dir.path().join("g")),
            Err(OpenError::NotFound { .. })
        ));
        let odd = dir.path().join(OsStr::from_bytes(b"caf\xe9"));
        std::fs::write(&odd, "abc").unwrap();
        let error = SourceFile::open(&odd).unwrap_err();
        assert!(matches!(error, OpenError::NotText { .. }));
        assert!(error.to_string().contains("/caf\\xe9`"), "{error}");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(odd, &link).unwrap();
        assert_eq!(SourceFile::open(link).unwrap().name(), "link");
        assert!(matches!(
            SourceFile::open("/dev/null"),
            Err(OpenError::Special { kind: "device", .. })
        ));
    }
}
