//! One error type per family of operations: reading a certificate, loading, saving, issuing.

use std::io;
use std::path::PathBuf;

use crate::passphrase::PassphraseError;

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
    /// Other users may read the private file, so it is no secret.
    #[error("{} may be read by other users (mode {mode:03o}), so it is not used: run `chmod 600 {}`", path.display(), path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Other users may change the file, which says whom to trust.
    #[error("{} may be changed by other users (mode {mode:03o}), so it is not trusted: run `chmod go-w {}`", path.display(), path.display())]
    Writable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key is protected, and there is no passphrase to open it with.
    #[error("the key in {} is protected by a passphrase: {source}", path.display())]
    Passphrase {
        /// The file.
        path: PathBuf,
        /// Why there is none.
        source: PassphraseError,
    },
    /// The passphrase does not open the key.
    #[error("wrong passphrase for {}, or the file was changed", path.display())]
    WrongPassphrase {
        /// The file.
        path: PathBuf,
    },
    /// The protected key is damaged, or asks for too much.
    #[error("the protected key in {} cannot be read: {source}", path.display())]
    Protection {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ProtectionError,
    },
    /// Not enough bytes for a pre-shared key.
    #[error(
        "{} holds {found} bytes, a pre-shared key has at least 32: make one with `tow keys psk NAME`",
        path.display()
    )]
    ShortPreSharedKey {
        /// The file.
        path: PathBuf,
        /// How many bytes it has.
        found: usize,
    },
    /// The time of this machine cannot be right.
    #[error(
        "this machine's clock says {now}, which is before 2020: set it, or no certificate can be judged"
    )]
    Clock {
        /// What it says, for people.
        now: String,
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
    /// No authority that is trusted beside it has signed the certificate, or its time is over.
    #[error(
        "{} is not vouched for by {} ({why}), so nobody who trusts the same authorities would believe it: \
         add the certificate of the authority that signed it there, or renew it where that authority is",
        certificate.display(), authorities.display()
    )]
    NotVouched {
        /// The certificate.
        certificate: PathBuf,
        /// The file with the authorities.
        authorities: PathBuf,
        /// Why none of them vouches for it.
        why: String,
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
         choose another directory, or use --force to trust both there",
        path.display()
    )]
    OtherAuthority {
        /// The authority's certificate found there.
        path: PathBuf,
    },
    /// The file with the trusted authorities cannot be used, so nothing is added to it.
    #[error(transparent)]
    Authorities(LoadError),
    /// As many copies of older versions as are kept are there already.
    #[error("there are {limit} older versions of {} already: move some of them away", path.display())]
    TooManyOld {
        /// The file.
        path: PathBuf,
        /// How many are kept.
        limit: usize,
    },
    /// The key could not be protected.
    #[error("the key for {} cannot be protected: {source}", path.display())]
    Protection {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ProtectionError,
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
    /// The time of this machine cannot be right.
    #[error(
        "this machine's clock says {now}, which is before 2020: set it before you make certificates"
    )]
    Clock {
        /// What it says, for people.
        now: String,
    },
    /// The system gave no random numbers.
    #[error("the system's random number generator failed")]
    Randomness,
    /// The certificate could not be built.
    #[error("the certificate could not be built: {0}")]
    Build(String),
}

/// Why a key cannot be protected by a passphrase, or a protected one cannot be read (docs/wire I30).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtectionError {
    /// The passphrase has no bytes.
    #[error(
        "an empty passphrase protects nothing: choose one, or make a plain key without --protect"
    )]
    EmptyPassphrase,
    /// The PEM block is damaged.
    #[error("it is no PEM block `ENCRYPTED PRIVATE KEY` ({0})")]
    Pem(String),
    /// PKCS#8's encrypted form, which has the same name.
    #[error(
        "it is a PKCS#8 file, as openssl writes them: take its passphrase off with `openssl pkey -in FILE -out NEW`"
    )]
    OtherForm,
    /// A header that has to be there.
    #[error("missing {0} header")]
    MissingHeader(&'static str),
    /// A header that says what it cannot.
    #[error("invalid {header}: {value:?}")]
    InvalidHeader {
        /// Its name.
        header: &'static str,
        /// The start of its value.
        value: String,
    },
    /// More or less work than is done here.
    #[error("{header} is {value}, only {low} to {high} is accepted")]
    OutOfRange {
        /// The header's name.
        header: &'static str,
        /// What it asks for.
        value: u32,
        /// The least.
        low: u32,
        /// The most.
        high: u32,
    },
    /// The nonce stands in the headers and in the body, differently.
    #[error("the nonce of its headers is not the one of its body: the file was changed")]
    NonceMismatch,
    /// Too short for a nonce and a tag, or far too long for a key.
    #[error("its body has {0} bytes, which is no encrypted key")]
    Body(usize),
    /// The system did not give the memory that Argon2id needs.
    #[error("the {0} KiB of memory that its passphrase takes are not there")]
    Memory(u32),
    /// The system gave no random numbers.
    #[error("the system's random number generator failed")]
    Randomness,
    /// The cryptographic library refused its input.
    #[error("the cipher refused it")]
    Cipher,
}

fn found_text(found: &Option<String>) -> String {
    match found {
        Some(tag) => format!(" (it begins with `{tag}`)"),
        None => String::from(" (it holds no PEM block at all)"),
    }
}
