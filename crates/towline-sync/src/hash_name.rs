//! BLAKE3 hashes in the text form that travels with every part.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;

/// What every text written here begins with.
const PREFIX_32: &str = "blake3.32B-";
/// What later releases of the original write: one byte more, so that base64 needs no padding.
const PREFIX_33: &str = "blake3.33B-";

/// A BLAKE3 hash: the first 32 bytes of the output, and their text form.
///
/// The text is `blake3.32B-` followed by padded base64url, 55 characters in all. The 33-byte form
/// that later releases of the original write is read too; its last byte is dropped, because 32
/// bytes decide equality. Two names are equal when their 32 bytes are.
///
/// ```
/// use towline_sync::HashName;
///
/// let empty = HashName::of(b"");
/// let text = empty.to_string();
/// assert_eq!(text, "blake3.32B-rxNJufX5oaagQE3qNtzJSZvLJcmtwRK3zJqTyuQfMmI=");
/// assert_eq!(text.parse::<HashName>()?, empty);
/// # Ok::<(), towline_sync::HashNameError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HashName([u8; 32]);

impl HashName {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<blake3::Hash> for HashName {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl From<[u8; 32]> for HashName {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for HashName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX_32)?;
        f.write_str(&URL_SAFE.encode(self.0))
    }
}

impl fmt::Debug for HashName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HashName({self})")
    }
}

impl FromStr for HashName {
    type Err = HashNameError;

    fn from_str(text: &str) -> Result<Self, HashNameError> {
        let (digits, bytes) = if let Some(digits) = text.strip_prefix(PREFIX_32) {
            (digits, 32)
        } else if let Some(digits) = text.strip_prefix(PREFIX_33) {
            (digits, 33)
        } else {
            return Err(HashNameError::Prefix);
        };
        // Both forms are 44 digits long; refused before anything is decoded.
        if digits.len() != 44 {
            return Err(HashNameError::Length {
                found: digits.len(),
            });
        }
        let mut out = [0_u8; 33];
        let decoded = URL_SAFE
            .decode_slice_unchecked(digits, &mut out)
            .map_err(|_| HashNameError::Alphabet)?;
        if decoded != bytes {
            return Err(HashNameError::Size {
                promised: bytes,
                found: decoded,
            });
        }
        let mut hash = [0_u8; 32];
        hash.copy_from_slice(&out[..32]);
        Ok(Self(hash))
    }
}

/// Why a text is not the name of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashNameError {
    /// The text begins with neither known prefix.
    #[error("a hash must begin with `blake3.32B-` or `blake3.33B-`")]
    Prefix,
    /// The part behind the prefix is not 44 characters long.
    #[error("a hash has 44 characters behind its prefix, not {found}")]
    Length {
        /// Bytes found behind the prefix.
        found: usize,
    },
    /// A character is not of the padded base64url alphabet, or unused bits are set.
    #[error("a hash is written in padded base64url, this one is not")]
    Alphabet,
    /// The prefix promises another number of bytes than the text holds.
    #[error("the prefix of the hash promises {promised} bytes, its text holds {found}")]
    Size {
        /// Bytes the prefix promises.
        promised: usize,
        /// Bytes the text holds.
        found: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "blake3.32B-rxNJufX5oaagQE3qNtzJSZvLJcmtwRK3zJqTyuQfMmI=";

    #[test]
    fn the_longer_form_is_read_and_equals_the_shorter_one() {
        let mut output = [0_u8; 33];
        blake3::Hasher::new()
            .update(b"hello world!")
            .finalize_xof()
            .fill(&mut output);
        let text = format!("{PREFIX_33}{}", URL_SAFE.encode(output));
        let name: HashName = text.parse().unwrap();
        assert_eq!(name, HashName::of(b"hello world!"));
        assert!(name.to_string().starts_with(PREFIX_32));
    }

    #[test]
    fn wrong_prefixes_are_refused() {
        for text in [
            "",
            "blake3.32B",
            "blake3.64B-rxNJufX5oaagQE3qNtzJSZvLJcmtwRK3zJqTyuQfMmI=",
            "BLAKE3.32B-rxNJufX5oaagQE3qNtzJSZvLJcmtwRK3zJqTyuQfMmI=",
            "sha256-rxNJufX5oaagQE3qNtzJSZvLJcmtwRK3zJqTyuQfMmI=",
            " blake3.32B-rxNJufX5oaagQE3qNtzJSZvLJcmtwRK3zJqTyuQfMmI=",
        ] {
            assert_eq!(
                text.parse::<HashName>(),
                Err(HashNameError::Prefix),
                "{text}"
            );
        }
    }

    #[test]
    fn wrong_lengths_are_refused() {
        for (text, found) in [
            (&EMPTY[..54], 43),
            (&EMPTY[..11], 0),
            (&format!("{EMPTY}="), 45),
            (&format!("{EMPTY}\n"), 45),
        ] {
            let expected = Err(HashNameError::Length { found });
            assert_eq!(text.parse::<HashName>(), expected, "{text}");
        }
        let promised_32_holds_33 = format!("{PREFIX_32}{}", URL_SAFE.encode([7; 33]));
        assert_eq!(
            promised_32_holds_33.parse::<HashName>(),
            Err(HashNameError::Size {
                promised: 32,
                found: 33
            })
        );
        let promised_33_holds_32 = EMPTY.replace("32B", "33B");
        assert_eq!(
            promised_33_holds_32.parse::<HashName>(),
            Err(HashNameError::Size {
                promised: 33,
                found: 32
            })
        );
    }

    #[test]
    fn other_alphabets_are_refused() {
        for text in [
            // Standard base64 has `+` and `/` where base64url has `-` and `_`.
            "blake3.32B-OqYcQJ/XcXydnGOSAq8vrkcMDvZpvnuiyupXectTTp0=".to_owned(),
            EMPTY.replace('J', "+"),
            EMPTY.replace('J', "*"),
            // The last digit before the padding has bits that no byte uses.
            EMPTY.replace("MmI=", "MmJ="),
            EMPTY.replace("MmI=", "Mm=="),
            EMPTY.replace("rxN", "éN"),
        ] {
            assert_eq!(
                text.parse::<HashName>(),
                Err(HashNameError::Alphabet),
                "{text}"
            );
        }
    }
}
