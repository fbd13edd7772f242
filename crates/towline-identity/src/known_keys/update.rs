//! Changing a known-keys file: all of it or nothing, by one process at a time.

use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::error::KnownKeysError;
use super::file::{KnownKeys, KnownKeysPolicy, lock};
use super::list::{KnownKey, KnownKeyList};
use super::mark;
use crate::public_key::PublicKey;

/// How often another process may replace the file while this one waits for its lock.
const ATTEMPTS: u32 = 1000;
/// How often the lock is tried, and the pause between: three seconds in all, far more than anybody
/// needs who holds it to write a list.
const LOCK_TRIES: u32 = 600;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

impl KnownKeys {
    /// Records a key that a peer has proven, unless it is there (docs/wire I41). Keys that several
    /// threads bring at the same time are written together.
    ///
    /// # Errors
    ///
    /// [`KnownKeysError`]: the file is gone, damaged, locked by now, held by another process for
    /// seconds, or cannot be written. The key is then not recorded, and its peer must not be admitted.
    pub fn record(&self, key: KnownKey) -> Result<(), KnownKeysError> {
        lock(&self.shared.waiting).push(key.clone());
        let kept_waiting = || self.shared.kept_waiting.load(Ordering::Relaxed);
        let before = kept_waiting();
        let _recording = lock(&self.shared.recording);
        // The thread before has waited for both: together they do not wait longer than one.
        if kept_waiting() != before {
            lock(&self.shared.waiting).retain(|waits| *waits != key);
            return Err(self.busy());
        }
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
    /// file (mode 0600; locked, if one that was locked is gone) if there is none. False if the key was
    /// there.
    ///
    /// # Errors
    ///
    /// [`KnownKeysError`]: the file is damaged or cannot be written.
    pub fn add(path: impl Into<PathBuf>, key: KnownKey) -> Result<bool, KnownKeysError> {
        let known = Self::unchecked(path.into(), KnownKeysPolicy::FileMode);
        known.create(if known.was_locked() { 0o400 } else { 0o600 })?;
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
            .map_err(|source| known.write_failed(source))?;
        // Where nothing can be made, the file cannot get lost so easily either.
        known.mark();
        Ok(())
    }

    /// Lets the file learn: its owner may write to it (docs/wire I42). Makes it, empty and with mode
    /// 0600, if there is none and none was locked.
    ///
    /// # Errors
    ///
    /// [`KnownKeysError::LockedGone`] if one was: to make an empty one then lets everybody in whom the
    /// authority knows. Else: damaged, or the system refused.
    pub fn unlock(path: impl Into<PathBuf>) -> Result<(), KnownKeysError> {
        let known = Self::unchecked(path.into(), KnownKeysPolicy::FileMode);
        if known.was_locked() {
            known.metadata().map_err(|error| match error {
                KnownKeysError::NotFound { path } => KnownKeysError::LockedGone { path },
                error => error,
            })?;
        } else {
            known.create(0o600)?;
        }
        let mut held = known.hold()?;
        let text = known.read(&mut held.file)?;
        known.parse(&text)?;
        held.file
            .set_permissions(writable(&held.metadata))
            .and_then(|()| mark::clear(known.path()))
            .map_err(|source| known.write_failed(source))
    }

    /// [`unlock`](Self::unlock), even if a locked list is gone: whom it refused is then forgotten.
    ///
    /// # Errors
    ///
    /// [`KnownKeysError`]: damaged, or the system refused.
    pub fn unlock_anew(path: impl Into<PathBuf>) -> Result<(), KnownKeysError> {
        let known = Self::unchecked(path.into(), KnownKeysPolicy::FileMode);
        known.create(0o600)?;
        Self::unlock(known.path())
    }

    /// Makes the file, empty, if there is none.
    fn create(&self, mode: u32) -> Result<(), KnownKeysError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
        #[cfg(not(unix))]
        let _no_modes = mode;
        match options.open(self.path()) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(source) => Err(self.write_failed(source)),
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
            self.wait_for_lock(&file)?;
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

    /// For a while: a process that is stopped while it holds the file must not stop this one.
    fn wait_for_lock(&self, file: &File) -> Result<(), KnownKeysError> {
        for _ in 0..LOCK_TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
                Err(TryLockError::Error(source)) => return Err(self.write_failed(source)),
            }
        }
        self.shared.kept_waiting.fetch_add(1, Ordering::Relaxed);
        Err(self.busy())
    }

    fn busy(&self) -> KnownKeysError {
        KnownKeysError::Busy {
            path: self.path().to_owned(),
            seconds: (LOCK_PAUSE * LOCK_TRIES).as_secs(),
        }
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
