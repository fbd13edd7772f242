//! Who is at the other end of a connection.

use std::fmt;

use crate::certificate::Facts;
use crate::error::CertificateError;
use crate::public_key::PublicKey;

/// The other end of a connection, as far as it has proven itself.
///
/// The address is where its bytes come from; it proves nothing. The key and the e-mail addresses come
/// from a certificate that was verified, or are absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    public_key: Option<PublicKey>,
    emails: Vec<String>,
    address: String,
}

impl Peer {
    /// A peer whose certificate was verified, and whose possession of the key was proven.
    ///
    /// Only pass the leaf of a finished, verified handshake: nothing is verified here.
    ///
    /// # Errors
    ///
    /// Not a certificate for an Ed25519 key.
    pub fn from_verified_certificate(
        leaf_der: &[u8],
        address: impl Into<String>,
    ) -> Result<Self, CertificateError> {
        let facts = Facts::read(leaf_der)?;
        Ok(Self {
            public_key: Some(facts.public_key),
            emails: facts.emails,
            address: address.into(),
        })
    }

    /// A peer on a transport without keys.
    pub fn unauthenticated(address: impl Into<String>) -> Self {
        Self {
            public_key: None,
            emails: Vec::new(),
            address: address.into(),
        }
    }

    /// The key it has proven to hold.
    pub fn public_key(&self) -> Option<PublicKey> {
        self.public_key
    }

    /// The e-mail addresses its authority vouches for.
    pub fn emails(&self) -> &[String] {
        &self.emails
    }

    /// Where its bytes come from, such as `tcp://127.0.0.1:59705`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether it has proven to hold a key.
    pub fn is_authenticated(&self) -> bool {
        self.public_key.is_some()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.public_key {
            Some(key) => write!(f, "{key}")?,
            None => write!(f, "unauthenticated")?,
        }
        if !self.emails.is_empty() {
            // A certificate may hold any character, a log line may not.
            write!(f, " <{}>", self.emails.join(",").escape_debug())?;
        }
        write!(f, " at {}", self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Authority, AuthorityOptions, LeafOptions};

    #[test]
    fn a_peer_shows_key_email_and_address() {
        let authority = Authority::generate(&AuthorityOptions::new()).unwrap();
        let identity = authority
            .issue(&LeafOptions::new("ada").email("ada@example.com"))
            .unwrap();
        let peer =
            Peer::from_verified_certificate(identity.certificate_der(), "tcp://1.2.3.4:5").unwrap();
        assert!(peer.is_authenticated());
        assert_eq!(peer.public_key(), Some(identity.public_key()));
        assert_eq!(
            peer.to_string(),
            format!(
                "{} <ada@example.com> at tcp://1.2.3.4:5",
                identity.public_key()
            )
        );
        let nobody = Peer::unauthenticated("mem://x");
        assert!(!nobody.is_authenticated());
        assert_eq!(nobody.to_string(), "unauthenticated at mem://x");
    }
}
