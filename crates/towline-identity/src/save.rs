//! How keys are written, and what happens to files that are there already.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::certificate::{self, Facts};
use crate::error::SaveError;
use crate::files;
use crate::protected::Protection;

/// How keys are written. The default overwrites nothing and protects nothing: file modes guard the
/// key.
#[derive(Clone, Debug, Default)]
pub struct SaveOptions {
    pub(crate) overwrite: bool,
    pub(crate) protection: Option<Protection>,
}

impl SaveOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether files that are there already are replaced. A key that is replaced is lost.
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Protects the private key by a passphrase. Every program that loads it has to know it.
    pub fn protection(mut self, protection: Option<Protection>) -> Self {
        self.protection = protection;
        self
    }
}

/// What to do about the file of trusted authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Roots {
    /// It says what is needed, or more.
    Keep,
    /// There is none.
    Create,
    /// It is an older one of the same authorities, or may be replaced.
    Replace,
}

impl Roots {
    /// Compares the file that is there with the authorities that shall be trusted.
    ///
    /// A file that trusts others besides stays as it is: somebody joined two authorities.
    pub(crate) fn plan(path: &Path, ours: &[Vec<u8>], overwrite: bool) -> Result<Self, SaveError> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::Create),
            _ => {}
        }
        let found = certificate::load(path).unwrap_or_default();
        let key = |der: &Vec<u8>| Facts::read(der).ok().map(|facts| facts.public_key);
        let our_keys: Vec<_> = ours.iter().filter_map(key).collect();
        let is_ours = |der| key(der).is_some_and(|key| our_keys.contains(&key));
        if ours.iter().all(|der| found.contains(der)) {
            Ok(Self::Keep)
        } else if overwrite || (!found.is_empty() && found.iter().all(is_ours)) {
            Ok(Self::Replace)
        } else {
            Err(SaveError::OtherAuthority {
                path: path.to_owned(),
            })
        }
    }

    /// Carries the plan out.
    pub(crate) fn write(self, path: &Path, ours: &[Vec<u8>]) -> Result<(), SaveError> {
        let pem = certificate::to_pem(ours);
        match self {
            Self::Keep => Ok(()),
            Self::Replace => files::write(path, pem.as_bytes(), true),
            Self::Create => match files::write(path, pem.as_bytes(), false) {
                // Somebody else wrote it meanwhile: fine if it says the same.
                Err(SaveError::Exists { .. }) if Self::plan(path, ours, false)? == Self::Keep => {
                    Ok(())
                }
                result => result,
            },
        }
    }
}

/// Keeps a copy of a file, as `FILE.old`, before it is replaced; there may be none.
pub(crate) fn keep_old(path: &Path) -> Result<Option<PathBuf>, SaveError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => zeroize::Zeroizing::new(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(SaveError::Write {
                path: path.to_owned(),
                source,
            });
        }
    };
    let mut name = path.as_os_str().to_owned();
    name.push(".old");
    let old = PathBuf::from(name);
    files::write(&old, &bytes, true)?;
    Ok(Some(old))
}
