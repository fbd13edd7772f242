//! Who of those that have proven themselves is let in.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::peer::Peer;
use crate::public_key::PublicKey;

/// The answer of an authorisation hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it in.
    Allow,
    /// Turn it away. The reason is for our own log; the peer learns only that it is refused.
    Refuse(String),
}

impl Verdict {
    /// A refusal with a reason, such as `only administrators may do this`.
    pub fn refuse(reason: impl Into<String>) -> Self {
        Self::Refuse(reason.into())
    }
}

type PeerHook = dyn Fn(&Peer) -> Verdict + Send + Sync;
type AddressHook = dyn Fn(IpAddr) -> Verdict + Send + Sync;

/// Decides who may connect, or do something, among those whom [`Trust`](crate::Trust) accepts
/// (docs/wire I45). The default lets everybody in.
///
/// Cheap to clone. The hooks run on the connection's task, within the handshake where there is one:
/// they must not block.
///
/// ```
/// use towline_identity::{Authorisation, Peer, Verdict};
///
/// let staff = Authorisation::by_peer(|peer| {
///     if peer.emails().iter().any(|email| email.ends_with("@example.com")) {
///         Verdict::Allow
///     } else {
///         Verdict::refuse("it is not one of us")
///     }
/// })
/// .and_address(|ip| if ip.is_multicast() { Verdict::refuse("multicast") } else { Verdict::Allow });
/// assert!(matches!(staff.check(&Peer::unauthenticated("mem://x")), Verdict::Refuse(_)));
/// ```
#[derive(Clone, Default)]
pub struct Authorisation {
    peer: Option<Arc<PeerHook>>,
    address: Option<Arc<AddressHook>>,
}

impl Authorisation {
    /// Everybody who is trusted.
    pub fn anyone() -> Self {
        Self::default()
    }

    /// As the hook says. It is asked once for each connection, when the peer has proven its key; on
    /// transports without keys when the connection is there.
    pub fn by_peer(hook: impl Fn(&Peer) -> Verdict + Send + Sync + 'static) -> Self {
        Self {
            peer: Some(Arc::new(hook)),
            address: None,
        }
    }

    /// Only peers that have proven one of these keys.
    pub fn keys(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        let keys: BTreeSet<_> = keys.into_iter().collect();
        Self::by_peer(move |peer| match peer.public_key() {
            Some(key) if keys.contains(&key) => Verdict::Allow,
            Some(_) => {
                Verdict::refuse("only certain keys are allowed here, and it is none of them")
            }
            None => Verdict::refuse("it has proven no key, and only certain keys are allowed here"),
        })
    }

    /// And only from addresses for which this hook allows it. A listener asks it before the handshake
    /// already, so that nothing is spent on those it refuses. Transports without addresses have none
    /// to ask about.
    #[must_use]
    pub fn and_address(mut self, hook: impl Fn(IpAddr) -> Verdict + Send + Sync + 'static) -> Self {
        self.address = Some(Arc::new(hook));
        self
    }

    /// What the hooks say to a peer: its address first.
    pub fn check(&self, peer: &Peer) -> Verdict {
        if let Some(ip) = peer.ip()
            && let refused @ Verdict::Refuse(_) = self.check_address(ip)
        {
            return refused;
        }
        self.peer.as_ref().map_or(Verdict::Allow, |hook| hook(peer))
    }

    /// What the hook for addresses says.
    pub fn check_address(&self, ip: IpAddr) -> Verdict {
        self.address
            .as_ref()
            .map_or(Verdict::Allow, |hook| hook(ip))
    }
}

impl fmt::Debug for Authorisation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorisation")
            .field("by_peer", &self.peer.is_some())
            .field("by_address", &self.address.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_everybody_is_let_in() {
        let nobody = Peer::unauthenticated("tcp://1.2.3.4:5");
        assert_eq!(Authorisation::anyone().check(&nobody), Verdict::Allow);
    }

    #[test]
    fn an_address_is_judged_before_the_peer() {
        let never = Authorisation::by_peer(|_| panic!("asked all the same")).and_address(|ip| {
            if ip.is_loopback() {
                Verdict::refuse("loopback")
            } else {
                Verdict::Allow
            }
        });
        let peer = Peer::unauthenticated("tcp://127.0.0.1:5");
        assert_eq!(never.check(&peer), Verdict::refuse("loopback"));
    }

    #[test]
    fn who_has_no_key_is_none_of_those_allowed() {
        let some = Authorisation::keys([PublicKey::from([1; 32])]);
        let verdict = some.check(&Peer::unauthenticated("mem://x"));
        assert!(matches!(verdict, Verdict::Refuse(_)));
    }
}
