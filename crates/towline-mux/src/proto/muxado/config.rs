//! What a muxado session allows itself and its peer.

use std::{sync::Arc, time::Duration};

use crate::proto::{ConfigError, Dialect, FrameTap, MemoryManager, settings::Settings};

/// What a session allows itself and its peer. The defaults are the original's, except where a setter
/// says otherwise.
///
/// ```
/// use towline_mux::proto::muxado::Config;
///
/// let config = Config::default().max_window_size(1 << 20);
/// config.validate()?;
/// # Ok::<(), towline_mux::proto::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Config(Settings);

impl Default for Config {
    fn default() -> Self {
        Self(Settings::new(Dialect::Muxado))
    }
}

impl Config {
    /// The window of every stream, in both directions, in bytes. **Both ends must be set alike**: nothing
    /// is said about it on the wire, and a stream whose peer has a larger one is reset. Default: 256 KiB.
    /// A stream carries at most this much in a round trip.
    #[must_use]
    pub const fn max_window_size(mut self, bytes: u32) -> Self {
        self.0.initial_window = bytes;
        self.0.max_window = bytes;
        self
    }

    /// The longest payload of a frame that is sent, up to 16777215 bytes. Default: 64 KiB. While several
    /// streams have something to send, frames are shorter.
    #[must_use]
    pub const fn max_frame_payload(mut self, bytes: u32) -> Self {
        self.0.max_payload = bytes;
        self
    }

    /// Streams that the peer opened and nobody has accepted yet. Above that they are refused with code 9.
    /// Each may hold a window of data. Default: 128.
    #[must_use]
    pub const fn accept_backlog(mut self, streams: usize) -> Self {
        self.0.accept_backlog = streams;
        self
    }

    /// Streams of the peer that may be open at a time; above that they are refused. Default: 1000. Each
    /// promises the peer a window of memory. Peers built on the Rust crate `muxado` do not go above 512
    /// in both directions together.
    #[must_use]
    pub const fn max_incoming_streams(mut self, streams: usize) -> Self {
        self.0.max_incoming = streams;
        self
    }

    /// Streams of this side that may be open at a time; above that opening fails. Default: 1000. Each
    /// promises the peer a window of memory.
    #[must_use]
    pub const fn max_outgoing_streams(mut self, streams: usize) -> Self {
        self.0.max_outgoing = streams;
        self
    }

    /// Bytes that the session may hold unread for its application, over all streams. Default: what
    /// the first windows of all allowed streams come to, and 64 MiB.
    #[must_use]
    pub const fn receive_budget(mut self, bytes: u64) -> Self {
        self.0.receive_budget = Some(bytes);
        self
    }

    /// Promises more than the budget holds: streams may be many and idle. When the session really holds
    /// more than [`receive_budget`](Self::receive_budget), the stream that holds most is reset. Default:
    /// not.
    #[must_use]
    pub const fn overcommit(mut self, overcommit: bool) -> Self {
        self.0.overcommit = overcommit;
        self
    }

    /// Bytes written by the application that may wait for the transport, over all streams; above that
    /// writers wait their turn. Default: 1 MiB. More costs memory on every connection whose peer reads
    /// slowly, and gains nothing that the transport's own buffer does not give.
    #[must_use]
    pub const fn send_budget(mut self, bytes: usize) -> Self {
        self.0.send_budget = bytes;
        self
    }

    /// What the first read of a burst asks the transport for; it grows with what comes. Default: 4 KiB.
    #[must_use]
    pub const fn read_buffer(mut self, bytes: usize) -> Self {
        self.0.read_buffer = bytes;
        self
    }

    /// Lets the small writes of tasks that were woken together leave in one system call. They never wait
    /// for time to pass. Default: true.
    #[must_use]
    pub const fn write_coalescing(mut self, coalesce: bool) -> Self {
        self.0.coalesce = coalesce;
        self
    }

    /// Ends the session when the transport takes nothing of what waits for it for this long.
    /// Default: 10 s.
    #[must_use]
    pub const fn connection_write_timeout(mut self, timeout: Duration) -> Self {
        self.0.write_timeout = timeout;
        self
    }

    /// How long closing may take. Default: 10 s.
    #[must_use]
    pub const fn close_timeout(mut self, timeout: Duration) -> Self {
        self.0.close_timeout = timeout;
        self
    }

    /// How long a stream that was ended and dropped here waits for the peer's end before it is reset.
    /// Default: 30 s.
    #[must_use]
    pub const fn linger(mut self, time: Duration) -> Self {
        self.0.linger = time;
        self
    }

    /// Streams that the peer may open in a second; above that they are refused. Default: no limit. A
    /// limit makes opening and resetting streams without end useless to a hostile peer.
    #[must_use]
    pub const fn max_stream_rate(mut self, streams: Option<u32>) -> Self {
        self.0.max_stream_rate = streams;
        self
    }

    /// Asks `manager` before memory is promised to the peer. Default: nobody is asked.
    #[must_use]
    pub fn memory_manager(mut self, manager: Arc<dyn MemoryManager>) -> Self {
        self.0.memory = Some(manager);
        self
    }

    /// Shows every frame to `tap`. Default: to nobody.
    #[must_use]
    pub fn tap(mut self, tap: Arc<dyn FrameTap>) -> Self {
        self.0.tap = Some(tap);
        self
    }

    /// Checks that the numbers go together. Every constructor of a session does.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], which names the numbers.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.0.validate()
    }

    pub(crate) const fn settings(&self) -> &Settings {
        &self.0
    }
}
