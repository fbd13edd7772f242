//! One end of a session against packets by hand: the peer is a script that sends what the original sends,
//! and what nobody should.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod closing;
mod data;
mod half_close;
mod hostile;
mod opening;

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use towline_codec::greenpack::Timestamp;
use towline_swp::proto::{Config, Engine, Incoming, Now, Packet, TcpEvent, TcpState};

pub(crate) const SYN: i64 = -98;
pub(crate) const ACK: i64 = -99;
pub(crate) const KEEP_ALIVE: i64 = -777;
pub(crate) const FIN: i64 = -888;

/// One end, and its clock.
pub(crate) struct End {
    pub(crate) engine: Engine,
    pub(crate) now: Now,
    /// The peer's window.
    window: i64,
}

impl End {
    pub(crate) fn new(config: Config) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "only differences to this instant matter"
        )]
        let now = Now {
            instant: Instant::now(),
            wall: Timestamp::new(1_800_000_000, 0),
        };
        let engine = Engine::new(config, [7; 32], now).unwrap();
        Self {
            engine,
            now,
            window: 1000,
        }
    }

    /// An opener whose peer, with a window of `window` messages, has answered. What it sent is forgotten.
    pub(crate) fn opened(config: Config, window: i64) -> Self {
        let mut end = Self::new(config.extension(false));
        end.engine.open(end.now).unwrap();
        end.sent();
        end.window = window;
        end.hears(&end.control(TcpEvent::SYN_ACK, SYN));
        assert_eq!(end.engine.state(), TcpState::ESTABLISHED);
        end.sent();
        end
    }

    /// A packet of the peer as the original makes it: nothing was consumed, and it says 0 for that.
    pub(crate) fn packet(&self, event: TcpEvent, code: i64) -> Packet {
        Packet {
            from: "B".into(),
            dest: "A".into(),
            from_nonce: "the peer's nonce".into(),
            dest_nonce: self.engine.nonce().clone(),
            event,
            seq: code,
            retry: code,
            window_messages: self.window,
            window_bytes: 1 << 20,
            rtt_deviation_nanos: 10_000_000,
            ..Packet::default()
        }
    }

    /// An answer of the peer to something of ours with this `SeqRetry`.
    pub(crate) fn control(&self, event: TcpEvent, answers: i64) -> Packet {
        Packet {
            ack_retry: answers,
            ack_sent: Some(self.now.wall),
            ..self.packet(event, ACK)
        }
    }

    /// The peer's acknowledgement of one of our packets, up to `ack`.
    pub(crate) fn acknowledgement(&self, of: &Packet, ack: i64) -> Packet {
        Packet {
            ack,
            sent: of.sent,
            ..self.control(TcpEvent::DATA_ACK, of.retry)
        }
    }

    pub(crate) fn data(&self, seq: i64, data: &[u8]) -> Packet {
        let mut packet = Packet {
            retry: 0,
            seq,
            sent: Some(Timestamp::new(1_800_000_000, 100 + seq.clamp(0, 1000))),
            ..self.packet(TcpEvent::DATA, seq)
        };
        packet.retry = 0;
        packet.set_data(Bytes::copy_from_slice(data));
        packet
    }

    pub(crate) fn hears(&mut self, packet: &Packet) {
        let mut wire = BytesMut::new();
        packet.encode(&mut wire);
        let incoming = Incoming::decode(&wire.freeze(), 1 << 20).unwrap();
        self.engine.handle(self.now, incoming);
    }

    /// What it sends now.
    pub(crate) fn sent(&mut self) -> Vec<Packet> {
        let mut packets = Vec::new();
        while let Some(transmit) = self.engine.poll_transmit(self.now) {
            assert!(packets.len() < 10_000, "packets without end");
            packets.push(Packet::decode(&transmit.bytes, 1 << 20).unwrap());
        }
        packets
    }

    /// The one packet that it sends now.
    pub(crate) fn sent_one(&mut self) -> Packet {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:#?}");
        sent.remove(0)
    }

    /// Lets time pass, from one deadline to the next; collects what it sends meanwhile.
    pub(crate) fn passes(&mut self, time: Duration) -> Vec<Packet> {
        let end = self.now.instant + time;
        let mut sent = self.sent();
        while let Some(at) = self.engine.deadline().filter(|&at| at <= end) {
            self.goes_to(at);
            self.engine.handle_timeout(self.now);
            sent.extend(self.sent());
        }
        self.goes_to(end);
        sent
    }

    pub(crate) fn goes_to(&mut self, at: Instant) {
        let passed = at.saturating_duration_since(self.now.instant);
        self.now.instant += passed;
        self.now.wall = self.now.wall.saturating_add(passed);
    }

    pub(crate) fn sends(&mut self, data: &'static [u8]) {
        self.engine
            .send(self.now, Bytes::from_static(data))
            .unwrap();
    }

    pub(crate) fn received(&mut self) -> Vec<Bytes> {
        std::iter::from_fn(|| self.engine.recv(self.now)).collect()
    }
}

pub(crate) fn config() -> Config {
    Config::new("A", "B")
}

pub(crate) fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(crate) fn events(packets: &[Packet]) -> Vec<TcpEvent> {
    packets.iter().map(|packet| packet.event).collect()
}
