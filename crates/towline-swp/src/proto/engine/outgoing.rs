//! What leaves (docs/wire W11, W25 to W29).

use bytes::{Bytes, BytesMut};
use towline_codec::{Text, greenpack::Timestamp};

use super::{EXTENSION, Engine, MAX_PROBES, Now};
use crate::proto::{
    compact::{Compact, CompactKind, MAX_RANGES},
    config::AckMode,
    numbers::{TcpEvent, TcpState},
    packet::Packet,
    receiver::Echo,
    sender::Outgoing,
    timers::Timer,
};

/// The `SeqNum` and `SeqRetry` of control packets (docs/wire W11).
const SYN_CODE: i64 = -98;
const ACK_CODE: i64 = -99;
const KEEP_ALIVE_CODE: i64 = -777;
const FIN_CODE: i64 = -888;
/// The deviation that the original tells before it has a sample.
const FIRST_DEVIATION_NANOS: i64 = 10_000_000;
/// The most samples that the original is told of: from three on it mixes ours into its time-outs
/// (docs/wire W40).
const TOLD_SAMPLES: i64 = 2;

/// A packet to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// The inbox it goes to.
    pub dest: Text,
    /// The packet.
    pub bytes: Bytes,
    /// What it is, in the original's words.
    pub event: TcpEvent,
}

impl Engine {
    /// The next packet to send, if any may leave now.
    pub fn poll_transmit(&mut self, now: Now) -> Option<Transmit> {
        let transmit = self.next_transmit(now)?;
        self.stats.packets_sent += 1;
        Some(transmit)
    }

    fn next_transmit(&mut self, now: Now) -> Option<Transmit> {
        if std::mem::take(&mut self.due.syn) {
            return Some(self.syn());
        }
        if std::mem::take(&mut self.due.syn_ack) {
            return Some(self.answer(now, TcpEvent::SYN_ACK, Echo::Classic(None, SYN_CODE)));
        }
        if let Some(answers) = self.due.estab_ack.take() {
            return Some(self.answer(now, TcpEvent::ESTAB_ACK, Echo::Classic(None, answers)));
        }
        if std::mem::take(&mut self.due.reset) {
            return self.frame(CompactKind::Reset, Echo::Compact(0));
        }
        if let Some(echo) = self.due.fin_ack.take() {
            return if self.is_compact {
                let of_close = self.peer.reads_no_more;
                self.frame(CompactKind::FinAck { of_close }, Echo::Compact(0))
            } else {
                Some(self.answer(now, TcpEvent::FIN_ACK, echo))
            };
        }
        if let Some(echo) = self.due.late_ack.take() {
            return Some(self.answer(now, TcpEvent::DATA_ACK, echo));
        }
        if self.reason.is_none() {
            if let Some(transmit) = self.next_answer(now) {
                return Some(transmit);
            }
            if std::mem::take(&mut self.due.keep_alive) {
                return self.keep_alive(now);
            }
            if self.state == TcpState::ESTABLISHED {
                // A time that is not used is no loss: times need only differ (docs/wire W26).
                let wall = self.next_wall(now);
                if let Some(outgoing) = self.sender.poll(now.instant, wall) {
                    self.elicited_at = now.instant;
                    return self.data(wall, outgoing);
                }
            }
        }
        if std::mem::take(&mut self.due.fin) {
            return self.fin(now);
        }
        None
    }

    /// Acknowledgements and window updates.
    fn next_answer(&mut self, now: Now) -> Option<Transmit> {
        self.remote_nonce.as_ref()?;
        if self.ack_now {
            if self.is_compact {
                self.ack_now = false;
                self.cover_unanswered();
                let echo = self.receiver.take_newest_echo();
                return self.frame(CompactKind::Ack, echo.unwrap_or(Echo::Compact(0)));
            }
            if let Some(echo) = self.receiver.pop_echo() {
                self.ack_now = self.receiver.has_echoes();
                self.cover_unanswered();
                return Some(self.answer(now, TcpEvent::DATA_ACK, echo));
            }
            self.ack_now = false;
        }
        if std::mem::take(&mut self.due.update) {
            // docs/wire W36: the original takes the window from an event that is none, and no round
            // trip.
            return if self.is_compact {
                self.frame(CompactKind::Ack, Echo::Compact(0))
            } else {
                Some(self.answer(now, TcpEvent::NIL, Echo::Classic(None, 0)))
            };
        }
        None
    }

    /// What came in order is covered by the acknowledgement that leaves now.
    fn cover_unanswered(&mut self) {
        if self.config.ack_mode == AckMode::OnReceive {
            self.unanswered = None;
            self.unanswered_count = 0;
            self.timers.stop(Timer::AckDelay);
        }
        self.due.update = false;
    }

    fn syn(&mut self) -> Transmit {
        let packet = Packet {
            seq: SYN_CODE,
            retry: SYN_CODE,
            event: TcpEvent::SYN,
            window_bytes: 0,
            window_messages: 0,
            rtt_nanos: 0,
            rtt_deviation_nanos: 0,
            rtt_samples: 0,
            dest_nonce: Text::default(),
            capabilities: self.config.extension.then_some(EXTENSION),
            ..self.blank()
        };
        self.encode(&packet)
    }

    /// SYNACK, ESTABACK, acknowledgements, FINACK: what answers a packet (docs/wire W29).
    fn answer(&mut self, now: Now, event: TcpEvent, echo: Echo) -> Transmit {
        let (sent, ack_retry) = match echo {
            Echo::Classic(sent, retry) => (sent, retry),
            Echo::Compact(_) => (None, 0),
        };
        let is_handshake = matches!(event, TcpEvent::SYN_ACK | TcpEvent::ESTAB_ACK);
        let packet = Packet {
            seq: ACK_CODE,
            retry: ACK_CODE,
            event,
            sent,
            ack_retry,
            ack_sent: Some(now.wall),
            capabilities: (is_handshake && self.tags.is_some()).then_some(EXTENSION),
            ..self.blank()
        };
        self.note_advertised(&packet);
        self.encode(&packet)
    }

    fn keep_alive(&mut self, now: Now) -> Option<Transmit> {
        self.elicited_at = now.instant;
        if self.probes.len() >= MAX_PROBES {
            self.probes.pop_front();
        }
        if self.is_compact {
            self.probes_sent += 1;
            let transmission = self.probes_sent * 2 + 1;
            self.probes
                .push_back((Echo::Compact(transmission), now.instant));
            return self.frame(CompactKind::KeepAlive { transmission }, Echo::Compact(0));
        }
        let wall = self.next_wall(now);
        let echo = Echo::Classic(Some(wall), KEEP_ALIVE_CODE);
        self.probes.push_back((echo, now.instant));
        let packet = Packet {
            seq: KEEP_ALIVE_CODE,
            retry: KEEP_ALIVE_CODE,
            ack_retry: KEEP_ALIVE_CODE,
            event: TcpEvent::KEEP_ALIVE,
            sent: Some(wall),
            ..self.blank()
        };
        self.note_advertised(&packet);
        Some(self.encode(&packet))
    }

    fn fin(&mut self, now: Now) -> Option<Transmit> {
        self.elicited_at = now.instant;
        if self.is_compact {
            let kind = CompactKind::Fin {
                packets: self.sender.accepted(),
                is_close: self.finishing == Some(true),
            };
            return self.frame(kind, Echo::Compact(0));
        }
        let wall = self.next_wall(now);
        let packet = Packet {
            seq: FIN_CODE,
            retry: FIN_CODE,
            ack_retry: FIN_CODE,
            event: TcpEvent::FIN,
            sent: Some(wall),
            ..self.blank()
        };
        Some(self.encode(&packet))
    }

    fn data(&mut self, wall: Timestamp, out: Outgoing) -> Option<Transmit> {
        if self.is_compact {
            let kind = CompactKind::Data {
                seq: out.seq,
                transmission: out.transmission * 2,
                data: out.data,
            };
            return self.frame(kind, Echo::Compact(0));
        }
        let packet = Packet {
            seq: i64::try_from(out.seq).ok()?,
            retry: i64::from(out.retry),
            event: TcpEvent::DATA,
            sent: Some(wall),
            cumulative_bytes: i64::try_from(out.cumulative).ok()?,
            checksum: self.sender.checksum(out.seq),
            data: out.data,
            ..self.blank()
        };
        self.note_advertised(&packet);
        Some(self.encode(&packet))
    }

    /// What every packet of this session says (docs/wire W11, W27, W40).
    fn blank(&self) -> Packet {
        let (messages, bytes) = self.window();
        let rtt = self.sender.rtt();
        let samples = i64::try_from(rtt.samples()).unwrap_or(i64::MAX);
        let nanos =
            |duration: std::time::Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Packet {
            from: self.config.local.clone(),
            dest: self.remote.clone(),
            from_nonce: self.nonce.clone(),
            dest_nonce: self.remote_nonce.clone().unwrap_or_default(),
            // docs/wire W27: −1 where nothing has come.
            ack: i64::try_from(self.ack_next()).unwrap_or(i64::MAX) - 1,
            window_bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
            window_messages: i64::try_from(messages).unwrap_or(i64::MAX),
            rtt_nanos: nanos(rtt.original_estimate()),
            rtt_deviation_nanos: if samples == 0 {
                FIRST_DEVIATION_NANOS
            } else {
                nanos(rtt.original_deviation()).max(1000)
            },
            rtt_samples: if self.config.tells_sample_count {
                samples
            } else {
                samples.min(TOLD_SAMPLES)
            },
            ..Packet::default()
        }
    }

    fn frame(&mut self, kind: CompactKind, echo: Echo) -> Option<Transmit> {
        let tags = self.tags?;
        let ack_next = self.ack_next();
        let (window_messages, window_bytes) = self.window();
        let event = match &kind {
            CompactKind::Data { .. } => TcpEvent::DATA,
            CompactKind::Ack => TcpEvent::DATA_ACK,
            CompactKind::KeepAlive { .. } => TcpEvent::KEEP_ALIVE,
            CompactKind::Fin { .. } | CompactKind::Reset => TcpEvent::FIN,
            CompactKind::FinAck { .. } => TcpEvent::FIN_ACK,
        };
        // docs/wire W50: data leaves the ranges to acknowledgements.
        let ranges = match kind {
            CompactKind::Data { .. } => Vec::new(),
            _ => self.receiver.ranges(ack_next, MAX_RANGES),
        };
        self.advertised = (
            self.advertised.0.max(ack_next + window_messages),
            self.advertised
                .1
                .max(self.receiver.received_bytes() + window_bytes),
        );
        let frame = Compact {
            tag: tags.outgoing,
            kind,
            ack_next,
            window_messages,
            window_bytes,
            echo: match echo {
                Echo::Compact(number) => number,
                Echo::Classic(..) => 0,
            },
            ranges,
        };
        let mut bytes = BytesMut::new();
        frame.encode(&mut bytes);
        Some(Transmit {
            dest: self.remote.clone(),
            bytes: bytes.freeze(),
            event,
        })
    }

    fn note_advertised(&mut self, packet: &Packet) {
        let messages = u64::try_from(packet.window_messages).unwrap_or(0);
        let bytes = u64::try_from(packet.window_bytes).unwrap_or(0);
        self.advertised = (
            self.advertised.0.max(self.ack_next() + messages),
            self.advertised
                .1
                .max(self.receiver.received_bytes() + bytes),
        );
    }

    fn encode(&self, packet: &Packet) -> Transmit {
        let mut bytes = BytesMut::new();
        packet.encode(&mut bytes);
        Transmit {
            dest: packet.dest.clone(),
            bytes: bytes.freeze(),
            event: packet.event,
        }
    }
}
