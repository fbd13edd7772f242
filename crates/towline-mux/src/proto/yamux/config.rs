//! What a yamux session allows itself and its peer.

use std::{sync::Arc, time::Duration};

use crate::proto::{AckPolicy, ConfigError, Dialect, FrameTap, MemoryManager, settings::Settings};

/// What a session allows itself and its peer. The defaults are the original's, except where a setter
/// says otherwise; they suit a few hundred streams over the internet.
///
/// ```
/// use std::time::Duration;
/// use towline_mux::proto::yamux::Config;
///
/// let config = Config::default()
///     .max_incoming_streams(100)
///     .keep_alive(Some(Duration::from_secs(10)));
/// config.validate()?;
/// # Ok::<(), towline_mux::proto::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Config(Settings);

impl Default for Config {
    fn default() -> Self {
        Self(Settings::new(Dialect::Yamux))
    }
}

impl Config {
    /// The window that a stream starts with, in bytes; the peer is told with the first frame. At least
    /// 256 KiB, and by default that. More fills a long link from the first moment, and is promised to
    /// every stream.
    #[must_use]
    pub const fn initial_stream_window(mut self, bytes: u32) -> Self {
        self.0.initial_window = bytes;
        self
    }

    /// The window that a stream may grow to, in bytes. Default: 16 MiB. A stream carries at most this
    /// much in a round trip. Equal to the first window, windows do not grow.
    #[must_use]
    pub const fn max_stream_window(mut self, bytes: u32) -> Self {
        self.0.max_window = bytes;
        self
    }

    /// A window is doubled when a share of it was read within so many round trips. Default: 4. More lets
    /// windows grow for slower readers; 0 keeps them as they are.
    #[must_use]
    pub const fn growth_rtt_factor(mut self, round_trips: u32) -> Self {
        self.0.growth_factor = round_trips;
        self
    }

    /// How often the round trip is measured while bytes come; windows grow by it. Default: at the
    /// start, and then every 30 s. None: never, and windows do not grow.
    #[must_use]
    pub const fn rtt_interval(mut self, interval: Option<Duration>) -> Self {
        self.0.rtt_interval = interval;
        self
    }

    /// Sends a ping when nothing came for this long, and ends the session when then, too, nothing comes
    /// within the write time-out. Default: 30 s.
    #[must_use]
    pub const fn keep_alive(mut self, interval: Option<Duration>) -> Self {
        self.0.keep_alive = interval;
        self
    }

    /// Answers to pings that may wait to be sent; above that, pings are dropped. Default: 1024, of four
    /// bytes each. The original's 32 has it drop answers that strict peers then miss.
    #[must_use]
    pub const fn ping_backlog(mut self, answers: usize) -> Self {
        self.0.ping_backlog = answers;
        self
    }

    /// The longest frame that is sent, header included: 1024 to 1048588 bytes. Default: 64 KiB. Peers
    /// built on `tokio-yamux` take up to 256 KiB, on the Rust crate `yamux` up to 1 MiB.
    #[must_use]
    pub const fn max_message_size(mut self, bytes: u32) -> Self {
        self.0.max_payload = bytes.saturating_sub(super::HEADER_LEN as u32);
        self
    }

    /// When a stream of the peer is acknowledged. Default: when it is accepted.
    #[must_use]
    pub const fn ack_policy(mut self, policy: AckPolicy) -> Self {
        self.0.ack_policy = policy;
        self
    }

    /// Resets a stream of this side that the peer does not acknowledge for this long. The session goes
    /// on. Default: never, since some peers acknowledge nothing until they have something to say.
    #[must_use]
    pub const fn stream_open_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.0.open_timeout = timeout;
        self
    }

    /// Streams that the peer opened and nobody has accepted yet. Above that they are refused. It is also how many of its own streams
    /// this side leaves unacknowledged before opening waits: the peer's backlog is taken to be as long.
    /// Each may hold a window of data. Default: 256.
    #[must_use]
    pub const fn accept_backlog(mut self, streams: usize) -> Self {
        self.0.accept_backlog = streams;
        self
    }

    /// Streams of the peer that may be open at a time; above that they are refused. Default: 1000. Each
    /// promises the peer a window of memory. Peers built on the Rust crate `yamux` do not go above 512
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
    /// the first windows of all allowed streams come to, and 64 MiB for windows to grow by.
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

    /// Ends the session when the transport takes nothing of what waits for it for this long. Pings,
    /// too, are given up after so long.
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
