//! What is read out of an X.509 certificate, and the PEM text around it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

use crate::error::{CertificateError, LoadError};
use crate::files;
use crate::public_key::PublicKey;

const TAG: &str = "CERTIFICATE";
const OID_ED25519: &str = "1.3.101.112";

/// The parts of a certificate that towline uses.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) public_key: PublicKey,
    /// The rfc822Names of subjectAltName, in order.
    pub(crate) emails: Vec<String>,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    pub(crate) is_authority: bool,
}

impl Facts {
    pub(crate) fn read(der: &[u8]) -> Result<Self, CertificateError> {
        let (rest, parsed) = X509Certificate::from_der(der)
            .map_err(|error| CertificateError::Malformed(error.to_string()))?;
        if !rest.is_empty() {
            return Err(CertificateError::Malformed(
                "bytes follow the certificate".to_owned(),
            ));
        }
        let spki = parsed.public_key();
        let oid = spki.algorithm.algorithm.to_id_string();
        let key = <[u8; 32]>::try_from(spki.subject_public_key.data.as_ref());
        let (OID_ED25519, Ok(key)) = (oid.as_str(), key) else {
            return Err(CertificateError::NotEd25519(key_type(&oid).to_owned()));
        };
        let mut emails = Vec::new();
        let mut is_authority = false;
        for extension in parsed.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(names) => {
                    emails.extend(names.general_names.iter().filter_map(|name| match name {
                        GeneralName::RFC822Name(email) => Some((*email).to_owned()),
                        _ => None,
                    }));
                }
                ParsedExtension::BasicConstraints(constraints) => is_authority = constraints.ca,
                _ => {}
            }
        }
        Ok(Self {
            public_key: key.into(),
            emails,
            not_before: system_time(parsed.validity().not_before),
            not_after: system_time(parsed.validity().not_after),
            is_authority,
        })
    }

    /// What is wrong with the certificate's time at `now`, in words that follow its name.
    pub(crate) fn outside(&self, now: SystemTime) -> Option<String> {
        if now > self.not_after {
            Some(format!("expired on {}", date(self.not_after)))
        } else if now < self.not_before {
            Some(format!("is not valid before {}", date(self.not_before)))
        } else {
            None
        }
    }

    /// Fails if `now` is outside the certificate's time; `path` is for the error.
    pub(crate) fn check_time(&self, now: SystemTime, path: &Path) -> Result<(), LoadError> {
        if now > self.not_after {
            return Err(LoadError::Expired {
                path: path.to_owned(),
                not_after: date(self.not_after),
            });
        }
        if now < self.not_before {
            return Err(LoadError::NotYetValid {
                path: path.to_owned(),
                not_before: date(self.not_before),
            });
        }
        Ok(())
    }
}

/// The DER of every certificate in a PEM file, in order: at least one, and the first block of the
/// file is a certificate.
pub(crate) fn load(path: &Path) -> Result<Vec<Vec<u8>>, LoadError> {
    parse(&files::read(path)?, path)
}

/// [`load`] of a file that says whom to trust: nobody else may be able to change it (docs/wire I34).
pub(crate) fn load_trusted(path: &Path) -> Result<Vec<Vec<u8>>, LoadError> {
    parse(&files::read_trusted(path)?, path)
}

/// [`load`] of a text; `path` is for errors.
pub(crate) fn parse(text: &[u8], path: &Path) -> Result<Vec<Vec<u8>>, LoadError> {
    let missing = |found| LoadError::NotPem {
        path: path.to_owned(),
        expected: TAG,
        found,
    };
    let blocks = pem::parse_many(text).map_err(|error| LoadError::Certificate {
        path: path.to_owned(),
        source: CertificateError::Malformed(error.to_string()),
    })?;
    match blocks.first() {
        None => return Err(missing(None)),
        Some(first) if first.tag() != TAG => {
            return Err(missing(Some(first.tag().chars().take(40).collect())));
        }
        Some(_) => {}
    }
    Ok(blocks
        .into_iter()
        .filter(|block| block.tag() == TAG)
        .map(pem::Pem::into_contents)
        .collect())
}

pub(crate) fn facts(der: &[u8], path: &Path) -> Result<Facts, LoadError> {
    Facts::read(der).map_err(|source| LoadError::Certificate {
        path: path.to_owned(),
        source,
    })
}

pub(crate) fn to_pem(ders: &[Vec<u8>]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    ders.iter()
        .map(|der| pem::encode_config(&pem::Pem::new(TAG, der.as_slice()), config))
        .collect()
}

/// A moment as people read it, such as `Nov 20 08:47:08 2026 +00:00`.
pub(crate) fn date(time: SystemTime) -> String {
    let seconds = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| ASN1Time::from_timestamp(seconds).ok())
        .map_or_else(
            || format!("second {seconds} of the Unix era"),
            |time| time.to_string(),
        )
}

/// The wall time: the one place in this crate that reads it.
pub(crate) fn now() -> SystemTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates begin and expire by the wall clock"
    )]
    SystemTime::now()
}

fn system_time(time: ASN1Time) -> SystemTime {
    let seconds = time.timestamp();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let shifted = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    shifted.unwrap_or(SystemTime::UNIX_EPOCH)
}

fn key_type(oid: &str) -> &'static str {
    match oid {
        "1.2.840.113549.1.1.1" => "RSA",
        "1.2.840.10045.2.1" => "ECDSA",
        "1.3.101.110" => "X25519",
        "1.3.101.113" => "Ed448",
        OID_ED25519 => "Ed25519 with a wrong length",
        _ => "unknown",
    }
}

/// The name of a certificate's subject, in DER; `None` if it is no certificate.
pub(crate) fn subject(der: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.subject().as_raw().to_vec())
}
