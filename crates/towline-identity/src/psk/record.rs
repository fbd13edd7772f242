//! Records: one sealed message each (docs/wire R9 to R16).

use std::fmt;

use aes_gcm::aes::Aes256;
use aes_gcm::aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use ring::aead::{self, Aad, LessSafeKey, UnboundKey};
use ring::hmac;
use zeroize::Zeroizing;

use super::Role;
use super::nonce::{NONCE_BYTES, Nonce, Seen, Wrong};

const LENGTH_BYTES: usize = 8;
const TAG_BYTES: usize = 16;
/// Magic and kind, with which the text of every record begins.
const HEAD_BYTES: usize = 8;

/// What stands before the text of a record: its length and its nonce.
pub const BEFORE: usize = LENGTH_BYTES + NONCE_BYTES;
/// What stands behind it: the tag.
pub const BEHIND: usize = TAG_BYTES;
/// The least that a length field may say: nonce, eight bytes of text, tag (docs/wire R10).
pub const MIN_RECORD: usize = NONCE_BYTES + HEAD_BYTES + TAG_BYTES;
/// The most that a length field may say in the original's protocol (docs/wire R10).
pub const MAX_RECORD: usize = 67_108_784;

/// Records in one direction before the key counts as used up (docs/wire R16).
const MAX_RECORDS: u64 = 1 << 48;

/// What both ends have computed: the key of one connection. Erased when dropped, never in `Debug`
/// output; what the cryptographic library keeps while the connection lives is beyond reach.
pub struct SessionKey(Zeroizing<[u8; 32]>);

impl SessionKey {
    pub(super) const fn new(key: Zeroizing<[u8; 32]>) -> Self {
        Self(key)
    }

    /// The key itself, for tests against recorded connections and for tools that decode captures.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for SessionKey {
    fn from(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionKey").finish_non_exhaustive()
    }
}

/// A record cannot be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// There is not room for length, nonce, eight bytes of text and tag, or it is too long for the
    /// cipher.
    #[error("a record of {0} bytes cannot be sealed")]
    Length(usize),
    /// The connection has sent as many records as one key is good for.
    #[error("this connection's key has been used {MAX_RECORDS} times: connect again")]
    UsedUp,
}

/// What came is not a record of the other end's, or not its next one. The connection is of no further
/// use (docs/wire R15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The length is out of bounds.
    #[error("a record announces {found} bytes; {MIN_RECORD} to {limit} are possible")]
    Length {
        /// What it says.
        found: u64,
        /// The most that is taken here.
        limit: usize,
    },
    /// The first record cannot be opened.
    #[error(
        "the first record cannot be opened: the two ends have different pre-shared keys, or somebody between them changed it"
    )]
    WrongKey,
    /// A later record cannot be opened.
    #[error("a record was changed on its way")]
    Forged,
    /// A record of our own came back.
    #[error("one of our own records was sent back to us")]
    Reflected,
    /// A record came twice, too early, or was left out.
    #[error("a record came twice or out of order")]
    OutOfOrder,
}

/// The two ciphers of a record, and the keys for them.
struct Cipher {
    aead: Option<LessSafeKey>,
    tag_keys: hmac::Key,
}

impl Cipher {
    fn new(key: &SessionKey) -> Self {
        Self {
            // None only for a key of another length.
            aead: UnboundKey::new(&aead::CHACHA20_POLY1305, &key.0[..])
                .ok()
                .map(LessSafeKey::new),
            tag_keys: hmac::Key::new(hmac::HMAC_SHA256, &key.0[..]),
        }
    }

    /// The cipher of one record's tag (docs/wire R11).
    fn of_tag(&self, length: &[u8], nonce: &[u8]) -> Aes256 {
        let mut context = hmac::Context::with_key(&self.tag_keys);
        context.update(length);
        context.update(nonce);
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(context.sign().as_ref());
        Aes256::new((&*key).into())
    }
}

/// Makes the records of one direction of a connection.
pub struct Sealer {
    cipher: Cipher,
    next: Nonce,
    sealed: u64,
}

impl Sealer {
    /// For what `role` sends. `random` is where the nonces begin: twelve bytes that nobody can foresee.
    pub fn new(key: &SessionKey, role: Role, random: [u8; NONCE_BYTES]) -> Self {
        Self {
            cipher: Cipher::new(key),
            next: Nonce::first(role, random),
            sealed: 0,
        }
    }

    /// Turns `[room of BEFORE bytes] text [room of BEHIND bytes]` into a record, in place. The text
    /// begins with eight bytes that say what it is.
    ///
    /// # Errors
    ///
    /// [`SealError`]; the bytes are then worth nothing.
    pub fn seal(&mut self, record: &mut [u8]) -> Result<(), SealError> {
        let whole = record.len();
        if whole < LENGTH_BYTES + MIN_RECORD {
            return Err(SealError::Length(whole));
        }
        if self.sealed >= MAX_RECORDS {
            return Err(SealError::UsedUp);
        }
        let nonce = self.next.to_bytes();
        let (length, rest) = record.split_at_mut(LENGTH_BYTES);
        length.copy_from_slice(&(rest.len() as u64).to_be_bytes());
        let (room, rest) = rest.split_at_mut(NONCE_BYTES);
        room.copy_from_slice(&nonce);
        let (text, tag_room) = rest.split_at_mut(rest.len() - TAG_BYTES);
        let tag = self
            .cipher
            .aead
            .as_ref()
            .and_then(|aead| {
                let nonce = aead::Nonce::assume_unique_for_key(nonce);
                aead.seal_in_place_separate_tag(nonce, Aad::from(&*length), text)
                    .ok()
            })
            .ok_or(SealError::Length(whole))?;
        let mut block = [0; TAG_BYTES];
        block.copy_from_slice(tag.as_ref());
        self.cipher
            .of_tag(length, &nonce)
            .encrypt_block((&mut block).into());
        tag_room.copy_from_slice(&block);
        self.next = self.next.next();
        self.sealed += 1;
        Ok(())
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer")
            .field("sealed", &self.sealed)
            .finish_non_exhaustive()
    }
}

/// Reads the records of one direction of a connection: each of them once, in the order in which they
/// were sent, unchanged.
pub struct Opener {
    cipher: Cipher,
    seen: Seen,
    limit: usize,
    opened: u64,
}

impl Opener {
    /// For what `sender` sends, in records whose length field says at most `limit`.
    pub fn new(key: &SessionKey, sender: Role, limit: usize) -> Self {
        Self {
            cipher: Cipher::new(key),
            seen: Seen::of(sender),
            limit,
            opened: 0,
        }
    }

    /// How many bytes follow a length field.
    ///
    /// # Errors
    ///
    /// [`RecordError::Length`], before anything of the record has to be kept.
    pub fn length(&self, field: [u8; LENGTH_BYTES]) -> Result<usize, RecordError> {
        let found = u64::from_be_bytes(field);
        match usize::try_from(found) {
            Ok(length) if (MIN_RECORD..=self.limit).contains(&length) => Ok(length),
            _ => Err(RecordError::Length {
                found,
                limit: self.limit,
            }),
        }
    }

    /// Opens a record, given without its length field, in place, and returns its text: eight bytes at
    /// least.
    ///
    /// # Errors
    ///
    /// [`RecordError`]; close the connection. The bytes are then worth nothing.
    pub fn open<'a>(&mut self, record: &'a mut [u8]) -> Result<&'a mut [u8], RecordError> {
        let length = (record.len() as u64).to_be_bytes();
        self.length(length)?;
        let (nonce, rest) = record.split_at_mut(NONCE_BYTES);
        let mut bytes = [0; NONCE_BYTES];
        bytes.copy_from_slice(nonce);
        let nonce = Nonce::from_bytes(bytes);
        let sequence = self.seen.check(nonce).map_err(|wrong| match wrong {
            Wrong::Reflected => RecordError::Reflected,
            Wrong::OutOfOrder => RecordError::OutOfOrder,
        })?;
        let forged = if self.seen.is_fresh() {
            RecordError::WrongKey
        } else {
            RecordError::Forged
        };
        let (text, tag) = rest.split_at_mut(rest.len() - TAG_BYTES);
        let mut block = [0; TAG_BYTES];
        block.copy_from_slice(tag);
        self.cipher
            .of_tag(&length, &bytes)
            .decrypt_block((&mut block).into());
        let aead = self.cipher.aead.as_ref().ok_or(forged)?;
        let text = aead
            .open_in_place_separate_tag(
                aead::Nonce::assume_unique_for_key(bytes),
                Aad::from(&length),
                block.into(),
                text,
                0..,
            )
            .map_err(|_| forged)?;
        self.seen.note(sequence, nonce);
        self.opened += 1;
        Ok(text)
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener")
            .field("opened", &self.opened)
            .finish_non_exhaustive()
    }
}
