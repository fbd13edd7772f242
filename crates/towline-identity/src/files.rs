//! Small files with secrets in them: read with a bound, written so that nobody else ever sees them.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use crate::error::{LoadError, SaveError};

/// Far above any real key or certificate file; a device or a wrong file is not read into memory.
const READ_LIMIT: u64 = 1 << 20;
/// More than any secret that comes through a pipe.
const PIPE_CAPACITY: usize = 8192;

/// The most characters of a name: the bound of a certificate's common name.
const NAME_CHARS: usize = 64;

/// Refuses names that would leave the directory, hide, or collide with the authority's own files.
pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("it is empty");
    }
    if name.chars().count() > NAME_CHARS {
        return Err("it is longer than 64 characters");
    }
    if name.contains(['/', '\\']) {
        return Err("it contains a path separator; give the directory separately");
    }
    if name.chars().any(char::is_control) {
        return Err("it contains a control character");
    }
    if name.starts_with('.') || name.starts_with('-') {
        return Err("it begins with a dot or a dash");
    }
    if name.eq_ignore_ascii_case("ca") {
        return Err("`ca` is the authority's own name");
    }
    Ok(())
}

/// The content of a file that others may read.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, LoadError> {
    let (file, found) = open(path)?;
    read_whole(file, &found, path)
}

/// The content of a file that nobody but its owner may read; refused if somebody else may
/// (docs/wire I34).
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, LoadError> {
    let (file, found) = open(path)?;
    check_secret(&found, path)?;
    read_whole(file, &found, path)
}

/// The content of a file that others may read and nobody but its owner may change: it says whom to
/// trust (docs/wire I34).
pub(crate) fn read_trusted(path: &Path) -> Result<Zeroizing<Vec<u8>>, LoadError> {
    let (file, found) = open(path)?;
    check_trusted(&found, path)?;
    read_whole(file, &found, path)
}

/// The content of a file that may be a secret or not, which shows in what it holds. It is read once: a
/// pipe gives what it has one time.
pub(crate) fn read_either(
    path: &Path,
    is_secret: impl FnOnce(&[u8]) -> bool,
) -> Result<Zeroizing<Vec<u8>>, LoadError> {
    let (file, found) = open(path)?;
    let bytes = read_whole(file, &found, path)?;
    if is_secret(&bytes) {
        check_secret(&found, path)?;
    }
    Ok(bytes)
}

/// The permission bits that a file has of these; none for what is no file. A pipe, such as a shell's
/// `<(...)`, is not kept anywhere.
#[cfg(unix)]
fn bits(found: &fs::Metadata, mask: u32) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = found.permissions().mode() & 0o777;
    (found.is_file() && mode & mask != 0).then_some(mode)
}

#[cfg(not(unix))]
fn bits(_found: &fs::Metadata, _mask: u32) -> Option<u32> {
    None
}

/// Fails if anybody but the owner may read or change a file.
fn check_secret(found: &fs::Metadata, path: &Path) -> Result<(), LoadError> {
    match bits(found, 0o077) {
        None => Ok(()),
        Some(mode) => Err(LoadError::Permissions {
            path: path.to_owned(),
            mode,
        }),
    }
}

/// Fails if anybody but the owner may change a file.
fn check_trusted(found: &fs::Metadata, path: &Path) -> Result<(), LoadError> {
    match bits(found, 0o022) {
        None => Ok(()),
        Some(mode) => Err(LoadError::Writable {
            path: path.to_owned(),
            mode,
        }),
    }
}

/// A file, and the metadata of this very file.
fn open(path: &Path) -> Result<(File, fs::Metadata), LoadError> {
    let failed = |source| LoadError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    Ok((file, found))
}

/// Reads a file, up to the limit.
fn read_whole(
    file: File,
    found: &fs::Metadata,
    path: &Path,
) -> Result<Zeroizing<Vec<u8>>, LoadError> {
    let size = found.len();
    let too_large = || LoadError::TooLarge {
        path: path.to_owned(),
        limit: READ_LIMIT,
    };
    if size > READ_LIMIT {
        return Err(too_large());
    }
    // Sized at once: a vector that grows leaves copies of the secret behind. Pipes tell no size.
    let mut bytes = Zeroizing::new(Vec::with_capacity((size as usize + 1).max(PIPE_CAPACITY)));
    file.take(READ_LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| LoadError::Read {
            path: path.to_owned(),
            source,
        })?;
    if bytes.len() as u64 > READ_LIMIT {
        return Err(too_large());
    }
    Ok(bytes)
}

/// Makes `dir` for its owner alone. A directory that exists keeps its mode, with a warning if others
/// may look into it.
pub(crate) fn private_dir(dir: &Path) -> Result<(), SaveError> {
    let failed = |source| SaveError::Write {
        path: dir.to_owned(),
        source,
    };
    match fs::metadata(dir) {
        Ok(found) if found.is_dir() => {
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                let mode = found.permissions().mode() & 0o777;
                if mode & 0o077 != 0 {
                    tracing::warn!(
                        dir = %dir.display(),
                        mode = format_args!("{mode:03o}"),
                        "other users may look into this directory of keys; consider `chmod 700`"
                    );
                }
            }
            Ok(())
        }
        Ok(_) => Err(failed(io::ErrorKind::NotADirectory.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true);
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(dir).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Fails if there is anything of that name, also a link that leads nowhere.
pub(crate) fn check_absent(path: &Path) -> Result<(), SaveError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(SaveError::Exists {
            path: path.to_owned(),
        }),
        Err(_) => Ok(()),
    }
}

/// Writes a whole file for its owner alone: a temporary file beside it, synced, then renamed, so
/// that neither a half-written file nor a wider mode is ever seen.
pub(crate) fn write(path: &Path, bytes: &[u8], overwrite: bool) -> Result<(), SaveError> {
    Staged::new(path, bytes)?.commit(overwrite)
}

/// A file that is written and synced already, beside its place, and takes it by one rename. Dropped
/// before, it is gone.
pub(crate) struct Staged {
    file: NamedTempFile,
    path: PathBuf,
}

impl Staged {
    /// For its owner alone, whatever the file has that it will replace.
    pub(crate) fn new(path: &Path, bytes: &[u8]) -> Result<Self, SaveError> {
        let failed = |source| SaveError::Write {
            path: path.to_owned(),
            source,
        };
        // Known now rather than when others have been replaced already.
        if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        // Created with mode 0600, which a umask can only narrow; the owner's bits are then restored.
        let mut file = tempfile::Builder::new()
            .prefix(".tow-")
            .tempfile_in(dir_of(path))
            .map_err(failed)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            file.as_file()
                .set_permissions(fs::Permissions::from_mode(0o600))
                .map_err(failed)?;
        }
        file.write_all(bytes).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        let path = path.to_owned();
        Ok(Self { file, path })
    }

    /// Where it will be.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes its place.
    pub(crate) fn commit(self, overwrite: bool) -> Result<(), SaveError> {
        let Self { file, path } = self;
        let kept = if overwrite {
            file.persist(&path)
        } else {
            file.persist_noclobber(&path)
        };
        let failed = |source| SaveError::Write {
            path: path.clone(),
            source,
        };
        match kept {
            Ok(_) => {}
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(SaveError::Exists { path });
            }
            Err(error) => return Err(failed(error.error)),
        }
        #[cfg(unix)]
        File::open(dir_of(&path))
            .and_then(|dir| dir.sync_all())
            .map_err(failed)?;
        Ok(())
    }
}

/// The directory that a file is in.
fn dir_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Takes back a file that was just written, when what belongs to it could not be.
pub(crate) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "a file written in vain could not be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        for bad in [
            "",
            "..",
            ".",
            ".x",
            "a/b",
            "a\\b",
            "/x",
            "ca",
            "CA",
            "a\0b",
            "a\nb",
            "-x",
            &"x".repeat(65),
        ] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        for good in [
            "node",
            "client",
            "ada.lovelace",
            "rechner-7",
            "größe",
            &"x".repeat(64),
        ] {
            assert_eq!(check_name(good), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn a_file_too_large_for_a_key_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big.key");
        File::create(&path)
            .unwrap()
            .set_len(READ_LIMIT + 1)
            .unwrap();
        assert!(matches!(read(&path), Err(LoadError::TooLarge { .. })));
    }

    #[test]
    fn an_endless_device_is_read_up_to_the_limit_only() {
        assert!(matches!(
            read(Path::new("/dev/zero")),
            Err(LoadError::TooLarge { .. })
        ));
    }
}
