//! The cipher suites of TLS 1.3, by the names used in endpoint URLs.

use std::fmt;
use std::str::FromStr;

/// Which TLS 1.3 cipher suite a connection uses. Exactly one is offered, never a choice.
///
/// ChaCha20-Poly1305 is the default because the original promises it and because it needs no special
/// hardware to be fast and safe. On a processor with AES instructions AES-128-GCM is usually faster.
/// A Go peer offers and accepts all three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CipherSuite {
    /// `TLS_CHACHA20_POLY1305_SHA256`.
    #[default]
    ChaCha20Poly1305,
    /// `TLS_AES_128_GCM_SHA256`.
    Aes128Gcm,
    /// `TLS_AES_256_GCM_SHA384`.
    Aes256Gcm,
}

impl CipherSuite {
    /// Every suite, the default first.
    pub const ALL: [Self; 3] = [Self::ChaCha20Poly1305, Self::Aes128Gcm, Self::Aes256Gcm];

    /// The name used in URLs and on the command line, such as `aes-128-gcm`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChaCha20Poly1305 => "chacha20-poly1305",
            Self::Aes128Gcm => "aes-128-gcm",
            Self::Aes256Gcm => "aes-256-gcm",
        }
    }
}

impl fmt::Display for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that names no cipher suite.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a cipher suite: use chacha20-poly1305, aes-128-gcm or aes-256-gcm")]
pub struct ParseCipherSuiteError(String);

impl FromStr for CipherSuite {
    type Err = ParseCipherSuiteError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|suite| suite.as_str() == text)
            .ok_or_else(|| ParseCipherSuiteError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_the_default_is_chacha20() {
        for suite in CipherSuite::ALL {
            assert_eq!(suite.to_string().parse(), Ok(suite));
        }
        assert_eq!(CipherSuite::default().to_string(), "chacha20-poly1305");
        let error = "rc4".parse::<CipherSuite>().unwrap_err().to_string();
        assert!(
            error.contains("rc4") && error.contains("aes-128-gcm"),
            "{error}"
        );
    }
}
