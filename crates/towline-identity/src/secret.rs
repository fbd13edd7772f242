//! A private key: its 32-byte seed, the PKCS#8 forms it is stored in, and signing.

use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use zeroize::Zeroizing;

use crate::error::{IssueError, LoadError, SaveError};
use crate::files;
use crate::passphrase::PassphraseSource;
use crate::protected::{self, ProtectedKey, Protection};
use crate::public_key::PublicKey;

/// What stands in front of the seed in the 48-byte form (PKCS#8 version 0; docs/wire I4).
///
/// The longer form with the public key appended is read as well but not written (docs/wire I5):
/// OpenSSL 3.0 cannot read it.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";
const KEY_TAG: &str = "PRIVATE KEY";

const OID_ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// An Ed25519 private key. Boxed, so that moving it leaves no copy; erased when dropped.
pub(crate) struct SecretKey {
    seed: Box<Zeroizing<[u8; 32]>>,
    public: PublicKey,
}

impl SecretKey {
    pub(crate) fn generate() -> Result<Self, IssueError> {
        let mut seed = Box::new(Zeroizing::new([0; 32]));
        random(&mut seed[..])?;
        Self::from_seed(seed).ok_or(IssueError::Randomness)
    }

    /// `None` only if the curve arithmetic refuses the seed, which it does for none.
    fn from_seed(seed: Box<Zeroizing<[u8; 32]>>) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed[..]).ok()?;
        let public = <[u8; 32]>::try_from(pair.public_key().as_ref()).ok()?;
        Some(Self {
            seed,
            public: public.into(),
        })
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        self.public
    }

    /// The signature; `None` as little as [`from_seed`](Self::from_seed).
    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&self.seed[..]).ok()?;
        Some(pair.sign(message).as_ref().to_vec())
    }

    /// The 48-byte PKCS#8 form.
    pub(crate) fn to_pkcs8(&self) -> Zeroizing<[u8; 48]> {
        let mut der = Zeroizing::new([0; 48]);
        der[..16].copy_from_slice(&PKCS8_PREFIX);
        der[16..].copy_from_slice(&self.seed[..]);
        der
    }

    /// The 119-byte PEM text of the 48-byte form: byte for byte what the original writes.
    pub(crate) fn to_pem(&self) -> Zeroizing<Vec<u8>> {
        let mut body = Zeroizing::new([0; 64]);
        // 48 bytes are exactly 64 characters: one line, no padding.
        let written = STANDARD
            .encode_slice(&self.to_pkcs8()[..], &mut body[..])
            .unwrap_or(0);
        debug_assert_eq!(written, 64);
        let mut pem = Zeroizing::new(Vec::with_capacity(119));
        pem.extend_from_slice(b"-----BEGIN PRIVATE KEY-----\n");
        pem.extend_from_slice(&body[..]);
        pem.extend_from_slice(b"\n-----END PRIVATE KEY-----\n");
        pem
    }

    /// What a key file holds: plain, or protected if there is a protection.
    pub(crate) fn to_file(
        &self,
        protection: Option<&Protection>,
        path: &Path,
    ) -> Result<Zeroizing<Vec<u8>>, SaveError> {
        match protection {
            None => Ok(self.to_pem()),
            Some(protection) => {
                protected::seal(&self.to_pkcs8()[..], protection, path).map(Zeroizing::new)
            }
        }
    }

    /// Loads a key file, plain or protected (docs/wire I5, I30, I34).
    pub(crate) fn load(
        path: &Path,
        passphrases: &mut dyn PassphraseSource,
    ) -> Result<Self, LoadError> {
        Self::from_pem(&files::read_secret(path)?, path, passphrases)
    }

    /// Reads the first PEM block of a key file; text before it is allowed. `path` is for errors.
    pub(crate) fn from_pem(
        text: &[u8],
        path: &Path,
        passphrases: &mut dyn PassphraseSource,
    ) -> Result<Self, LoadError> {
        let malformed = |why| LoadError::MalformedKey {
            path: path.to_owned(),
            why,
        };
        let missing = |found| LoadError::NotPem {
            path: path.to_owned(),
            expected: KEY_TAG,
            found,
        };
        let Ok(text) = std::str::from_utf8(text) else {
            return Err(missing(None));
        };
        if is_protected(text) {
            // Read whole before anybody is asked: a damaged file needs no passphrase.
            let protected =
                ProtectedKey::parse(text.as_bytes()).map_err(|source| LoadError::Protection {
                    path: path.to_owned(),
                    source,
                })?;
            let passphrase =
                passphrases
                    .passphrase(path)
                    .map_err(|source| LoadError::Passphrase {
                        path: path.to_owned(),
                        source,
                    })?;
            return Self::from_pkcs8(&protected.unlock(&passphrase, path)?, path);
        }
        let Some((_, rest)) = text.split_once(BEGIN) else {
            return Err(missing(None));
        };
        let Some((tag, rest)) = rest.split_once(DASHES) else {
            return Err(malformed("the line that begins the block is incomplete"));
        };
        let found = match tag {
            KEY_TAG => None,
            "RSA PRIVATE KEY" => Some("RSA"),
            "EC PRIVATE KEY" => Some("ECDSA"),
            "OPENSSH PRIVATE KEY" => Some("OpenSSH"),
            _ => return Err(missing(Some(tag.chars().take(40).collect()))),
        };
        if let Some(found) = found {
            return Err(LoadError::WrongKeyType {
                path: path.to_owned(),
                found: found.to_owned(),
            });
        }
        let Some((body, _)) = rest.split_once("-----END PRIVATE KEY-----") else {
            return Err(malformed("the end of the block is missing"));
        };
        let mut base64 = Zeroizing::new(Vec::with_capacity(body.len()));
        base64.extend(body.bytes().filter(|b| !b.is_ascii_whitespace()));
        let mut der = Zeroizing::new(vec![0; base64.len()]);
        let length = STANDARD
            .decode_slice(&base64[..], &mut der[..])
            .map_err(|_| malformed("it is not base64"))?;
        Self::from_pkcs8(&der[..length], path)
    }

    /// Reads PKCS#8 version 0, and version 1 with the public key appended.
    fn from_pkcs8(der: &[u8], path: &Path) -> Result<Self, LoadError> {
        let malformed = |why| LoadError::MalformedKey {
            path: path.to_owned(),
            why,
        };
        let not_pkcs8 = || malformed("it is not PKCS#8");
        let (outer, rest) = tlv(der, 0x30).ok_or_else(not_pkcs8)?;
        if !rest.is_empty() {
            return Err(malformed("bytes follow the key"));
        }
        let (version, rest) = tlv(outer, 0x02).ok_or_else(not_pkcs8)?;
        let (algorithm, rest) = tlv(rest, 0x30).ok_or_else(not_pkcs8)?;
        let (oid, _) = tlv(algorithm, 0x06).ok_or_else(not_pkcs8)?;
        if oid != OID_ED25519 {
            return Err(LoadError::WrongKeyType {
                path: path.to_owned(),
                found: key_type(oid),
            });
        }
        if !matches!(version, [0 | 1]) {
            return Err(malformed("its PKCS#8 version is neither 0 nor 1"));
        }
        let (private, mut rest) = tlv(rest, 0x04).ok_or_else(not_pkcs8)?;
        let (seed_bytes, after) = tlv(private, 0x04).ok_or_else(not_pkcs8)?;
        if seed_bytes.len() != 32 || !after.is_empty() {
            return Err(malformed("an Ed25519 key has 32 bytes"));
        }
        let mut seed = Box::new(Zeroizing::new([0; 32]));
        seed.copy_from_slice(seed_bytes);
        let key = Self::from_seed(seed).ok_or_else(not_pkcs8)?;
        // Attributes [0], then the public key [1], whose bit string is tagged in two ways in the wild.
        if let Some((_, after)) = tlv(rest, 0xa0) {
            rest = after;
        }
        let appended = match tlv(rest, 0x81) {
            Some((bits, _)) => Some(bits),
            None => tlv(rest, 0xa1)
                .and_then(|(inner, _)| tlv(inner, 0x03))
                .map(|(bits, _)| bits),
        };
        match appended {
            Some([0, public @ ..]) if public == key.public.as_bytes() => Ok(key),
            Some(_) => Err(malformed("the public key stored with it is another one")),
            None if rest.is_empty() => Ok(key),
            None => Err(not_pkcs8()),
        }
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

impl rcgen::PublicKeyData for SecretKey {
    fn der_bytes(&self) -> &[u8] {
        self.public.as_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl rcgen::SigningKey for SecretKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Self::sign(self, message).ok_or(rcgen::Error::RemoteKeyError)
    }
}

/// As the original decides it: by words that may stand anywhere in the file.
pub(crate) fn is_protected(text: &str) -> bool {
    text.contains("BEGIN ENCRYPTED PRIVATE KEY")
}

/// Fills `bytes` from the system's generator: the one source of randomness of this crate.
pub(crate) fn random(bytes: &mut [u8]) -> Result<(), IssueError> {
    #[expect(
        clippy::disallowed_methods,
        reason = "new keys and serial numbers need the system's randomness"
    )]
    let source = ring::rand::SystemRandom::new();
    ring::rand::SecureRandom::fill(&source, bytes).map_err(|_| IssueError::Randomness)
}

/// The content of the DER element with this tag at the start of `input`, and what follows it.
///
/// Lengths of at most two bytes: no key file needs more.
pub(crate) fn tlv(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = input.split_first()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match *rest {
        [short @ 0..=0x7f, ref rest @ ..] => (usize::from(short), rest),
        [0x81, long, ref rest @ ..] => (usize::from(long), rest),
        [0x82, high, low, ref rest @ ..] => (usize::from(high) << 8 | usize::from(low), rest),
        _ => return None,
    };
    rest.split_at_checked(length)
}

fn key_type(oid: &[u8]) -> String {
    match oid {
        [0x2b, 0x65, 0x6e] => "X25519".to_owned(),
        [0x2b, 0x65, 0x6f] => "X448".to_owned(),
        [0x2b, 0x65, 0x71] => "Ed448".to_owned(),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01] => "RSA".to_owned(),
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01] => "ECDSA".to_owned(),
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passphrase::NoPassphrase;

    fn pkcs8(version: u8, oid: &[u8], rest: &[u8]) -> Vec<u8> {
        let mut inner = vec![
            0x02,
            0x01,
            version,
            0x30,
            oid.len() as u8 + 2,
            0x06,
            oid.len() as u8,
        ];
        inner.extend_from_slice(oid);
        inner.extend_from_slice(&[0x04, 0x22, 0x04, 0x20]);
        inner.extend_from_slice(&[9; 32]);
        inner.extend_from_slice(rest);
        let mut der = vec![0x30, inner.len() as u8];
        der.extend_from_slice(&inner);
        der
    }

    fn read(der: &[u8]) -> Result<SecretKey, LoadError> {
        SecretKey::from_pkcs8(der, Path::new("x.key"))
    }

    fn nine() -> SecretKey {
        SecretKey::from_seed(Box::new(Zeroizing::new([9; 32]))).unwrap()
    }

    #[test]
    fn both_forms_of_pkcs8_are_read_and_the_short_one_written() {
        let public = nine().public_key();
        let mut with_public = vec![0x81, 0x21, 0x00];
        with_public.extend_from_slice(public.as_bytes());
        let long = pkcs8(1, OID_ED25519, &with_public);
        assert_eq!(long.len(), 83);
        let mut nested = vec![0xa1, 0x23, 0x03, 0x21, 0x00];
        nested.extend_from_slice(public.as_bytes());
        for der in [
            pkcs8(0, OID_ED25519, &[]),
            long,
            pkcs8(1, OID_ED25519, &nested),
        ] {
            let key = read(&der).unwrap();
            assert_eq!(key.public_key(), public);
            assert_eq!(key.to_pkcs8()[..], pkcs8(0, OID_ED25519, &[])[..]);
        }
    }

    #[test]
    fn an_appended_public_key_must_be_the_right_one() {
        let mut wrong = vec![0x81, 0x21, 0x00];
        wrong.extend_from_slice(&[1; 32]);
        assert!(matches!(
            read(&pkcs8(1, OID_ED25519, &wrong)),
            Err(LoadError::MalformedKey { .. })
        ));
    }

    #[test]
    fn other_kinds_of_keys_are_named() {
        for (oid, name) in [
            (&[0x2b, 0x65, 0x6e][..], "X25519"),
            (&[0x2b, 0x65, 0x71], "Ed448"),
            (
                &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01],
                "RSA",
            ),
            (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01], "ECDSA"),
        ] {
            let error = read(&pkcs8(0, oid, &[])).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("Ed25519"), "{error}");
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        let der = pkcs8(0, OID_ED25519, &[]);
        for end in 0..der.len() {
            assert!(read(&der[..end]).is_err(), "{end}");
        }
        let pem = nine().to_pem();
        // The last byte is the newline after the block, which a reader does not need.
        for end in 0..pem.len() - 1 {
            let read = SecretKey::from_pem(&pem[..end], Path::new("x.key"), &mut NoPassphrase);
            assert!(read.is_err(), "{end}");
        }
    }

    #[test]
    fn text_before_the_block_and_carriage_returns_are_accepted() {
        let pem = String::from_utf8(nine().to_pem().to_vec()).unwrap();
        let text = format!("key of nine\n\n{}", pem.replace('\n', "\r\n"));
        let path = Path::new("x.key");
        let key = SecretKey::from_pem(text.as_bytes(), path, &mut NoPassphrase).unwrap();
        assert_eq!(key.public_key(), nine().public_key());
    }

    #[test]
    fn debug_output_does_not_show_the_seed() {
        let shown = format!("{:?}", nine());
        assert!(
            !shown.contains("9, 9") && !shown.contains("0909"),
            "{shown}"
        );
    }
}
