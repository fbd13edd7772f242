//! A session without I/O.

mod closing;
mod handshake;
mod incoming;
mod outgoing;
mod stats;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use towline_codec::{Text, greenpack::Timestamp};

pub use self::{
    incoming::Incoming,
    outgoing::Transmit,
    stats::{Dropped, Stats},
};
use super::{
    config::{AckMode, Config, ConfigError},
    nonce::session_nonce,
    numbers::TcpState,
    receiver::{Echo, Receiver},
    sender::{Payload, Sender, Timing},
    termination::TerminationLimit,
    timers::{Timer, Timers},
};

/// The bits of the extension (docs/wire W47): a peer has all of them or is spoken to as the original.
pub(crate) const EXTENSION: i64 = 1 | 4 | 8 | 16;
/// What a packet of the original's format takes beside its data, about.
const CLASSIC_OVERHEAD: u64 = 460;
/// The same of a compact frame.
const COMPACT_OVERHEAD: u64 = 32;
/// Signs of life whose answers are waited for.
const MAX_PROBES: usize = 8;

/// The present, as the caller knows it: the engine reads no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For measuring: never goes back.
    pub instant: Instant,
    /// Wall time, for what the wire carries.
    pub wall: Timestamp,
}

/// What the driver of an engine is told. Each stands once in the queue, however often it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineEvent {
    /// Both ends know each other.
    Connected,
    /// There is something to read: data, or the end.
    Readable,
    /// Packets were acknowledged: there is room to write, and who waits for
    /// [`acknowledged`](Engine::acknowledged) may look.
    Acknowledged,
    /// The session is over: [`Engine::close_reason`] says why.
    Closed,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// Both ends, or the other end for both, closed it in order.
    #[error("the session was closed in order")]
    Finished,
    /// The other end closed while data for it was on its way.
    #[error("the other end closed the session and takes no more data")]
    RemoteClosed,
    /// The other end abandoned the session.
    #[error("the other end abandoned the session")]
    Reset,
    /// This end abandoned the session.
    #[error("this end abandoned the session")]
    Aborted,
    /// The other end was not heard of for too long.
    #[error("the peer has not been heard of for {} s", .0.as_secs_f64())]
    PeerTimeout(Duration),
    /// Nobody answered.
    #[error("r.Connect() timeout waiting to SynAck, after over={:?} wait.", .0)]
    ConnectTimeout(Duration),
    /// The opener went silent in the middle of the handshake.
    #[error("the opener did not complete the handshake")]
    HandshakeTimeout,
    /// What was written was not acknowledged in time.
    #[error("timed-out after {} seconds waiting to get Close() message through.", .0.as_secs_f64())]
    LingerTimeout(Duration),
    /// Acknowledgements were overdue too often.
    #[error("Sender sees {0} ack fails in window of {1:?}, terminating session")]
    Terminated(usize, Duration),
}

/// Why nothing can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The send buffer has no room until the peer acknowledges.
    #[error("the send buffer is full: wait for an acknowledgement")]
    Full,
    /// More data than one packet may carry.
    #[error("{len} bytes are more than the {limit} that one packet may carry")]
    TooLarge {
        /// The data's length.
        len: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// This end has said that it sends no more.
    #[error("this end has finished sending")]
    Finished,
    /// The session is over.
    #[error("the session is over: {0}")]
    Closed(#[from] CloseReason),
}

/// Why a session cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no remote inbox to open to.
    #[error("no remote inbox is named, and no opener has come: name one")]
    NoRemote,
    /// The session is over.
    #[error("connect request when receiver was not in Listen state: {0}")]
    Closed(#[from] CloseReason),
}

/// What a reader finds when there is nothing to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadState {
    /// More may come.
    Open,
    /// Everything was read, and no more comes.
    End,
    /// What the peer sent will not come whole.
    Failed(CloseReason),
}

/// What is to be sent besides data and acknowledgements.
#[derive(Debug, Default)]
struct Due {
    syn: bool,
    syn_ack: bool,
    estab_ack: Option<i64>,
    keep_alive: bool,
    fin: bool,
    fin_ack: Option<Echo>,
    update: bool,
    reset: bool,
}

/// What is known of the peer.
#[derive(Debug, Default)]
struct Peer {
    /// It said so, or did what the original never does (docs/wire W35).
    is_towline: bool,
    /// The largest window in messages that it ever advertised (docs/wire W35).
    largest_window: i64,
    /// It said that it reads no more.
    reads_no_more: bool,
    /// It said that it sends no more.
    has_finished: bool,
}

/// Both names of a compact session (docs/wire W48).
#[derive(Debug, Clone, Copy)]
struct Tags {
    incoming: u64,
    outgoing: u64,
}

/// One end of a session: bytes of packets in, bytes of packets out, time and randomness as
/// arguments.
///
/// The driver's loop is: hand in what came ([`handle`](Self::handle)), what is due
/// ([`handle_timeout`](Self::handle_timeout)) and what the application does; then send until
/// [`poll_transmit`](Self::poll_transmit) has nothing, tell the application until
/// [`poll_event`](Self::poll_event) has nothing, and sleep until [`deadline`](Self::deadline).
///
/// ```
/// use std::time::Instant;
///
/// use bytes::Bytes;
/// use towline_codec::greenpack::Timestamp;
/// use towline_swp::proto::{Config, Engine, Incoming, Now};
///
/// # #[expect(clippy::disallowed_methods, reason = "an example has to start somewhere")]
/// let now = Now { instant: Instant::now(), wall: Timestamp::new(1_800_000_000, 0) };
/// let mut a = Engine::new(Config::new("A", "B"), [1; 32], now)?;
/// let mut b = Engine::new(Config::new("B", "A"), [2; 32], now)?;
/// a.open(now)?;
/// a.send(now, Bytes::from_static(b"hello"))?;
///
/// // A network that loses nothing.
/// loop {
///     if let Some(packet) = a.poll_transmit(now) {
///         b.handle(now, Incoming::decode(&packet.bytes, 1 << 20)?);
///     } else if let Some(packet) = b.poll_transmit(now) {
///         a.handle(now, Incoming::decode(&packet.bytes, 1 << 20)?);
///     } else {
///         break;
///     }
/// }
/// assert_eq!(b.recv(now).as_deref(), Some(&b"hello"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Engine {
    config: Config,
    nonce: Text,
    remote: Text,
    remote_nonce: Option<Text>,
    state: TcpState,
    /// Both ends opened at once (docs/wire W16).
    is_simultaneous: bool,
    established_at: Option<Instant>,
    handshake_sent: u32,
    handshake_at: Instant,
    /// The peer offered the extension, and so did or will this end.
    tags: Option<Tags>,
    is_compact: bool,
    peer: Peer,
    sender: Sender,
    receiver: Receiver,
    due: Due,
    timers: Timers,
    /// An in-order arrival that is not answered yet, and how many there are.
    unanswered: Option<Echo>,
    unanswered_count: u32,
    ack_now: bool,
    /// The first packet beyond the window as last advertised, in messages and bytes.
    advertised: (u64, u64),
    heard_at: Instant,
    /// When something was sent last that the peer answers.
    elicited_at: Instant,
    probe_backoff: u32,
    probes: VecDeque<(Echo, Instant)>,
    probes_sent: u64,
    last_wall: Timestamp,
    termination: Option<TerminationLimit>,
    /// This end sends no more; true if it does not read either.
    finishing: Option<bool>,
    fins_sent: u32,
    fin_acked: bool,
    reason: Option<CloseReason>,
    /// The end of what the peer sent is missing for good.
    is_cut: Option<CloseReason>,
    asap: Option<Asap>,
    events: VecDeque<EngineEvent>,
    stats: Stats,
}

/// Packets for who wants them at once (docs/wire W52).
#[derive(Debug)]
struct Asap {
    limit: usize,
    packets: VecDeque<(u64, Bytes)>,
    dropped: u64,
}

impl Engine {
    /// A session that waits for a SYN, or for [`open`](Self::open). Its nonce follows from `seed`,
    /// which must be random and used once.
    ///
    /// # Errors
    ///
    /// What [`Config::validate`] finds.
    pub fn new(config: Config, seed: [u8; 32], now: Now) -> Result<Self, ConfigError> {
        config.validate()?;
        let timing = Timing {
            model: config.rtt_model,
            min_rto: config.min_rto,
            max_rto: config.max_rto,
        };
        Ok(Self {
            nonce: session_nonce(seed),
            remote: config.remote.clone(),
            remote_nonce: None,
            state: TcpState::LISTEN,
            is_simultaneous: false,
            established_at: None,
            handshake_sent: 0,
            handshake_at: now.instant,
            tags: None,
            is_compact: false,
            peer: Peer::default(),
            sender: Sender::new(timing, CLASSIC_OVERHEAD, now.instant),
            receiver: Receiver::new(config.window_messages, config.window_bytes),
            due: Due::default(),
            timers: Timers::default(),
            unanswered: None,
            unanswered_count: 0,
            ack_now: false,
            advertised: (0, 0),
            heard_at: now.instant,
            elicited_at: now.instant,
            probe_backoff: 0,
            probes: VecDeque::new(),
            probes_sent: 0,
            last_wall: now.wall,
            termination: config
                .termination
                .map(|(limit, window)| TerminationLimit::new(limit, window)),
            finishing: None,
            fins_sent: 0,
            fin_acked: false,
            reason: None,
            is_cut: None,
            asap: None,
            events: VecDeque::new(),
            stats: Stats::default(),
            config,
        })
    }

    // ---- the application ----

    /// Queues one packet and returns its number; it leaves when the windows and the rate allow. An
    /// empty one is a packet too (docs/wire W24). Before the session is open, packets wait.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] says to wait for [`EngineEvent::Acknowledged`].
    pub fn send(&mut self, now: Now, payload: impl Into<Payload>) -> Result<u64, SendError> {
        let payload = payload.into();
        if let Some(reason) = self.reason {
            return Err(reason.into());
        }
        if self.peer.reads_no_more {
            return Err(CloseReason::RemoteClosed.into());
        }
        if self.finishing.is_some() {
            return Err(SendError::Finished);
        }
        let limit = self.config.max_data.min(self.config.send_buffer_bytes);
        if payload.len() > limit {
            return Err(SendError::TooLarge {
                len: payload.len(),
                limit,
            });
        }
        if !self.has_room_for(payload.len()) {
            return Err(SendError::Full);
        }
        let seq = self.sender.push(payload);
        self.watch_window(now.instant);
        Ok(seq)
    }

    /// True if [`send`](Self::send) has room for a packet of `len` bytes.
    pub fn has_room_for(&self, len: usize) -> bool {
        let (messages, bytes) = self.sender.buffered();
        messages < self.config.send_buffer_messages
            && bytes.saturating_add(len) <= self.config.send_buffer_bytes
    }

    /// How many packets the peer has acknowledged: all with smaller numbers.
    pub fn acknowledged(&self) -> u64 {
        self.sender.base()
    }

    /// True if packets leave with the original's checksum, which [`Payload::with_checksum`] can
    /// calculate elsewhere.
    pub fn wants_checksums(&self) -> bool {
        !self.is_compact
    }

    /// The next message of the peer, in order.
    pub fn recv(&mut self, now: Now) -> Option<Bytes> {
        let data = self.receiver.take_message()?;
        self.consumed(now.instant);
        Some(data)
    }

    /// Up to `max` of the next bytes of the peer; where one message ends does not show.
    pub fn read(&mut self, now: Now, max: usize) -> Option<Bytes> {
        let before = self.receiver.consumed();
        let data = self.receiver.take_bytes(max);
        // Empty packets are consumed on the way to what there is to read.
        if data.is_some() || self.receiver.consumed() > before {
            self.consumed(now.instant);
        }
        data
    }

    /// What it means that there is nothing to read.
    pub fn read_state(&self) -> ReadState {
        if self.receiver.has_ready() {
            ReadState::Open
        } else if let Some(reason) = self.is_cut {
            ReadState::Failed(reason)
        } else if self.peer.has_finished && (!self.is_compact || self.receiver.is_complete()) {
            ReadState::End
        } else {
            match self.reason {
                None => ReadState::Open,
                Some(CloseReason::Finished | CloseReason::RemoteClosed) => ReadState::End,
                Some(reason) => ReadState::Failed(reason),
            }
        }
    }

    /// Data packets as soon as they arrive, in whatever order, beside the ordered delivery: at most
    /// `limit` wait for [`recv_asap`](Self::recv_asap), the oldest is dropped for a new one
    /// (docs/wire W52).
    pub fn register_asap(&mut self, limit: usize) {
        self.asap = Some(Asap {
            limit: limit.max(1),
            packets: VecDeque::new(),
            dropped: 0,
        });
    }

    /// The oldest packet that waits, with its number.
    pub fn recv_asap(&mut self) -> Option<(u64, Bytes)> {
        self.asap.as_mut()?.packets.pop_front()
    }

    /// How many packets were dropped because nobody took them in time.
    pub fn asap_dropped(&self) -> u64 {
        self.asap.as_ref().map_or(0, |asap| asap.dropped)
    }

    // ---- the driver ----

    /// What is due now is done: packets are sent again, signs of life given, limits enforced.
    pub fn handle_timeout(&mut self, now: Now) {
        if let Some(reason) = self.overdue_peer(now.instant) {
            self.end(now.instant, reason);
        }
        while let Some(timer) = self.timers.expired(now.instant) {
            match timer {
                Timer::Handshake => self.repeat_handshake(now.instant),
                Timer::ConnectLimit => {
                    let limit = self.config.connect_limit();
                    self.end(now.instant, CloseReason::ConnectTimeout(limit));
                }
                Timer::AckDelay => self.answer_in_order(),
                Timer::KeepAlive => self.give_sign_of_life(now.instant),
                Timer::Fin => self.repeat_fin(now.instant),
                Timer::Linger => {
                    let linger = self.config.linger;
                    self.tell_of_abort();
                    self.end(now.instant, CloseReason::LingerTimeout(linger));
                }
                Timer::TimeWait => {}
            }
        }
        if self.reason.is_none()
            && self.sender.handle_timeout(now.instant)
            && let Some(limit) = &mut self.termination
            && limit.add(now.instant)
            && let Some((count, window)) = self.config.termination
        {
            // docs/wire W43
            self.tell_of_abort();
            self.end(now.instant, CloseReason::Terminated(count, window));
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due, if ever.
    pub fn deadline(&self) -> Option<Instant> {
        if self.reason.is_some() {
            return self.timers.get(Timer::TimeWait);
        }
        [
            self.timers.next(),
            self.sender.deadline(),
            self.peer_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What happened, if anything.
    pub fn poll_event(&mut self) -> Option<EngineEvent> {
        self.events.pop_front()
    }

    /// True when the session is over and nothing is left to send or to answer: the engine can be
    /// dropped, except for what is left to read.
    pub fn is_done(&self) -> bool {
        self.reason.is_some()
            && self.timers.get(Timer::TimeWait).is_none()
            && !self.due.fin
            && !self.due.reset
            && self.due.fin_ack.is_none()
    }

    /// Why the session is over; `None` while it is not.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.reason
    }

    /// The state, in the original's words.
    pub fn state(&self) -> TcpState {
        if self.reason.is_some() {
            return TcpState::CLOSED;
        }
        self.state
    }

    /// True while both ends know each other.
    pub fn is_connected(&self) -> bool {
        self.state() == TcpState::ESTABLISHED
    }

    /// True if both ends use the extension (docs/wire W47).
    pub fn is_extended(&self) -> bool {
        self.is_compact
    }

    /// This session's nonce.
    pub fn nonce(&self) -> &Text {
        &self.nonce
    }

    /// The peer's nonce, once it is known.
    pub fn remote_nonce(&self) -> Option<&Text> {
        self.remote_nonce.as_ref()
    }

    /// The peer's inbox; empty while a listener has none.
    pub fn remote(&self) -> &Text {
        &self.remote
    }

    /// The tag of compact frames for this session, once one may come (docs/wire W48).
    pub fn incoming_tag(&self) -> Option<u64> {
        self.tags.map(|tags| tags.incoming)
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    // ---- shared by the parts ----

    fn tell(&mut self, event: EngineEvent) {
        if !self.events.contains(&event) {
            self.events.push_back(event);
        }
    }

    /// The first packet that is not acknowledged to the peer (docs/wire W27, W37).
    fn ack_next(&self) -> u64 {
        match self.config.ack_mode {
            AckMode::OnReceive => self.receiver.next(),
            AckMode::OnConsume => self.receiver.consumed(),
        }
    }

    /// The window to advertise: messages and bytes that may follow `ack_next` (docs/wire W33, W35).
    fn window(&self) -> (u64, u64) {
        let (messages, bytes) = self.receiver.window_after(self.ack_next());
        if self.is_compact || self.peer.is_towline {
            return (messages, bytes);
        }
        let clamp = u64::try_from(self.peer.largest_window).unwrap_or(0).max(1);
        (messages.min(clamp), bytes)
    }

    /// The application has taken something: acknowledge it, or tell of the room (docs/wire W36, W37).
    fn consumed(&mut self, now: Instant) {
        if self.reason.is_some() {
            return;
        }
        if self.config.ack_mode == AckMode::OnConsume {
            if let Some(echo) = self.receiver.consumed_echo()
                && self.receiver.consumed() > self.stats.consumed
            {
                self.unanswered = Some(echo);
                self.unanswered_count += 1;
                if self.timers.get(Timer::AckDelay).is_none() {
                    self.timers.set(Timer::AckDelay, now);
                }
            }
            self.stats.consumed = self.receiver.consumed();
            return;
        }
        self.stats.consumed = self.receiver.consumed();
        self.update_window();
    }

    /// Tells the peer of room when there is a quarter of the window more than it knows of, or when it
    /// knows of none (docs/wire W36).
    fn update_window(&mut self) {
        let (messages, bytes) = self.window();
        let edge = self.ack_next() + messages;
        let bytes_edge = self.receiver.received_bytes() + bytes;
        let known = self.advertised.0.saturating_sub(self.receiver.next());
        let known_bytes = self
            .advertised
            .1
            .saturating_sub(self.receiver.received_bytes());
        let more = edge.saturating_sub(self.advertised.0);
        let more_bytes = bytes_edge.saturating_sub(self.advertised.1);
        let window = u64::from(self.config.window_messages).min(self.clamp());
        if (more > 0 && (known == 0 || more >= window.div_ceil(4)))
            || (more_bytes > 0 && (known_bytes == 0 || more_bytes >= self.config.window_bytes / 4))
        {
            self.due.update = true;
        }
    }

    fn clamp(&self) -> u64 {
        if self.is_compact || self.peer.is_towline {
            u64::MAX
        } else {
            u64::try_from(self.peer.largest_window).unwrap_or(0).max(1)
        }
    }

    /// What came in order is answered without waiting for more.
    fn answer_in_order(&mut self) {
        self.timers.stop(Timer::AckDelay);
        if let Some(echo) = self.unanswered.take() {
            self.unanswered_count = 0;
            self.receiver.push_echo(echo);
            self.ack_now = true;
        }
    }

    /// A time for the wire that no other packet of this session carries (docs/wire W26).
    fn next_wall(&mut self, now: Now) -> Timestamp {
        let after = self.last_wall.saturating_add(Duration::from_nanos(1));
        self.last_wall = after.max(now.wall);
        self.last_wall
    }

    // ---- signs of life ----

    /// docs/wire W41: after an interval without anything that the peer answers; sooner while the
    /// peer's window keeps packets here and nothing in flight will open it.
    fn keep_alive_interval(&self) -> Duration {
        let interval = self.config.keep_alive_interval;
        if self.sender.is_blocked() {
            let probe = self
                .sender
                .rto()
                .saturating_mul(1 << self.probe_backoff.min(16));
            interval.min(probe)
        } else {
            interval
        }
    }

    fn watch_window(&mut self, now: Instant) {
        if self.is_connected() && self.sender.is_blocked() {
            let at = now + self.keep_alive_interval();
            if self.timers.get(Timer::KeepAlive).is_none_or(|set| set > at) {
                self.timers.set(Timer::KeepAlive, at);
            }
        }
    }

    fn give_sign_of_life(&mut self, now: Instant) {
        if !self.is_connected() {
            return;
        }
        let is_blocked = self.sender.is_blocked();
        let due = self.elicited_at + self.keep_alive_interval();
        if is_blocked || due <= now {
            self.probe_backoff = if is_blocked {
                self.probe_backoff + 1
            } else {
                0
            };
            self.due.keep_alive = true;
            self.timers
                .set(Timer::KeepAlive, now + self.keep_alive_interval());
        } else {
            self.timers.set(Timer::KeepAlive, due);
        }
    }

    fn peer_deadline(&self) -> Option<Instant> {
        let failed = self.config.failed_keep_alives?;
        // docs/wire W42: nobody is missed before there was somebody.
        self.established_at?;
        self.heard_at.checked_add(
            self.config
                .keep_alive_interval
                .saturating_mul(failed.max(1)),
        )
    }

    fn overdue_peer(&self, now: Instant) -> Option<CloseReason> {
        let deadline = self.peer_deadline()?;
        (self.reason.is_none() && deadline <= now)
            .then(|| CloseReason::PeerTimeout(now.saturating_duration_since(self.heard_at)))
    }
}
