//! The state of one session, and what can be asked about it.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use slab::Slab;

use super::{
    CloseOutcome, ConfigError, Dialect, FrameInfo, FrameKind, RemoteGoAway, Role, SessionEnd,
    StreamEnd,
    chunks::Chunks,
    close::Phase,
    frame::{Inbound, Outbound},
    hash::IdHasher,
    memory::Reservation,
    muxado,
    ping::Pings,
    receive::Body,
    settings::Settings,
    stream::{Bits, Stream},
    transmit::Transmit,
    yamux,
};

/// Bytes that one stream may have waiting to be written: enough for a few frames ahead.
pub(crate) const STREAM_AHEAD: usize = 256 << 10;
/// Resets that a peer may make us owe it before it has to take some.
pub(crate) const OWED_RESETS: usize = 1024;
/// Streams remembered after this side reset them (docs/wire U45).
pub(crate) const TOMBSTONES: usize = 1024;

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
    ids: HashMap<u32, u32, IdHasher>,
    /// The stream of the last frame: most frames are for the same stream as the one before.
    last_hit: (u32, u32),
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
    /// The frame before was a go-away: the next header is looked at twice (docs/wire U61).
    pub(crate) after_go_away: bool,
    pub(crate) pongs: VecDeque<u32>,
    pub(crate) resets: VecDeque<(u32, u32)>,
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
        let settings = settings.clone();
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
            after_go_away: false,
            pongs: VecDeque::new(),
            resets: VecDeque::new(),
            control: VecDeque::new(),
            fresh: VecDeque::new(),
            ready: VecDeque::new(),
            fresh_run: 0,
            queued: 0,
            budget_waiters: VecDeque::new(),
            go_away: None,
            local_gone: false,
            remote: None,
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

    /// As [`stream_count`](Self::stream_count), those that the peer opened.
    pub fn inbound_count(&self) -> usize {
        self.inbound
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

    pub(crate) fn stream(&self, slot: u32) -> Option<&Stream> {
        self.streams.get(slot as usize)
    }

    pub(crate) fn stream_mut(&mut self, slot: u32) -> Option<&mut Stream> {
        self.streams.get_mut(slot as usize)
    }

    /// Microseconds since the session began, for the little that is measured for each stream.
    pub(crate) fn micros(&self, now: Instant) -> u32 {
        // Wraps after 71 minutes: a window may then double once too early.
        now.saturating_duration_since(self.start).as_micros() as u32
    }

    pub(crate) fn lookup(&mut self, id: u32) -> Option<u32> {
        if self.last_hit.0 == id && self.last_hit.1 != u32::MAX {
            return Some(self.last_hit.1);
        }
        let slot = *self.ids.get(&id)?;
        self.last_hit = (id, slot);
        Some(slot)
    }

    /// Puts a new stream into the table.
    pub(crate) fn insert(&mut self, id: u32, bits: Bits, memory: Option<Box<Reservation>>) -> u32 {
        let (send_credit, recv_credit) = match self.settings.dialect {
            // docs/wire Y37: both sides start with 256 KiB; this side's SYN or ACK adds the rest.
            Dialect::Yamux if bits.has(Bits::OUTBOUND) => {
                (yamux::FIRST_WINDOW, self.settings.initial_window)
            }
            Dialect::Yamux => (yamux::FIRST_WINDOW, yamux::FIRST_WINDOW),
            Dialect::Muxado => (self.settings.initial_window, self.settings.initial_window),
        };
        if bits.has(Bits::OUTBOUND) {
            self.outbound += 1;
        } else {
            self.inbound += 1;
        }
        let slot = self.streams.insert(Stream {
            id,
            bits: bits | Bits::LIVE | Bits::COUNTED,
            send_credit,
            queued: 0,
            recv_credit,
            unread: 0,
            window: self.settings.initial_window,
            credited: 0,
            end: None,
            inbox: Chunks::default(),
            outbox: Chunks::default(),
            memory,
        }) as u32;
        self.ids.insert(id, slot);
        slot
    }

    /// Ends a stream before its time.
    pub(crate) fn kill(&mut self, slot: u32, end: StreamEnd) {
        let Some(stream) = self.stream_mut(slot) else {
            return;
        };
        if stream.end.is_some() {
            return;
        }
        stream.end = Some(end);
        self.stats.streams_reset += 1;
        self.leave_table(slot);
    }

    /// Forgets a stream whose both directions have ended, on the wire: frames for its id are then
    /// frames for an unknown stream.
    pub(crate) fn leave_table(&mut self, slot: u32) {
        let Some(stream) = self.streams.get_mut(slot as usize) else {
            return;
        };
        if stream.bits.take(Bits::LIVE) {
            self.queued -= stream.queued as usize;
            stream.queued = 0;
            stream.outbox.clear();
            self.ids.remove(&stream.id);
            if self.last_hit.1 == slot {
                self.last_hit = (0, u32::MAX);
            }
            if stream.bits.take(Bits::UNACKED) {
                self.unacked -= 1;
                self.note_openable();
            }
            if let Body::Data { slot: of, left, .. } = self.body
                && of == slot
            {
                self.body = Body::Skip { left };
            }
        }
        if let Some(stream) = self.stream(slot)
            && stream.bits.has(Bits::BACKLOG)
            && stream.end.is_some()
        {
            self.drop_from_backlog(slot);
        }
        self.wake_reader(slot);
        self.wake_writer(slot);
        self.settle(slot);
    }

    /// Gives back what an ended stream holds, as far as nothing is left to read, and its place when
    /// nobody holds it.
    pub(crate) fn settle(&mut self, slot: u32) {
        let Some(stream) = self.streams.get_mut(slot as usize) else {
            return;
        };
        if stream.bits.has(Bits::LIVE) {
            return;
        }
        let held = stream.bits.has(Bits::HANDLE | Bits::BACKLOG);
        if !held || stream.bits.has(Bits::DISCARDS) {
            self.held -= u64::from(stream.unread);
            stream.unread = 0;
            stream.inbox.clear();
        }
        if stream.unread == 0 && stream.bits.take(Bits::COUNTED) {
            stream.memory = None;
            self.grown -= u64::from(stream.window.saturating_sub(self.settings.initial_window));
            if stream.bits.has(Bits::OUTBOUND) {
                self.outbound -= 1;
                self.note_openable();
            } else {
                self.inbound -= 1;
            }
        }
        if !held {
            self.streams.remove(slot as usize);
        }
    }

    /// A stream in the backlog has died: nobody will be given it.
    fn drop_from_backlog(&mut self, slot: u32) {
        let Some(stream) = self.stream_mut(slot) else {
            return;
        };
        // Marked only: searching the queue for each would make a peer's resets expensive.
        stream.bits.set(Bits::DISCARDS);
        self.backlog_dead += 1;
        if self.backlog_dead > 64 + self.backlog.len() / 2 {
            let backlog = std::mem::take(&mut self.backlog);
            for slot in backlog {
                let dead = self
                    .stream(slot)
                    .is_none_or(|stream| stream.end.is_some() && stream.bits.has(Bits::DISCARDS));
                if dead {
                    self.forget_backlog_entry(slot);
                } else {
                    self.backlog.push_back(slot);
                }
            }
        }
    }

    /// A dead entry was taken out of the backlog.
    pub(crate) fn forget_backlog_entry(&mut self, slot: u32) {
        self.backlog_dead = self.backlog_dead.saturating_sub(1);
        if let Some(stream) = self.stream_mut(slot) {
            stream.bits.clear(Bits::BACKLOG);
        }
        self.settle(slot);
    }

    pub(crate) fn note_openable(&mut self) {
        if std::mem::take(&mut self.open_wait) {
            self.events.push_back(Event::Openable);
        }
    }

    pub(crate) fn wake_reader(&mut self, slot: u32) {
        if let Some(stream) = self.streams.get_mut(slot as usize)
            && stream.bits.take(Bits::READ_WAIT)
        {
            self.events.push_back(Event::Readable(StreamKey(slot)));
        }
    }

    pub(crate) fn wake_writer(&mut self, slot: u32) {
        if let Some(stream) = self.streams.get_mut(slot as usize)
            && stream.bits.take(Bits::WRITE_WAIT)
        {
            self.events.push_back(Event::Writable(StreamKey(slot)));
        }
    }

    /// Has a stream's turn come for what it has to say beside data.
    pub(crate) fn queue_control(&mut self, slot: u32) {
        if let Some(stream) = self.streams.get_mut(slot as usize)
            && !stream.bits.has(Bits::IN_CONTROL)
        {
            stream.bits.set(Bits::IN_CONTROL);
            self.control.push_back(slot);
        }
    }

    /// Puts a frame's head behind what is to be written.
    pub(crate) fn emit(&mut self, out: &mut Transmit, frame: Outbound) {
        let before = out.len();
        match self.settings.dialect {
            Dialect::Yamux => out.push_inline(&yamux::Header::from_outbound(frame).encode()),
            Dialect::Muxado => out.push_inline(muxado::encode(frame, &mut [0; 16])),
        }
        self.note_sent(frame);
        self.stats.bytes_sent += (out.len() - before) as u64;
    }

    /// Counts and shows a frame that is about to be written.
    pub(crate) fn note_sent(&mut self, frame: Outbound) {
        self.stats.frames_sent += 1;
        let Some(tap) = &self.settings.tap else {
            return;
        };
        let (kind, stream, length) = match frame {
            Outbound::Data { id, len, .. } => (FrameKind::Data, id, len),
            Outbound::Fin { id } => (FrameKind::Data, id, 0),
            Outbound::Open { id, credit }
            | Outbound::Acknowledge { id, credit }
            | Outbound::Credit { id, credit } => (FrameKind::Credit, id, credit),
            Outbound::Reset { id, code } => (FrameKind::Reset, id, code),
            Outbound::Ping { value } => (FrameKind::Ping, 0, value),
            Outbound::Pong { value } => (FrameKind::Pong, 0, value),
            Outbound::GoAway { code, .. } => (FrameKind::GoAway, 0, code),
        };
        let flags = match self.settings.dialect {
            Dialect::Yamux => yamux::Header::from_outbound(frame).flags.0,
            Dialect::Muxado => u16::from(muxado::encode(frame, &mut [0; 16])[3] & 15),
        };
        tap.frame(&FrameInfo {
            sent: true,
            kind,
            stream,
            flags,
            length,
        });
    }

    /// Counts and shows a frame that came.
    pub(crate) fn note_received(&mut self, frame: &Inbound) {
        self.stats.frames_received += 1;
        let Some(tap) = &self.settings.tap else {
            return;
        };
        let (kind, stream, flags, length) = match *frame {
            Inbound::Stream(frame) => {
                let (kind, length) = if let Some(code) = frame.reset {
                    (FrameKind::Reset, code)
                } else if frame.data {
                    (FrameKind::Data, frame.body as u32)
                } else {
                    (FrameKind::Credit, frame.credit)
                };
                let flags = match self.settings.dialect {
                    Dialect::Yamux => {
                        u16::from(frame.syn)
                            | u16::from(frame.ack) << 1
                            | u16::from(frame.fin) << 2
                            | u16::from(frame.reset.is_some()) << 3
                    }
                    Dialect::Muxado => u16::from(frame.fin) | u16::from(frame.syn) << 1,
                };
                (kind, frame.id, flags, length)
            }
            Inbound::Ping { value } => (FrameKind::Ping, 0, 1, value),
            Inbound::Pong { value } => (FrameKind::Pong, 0, 2, value),
            Inbound::GoAway { code, .. } => (FrameKind::GoAway, 0, 0, code),
            Inbound::Unknown { body } => (FrameKind::Unknown, 0, 0, body as u32),
        };
        tap.frame(&FrameInfo {
            sent: false,
            kind,
            stream,
            flags,
            length,
        });
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
