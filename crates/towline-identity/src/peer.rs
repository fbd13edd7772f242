//! Who is at the other end of a connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::certificate::Facts;
use crate::error::CertificateError;
use crate::escape::escape;
use crate::fingerprint::Fingerprint;
use crate::public_key::PublicKey;

/// The other end of a connection, as far as it has proven itself (docs/wire I26).
///
/// The address is where its bytes come from; it proves nothing. The key and the e-mail addresses come
/// from a certificate that was verified, or are absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    public_key: Option<PublicKey>,
    emails: Vec<String>,
    authority: Option<PublicKey>,
    first_seen: Option<FirstSeen>,
    address: String,
}

/// When a key was met for the first time, as a known-keys file tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FirstSeen {
    /// With this connection: the key was recorded when it had been proven.
    Now,
    /// Before: the key was on the list.
    Before {
        /// Where it came from then, such as `10.1.2.3`. It informs; nobody is judged by it.
        address: String,
    },
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
            ..Self::unauthenticated(address)
        })
    }

    /// A peer on a transport without keys, or that was not asked for one.
    pub fn unauthenticated(address: impl Into<String>) -> Self {
        Self {
            public_key: None,
            emails: Vec::new(),
            authority: None,
            first_seen: None,
            address: address.into(),
        }
    }

    pub(crate) fn with_authority(mut self, authority: Option<PublicKey>) -> Self {
        self.authority = authority;
        self
    }

    pub(crate) fn with_first_seen(mut self, first_seen: Option<FirstSeen>) -> Self {
        self.first_seen = first_seen;
        self
    }

    /// The key it has proven to hold.
    pub fn public_key(&self) -> Option<PublicKey> {
        self.public_key
    }

    /// Its key in the form that two people compare by eye.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.public_key.as_ref().map(PublicKey::fingerprint)
    }

    /// The e-mail addresses in its certificate. Its authority vouches for them; without an
    /// [`authority`](Self::authority) they are its own word.
    pub fn emails(&self) -> &[String] {
        &self.emails
    }

    /// The authority that vouches for it, out of those we trust. `None` if no authority was asked, as
    /// with pinned keys.
    pub fn authority(&self) -> Option<PublicKey> {
        self.authority
    }

    /// When its key was met first. `None` if no known-keys file was asked.
    pub fn first_seen(&self) -> Option<&FirstSeen> {
        self.first_seen.as_ref()
    }

    /// Where its bytes come from, such as `tcp://127.0.0.1:59705`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The address as the network knows it; `None` on transports that have none.
    pub fn ip(&self) -> Option<IpAddr> {
        let (_, socket) = self.address.split_once("://")?;
        socket.parse::<SocketAddr>().ok().map(|socket| socket.ip())
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
            write!(f, " <{}>", escape(&self.emails.join(",")))?;
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
        assert_eq!(
            peer.fingerprint(),
            Some(identity.public_key().fingerprint())
        );
        assert_eq!(peer.ip(), Some([1, 2, 3, 4].into()));
        let nobody = Peer::unauthenticated("mem://x");
        assert_eq!((nobody.ip(), nobody.fingerprint()), (None, None));
        assert!(!nobody.is_authenticated());
        assert_eq!(nobody.to_string(), "unauthenticated at mem://x");
    }
}
