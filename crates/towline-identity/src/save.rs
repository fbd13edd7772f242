//! How keys are written, and what happens to files that are there already.

use std::fs;
use std::io;
use std::path::Path;

use crate::certificate::{self, Facts};
use crate::changes::Changes;
use crate::error::SaveError;
use crate::protected::Protection;
use crate::public_key::PublicKey;

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

    /// Whether files that are there already are replaced. A key that is replaced is lost. The file of
    /// trusted authorities is not: ours join those that are there, and what it was is kept beside it.
    ///
    /// With [`Authority::save_over`](crate::Authority::save_over): whether certificates may become
    /// worthless.
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

/// What to do about a file of trusted authorities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Roots {
    /// It says what is needed, or more.
    Keep,
    /// There is none.
    Create(Vec<Vec<u8>>),
    /// It gets these, and what it was is kept.
    Replace(Vec<Vec<u8>>),
}

impl Roots {
    /// Compares the file that is there with the authorities that shall be trusted, and with those that
    /// shall not be any longer.
    ///
    /// Authorities that are neither stay trusted: somebody joined two. A file that has foreign ones
    /// alone is touched with `force` only, and one that cannot be used is replaced by it.
    pub(crate) fn plan(
        path: &Path,
        ours: &[Vec<u8>],
        retired: &[Vec<u8>],
        force: bool,
    ) -> Result<Self, SaveError> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::Create(ours.to_vec()));
            }
            _ => {}
        }
        let found = match certificate::load_trusted(path) {
            Ok(found) => found,
            Err(_) if force => return Ok(Self::Replace(ours.to_vec())),
            Err(error) => return Err(SaveError::Authorities(error)),
        };
        let is_retired = |der: &Vec<u8>| retired.contains(der) && !ours.contains(der);
        if ours.iter().all(|der| found.contains(der)) && !found.iter().any(is_retired) {
            return Ok(Self::Keep);
        }
        let our_names: Vec<_> = ours.iter().filter_map(|der| name(der)).collect();
        let is_our_key = |der: &Vec<u8>| {
            name(der).is_some_and(|(key, _)| our_names.iter().any(|(our_key, _)| *our_key == key))
        };
        let is_related = |der: &Vec<u8>| is_our_key(der) || retired.contains(der);
        if !found.iter().any(is_related) {
            if !force {
                return Err(SaveError::OtherAuthority {
                    path: path.to_owned(),
                });
            }
            // Behind them: the file may be a link to the very one whose first certificate says whose
            // authority's key is beside it.
            return Ok(Self::Replace(
                found.into_iter().chain(ours.to_vec()).collect(),
            ));
        }
        // The same key under the same name is an older certificate of one that is trusted anyway.
        let is_replaced =
            |der: &Vec<u8>| ours.contains(der) || name(der).is_some_and(|n| our_names.contains(&n));
        let others = found
            .into_iter()
            .filter(|der| !is_retired(der) && !is_replaced(der));
        Ok(Self::Replace(ours.iter().cloned().chain(others).collect()))
    }

    /// The authorities that the file will hold; `None` if it stays as it is.
    pub(crate) fn new_content(&self) -> Option<&[Vec<u8>]> {
        match self {
            Self::Keep => None,
            Self::Create(roots) | Self::Replace(roots) => Some(roots),
        }
    }

    /// Makes the plan part of what will change.
    pub(crate) fn stage(&self, path: &Path, changes: &mut Changes) -> Result<(), SaveError> {
        match self {
            Self::Keep => Ok(()),
            Self::Create(roots) => changes.share(path, certificate::to_pem(roots).as_bytes()),
            Self::Replace(roots) => {
                changes.keep(path)?;
                changes.replace(path, certificate::to_pem(roots).as_bytes())
            }
        }
    }
}

/// What tells authorities apart to those who look for a leaf's: key and subject.
fn name(der: &[u8]) -> Option<(PublicKey, Vec<u8>)> {
    let key = Facts::read(der).ok()?.public_key;
    Some((key, certificate::subject(der)?))
}
