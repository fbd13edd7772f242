//! Whom this side trusts.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::known_keys::KnownKeys;
use crate::public_key::PublicKey;

/// By what the other end of a TLS connection is judged. The default is [`authority`](Self::authority).
///
/// Whatever it says, both ends speak TLS 1.3 and Ed25519, and a peer's identity is the key that it has
/// proven in the handshake, the one of its leaf certificate (docs/wire I14). A peer that is not trusted
/// is refused inside the handshake, and hears so in an alert (docs/wire I46).
///
/// ```
/// use towline_identity::{PublicKey, Trust};
///
/// let key: PublicKey = "9Ygpz8T9JVTkPCBrApGoDmtUX637mZtHez4TDCQbV6htqexFMWo".parse()?;
/// let pinned = Trust::keys([key]);
/// # let _ = pinned;
/// # Ok::<(), towline_identity::ParsePublicKeyError>(())
/// ```
///
/// Cheap to clone. Where it counts: `ConnectOptions` and `ListenOptions` of towline-transport, and
/// what is built on them.
#[derive(Clone, Debug)]
pub struct Trust(pub(crate) Rule);

#[derive(Clone, Debug)]
pub(crate) enum Rule {
    Authority,
    KnownKeys(KnownKeys),
    Keys(Arc<BTreeSet<PublicKey>>),
    Anyone,
}

impl Default for Trust {
    fn default() -> Self {
        Self::authority()
    }
}

impl Trust {
    /// Everybody to whom one of our identity's authorities has given a certificate that is valid now.
    pub fn authority() -> Self {
        Self(Rule::Authority)
    }

    /// The same, and the key must be in a known-keys file, or is recorded there (docs/wire I31, I40 to
    /// I43).
    pub fn known_keys(file: KnownKeys) -> Self {
        Self(Rule::KnownKeys(file))
    }

    /// Those who prove one of these keys, and nobody else. No authority is asked: the certificate is
    /// only what carries the key, and its dates and names do not count (docs/wire I47).
    ///
    /// This is how to dial by public key. With no key at all, nobody is trusted.
    pub fn keys(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        Self(Rule::Keys(Arc::new(keys.into_iter().collect())))
    }

    /// Anybody, unseen: a client verifies nothing of the server, a server asks for no certificate
    /// (docs/wire I33). Whoever is on the path can read and change everything. Peers are
    /// [unauthenticated](crate::Peer::is_authenticated).
    pub fn dangerous_anyone() -> Self {
        Self(Rule::Anyone)
    }

    /// The file that is asked, if one is.
    pub fn known_keys_file(&self) -> Option<&KnownKeys> {
        match &self.0 {
            Rule::KnownKeys(file) => Some(file),
            _ => None,
        }
    }

    /// Whether an authority has to have signed the other end's certificate.
    pub(crate) fn asks_authority(&self) -> bool {
        matches!(self.0, Rule::Authority | Rule::KnownKeys(_))
    }
}
