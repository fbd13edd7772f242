//! How a server gives and takes files, as its caller says it.

use std::path::PathBuf;

use towline_identity::{Authorisation, Peer, Verdict};

use crate::fs::DiskCache;
use crate::transfer::incoming::Durability;
use crate::transfer::root::{self, NameError};
use crate::transfer::temporary;

/// How a server gives and takes files.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    allow_write: bool,
    suffix: Option<String>,
    durability: Durability,
    max_bytes: u64,
    readers: Authorisation,
    writers: Authorisation,
    cache: Option<PathBuf>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            allow_write: false,
            suffix: None,
            durability: Durability::default(),
            max_bytes: u64::MAX,
            readers: Authorisation::default(),
            writers: Authorisation::default(),
            cache: None,
        }
    }
}

impl ServeOptions {
    /// Whether clients may store files, also over existing ones (docs/wire T25). Off by default.
    #[must_use]
    pub fn allow_write(mut self, allow: bool) -> Self {
        self.allow_write = allow;
        self
    }

    /// Who may fetch files: everybody who is connected, unless told otherwise (docs/wire T32).
    #[must_use]
    pub fn readers(mut self, readers: Authorisation) -> Self {
        self.readers = readers;
        self
    }

    /// Who may store files, if [writing is allowed](Self::allow_write): everybody who is connected,
    /// unless told otherwise (docs/wire T32).
    #[must_use]
    pub fn writers(mut self, writers: Authorisation) -> Self {
        self.writers = writers;
        self
    }

    /// What is appended, behind a dot, to the name of every file stored (docs/wire T21); `servergot`
    /// is the original's. By default nothing.
    #[must_use]
    pub fn suffix(mut self, suffix: Option<String>) -> Self {
        self.suffix = suffix;
        self
    }

    /// When a file counts as stored; [`Durability::Fsync`] by default.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Bytes that one file may have. Not limited by default: a client that may write can fill the
    /// disk.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Keeps manifests of synced files of 1 MiB and more in this directory, so that those that have
    /// not changed are not read again only to be compared. By default none are kept.
    #[must_use]
    pub fn cache_dir(mut self, dir: Option<PathBuf>) -> Self {
        self.cache = dir;
        self
    }

    pub(crate) fn cache(&self) -> Option<DiskCache> {
        self.cache.clone().map(DiskCache::new)
    }

    pub(crate) fn may_write(&self) -> bool {
        self.allow_write
    }

    pub(crate) fn has_suffix(&self) -> bool {
        self.appended().is_some_and(|suffix| !suffix.is_empty())
    }

    /// What stored files are called besides.
    pub(crate) fn appended(&self) -> Option<&str> {
        self.suffix.as_deref()
    }

    pub(crate) fn check_writer(&self, peer: &Peer) -> Verdict {
        self.writers.check(peer)
    }

    pub(crate) fn check_reader(&self, peer: &Peer) -> Verdict {
        self.readers.check(peer)
    }

    pub(crate) fn stored_how(&self) -> Durability {
        self.durability
    }

    /// Bytes that one file may have.
    pub(crate) fn largest(&self) -> u64 {
        self.max_bytes
    }

    /// Checks the suffix: with some, no file could ever be stored, or stored files would look like
    /// temporary ones. [`serve_files`](super::serve_files) does not; its server then answers every upload with an error.
    ///
    /// # Errors
    ///
    /// [`ServeOptionsError`].
    pub fn validate(&self) -> Result<(), ServeOptionsError> {
        let Some(suffix) = &self.suffix else {
            return Ok(());
        };
        if temporary::ends_alike(suffix) {
            return Err(ServeOptionsError::TemporarySuffix {
                suffix: suffix.clone(),
            });
        }
        // The shortest name that a file can have.
        root::check_name(&format!("x.{suffix}"))
            .and_then(|()| root::check_name(suffix))
            .map_err(|why| ServeOptionsError::Suffix { why })
    }
}

/// Settings that cannot be served with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServeOptionsError {
    /// No file name can end with the suffix.
    #[error("the suffix of stored files cannot be part of a file name: {why}")]
    Suffix {
        /// Why not.
        why: NameError,
    },
    /// Stored files would look like those that are still being received.
    #[error("stored files must not end with `.{suffix}`: so end files that are being received")]
    TemporarySuffix {
        /// What was set.
        suffix: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_that_cannot_work_are_named() {
        let check = |suffix: &str| {
            ServeOptions::default()
                .suffix(Some(suffix.to_owned()))
                .validate()
        };
        for good in ["servergot", "a.b", ".", "tow-parts"] {
            let result = check(good);
            assert_eq!(result.is_ok(), good != ".", "{good}: {result:?}");
        }
        for bad in ["", "a/b", "/", "..", "a\0b", &"s".repeat(254)] {
            assert!(
                matches!(check(bad), Err(ServeOptionsError::Suffix { .. })),
                "{bad}"
            );
        }
        for bad in ["tow-part", "x.tow-part"] {
            let error = check(bad).unwrap_err();
            assert!(error.to_string().contains(bad), "{error}");
        }
        assert_eq!(ServeOptions::default().validate(), Ok(()));
    }
}
