//! What a session allows itself and its peer.

use std::time::Duration;

use towline_codec::Text;

use super::rtt::RttModel;

/// The most data that one packet carries (docs/wire W24).
pub(crate) const MAX_PIECE: usize = 524_288;

/// When data is acknowledged (docs/wire W37).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AckMode {
    /// When it arrives. The sender's buffers are free as early as can be. The default.
    #[default]
    OnReceive,
    /// When the application has taken it, as the original does: an acknowledgement then means that
    /// the application at the other end has the data.
    OnConsume,
}

/// What a session allows itself and its peer. The defaults suit a broker or a link of up to
/// 100 Mbit/s and 500 ms; each setter says what its number costs.
///
/// ```
/// use std::time::Duration;
/// use towline_swp::proto::Config;
///
/// let config = Config::new("my.inbox", "their.inbox")
///     .window(1000, 16 << 20)
///     .keep_alive(Duration::from_secs(1), Some(10));
/// config.validate()?;
/// # Ok::<(), towline_swp::proto::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) local: Text,
    pub(crate) remote: Text,
    pub(crate) window_messages: u32,
    pub(crate) window_bytes: u64,
    pub(crate) send_buffer_messages: usize,
    pub(crate) send_buffer_bytes: usize,
    pub(crate) max_data: usize,
    pub(crate) ack_mode: AckMode,
    pub(crate) ack_delay: Duration,
    pub(crate) keep_alive_interval: Duration,
    pub(crate) failed_keep_alives: Option<u32>,
    pub(crate) connect_timeout: Duration,
    pub(crate) connect_attempts: u32,
    pub(crate) linger: Duration,
    pub(crate) min_rto: Duration,
    pub(crate) max_rto: Duration,
    pub(crate) rtt_model: RttModel,
    pub(crate) tells_sample_count: bool,
    pub(crate) termination: Option<(usize, Duration)>,
    pub(crate) extension: bool,
    pub(crate) inbox: Option<(usize, usize)>,
    pub(crate) peers: Vec<Text>,
}

impl Config {
    /// A session that hears on the inbox `local` and talks to `remote`. An empty `remote` is for
    /// listeners: the first opener becomes the remote.
    pub fn new(local: impl Into<Text>, remote: impl Into<Text>) -> Self {
        Self {
            local: local.into(),
            remote: remote.into(),
            window_messages: 1000,
            window_bytes: 10_240_000,
            send_buffer_messages: 1024,
            send_buffer_bytes: 8 << 20,
            max_data: 1 << 20,
            ack_mode: AckMode::OnReceive,
            ack_delay: Duration::from_millis(5),
            keep_alive_interval: Duration::from_millis(500),
            failed_keep_alives: Some(50),
            connect_timeout: Duration::from_secs(60),
            connect_attempts: 5,
            linger: Duration::from_secs(10),
            min_rto: Duration::from_millis(20),
            max_rto: Duration::from_secs(10),
            rtt_model: RttModel::Smoothed,
            tells_sample_count: false,
            termination: None,
            extension: true,
            inbox: None,
            peers: Vec::new(),
        }
    }

    /// The original's preset for the end of a stream that sends (`SetupSendStream`): 1,000 messages, 1 MiB,
    /// and a silent peer is never given up.
    pub fn send_stream(local: impl Into<Text>, remote: impl Into<Text>) -> Self {
        Self::new(local, remote)
            .window(1000, 1 << 20)
            .keep_alive(Duration::from_millis(500), None)
    }

    /// The original's preset for the end of a stream that receives (`SetupRecvStream`): 1,000 messages,
    /// 10,240,000 bytes, and a silent peer is never given up. The original's limits for packets that wait
    /// are smaller than two of its packets; here they follow from the window.
    pub fn recv_stream(local: impl Into<Text>, remote: impl Into<Text>) -> Self {
        Self::new(local, remote)
            .window(1000, 10_240_000)
            .keep_alive(Duration::from_millis(500), None)
    }

    /// How much the peer may send ahead of the application: `messages` packets and `bytes` of data.
    /// That much memory a peer can fill. A link needs its rate times its round trip, twice that where
    /// packets are lost. As in the original, fewer bytes than messages stand for 10,240 bytes a
    /// message. Default: 1,000 messages, 10,240,000 bytes.
    #[must_use]
    pub fn window(mut self, messages: u32, bytes: u64) -> Self {
        self.window_messages = messages;
        self.window_bytes = if bytes < u64::from(messages) {
            u64::from(messages) * 10_240
        } else {
            bytes
        };
        self
    }

    /// How much the application may write ahead of the peer's acknowledgements; that much memory it
    /// takes. Default: 1,024 messages, 8 MiB.
    #[must_use]
    pub fn send_buffer(mut self, messages: usize, bytes: usize) -> Self {
        self.send_buffer_messages = messages;
        self.send_buffer_bytes = bytes;
        self
    }

    /// The largest data of one packet, sent or received. A larger one that comes is dropped and counted
    /// (docs/wire W7), so that its sender waits for an acknowledgement in vain. The original sends up to
    /// 524,288 bytes. Default: 1 MiB, what a NATS server carries.
    #[must_use]
    pub fn max_data(mut self, bytes: usize) -> Self {
        self.max_data = bytes;
        self
    }

    /// When data is acknowledged. Default: on arrival.
    #[must_use]
    pub fn ack_mode(mut self, mode: AckMode) -> Self {
        self.ack_mode = mode;
        self
    }

    /// How long an acknowledgement of a packet that came in order may wait for the next one. Longer
    /// saves packets, and delays the sender of single messages. Default: 5 ms.
    #[must_use]
    pub fn ack_delay(mut self, delay: Duration) -> Self {
        self.ack_delay = delay;
        self
    }

    /// A sign of life is sent after `interval` without another packet that is answered; after
    /// `failed` intervals of silence the peer is dead, with `None` never. Default: 500 ms, 50.
    #[must_use]
    pub fn keep_alive(mut self, interval: Duration, failed: Option<u32>) -> Self {
        self.keep_alive_interval = interval;
        self.failed_keep_alives = failed;
        self
    }

    /// How long connecting may take: `timeout` times `attempts`. Default: 60 s, 5 times.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration, attempts: u32) -> Self {
        self.connect_timeout = timeout;
        self.connect_attempts = attempts;
        self
    }

    /// How long closing waits for what was written to be acknowledged. Default: 10 s.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// The least and the longest wait for an acknowledgement. A least below the scheduling delays of
    /// the peer sends data twice. Default: 20 ms, 10 s.
    #[must_use]
    pub fn retransmission_timeouts(mut self, least: Duration, longest: Duration) -> Self {
        self.min_rto = least;
        self.max_rto = longest;
        self
    }

    /// How the wait for an acknowledgement is calculated. Default: [`RttModel::Smoothed`].
    #[must_use]
    pub fn rtt_model(mut self, model: RttModel) -> Self {
        self.rtt_model = model;
        self
    }

    /// Whether the peer is told the true number of round trip samples. The original mixes our round
    /// trips into its time-outs once there are three of them, and its formula then shrinks towards
    /// no margin at all; by default it never hears of more than two.
    #[must_use]
    pub fn tells_sample_count(mut self, tells: bool) -> Self {
        self.tells_sample_count = tells;
        self
    }

    /// Ends the session when acknowledgements were overdue `limit` times within `window`. Default:
    /// never.
    #[must_use]
    pub fn termination(mut self, limit: usize, window: Duration) -> Self {
        self.termination = Some((limit, window));
        self
    }

    /// Whether the extension is offered to the peer (docs/wire W47). Default: yes. The original
    /// ignores the offer.
    #[must_use]
    pub fn extension(mut self, offered: bool) -> Self {
        self.extension = offered;
        self
    }

    /// How many packets, and how many bytes of them, may wait in the inbox to be taken in by the session;
    /// what comes on top is dropped, counted, and sent again. Default: what the window needs, twice the
    /// messages and some for signs of life. Less costs retransmissions, more costs memory.
    #[must_use]
    pub fn inbox_limits(mut self, packets: usize, bytes: usize) -> Self {
        self.inbox = Some((packets, bytes));
        self
    }

    /// The only openers that are answered are those whose inbox begins with one of these. Where anybody can
    /// send, an opener can name an inbox that is not its own, and the answer goes there: on a bus name the
    /// subjects of your peers, with the dot behind the last word (`clients.`). Default: none, which lets
    /// everybody in.
    #[must_use]
    pub fn peers_below<T: Into<Text>>(mut self, prefixes: impl IntoIterator<Item = T>) -> Self {
        self.peers = prefixes.into_iter().map(Into::into).collect();
        self
    }

    /// The same settings for another remote inbox.
    #[must_use]
    pub fn with_remote(mut self, remote: impl Into<Text>) -> Self {
        self.remote = remote.into();
        self
    }

    /// The same settings, with data of at most `bytes` in a packet: what a network carries.
    #[must_use]
    pub fn limit_data(mut self, bytes: usize) -> Self {
        self.max_data = self.max_data.min(bytes);
        self
    }

    /// The same settings, with a window of at most `messages`: what a network can hold.
    #[must_use]
    pub fn limit_window(mut self, messages: u32) -> Self {
        self.window_messages = self.window_messages.min(messages.max(1));
        self
    }

    /// The window in messages.
    pub fn window_messages(&self) -> u32 {
        self.window_messages
    }

    /// The inbox on which the session hears.
    pub fn local(&self) -> &Text {
        &self.local
    }

    /// The inbox to which the session talks; empty for a listener.
    pub fn remote(&self) -> &Text {
        &self.remote
    }

    /// The largest piece of a byte stream that one packet carries (docs/wire W24).
    pub fn piece(&self) -> usize {
        MAX_PIECE
            .min(usize::try_from(self.window_bytes).unwrap_or(usize::MAX))
            .min(self.max_data)
            .min(self.send_buffer_bytes)
            .max(1)
    }

    /// Whether the settings can work together.
    ///
    /// # Errors
    ///
    /// Names what cannot: every constructor of a session returns the same.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.local.is_empty() {
            return Err(ConfigError::NoInbox);
        }
        if self.window_messages == 0 {
            return Err(ConfigError::NoWindow);
        }
        if self.send_buffer_messages == 0 || self.send_buffer_bytes == 0 || self.max_data == 0 {
            return Err(ConfigError::NoBuffer);
        }
        if self.min_rto.is_zero() || self.min_rto > self.max_rto {
            return Err(ConfigError::Timeouts {
                least: self.min_rto,
                longest: self.max_rto,
            });
        }
        if self.keep_alive_interval.is_zero() {
            return Err(ConfigError::NoKeepAlive);
        }
        if matches!(self.termination, Some((0, _))) {
            return Err(ConfigError::NoTerminationLimit);
        }
        Ok(())
    }

    /// Whether an opener with this inbox is answered.
    pub(crate) fn answers(&self, opener: &Text) -> bool {
        let is_below = |prefix: &Text| opener.as_bytes().starts_with(prefix.as_bytes());
        self.peers.is_empty() || self.peers.iter().any(is_below)
    }

    pub(crate) fn connect_limit(&self) -> Duration {
        self.connect_timeout
            .saturating_mul(self.connect_attempts.max(1))
    }
}

/// Settings that cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No inbox to hear on.
    #[error("the local inbox is empty: name the subject or address to hear on")]
    NoInbox,
    /// A window of no messages.
    #[error("windowMsgSz must be 1 or more")]
    NoWindow,
    /// A buffer without room.
    #[error("the send buffer and the largest data of a packet must not be 0")]
    NoBuffer,
    /// Time-outs that contradict each other.
    #[error(
        "the least retransmission time-out, {least:?}, must be above 0 and not above the longest, {longest:?}"
    )]
    Timeouts {
        /// The least.
        least: Duration,
        /// The longest.
        longest: Duration,
    },
    /// Signs of life without a pause.
    #[error(
        "the keep-alive interval must be above 0; `keep_alive(interval, None)` turns dead peer detection off"
    )]
    NoKeepAlive,
    /// A limit that the first packet reaches.
    #[error("the termination limit must be 1 or more")]
    NoTerminationLimit,
}
