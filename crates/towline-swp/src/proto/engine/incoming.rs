//! What arrives (docs/wire W20 to W23, W30).

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Engine, EngineEvent, Now};
use crate::proto::{
    checksum::checksum,
    compact::{Compact, CompactKind},
    config::AckMode,
    error::DecodeError,
    numbers::{TcpEvent, TcpState},
    packet::Packet,
    receiver::{Arrival, Echo},
    rtt::PeerRtt,
    sender::Acknowledgement,
    timers::Timer,
};

/// In-order arrivals that one acknowledgement answers.
const ANSWER_EVERY: u32 = 2;
/// How long after the handshake data without our nonce may still come (docs/wire W17).
const RACE_WINDOW: Duration = Duration::from_secs(1);

/// A packet that was read and whose checksum was compared: the expensive half of receiving, which
/// needs no engine and no lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// In the original's format.
    Classic(Box<Packet>),
    /// A frame between two towlines.
    Compact(Box<Compact>),
}

impl Incoming {
    /// Reads one packet, with data of at most `max_data` bytes.
    ///
    /// # Errors
    ///
    /// What is no packet, and [`DecodeError::WrongChecksum`] (docs/wire W7, W9, W48). The packet is to
    /// be dropped and counted, and the session goes on.
    pub fn decode(input: &Bytes, max_data: usize) -> Result<Self, DecodeError> {
        if Compact::is_compact(input) {
            return Ok(Self::Compact(Box::new(Compact::decode(input, max_data)?)));
        }
        let packet = Packet::decode(input, max_data)?;
        // docs/wire W9: where there is no data, no checksum is wrong.
        if !packet.data.is_empty() && packet.checksum[..] != checksum(&packet.data) {
            return Err(DecodeError::WrongChecksum);
        }
        Ok(Self::Classic(Box::new(packet)))
    }

    /// What the packet is, in the original's words.
    pub fn event(&self) -> TcpEvent {
        match self {
            Self::Classic(packet) => packet.event,
            Self::Compact(frame) => match frame.kind {
                CompactKind::Data { .. } => TcpEvent::DATA,
                CompactKind::Ack => TcpEvent::DATA_ACK,
                CompactKind::KeepAlive { .. } => TcpEvent::KEEP_ALIVE,
                CompactKind::Fin { .. } | CompactKind::Reset => TcpEvent::FIN,
                CompactKind::FinAck { .. } => TcpEvent::FIN_ACK,
            },
        }
    }
}

impl Engine {
    /// Takes in a packet. Nothing that a packet holds is an error: what does not belong here is
    /// dropped and counted (docs/wire W20).
    pub fn handle(&mut self, now: Now, incoming: Incoming) {
        match incoming {
            Incoming::Classic(packet) => self.on_classic(now, *packet),
            Incoming::Compact(frame) => self.on_compact(now, *frame),
        }
        self.advance_close(now.instant);
        self.watch_window(now.instant);
    }

    fn on_classic(&mut self, now: Now, packet: Packet) {
        if self.state == TcpState::LISTEN && self.reason.is_none() {
            self.on_packet_in_listen(now, &packet);
            return;
        }
        if !self.is_for_us(now.instant, &packet) {
            self.stats.dropped.foreign += 1;
            return;
        }
        if self.reason.is_some() {
            self.on_packet_after_end(&packet);
            return;
        }
        if self.is_compact && !is_handshake(packet.event) && packet.event != TcpEvent::FIN {
            self.stats.dropped.foreign += 1;
            return;
        }
        self.stats.packets_received += 1;
        self.heard_at = now.instant;
        // docs/wire W17: whoever knows our nonce has heard our SYNACK.
        if self.state == TcpState::SYN_RECEIVED
            && !packet.dest_nonce.is_empty()
            && !is_handshake(packet.event)
        {
            self.establish(now, None);
        }
        self.note_peer(&packet);
        match packet.event {
            TcpEvent::SYN => self.on_syn(now, &packet),
            TcpEvent::SYN_ACK => self.on_syn_ack(now, &packet),
            TcpEvent::ESTAB_ACK => self.on_estab_ack(now, &packet),
            TcpEvent::FIN => {
                // What it acknowledges is delivered, whatever the end does to the rest.
                self.on_classic_ack(now.instant, &packet);
                self.on_classic_fin(now.instant, classic_echo(&packet));
                return;
            }
            TcpEvent::FIN_ACK => self.on_fin_ack(true),
            TcpEvent::NIL | TcpEvent::DATA_ACK => {}
            TcpEvent::KEEP_ALIVE => {
                // docs/wire W41
                self.receiver.push_echo(classic_echo(&packet));
                self.ack_now = true;
            }
            TcpEvent::DATA => match u64::try_from(packet.seq) {
                // docs/wire W22: the offset and the byte count are the sender's own business.
                Ok(seq) => {
                    let echo = classic_echo(&packet);
                    self.on_data(now.instant, seq, packet.data.clone(), echo);
                }
                Err(_) => self.stats.dropped.outside_window += 1,
            },
            // docs/wire W21
            _ => {
                self.stats.dropped.unknown_event += 1;
                return;
            }
        }
        self.on_classic_ack(now.instant, &packet);
    }

    /// docs/wire W20: from the remote, of its session, for ours.
    fn is_for_us(&self, now: Instant, packet: &Packet) -> bool {
        if packet.from != self.remote {
            return false;
        }
        if packet.dest_nonce.is_empty() {
            let may_race = match self.state {
                TcpState::SYN_RECEIVED => {
                    matches!(packet.event, TcpEvent::DATA | TcpEvent::FIN)
                }
                TcpState::ESTABLISHED => {
                    packet.event == TcpEvent::DATA
                        && self
                            .established_at
                            .is_some_and(|at| now.saturating_duration_since(at) < RACE_WINDOW)
                }
                _ => false,
            };
            if packet.event != TcpEvent::SYN && !may_race {
                return false;
            }
        } else if packet.dest_nonce != self.nonce {
            return false;
        }
        match &self.remote_nonce {
            Some(nonce) => packet.from_nonce == *nonce,
            // Only an answer to our SYN, or a SYN, tells the nonce.
            None => is_handshake(packet.event) && !packet.from_nonce.is_empty(),
        }
    }

    /// What any packet says of the peer (docs/wire W35, W38).
    fn note_peer(&mut self, packet: &Packet) {
        if packet.ack < 0 || packet.capabilities.is_some() {
            self.peer.is_towline = true;
        }
        if packet.event != TcpEvent::SYN && packet.window_messages > self.peer.largest_window {
            self.peer.largest_window = packet.window_messages;
            if self.state == TcpState::ESTABLISHED {
                self.update_window();
            }
        }
        if let (Ok(estimate), Ok(deviation), Ok(samples)) = (
            u64::try_from(packet.rtt_nanos),
            u64::try_from(packet.rtt_deviation_nanos),
            u64::try_from(packet.rtt_samples),
        ) && samples > 0
        {
            self.sender.set_peer_rtt(PeerRtt {
                estimate: Duration::from_nanos(estimate),
                deviation: Duration::from_nanos(deviation),
                samples,
            });
        }
    }

    fn on_classic_ack(&mut self, now: Instant, packet: &Packet) {
        let window = Some((
            u64::try_from(packet.window_messages).unwrap_or(0),
            u64::try_from(packet.window_bytes).unwrap_or(0),
        ));
        let mut ack = Acknowledgement {
            window,
            ..Acknowledgement::default()
        };
        match packet.event {
            // docs/wire W28: these say what the window is, and nothing about packets.
            TcpEvent::SYN_ACK | TcpEvent::ESTAB_ACK => ack.next = Some(0),
            TcpEvent::DATA
            | TcpEvent::DATA_ACK
            | TcpEvent::KEEP_ALIVE
            | TcpEvent::NIL
            | TcpEvent::FIN
            | TcpEvent::FIN_ACK => {
                ack.next = packet
                    .ack
                    .checked_add(1)
                    .and_then(|next| u64::try_from(next).ok());
                ack.one_is_unsure = packet.ack == 0 && !self.peer.is_towline;
            }
            _ => return,
        }
        if packet.event == TcpEvent::DATA_ACK {
            let echo = Echo::Classic(packet.sent, packet.ack_retry);
            if packet.ack_retry >= 0 {
                ack.echo = Some(echo);
            } else {
                self.on_probe_answer(now, echo);
            }
        }
        self.acknowledge(now, &ack);
    }

    fn on_compact(&mut self, now: Now, frame: Compact) {
        let is_ours = self.tags.is_some_and(|tags| tags.incoming == frame.tag);
        if !is_ours {
            self.stats.dropped.foreign += 1;
            return;
        }
        if self.reason.is_some() {
            self.on_frame_after_end(&frame.kind);
            return;
        }
        self.stats.packets_received += 1;
        self.heard_at = now.instant;
        if self.state == TcpState::SYN_RECEIVED {
            self.establish(now, None);
        }
        // docs/wire W47: who sends a compact frame has seen that both ends have the extension.
        self.use_extension();
        let echo = match &frame.kind {
            CompactKind::Data { transmission, .. } | CompactKind::KeepAlive { transmission } => {
                Echo::Compact(*transmission)
            }
            _ => Echo::Compact(0),
        };
        let mut ack = Acknowledgement {
            next: Some(frame.ack_next),
            ranges: &frame.ranges,
            window: Some((frame.window_messages, frame.window_bytes)),
            ..Acknowledgement::default()
        };
        match frame.echo {
            0 => {}
            // docs/wire W49: even numbers are data, odd ones signs of life.
            odd if odd % 2 == 1 => self.on_probe_answer(now.instant, Echo::Compact(odd)),
            even => ack.echo = Some(Echo::Compact(even / 2)),
        }
        self.acknowledge(now.instant, &ack);
        match frame.kind {
            CompactKind::Data { seq, data, .. } => self.on_data(now.instant, seq, data, echo),
            CompactKind::KeepAlive { .. } => {
                self.receiver.push_echo(echo);
                self.ack_now = true;
            }
            CompactKind::Ack => {}
            CompactKind::Fin { packets, is_close } => self.on_compact_fin(packets, is_close),
            CompactKind::FinAck { of_close } => self.on_fin_ack(of_close),
            CompactKind::Reset => self.on_reset(now.instant),
        }
    }

    fn acknowledge(&mut self, now: Instant, ack: &Acknowledgement<'_>) {
        let acknowledged = self.sender.on_ack(now, ack);
        self.stats.dropped.impossible_ack += u64::from(acknowledged.is_impossible);
        if acknowledged.advanced {
            self.probe_backoff = 0;
            self.tell(EngineEvent::Acknowledged);
        }
    }

    /// The peer answered a sign of life: a round trip without what its application adds.
    fn on_probe_answer(&mut self, now: Instant, echo: Echo) {
        let Some(index) = self.probes.iter().position(|&(sent, _)| sent == echo) else {
            return;
        };
        if let Some((_, sent_at)) = self.probes.remove(index) {
            let sample = now.saturating_duration_since(sent_at);
            self.sender.add_rtt(now, sample);
        }
    }

    fn on_data(&mut self, now: Instant, seq: u64, data: Bytes, echo: Echo) {
        let had_gap = self.receiver.has_gap();
        let copy = self.asap.is_some().then(|| data.clone());
        let arrival = self.receiver.on_data(seq, data, echo);
        match arrival {
            Arrival::InOrder | Arrival::OutOfOrder => {
                self.stats.data_received += 1;
                if let Some(data) = copy {
                    self.offer_asap(seq, data);
                }
            }
            Arrival::Duplicate => {
                self.stats.dropped.duplicate += 1;
                self.receiver.push_echo(echo);
                self.ack_now = true;
                return;
            }
            // docs/wire W23: answered with the window, but not as if it had arrived.
            Arrival::Outside => {
                self.stats.dropped.outside_window += 1;
                self.due.update = true;
                return;
            }
        }
        if arrival == Arrival::InOrder {
            self.tell(EngineEvent::Readable);
        }
        // docs/wire W37: the original's receiver says nothing before the application has the data.
        if self.config.ack_mode == AckMode::OnConsume && !self.is_compact {
            return;
        }
        if arrival == Arrival::OutOfOrder || had_gap {
            self.receiver.push_echo(echo);
            self.ack_now = true;
            return;
        }
        self.unanswered = Some(echo);
        self.unanswered_count += 1;
        let (messages, _) = self.window();
        let is_low = messages < u64::from(self.config.window_messages).min(self.clamp()) / 2;
        if self.unanswered_count >= ANSWER_EVERY || is_low {
            self.answer_in_order();
        } else if self.timers.get(Timer::AckDelay).is_none() {
            self.timers
                .set_after(Timer::AckDelay, now, self.config.ack_delay);
        }
    }
}

fn classic_echo(packet: &Packet) -> Echo {
    Echo::Classic(packet.sent, packet.retry)
}

fn is_handshake(event: TcpEvent) -> bool {
    matches!(
        event,
        TcpEvent::SYN | TcpEvent::SYN_ACK | TcpEvent::ESTAB_ACK
    )
}
