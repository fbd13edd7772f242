//! Identities: what a program proves itself with, and by whose word it judges others.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use zeroize::Zeroizing;

use crate::authority::CERTIFICATE_FILE;
use crate::certificate::{self, Facts, date};
use crate::changes::Changes;
use crate::error::{LoadError, SaveError};
use crate::files;
use crate::passphrase::{NoPassphrase, PassphraseSource};
use crate::profile;
use crate::protected::Protection;
use crate::public_key::PublicKey;
use crate::save::{Roots, SaveOptions};
use crate::secret::SecretKey;
use crate::tls::{Purpose, vouched};

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
    /// The files of the original's `selfy` load unchanged; a key that is protected by a passphrase
    /// needs [`load_with`](Self::load_with).
    ///
    /// # Errors
    ///
    /// [`LoadError`]: unreadable, damaged or passphrase-protected files, a key that others may read, a
    /// `ca.crt` that others may change, a key or certificate that is not Ed25519, a key of another
    /// certificate, a certificate outside its time, one for which no valid authority of `ca.crt`
    /// vouches, a clock before 2020.
    pub fn load(dir: impl AsRef<Path>, name: &str) -> Result<Self, LoadError> {
        Self::load_at(dir, name, certificate::now())
    }

    /// [`load`](Self::load), asking for the passphrase if the key is protected.
    ///
    /// The key is unlocked by Argon2id, which takes a second or so and 256 MiB: do not call this on
    /// an async runtime's thread.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), and no or a wrong passphrase.
    pub fn load_with(
        dir: impl AsRef<Path>,
        name: &str,
        passphrases: &mut dyn PassphraseSource,
    ) -> Result<Self, LoadError> {
        Files::named(dir.as_ref(), name)?.load(certificate::now(), None, passphrases)
    }

    /// [`load`](Self::load), with the certificate's time judged at `now`.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_at(dir: impl AsRef<Path>, name: &str, now: SystemTime) -> Result<Self, LoadError> {
        Files::named(dir.as_ref(), name)?.load(now, None, &mut NoPassphrase)
    }

    /// Loads the files again, which may have changed meanwhile. While the certificate is for the same
    /// key, the key file is not read and no passphrase asked for (docs/wire I37).
    ///
    /// # Errors
    ///
    /// As [`load_with`](Self::load_with); this identity stays as it is.
    pub fn reload(
        &self,
        dir: impl AsRef<Path>,
        name: &str,
        passphrases: &mut dyn PassphraseSource,
    ) -> Result<Self, LoadError> {
        Files::named(dir.as_ref(), name)?.load(certificate::now(), Some(&self.key), passphrases)
    }

    /// Writes `ca.crt`, `NAME.crt` and `NAME.key` into `dir`, which is made (mode 0700) if missing.
    /// The files have mode 0600 from the first moment. The mode of a directory that exists is left
    /// alone, with a warning in the log if others may look into it.
    ///
    /// A `ca.crt` of the same authority, or of one that it succeeds, may be there already: identities
    /// of one authority share a directory. What is missing from it is added, and what it was is kept
    /// as `ca.crt.old`.
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
        self.save_with(dir, name, &SaveOptions::new().overwrite(overwrite))
    }

    /// [`save`](Self::save), with the key protected if the options say so.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save), and [`SaveError::Protection`]. Nothing was written then.
    pub fn save_with(
        &self,
        dir: impl AsRef<Path>,
        name: &str,
        options: &SaveOptions,
    ) -> Result<(), SaveError> {
        let dir = dir.as_ref();
        self.check_save(dir, name, options)?;
        let key = Files::unchecked(dir, name).key;
        let sealed = self.sealed(&key, options.protection.as_ref())?;
        self.write(dir, name, &sealed, options.overwrite)
    }

    /// Whether [`save_with`](Self::save_with) would be refused, as things are.
    ///
    /// # Errors
    ///
    /// [`SaveError`], as there.
    pub fn check_save(
        &self,
        dir: impl AsRef<Path>,
        name: &str,
        options: &SaveOptions,
    ) -> Result<(), SaveError> {
        files::check_name(name).map_err(|why| SaveError::Name {
            name: name.to_owned(),
            why,
        })?;
        let files = Files::unchecked(dir.as_ref(), name);
        if !options.overwrite {
            files::check_absent(&files.certificate)?;
            files::check_absent(&files.key)?;
        }
        Roots::plan(&files.roots, &self.roots, &[], options.overwrite).map(drop)
    }

    /// What the key file will hold.
    pub(crate) fn sealed(
        &self,
        key_path: &Path,
        protection: Option<&Protection>,
    ) -> Result<Zeroizing<Vec<u8>>, SaveError> {
        self.key.to_file(protection, key_path)
    }

    /// Writes the three files, or none of them.
    pub(crate) fn write(
        &self,
        dir: &Path,
        name: &str,
        sealed: &[u8],
        overwrite: bool,
    ) -> Result<(), SaveError> {
        let files = Files::unchecked(dir, name);
        files::private_dir(dir)?;
        let roots = Roots::plan(&files.roots, &self.roots, &[], overwrite)?;
        let pem = certificate::to_pem(std::slice::from_ref(&self.certificate));
        let mut changes = Changes::default();
        changes.put(&files.key, sealed, overwrite)?;
        changes.put(&files.certificate, pem.as_bytes(), overwrite)?;
        roots.stage(&files.roots, &mut changes)?;
        changes.commit()
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

/// The three files of an identity.
struct Files {
    key: PathBuf,
    certificate: PathBuf,
    roots: PathBuf,
}

impl Files {
    fn named(dir: &Path, name: &str) -> Result<Self, LoadError> {
        files::check_name(name).map_err(|why| LoadError::Name {
            name: name.to_owned(),
            why,
        })?;
        Ok(Self::unchecked(dir, name))
    }

    fn unchecked(dir: &Path, name: &str) -> Self {
        Self {
            key: dir.join(format!("{name}.key")),
            certificate: dir.join(format!("{name}.crt")),
            roots: dir.join(CERTIFICATE_FILE),
        }
    }

    /// What needs no passphrase is checked first, so that nobody types one in vain.
    fn load(
        self,
        now: SystemTime,
        known: Option<&Arc<SecretKey>>,
        passphrases: &mut dyn PassphraseSource,
    ) -> Result<Identity, LoadError> {
        if !profile::is_plausible(now) {
            return Err(LoadError::Clock { now: date(now) });
        }
        // `load` returns at least one.
        let leaf = certificate::load(&self.certificate)?.swap_remove(0);
        let facts = certificate::facts(&leaf, &self.certificate)?;
        facts.check_time(now, &self.certificate)?;
        let roots = certificate::load_trusted(&self.roots)?;
        for root in &roots {
            if !certificate::facts(root, &self.roots)?.is_authority {
                return Err(LoadError::NotAnAuthority { path: self.roots });
            }
        }
        // docs/wire I15: the other end's authorities are these, as a rule.
        if let Err(why) = vouched(&leaf, &roots, now, Purpose::Either) {
            return Err(LoadError::NotVouched {
                certificate: self.certificate,
                authorities: self.roots,
                why,
            });
        }
        let key = match known.filter(|key| key.public_key() == facts.public_key) {
            Some(key) => Arc::clone(key),
            None => Arc::new(SecretKey::load(&self.key, passphrases)?),
        };
        if facts.public_key != key.public_key() {
            return Err(LoadError::KeyMismatch {
                key: self.key,
                certificate: self.certificate,
            });
        }
        Ok(Identity {
            key,
            certificate: leaf,
            facts,
            roots,
        })
    }
}
