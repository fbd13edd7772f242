//! What a yamux session allows itself and its peer.

use std::time::Duration;

use crate::proto::{
    AckPolicy, Dialect,
    settings::{Settings, shared_setters},
};

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

    /// A window is doubled when half of it is read within so many round trips. Default: 1, so that it
    /// ends between two and four times what the path holds. The originals' 4 lets it grow to eight and
    /// sixteen times, all of which may wait in front of other streams; 0 keeps windows as they are.
    #[must_use]
    pub const fn growth_rtt_factor(mut self, round_trips: u32) -> Self {
        self.0.growth_factor = round_trips;
        self
    }

    /// How often the round trip is measured while bytes come; windows grow by the shortest. Default:
    /// 30 s, and three times in a row at the start. None: never, and windows do not grow.
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

    shared_setters!();
}
