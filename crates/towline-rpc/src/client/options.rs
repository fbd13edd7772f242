//! What can be said of a single call.

use std::time::Duration;

/// What can be said of a single call. The default is what [`Client::call`](crate::Client::call) does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallOptions {
    pub(crate) timeout: Option<Option<Duration>>,
    pub(crate) idempotent: bool,
    pub(crate) attempts: u32,
}

impl Default for CallOptions {
    fn default() -> Self {
        Self {
            timeout: None,
            idempotent: false,
            attempts: 3,
        }
    }
}

impl CallOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long the call may take, all attempts together; `None` is for ever. The server learns of it by the deadline in the
    /// header. Default: [`call_timeout`](super::ClientBuilder::call_timeout), which the server does not learn.
    #[must_use]
    pub const fn timeout(mut self, limit: Option<Duration>) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Says that it does no harm if the server carries out the call more than once. A [`Pool`](crate::Pool) then makes it again when its
    /// connection is lost before the reply came. Default: it may do harm.
    #[must_use]
    pub const fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// How often a [`Pool`](crate::Pool) makes the call at most, the first time included. Default: 3; 0 counts as 1.
    #[must_use]
    pub const fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = if attempts == 0 { 1 } else { attempts };
        self
    }
}
