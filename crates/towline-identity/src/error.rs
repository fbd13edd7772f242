//! One error type per family of operations: reading a certificate, loading, saving, issuing.

use std::io;
use std::path::PathBuf;

/// Why bytes are not a certificate that can be used here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Not a DER-encoded X.509 certificate.
    #[error("not an X.509 certificate ({0})")]
    Malformed(String),
    /// A certificate for another kind of key.
    #[error("the certificate is for a key of type {0}; only Ed25519 is accepted")]
    NotEd25519(String),
}

/// Why an identity or an authority could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A name that cannot be part of a file name here.
    #[error("{name:?} cannot name a key: {why}")]
    Name {
        /// The refused name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// More than a megabyte: not a key and not a certificate.
    #[error("{} is too large to be a key or certificate file (more than {limit} bytes)", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The largest size that is read.
        limit: u64,
    },
    /// The file does not hold the PEM block expected of it.
    #[error("{} does not hold a PEM block `{expected}`{}", path.display(), found_text(found))]
    NotPem {
        /// The file.
        path: PathBuf,
        /// The type of block looked for.
        expected: &'static str,
        /// The type of the first block found instead, if there is one.
        found: Option<String>,
    },
    /// The key is protected by a passphrase.
    #[error(
        "the key in {} is protected by a passphrase, which is not supported yet here: \
         remove the passphrase, or make a key with `tow keys new NAME`",
        path.display()
    )]
    Encrypted {
        /// The file.
        path: PathBuf,
    },
    /// A private key of another kind.
    #[error("the key in {} is of type {found}; only Ed25519 keys are accepted: make one with `tow keys new NAME`", path.display())]
    WrongKeyType {
        /// The file.
        path: PathBuf,
        /// The kind of key found.
        found: String,
    },
    /// The block is not a well-formed PKCS#8 key.
    #[error("the private key in {} is damaged ({why}): restore it from a copy or make a new one", path.display())]
    MalformedKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The certificate cannot be used.
    #[error("{}: {source}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CertificateError,
    },
    /// The private key is not the one the certificate was made for.
    #[error("{} and {} do not belong together: the certificate is for another key", key.display(), certificate.display())]
    KeyMismatch {
        /// The key file.
        key: PathBuf,
        /// The certificate file.
        certificate: PathBuf,
    },
    /// The certificate's time is over.
    #[error("the certificate {} expired on {not_after}: make a new one with `tow keys new NAME`", path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// When it expired, for people.
        not_after: String,
    },
    /// The certificate's time has not come.
    #[error("the certificate {} is not valid before {not_before}: check this machine's clock", path.display())]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// From when it is valid, for people.
        not_before: String,
    },
    /// A certificate that may not sign others.
    #[error("{} is not the certificate of an authority (basicConstraints CA is absent)", path.display())]
    NotAnAuthority {
        /// The file.
        path: PathBuf,
    },
}

/// Why keys could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// A name that cannot be part of a file name here.
    #[error("{name:?} cannot name a key: {why}")]
    Name {
        /// The refused name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is a file already, and overwriting was not asked for.
    #[error("{} exists already and is not overwritten: choose another name, or use --force to replace it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The directory serves another authority's identities.
    #[error(
        "{} is the certificate of another authority: identities of two authorities do not share a directory; \
         choose another directory, or use --force to replace it",
        path.display()
    )]
    OtherAuthority {
        /// The authority's certificate found there.
        path: PathBuf,
    },
    /// The system refused to write.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why an authority or a certificate could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// A name that cannot be part of a file name here.
    #[error("{name:?} cannot name a key: {why}")]
    Name {
        /// The refused name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The e-mail address cannot stand in a certificate.
    #[error("the e-mail address {email:?} cannot stand in a certificate: {why}")]
    Email {
        /// The refused address.
        email: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A validity of no days, or of more than a hundred years.
    #[error("a certificate cannot be valid for {days} days: choose 1 to {max}")]
    Days {
        /// What was asked for.
        days: u32,
        /// The most that can be asked for.
        max: u32,
    },
    /// The authority's own time is over at the moment of issue.
    #[error("the authority expired on {not_after}: make a new one with `tow keys ca`")]
    AuthorityExpired {
        /// When, for people.
        not_after: String,
    },
    /// The certificate would be too long for peers that use a pre-shared key.
    #[error(
        "the certificate would take {size} bytes, more than {max}: use a shorter name or e-mail address"
    )]
    TooLarge {
        /// What it would take.
        size: usize,
        /// The most that is allowed.
        max: usize,
    },
    /// The system gave no random numbers.
    #[error("the system's random number generator failed")]
    Randomness,
    /// The certificate could not be built.
    #[error("the certificate could not be built: {0}")]
    Build(String),
}

fn found_text(found: &Option<String>) -> String {
    match found {
        Some(tag) => format!(" (it begins with `{tag}`)"),
        None => String::from(" (it holds no PEM block at all)"),
    }
}
