//! Renewing certificates and authorities in place, so that old and new overlap (docs/wire I36).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::authority::{Authority, CERTIFICATE_FILE, KEY_FILE, LeafOptions};
use crate::certificate;
use crate::changes::{Changes, old_versions};
use crate::error::{IssueError, LoadError, SaveError};
use crate::public_key::PublicKey;
use crate::save::{Roots, SaveOptions};
use crate::tls::{Purpose, vouched};

/// Why something could not be renewed. Nothing was changed then, unless the system failed while
/// files were being replaced; `FILE.old` has what was there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenewError {
    /// What is there cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The new certificate cannot be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The files cannot be written.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// Certificates that are good now were signed by an authority that would not be trusted any more.
    #[error(
        "nobody would believe these certificates any more: {}; renew them first with `tow keys renew NAME`, \
         or say --force",
        listed(files)
    )]
    Orphans {
        /// Their files, sorted.
        files: Vec<PathBuf>,
    },
}

/// What was renewed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Renewed {
    /// The key that the new certificate is for.
    pub public_key: PublicKey,
    /// Its e-mail addresses.
    pub emails: Vec<String>,
    /// Until when it is valid.
    pub not_after: SystemTime,
    /// Until when the one before it is valid: the end of the overlap.
    pub overlap_until: SystemTime,
    /// Where the one before it is kept.
    pub kept: PathBuf,
}

/// Replaces the certificate `NAME.crt` in `dir` by a new one for the same key.
///
/// The key file is neither needed nor touched, so whoever knows this identity by its key goes on
/// knowing it, and a protected key needs no passphrase. The old certificate stays valid until its end
/// and is kept as `NAME.crt.old`, or as `NAME.crt.old.2` and so on. The authorities in `ca.crt` are
/// brought up to date. A file that is a link stays one.
///
/// # Errors
///
/// [`RenewError`]: no certificate of that name, another authority's `ca.crt`, options out of range.
pub fn renew_certificate(
    dir: impl AsRef<Path>,
    name: &str,
    authority: &Authority,
    options: &LeafOptions,
) -> Result<Renewed, RenewError> {
    let dir = dir.as_ref();
    let (path, roots_path) = (dir.join(format!("{name}.crt")), dir.join(CERTIFICATE_FILE));
    // `load` returns at least one; only the first is the leaf (docs/wire I14).
    let old = certificate::load(&path)?.swap_remove(0);
    let before = certificate::facts(&old, &path)?;
    let roots = Roots::plan(&roots_path, &authority.trusted(), &[], false)?;
    let new = authority.reissue(&old, options)?;
    let facts = certificate::facts(&new, &path)?;
    let mut changes = Changes::default();
    let kept = changes.keep(&path)?.unwrap_or_else(|| path.clone());
    roots.stage(&roots_path, &mut changes)?;
    changes.replace(&path, certificate::to_pem(&[new]).as_bytes())?;
    changes.commit()?;
    Ok(Renewed {
        public_key: facts.public_key,
        emails: facts.emails,
        not_after: facts.not_after,
        overlap_until: before.not_after,
        kept,
    })
}

/// Replaces the key `NAME.key` in `dir` and its certificate by new ones, with the same e-mail
/// addresses unless the options name one.
///
/// The old pair stays valid until its end and is kept as `NAME.key.old` and `NAME.crt.old`. Whoever
/// knows this identity by its key has to learn the new one.
///
/// # Errors
///
/// [`RenewError`], as [`renew_certificate`].
pub fn renew_key(
    dir: impl AsRef<Path>,
    name: &str,
    authority: &Authority,
    options: LeafOptions,
    save: SaveOptions,
) -> Result<Renewed, RenewError> {
    let dir = dir.as_ref();
    let (key_path, path) = (
        dir.join(format!("{name}.key")),
        dir.join(format!("{name}.crt")),
    );
    let old = certificate::load(&path)?.swap_remove(0);
    let before = certificate::facts(&old, &path)?;
    let roots_path = dir.join(CERTIFICATE_FILE);
    let roots = Roots::plan(&roots_path, &authority.trusted(), &[], false)?;
    let options = match before.emails.into_iter().next() {
        Some(email) if !options.has_email() => options.email(email),
        _ => options,
    };
    let identity = authority.issue(&options)?;
    let sealed = identity.sealed(&key_path, save.protection.as_ref())?;
    let mut changes = Changes::default();
    changes.keep(&key_path)?;
    let kept = changes.keep(&path)?.unwrap_or_else(|| path.clone());
    roots.stage(&roots_path, &mut changes)?;
    changes.replace(&key_path, &sealed)?;
    let new = identity.certificate_der().to_vec();
    changes.replace(&path, certificate::to_pem(&[new]).as_bytes())?;
    changes.commit()?;
    Ok(Renewed {
        public_key: identity.public_key(),
        emails: identity.emails().to_vec(),
        not_after: identity.not_after(),
        overlap_until: before.not_after,
        kept,
    })
}

impl Authority {
    /// Writes this authority over the one in a private directory, which it
    /// [renews](Self::renew) or [succeeds](Self::succeed), and brings `ca.crt` of directories of
    /// identities up to date: all of it, or nothing. Returns those of the directories that were changed.
    ///
    /// What is replaced is kept beside it as `FILE.old`, `FILE.old.2` and so on. In the directories of
    /// identities authorities that were never this one's stay trusted; its own that are older and that
    /// it does not trust any more are taken out.
    ///
    /// # Errors
    ///
    /// [`RenewError::Orphans`] if certificates in the directories would become worthless by it and the
    /// options do not say `overwrite`; [`SaveError::OtherAuthority`] for a directory of another
    /// authority; and whatever keeps one of the files from being written. Nothing was changed then.
    pub fn save_over(
        &self,
        private_dir: impl AsRef<Path>,
        certs_dirs: &[PathBuf],
        options: &SaveOptions,
    ) -> Result<Vec<PathBuf>, RenewError> {
        let dir = private_dir.as_ref();
        let (key_path, path) = (dir.join(KEY_FILE), dir.join(CERTIFICATE_FILE));
        let before = certificate::load(&path)?.swap_remove(0);
        let same_key = certificate::facts(&before, &path)?.public_key == self.public_key();
        let (ours, history) = (self.trusted(), history(&path)?);
        let mut changes = Changes::default();
        changes.keep(&path)?;
        if !same_key {
            changes.keep(&key_path)?;
            let key = self.sealed(&key_path, options.protection.as_ref())?;
            changes.replace(&key_path, &key)?;
        }
        changes.replace(&path, certificate::to_pem(&ours).as_bytes())?;
        let (mut published, mut orphans) = (Vec::new(), BTreeSet::new());
        // What the files will hold; one file may have several names, and be shared by directories.
        let mut planned: BTreeMap<_, _> = fs::canonicalize(&path)
            .map(|path| (path, Some(ours.clone())))
            .into_iter()
            .collect();
        for dir in certs_dirs {
            let path = dir.join(CERTIFICATE_FILE);
            let real = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
            if let Some(roots) = planned.get(&real) {
                if let Some(roots) = roots {
                    orphans.extend(orphans_of(dir, roots)?);
                }
                continue;
            }
            let plan = Roots::plan(&path, &ours, &history, false)?;
            if let Some(roots) = plan.new_content() {
                orphans.extend(orphans_of(dir, roots)?);
                published.push(dir.clone());
            }
            plan.stage(&path, &mut changes)?;
            planned.insert(real, plan.new_content().map(<[_]>::to_vec));
        }
        if !orphans.is_empty() && !options.overwrite {
            let files = orphans.into_iter().collect();
            return Err(RenewError::Orphans { files });
        }
        changes.commit()?;
        Ok(published)
    }

    /// Brings the trusted authorities, `ca.crt`, of a directory of identities up to date: this one, and
    /// those that it trusts, are added, and replace older certificates for their keys. What else is
    /// there stays; the file as it was is kept as `ca.crt.old`. Returns whether anything changed.
    ///
    /// # Errors
    ///
    /// [`SaveError::OtherAuthority`] if the directory belongs to another authority.
    pub fn publish(&self, certs_dir: impl AsRef<Path>) -> Result<bool, SaveError> {
        let path = certs_dir.as_ref().join(CERTIFICATE_FILE);
        let plan = Roots::plan(&path, &self.trusted(), &[], false)?;
        let mut changes = Changes::default();
        plan.stage(&path, &mut changes)?;
        changes.commit()?;
        Ok(plan != Roots::Keep)
    }
}

/// Every certificate that an authority has had or trusted, as far as its directory knows.
fn history(path: &Path) -> Result<Vec<Vec<u8>>, LoadError> {
    let mut all = certificate::load(path)?;
    for old in old_versions(path).take_while(|old| old.exists()) {
        // One that is damaged tells nothing; nobody depends on it.
        all.extend(certificate::load(&old).unwrap_or_default());
    }
    Ok(all)
}

/// The certificates of a directory that its authorities vouch for now and these would not.
fn orphans_of(dir: &Path, authorities: &[Vec<u8>]) -> Result<Vec<PathBuf>, LoadError> {
    let path = dir.join(CERTIFICATE_FILE);
    let now = certificate::now();
    let Ok(present) = certificate::load(&path) else {
        return Ok(Vec::new());
    };
    let failed = |source| LoadError::Read {
        path: dir.to_owned(),
        source,
    };
    let mut orphans = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file == path || file.extension().is_none_or(|extension| extension != "crt") {
            continue;
        }
        // What is no certificate is nobody's.
        let Ok(mut leaf) = certificate::load(&file) else {
            continue;
        };
        let leaf = leaf.swap_remove(0);
        let good = |roots| vouched(&leaf, roots, now, Purpose::Either).is_ok();
        if good(&present[..]) && !good(authorities) {
            orphans.push(file);
        }
    }
    Ok(orphans)
}

/// For an error.
fn listed(files: &[PathBuf]) -> String {
    let names: Vec<_> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    names.join(", ")
}
