//! Opening (docs/wire W14 to W19).

use towline_codec::greenpack::Timestamp;
use towline_swp::proto::{CloseReason, OpenError, Packet, TcpEvent, TcpState};

use crate::{ACK, End, FIN, KEEP_ALIVE, SYN, config, events, millis};

/// docs/wire W11, W14, W47
#[test]
fn a_syn_is_as_the_originals_and_carries_the_offer() {
    for extension in [true, false] {
        let mut end = End::new(config().extension(extension));
        assert_eq!(end.engine.state(), TcpState::LISTEN, "it waits at first");
        end.engine.open(end.now).unwrap();
        let syn = end.sent_one();
        assert_eq!(syn.event, TcpEvent::SYN);
        assert_eq!(
            (syn.seq, syn.retry, syn.ack, syn.ack_retry),
            (SYN, SYN, -1, 0)
        );
        assert_eq!((syn.window_bytes, syn.window_messages), (0, 0));
        assert_eq!((syn.sent, syn.ack_sent, syn.arrived), (None, None, None));
        assert!(syn.dest_nonce.is_empty() && syn.data.is_empty() && syn.checksum.is_empty());
        assert_eq!(syn.capabilities, extension.then_some(29));
        // A second call changes nothing.
        end.engine.open(end.now).unwrap();
        assert!(end.sent().is_empty());
    }
}

/// docs/wire W14, W29, W35
#[test]
fn a_listener_answers_with_a_syn_ack_and_a_window_of_one() {
    let mut end = End::new(config());
    let syn = Packet {
        dest_nonce: "".into(),
        window_messages: 0,
        window_bytes: 0,
        ..end.packet(TcpEvent::SYN, SYN)
    };
    end.hears(&syn);
    assert_eq!(end.engine.state(), TcpState::SYN_RECEIVED);
    let answer = end.sent_one();
    assert_eq!(answer.event, TcpEvent::SYN_ACK);
    assert_eq!((answer.seq, answer.ack, answer.ack_retry), (ACK, -1, SYN));
    assert_eq!(answer.sent, None, "the SYN had no time");
    assert_eq!(answer.dest_nonce, syn.from_nonce);
    assert_eq!(answer.window_messages, 1);
    assert_eq!(answer.capabilities, None, "nothing was offered");
    // The peer's window is known with its answer, and what it is told of is no larger.
    let mut established = end.control(TcpEvent::ESTAB_ACK, ACK);
    established.window_messages = 3;
    end.hears(&established);
    assert_eq!(end.engine.state(), TcpState::ESTABLISHED);
    let update = end.sent_one();
    assert_eq!((update.event, update.seq), (TcpEvent::NIL, ACK));
    assert_eq!((update.window_messages, update.sent), (3, None));
}

/// docs/wire W14, W15
#[test]
fn an_opener_answers_every_syn_ack() {
    let mut end = End::new(config().extension(false));
    end.engine.open(end.now).unwrap();
    end.sent();
    let answer = end.control(TcpEvent::SYN_ACK, SYN);
    for _ in 0..3 {
        end.hears(&answer);
        let sent = end.sent();
        let established = &sent[0];
        assert_eq!(established.event, TcpEvent::ESTAB_ACK);
        // The window may be told of once more.
        assert!(sent[1..].iter().all(|packet| packet.event == TcpEvent::NIL));
        assert_eq!((established.ack, established.ack_retry), (-1, ACK));
        assert_eq!(established.dest_nonce, answer.from_nonce);
        assert_eq!(end.engine.state(), TcpState::ESTABLISHED);
    }
    end.engine.open(end.now).unwrap();
    assert!(end.sent().is_empty(), "it is open already");
}

/// docs/wire W15, W19
#[test]
fn a_syn_is_repeated_soon_and_ever_more_slowly_until_the_limit() {
    let mut end = End::new(config().connect_timeout(millis(20_000), 3));
    end.engine.open(end.now).unwrap();
    assert_eq!(end.passes(millis(249)).len(), 1);
    assert_eq!(end.passes(millis(1)).len(), 1, "250 ms");
    assert_eq!(end.passes(millis(500)).len(), 1);
    assert_eq!(end.passes(millis(1000 + 2000 + 4000)).len(), 3);
    let rest = end.passes(millis(60_000));
    assert_eq!(rest.len(), 13, "every 4 s");
    assert!(rest.iter().all(|packet| packet.event == TcpEvent::SYN));
    let limit = CloseReason::ConnectTimeout(millis(60_000));
    assert_eq!(end.engine.close_reason(), Some(limit));
    assert!(matches!(
        end.engine.open(end.now),
        Err(OpenError::Closed(_))
    ));
}

/// docs/wire W15, W42
#[test]
fn a_syn_ack_is_repeated_each_second_and_a_listener_waits_for_ever() {
    let mut end = End::new(config());
    assert!(end.passes(millis(10_000_000)).is_empty());
    assert_eq!(
        end.engine.close_reason(),
        None,
        "nobody was there to be missed"
    );
    end.hears(&Packet {
        dest_nonce: "".into(),
        ..end.packet(TcpEvent::SYN, SYN)
    });
    let sent = end.passes(millis(10_500));
    assert_eq!(events(&sent), [TcpEvent::SYN_ACK; 11]);
    end.passes(millis(1000));
    let reason = end.engine.close_reason();
    assert_eq!(reason, Some(CloseReason::HandshakeTimeout));
}

/// docs/wire W15, W17: what shows that the peer has our SYNACK completes the handshake.
#[test]
fn data_completes_a_handshake_and_may_come_before_it_does() {
    let listened = || {
        let mut end = End::new(config());
        end.hears(&Packet {
            dest_nonce: "".into(),
            ..end.packet(TcpEvent::SYN, SYN)
        });
        end.sent();
        end
    };
    let mut end = listened();
    end.hears(&end.data(0, b"early"));
    assert_eq!(end.engine.state(), TcpState::ESTABLISHED);
    assert_eq!(end.received(), ["early"]);

    // Without our nonce: the original's opener has not learned it yet.
    let mut end = listened();
    let racing = Packet {
        dest_nonce: "".into(),
        ..end.data(0, b"racing")
    };
    end.hears(&racing);
    assert_eq!(end.engine.state(), TcpState::SYN_RECEIVED);
    end.hears(&end.control(TcpEvent::ESTAB_ACK, ACK));
    end.hears(&racing);
    assert_eq!(end.received(), ["racing"]);
    // A second later nobody races any more.
    end.passes(millis(1001));
    let late = Packet {
        dest_nonce: "".into(),
        ..end.data(1, b"late")
    };
    end.hears(&late);
    assert_eq!(end.received().len(), 0);
    assert_eq!(end.engine.stats().dropped.foreign, 1);
}

/// docs/wire W18
#[test]
fn only_a_syn_of_the_right_inbox_opens_a_session_that_waits() {
    let mut end = End::new(config());
    for event in [
        TcpEvent::FIN,
        TcpEvent::DATA,
        TcpEvent::DATA_ACK,
        TcpEvent::KEEP_ALIVE,
        TcpEvent::SYN_ACK,
        TcpEvent::ESTAB_ACK,
        TcpEvent::FIN_ACK,
        TcpEvent::NIL,
    ] {
        end.hears(&end.packet(event, 0));
        end.hears(&Packet::default());
    }
    let mut other = end.packet(TcpEvent::SYN, SYN);
    other.from = "C".into();
    end.hears(&other);
    assert!(end.passes(millis(60_000)).is_empty());
    assert_eq!(end.engine.state(), TcpState::LISTEN);
    assert_eq!(end.engine.stats().dropped.foreign, 17);
    let mut syn = end.packet(TcpEvent::SYN, SYN);
    syn.dest_nonce = "".into();
    end.hears(&syn);
    assert_eq!(end.engine.state(), TcpState::SYN_RECEIVED);
    // Another nonce is another session, and this one goes on.
    syn.from_nonce = "a restarted peer".into();
    end.sent();
    end.hears(&syn);
    assert!(end.sent().is_empty());
    end.hears(&end.control(TcpEvent::ESTAB_ACK, ACK));
    assert!(end.engine.is_connected());
}

/// docs/wire W14, W15
#[test]
fn handshake_packets_that_come_again_change_nothing() {
    let mut end = End::opened(config(), 10);
    let mut syn = end.packet(TcpEvent::SYN, SYN);
    syn.dest_nonce = "".into();
    end.hears(&syn);
    end.hears(&end.control(TcpEvent::ESTAB_ACK, ACK));
    end.hears(&end.control(TcpEvent::FIN_ACK, FIN));
    assert_eq!(end.engine.state(), TcpState::ESTABLISHED);
    assert!(end.sent().is_empty());
    end.sends(b"x");
    assert_eq!(end.sent_one().event, TcpEvent::DATA);
}

/// docs/wire W16
#[test]
fn who_meets_a_syn_answers_early_and_often() {
    let mut end = End::new(config().extension(false));
    end.engine.open(end.now).unwrap();
    end.sent();
    let mut syn = end.packet(TcpEvent::SYN, SYN);
    syn.dest_nonce = "".into();
    end.hears(&syn);
    let sent = end.passes(millis(900));
    assert_eq!(events(&sent), [TcpEvent::ESTAB_ACK; 5]);
    assert!(
        sent.iter()
            .all(|packet| packet.ack_retry == SYN && packet.window_messages == 1)
    );
    end.hears(&end.control(TcpEvent::ESTAB_ACK, SYN));
    assert_eq!(end.engine.state(), TcpState::ESTABLISHED);
    let answers: Vec<_> = end
        .sent()
        .into_iter()
        .map(|packet| packet.ack_retry)
        .collect();
    assert!(answers.contains(&ACK), "{answers:?}");
}

/// docs/wire W41: nothing but handshake packets before the peer is known.
#[test]
fn no_sign_of_life_is_sent_to_nobody() {
    let mut end = End::new(config());
    end.engine.open(end.now).unwrap();
    let sent = end.passes(millis(5000));
    assert!(sent.iter().all(|packet| packet.event == TcpEvent::SYN));
    let mut end = End::opened(config(), 10);
    let sent = end.passes(millis(1600));
    assert_eq!(events(&sent), [TcpEvent::KEEP_ALIVE; 3]);
    assert!(
        sent.iter()
            .all(|packet| packet.seq == KEEP_ALIVE && packet.ack == -1)
    );
    // Theirs is answered with its time.
    let sent_at = Some(Timestamp::new(1_800_000_000, 123_456_789));
    let theirs = Packet {
        sent: sent_at,
        ack_retry: KEEP_ALIVE,
        ..end.packet(TcpEvent::KEEP_ALIVE, KEEP_ALIVE)
    };
    end.hears(&theirs);
    let answer = end.sent_one();
    assert_eq!(
        (answer.event, answer.ack_retry),
        (TcpEvent::DATA_ACK, KEEP_ALIVE)
    );
    assert_eq!((answer.sent, answer.ack), (sent_at, -1));
}

/// docs/wire W42
#[test]
fn a_peer_that_says_nothing_is_given_up_after_fifty_intervals_or_never() {
    let mut end = End::opened(config(), 10);
    end.passes(millis(24_999));
    assert_eq!(end.engine.close_reason(), None);
    end.passes(millis(2));
    let reason = end.engine.close_reason();
    assert_eq!(reason, Some(CloseReason::PeerTimeout(millis(25_000))));
    let mut end = End::opened(config().keep_alive(millis(500), None), 10);
    end.passes(millis(3_600_000));
    assert_eq!(end.engine.close_reason(), None);
}
