//! A known-keys file: read again whenever it has changed, so that an editor, `touch` and `chmod`
//! take effect at once.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::error::KnownKeysError;
use super::list::{KnownKey, KnownKeyList};
use super::{KNOWN_CLIENT_KEYS, KNOWN_SERVER_KEYS, mark};
use crate::certificate;
use crate::public_key::PublicKey;

/// More than a hundred thousand keys. What is larger is no list of keys, and is not read into memory.
pub(super) const SIZE_LIMIT: u64 = 16 << 20;
/// A file that changed less than this before it was read may change again without a sign of it:
/// clocks of file systems tick slowly.
const SETTLED: Duration = Duration::from_secs(2);

/// Whether unknown keys are recorded or refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KnownKeysPolicy {
    /// The file's mode decides, anew for each connection: it is locked if nobody may write to it, and
    /// learning otherwise (docs/wire I42).
    #[default]
    FileMode,
    /// Unknown keys are recorded, whatever the mode.
    Learn,
    /// Unknown keys are refused, whatever the mode.
    Locked,
}

/// A known-keys file that decides, beside the authority, who is trusted.
///
/// Cheap to clone; clones are the same file. It is read at every handshake if it has changed, and
/// written when a key is met for the first time: under a lock that other processes of towline
/// respect, beside and renamed, synced, with its mode kept, the version before it in `FILE.old`.
/// Everything here blocks on the disk: call it off a runtime's threads.
///
/// ```
/// use towline_identity::{KnownKey, KnownKeys, PublicKey, Trust};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let file = dir.path().join("known_client_keys");
/// KnownKeys::unlock(&file)?; // makes it: it learns
/// KnownKeys::add(&file, KnownKey::new(PublicKey::from([7; 32]), "-", "ada@example.com"))?;
/// KnownKeys::lock(&file)?; // from now on ada and nobody else
/// let trust = Trust::known_keys(KnownKeys::open(&file)?);
/// # let _ = trust;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct KnownKeys {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) policy: KnownKeysPolicy,
    /// Whether the file was there once. Until then its absence means that there is no list.
    expected: AtomicBool,
    cache: Mutex<Option<Cached>>,
    /// Keys that wait to be recorded together.
    pub(super) waiting: Mutex<Vec<KnownKey>>,
    /// Held by the one thread of this process that records.
    pub(super) recording: Mutex<()>,
    /// How often another process kept one of them from it.
    pub(super) kept_waiting: AtomicU64,
    warn_on_address_reuse: AtomicBool,
    /// Nothing is written, not even a mark.
    inspecting: bool,
}

struct Cached {
    stamp: Stamp,
    snapshot: Snapshot,
}

/// What a file's content was read under.
#[derive(PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    size: u64,
    /// Device, file, mode, change of any of them.
    #[cfg(unix)]
    inode: (u64, u64, u32, i64, i64),
}

/// The list as it stood at a moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// `None`: there is no list, and never was.
    list: Option<Arc<KnownKeyList>>,
    locked: bool,
}

/// What a snapshot says about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// There is no list.
    Unlisted,
    /// It is there, and was first met at this address.
    Known(String),
    /// It is not, and may be recorded.
    New,
    /// It is not, and is refused.
    Refused,
}

impl Snapshot {
    pub(crate) fn look_up(&self, key: &PublicKey) -> Lookup {
        let Some(list) = &self.list else {
            return Lookup::Unlisted;
        };
        match list.find(key) {
            Some(known) => Lookup::Known(known.address.clone()),
            None if self.locked => Lookup::Refused,
            None => Lookup::New,
        }
    }

    /// Another key that was met first where this one comes from.
    pub(crate) fn other_at(&self, key: &KnownKey) -> Option<&KnownKey> {
        self.list.as_ref()?.other_at(key)
    }
}

impl KnownKeys {
    /// Opens a file whose mode says whether it learns. A symbolic link is followed, and stays a link
    /// when the file is updated.
    ///
    /// # Errors
    ///
    /// [`KnownKeysError`]: no such file, not a file, unreadable, a line that cannot be understood, or
    /// locked and empty. After this any of them refuses everybody until it is mended, a file that is
    /// gone too. Once a list was seen to be locked, `FILE.locked` beside it says so, and a file that is
    /// gone is an error at the next start as well (docs/wire I43).
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, KnownKeysError> {
        Self::open_with(path, KnownKeysPolicy::FileMode)
    }

    /// [`open`](Self::open), with a policy of the caller's.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with(
        path: impl Into<PathBuf>,
        policy: KnownKeysPolicy,
    ) -> Result<Self, KnownKeysError> {
        Self::unchecked(path.into(), policy).checked()
    }

    fn checked(self) -> Result<Self, KnownKeysError> {
        let snapshot = self.snapshot()?;
        if snapshot.locked && snapshot.list.is_none_or(|list| list.is_empty()) {
            return Err(KnownKeysError::LockedEmpty {
                path: self.path().to_owned(),
            });
        }
        Ok(self)
    }

    /// A file to look at, with nothing checked: [`list`](Self::list) and
    /// [`is_locked`](Self::is_locked) then say what is wrong with it, if anything is.
    pub fn open_for_inspection(path: impl Into<PathBuf>) -> Self {
        Self::made(path.into(), KnownKeysPolicy::FileMode, true)
    }

    /// Whether to warn, in the log and in refusals, about an unknown key that comes from an address from
    /// which another key of the list came: a key that was renewed, or somebody in between. Off unless
    /// told otherwise: many clients may share an address. For servers that are dialled it is worth it.
    #[must_use]
    pub fn warn_on_address_reuse(self, warn: bool) -> Self {
        self.shared
            .warn_on_address_reuse
            .store(warn, Ordering::Relaxed);
        self
    }

    pub(crate) fn warns_on_address_reuse(&self) -> bool {
        self.shared.warn_on_address_reuse.load(Ordering::Relaxed)
    }

    /// `known_client_keys` in the current directory, where servers look: asked as soon as it is there,
    /// also when it appears later. Until then the authority alone decides (docs/wire I31).
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), except that no file is no error.
    pub fn for_server() -> Result<Self, KnownKeysError> {
        Self::if_there(Path::new(KNOWN_CLIENT_KEYS))
    }

    /// `known_server_keys` in the current directory, where clients look; as
    /// [`for_server`](Self::for_server).
    ///
    /// # Errors
    ///
    /// As [`for_server`](Self::for_server).
    pub fn for_client() -> Result<Self, KnownKeysError> {
        Self::if_there(Path::new(KNOWN_SERVER_KEYS))
    }

    /// A file that is asked as soon as it is there, as [`for_server`](Self::for_server). Once it was
    /// there, its absence refuses everybody.
    ///
    /// # Errors
    ///
    /// As [`for_server`](Self::for_server).
    pub fn if_there(path: impl Into<PathBuf>) -> Result<Self, KnownKeysError> {
        let known = Self::unchecked(path.into(), KnownKeysPolicy::FileMode);
        known.shared.expected.store(false, Ordering::Relaxed);
        known.checked()
    }

    pub(super) fn unchecked(path: PathBuf, policy: KnownKeysPolicy) -> Self {
        Self::made(path, policy, false)
    }

    fn made(path: PathBuf, policy: KnownKeysPolicy, inspecting: bool) -> Self {
        Self {
            shared: Arc::new(Shared {
                path,
                policy,
                expected: AtomicBool::new(true),
                cache: Mutex::default(),
                waiting: Mutex::default(),
                recording: Mutex::default(),
                kept_waiting: AtomicU64::new(0),
                warn_on_address_reuse: AtomicBool::new(false),
                inspecting,
            }),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// The list as it stands in the file now.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), except that a locked and empty file is a list.
    pub fn list(&self) -> Result<KnownKeyList, KnownKeysError> {
        let list = self.snapshot()?.list;
        Ok(list.map_or_else(KnownKeyList::default, Arc::unwrap_or_clone))
    }

    /// Whether unknown keys are refused at the moment.
    ///
    /// # Errors
    ///
    /// As [`list`](Self::list).
    pub fn is_locked(&self) -> Result<bool, KnownKeysError> {
        Ok(self.snapshot()?.locked)
    }

    /// The list and its policy as of now; read only if the file has changed.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, KnownKeysError> {
        let found = match self.metadata() {
            Err(KnownKeysError::NotFound { .. }) if self.was_locked() => {
                return Err(KnownKeysError::LockedGone {
                    path: self.path().to_owned(),
                });
            }
            Err(KnownKeysError::NotFound { .. }) if self.is_absent() => {
                return Ok(Snapshot {
                    list: None,
                    locked: false,
                });
            }
            found => found?,
        };
        self.shared.expected.store(true, Ordering::Relaxed);
        let mut cache = lock(&self.shared.cache);
        if let Some(cached) = &*cache
            && cached.stamp == Stamp::of(&found)
        {
            return Ok(cached.snapshot.clone());
        }
        *cache = None;
        let failed = |source| self.read_failed(source);
        let mut file = File::open(self.path()).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let list = Arc::new(self.parse(&self.read(&mut file)?)?);
        let snapshot = Snapshot {
            list: Some(list),
            locked: self.locked_by(&metadata),
        };
        if snapshot.locked {
            self.mark();
        }
        let stamp = Stamp::of(&metadata);
        if stamp.is_settled() {
            *cache = Some(Cached {
                stamp,
                snapshot: snapshot.clone(),
            });
        }
        Ok(snapshot)
    }

    /// Whether the file's mode decides, and it said that the list was locked when it was last seen.
    pub(super) fn was_locked(&self) -> bool {
        self.shared.policy == KnownKeysPolicy::FileMode && mark::is_set(self.path())
    }

    /// Notes beside the file that it is locked, if that can be done here: whoever locked it by `chmod`
    /// left no mark.
    pub(super) fn mark(&self) {
        if self.shared.policy == KnownKeysPolicy::FileMode
            && !self.shared.inspecting
            && let Err(error) = mark::set(self.path())
        {
            tracing::warn!(
                path = %self.path().display(), %error,
                "the lock cannot be marked beside the file: should the file get lost, it is undone"
            );
        }
    }

    /// Whether there is no list because there never was one. A dangling link is a mistake, not an
    /// absence: the link itself is looked for.
    fn is_absent(&self) -> bool {
        !self.shared.expected.load(Ordering::Relaxed)
            && fs::symlink_metadata(self.path())
                .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// Of the file behind every link; a directory or a pipe is an error before it is opened.
    pub(super) fn metadata(&self) -> Result<Metadata, KnownKeysError> {
        let metadata = fs::metadata(self.path()).map_err(|source| self.read_failed(source))?;
        if metadata.is_file() {
            Ok(metadata)
        } else {
            Err(KnownKeysError::NotAFile {
                path: self.path().to_owned(),
            })
        }
    }

    pub(super) fn read(&self, file: &mut File) -> Result<Vec<u8>, KnownKeysError> {
        let mut text = Vec::new();
        file.take(SIZE_LIMIT + 1)
            .read_to_end(&mut text)
            .map_err(|source| self.read_failed(source))?;
        self.check_size(&text)?;
        Ok(text)
    }

    pub(super) fn check_size(&self, text: &[u8]) -> Result<(), KnownKeysError> {
        if text.len() as u64 > SIZE_LIMIT {
            return Err(KnownKeysError::TooLarge {
                path: self.path().to_owned(),
                limit: SIZE_LIMIT,
            });
        }
        Ok(())
    }

    pub(super) fn parse(&self, text: &[u8]) -> Result<KnownKeyList, KnownKeysError> {
        KnownKeyList::parse(text).map_err(|problem| KnownKeysError::Malformed {
            path: self.path().to_owned(),
            problem,
        })
    }

    /// docs/wire I42: bits alone count, so that root is held by them too.
    pub(super) fn locked_by(&self, metadata: &Metadata) -> bool {
        match self.shared.policy {
            KnownKeysPolicy::FileMode => metadata.permissions().readonly(),
            KnownKeysPolicy::Learn => false,
            KnownKeysPolicy::Locked => true,
        }
    }

    fn read_failed(&self, source: io::Error) -> KnownKeysError {
        let path = self.path().to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => KnownKeysError::NotFound { path },
            _ => KnownKeysError::Read { path, source },
        }
    }
}

impl fmt::Debug for KnownKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownKeys")
            .field("path", &self.shared.path)
            .field("policy", &self.shared.policy)
            .finish_non_exhaustive()
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            modified: metadata.modified().ok(),
            size: metadata.len(),
            #[cfg(unix)]
            inode: {
                use std::os::unix::fs::MetadataExt;
                (
                    metadata.dev(),
                    metadata.ino(),
                    metadata.mode(),
                    metadata.ctime(),
                    metadata.ctime_nsec(),
                )
            },
        }
    }

    fn is_settled(&self) -> bool {
        self.modified.is_some_and(|modified| {
            certificate::now()
                .duration_since(modified)
                .is_ok_and(|age| age > SETTLED)
        })
    }
}

/// What it guards is whole between any two statements that could panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
