//! The state of one session, and what can be asked about it.

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
    time::{Duration, Instant},
};

use bytes::Bytes;
use slab::Slab;

use super::{
    CloseOutcome, ConfigError, Dialect, RemoteGoAway, Role, SessionEnd, close::Phase,
    hash::IdHasher, inbound::Stalled, muxado, ping::Pings, receive::Body, settings::Settings,
    stream::Stream, yamux,
};

/// Names a stream of an [`Engine`], until it is [released](Engine::release).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey(pub(crate) u32);

impl StreamKey {
    /// A small number that no other stream of the session has at the same time: an index for tables
    /// beside the engine.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What the application should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A stream whose last read was blocked has something to read, or has ended.
    Readable(StreamKey),
    /// A stream whose last write was blocked can take something, is flushed, or has ended.
    Writable(StreamKey),
    /// A stream waits to be accepted.
    Acceptable,
    /// A stream can be opened, after [`Opening::Blocked`](super::Opening::Blocked).
    Openable,
    /// The ping with this number was answered after so long.
    Pong(u64, Duration),
    /// The ping with this number was not answered in time.
    PingLost(u64),
    /// The session is over, or is ending: [`Engine::end`] says why. Every stream has ended.
    Ended,
}

/// What a session has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Streams that this side opened.
    pub streams_opened: u64,
    /// Streams that the peer opened and this side took.
    pub streams_accepted: u64,
    /// Streams that the peer opened and this side refused.
    pub streams_refused: u64,
    /// Streams that ended by a reset, from either side.
    pub streams_reset: u64,
    /// Frames that came.
    pub frames_received: u64,
    /// Frames that were handed to the transport.
    pub frames_sent: u64,
    /// Bytes that came, headers included.
    pub bytes_received: u64,
    /// Bytes that were handed to the transport, headers included.
    pub bytes_sent: u64,
    /// Payload bytes that came for nobody and were thrown away.
    pub bytes_discarded: u64,
    /// Pings that were dropped, because more came than `ping_backlog` allows.
    pub pings_dropped: u64,
    /// Bytes received and not yet read by the application.
    pub bytes_held: u64,
    /// Bytes written by the application and not yet handed to the transport.
    pub bytes_queued: u64,
    /// Times that a window was doubled.
    pub windows_grown: u64,
    /// The round trip, smoothed; nothing in muxado and before the first answer.
    pub rtt: Option<Duration>,
}

/// One end of a session, without its transport.
///
/// Its methods are of four kinds:
///
/// * What came is given to it: [`handle_input`](Self::handle_input), [`handle_end`](Self::handle_end),
///   [`handle_timeout`](Self::handle_timeout).
/// * What the application wants: [`open`](Self::open), [`accept`](Self::accept), [`read`](Self::read),
///   [`write`](Self::write), [`close`](Self::close) and so on.
/// * What is to be done then: [`poll_transmit`](Self::poll_transmit), [`poll_event`](Self::poll_event)
///   and the next [`deadline`](Self::deadline), in this order, after every call of the first two kinds.
/// * What is the case: [`stats`](Self::stats), [`stream_count`](Self::stream_count), [`end`](Self::end).
///
/// It reads no clock: `now` is an argument and never goes back.
pub struct Engine {
    pub(crate) settings: Settings,
    pub(crate) role: Role,
    start: Instant,
    pub(crate) streams: Slab<Stream>,
    pub(crate) ids: HashMap<u32, u32, IdHasher>,
    /// The stream of the last frame: most frames are for the same stream as the one before.
    pub(crate) last_hit: (u32, u32),
    /// The next id to give; 0 when all were given.
    pub(crate) next_id: u32,
    /// The last id that the peer gave.
    pub(crate) last_remote: u32,
    pub(crate) inbound: usize,
    pub(crate) outbound: usize,
    pub(crate) unacked: usize,
    /// Somebody waits to open a stream.
    pub(crate) open_wait: bool,
    /// Somebody waits to accept a stream.
    pub(crate) accept_wait: bool,
    /// What windows have grown by, over all streams.
    pub(crate) grown: u64,
    /// Bytes received and not read.
    pub(crate) held: u64,
    pub(crate) backlog: VecDeque<u32>,
    /// Entries of `backlog` that nobody will accept any more.
    pub(crate) backlog_dead: usize,
    pub(crate) body: Body,
    /// Where the buffer begins and ends that the last input lay in.
    pub(crate) input_buffer: Range<usize>,
    /// The frame before was a go-away: the next header is looked at twice (docs/wire U61).
    pub(crate) after_go_away: bool,
    pub(crate) pongs: VecDeque<u32>,
    pub(crate) resets: VecDeque<(u32, u32)>,
    /// Resets that the peer made us owe it since there were none to send.
    pub(crate) owed: usize,
    /// Input waits until resets have left.
    pub(crate) stalled: Stalled,
    pub(crate) control: VecDeque<u32>,
    /// Streams that have data to send: those that had none before, and those that have more.
    pub(crate) fresh: VecDeque<u32>,
    pub(crate) ready: VecDeque<u32>,
    pub(crate) fresh_run: u32,
    /// Bytes in all outboxes.
    pub(crate) queued: usize,
    pub(crate) budget_waiters: VecDeque<u32>,
    pub(crate) go_away: Option<(u32, Bytes)>,
    /// This side accepts no more streams.
    pub(crate) local_gone: bool,
    pub(crate) remote: Option<RemoteGoAway>,
    /// The lowest last id of the peer's go-aways.
    pub(crate) lowest_last: u32,
    pub(crate) tombstones: VecDeque<(Instant, u32)>,
    pub(crate) buried: HashMap<u32, (), IdHasher>,
    pub(crate) opening: VecDeque<(Instant, u32, u32)>,
    pub(crate) lingering: VecDeque<(Instant, u32, u32)>,
    pub(crate) pings: Pings,
    pub(crate) last_input: Instant,
    /// Since when the transport has taken nothing of what waits for it.
    pub(crate) blocked_since: Option<Instant>,
    /// Inbound streams of this second, for the limit of their rate.
    pub(crate) stream_rate: (Instant, u32),
    pub(crate) phase: Phase,
    /// This side has said goodbye.
    pub(crate) closing: bool,
    /// The ping that a close waits for was asked for.
    pub(crate) close_ping: bool,
    pub(crate) outcome: Option<CloseOutcome>,
    /// Why this side's own close failed after its last word.
    pub(crate) close_error: Option<SessionEnd>,
    /// Something that was written had not left when the session ended.
    pub(crate) left_behind: bool,
    pub(crate) end: Option<SessionEnd>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) stats: Stats,
}

impl Engine {
    /// One end of a yamux session. `seed` decides the layout of a hash table and nothing else.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]
    pub fn yamux(
        role: Role,
        config: &yamux::Config,
        seed: [u8; 32],
        now: Instant,
    ) -> Result<Self, ConfigError> {
        Self::new(role, config.settings(), seed, now)
    }

    /// One end of a muxado session, as [`yamux`](Self::yamux).
    ///
    /// # Errors
    ///
    /// [`ConfigError`]
    pub fn muxado(
        role: Role,
        config: &muxado::Config,
        seed: [u8; 32],
        now: Instant,
    ) -> Result<Self, ConfigError> {
        Self::new(role, config.settings(), seed, now)
    }

    fn new(
        role: Role,
        settings: &Settings,
        seed: [u8; 32],
        now: Instant,
    ) -> Result<Self, ConfigError> {
        settings.validate()?;
        let settings = settings.clone().bounded();
        let hasher = IdHasher::new(seed);
        // docs/wire Y6, U14.
        let next_id = match (settings.dialect, role) {
            (Dialect::Yamux, Role::Client) => 1,
            (Dialect::Muxado, Role::Client) => 3,
            (_, Role::Server) => 2,
        };
        // docs/wire U51: what the original says before it has seen a stream.
        let last_remote = u32::from(role == Role::Server);
        Ok(Self {
            role,
            start: now,
            streams: Slab::new(),
            ids: HashMap::with_hasher(hasher),
            last_hit: (0, u32::MAX),
            next_id,
            last_remote,
            inbound: 0,
            outbound: 0,
            unacked: 0,
            open_wait: false,
            accept_wait: false,
            grown: 0,
            held: 0,
            backlog: VecDeque::new(),
            backlog_dead: 0,
            body: Body::None,
            input_buffer: 0..0,
            after_go_away: false,
            pongs: VecDeque::new(),
            resets: VecDeque::new(),
            owed: 0,
            stalled: Stalled::No,
            control: VecDeque::new(),
            fresh: VecDeque::new(),
            ready: VecDeque::new(),
            fresh_run: 0,
            queued: 0,
            budget_waiters: VecDeque::new(),
            go_away: None,
            local_gone: false,
            remote: None,
            lowest_last: u32::MAX,
            tombstones: VecDeque::new(),
            buried: HashMap::with_hasher(hasher),
            opening: VecDeque::new(),
            lingering: VecDeque::new(),
            pings: Pings::new(settings.rtt_interval.is_some()),
            last_input: now,
            blocked_since: None,
            stream_rate: (now, 0),
            phase: Phase::Running,
            closing: false,
            close_ping: false,
            outcome: None,
            close_error: None,
            left_behind: false,
            end: None,
            events: VecDeque::new(),
            stats: Stats::default(),
            settings,
        })
    }

    /// The wire format.
    pub const fn dialect(&self) -> Dialect {
        self.settings.dialect
    }

    /// Which end this is.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Streams that have not ended, of both sides, those that wait to be accepted among them.
    pub fn stream_count(&self) -> usize {
        self.ids.len()
    }

    /// Streams that the peer opened and that count against `max_incoming_streams`: those that have not
    /// ended, and those that have and still hold data that was not read.
    pub const fn inbound_count(&self) -> usize {
        self.inbound
    }

    /// As [`inbound_count`](Self::inbound_count), those that this side opened.
    pub const fn outbound_count(&self) -> usize {
        self.outbound
    }

    /// What the session has done so far.
    pub fn stats(&self) -> Stats {
        Stats {
            bytes_held: self.held,
            bytes_queued: self.queued as u64,
            rtt: self.pings.rtt(),
            ..self.stats
        }
    }

    /// Why the session is over or ending, if it is.
    pub const fn end(&self) -> Option<&SessionEnd> {
        self.end.as_ref()
    }

    /// What the peer said when it went away, if it did.
    pub const fn remote_go_away(&self) -> Option<&RemoteGoAway> {
        self.remote.as_ref()
    }

    /// The id of a stream on the wire.
    pub fn stream_id(&self, key: StreamKey) -> u32 {
        self.stream(key.0).map_or(0, |stream| stream.id)
    }

    /// The next thing that the application should know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// True if [`poll_event`](Self::poll_event) has something.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Microseconds since the session began, for the little that is measured for each stream.
    pub(crate) fn micros(&self, now: Instant) -> u32 {
        // Wraps after 71 minutes: a window may then double once too early.
        now.saturating_duration_since(self.start).as_micros() as u32
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("dialect", &self.settings.dialect)
            .field("role", &self.role)
            .field("streams", &self.ids.len())
            .field("phase", &self.phase)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
