//! Why a connection ended, who wants to know, and what runs then.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Socket;

/// Who ended a connection, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum CloseReason {
    /// The application here, or its handler returned.
    Server = 1,
    /// The other end.
    Client = 2,
    /// The transport failed.
    Error = 3,
    /// Nothing came or went for too long.
    IdleTimeout = 4,
    /// The first byte did not come in time.
    FirstByteTimeout = 5,
    /// A packet was begun and not finished in time.
    PacketTimeout = 6,
    /// What waits to be written made no progress in time.
    WriteTimeout = 7,
    /// A packet was larger than allowed.
    PacketTooBig = 8,
    /// The stream cannot be cut into packets.
    Malformed = 9,
    /// It did not take what was sent to it, and its policy is to end it.
    SlowConsumer = 10,
    /// Its handler panicked.
    Panicked = 11,
    /// The server stopped.
    Shutdown = 12,
}

impl CloseReason {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Server,
        Self::Client,
        Self::Error,
        Self::IdleTimeout,
        Self::FirstByteTimeout,
        Self::PacketTimeout,
        Self::WriteTimeout,
        Self::PacketTooBig,
        Self::Malformed,
        Self::SlowConsumer,
        Self::Panicked,
        Self::Shutdown,
    ];

    /// A word for logs and for the labels of metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Error => "error",
            Self::IdleTimeout => "idle_timeout",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::PacketTimeout => "packet_timeout",
            Self::WriteTimeout => "write_timeout",
            Self::PacketTooBig => "packet_too_big",
            Self::Malformed => "malformed",
            Self::SlowConsumer => "slow_consumer",
            Self::Panicked => "panicked",
            Self::Shutdown => "shutdown",
        }
    }

    pub(super) const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => None,
            number => Some(Self::ALL[number as usize - 1]),
        }
    }
}

impl std::fmt::Display for CloseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What runs when a connection ends.
pub(super) type Hook = Box<dyn FnOnce(&Socket, CloseReason) + Send>;

/// Who wants to know of the end of one connection.
#[derive(Default)]
pub(super) struct Hooks(Mutex<Vec<(Option<usize>, Hook)>>);

impl Hooks {
    pub(super) fn add(&self, hook: Hook) {
        self.lock().push((None, hook));
    }

    /// Adds one that can be taken back by `key`, in place of the one that has it.
    pub(super) fn set(&self, key: usize, hook: Hook) {
        let mut hooks = self.lock();
        hooks.retain(|(other, _)| *other != Some(key));
        hooks.push((Some(key), hook));
    }

    /// Takes that one back, if it has not run.
    pub(super) fn unset(&self, key: usize) {
        self.lock().retain(|(other, _)| *other != Some(key));
    }

    /// Runs those that have not run, the last first. No lock is held meanwhile: a hook may close, ask, and add
    /// hooks.
    pub(super) fn run(&self, socket: &Socket, reason: CloseReason) {
        let hooks = std::mem::take(&mut *self.lock());
        for (_, hook) in hooks.into_iter().rev() {
            run(hook, socket, reason);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Option<usize>, Hook)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A hook that panics ends nobody else's task.
fn run(hook: Hook, socket: &Socket, reason: CloseReason) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| hook(socket, reason))) {
        socket.0.registry.panicked("a close hook", payload);
    }
}
