//! Changing a known-keys file: all of it or nothing, by one process at a time.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::error::KnownKeysError;
use super::file::{KnownKeys, KnownKeysPolicy, lock};
use super::list::{KnownKey, KnownKeyList};
use crate::public_key::PublicKey;

/// How often another process may replace the file while this one waits for its lock.
const ATTEMPTS: u32 = 1000;

impl KnownKeys {
    /// Records a key that a peer has proven, unless it is there (docs/wire I41). Keys that several
    /// threads bring at the same time are written together.
    ///
    /// # Errors
    ///
    /// [`KnownKeysError`]: the file is gone, damaged, locked by now, or cannot be written. The key is
    /// then not recorded, and its peer must not be admitted.
    pub fn record(&self, key: KnownKey) -> Result<(), KnownKeysError> {
        lock(&self.shared.waiting).push(key.clone());
        let _recording = lock(&self.shared.recording);
        let mut batch = std::mem::take(&mut *lock(&self.shared.waiting));
        // Another thread took it along: it has written it, or has failed and told only its own peer.
        if !batch.contains(&key) {
            batch.push(key);
        }
        self.update(true, |list| {
            let mut changed = false;
            for key in batch {
                changed |= list.insert(key);
            }
            changed
        })
    }

    /// Adds a key by the word of an administrator, whether the file is locked or not, and makes the
    /// file (mode 0600) if there is none. False if the key was there.
    ///
    /// # Errors
    ///
    /// [`KnownKeysError`]: the file is damaged or cannot be written.
    pub fn add(path: impl Into<PathBuf>, key: KnownKey) -> Result<bool, KnownKeysError> {
        let known = Self::create(path.into())?;
        let mut added = false;
        known.update(false, |list| {
            added = list.insert(key);
            added
        })?;
        Ok(added)
    }

    /// Takes a key out, whether the file is locked or not. Returns the number of lines that named it.
    ///
    /// # Errors
    ///
    /// [`KnownKeysError`]: no such file, damaged, or it cannot be written.
    pub fn remove(path: impl Into<PathBuf>, key: &PublicKey) -> Result<usize, KnownKeysError> {
        let known = Self::unchecked(path.into(), KnownKeysPolicy::FileMode);
        let mut removed = 0;
        known.update(false, |list| {
            removed = list.remove(key);
            removed > 0
        })?;
        Ok(removed)
    }

    /// Locks the file: its mode loses every right to write (docs/wire I42).
    ///
    /// # Errors
    ///
    /// [`KnownKeysError::LockedEmpty`] for a file without a key; those of [`open`](Self::open).
    pub fn lock(path: impl Into<PathBuf>) -> Result<(), KnownKeysError> {
        let known = Self::unchecked(path.into(), KnownKeysPolicy::FileMode);
        let mut held = known.hold()?;
        let text = known.read(&mut held.file)?;
        if known.parse(&text)?.is_empty() {
            return Err(KnownKeysError::LockedEmpty {
                path: known.path().to_owned(),
            });
        }
        let mut permissions = held.metadata.permissions();
        permissions.set_readonly(true);
        held.file
            .set_permissions(permissions)
            .map_err(|source| known.write_failed(source))
    }

    /// Lets the file learn: its owner may write to it (docs/wire I42). Makes it, empty and with mode
    /// 0600, if there is none.
    ///
    /// # Errors
    ///
    /// [`KnownKeysError`]: damaged, or the system refused.
    pub fn unlock(path: impl Into<PathBuf>) -> Result<(), KnownKeysError> {
        let known = Self::create(path.into())?;
        let mut held = known.hold()?;
        let text = known.read(&mut held.file)?;
        known.parse(&text)?;
        held.file
            .set_permissions(writable(&held.metadata))
            .map_err(|source| known.write_failed(source))
    }

    fn create(path: PathBuf) -> Result<Self, KnownKeysError> {
        let known = Self::unchecked(path, KnownKeysPolicy::FileMode);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(known.path()) {
            Ok(_) => Ok(known),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(known),
            Err(source) => Err(known.write_failed(source)),
        }
    }

    /// Reads the list, changes it, and puts it in place of the old one if `change` says that it did.
    fn update(
        &self,
        learning: bool,
        change: impl FnOnce(&mut KnownKeyList) -> bool,
    ) -> Result<(), KnownKeysError> {
        let mut held = self.hold()?;
        if learning && self.locked_by(&held.metadata) {
            return Err(KnownKeysError::Locked {
                path: self.path().to_owned(),
            });
        }
        let text = self.read(&mut held.file)?;
        let mut list = self.parse(&text)?;
        if !change(&mut list) {
            return Ok(());
        }
        self.check_size(list.text())?;
        held.replace(list.text())
            .map_err(|source| self.write_failed(source))
    }

    /// The file under its lock. The lock is on the file that is there now: another process may have
    /// put a new one in its place while this one waited.
    fn hold(&self) -> Result<Held, KnownKeysError> {
        let failed = |source| self.write_failed(source);
        for _ in 0..ATTEMPTS {
            self.metadata()?;
            let path = fs::canonicalize(self.path()).map_err(failed)?;
            let (file, writable) = open(&path).map_err(failed)?;
            file.lock().map_err(failed)?;
            let metadata = file.metadata().map_err(failed)?;
            if fs::metadata(&path).is_ok_and(|there| is_same(&there, &metadata)) {
                return Ok(Held {
                    path,
                    file,
                    writable,
                    metadata,
                });
            }
        }
        Err(failed(io::ErrorKind::ResourceBusy.into()))
    }

    fn write_failed(&self, source: io::Error) -> KnownKeysError {
        KnownKeysError::Write {
            path: self.path().to_owned(),
            source,
        }
    }
}

/// A file that nobody else changes, as long as they all ask.
struct Held {
    /// Where it is, with every link followed: a link stays one.
    path: PathBuf,
    file: File,
    writable: bool,
    metadata: Metadata,
}

impl Held {
    /// Writes beside, syncs, renames, syncs the directory. Mode and owner stay.
    fn replace(&self, text: &[u8]) -> io::Result<()> {
        let dir = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut new = tempfile::Builder::new().prefix(".tow-").tempfile_in(dir)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt, fchown};
            let (uid, gid) = (self.metadata.uid(), self.metadata.gid());
            let made = new.as_file().metadata()?;
            if !self.writable && made.uid() != uid {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            // Only root may give files away; for others the group may be one of theirs.
            if (made.uid(), made.gid()) != (uid, gid)
                && let Err(error) = fchown(new.as_file(), Some(uid), Some(gid))
            {
                tracing::debug!(path = %self.path.display(), %error, "the file changes its owner");
            }
        }
        new.write_all(text)?;
        new.as_file().set_permissions(self.metadata.permissions())?;
        new.as_file().sync_all()?;
        self.keep_old();
        let new = new.persist(&self.path).map_err(|error| error.error)?;
        // A chmod between reading and renaming was one of the old file.
        let mode = self.file.metadata()?.permissions();
        if mode != self.metadata.permissions() {
            new.set_permissions(mode)?;
        }
        #[cfg(unix)]
        File::open(dir)?.sync_all()?;
        Ok(())
    }

    /// The version before this one, as the original keeps it. A convenience: nothing depends on it.
    fn keep_old(&self) {
        let mut old = self.path.clone().into_os_string();
        old.push(".old");
        let kept = match fs::remove_file(&old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::hard_link(&self.path, &old),
        };
        if let Err(error) = kept {
            tracing::debug!(path = %self.path.display(), %error, "no copy of the version before is kept");
        }
    }
}

/// For its lock, and whether it may be written to. One that its owner may not write to is the
/// owner's all the same.
fn open(path: &Path) -> io::Result<(File, bool)> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => Ok((file, true)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Ok((File::open(path)?, false))
        }
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &Metadata) -> bool {
    // A file that is open cannot be replaced there.
    true
}

#[cfg(unix)]
fn writable(metadata: &Metadata) -> Permissions {
    use std::os::unix::fs::PermissionsExt;
    Permissions::from_mode(metadata.permissions().mode() | 0o200)
}

#[cfg(not(unix))]
fn writable(metadata: &Metadata) -> Permissions {
    let mut permissions = metadata.permissions();
    #[expect(
        clippy::permissions_set_readonly_false,
        reason = "there it clears an attribute and opens the file to nobody else"
    )]
    permissions.set_readonly(false);
    permissions
}
