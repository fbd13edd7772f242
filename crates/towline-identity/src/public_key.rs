//! An Ed25519 public key and the text people compare it by (base58check, docs/wire I25).

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::certificate;
use crate::error::CertificateError;
use crate::fingerprint::Fingerprint;

/// The Bitcoin alphabet: no `0`, `O`, `I` or `l`, which look alike.
const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// The version byte in front of the key; it makes every text begin with `9`.
const VERSION: u8 = 0xff;
const CHECKSUM_BYTES: usize = 4;
const PAYLOAD_BYTES: usize = 1 + 32 + CHECKSUM_BYTES;
/// 58^51 > 256^37 > 58^50, and the version byte is never zero: the length never varies.
const TEXT_CHARS: usize = 51;

/// An Ed25519 public key: what an identity is known by.
///
/// Its text is 51 characters long, starts with `9` and carries a checksum, so that a mistyped key is
/// noticed. The same text appears in the original's known-keys files.
///
/// ```
/// use towline_identity::PublicKey;
///
/// let key = PublicKey::from([0; 32]);
/// let text = key.to_string();
/// assert_eq!(text, "9Ygpz8T9JVTkPCBrApGoDmtUX637mZtHez4TDCQbV6htqexFMWo");
/// assert_eq!(text.parse::<PublicKey>()?, key);
/// # Ok::<(), towline_identity::ParsePublicKeyError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The 32 raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key that a DER-encoded certificate speaks for.
    ///
    /// The signature on the certificate is not checked here.
    ///
    /// # Errors
    ///
    /// Not a certificate, or one for a key that is not Ed25519.
    pub fn from_certificate_der(der: &[u8]) -> Result<Self, CertificateError> {
        Ok(certificate::Facts::read(der)?.public_key)
    }

    /// The form in which two people compare it: 30 digits.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self)
    }
}

impl From<[u8; 32]> for PublicKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for PublicKey {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut payload = [0; PAYLOAD_BYTES];
        payload[0] = VERSION;
        payload[1..33].copy_from_slice(&self.0);
        let sum = checksum(&payload[..33]);
        payload[33..].copy_from_slice(&sum);
        f.pad(&encode(payload))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// Why a text is not a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParsePublicKeyError {
    /// Not 51 characters.
    #[error("a public key has 51 characters, this text has {0}: copy the whole key")]
    Length(usize),
    /// A character that base58 does not use.
    #[error("{0:?} cannot occur in a public key (0, O, I and l are not used)")]
    Character(char),
    /// The version byte is not that of an Ed25519 key, or the number is too large for a key.
    #[error("this text is not an Ed25519 public key (one begins with 9)")]
    Version,
    /// Well formed, but mistyped.
    #[error("the checksum of this public key does not match: a character is wrong")]
    Checksum,
}

impl FromStr for PublicKey {
    type Err = ParsePublicKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let chars = text.chars().count();
        if chars != TEXT_CHARS {
            return Err(ParsePublicKeyError::Length(chars));
        }
        let payload = decode(text)?;
        if payload[0] != VERSION {
            return Err(ParsePublicKeyError::Version);
        }
        if checksum(&payload[..33]) != payload[33..] {
            return Err(ParsePublicKeyError::Checksum);
        }
        let mut key = [0; 32];
        key.copy_from_slice(&payload[1..33]);
        Ok(Self(key))
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let twice = Sha256::digest(Sha256::digest(bytes));
    [twice[0], twice[1], twice[2], twice[3]]
}

/// Long division by 58, least significant digit first.
fn encode(mut number: [u8; PAYLOAD_BYTES]) -> String {
    let mut digits = [0; TEXT_CHARS];
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0_u32;
        for byte in &mut number {
            let value = remainder * 256 + u32::from(*byte);
            *byte = (value / 58) as u8;
            remainder = value % 58;
        }
        *digit = ALPHABET[remainder as usize];
    }
    digits.iter().copied().map(char::from).collect()
}

fn decode(text: &str) -> Result<[u8; PAYLOAD_BYTES], ParsePublicKeyError> {
    let mut number = [0_u8; PAYLOAD_BYTES];
    for c in text.chars() {
        let digit = ALPHABET
            .iter()
            .position(|&a| char::from(a) == c)
            .ok_or(ParsePublicKeyError::Character(c))?;
        let mut carry = digit as u32;
        for byte in number.iter_mut().rev() {
            let value = u32::from(*byte) * 58 + carry;
            *byte = (value % 256) as u8;
            carry = value / 256;
        }
        if carry != 0 {
            return Err(ParsePublicKeyError::Version);
        }
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_key_survives_its_text(bytes: [u8; 32]) {
            let key = PublicKey::from(bytes);
            let text = key.to_string();
            prop_assert_eq!(text.len(), 51);
            prop_assert!(text.starts_with('9'));
            prop_assert_eq!(text.parse::<PublicKey>(), Ok(key));
        }

        #[test]
        fn a_wrong_character_is_noticed(bytes: [u8; 32], at in 0..51_usize, other in 0..58_usize) {
            let mut text = PublicKey::from(bytes).to_string().into_bytes();
            prop_assume!(text[at] != ALPHABET[other]);
            text[at] = ALPHABET[other];
            let text = String::from_utf8(text).unwrap();
            prop_assert!(text.parse::<PublicKey>().is_err());
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,60}") {
            prop_assert!(text.parse::<PublicKey>().is_err());
        }
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let good = PublicKey::from([7; 32]).to_string();
        assert_eq!(
            good[1..].parse::<PublicKey>(),
            Err(ParsePublicKeyError::Length(50))
        );
        let zero = good.replacen(&good[4..5], "0", 1);
        assert_eq!(
            zero.parse::<PublicKey>(),
            Err(ParsePublicKeyError::Character('0'))
        );
        let ones = "1".repeat(51);
        assert_eq!(ones.parse::<PublicKey>(), Err(ParsePublicKeyError::Version));
        let huge = "z".repeat(51);
        assert_eq!(huge.parse::<PublicKey>(), Err(ParsePublicKeyError::Version));
    }
}
