//! A session without I/O.

mod application;
mod asap;
mod closing;
mod handshake;
mod incoming;
mod liveness;
mod outgoing;
mod reason;
mod stats;
mod window;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use towline_codec::{Text, greenpack::Timestamp};

use self::asap::Asap;
pub use self::{
    incoming::Incoming,
    outgoing::Transmit,
    reason::{CloseReason, EngineEvent, OpenError, ReadState, SendError},
    stats::{Dropped, Stats},
};
use super::{
    config::{Config, ConfigError},
    nonce::session_nonce,
    numbers::TcpState,
    receiver::{Echo, Receiver},
    sender::{Sender, Timing},
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
/// What is to be sent besides data and acknowledgements.
#[derive(Debug, Default)]
struct Due {
    syn: bool,
    syn_ack: bool,
    estab_ack: Option<i64>,
    keep_alive: bool,
    fin: bool,
    fin_ack: Option<Echo>,
    /// An answer to data that came again after the end.
    late_ack: Option<Echo>,
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
    /// What was accepted was given up before it was acknowledged.
    has_lost: bool,
    reason: Option<CloseReason>,
    /// The end of what the peer sent is missing for good.
    is_cut: Option<CloseReason>,
    asap: Option<Asap>,
    asap_registrations: u64,
    events: VecDeque<EngineEvent>,
    stats: Stats,
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
            has_lost: false,
            reason: None,
            is_cut: None,
            asap: None,
            asap_registrations: 0,
            events: VecDeque::new(),
            stats: Stats::default(),
            config,
        })
    }

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
            && self.due.late_ack.is_none()
    }

    /// Why the session is over; `None` while it is not.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.reason.clone()
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

    fn tell(&mut self, event: EngineEvent) {
        if !self.events.contains(&event) {
            self.events.push_back(event);
        }
    }

    /// A time for the wire that no other packet of this session carries (docs/wire W26).
    fn next_wall(&mut self, now: Now) -> Timestamp {
        let after = self.last_wall.saturating_add(Duration::from_nanos(1));
        self.last_wall = after.max(now.wall);
        self.last_wall
    }
}
