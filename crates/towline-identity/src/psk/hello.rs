//! The one message of each side's handshake (docs/wire R3 to R5).

use ring::hmac;
use towline_codec::greenpack::{Reader, Timestamp, write};

/// The most that the part between length and check sum may have; the original's limit is 914.
pub const MAX_HELLO: usize = 4096;

const LENGTH_BYTES: usize = 8;
const SUM_BYTES: usize = 32;
const KEY_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;

const NAME: &[u8] = b"verifiedHandshake";
const PUBLIC_KEY: &[u8] = b"EphemPubKey_zid00_bin";
const SIGNATURE: &[u8] = b"SignatureOfEphem_zid01_bin";
const CERTIFICATE: &[u8] = b"SigningCert_zid02_bin";
const SENT_AT: &[u8] = b"SenderSentAt_zid03_tim";
/// What the original passes over (docs/wire R21).
const CONFIRMS: &[u8] = b"towline";

/// What the original's reader takes.
const MAX_ORIGINAL: usize = 914;

/// The first bytes of a frame without the layer: somebody who knows of no key.
const FRAME_MAGIC: [u8; 7] = [0xb3, 0x5d, 0x18, 0x39, 0xac, 0x8e, 0x1d];

/// Why bytes are not a hello.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HelloError {
    /// The other end sends frames without the layer.
    #[error(
        "the other end uses no pre-shared key, this one does: give both the same key file, or none"
    )]
    NoKeyThere,
    /// The other end wants to begin TLS.
    #[error(
        "the other end speaks TLS, this one a pre-shared key over plain text: use a tls:// endpoint on both or on neither"
    )]
    TlsThere,
    /// The length is out of bounds.
    #[error(
        "the first message announces {0} bytes, not 1 to {MAX_HELLO}: the other end does not use a pre-shared key as we do"
    )]
    Length(u64),
    /// The check sum is another.
    #[error("the first message was damaged on its way")]
    Damaged,
    /// It is not made as it should be.
    #[error("the first message cannot be read: {0}")]
    Malformed(&'static str),
}

/// What each side says once: a fresh key, and by whose certificate it is vouched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The X25519 public key of this connection.
    pub(super) public_key: [u8; KEY_BYTES],
    /// The Ed25519 signature of these 32 bytes by the certificate's key.
    pub(super) signature: [u8; SIGNATURE_BYTES],
    /// The sender's leaf certificate.
    pub(super) certificate: Vec<u8>,
    /// The sender's clock; nobody judges by it.
    pub(super) sent_at: Timestamp,
    /// The sender begins with a record that proves its key, if the other end does.
    pub(super) confirms: bool,
}

impl Hello {
    /// What goes on the wire.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut message = self.encode_map();
        if message.len() > LENGTH_BYTES + MAX_ORIGINAL && self.confirms {
            // An agreement among ourselves must not cost us the original.
            let without = Self {
                confirms: false,
                ..self.clone()
            };
            message = without.encode_map();
        }
        let length = ((message.len() - LENGTH_BYTES) as u64).to_be_bytes();
        message[..LENGTH_BYTES].copy_from_slice(&length);
        let sum = sum_of(&length, &message[LENGTH_BYTES..]);
        message.extend_from_slice(sum.as_ref());
        message
    }

    /// The map behind room for its length.
    fn encode_map(&self) -> Vec<u8> {
        let mut message = vec![0; LENGTH_BYTES];
        write::map_header(&mut message, if self.confirms { 6 } else { 5 });
        write::str(&mut message, b"@");
        write::str(&mut message, NAME);
        for (key, value) in [
            (PUBLIC_KEY, &self.public_key[..]),
            (SIGNATURE, &self.signature),
            (CERTIFICATE, &self.certificate),
        ] {
            write::str(&mut message, key);
            write::bin(&mut message, value);
        }
        write::str(&mut message, SENT_AT);
        write::time(&mut message, self.sent_at);
        if self.confirms {
            write::str(&mut message, CONFIRMS);
            write::bool(&mut message, true);
        }
        message
    }

    /// How many bytes follow the first eight.
    ///
    /// # Errors
    ///
    /// [`HelloError`]: there is no hello to be read.
    pub fn length(field: [u8; LENGTH_BYTES]) -> Result<usize, HelloError> {
        match field {
            [magic @ .., _] if magic == FRAME_MAGIC => Err(HelloError::NoKeyThere),
            [0x15 | 0x16, 0x03, ..] => Err(HelloError::TlsThere),
            _ => match u64::from_be_bytes(field) {
                found @ 1..=4096 => Ok(found as usize + SUM_BYTES),
                found => Err(HelloError::Length(found)),
            },
        }
    }

    /// Reads a whole message, its length included.
    pub(super) fn decode(message: &[u8]) -> Result<Self, HelloError> {
        let Some((field, rest)) = message.split_first_chunk::<LENGTH_BYTES>() else {
            return Err(HelloError::Malformed("it is too short"));
        };
        if Self::length(*field)? != rest.len() {
            return Err(HelloError::Malformed("it has another length"));
        }
        let (map, sum) = rest.split_at(rest.len() - SUM_BYTES);
        // Not a secret: the key is on the wire. It finds damage, nothing else.
        if sum_of(field, map).as_ref() != sum {
            return Err(HelloError::Damaged);
        }
        Self::read(map)
    }

    fn read(map: &[u8]) -> Result<Self, HelloError> {
        let broken = |_| HelloError::Malformed("it is not greenpack");
        let mut reader = Reader::new(map);
        let (mut public_key, mut signature, mut certificate) = (&[][..], &[][..], &[][..]);
        let (mut sent_at, mut confirms) = (None, false);
        for _ in 0..reader.map_header().map_err(broken)?.unwrap_or(0) {
            let bytes = match reader.key().map_err(broken)?.unwrap_or(b"") {
                PUBLIC_KEY => &mut public_key,
                SIGNATURE => &mut signature,
                CERTIFICATE => &mut certificate,
                SENT_AT => {
                    sent_at = reader.time().map_err(broken)?;
                    continue;
                }
                CONFIRMS => {
                    confirms = reader.bool().map_err(broken)?;
                    continue;
                }
                // docs/wire G18: what is not known is passed over.
                _ => {
                    reader.skip().map_err(broken)?;
                    continue;
                }
            };
            *bytes = reader.bin().map_err(broken)?;
        }
        if !reader.rest().is_empty() {
            return Err(HelloError::Malformed("something follows its last entry"));
        }
        let public_key = <[u8; KEY_BYTES]>::try_from(public_key)
            .map_err(|_| HelloError::Malformed("its key has not 32 bytes"))?;
        if public_key == [0; KEY_BYTES] {
            return Err(HelloError::Malformed("its key is zero"));
        }
        Ok(Self {
            public_key,
            signature: signature
                .try_into()
                .map_err(|_| HelloError::Malformed("its signature has not 64 bytes"))?,
            certificate: certificate.to_vec(),
            sent_at: sent_at.unwrap_or(Timestamp::new(0, 0)),
            confirms,
        })
    }
}

/// docs/wire R4: keyed by what is sent in clear, so a check sum only.
fn sum_of(length: &[u8; LENGTH_BYTES], map: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, length), map)
}
