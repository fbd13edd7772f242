//! yamux: pings, keep-alive, going away, closing.

use std::time::Duration;

use bytes::Bytes;
use towline_mux::proto::{
    Accepting, CloseOutcome, Event, OpenError, Opening, ReadError, Reading, Role, SessionEnd,
    StreamEnd, Transmit, Violation, WriteError, yamux,
};

use crate::support::{Side, hex, quiet, talk};

const SECOND: Duration = Duration::from_secs(1);

/// docs/wire Y51: a peer that does not answer the first ping does no harm.
#[test]
fn an_unanswered_first_ping_does_no_harm() {
    let mut client = Side::yamux(Role::Client, yamux::Config::default().keep_alive(None));
    assert_eq!(client.said_yamux(), ["PING[SYN] sid=0 len=0"]);
    client.wait(600 * SECOND);
    assert!(client.engine.end().is_none());
    client.open();
}

/// docs/wire Y53, Y54: pings that join, are lost, and answers that nobody waits for.
#[test]
fn pings_are_answered_lost_or_joined() {
    let mut client = Side::client();
    for stray in ["000200020000000000000000", "000200000000000000000000"] {
        client.hear_hex(stray).unwrap();
        assert!(client.said().is_empty());
    }
    let first = client.engine.ping(client.now).unwrap();
    assert_eq!(client.engine.ping(client.now).unwrap(), first);
    assert_eq!(client.said_yamux(), ["PING[SYN] sid=0 len=0"]);
    let second = client.engine.ping(client.now).unwrap();
    assert_ne!(second, first);
    assert_eq!(client.said_yamux(), ["PING[SYN] sid=0 len=1"]);
    client.now += SECOND;
    client.hear_hex("000200020000000000000000").unwrap();
    client.hear_hex("000200020000000000000000").unwrap();
    assert_eq!(client.events(), [Event::Pong(first, SECOND)]);
    client.now += 10 * SECOND;
    client.engine.handle_timeout(client.now);
    assert_eq!(client.events(), [Event::PingLost(second)]);
}

/// docs/wire Y55: pings leave before data that waits.
#[test]
fn pings_overtake_data() {
    let mut client = Side::client();
    let stream = client.open();
    client.write(stream, &[0; 200_000]).unwrap();
    client.engine.ping(client.now).unwrap();
    client.hear_hex("000200010000000000000005").unwrap();
    let said = client.said_yamux();
    assert_eq!(
        said[..2],
        ["PING[ACK] sid=0 len=5", "PING[SYN] sid=0 len=0"]
    );
}

/// docs/wire Y56: a mute peer is noticed, a talking one is left alone.
#[test]
fn keep_alive_ends_sessions_with_mute_peers_alone() {
    let config = || yamux::Config::default().rtt_interval(None);
    let mut client = Side::yamux(Role::Client, config());
    client.wait(29 * SECOND);
    assert!(client.said().is_empty());
    client.hear_hex("000100000000006300000000").unwrap();
    client.wait(29 * SECOND);
    assert!(client.said().is_empty(), "it talked 29 seconds ago");
    client.now += 2 * SECOND;
    client.engine.handle_timeout(client.now);
    assert_eq!(client.said_yamux(), ["PING[SYN] sid=0 len=0"]);
    // Anything shows life, even without an answer.
    client.hear_hex("000100000000006300000000").unwrap();
    client.wait(20 * SECOND);
    assert!(client.engine.end().is_none());

    let mut client = Side::yamux(Role::Client, config());
    client.wait(41 * SECOND);
    assert!(matches!(
        client.engine.end(),
        Some(SessionEnd::KeepAliveTimeout)
    ));
    assert!(client.engine.is_over());
}

/// docs/wire Y57: a hundred thousand queries that nobody is there to hear answers to.
#[test]
fn a_flood_of_pings_is_bounded() {
    let mut server = Side::server();
    for _ in 0..100_000 {
        server.hear_hex("000200010000000000000001").unwrap();
    }
    assert_eq!(server.engine.stats().pings_dropped, 100_000 - 1024);
    assert_eq!(server.said().len(), 1024 * 12);
}

/// docs/wire Y72: a flood of streams that must be refused ends the session.
#[test]
fn a_flood_of_refused_streams_ends_the_session() {
    let mut server = Side::yamux(Role::Server, quiet().accept_backlog(1));
    server.engine.note_blocked(server.now);
    let result = (0..2000_u32)
        .try_for_each(|number| server.hear_hex(&format!("00010001{:08x}00000000", 2 * number + 1)));
    assert_eq!(result, Err(Violation::Flood(1024)));
    assert_eq!(server.said_yamux(), ["GOAWAY[] sid=0 len=1"]);
}

/// docs/wire Y72: an application that turns streams away, and a peer that opens and does not read.
#[test]
fn a_flood_of_streams_that_are_turned_away_ends_the_session() {
    // Each is reset as it is let go of; or the peer resets it, and nothing is owed for it.
    for by_peer in [false, true] {
        let config = quiet().max_incoming_streams(10).max_outgoing_streams(10);
        let mut server = Side::yamux(Role::Server, config);
        server.engine.note_blocked(server.now);
        let result = (0..10_000_u32).try_for_each(|number| {
            let id = 2 * number + 1;
            server.hear_hex(&format!("00010001{id:08x}00000000"))?;
            let stream = server.accept();
            if by_peer {
                server.hear_hex(&format!("00010008{id:08x}00000000"))?;
            }
            server.engine.release(server.now, stream);
            server.events();
            Ok(())
        });
        if by_peer {
            assert_eq!((result, server.said().len()), (Ok(()), 0));
        } else {
            assert_eq!(result, Err(Violation::Flood(1024 + 40)));
        }
    }
    // A peer that reads may go on for ever.
    let mut server = Side::server();
    for number in 0..10_000_u32 {
        server
            .hear_hex(&format!("00010001{:08x}00000000", 2 * number + 1))
            .unwrap();
        let stream = server.accept();
        server.engine.release(server.now, stream);
        server.said();
    }
}

/// docs/wire Y58, Y59: who goes away refuses, and goes on; who is told opens nothing, and accepts.
#[test]
fn going_away_ends_opening_and_nothing_else() {
    let (mut client, mut server) = (Side::client(), Side::server());
    let a = client.open();
    talk(&mut client, &mut server);
    let b = server.accept();
    server.engine.go_away(0, Bytes::new()).unwrap();
    talk(&mut client, &mut server);
    assert!(matches!(
        client.engine.open(client.now),
        Err(OpenError::RemoteNotAccepting)
    ));
    let own = server.open();
    server.write(own, b"still").unwrap();
    client.write(a, b"going").unwrap();
    talk(&mut client, &mut server);
    assert_eq!(server.read_all(b).0, b"going");
    let own = client.accept();
    assert_eq!(client.read_all(own).0, b"still");
    server.hear_hex("000100010000006300000000").unwrap();
    assert_eq!(server.said_yamux(), ["WU[RST] sid=99 len=0"]);
}

/// docs/wire Y60, Y62, Y65: a code ends everything, on both sides, with the same reason for ever.
#[test]
fn a_code_ends_the_session() {
    let (mut client, mut server) = (Side::client(), Side::server());
    let a = client.open();
    talk(&mut client, &mut server);
    let b = server.accept();
    server.said();
    server.write(b, &[0; 1000]).unwrap();
    server.engine.close_with(server.now, 77, Bytes::new());
    // What is queued is not waited for.
    let last = server.said();
    assert_eq!(crate::support::describe(&last), ["GOAWAY[] sid=0 len=77"]);
    assert_eq!(client.read(a, 1).unwrap(), Reading::Blocked);
    client.hear(&last).unwrap();
    let gone = |end: &SessionEnd| matches!(end, SessionEnd::GoneAway { code: 77, .. });
    assert!(matches!(client.read(a, 1), Err(ReadError::Session(end)) if gone(&end)));
    assert!(matches!(client.write(a, b"x"), Err(WriteError::Session(end)) if gone(&end)));
    assert!(matches!(client.engine.open(client.now), Err(OpenError::Session(end)) if gone(&end)));
    assert!(client.engine.ping(client.now).is_err());
    assert_eq!(client.engine.accept(client.now), Accepting::Ended);
    assert!(client.events().contains(&Event::Ended));
    client.hear_end();
    assert!(
        client.engine.end().is_some_and(gone),
        "the first reason stays"
    );
}

/// docs/wire Y61: everything leaves, the ping is answered, goodbye.
#[test]
fn closing_delivers_everything_and_knows_it() {
    let (mut client, mut server) = (Side::client(), Side::server());
    let a = client.open();
    client.write(a, &[7; 200_000]).unwrap();
    client.engine.shutdown(a).unwrap();
    client.engine.close(client.now);
    client.engine.close(client.now);
    assert!(matches!(client.write(a, b"x"), Err(WriteError::Closed)));
    assert!(client.engine.open(client.now).is_err());
    let said = client.said();
    assert_eq!(
        crate::support::describe(&said).last().unwrap(),
        "PING[SYN] sid=0 len=0"
    );
    server.hear(&said).unwrap();
    assert_eq!(client.engine.outcome(), None);
    client.hear(&server.said()).unwrap();
    assert_eq!(client.engine.outcome(), Some(CloseOutcome::Acknowledged));
    assert_eq!(client.said_yamux(), ["GOAWAY[] sid=0 len=0"]);
    assert!(client.engine.wants_shutdown());
    client.engine.handle_shutdown(client.now);
    server.hear_hex("000300000000000000000000").unwrap();
    server.hear_end();
    let b = server.accept();
    assert_eq!(server.read_all(b).0.len(), 200_000);
    assert!(matches!(
        server.engine.end(),
        Some(SessionEnd::ClosedByPeer)
    ));
    client.hear_end();
    assert!(client.engine.is_over());
}

/// docs/wire Y64: nothing can be written for the whole of the time-out.
#[test]
fn a_peer_that_does_not_read_ends_the_session() {
    let mut client = Side::client();
    let stream = client.open();
    client.write(stream, b"x").unwrap();
    client.engine.note_blocked(client.now);
    client.wait(9 * SECOND);
    assert!(client.engine.end().is_none());
    client.engine.note_unblocked();
    client.engine.note_blocked(client.now);
    client.wait(9 * SECOND);
    assert!(client.engine.end().is_none(), "it had taken something");
    client.wait(2 * SECOND);
    assert!(matches!(
        client.engine.end(),
        Some(SessionEnd::WriteTimeout)
    ));
    assert!(matches!(
        client.read(stream, 1),
        Err(ReadError::Session(SessionEnd::WriteTimeout))
    ));
}

/// docs/wire Y65: of the streams that wait when the session ends, those that are whole.
#[test]
fn only_whole_streams_are_accepted_after_the_end() {
    let mut server = Side::server();
    server.hear_hex("0000000100000001000000026869").unwrap();
    server.hear_hex("0000000500000003000000026869").unwrap();
    server
        .hear_hex("000100010000000500000000000100080000000500000000")
        .unwrap();
    server.hear_end();
    let whole = server.accept();
    assert_eq!(server.engine.stream_id(whole), 3);
    assert_eq!(server.read_all(whole).0, b"hi");
    assert_eq!(server.engine.accept(server.now), Accepting::Ended);
}

/// docs/wire Y66: a thousand who wait are all told.
#[test]
fn everybody_who_waits_is_told_of_the_end() {
    let config = || quiet().accept_backlog(1000);
    let mut client = Side::yamux(Role::Client, config());
    let streams: Vec<_> = (0..1000).map(|_| client.open()).collect();
    client.said();
    for &stream in &streams {
        assert_eq!(client.read(stream, 1).unwrap(), Reading::Blocked);
    }
    client.engine.abort();
    let events = client.events();
    for &stream in &streams {
        assert!(events.contains(&Event::Readable(stream)));
    }
    assert!(events.contains(&Event::Ended));
    assert!(client.engine.is_over());
}

/// A stream that is not acknowledged in time is reset, and no other.
#[test]
fn a_stream_that_is_not_acknowledged_in_time_is_reset() {
    let mut client = Side::yamux(Role::Client, quiet().stream_open_timeout(Some(75 * SECOND)));
    let (late, well) = (client.open(), client.open());
    client.said();
    client.hear_hex("000100020000000300000000").unwrap();
    client.now += 76 * SECOND;
    client.engine.handle_timeout(client.now);
    assert_eq!(client.said_yamux(), ["WU[RST] sid=1 len=0"]);
    assert!(matches!(
        client.read(late, 1),
        Err(ReadError::Ended(StreamEnd::OpenTimeout))
    ));
    assert_eq!(client.read(well, 1).unwrap(), Reading::Blocked);
}

/// This side's own limit of streams.
#[test]
fn too_many_streams_of_ones_own_are_an_error() {
    let mut client = Side::yamux(Role::Client, quiet().max_outgoing_streams(1));
    let first = client.open();
    assert!(matches!(
        client.engine.open(client.now),
        Err(OpenError::TooManyStreams(1))
    ));
    client.engine.release(client.now, first);
    assert!(matches!(
        client.engine.open(client.now),
        Ok(Opening::Stream(_))
    ));
}

/// docs/wire Y61, Y65: closing is no success when something had not left, or the peer ended otherwise.
#[test]
fn closing_does_not_claim_what_has_not_left() {
    for how in 0..5 {
        let mut client = Side::client();
        let stream = client.open();
        client.write(stream, &[7; 200_000]).unwrap();
        client.engine.close(client.now);
        if how > 0 {
            // All of it is the transport's, which takes nothing.
            client.said();
            client.engine.note_blocked(client.now);
        }
        match how {
            2 => client.hear_hex("000000000000000100000064").unwrap(),
            3 => client.hear_hex("000300000000000000000002").unwrap(),
            4 => client
                .engine
                .handle_io_error(std::io::ErrorKind::ConnectionReset.into()),
            _ => {}
        }
        client.hear_end();
        let end = client.engine.close_result().unwrap_err();
        let expected = match how {
            0 | 1 => matches!(end, SessionEnd::ClosedByPeer),
            2 => matches!(end, SessionEnd::Truncated),
            3 => matches!(end, SessionEnd::GoneAway { code: 2, .. }),
            _ => matches!(end, SessionEnd::Io(_)),
        };
        assert!(expected, "{how}: {end}");
    }
    // Both ends close: the peer has left before it saw the ping, and everything had been taken.
    let mut client = Side::client();
    client.engine.close(client.now);
    client.said();
    client.hear_hex("000300000000000000000000").unwrap();
    client.hear_end();
    assert_eq!(client.engine.outcome(), Some(CloseOutcome::PeerEnded));
    // The failure to write comes to light behind the peer's end.
    client
        .engine
        .handle_io_error(std::io::ErrorKind::BrokenPipe.into());
    assert!(matches!(
        client.engine.close_result(),
        Err(SessionEnd::Io(_))
    ));
}

/// docs/wire Y72: a burst from a peer that reads all the time is answered in full.
#[test]
fn a_burst_of_refused_streams_is_answered() {
    let mut server = Side::yamux(Role::Server, quiet().accept_backlog(1));
    let burst: Vec<u8> = (0..5000_u32)
        .flat_map(|number| hex(&format!("00010001{:08x}00000000", 2 * number + 1)))
        .collect();
    server.hear(&burst).unwrap();
    let mut resets = 0;
    let mut rounds = 0;
    while server.engine.must_transmit() {
        // Nothing is taken before something has left.
        server.go_on().unwrap();
        assert_eq!(server.engine.stats().streams_refused, resets + 1024);
        let said = server.said_yamux();
        assert!(said.iter().all(|frame| frame.starts_with("WU[RST]")));
        resets += said.len() as u64;
        assert!(server.engine.must_transmit(), "the input still waits");
        server.go_on().unwrap();
        rounds += 1;
    }
    resets += server.said_yamux().len() as u64;
    assert_eq!((resets, rounds), (4999, 4));
    assert!(server.engine.end().is_none());
    server.hear_hex("000200010000000000000005").unwrap();
    assert_eq!(server.said_yamux(), ["PING[ACK] sid=0 len=5"]);
}

/// docs/wire Y72: answers that cannot leave are a flood, found when the input is offered again.
#[test]
fn a_burst_that_is_not_taken_is_a_flood() {
    for blocked in [true, false] {
        let mut server = Side::yamux(Role::Server, quiet().accept_backlog(1));
        let burst: Vec<u8> = (0..2000_u32)
            .flat_map(|number| hex(&format!("00010001{:08x}00000000", 2 * number + 1)))
            .collect();
        server.hear(&burst).unwrap();
        assert!(server.engine.must_transmit());
        if blocked {
            server.engine.note_blocked(server.now);
        } else {
            // There is no room for them.
            let mut out = Transmit::new();
            server.engine.poll_transmit(server.now, &mut out, 0);
        }
        assert_eq!(server.go_on(), Err(Violation::Flood(1024)));
        assert!(!server.engine.must_transmit());
        assert_eq!(server.said_yamux(), ["GOAWAY[] sid=0 len=1"]);
    }
}

/// docs/wire Y31, Y65: a stream that was whole when it was reset is given out.
#[test]
fn a_stream_that_is_reset_behind_its_end_is_accepted() {
    let mut server = Side::server();
    server.hear_hex("0000000100000001000000026869").unwrap();
    server
        .hear_hex("000100040000000100000000000100080000000100000000")
        .unwrap();
    // This one was not.
    server.hear_hex("0000000100000003000000026869").unwrap();
    server.hear_hex("000100080000000300000000").unwrap();
    let streams = server.accept_all();
    assert_eq!(streams.len(), 1);
    assert_eq!(server.engine.stream_id(streams[0]), 1);
    let (data, end) = server.read_all(streams[0]);
    assert_eq!((&data[..], end.unwrap()), (&b"hi"[..], Reading::End));
    server.engine.release(server.now, streams[0]);
    assert_eq!(server.engine.inbound_count(), 0);
    assert!(server.said().is_empty());
}
