//! Authorities: the keys that sign certificates.
//!
//! Certificates made here say what the original's say, with the differences that let every verifier
//! accept them (docs/wire I6 to I9): random serial numbers, periods of years instead of a century,
//! and no extKeyUsage in the authority's certificate, which OpenSSL would refuse.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;

use crate::certificate::{self, Facts, date};
use crate::error::{IssueError, LoadError, SaveError};
use crate::files;
use crate::identity::Identity;
use crate::public_key::PublicKey;
use crate::secret::{SecretKey, random};

/// How long a new authority lasts: ten years of 365 days.
pub const DEFAULT_AUTHORITY_DAYS: u32 = 10 * 365;
/// How long a new identity lasts: three years of 365 days.
pub const DEFAULT_LEAF_DAYS: u32 = 3 * 365;
/// The largest certificate an identity may have, in bytes of DER: what still fits the original's
/// pre-shared-key handshake (docs/wire X14, F32).
pub const MAX_LEAF_BYTES: usize = 641;

/// About a hundred years, the original's fixed period; dates further on are no use to anybody.
const MAX_DAYS: u32 = 36_600;
/// Certificates are valid a little before they are made, so that a peer whose clock is behind
/// accepts them at once.
const BACKDATE: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const SERIAL_BYTES: usize = 16;

const KEY_FILE: &str = "ca.key";
pub(crate) const CERTIFICATE_FILE: &str = "ca.crt";
const COMMON_NAME: &str = "towline authority";
const ORGANISATION: &str = "towline";

/// What a new authority is like. The default lasts [`DEFAULT_AUTHORITY_DAYS`] from now.
#[derive(Clone, Debug, Default)]
pub struct AuthorityOptions {
    days: Option<u32>,
    at: Option<SystemTime>,
}

impl AuthorityOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many days it lasts: 1 to 36,600, [`DEFAULT_AUTHORITY_DAYS`] unless told otherwise.
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
        check_days(self.days.unwrap_or(DEFAULT_AUTHORITY_DAYS))
    }
}

/// Whom a new certificate is for. It lasts [`DEFAULT_LEAF_DAYS`] unless told otherwise.
#[derive(Clone, Debug)]
pub struct LeafOptions {
    name: String,
    email: Option<String>,
    days: Option<u32>,
    at: Option<SystemTime>,
}

impl LeafOptions {
    /// A certificate for `name`, such as `node` or `client`: at most 64 characters, no path separator.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            email: None,
            days: None,
            at: None,
        }
    }

    /// The e-mail address that handlers see: printable ASCII without spaces or commas. Without one
    /// it is `NAME@localhost`.
    pub fn email(mut self, email: impl Into<String>) -> Self {
        self.email = Some(email.into());
        self
    }

    /// How many days it lasts: 1 to 36,600, [`DEFAULT_LEAF_DAYS`] unless told otherwise, and never
    /// longer than the authority.
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
        let email = self.email_text();
        let why = if !email.is_ascii() {
            "it is not ASCII"
        } else if email.is_empty() {
            "it is empty"
        } else if email.bytes().any(|b| !b.is_ascii_graphic() || b == b',') {
            "it contains a space, a comma or a control character"
        } else {
            return check_days(self.days.unwrap_or(DEFAULT_LEAF_DAYS));
        };
        Err(IssueError::Email { email, why })
    }

    fn email_text(&self) -> String {
        self.email
            .clone()
            .unwrap_or_else(|| format!("{}@localhost", self.name))
    }
}

/// A key that signs certificates, with its own certificate.
///
/// Whoever holds it can make identities that every other identity of this authority trusts: keep its
/// directory private, and away from the machines that only use identities. The key is erased from
/// memory when the authority is dropped (what the cryptographic library holds while it signs is
/// beyond reach) and never appears in `Debug` output.
pub struct Authority {
    key: SecretKey,
    certificate: Vec<u8>,
    facts: Facts,
}

impl Authority {
    /// Makes a new authority with a random key.
    ///
    /// # Errors
    ///
    /// [`IssueError::Days`] for a validity that is out of range; [`IssueError::Randomness`].
    pub fn generate(options: &AuthorityOptions) -> Result<Self, IssueError> {
        options.validate()?;
        let now = options.at.unwrap_or_else(certificate::now);
        let not_after = now + DAY * options.days.unwrap_or(DEFAULT_AUTHORITY_DAYS);
        let mut params = params(COMMON_NAME, now, not_after)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = SecretKey::generate()?;
        let certificate = params.self_signed(&key).map_err(build)?.der().to_vec();
        let facts = Facts::read(&certificate).map_err(build)?;
        Ok(Self {
            key,
            certificate,
            facts,
        })
    }

    /// Loads `ca.key` and `ca.crt` from a private directory.
    ///
    /// # Errors
    ///
    /// [`LoadError`]: unreadable, damaged or protected files, a key that is not Ed25519, a certificate
    /// that is not an authority's or not this key's. An expired authority loads, but issues nothing.
    pub fn load(private_dir: impl AsRef<Path>) -> Result<Self, LoadError> {
        let dir = private_dir.as_ref();
        let (key_path, path) = (dir.join(KEY_FILE), dir.join(CERTIFICATE_FILE));
        let key = SecretKey::from_pem(&files::read(&key_path)?, &key_path)?;
        // The first block counts, as with the original; `load` returns at least one.
        let certificate = certificate::load(&path)?.swap_remove(0);
        let facts = certificate::facts(&certificate, &path)?;
        if facts.public_key != key.public_key() {
            return Err(LoadError::KeyMismatch {
                key: key_path,
                certificate: path,
            });
        }
        if !facts.is_authority {
            return Err(LoadError::NotAnAuthority { path });
        }
        Ok(Self {
            key,
            certificate,
            facts,
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
        let dir = private_dir.as_ref();
        files::private_dir(dir)?;
        let (key_path, path) = (dir.join(KEY_FILE), dir.join(CERTIFICATE_FILE));
        if !overwrite && path.exists() {
            return Err(SaveError::Exists { path });
        }
        files::write(&key_path, &self.key.to_pem(), overwrite)?;
        let pem = certificate::to_pem(std::slice::from_ref(&self.certificate));
        files::write(&path, pem.as_bytes(), overwrite).inspect_err(|_| {
            if !overwrite {
                files::remove(&key_path);
            }
        })
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
        let now = options.at.unwrap_or_else(certificate::now);
        if now >= self.facts.not_after {
            return Err(IssueError::AuthorityExpired {
                not_after: date(self.facts.not_after),
            });
        }
        let days = options.days.unwrap_or(DEFAULT_LEAF_DAYS);
        let not_after = (now + DAY * days).min(self.facts.not_after);
        let mut params = params(&options.name, now, not_after)?;
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        params.subject_alt_names = vec![
            SanType::DnsName(Ia5String::try_from(crate::tls::SERVER_NAME).map_err(build)?),
            SanType::Rfc822Name(Ia5String::try_from(options.email_text()).map_err(build)?),
            SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ];
        let own = CertificateDer::from(self.certificate.as_slice());
        let issuer = Issuer::from_ca_cert_der(&own, &self.key).map_err(build)?;
        let key = SecretKey::generate()?;
        let certificate = params
            .signed_by(&key, &issuer)
            .map_err(build)?
            .der()
            .to_vec();
        if certificate.len() > MAX_LEAF_BYTES {
            return Err(IssueError::TooLarge {
                size: certificate.len(),
                max: MAX_LEAF_BYTES,
            });
        }
        let facts = Facts::read(&certificate).map_err(build)?;
        Ok(Identity::from_parts(
            key,
            certificate,
            facts,
            vec![self.certificate.clone()],
        ))
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

fn params(
    common_name: &str,
    now: SystemTime,
    not_after: SystemTime,
) -> Result<CertificateParams, IssueError> {
    let since_epoch = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH)
            .map_err(|_| IssueError::Build("the clock is before 1970".to_owned()))
    };
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.not_before = epoch + since_epoch(now)?.saturating_sub(BACKDATE);
    params.not_after = epoch + since_epoch(not_after)?;
    let mut serial = [0; SERIAL_BYTES];
    random(&mut serial)?;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, ORGANISATION);
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    Ok(params)
}
