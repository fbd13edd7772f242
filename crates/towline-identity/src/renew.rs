//! Renewing certificates and authorities in place, so that old and new overlap (docs/wire I36).

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::authority::{Authority, CERTIFICATE_FILE, LeafOptions};
use crate::certificate;
use crate::error::{IssueError, LoadError, SaveError};
use crate::files;
use crate::public_key::PublicKey;
use crate::save::{Roots, SaveOptions, keep_old};

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
/// and is kept as `NAME.crt.old`. The authorities in `ca.crt` are brought up to date.
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
    let roots = Roots::plan(&roots_path, &authority.trusted(), false)?;
    let new = authority.reissue(&old, options)?;
    let facts = certificate::facts(&new, &path)?;
    let kept = keep_old(&path)?.unwrap_or_else(|| path.clone());
    roots.write(&roots_path, &authority.trusted())?;
    files::write(&path, certificate::to_pem(&[new]).as_bytes(), true)?;
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
    Roots::plan(&dir.join(CERTIFICATE_FILE), &authority.trusted(), false)?;
    let options = match before.emails.into_iter().next() {
        Some(email) if !options.has_email() => options.email(email),
        _ => options,
    };
    let identity = authority.issue(&options)?;
    let sealed = identity.sealed(&key_path, save.protection.as_ref())?;
    keep_old(&key_path)?;
    let kept = keep_old(&path)?.unwrap_or_else(|| path.clone());
    identity.write(dir, name, &sealed, true)?;
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
    /// [renews](Self::renew) or [succeeds](Self::succeed). `ca.crt` and, if the key changed, `ca.key`
    /// are kept as `ca.crt.old` and `ca.key.old`.
    ///
    /// # Errors
    ///
    /// [`RenewError::Save`].
    pub fn save_over(
        &self,
        private_dir: impl AsRef<Path>,
        options: &SaveOptions,
    ) -> Result<(), RenewError> {
        let dir = private_dir.as_ref();
        let path = dir.join(CERTIFICATE_FILE);
        let before = certificate::load(&path)?.swap_remove(0);
        let same_key = certificate::facts(&before, &path)?.public_key == self.public_key();
        keep_old(&path)?;
        if same_key {
            let pem = certificate::to_pem(&self.trusted());
            files::write(&path, pem.as_bytes(), true)?;
        } else {
            keep_old(&dir.join(crate::authority::KEY_FILE))?;
            self.save_with(dir, &options.clone().overwrite(true))?;
        }
        Ok(())
    }

    /// Brings the trusted authorities, `ca.crt`, of a directory of identities up to date: what is
    /// there is replaced if it was this authority's or a predecessor's. Returns whether anything
    /// changed.
    ///
    /// With `exactly` a file that trusts more than this authority does is replaced as well, which ends
    /// an overlap.
    ///
    /// # Errors
    ///
    /// [`SaveError::OtherAuthority`] if the directory belongs to another authority.
    pub fn publish(&self, certs_dir: impl AsRef<Path>, exactly: bool) -> Result<bool, SaveError> {
        let path = certs_dir.as_ref().join(CERTIFICATE_FILE);
        let ours = self.trusted();
        let plan = Roots::plan(&path, &ours, false)?;
        let surplus = exactly
            && plan == Roots::Keep
            && certificate::load(&path).is_ok_and(|found| found.len() != ours.len());
        let plan = if surplus { Roots::Replace } else { plan };
        plan.write(&path, &ours)?;
        Ok(plan != Roots::Keep)
    }
}
