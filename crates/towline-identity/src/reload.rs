//! An identity that can be exchanged while it is in use: certificates end, programs go on.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crate::identity::Identity;

/// The identity that a program proves itself with at the moment (docs/wire I37).
///
/// Clones share one slot. Whoever makes TLS configurations asks for the [`current`](Self::current)
/// identity for every connection; [`replace`](Self::replace) puts another one there. Connections that
/// are alive keep what they began with: key, certificate and authorities change together, and never
/// in the middle of a handshake.
///
/// ```
/// use std::sync::Arc;
/// use towline_identity::{Authority, AuthorityOptions, LeafOptions, LiveIdentity};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let authority = Authority::generate(&AuthorityOptions::new())?;
/// let live = LiveIdentity::from(authority.issue(&LeafOptions::new("node"))?);
/// let listener_has = live.clone();
///
/// let next = authority.issue(&LeafOptions::new("node"))?;
/// let key = next.public_key();
/// live.replace(Arc::new(next));
/// assert_eq!(listener_has.current().public_key(), key);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct LiveIdentity {
    slot: Arc<RwLock<Arc<Identity>>>,
}

impl LiveIdentity {
    /// A slot that holds this identity.
    pub fn new(identity: Arc<Identity>) -> Self {
        Self {
            slot: Arc::new(RwLock::new(identity)),
        }
    }

    /// The identity that new connections use. The lock behind it is held for the copy of a pointer.
    pub fn current(&self) -> Arc<Identity> {
        Arc::clone(&self.slot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another identity into the slot, for every connection from now on, and returns the one
    /// that was there.
    pub fn replace(&self, identity: Arc<Identity>) -> Arc<Identity> {
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *slot, identity)
    }
}

impl From<Arc<Identity>> for LiveIdentity {
    fn from(identity: Arc<Identity>) -> Self {
        Self::new(identity)
    }
}

impl From<Identity> for LiveIdentity {
    fn from(identity: Identity) -> Self {
        Self::new(Arc::new(identity))
    }
}

impl fmt::Debug for LiveIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LiveIdentity")
            .field(&self.current())
            .finish()
    }
}
