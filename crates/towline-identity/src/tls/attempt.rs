//! One handshake: who is at the other end, and whether it is let in.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::verify::Rules;
use crate::authorise::{Authorisation, Verdict};
use crate::escape::escape;
use crate::known_keys::{KnownKey, KnownKeys, KnownKeysError, Lookup, Snapshot};
use crate::peer::{FirstSeen, Peer};
use crate::public_key::PublicKey;
use crate::trust::Rule;

/// One handshake, before, while and after it runs. Made together with the configuration for it, which
/// writes into it what it decides; cheap to clone.
///
/// When the handshake has succeeded, ask [`admit`](Self::admit) before any byte is used; when it has
/// failed, [`refusal`](Self::refusal) says whether it was us who refused, and whom.
#[derive(Clone)]
pub struct Attempt(Arc<Inner>);

struct Inner {
    address: String,
    authorisation: Authorisation,
    /// The known-keys file, and the list as it stood when the handshake began.
    known: Option<(KnownKeys, Snapshot)>,
    /// Whether a peer without a certificate is let in.
    anonymous: bool,
    decided: Mutex<Decided>,
}

#[derive(Default)]
struct Decided {
    authority: Option<PublicKey>,
    /// Set when the peer has proven its key.
    outcome: Option<Result<Peer, Refusal>>,
}

/// That we refuse a peer, which key it has proven, and what would let it in (docs/wire I46).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(Box<Refused>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Refused {
    peer: Peer,
    why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    /// The file, and another key that was met at the same address.
    NotKnown(String, Option<String>),
    NotPinned,
    NotAllowed(String),
    NotRecorded(String),
    NoCertificate,
}

impl Attempt {
    /// Blocks on the disk if a known-keys file is asked.
    pub(super) fn begin(rules: &Rules, address: &str) -> Result<Self, KnownKeysError> {
        let known = match &rules.trust.0 {
            Rule::KnownKeys(file) => Some((file.clone(), file.snapshot()?)),
            _ => None,
        };
        Ok(Self(Arc::new(Inner {
            address: address.to_owned(),
            authorisation: rules.authorisation.clone(),
            known,
            anonymous: matches!(rules.trust.0, Rule::Anyone),
            decided: Mutex::default(),
        })))
    }

    pub(super) fn vouched_by(&self, authority: PublicKey) {
        self.decided().authority = Some(authority);
    }

    /// Called once the peer has proven that it holds the leaf's key.
    pub(super) fn decide(&self, rules: &Rules, leaf: &[u8]) -> Decision {
        let outcome = self.judge(rules, leaf);
        let decision = if outcome.is_ok() {
            Decision::Admit
        } else {
            Decision::Refuse
        };
        self.decided().outcome = Some(outcome);
        decision
    }

    fn judge(&self, rules: &Rules, leaf: &[u8]) -> Result<Peer, Refusal> {
        let nobody = || Peer::unauthenticated(self.0.address.as_str());
        if self.0.anonymous {
            return self.authorise(nobody());
        }
        let Ok(peer) = Peer::from_verified_certificate(leaf, self.0.address.as_str()) else {
            return Err(Refusal::new(nobody(), Why::NoCertificate));
        };
        let peer = peer.with_authority(self.decided().authority);
        let Some(key) = peer.public_key() else {
            return Err(Refusal::new(peer, Why::NoCertificate));
        };
        let first_seen = match &self.0.known {
            None => None,
            Some((file, snapshot)) => match snapshot.look_up(&key) {
                Lookup::Unlisted => None,
                Lookup::Known(address) => Some(FirstSeen::Before { address }),
                Lookup::New => Some(FirstSeen::Now),
                Lookup::Refused => {
                    let other = other_at(file, snapshot, &peer);
                    let why = Why::NotKnown(shown(file.path()), other);
                    return Err(Refusal::new(peer, why));
                }
            },
        };
        if let Rule::Keys(keys) = &rules.trust.0
            && !keys.contains(&key)
        {
            return Err(Refusal::new(peer, Why::NotPinned));
        }
        self.authorise(peer.with_first_seen(first_seen))
    }

    fn authorise(&self, peer: Peer) -> Result<Peer, Refusal> {
        match self.0.authorisation.check(&peer) {
            Verdict::Allow => Ok(peer),
            Verdict::Refuse(reason) => Err(Refusal::new(peer, Why::NotAllowed(reason))),
        }
    }

    /// Whether [`admit`](Self::admit) will write to the disk: the peer's key is new.
    pub fn must_record(&self) -> bool {
        matches!(&self.decided().outcome, Some(Ok(peer)) if peer.first_seen() == Some(&FirstSeen::Now))
    }

    /// The peer of a handshake that has succeeded. A new key is recorded before this returns, which
    /// blocks on the disk: ask [`must_record`](Self::must_record) first.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: the key could not be recorded, or there is no peer to admit. Close the connection.
    pub fn admit(&self) -> Result<Peer, Refusal> {
        let outcome = self.decided().outcome.clone();
        let nobody = || Peer::unauthenticated(self.0.address.as_str());
        let peer = match outcome {
            Some(outcome) => outcome?,
            None if self.0.anonymous => return self.authorise(nobody()),
            None => return Err(Refusal::new(nobody(), Why::NoCertificate)),
        };
        let (Some((file, snapshot)), Some(FirstSeen::Now)) = (&self.0.known, peer.first_seen())
        else {
            return Ok(peer);
        };
        let recorded = KnownKey::of_peer(&peer).map(|key| file.record(key));
        match recorded {
            Some(Err(error)) => Err(Refusal::new(peer, Why::NotRecorded(error.to_string()))),
            _ => {
                tracing::info!(%peer, file = %file.path().display(), "recorded a new key");
                if let Some(other) = other_at(file, snapshot, &peer) {
                    tracing::warn!(%peer, "a new key was recorded, and {other}");
                }
                Ok(peer)
            }
        }
    }

    /// Why we refused the peer, if we did and if it had proven its key by then.
    pub fn refusal(&self) -> Option<Refusal> {
        match &self.decided().outcome {
            Some(Err(refusal)) => Some(refusal.clone()),
            _ => None,
        }
    }

    fn decided(&self) -> MutexGuard<'_, Decided> {
        self.0
            .decided
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("address", &self.0.address)
            .field("outcome", &self.decided().outcome)
            .finish_non_exhaustive()
    }
}

/// The peer and the reason stay in the attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Admit,
    Refuse,
}

impl Refusal {
    fn new(peer: Peer, why: Why) -> Self {
        Self(Box::new(Refused { peer, why }))
    }

    /// Who is refused; its key is proven.
    pub fn peer(&self) -> &Peer {
        &self.0.peer
    }

    /// The command that would admit the peer, if there is one.
    pub fn remedy(&self) -> Option<String> {
        let key = self.0.peer.public_key()?;
        match &self.0.why {
            Why::NotKnown(file, _) => Some(format!("tow keys known add {key} --file {file}")),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.why {
            Why::NotAllowed(reason) if self.0.peer.public_key().is_none() => {
                return write!(f, "{}", escape(reason));
            }
            Why::NoCertificate => return write!(f, "it presented no certificate"),
            _ => {}
        }
        if let (Some(key), Some(fingerprint)) =
            (self.0.peer.public_key(), self.0.peer.fingerprint())
        {
            write!(f, "its key {key} (fingerprint {fingerprint}")?;
            if !self.0.peer.emails().is_empty() {
                write!(f, ", <{}>", escape(&self.0.peer.emails().join(",")))?;
            }
            write!(f, ") ")?;
        }
        match &self.0.why {
            Why::NotKnown(file, other) => {
                write!(f, "is not in {file}, which is locked")?;
                if let Some(other) = other {
                    write!(f, ", and {other}")?;
                }
            }
            Why::NotRecorded(why) => write!(f, "is new and could not be recorded: {why}")?,
            Why::NotAllowed(reason) => write!(f, "is not let in: {}", escape(reason))?,
            _ => write!(f, "is not one of those that are trusted here")?,
        }
        match self.remedy() {
            Some(command) => write!(f, "; to admit it: {command}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

/// What to say about another key that was met where this one comes from, if that is to be said.
fn other_at(file: &KnownKeys, snapshot: &Snapshot, peer: &Peer) -> Option<String> {
    if !file.warns_on_address_reuse() {
        return None;
    }
    let key = KnownKey::of_peer(peer)?;
    let other = snapshot.other_at(&key)?;
    Some(format!(
        "{} was the address of another key, {}: the key there was renewed, or somebody is in between; \
         compare fingerprints",
        escape(&other.address),
        escape(&other.key)
    ))
}

/// A path as it can be typed into a shell.
fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_pasted_into_a_shell() {
        assert_eq!(
            shown(Path::new("certs/known_client_keys")),
            "certs/known_client_keys"
        );
        assert_eq!(shown(Path::new("my keys")), "'my keys'");
        assert_eq!(shown(Path::new("it's; rm")), r"'it'\''s; rm'");
    }
}
