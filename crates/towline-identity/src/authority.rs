//! Authorities: the keys that sign certificates.
//!
//! Their certificates have one of two forms, see [`Profile`].

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use zeroize::Zeroizing;

use crate::certificate::{self, Facts, date};
use crate::changes::Changes;
use crate::error::{IssueError, LoadError, SaveError};
use crate::files;
use crate::identity::Identity;
use crate::passphrase::{NoPassphrase, PassphraseSource};
use crate::profile::{Issuer, Leaf, Profile};
use crate::protected::Protection;
use crate::public_key::PublicKey;
use crate::save::SaveOptions;
use crate::secret::SecretKey;

/// How long a new authority lasts: ten years of 365 days.
pub const DEFAULT_AUTHORITY_DAYS: u32 = 10 * 365;
/// How long a new identity lasts: three years of 365 days.
pub const DEFAULT_LEAF_DAYS: u32 = 3 * 365;
/// The largest certificate an identity may have, in bytes of DER: what still fits the original's
/// pre-shared-key handshake (docs/wire X14, F32).
pub const MAX_LEAF_BYTES: usize = 641;

/// About a hundred years, the original's fixed period; dates further on are no use to anybody.
const MAX_DAYS: u32 = 36_600;
pub(crate) const KEY_FILE: &str = "ca.key";
pub(crate) const CERTIFICATE_FILE: &str = "ca.crt";

/// What a new authority is like. The default lasts [`DEFAULT_AUTHORITY_DAYS`] from now.
#[derive(Clone, Debug, Default)]
pub struct AuthorityOptions {
    profile: Profile,
    days: Option<u32>,
    at: Option<SystemTime>,
}

impl AuthorityOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The form of its certificate.
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// How many days it lasts: 1 to 36,600, [`DEFAULT_AUTHORITY_DAYS`] unless told otherwise (36,600
    /// with [`Profile::Selfy`]).
    /// Identities it signs end no later than it does.
    pub fn days(mut self, days: u32) -> Self {
        self.days = Some(days);
        self
    }

    /// The moment it is made, instead of now.
    pub fn at(mut self, moment: SystemTime) -> Self {
        self.at = Some(moment);
        self
    }

    /// Checks the options without making anything.
    ///
    /// # Errors
    ///
    /// [`IssueError::Days`].
    pub fn validate(&self) -> Result<(), IssueError> {
        check_days(self.lasts())
    }

    fn lasts(&self) -> u32 {
        self.days.unwrap_or_else(|| self.profile.authority_days())
    }

    fn made(&self) -> SystemTime {
        self.at.unwrap_or_else(certificate::now)
    }
}

/// Whom a new certificate is for. It lasts [`DEFAULT_LEAF_DAYS`] unless told otherwise.
#[derive(Clone, Debug)]
pub struct LeafOptions {
    name: String,
    profile: Profile,
    email: Option<String>,
    days: Option<u32>,
    at: Option<SystemTime>,
}

impl LeafOptions {
    /// A certificate for `name`, such as `node` or `client`: at most 64 characters, no path separator.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            profile: Profile::default(),
            email: None,
            days: None,
            at: None,
        }
    }

    /// The form of its certificate. With [`Profile::Selfy`] the name is not in it.
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// The e-mail address that handlers see: printable ASCII without spaces or commas. Without one
    /// it is `NAME@localhost`.
    pub fn email(mut self, email: impl Into<String>) -> Self {
        self.email = Some(email.into());
        self
    }

    /// How many days it lasts: 1 to 36,600, [`DEFAULT_LEAF_DAYS`] unless told otherwise, and never
    /// longer than the authority (with [`Profile::Selfy`] 36,600, whatever the authority's end).
    pub fn days(mut self, days: u32) -> Self {
        self.days = Some(days);
        self
    }

    /// The moment it is made, instead of now.
    pub fn at(mut self, moment: SystemTime) -> Self {
        self.at = Some(moment);
        self
    }

    /// Checks the options without making anything.
    ///
    /// # Errors
    ///
    /// [`IssueError::Name`], [`IssueError::Email`] or [`IssueError::Days`].
    pub fn validate(&self) -> Result<(), IssueError> {
        files::check_name(&self.name).map_err(|why| IssueError::Name {
            name: self.name.clone(),
            why,
        })?;
        check_email(&self.email_text())?;
        check_days(self.lasts())
    }

    fn email_text(&self) -> String {
        self.email
            .clone()
            .unwrap_or_else(|| format!("{}@localhost", self.name))
    }

    pub(crate) fn has_email(&self) -> bool {
        self.email.is_some()
    }

    fn lasts(&self) -> u32 {
        self.days.unwrap_or_else(|| self.profile.leaf_days())
    }
}

fn check_email(email: &str) -> Result<(), IssueError> {
    let why = if !email.is_ascii() {
        "it is not ASCII"
    } else if email.is_empty() {
        "it is empty"
    } else if email.bytes().any(|b| !b.is_ascii_graphic() || b == b',') {
        "it contains a space, a comma or a control character"
    } else {
        return Ok(());
    };
    let email = email.to_owned();
    Err(IssueError::Email { email, why })
}

/// A key that signs certificates, with its own certificate.
///
/// Whoever holds it can make identities that every other identity of this authority trusts: keep its
/// directory private, and away from the machines that only use identities. The key is erased from
/// memory when the authority is dropped (what the cryptographic library holds while it signs is
/// beyond reach) and never appears in `Debug` output.
pub struct Authority {
    key: Arc<SecretKey>,
    certificate: Vec<u8>,
    facts: Facts,
    /// Certificates that are trusted beside its own: those of authorities it succeeds.
    others: Vec<Vec<u8>>,
}

impl Authority {
    /// Makes a new authority with a random key.
    ///
    /// # Errors
    ///
    /// [`IssueError::Days`] for a validity that is out of range; [`IssueError::Clock`] before 2020;
    /// [`IssueError::Randomness`].
    pub fn generate(options: &AuthorityOptions) -> Result<Self, IssueError> {
        options.validate()?;
        Self::certified(Arc::new(SecretKey::generate()?), Vec::new(), options)
    }

    /// The same authority with a new certificate for the same key: what it signed stays valid, under
    /// the old certificate and under the new one (docs/wire I36).
    ///
    /// # Errors
    ///
    /// As [`generate`](Self::generate).
    pub fn renew(&self, options: &AuthorityOptions) -> Result<Self, IssueError> {
        options.validate()?;
        let mut new = Self::certified(Arc::clone(&self.key), self.others.clone(), options)?;
        // A leaf names its issuer. Under another name the new certificate would vouch for none of
        // them: the old one stays beside it.
        if certificate::subject(&new.certificate) != certificate::subject(&self.certificate) {
            new.others.push(self.certificate.clone());
        }
        Ok(new)
    }

    /// A new authority with a key of its own, which trusts this one too for as long as it lasts: its
    /// `ca.crt` holds both certificates, so that old and new identities accept each other meanwhile
    /// (docs/wire I36).
    ///
    /// # Errors
    ///
    /// As [`generate`](Self::generate).
    pub fn succeed(&self, options: &AuthorityOptions) -> Result<Self, IssueError> {
        options.validate()?;
        let now = options.made();
        let lasting = |der: &&Vec<u8>| Facts::read(der).is_ok_and(|facts| facts.not_after > now);
        let others = std::iter::once(&self.certificate)
            .chain(&self.others)
            .filter(lasting)
            .cloned()
            .collect();
        Self::certified(Arc::new(SecretKey::generate()?), others, options)
    }

    /// The same authority, trusting nobody but itself: for the end of an overlap.
    pub fn without_predecessors(mut self) -> Self {
        self.others.clear();
        self
    }

    fn certified(
        key: Arc<SecretKey>,
        others: Vec<Vec<u8>>,
        options: &AuthorityOptions,
    ) -> Result<Self, IssueError> {
        let certificate = options
            .profile
            .authority(&key, options.made(), options.lasts())?;
        let facts = Facts::read(&certificate).map_err(build)?;
        Ok(Self {
            key,
            certificate,
            facts,
            others,
        })
    }

    /// Loads `ca.key` and `ca.crt` from a private directory. A key that is protected by a passphrase
    /// needs [`load_with`](Self::load_with).
    ///
    /// # Errors
    ///
    /// [`LoadError`]: unreadable, damaged or protected files, a key that others may read or that is not
    /// Ed25519, a certificate that is not an authority's or not this key's. An expired authority loads,
    /// but issues nothing.
    pub fn load(private_dir: impl AsRef<Path>) -> Result<Self, LoadError> {
        Self::load_with(private_dir, &mut NoPassphrase)
    }

    /// [`load`](Self::load), asking for the passphrase if the key is protected.
    ///
    /// The first certificate of `ca.crt` is the authority's; further ones are of authorities it
    /// succeeds, and are trusted beside it.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), and no or a wrong passphrase.
    pub fn load_with(
        private_dir: impl AsRef<Path>,
        passphrases: &mut dyn PassphraseSource,
    ) -> Result<Self, LoadError> {
        let dir = private_dir.as_ref();
        let (key_path, path) = (dir.join(KEY_FILE), dir.join(CERTIFICATE_FILE));
        // `load` returns at least one.
        let mut certificates = certificate::load_trusted(&path)?;
        let certificate = certificates.remove(0);
        let facts = certificate::facts(&certificate, &path)?;
        for other in &certificates {
            if !certificate::facts(other, &path)?.is_authority {
                return Err(LoadError::NotAnAuthority { path });
            }
        }
        if !facts.is_authority {
            return Err(LoadError::NotAnAuthority { path });
        }
        let key = SecretKey::load(&key_path, passphrases)?;
        if facts.public_key != key.public_key() {
            return Err(LoadError::KeyMismatch {
                key: key_path,
                certificate: path,
            });
        }
        Ok(Self {
            key: Arc::new(key),
            certificate,
            facts,
            others: certificates,
        })
    }

    /// Writes `ca.key` and `ca.crt` into a private directory, which is made (mode 0700) if missing.
    /// The files have mode 0600 from the first moment.
    ///
    /// # Errors
    ///
    /// [`SaveError::Exists`] if one of the two is there already and `overwrite` is false. Replacing an
    /// authority makes every identity it signed useless.
    pub fn save(&self, private_dir: impl AsRef<Path>, overwrite: bool) -> Result<(), SaveError> {
        self.save_with(private_dir, &SaveOptions::new().overwrite(overwrite))
    }

    /// [`save`](Self::save), with the key protected if the options say so.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save), and [`SaveError::Protection`]. Nothing was written then.
    pub fn save_with(
        &self,
        private_dir: impl AsRef<Path>,
        options: &SaveOptions,
    ) -> Result<(), SaveError> {
        let dir = private_dir.as_ref();
        let (key_path, path) = (dir.join(KEY_FILE), dir.join(CERTIFICATE_FILE));
        if !options.overwrite {
            files::check_absent(&key_path)?;
            files::check_absent(&path)?;
        }
        let key = self.sealed(&key_path, options.protection.as_ref())?;
        files::private_dir(dir)?;
        let mut changes = Changes::default();
        changes.put(&key_path, &key, options.overwrite)?;
        let pem = certificate::to_pem(&self.trusted());
        changes.put(&path, pem.as_bytes(), options.overwrite)?;
        changes.commit()
    }

    /// What the key file will hold.
    pub(crate) fn sealed(
        &self,
        key_path: &Path,
        protection: Option<&Protection>,
    ) -> Result<Zeroizing<Vec<u8>>, SaveError> {
        self.key.to_file(protection, key_path)
    }

    /// Makes a new identity: a random key, and a certificate for it that is valid for servers and
    /// clients alike.
    ///
    /// # Errors
    ///
    /// [`IssueError`]: options out of range (checked before a key is made), an authority whose time is
    /// over, a certificate of more than [`MAX_LEAF_BYTES`].
    pub fn issue(&self, options: &LeafOptions) -> Result<Identity, IssueError> {
        options.validate()?;
        let key = SecretKey::generate()?;
        let emails = [options.email_text()];
        let certificate = self.certify(key.public_key(), &emails, options)?;
        let facts = Facts::read(&certificate).map_err(build)?;
        Ok(Identity::from_parts(
            key,
            certificate,
            facts,
            self.trusted(),
        ))
    }

    /// A new certificate, DER-encoded, for the key of an existing one. Its e-mail addresses stay,
    /// unless the options name one. The key itself is not needed (docs/wire I36).
    ///
    /// # Errors
    ///
    /// As [`issue`](Self::issue), and [`IssueError::Build`] if the old certificate is not for an
    /// Ed25519 key.
    pub fn reissue(
        &self,
        certificate_der: &[u8],
        options: &LeafOptions,
    ) -> Result<Vec<u8>, IssueError> {
        options.validate()?;
        let facts = Facts::read(certificate_der).map_err(build)?;
        let emails = match &options.email {
            None if !facts.emails.is_empty() => facts.emails,
            _ => vec![options.email_text()],
        };
        for email in &emails {
            check_email(email)?;
        }
        self.certify(facts.public_key, &emails, options)
    }

    fn certify(
        &self,
        public_key: PublicKey,
        emails: &[String],
        options: &LeafOptions,
    ) -> Result<Vec<u8>, IssueError> {
        let now = options.at.unwrap_or_else(certificate::now);
        if now >= self.facts.not_after {
            return Err(IssueError::AuthorityExpired {
                not_after: date(self.facts.not_after),
            });
        }
        let leaf = Leaf {
            public_key,
            name: &options.name,
            emails,
            now,
            days: options.lasts(),
        };
        let issuer = Issuer {
            key: &self.key,
            certificate: &self.certificate,
            not_after: self.facts.not_after,
        };
        let certificate = options.profile.leaf(&leaf, &issuer)?;
        if certificate.len() > MAX_LEAF_BYTES {
            return Err(IssueError::TooLarge {
                size: certificate.len(),
                max: MAX_LEAF_BYTES,
            });
        }
        Ok(certificate)
    }

    /// Every certificate that its identities trust, its own first.
    pub(crate) fn trusted(&self) -> Vec<Vec<u8>> {
        std::iter::once(&self.certificate)
            .chain(&self.others)
            .cloned()
            .collect()
    }

    /// The authority's own public key.
    pub fn public_key(&self) -> PublicKey {
        self.facts.public_key
    }

    /// The authority's certificate, DER-encoded.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate
    }

    /// When the authority ends.
    pub fn not_after(&self) -> SystemTime {
        self.facts.not_after
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("public_key", &self.facts.public_key)
            .field("not_after", &date(self.facts.not_after))
            .finish_non_exhaustive()
    }
}

fn check_days(days: u32) -> Result<(), IssueError> {
    if (1..=MAX_DAYS).contains(&days) {
        Ok(())
    } else {
        Err(IssueError::Days {
            days,
            max: MAX_DAYS,
        })
    }
}

fn build(error: impl fmt::Display) -> IssueError {
    IssueError::Build(error.to_string())
}
