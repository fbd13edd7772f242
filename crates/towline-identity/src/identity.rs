//! Identities: what a program proves itself with, and by whose word it judges others.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use crate::authority::CERTIFICATE_FILE;
use crate::certificate::{self, Facts, date};
use crate::error::{LoadError, SaveError};
use crate::files;
use crate::public_key::PublicKey;
use crate::secret::SecretKey;

/// A program's own key and certificate, and the certificates of the authorities it trusts.
///
/// Made by [`Authority::issue`](crate::Authority::issue) or loaded from the three files the original
/// uses: `ca.crt`, `NAME.crt`, `NAME.key`. The key is erased from memory when the identity and the TLS
/// configurations made from it are dropped (what the cryptographic library holds while it signs is
/// beyond reach), and never appears in `Debug` output.
pub struct Identity {
    // Shared with the TLS configurations made from this identity, which sign with it.
    key: Arc<SecretKey>,
    certificate: Vec<u8>,
    facts: Facts,
    roots: Vec<Vec<u8>>,
}

impl Identity {
    pub(crate) fn from_parts(
        key: SecretKey,
        certificate: Vec<u8>,
        facts: Facts,
        roots: Vec<Vec<u8>>,
    ) -> Self {
        Self {
            key: Arc::new(key),
            certificate,
            facts,
            roots,
        }
    }

    /// Loads `ca.crt`, `NAME.crt` and `NAME.key` from `dir`.
    ///
    /// Every certificate of `ca.crt` is trusted, so that an old and a new authority can overlap. Of
    /// `NAME.crt` only the first certificate counts: only the leaf is ever sent (docs/wire I14).
    /// The files of the original's `selfy -nopass` load unchanged.
    ///
    /// # Errors
    ///
    /// [`LoadError`]: unreadable, damaged or passphrase-protected files, a key or certificate that is
    /// not Ed25519, a key of another certificate, a certificate outside its time.
    pub fn load(dir: impl AsRef<Path>, name: &str) -> Result<Self, LoadError> {
        Self::load_at(dir, name, certificate::now())
    }

    /// [`load`](Self::load), with the certificate's time judged at `now`.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_at(dir: impl AsRef<Path>, name: &str, now: SystemTime) -> Result<Self, LoadError> {
        let dir = dir.as_ref();
        files::check_name(name).map_err(|why| LoadError::Name {
            name: name.to_owned(),
            why,
        })?;
        let key_path = dir.join(format!("{name}.key"));
        let path = dir.join(format!("{name}.crt"));
        let roots_path = dir.join(CERTIFICATE_FILE);
        let key = SecretKey::from_pem(&files::read(&key_path)?, &key_path)?;
        // `load` returns at least one.
        let certificate = certificate::load(&path)?.swap_remove(0);
        let facts = certificate::facts(&certificate, &path)?;
        if facts.public_key != key.public_key() {
            return Err(LoadError::KeyMismatch {
                key: key_path,
                certificate: path,
            });
        }
        facts.check_time(now, &path)?;
        let roots = certificate::load(&roots_path)?;
        for root in &roots {
            if !certificate::facts(root, &roots_path)?.is_authority {
                return Err(LoadError::NotAnAuthority { path: roots_path });
            }
        }
        Ok(Self {
            key: Arc::new(key),
            certificate,
            facts,
            roots,
        })
    }

    /// Writes `ca.crt`, `NAME.crt` and `NAME.key` into `dir`, which is made (mode 0700) if missing.
    /// The files have mode 0600 from the first moment. The mode of a directory that exists is left
    /// alone, with a warning in the log if others may look into it.
    ///
    /// A `ca.crt` with the same content may be there already: identities of one authority share a
    /// directory.
    ///
    /// # Errors
    ///
    /// [`SaveError::Exists`] or [`SaveError::OtherAuthority`] if `overwrite` is false; then nothing was
    /// written.
    pub fn save(
        &self,
        dir: impl AsRef<Path>,
        name: &str,
        overwrite: bool,
    ) -> Result<(), SaveError> {
        let dir = dir.as_ref();
        files::check_name(name).map_err(|why| SaveError::Name {
            name: name.to_owned(),
            why,
        })?;
        files::private_dir(dir)?;
        let key_path = dir.join(format!("{name}.key"));
        let path = dir.join(format!("{name}.crt"));
        let roots_path = dir.join(CERTIFICATE_FILE);
        let roots = certificate::to_pem(&self.roots);
        let roots_are_there = fs::read(&roots_path).is_ok_and(|found| found == roots.as_bytes());
        if !overwrite {
            if path.exists() {
                return Err(SaveError::Exists { path });
            }
            if !roots_are_there && roots_path.exists() {
                return Err(SaveError::OtherAuthority { path: roots_path });
            }
        }
        let undo = |paths: &[&Path]| {
            if !overwrite {
                paths.iter().for_each(|path| files::remove(path));
            }
        };
        files::write(&key_path, &self.key.to_pem(), overwrite)?;
        let pem = certificate::to_pem(std::slice::from_ref(&self.certificate));
        files::write(&path, pem.as_bytes(), overwrite).inspect_err(|_| undo(&[&key_path]))?;
        if roots_are_there {
            return Ok(());
        }
        match files::write(&roots_path, roots.as_bytes(), overwrite) {
            // Somebody else wrote it meanwhile: fine if it says the same.
            Err(SaveError::Exists { .. })
                if fs::read(&roots_path).is_ok_and(|found| found == roots.as_bytes()) =>
            {
                Ok(())
            }
            result => result.inspect_err(|_| undo(&[&key_path, &path])),
        }
    }

    /// The public key others know this identity by.
    pub fn public_key(&self) -> PublicKey {
        self.facts.public_key
    }

    /// The e-mail addresses in the certificate.
    pub fn emails(&self) -> &[String] {
        &self.facts.emails
    }

    /// When the certificate ends.
    pub fn not_after(&self) -> SystemTime {
        self.facts.not_after
    }

    /// The certificate, DER-encoded.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate
    }

    /// The certificates of the trusted authorities, DER-encoded.
    pub fn roots_der(&self) -> &[Vec<u8>] {
        &self.roots
    }

    /// The private key, for the TLS configurations.
    pub(crate) fn key(&self) -> &Arc<SecretKey> {
        &self.key
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("public_key", &self.facts.public_key)
            .field("emails", &self.facts.emails)
            .field("not_after", &date(self.facts.not_after))
            .field("roots", &self.roots.len())
            .finish_non_exhaustive()
    }
}
