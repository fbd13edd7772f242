//! Data both ways (docs/wire W24 to W37).

use bytes::Bytes;
use towline_swp::proto::{AckMode, CloseReason, Packet, SendError, TcpEvent};

use crate::{End, config, millis};

/// docs/wire W24 to W27
#[test]
fn what_is_sent_again_is_the_same_packet_at_another_time() {
    let mut end = End::opened(config(), 10);
    end.sends(b"hello");
    end.sends(b"");
    let first = end.sent();
    assert_eq!(first.len(), 2);
    assert_eq!(
        (first[0].seq, first[0].retry, first[0].cumulative_bytes),
        (0, 0, 5)
    );
    assert_eq!(
        (first[1].seq, first[1].cumulative_bytes),
        (1, 5),
        "an empty one is a packet"
    );
    assert!(first[1].checksum.is_empty() && first[0].checksum.len() == 64);
    // Something of theirs comes meanwhile: it is acknowledged on the way.
    end.hears(&end.data(0, b"theirs"));
    let again = end.passes(millis(5000));
    let again: Vec<_> = again
        .iter()
        .filter(|packet| packet.event == TcpEvent::DATA)
        .collect();
    assert!(again.len() >= 2 && again.len() < 10, "{}", again.len());
    let mut times = vec![first[0].sent, first[1].sent];
    for (number, packet) in again.iter().enumerate() {
        assert_eq!(packet.seq, 0, "the first of which nothing is known");
        assert_eq!(packet.retry, number as i64 + 1);
        assert_eq!(packet.ack, 0);
        let (old, new) = (&first[0], packet);
        assert_eq!((&old.data, &old.checksum), (&new.data, &new.checksum));
        assert_eq!(old.cumulative_bytes, new.cumulative_bytes);
        times.push(packet.sent);
    }
    let count = times.len();
    times.sort();
    times.dedup();
    assert_eq!(times.len(), count, "no two leave at the same time");
    assert!(end.engine.stats().rto >= millis(20));
}

/// docs/wire W38: the time-out doubles, up to the longest.
#[test]
fn a_silent_peer_is_sent_less_and_less() {
    let mut end = End::opened(config().keep_alive(millis(500), None), 10);
    end.sends(b"x");
    let sent = end.passes(millis(600_000));
    let data = sent.iter().filter(|packet| packet.event == TcpEvent::DATA);
    let count = data.count();
    assert!((60..=80).contains(&count), "every 10 s at the end: {count}");
}

/// docs/wire W33, W34, W36, W37
#[test]
fn who_does_not_read_is_sent_a_window_and_no_more() {
    let mut end = End::opened(config().window(4, 10_000), 4);
    for seq in 0..4 {
        end.hears(&end.data(seq, b"x"));
    }
    let last = end.passes(millis(10)).pop().unwrap();
    assert_eq!((last.ack, last.window_messages), (3, 0));
    end.hears(&end.data(4, b"too many"));
    assert_eq!(end.engine.stats().dropped.outside_window, 1);
    assert_eq!(end.engine.stats().buffered_received, 4);
    end.sent();
    // The first room is told at once, by an event that is none.
    assert_eq!(end.engine.recv(end.now).unwrap(), "x");
    let update = end.sent_one();
    assert_eq!((update.event, update.ack), (TcpEvent::NIL, 3));
    assert_eq!((update.window_messages, update.sent), (1, None));
}

/// docs/wire W34: lock-step with a window of one; an older acknowledgement takes nothing back.
#[test]
fn a_window_of_one_is_lock_step() {
    let mut end = End::opened(config(), 1);
    for _ in 0..3 {
        end.sends(b"x");
    }
    let first = end.sent_one();
    let mut full = end.acknowledgement(&first, 0);
    full.window_messages = 0;
    end.hears(&full);
    let quiet = end.passes(millis(400));
    assert!(
        quiet
            .iter()
            .all(|packet| packet.event == TcpEvent::KEEP_ALIVE)
    );
    assert!(!quiet.is_empty(), "the closed window is asked after");
    let mut open = end.acknowledgement(&first, 0);
    open.event = TcpEvent::NIL;
    open.window_messages = 1;
    end.hears(&open);
    end.hears(&full);
    assert_eq!(end.sent_one().seq, 1);
    let rtts = end.engine.stats().rtt;
    end.hears(&open);
    assert_eq!(end.engine.stats().rtt, rtts, "no round trip is in it");
}

/// docs/wire W35: never more than the original has slots.
#[test]
fn the_originals_own_window_is_the_most_it_is_told_of() {
    let mut end = End::opened(config().window(1000, 1 << 20), 4);
    end.hears(&end.packet(TcpEvent::KEEP_ALIVE, -777));
    assert_eq!(end.sent_one().window_messages, 4);
    let mut grown = end.packet(TcpEvent::KEEP_ALIVE, -777);
    grown.window_messages = 6;
    end.hears(&grown);
    grown.window_messages = 2;
    end.hears(&grown);
    assert!(end.sent().iter().all(|packet| packet.window_messages <= 6));
    // A peer that says -1 is none.
    grown.ack = -1;
    end.hears(&grown);
    assert_eq!(end.sent().pop().unwrap().window_messages, 1000);
}

/// docs/wire W37
#[test]
fn each_mode_acknowledges_in_its_time() {
    let mut end = End::opened(config(), 10);
    end.hears(&end.data(0, b"a"));
    assert!(end.sent().is_empty(), "one waits for a second");
    let late = end.passes(millis(5));
    assert_eq!(late.len(), 1);
    end.hears(&end.data(1, b"b"));
    end.hears(&end.data(2, b"c"));
    assert_eq!(end.sent_one().ack, 2);
    end.hears(&end.data(4, b"e"));
    let gap = end.sent_one();
    assert_eq!((gap.ack, gap.sent), (2, end.data(4, b"").sent));
    end.hears(&end.data(3, b"d"));
    assert_eq!(end.sent_one().ack, 4);

    let mut end = End::opened(config().ack_mode(AckMode::OnConsume), 10);
    for seq in 0..3 {
        end.hears(&end.data(seq, b"x"));
    }
    assert!(end.passes(millis(100)).is_empty(), "nobody has read it");
    assert_eq!(end.received().len(), 3);
    let ack = end.passes(millis(1)).pop().unwrap();
    assert_eq!(
        (ack.event, ack.ack, ack.window_messages),
        (TcpEvent::DATA_ACK, 2, 10)
    );
    end.hears(&end.data(1, b"x"));
    assert_eq!(end.sent_one().ack, 2, "a duplicate is answered at once");
}

/// docs/wire W31: what was answered is not sent again, whatever else is missing.
#[test]
fn an_answer_beyond_a_gap_shows_what_is_missing() {
    let mut end = End::opened(config(), 10);
    for _ in 0..6 {
        end.sends(b"x");
    }
    let sent = end.sent();
    assert_eq!(sent.len(), 6);
    end.passes(millis(10));
    end.hears(&end.acknowledgement(&sent[0], 0));
    for packet in &sent[2..] {
        end.hears(&end.acknowledgement(packet, 0));
    }
    let again = end.passes(millis(60));
    let seqs: Vec<_> = again
        .iter()
        .filter(|packet| packet.event == TcpEvent::DATA)
        .map(|packet| packet.seq)
        .collect();
    assert!(
        seqs.iter().all(|&seq| seq == 1) && !seqs.is_empty(),
        "{seqs:?}"
    );
    end.hears(&end.acknowledgement(&again[0], 5));
    assert_eq!(end.engine.acknowledged(), 6);
    assert!(end.engine.stats().most_sent <= 3);
}

/// docs/wire W40
#[test]
fn the_round_trips_that_are_told_mislead_nobody() {
    let mut end = End::opened(config(), 10);
    let told = |packet: &Packet| {
        (
            packet.rtt_nanos,
            packet.rtt_deviation_nanos,
            packet.rtt_samples,
        )
    };
    for number in 0..6_u64 {
        end.sends(b"x");
        let sent = end.sent_one();
        let (_, deviation, samples) = told(&sent);
        assert!(deviation >= 1000, "{deviation}");
        assert!(samples <= 2, "{samples}");
        end.passes(millis(7));
        end.hears(&end.acknowledgement(&sent, number as i64));
    }
    let mut fresh = End::new(config().extension(false));
    fresh.hears(&Packet {
        dest_nonce: "".into(),
        ..fresh.packet(TcpEvent::SYN, -98)
    });
    assert_eq!(told(&fresh.sent_one()), (0, 10_000_000, 0));
}

/// docs/wire W24: what cannot be sent.
#[test]
fn what_has_no_room_is_refused() {
    let mut end = End::opened(config().send_buffer(3, 100).max_data(60), 1);
    let send = |end: &mut End, len: usize| {
        let data = Bytes::from(vec![0; len]);
        end.engine.send(end.now, data)
    };
    let refused = SendError::TooLarge { len: 61, limit: 60 };
    assert_eq!(send(&mut end, 61), Err(refused));
    assert_eq!(send(&mut end, 60), Ok(0));
    assert_eq!(send(&mut end, 60), Err(SendError::Full));
    assert_eq!(send(&mut end, 40), Ok(1));
    assert_eq!(send(&mut end, 0), Ok(2));
    assert_eq!(send(&mut end, 0), Err(SendError::Full));
    end.engine.abort(end.now);
    let closed = SendError::Closed(CloseReason::Aborted);
    assert_eq!(send(&mut end, 0), Err(closed));
}

/// docs/wire W43
#[test]
fn too_many_timeouts_end_a_session_that_says_so() {
    let limit = millis(60_000);
    let mut end = End::opened(config().termination(4, limit), 10);
    end.sends(b"x");
    end.passes(millis(60_000));
    let reason = end.engine.close_reason().unwrap();
    assert_eq!(reason, CloseReason::Terminated(4, limit));
    assert_eq!(
        reason.to_string(),
        "Sender sees 4 ack fails in window of 60s, terminating session"
    );
}
