//! Opening a session (docs/wire W14 to W19).

use std::time::{Duration, Instant};

use super::{COMPACT_OVERHEAD, CloseReason, EXTENSION, Engine, EngineEvent, Now, OpenError, Tags};
use crate::proto::{
    compact::compact_tag,
    numbers::{TcpEvent, TcpState},
    packet::Packet,
    timers::Timer,
};

/// The first SYN is sent again after this, then after twice as long each time up to the longest.
const SYN_FIRST: Duration = Duration::from_millis(250);
const SYN_LONGEST: Duration = Duration::from_secs(4);
/// A SYNACK is sent again this often, as the original does.
const CONTROL_REPEAT: Duration = Duration::from_secs(1);
/// So many times.
const CONTROL_REPEATS: u32 = 10;
/// In a simultaneous open the original ends if it hears no ESTABACK within a second: these repeats
/// fall into it (docs/wire W16).
const EARLY_REPEATS: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
];

/// The `AckRetry` of an answer to a SYN, and to a SYNACK.
const ANSWERS_SYN: i64 = -98;
const ANSWERS_SYN_ACK: i64 = -99;

impl Engine {
    /// Opens the session to the remote inbox: the SYN leaves with the next
    /// [`poll_transmit`](Self::poll_transmit), and again until an answer comes or connecting has
    /// taken too long (docs/wire W14, W19). Nothing happens if the session is open or opening.
    ///
    /// # Errors
    ///
    /// [`OpenError::NoRemote`], [`OpenError::Closed`].
    pub fn open(&mut self, now: Now) -> Result<(), OpenError> {
        if let Some(reason) = self.reason.clone() {
            return Err(reason.into());
        }
        if self.remote.is_empty() {
            return Err(OpenError::NoRemote);
        }
        if self.state != TcpState::LISTEN {
            return Ok(());
        }
        self.state = TcpState::SYN_SENT;
        self.handshake_at = now.instant;
        self.timers.set_after(
            Timer::ConnectLimit,
            now.instant,
            self.config.connect_limit(),
        );
        self.send_syn(now.instant);
        Ok(())
    }

    fn send_syn(&mut self, now: Instant) {
        let wait = SYN_FIRST
            .saturating_mul(1 << self.handshake_sent.min(8))
            .min(SYN_LONGEST);
        self.due.syn = true;
        self.handshake_sent += 1;
        self.timers.set_after(Timer::Handshake, now, wait);
    }

    /// The handshake packet of this state is sent again.
    pub(super) fn repeat_handshake(&mut self, now: Instant) {
        match self.state {
            TcpState::SYN_SENT => self.send_syn(now),
            TcpState::SYN_RECEIVED => {
                let repeats = if self.is_simultaneous {
                    CONTROL_REPEATS + EARLY_REPEATS.len() as u32
                } else {
                    CONTROL_REPEATS
                };
                if self.handshake_sent > repeats {
                    self.end(now, CloseReason::HandshakeTimeout);
                } else {
                    self.send_control(now);
                }
            }
            // docs/wire W16: the other side may not have heard the first one.
            TcpState::ESTABLISHED
                if self.is_simultaneous
                    && (self.handshake_sent as usize) <= EARLY_REPEATS.len() =>
            {
                self.send_control(now);
            }
            _ => {}
        }
    }

    /// SYNACK, or ESTABACK where both sides opened.
    fn send_control(&mut self, now: Instant) {
        let wait = if self.is_simultaneous {
            self.due.estab_ack = Some(ANSWERS_SYN);
            EARLY_REPEATS
                .get(self.handshake_sent as usize)
                .copied()
                .unwrap_or(CONTROL_REPEAT)
        } else {
            self.due.syn_ack = true;
            CONTROL_REPEAT
        };
        self.handshake_sent += 1;
        self.timers.set_after(Timer::Handshake, now, wait);
    }

    /// A packet came while waiting for an opener: only a SYN counts (docs/wire W18).
    pub(super) fn on_packet_in_listen(&mut self, now: Now, packet: &Packet) {
        let is_expected = if self.remote.is_empty() {
            self.config.answers(&packet.from)
        } else {
            packet.from == self.remote
        };
        if packet.event != TcpEvent::SYN
            || !is_expected
            || packet.from.is_empty()
            || packet.from_nonce.is_empty()
        {
            self.stats.dropped.foreign += 1;
            return;
        }
        self.stats.packets_received += 1;
        self.heard_at = now.instant;
        self.remote = packet.from.clone();
        self.learn_peer(packet);
        self.state = TcpState::SYN_RECEIVED;
        self.handshake_sent = 0;
        self.handshake_at = now.instant;
        self.send_control(now.instant);
    }

    pub(super) fn on_syn(&mut self, now: Now, packet: &Packet) {
        match self.state {
            TcpState::SYN_SENT => {
                self.learn_peer(packet);
                self.is_simultaneous = true;
                self.state = TcpState::SYN_RECEIVED;
                self.handshake_sent = 0;
                self.timers.stop(Timer::ConnectLimit);
                self.send_control(now.instant);
            }
            // The answer was lost, or is slow.
            TcpState::SYN_RECEIVED if !self.is_simultaneous => self.due.syn_ack = true,
            // A repeated SYN says that its sender has heard none of ours: the original, in that
            // state, understands a SYNACK and nothing else.
            TcpState::SYN_RECEIVED | TcpState::ESTABLISHED if self.is_simultaneous => {
                self.due.syn_ack = true;
            }
            _ => {}
        }
    }

    pub(super) fn on_syn_ack(&mut self, now: Now, packet: &Packet) {
        match self.state {
            TcpState::SYN_SENT => {
                self.learn_peer(packet);
                self.establish(now, packet.capabilities);
            }
            TcpState::SYN_RECEIVED => self.establish(now, packet.capabilities),
            _ => {}
        }
        // docs/wire W15: each one is answered; its sender has not heard the answer to the last.
        self.due.estab_ack = Some(ANSWERS_SYN_ACK);
    }

    pub(super) fn on_estab_ack(&mut self, now: Now, packet: &Packet) {
        match self.state {
            // The other side's SYN was lost, ours was not: it waits for an ESTABACK.
            TcpState::SYN_SENT => {
                self.learn_peer(packet);
                self.is_simultaneous = true;
                self.establish(now, packet.capabilities);
                self.due.estab_ack = Some(ANSWERS_SYN_ACK);
            }
            TcpState::SYN_RECEIVED => {
                self.establish(now, packet.capabilities);
                if self.is_simultaneous && packet.ack_retry == ANSWERS_SYN {
                    self.due.estab_ack = Some(ANSWERS_SYN_ACK);
                }
            }
            // An answer to our SYN: its sender may still wait for one. Ours is marked as an answer to
            // something else, so that it is not answered in turn.
            _ if self.is_simultaneous && packet.ack_retry == ANSWERS_SYN => {
                self.due.estab_ack = Some(ANSWERS_SYN_ACK);
            }
            _ => {}
        }
    }

    /// What the peer's first packet says of it.
    fn learn_peer(&mut self, packet: &Packet) {
        self.remote_nonce = Some(packet.from_nonce.clone());
        let offers = packet
            .capabilities
            .is_some_and(|bits| bits & EXTENSION == EXTENSION);
        if offers && self.config.extension {
            self.tags = Some(Tags {
                incoming: compact_tag(&packet.from_nonce, &self.nonce),
                outgoing: compact_tag(&self.nonce, &packet.from_nonce),
            });
        }
        if packet.capabilities.is_some() || packet.ack < 0 {
            self.peer.is_towline = true;
        }
    }

    /// Both ends know each other. The extension is used if the packet that says so confirms it
    /// (docs/wire W47).
    pub(super) fn establish(&mut self, now: Now, capabilities: Option<i64>) {
        let confirms = capabilities.is_some_and(|bits| bits & EXTENSION == EXTENSION);
        self.state = TcpState::ESTABLISHED;
        self.established_at = Some(now.instant);
        self.heard_at = now.instant;
        self.timers.stop(Timer::ConnectLimit);
        if !self.is_simultaneous {
            self.timers.stop(Timer::Handshake);
        }
        if confirms && self.tags.is_some() {
            self.use_extension();
        }
        if self.handshake_sent == 1 {
            let sample = now.instant.saturating_duration_since(self.handshake_at);
            self.sender.add_rtt(now.instant, sample);
        }
        self.timers.set_after(
            Timer::KeepAlive,
            now.instant,
            self.config.keep_alive_interval,
        );
        // docs/wire W35: what was advertised before the peer was known was a window of one.
        self.update_window();
        self.tell(EngineEvent::Connected);
    }

    pub(super) fn use_extension(&mut self) {
        if !self.is_compact {
            self.is_compact = true;
            self.sender.set_overhead(COMPACT_OVERHEAD);
            self.sender.expect_gap_reports();
        }
    }
}
