//! How much one connection may have a server do at once.

/// How much a server runs at once for one connection (docs/wire C5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    pub(crate) running: usize,
    pub(crate) waiting: usize,
    pub(crate) waiting_bytes: usize,
    pub(crate) body_bytes: usize,
}

impl Default for Concurrency {
    fn default() -> Self {
        Self {
            running: 1024,
            waiting: 1024,
            waiting_bytes: 16 << 20,
            body_bytes: 64 << 20,
        }
    }
}

impl Concurrency {
    /// Handlers that run at once. Default: 1024. Further calls wait.
    #[must_use]
    pub const fn running(mut self, handlers: usize) -> Self {
        self.running = handlers;
        self
    }

    /// Calls that wait for a handler to end. Default: 1024. Further calls are refused (docs/wire E7).
    #[must_use]
    pub const fn waiting(mut self, calls: usize) -> Self {
        self.waiting = calls;
        self
    }

    /// Bytes of waiting calls: bodies, error texts and, beyond 512 bytes each, headers. Default: 16 MiB.
    #[must_use]
    pub const fn waiting_bytes(mut self, bytes: usize) -> Self {
        self.waiting_bytes = bytes;
        self
    }

    /// Bytes of calls and one-way messages that are not answered yet, decompressed, counted as those of
    /// [`waiting_bytes`](Self::waiting_bytes). Default: 64 MiB. When so many are there the connection is not read until
    /// some have been answered; one call may go beyond. With calls that wait for others of the same connection it
    /// must hold all of them.
    ///
    /// As many bytes again may be in the first messages of streams that are open; a stream beyond that is refused
    /// (docs/wire E7), unless it is the only one.
    #[must_use]
    pub const fn body_bytes(mut self, bytes: usize) -> Self {
        self.body_bytes = bytes;
        self
    }
}
