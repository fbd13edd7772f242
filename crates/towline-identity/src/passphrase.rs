//! Passphrases, and where they come from.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::LoadError;
use crate::files;

/// The longest passphrase that is taken from a file: nobody types more.
const MAX_BYTES: usize = 4096;

/// A passphrase: its bytes as typed (docs/wire I30). Erased when dropped, never in `Debug` output.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// A passphrase of these bytes, usually UTF-8. Nothing is added or normalised.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The content of a file up to its first line break, at most 4096 bytes. An empty file is the
    /// empty passphrase.
    ///
    /// # Errors
    ///
    /// [`PassphraseError`]: the file cannot be read, is too long, or others may read it.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, PassphraseError> {
        let path = path.as_ref();
        let bytes = files::read_secret(path).map_err(|error| match error {
            LoadError::Permissions { path, mode } => PassphraseError::Permissions { path, mode },
            LoadError::Read { path, source } => PassphraseError::Read { path, source },
            _ => PassphraseError::TooLong {
                path: path.to_owned(),
            },
        })?;
        let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or(&[]);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > MAX_BYTES {
            return Err(PassphraseError::TooLong {
                path: path.to_owned(),
            });
        }
        Ok(Self::new(line))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it has no bytes at all. Such keys exist (docs/wire I30), but are no longer made.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passphrase").finish_non_exhaustive()
    }
}

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// There is no source.
    #[error("none was given")]
    None,
    /// The person or program that was asked did not give one.
    #[error("{0}")]
    NotGiven(String),
    /// The file could not be read.
    #[error("cannot read the passphrase from {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Other users may read the file.
    #[error("the passphrase in {} may be read by other users (mode {mode:03o}): run `chmod 600 {}`", path.display(), path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Nobody types that much.
    #[error("the first line of {} is too long for a passphrase (more than 4096 bytes)", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
}

/// Something that can be asked for the passphrase of a key file: a person at a terminal, a file, a
/// vault. Asked at most once for each protected file, and not for plain ones.
///
/// Closures implement it, a [`Passphrase`] gives itself for every file, and [`NoPassphrase`] refuses.
pub trait PassphraseSource {
    /// The passphrase of this key file. May block, for as long as a person takes.
    ///
    /// # Errors
    ///
    /// [`PassphraseError`].
    fn passphrase(&mut self, key_file: &Path) -> Result<Passphrase, PassphraseError>;
}

/// The source where there is none: plain keys load, protected ones are an error that says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPassphrase;

impl PassphraseSource for NoPassphrase {
    fn passphrase(&mut self, _key_file: &Path) -> Result<Passphrase, PassphraseError> {
        Err(PassphraseError::None)
    }
}

impl PassphraseSource for Passphrase {
    fn passphrase(&mut self, _key_file: &Path) -> Result<Passphrase, PassphraseError> {
        Ok(self.clone())
    }
}

impl<F> PassphraseSource for F
where
    F: FnMut(&Path) -> Result<Passphrase, PassphraseError>,
{
    fn passphrase(&mut self, key_file: &Path) -> Result<Passphrase, PassphraseError> {
        self(key_file)
    }
}
