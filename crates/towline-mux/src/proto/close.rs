//! How a session ends, and what is due when.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    Dialect, Engine, Event, PingError, RemoteGoAway, SessionEnd, StreamEnd, Violation,
    ping::Purpose, stream::Bits,
};

/// How long a session that has said its last word waits for the peer to close the transport: closing
/// it with something unread would have TCP destroy that last word.
const FAREWELL: Duration = Duration::from_millis(250);
/// How long the last word of a session that failed may take to leave.
const LAST_WORD: Duration = Duration::from_secs(1);

/// How [`close`](Engine::close) knows that it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseOutcome {
    /// The peer answered a ping that was sent behind everything: it has read all of it.
    Acknowledged,
    /// Everything was handed to the transport, and the peer closed it in good order, between two frames.
    /// It has not said that it has read all of it.
    PeerEnded,
    /// Neither within `close_timeout`: what was sent last may be lost.
    TimedOut,
}

/// Where a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    /// Everything queued is to leave, and the peer to say that it has it.
    Draining {
        until: Instant,
        last: Instant,
    },
    /// The last word is to leave, then the writing side closes.
    Final {
        until: Instant,
        /// The peer has closed its side already.
        peer_ended: bool,
    },
    /// The writing side is closed; waiting for the peer's.
    Shut {
        until: Instant,
    },
    Over,
}

impl Phase {
    pub(crate) const fn receives(self) -> bool {
        matches!(self, Self::Running | Self::Draining { .. })
    }
}

impl Engine {
    /// Sends a ping; the answer is [`Event::Pong`] with the number that this returns.
    ///
    /// # Errors
    ///
    /// [`PingError::Unsupported`] in muxado, and the end of the session.
    pub fn ping(&mut self, now: Instant) -> Result<u64, PingError> {
        if let Some(end) = &self.end {
            return Err(end.clone().into());
        }
        match self.settings.dialect {
            Dialect::Yamux => Ok(self.pings.want_for_user(now)),
            Dialect::Muxado => Err(PingError::Unsupported),
        }
    }

    /// Accepts no more streams; those that are open, and this side's own, go on. `debug` is for muxado.
    ///
    /// # Errors
    ///
    /// The end of the session.
    pub fn go_away(&mut self, code: u32, debug: Bytes) -> Result<(), SessionEnd> {
        if let Some(end) = &self.end {
            return Err(end.clone());
        }
        self.local_gone = true;
        if matches!(self.phase, Phase::Running) {
            self.go_away = Some((code, debug));
        }
        Ok(())
    }

    /// Ends the session in good order: what is queued leaves, the peer is asked whether it has it, then
    /// the transport is closed. Nothing more can be written or opened; what comes is still read.
    pub fn close(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Running) {
            let timeout = self.settings.close_timeout;
            self.local_gone = true;
            self.phase = Phase::Draining {
                // The last word, too, needs its time.
                until: now + timeout - timeout / 4,
                last: now + timeout,
            };
            self.note_openable();
        }
    }

    /// Ends the session with a code, and a text in muxado: behind what is being written, without what
    /// is queued.
    pub fn close_with(&mut self, now: Instant, code: u32, debug: Bytes) {
        if self.phase.receives() {
            let until = now + self.settings.close_timeout.min(LAST_WORD);
            let end = if code == 0 {
                SessionEnd::ClosedHere
            } else {
                SessionEnd::ClosedWithCode(code)
            };
            self.say_last_word(until, code, debug, end);
        }
    }

    /// Ends the session at once, without a word.
    pub fn abort(&mut self) {
        if self.phase != Phase::Over {
            self.set_end(SessionEnd::ClosedHere);
            self.phase = Phase::Over;
        }
    }

    /// The transport failed.
    pub fn handle_io_error(&mut self, error: io::Error) {
        if self.phase == Phase::Over {
            if self.closing && self.outcome == Some(CloseOutcome::PeerEnded) {
                // The peer's end was seen before the failure to write to it: not all of it has left.
                self.outcome = None;
                self.close_error = Some(SessionEnd::Io(Arc::new(error)));
            }
            return;
        }
        // docs/wire U61: after a go-away this is how the peer's end may show.
        let end = if self.settings.dialect == Dialect::Muxado && self.remote.is_some() {
            SessionEnd::ClosedByPeer
        } else {
            SessionEnd::Io(Arc::new(error))
        };
        if matches!(self.phase, Phase::Shut { .. }) && matches!(end, SessionEnd::ClosedByPeer) {
            self.note_outcome(CloseOutcome::PeerEnded);
        } else if self.closing && matches!(self.end, Some(SessionEnd::ClosedHere)) {
            self.close_error.get_or_insert_with(|| end.clone());
        }
        self.set_end(end);
        self.phase = Phase::Over;
    }

    /// The transport takes nothing of what waits for it: the write time-out runs (docs/wire Y64).
    pub fn note_blocked(&mut self, now: Instant) {
        self.blocked_since.get_or_insert(now);
    }

    /// The transport has taken something since [`note_blocked`](Self::note_blocked).
    pub const fn note_unblocked(&mut self) {
        self.blocked_since = None;
    }

    /// True when the transport's writing side is to be closed: everything was transmitted.
    pub const fn wants_shutdown(&self) -> bool {
        matches!(self.phase, Phase::Final { .. }) && self.go_away.is_none()
    }

    /// The transport's writing side was closed.
    pub fn handle_shutdown(&mut self, now: Instant) {
        if let Phase::Final { until, peer_ended } = self.phase {
            if peer_ended {
                self.note_outcome(CloseOutcome::PeerEnded);
            }
            self.phase = if peer_ended {
                Phase::Over
            } else if self.closing && self.outcome.is_none() {
                // How a muxado session learns that the peer has everything.
                Phase::Shut { until }
            } else {
                Phase::Shut {
                    until: now + FAREWELL,
                }
            };
        }
    }

    /// True when the transport can be dropped: nothing is to be written, read or timed any more.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// How [`close`](Self::close) ended, once it has. Nothing if the session ended in another way.
    pub const fn outcome(&self) -> Option<CloseOutcome> {
        self.outcome
    }

    /// What [`close`](Self::close) has come to, for a session that is [over](Self::is_over).
    ///
    /// # Errors
    ///
    /// Why the session ended before it was closed, or why closing failed. A peer that ended first, and in
    /// good order, is an error only if something that was written here had not left.
    pub fn close_result(&self) -> Result<CloseOutcome, SessionEnd> {
        if let Some(outcome) = self.outcome {
            return Ok(outcome);
        }
        if let Some(error) = &self.close_error {
            return Err(error.clone());
        }
        match &self.end {
            Some(SessionEnd::ClosedByPeer) if !self.left_behind => Ok(CloseOutcome::PeerEnded),
            Some(SessionEnd::ClosedHere) | None => Err(match &self.remote {
                Some(RemoteGoAway { code, debug }) if self.left_behind => SessionEnd::GoneAway {
                    code: *code,
                    debug: debug.clone(),
                },
                _ => SessionEnd::ClosedHere,
            }),
            Some(end) => Err(end.clone()),
        }
    }

    /// Notes how closing has ended, if the session is one that closes.
    fn note_outcome(&mut self, outcome: CloseOutcome) {
        let closes = self.closing && matches!(self.end, Some(SessionEnd::ClosedHere));
        if closes && (outcome != CloseOutcome::PeerEnded || !self.left_behind) {
            self.outcome.get_or_insert(outcome);
        }
    }

    /// True if something that the application has written, or the end of it, has not left.
    fn has_unsent(&self) -> bool {
        self.blocked_since.is_some()
            || self.queued > 0
            || self
                .streams
                .iter()
                .any(|(_, stream)| stream.bits.has(Bits::LIVE) && stream.bits.has(Bits::FIN_DUE))
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due next, if ever.
    pub fn deadline(&self) -> Option<Instant> {
        let settings = &self.settings;
        let phase = match self.phase {
            Phase::Running => None,
            Phase::Draining { until, .. } | Phase::Final { until, .. } | Phase::Shut { until } => {
                Some(until)
            }
            Phase::Over => return None,
        };
        let blocked = self
            .blocked_since
            .map(|since| since + settings.write_timeout);
        let alive = self.phase.receives();
        let keep_alive = settings
            .keep_alive
            .filter(|_| alive && !self.pings.has(Purpose::KeepAlive))
            .map(|interval| self.last_input + interval);
        let measure = settings
            .rtt_interval
            .zip(self.pings.measured())
            .filter(|(_, measured)| alive && self.last_input > *measured)
            .filter(|_| !self.pings.has(Purpose::Measure))
            .map(|(interval, measured)| measured + interval);
        [
            phase,
            blocked,
            keep_alive,
            measure,
            self.pings.deadline(settings.write_timeout),
            self.opening.front().map(|&(at, ..)| at),
            self.lingering.front().map(|&(at, ..)| at),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what is due by now.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::Over => return,
            Phase::Draining { until, last } if until <= now => {
                self.outcome = Some(CloseOutcome::TimedOut);
                self.say_goodbye(last);
            }
            Phase::Final { until, .. } | Phase::Shut { until } if until <= now => {
                self.note_outcome(CloseOutcome::TimedOut);
                self.phase = Phase::Over;
                return;
            }
            _ => {}
        }
        if self
            .blocked_since
            .is_some_and(|since| since + self.settings.write_timeout <= now)
        {
            self.set_end(SessionEnd::WriteTimeout);
            self.phase = Phase::Over;
            return;
        }
        self.time_pings(now);
        self.time_streams(now);
    }

    fn time_pings(&mut self, now: Instant) {
        while let Some(purpose) = self.pings.lost(now, self.settings.write_timeout) {
            match purpose {
                Purpose::User(number) => self.events.push_back(Event::PingLost(number)),
                Purpose::KeepAlive => {
                    // docs/wire Y56: everything that came since would have made it another ping.
                    self.set_end(SessionEnd::KeepAliveTimeout);
                    self.phase = Phase::Over;
                    return;
                }
                Purpose::Measure | Purpose::Close => {}
            }
        }
        if !self.phase.receives() {
            return;
        }
        if let Some(interval) = self.settings.keep_alive
            && self.last_input + interval <= now
            && !self.pings.has(Purpose::KeepAlive)
        {
            self.pings.want(now, Purpose::KeepAlive);
        }
        if let Some(interval) = self.settings.rtt_interval
            && let Some(measured) = self.pings.measured()
            && self.last_input > measured
            && measured + interval <= now
            && !self.pings.has(Purpose::Measure)
        {
            self.pings.want(now, Purpose::Measure);
        }
    }

    fn time_streams(&mut self, now: Instant) {
        while let Some(&(at, slot, id)) = self.opening.front() {
            let waits = self.waits_for_ack(slot, id);
            if waits && at > now {
                break;
            }
            self.opening.pop_front();
            if waits {
                self.reset_and_bury(now, slot, StreamEnd::OpenTimeout);
            }
        }
        while let Some(&(at, slot, id)) = self.lingering.front() {
            let waits = self.lingers(slot, id);
            if waits && at > now {
                break;
            }
            self.lingering.pop_front();
            if waits {
                let code = self.code_for_unread();
                self.reset_and_bury(now, slot, StreamEnd::ResetHere(code));
            }
        }
    }

    /// A draining session has nothing left to send.
    pub(crate) fn go_on_closing(&mut self, now: Instant) {
        let Phase::Draining { last, .. } = self.phase else {
            return;
        };
        match self.settings.dialect {
            Dialect::Yamux if !self.close_ping => {
                self.close_ping = true;
                self.pings.want(now, Purpose::Close);
            }
            Dialect::Yamux => {}
            Dialect::Muxado => self.say_goodbye(last),
        }
    }

    /// The peer answered the ping behind the last frame.
    pub(crate) fn close_was_acknowledged(&mut self, now: Instant) {
        let _ = now;
        if let Phase::Draining { last, .. } = self.phase {
            self.outcome = Some(CloseOutcome::Acknowledged);
            self.say_goodbye(last);
        }
    }

    fn say_goodbye(&mut self, until: Instant) {
        // docs/wire Y61, U50.
        let text = Bytes::from_static(b"no error");
        self.say_last_word(until, 0, text, SessionEnd::ClosedHere);
    }

    fn say_last_word(&mut self, until: Instant, code: u32, debug: Bytes, end: SessionEnd) {
        self.closing = true;
        self.set_end(end);
        self.go_away = Some((code, debug));
        self.phase = Phase::Final {
            until,
            peer_ended: false,
        };
    }

    /// The peer broke a rule.
    pub(crate) fn fail(&mut self, now: Instant, violation: Violation) -> Result<(), Violation> {
        if self.settings.dialect == Dialect::Muxado && self.remote.is_some() {
            // docs/wire U61: after a go-away nothing that comes is worth a complaint.
            self.transport_ended(
                now,
                SessionEnd::ClosedByPeer,
                15,
                "read EOF from remote peer",
            );
            return Ok(());
        }
        self.set_end(SessionEnd::Violation(violation));
        // docs/wire Y2, Y39: the peer is told, and told last.
        let code = violation.code(self.settings.dialect);
        self.go_away = Some((code, violation.debug_text().into()));
        self.phase = Phase::Final {
            until: now + LAST_WORD,
            peer_ended: false,
        };
        Err(violation)
    }

    /// Nothing comes any more.
    pub(crate) fn transport_ended(
        &mut self,
        now: Instant,
        end: SessionEnd,
        code: u32,
        debug: &'static str,
    ) {
        match self.phase {
            Phase::Running if self.settings.dialect == Dialect::Muxado => {
                self.set_end(end);
                // docs/wire U53: as the original, which tells even a peer that has gone.
                self.go_away = Some((code, Bytes::from_static(debug.as_bytes())));
                self.phase = Phase::Final {
                    until: now + FAREWELL,
                    peer_ended: true,
                };
            }
            Phase::Running => {
                self.set_end(end);
                self.phase = Phase::Over;
            }
            Phase::Draining { .. } => {
                // Both ends may close at the same time.
                if matches!(end, SessionEnd::ClosedByPeer) && !self.has_unsent() {
                    self.closing = true;
                    self.set_end(SessionEnd::ClosedHere);
                    self.note_outcome(CloseOutcome::PeerEnded);
                } else {
                    self.set_end(end);
                }
                self.phase = Phase::Over;
            }
            // What it ended is known when the last word has left.
            Phase::Final { until, .. } => {
                self.phase = Phase::Final {
                    until,
                    peer_ended: true,
                };
            }
            Phase::Shut { .. } => {
                self.note_outcome(CloseOutcome::PeerEnded);
                self.phase = Phase::Over;
            }
            Phase::Over => {}
        }
    }

    /// The peer ended the session with a code.
    pub(crate) fn ended_by_peer(&mut self, now: Instant, end: SessionEnd) {
        let _ = now;
        self.set_end(end);
        self.phase = Phase::Over;
    }

    /// Notes why the session is over, if that is not known yet, and ends every stream.
    fn set_end(&mut self, end: SessionEnd) {
        if self.end.is_some() {
            return;
        }
        tracing::debug!(%end, "session ended");
        // What still waits for the transport at a close of this side's own leaves behind the end.
        self.left_behind |= if matches!(end, SessionEnd::ClosedHere) {
            self.queued > 0
        } else {
            self.has_unsent()
        };
        self.end = Some(end);
        self.pings.clear();
        self.pongs.clear();
        self.resets.clear();
        self.control.clear();
        self.fresh.clear();
        self.ready.clear();
        self.budget_waiters.clear();
        self.opening.clear();
        self.lingering.clear();
        self.blocked_since = None;
        let slots: Vec<u32> = self.streams.iter().map(|(slot, _)| slot as u32).collect();
        for slot in slots {
            self.leave_table(slot);
        }
        self.accept_wait = false;
        self.open_wait = false;
        self.events.push_back(Event::Ended);
    }
}
