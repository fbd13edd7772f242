//! Packets that nobody should send (docs/wire W20 to W23, W28, W30, W34).

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use towline_codec::greenpack::Timestamp;
use towline_swp::proto::{Incoming, Packet, TcpEvent, TcpState};

use crate::{ACK, End, config, millis};

/// docs/wire W20
#[test]
fn strangers_are_dropped_and_counted() {
    let mut end = End::opened(config(), 10);
    let good = end.data(0, b"x");
    let strangers = [
        Packet {
            from: "C".into(),
            ..good.clone()
        },
        Packet {
            from: "".into(),
            ..good.clone()
        },
        Packet {
            dest_nonce: "another".into(),
            ..good.clone()
        },
        Packet {
            from_nonce: "another".into(),
            ..good.clone()
        },
    ];
    for packet in &strangers {
        end.hears(packet);
    }
    assert_eq!(end.engine.stats().dropped.foreign, 4);
    assert!(end.received().is_empty() && end.sent().is_empty());
    // Nor do they keep a dead peer alive.
    end.passes(millis(24_000));
    end.hears(&strangers[0]);
    end.passes(millis(1001));
    assert!(end.engine.close_reason().is_some());
}

/// docs/wire W22, W23: numbers that lie.
#[test]
fn numbers_that_lie_change_nothing() {
    let mut end = End::opened(config().window(10, 10_000), 10);
    for cumulative in [i64::MIN, -1, 0, 5, i64::MAX] {
        let seq = end.engine.stats().data_received as i64;
        let mut packet = end.data(seq, b"data");
        packet.cumulative_bytes = cumulative;
        packet.data_offset = cumulative;
        end.hears(&packet);
        assert_eq!(end.received(), ["data"], "{cumulative}");
    }
    let window = |end: &mut End| {
        end.hears(&end.packet(TcpEvent::KEEP_ALIVE, -777));
        let answer = end.sent().pop().unwrap();
        (answer.ack, answer.window_messages, answer.window_bytes)
    };
    let before = window(&mut end);
    for seq in [-1, i64::MIN, 15, 1000, i64::MAX] {
        end.hears(&end.data(seq, b"far away"));
    }
    for seq in 0..100_000 {
        end.hears(&end.data(1_000_000 + seq, b"far away"));
    }
    let stats = end.engine.stats();
    assert_eq!(stats.dropped.outside_window, 100_005);
    assert_eq!(
        (stats.buffered_received, stats.buffered_received_bytes),
        (0, 0)
    );
    end.sent();
    assert_eq!(window(&mut end), before);
    let mut control = end.control(TcpEvent::DATA_ACK, 0);
    control.cumulative_bytes = i64::MAX;
    end.hears(&control);
    assert!(end.engine.is_connected());
}

/// docs/wire W30, W34
#[test]
fn acknowledgements_and_windows_that_lie_change_nothing() {
    let mut end = End::opened(config(), 2);
    for _ in 0..5 {
        end.sends(b"x");
    }
    let sent = end.sent();
    assert_eq!(sent.len(), 2, "the window");
    for ack in [2, 100, i64::MAX, i64::MIN] {
        end.hears(&end.acknowledgement(&sent[1], ack));
    }
    assert_eq!(end.engine.acknowledged(), 0);
    assert_eq!(end.engine.stats().dropped.impossible_ack, 2);
    for (messages, bytes) in [(i64::MIN, i64::MIN), (-5, -5), (0, 0), (1, i64::MAX)] {
        let mut ack = end.acknowledgement(&sent[0], -1);
        (ack.window_messages, ack.window_bytes) = (messages, bytes);
        end.hears(&ack);
        let beyond = end.sent().iter().any(|packet| packet.seq > 1);
        assert!(!beyond, "{messages}, {bytes}");
    }
    // Too large to be true, and believed: it is the peer's memory.
    let mut ack = end.acknowledgement(&sent[0], 0);
    (ack.window_messages, ack.window_bytes) = (i64::MAX, i64::MAX);
    end.hears(&ack);
    assert_eq!(end.engine.acknowledged(), 1);
    let seqs: Vec<_> = end.sent().iter().map(|packet| packet.seq).collect();
    assert!(seqs.contains(&4), "{seqs:?}");
}

/// docs/wire W21
#[test]
fn events_that_mean_nothing_are_not_answered() {
    let mut end = End::opened(config(), 10);
    for event in [1, 2, 6, 7, 13, 99, -3, i64::MIN, i64::MAX] {
        end.hears(&end.packet(TcpEvent(event), ACK));
    }
    end.hears(&end.packet(TcpEvent::NIL, ACK));
    assert_eq!(end.engine.stats().dropped.unknown_event, 9);
    assert_eq!(end.engine.state(), TcpState::ESTABLISHED);
    assert!(end.sent().is_empty());
}

/// docs/wire W22, W38
#[test]
fn round_trips_that_lie_leave_a_usable_timeout() {
    for (estimate, deviation, samples) in [
        (0, 0, 3),
        (0, 0, i64::MAX),
        (-1, -1, 5),
        (i64::MAX, i64::MAX, i64::MAX),
        (i64::MIN, i64::MIN, i64::MIN),
        (1, i64::MAX, 10),
    ] {
        for model in [
            towline_swp::proto::RttModel::Smoothed,
            towline_swp::proto::RttModel::Original,
        ] {
            let mut end = End::new(config().extension(false).rtt_model(model));
            end.engine.open(end.now).unwrap();
            end.sent();
            let mut answer = end.control(TcpEvent::SYN_ACK, -98);
            answer.rtt_nanos = estimate;
            answer.rtt_deviation_nanos = deviation;
            answer.rtt_samples = samples;
            end.hears(&answer);
            let rto = end.engine.stats().rto;
            assert!(rto >= millis(20) && rto <= millis(10_000), "{rto:?}");
            end.sends(b"x");
            let sent = end.passes(millis(10_000));
            let data = sent.iter().filter(|packet| packet.event == TcpEvent::DATA);
            assert!(data.count() <= 12, "{estimate} {deviation} {samples}");
        }
    }
}

/// docs/wire W28: the original says 0 for nothing, and means packet 0 by it.
#[test]
fn nothing_is_not_packet_zero() {
    let mut end = End::opened(config(), 10);
    end.sends(b"zero");
    let sent = end.sent_one();
    assert_eq!(sent.ack, -1, "we say it plainly");
    for event in [
        TcpEvent::SYN_ACK,
        TcpEvent::KEEP_ALIVE,
        TcpEvent::NIL,
        TcpEvent::ESTAB_ACK,
    ] {
        end.hears(&end.control(event, ACK));
        assert_eq!(end.engine.acknowledged(), 0, "{event}");
    }
    end.hears(&end.data(0, b"theirs"));
    // The answer to a sign of life, and to data that we never sent.
    end.hears(&end.control(TcpEvent::DATA_ACK, -777));
    let mut unsent = end.control(TcpEvent::DATA_ACK, 0);
    unsent.sent = Some(Timestamp::new(1, 1));
    end.hears(&unsent);
    assert_eq!(end.engine.acknowledged(), 0);
    end.hears(&end.acknowledgement(&sent, 0));
    assert_eq!(end.engine.acknowledged(), 1);
}

/// docs/wire W23, W29: a duplicate of everything.
#[test]
fn everything_twice_is_once() {
    let mut end = End::opened(config(), 10);
    for seq in 0..5 {
        let packet = end.data(seq, &[b'0' + seq as u8]);
        end.hears(&packet);
        end.hears(&packet);
        let answers = end.sent();
        let answer = answers.last().unwrap();
        assert_eq!((answer.ack, answer.sent), (seq, packet.sent));
    }
    assert_eq!(end.received(), ["0", "1", "2", "3", "4"]);
    assert_eq!(end.engine.stats().dropped.duplicate, 5);
}

/// docs/wire W33: what is behind a packet's end, or in keys that nobody reads, is not kept with its data.
#[test]
fn padding_takes_no_memory_of_a_window_that_waits() {
    struct Buffer(Arc<Vec<u8>>);
    impl AsRef<[u8]> for Buffer {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    let mut end = End::opened(config(), 1000);
    let mut kept = Vec::new();
    for seq in 0..20 {
        let mut packet = end.data(seq, &[7; 4096]);
        let mut wire = BytesMut::new();
        if seq % 2 == 1 {
            packet.checksum = Bytes::from(vec![0; 4096]);
        }
        packet.encode(&mut wire);
        wire.resize(1 << 16, 0);
        let memory = Arc::new(wire.to_vec());
        kept.push(Arc::downgrade(&memory));
        let packet = Bytes::from_owner(Buffer(memory));
        if let Ok(incoming) = Incoming::decode(&packet, 1 << 20) {
            end.engine.handle(end.now, incoming);
        }
    }
    assert!(end.engine.stats().buffered_received > 0);
    assert!(kept.iter().all(|memory| memory.strong_count() == 0));
}
