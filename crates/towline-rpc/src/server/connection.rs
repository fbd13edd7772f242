//! One client, as the server's application sees it.

use std::{
    fmt,
    sync::{Arc, OnceLock, Weak},
};

use tokio_util::sync::CancellationToken;
use towline_codec::Text;
use towline_identity::Peer;

use super::{
    Core,
    connections::{Connections, Registry},
    push::Push,
};
use crate::{
    close::CloseReason,
    driver::{self, Shared, State},
    error::PushError,
};

/// Names a connection of a server. Never used twice by one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(super) u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}", self.0)
    }
}

/// A client that is, or was, connected: a handle that is cheap to clone. It does not keep the
/// connection open, and holds nothing of it once it is over.
#[derive(Debug, Clone)]
pub struct Connection {
    pub(super) info: Arc<ConnectionInfo>,
}

#[derive(Debug)]
pub(super) struct ConnectionInfo {
    pub(super) id: ConnectionId,
    pub(super) peer: Peer,
    pub(super) local: Text,
    pub(super) remote: Text,
    pub(super) shared: Weak<Shared<Core>>,
    pub(super) registry: Weak<Registry>,
    /// Set before `gone` is cancelled.
    pub(super) reason: OnceLock<CloseReason>,
    pub(super) gone: CancellationToken,
}

impl Connection {
    /// Its number at this server.
    pub fn id(&self) -> ConnectionId {
        self.info.id
    }

    /// Who it is: on `tls://` the verified key.
    pub fn peer(&self) -> &Peer {
        &self.info.peer
    }

    /// This end's address as a URL (docs/wire M5).
    pub fn local_addr(&self) -> &Text {
        &self.info.local
    }

    /// The client's address as a URL.
    pub fn remote_addr(&self) -> &Text {
        &self.info.remote
    }

    /// Sends the client a message that it has not asked for. Returns when it is queued, which waits
    /// while the connection's outbox is full (docs/wire C16).
    ///
    /// # Errors
    ///
    /// [`PushError`]; nothing was sent.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, nothing was sent.
    pub async fn push(&self, push: Push) -> Result<(), PushError> {
        push.validate()?;
        let shared = self.shared()?;
        shared.room().await?;
        self.send(&shared, shared.lock(), push)
    }

    /// As [`push`](Self::push), but does not wait.
    ///
    /// # Errors
    ///
    /// [`PushError::NoRoom`] if it would have to.
    pub fn try_push(&self, push: Push) -> Result<(), PushError> {
        push.validate()?;
        let shared = self.shared()?;
        let state = shared.lock();
        if state.closed.is_none() && !state.core.has_room() {
            return Err(PushError::NoRoom);
        }
        self.send(&shared, state, push)
    }

    /// Has [`Connections::push_group`] reach this client too. Groups are as many as the application
    /// names; a connection leaves all of them when it ends. Without effect once it is over.
    pub fn join(&self, group: impl Into<Text>) {
        if let Some(registry) = self.info.registry.upgrade() {
            registry.join(self.info.id, group.into());
        }
    }

    /// The opposite of [`join`](Self::join).
    pub fn leave(&self, group: impl Into<Text>) {
        if let Some(registry) = self.info.registry.upgrade() {
            registry.leave(self.info.id, &group.into());
        }
    }

    /// All connections of the server.
    pub fn connections(&self) -> Connections {
        Connections::of(self.info.registry.upgrade())
    }

    /// True once the connection is over.
    pub fn is_closed(&self) -> bool {
        self.info.gone.is_cancelled()
    }

    /// Waits for the end of the connection, and tells why.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping it changes nothing.
    pub async fn closed(&self) -> CloseReason {
        self.info.gone.cancelled().await;
        self.reason()
    }

    fn reason(&self) -> CloseReason {
        self.info
            .reason
            .get()
            .cloned()
            .unwrap_or(CloseReason::ClosedHere)
    }

    fn shared(&self) -> Result<Arc<Shared<Core>>, PushError> {
        self.info
            .shared
            .upgrade()
            .ok_or_else(|| PushError::Closed(self.reason()))
    }

    fn send<'a>(
        &self,
        shared: &'a Shared<Core>,
        mut state: std::sync::MutexGuard<'a, State<Core>>,
        push: Push,
    ) -> Result<(), PushError> {
        if let Some(reason) = &state.closed {
            return Err(PushError::Closed(reason.clone()));
        }
        let now = driver::now();
        let mut message = push.message;
        if push.as_it_is {
            state.core.stamp_forwarded(&mut message);
        } else {
            if message.hdr.call_id.is_empty()
                && let Some(registry) = self.info.registry.upgrade()
            {
                message.hdr.call_id = registry.next_call_id();
            }
            state.core.stamp_push(now, &mut message);
        }
        Ok(shared.enqueue(state, now, &message)?)
    }
}
