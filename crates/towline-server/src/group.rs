//! Sockets that hear the same.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;

use crate::broadcast::{BroadcastReport, Broadcaster};
use crate::socket::{Socket, WeakSocket};

/// A set of sockets and a [`Broadcaster`] for them. A clone is the same group. A socket leaves when it
/// ends, or when it is told to.
///
/// Messages to a group reach every member in the same order.
///
/// ```
/// use towline_server::{Broadcaster, Group, Socket};
///
/// # async fn joined(room: &Group, socket: &Socket) {
/// room.join(socket);
/// room.send_except("somebody has come in\n", socket).await;
/// # }
/// # let room = Group::new(Broadcaster::new());
/// # assert!(room.is_empty());
/// ```
#[derive(Clone)]
pub struct Group(Arc<Members>);

struct Members {
    broadcaster: Broadcaster,
    sockets: Mutex<HashMap<u64, WeakSocket>>,
    /// Held while a message is sent: all members get the messages in one order.
    turn: tokio::sync::Mutex<()>,
}

impl Group {
    /// An empty group that sends through `broadcaster`.
    pub fn new(broadcaster: Broadcaster) -> Self {
        Self(Arc::new(Members {
            broadcaster,
            sockets: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }))
    }

    /// Takes a socket in; false if it is a member already or has ended.
    pub fn join(&self, socket: &Socket) -> bool {
        let mut members = self.members();
        let joined = members.insert(socket.id(), socket.downgrade()).is_none();
        if joined {
            let group: Weak<Members> = Arc::downgrade(&self.0);
            // Under the lock, so that a member always has exactly one.
            socket.0.set_hook(
                self.0.key(),
                Box::new(move |socket, _| {
                    if let Some(members) = group.upgrade() {
                        Self(members).leave(socket);
                    }
                }),
            );
        }
        drop(members);
        // At once if it has ended.
        socket.0.run_hooks();
        joined && !socket.is_closed()
    }

    /// Lets a socket go; false if it is no member.
    pub fn leave(&self, socket: &Socket) -> bool {
        let mut members = self.members();
        let left = members.remove(&socket.id()).is_some();
        if left {
            // Or a socket that comes and goes would keep one for each time.
            socket.0.unset_hook(self.0.key());
        }
        left
    }

    /// Whether a socket is a member.
    pub fn contains(&self, socket: &Socket) -> bool {
        self.members().contains_key(&socket.id())
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members().is_empty()
    }

    /// All members, in no particular order.
    pub fn sockets(&self) -> Vec<Socket> {
        self.members()
            .values()
            .filter_map(WeakSocket::upgrade)
            .collect()
    }

    /// Sends `message` to all members ([`Broadcaster::broadcast`]).
    ///
    /// # Cancel safety
    ///
    /// As [`Broadcaster::broadcast`].
    pub async fn send(&self, message: impl Into<Bytes>) -> BroadcastReport {
        let _turn = self.0.turn.lock().await;
        self.0.broadcaster.broadcast(message, self.sockets()).await
    }

    /// Sends a message about `key` to all members ([`Broadcaster::broadcast_about`]).
    ///
    /// # Cancel safety
    ///
    /// As [`Broadcaster::broadcast`].
    pub async fn send_about(&self, key: u64, message: impl Into<Bytes>) -> BroadcastReport {
        let _turn = self.0.turn.lock().await;
        self.0
            .broadcaster
            .broadcast_about(key, message, self.sockets())
            .await
    }

    /// Sends `message` to all members but one.
    ///
    /// # Cancel safety
    ///
    /// As [`Broadcaster::broadcast`].
    pub async fn send_except(&self, message: impl Into<Bytes>, except: &Socket) -> BroadcastReport {
        let _turn = self.0.turn.lock().await;
        self.0
            .broadcaster
            .broadcast_except(message, self.sockets(), except)
            .await
    }

    fn members(&self) -> MutexGuard<'_, HashMap<u64, WeakSocket>> {
        self.0
            .sockets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Members {
    /// What the hook of this group goes by: nothing else has this address as long as there is a hook, for the
    /// hook keeps it.
    fn key(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        let key = self.key();
        let sockets = self
            .sockets
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        for socket in sockets.values().filter_map(WeakSocket::upgrade) {
            socket.0.unset_hook(key);
        }
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
