//! Keys protected by a passphrase: Argon2id and AES-GCM in a PEM block with headers (docs/wire I30).
//!
//! The block shares its type, `ENCRYPTED PRIVATE KEY`, with PKCS#8's encrypted form, but nothing else.

use std::path::Path;

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::aes::{Aes192, cipher::consts::U12};
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::{Zeroize, Zeroizing};

use crate::error::{LoadError, ProtectionError, SaveError};
use crate::passphrase::Passphrase;
use crate::secret::random;

pub(crate) const TAG: &str = "ENCRYPTED PRIVATE KEY";

const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const SALT_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
/// Nonce, a PKCS#8 key of either version and some attributes, tag: real ones have 76 bytes.
const MAX_BODY: usize = 1024;

/// What the original writes: about a second of work and 256 MiB for each guess.
const ITERATIONS: u32 = 12;
const MEMORY_KIB: u32 = 262_144;
const THREADS: u32 = 1;

/// What is read: a file that asks for more is refused before any memory is reserved.
const MAX_ITERATIONS: u32 = 100;
const MIN_MEMORY_KIB: u32 = 8;
const MAX_MEMORY_KIB: u32 = 2_097_152;
const MAX_THREADS: u32 = 16;

/// The headers, in the order in which they are written.
const NONCE: &str = "AESGCM.Nonce";
const ITERATIONS_HEADER: &str = "Argon2id.Iterations";
const KEY_LENGTH: &str = "Argon2id.KeyLength";
const MEMORY: &str = "Argon2id.Memory";
const SALT: &str = "Argon2id.Salt";
const THREADS_HEADER: &str = "Argon2id.Threads";
const CIPHER: &str = "CipherSuite";
const HEADERS: [&str; 7] = [
    NONCE,
    ITERATIONS_HEADER,
    KEY_LENGTH,
    MEMORY,
    SALT,
    THREADS_HEADER,
    CIPHER,
];

/// How a private key is protected when it is written: by a passphrase, and by what a guess costs.
///
/// The default is what the original writes: 12 passes over 256 MiB. The reader pays it too, once for
/// each load.
#[derive(Clone, Debug)]
pub struct Protection {
    passphrase: Passphrase,
    iterations: u32,
    memory_kib: u32,
}

impl Protection {
    /// By this passphrase, with the original's cost.
    pub fn new(passphrase: Passphrase) -> Self {
        Self {
            passphrase,
            iterations: ITERATIONS,
            memory_kib: MEMORY_KIB,
        }
    }

    /// Passes over the memory: 1 to 100, 12 unless told otherwise. Time grows with it.
    pub fn iterations(mut self, passes: u32) -> Self {
        self.iterations = passes;
        self
    }

    /// Memory for each guess, in KiB: 8 to 2,097,152, 262,144 (256 MiB) unless told otherwise. Less
    /// helps small machines, and whoever guesses.
    pub fn memory_kib(mut self, kib: u32) -> Self {
        self.memory_kib = kib;
        self
    }

    /// Checks the settings without doing any work.
    ///
    /// # Errors
    ///
    /// [`ProtectionError::EmptyPassphrase`] or [`ProtectionError::OutOfRange`].
    pub fn validate(&self) -> Result<(), ProtectionError> {
        if self.passphrase.is_empty() {
            return Err(ProtectionError::EmptyPassphrase);
        }
        Cost {
            iterations: self.iterations,
            memory_kib: self.memory_kib,
            threads: THREADS,
        }
        .check()
    }
}

/// What Argon2id has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(crate) iterations: u32,
    pub(crate) memory_kib: u32,
    pub(crate) threads: u32,
}

impl Cost {
    fn check(self) -> Result<(), ProtectionError> {
        let range = |header, value: u32, low, high| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(ProtectionError::OutOfRange {
                    header,
                    value,
                    low,
                    high,
                })
            }
        };
        range(ITERATIONS_HEADER, self.iterations, 1, MAX_ITERATIONS)?;
        range(THREADS_HEADER, self.threads, 1, MAX_THREADS)?;
        // RFC 9106: eight blocks for each lane.
        let low = MIN_MEMORY_KIB.max(8 * self.threads);
        range(MEMORY, self.memory_kib, low, MAX_MEMORY_KIB)
    }
}

/// A protected key as its file says it, every number within bounds, nothing decrypted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ProtectedKey {
    cost: Cost,
    key_length: usize,
    salt: Vec<u8>,
    /// Nonce, ciphertext, tag.
    body: Vec<u8>,
}

impl ProtectedKey {
    /// Reads the first PEM block of a file. No key is derived, and no memory reserved for it.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, ProtectionError> {
        let block = pem::parse(text).map_err(|error| ProtectionError::Pem(error.to_string()))?;
        if block.tag() != TAG {
            return Err(ProtectionError::Pem(format!(
                "it begins with a block `{}`",
                block.tag().chars().take(40).collect::<String>()
            )));
        }
        let headers = block.headers();
        if HEADERS.iter().all(|name| headers.get(name).is_none()) {
            return Err(ProtectionError::OtherForm);
        }
        let header = |name| {
            headers
                .get(name)
                .ok_or(ProtectionError::MissingHeader(name))
        };
        let invalid = |header| ProtectionError::InvalidHeader {
            header,
            value: headers
                .get(header)
                .unwrap_or_default()
                .chars()
                .take(40)
                .collect(),
        };
        // Digits alone: `+1` and the like are no numbers here.
        let number = |name| {
            let text = header(name)?;
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u32>()
                .ok()
                .filter(|_| digits)
                .ok_or_else(|| invalid(name))
        };
        let bytes = |name, low: usize, high: usize| {
            hex(header(name)?)
                .filter(|bytes| (low..=high).contains(&bytes.len()))
                .ok_or_else(|| invalid(name))
        };
        if !matches!(header(CIPHER)?, "AES-GCM" | "\"AES-GCM\"") {
            return Err(invalid(CIPHER));
        }
        let cost = Cost {
            iterations: number(ITERATIONS_HEADER)?,
            memory_kib: number(MEMORY)?,
            threads: number(THREADS_HEADER)?,
        };
        cost.check()?;
        let key_length = match number(KEY_LENGTH)? {
            16 => 16,
            24 => 24,
            32 => 32,
            _ => return Err(invalid(KEY_LENGTH)),
        };
        let salt = bytes(SALT, 8, 64)?;
        let nonce = bytes(NONCE, NONCE_BYTES, NONCE_BYTES)?;
        let body = block.into_contents();
        if body.len() < NONCE_BYTES + TAG_BYTES || body.len() > MAX_BODY {
            return Err(ProtectionError::Body(body.len()));
        }
        if body[..NONCE_BYTES] != nonce[..] {
            return Err(ProtectionError::NonceMismatch);
        }
        Ok(Self {
            cost,
            key_length,
            salt,
            body,
        })
    }

    pub(crate) fn cost(&self) -> Cost {
        self.cost
    }

    /// The PKCS#8 key inside. Takes as long as its author chose, a second as a rule.
    pub(crate) fn unlock(
        &self,
        passphrase: &Passphrase,
        path: &Path,
    ) -> Result<Zeroizing<Vec<u8>>, LoadError> {
        let key = derive(passphrase, &self.salt, self.cost, self.key_length).map_err(|why| {
            LoadError::Protection {
                path: path.to_owned(),
                source: why,
            }
        })?;
        self.open(&key).ok_or_else(|| LoadError::WrongPassphrase {
            path: path.to_owned(),
        })
    }

    /// Decrypts only after the tag has verified: a wrong key gives nothing.
    fn open(&self, key: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = self.body.split_first_chunk::<NONCE_BYTES>()?;
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let nonce = nonce.into();
        match key.len() {
            16 => Aes128Gcm::new_from_slice(key)
                .ok()?
                .decrypt_in_place(nonce, b"", &mut *buffer),
            24 => AesGcm::<Aes192, U12>::new_from_slice(key)
                .ok()?
                .decrypt_in_place(nonce, b"", &mut *buffer),
            _ => Aes256Gcm::new_from_slice(key)
                .ok()?
                .decrypt_in_place(nonce, b"", &mut *buffer),
        }
        .ok()?;
        Some(buffer)
    }
}

/// The PEM text of a key under a passphrase, with fresh salt and nonce.
pub(crate) fn seal(
    pkcs8: &[u8],
    protection: &Protection,
    path: &Path,
) -> Result<Vec<u8>, SaveError> {
    let failed = |source| SaveError::Protection {
        path: path.to_owned(),
        source,
    };
    protection.validate().map_err(failed)?;
    let (mut salt, mut nonce) = ([0; SALT_BYTES], [0; NONCE_BYTES]);
    random(&mut salt)
        .and_then(|()| random(&mut nonce))
        .map_err(|_| failed(ProtectionError::Randomness))?;
    let cost = Cost {
        iterations: protection.iterations,
        memory_kib: protection.memory_kib,
        threads: THREADS,
    };
    let key = derive(&protection.passphrase, &salt, cost, KEY_BYTES).map_err(failed)?;
    write(pkcs8, &key, &salt, &nonce, cost).ok_or_else(|| failed(ProtectionError::Cipher))
}

/// Argon2id, version 1.3; its memory is erased afterwards.
fn derive(
    passphrase: &Passphrase,
    salt: &[u8],
    cost: Cost,
    length: usize,
) -> Result<Zeroizing<Vec<u8>>, ProtectionError> {
    cost.check()?;
    let params = Params::new(cost.memory_kib, cost.iterations, cost.threads, Some(length))
        .map_err(|_| ProtectionError::Cipher)?;
    let mut blocks: Vec<Block> = Vec::new();
    blocks
        .try_reserve_exact(params.block_count())
        .map_err(|_| ProtectionError::Memory(cost.memory_kib))?;
    blocks.resize(params.block_count(), Block::new());
    let mut key = Zeroizing::new(vec![0; length]);
    let result = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(passphrase.as_bytes(), salt, &mut key, &mut blocks);
    blocks.iter_mut().for_each(Zeroize::zeroize);
    result.map_err(|_| ProtectionError::Cipher)?;
    Ok(key)
}

/// The text, byte for byte as the original writes it; `None` only if the cipher refuses its input,
/// which it does for no key file's length.
fn write(
    pkcs8: &[u8],
    key: &[u8],
    salt: &[u8],
    nonce: &[u8; NONCE_BYTES],
    cost: Cost,
) -> Option<Vec<u8>> {
    // Sized at once: the plaintext must not be left behind by a vector that grows.
    let mut sealed = Vec::with_capacity(pkcs8.len() + TAG_BYTES);
    sealed.extend_from_slice(pkcs8);
    let encrypted = Aes256Gcm::new_from_slice(key)
        .ok()
        .and_then(|cipher| cipher.encrypt_in_place(nonce.into(), b"", &mut sealed).ok());
    if encrypted.is_none() {
        sealed.zeroize();
        return None;
    }
    let mut block = pem::Pem::new(TAG, [&nonce[..], &sealed].concat());
    let values = [
        hex_text(nonce),
        cost.iterations.to_string(),
        key.len().to_string(),
        cost.memory_kib.to_string(),
        hex_text(salt),
        cost.threads.to_string(),
        "\"AES-GCM\"".to_owned(),
    ];
    for (name, value) in HEADERS.iter().zip(values) {
        block.headers_mut().add(name, &value).ok()?;
    }
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    Some(pem::encode_config(&block, config).into_bytes())
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some((digit(*high)? * 16 + digit(*low)?) as u8),
            _ => None,
        })
        .collect()
}

pub(crate) fn hex_text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
