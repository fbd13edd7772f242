//! muxado: going away and closing.

use std::time::Duration;

use towline_mux::proto::{
    Accepting, CloseOutcome, OpenError, ReadError, Reading, Role, SessionEnd, StreamEnd,
    WriteError, muxado::Config,
};

use crate::support::{Side, talk};

fn pair() -> (Side, Side) {
    (
        Side::muxado(Role::Client, Config::default()),
        Side::muxado(Role::Server, Config::default()),
    )
}

/// docs/wire U57: streams that the peer has not seen fail, the others go on, its own are accepted.
#[test]
fn the_peer_goes_away_and_the_rest_goes_on() {
    let (mut client, mut server) = pair();
    let seen = client.open();
    client.write(seen, b"x").unwrap();
    talk(&mut client, &mut server);
    let there = server.accept();
    let unseen = client.open();
    client.write(unseen, b"lost").unwrap();
    server.engine.go_away(0, "draining".into()).unwrap();
    client.hear(&server.said()).unwrap();
    assert!(matches!(
        client.write(unseen, b"x"),
        Err(WriteError::Ended(StreamEnd::RemoteGoneAway))
    ));
    assert!(matches!(
        client.engine.open(client.now),
        Err(OpenError::RemoteNotAccepting)
    ));
    client.write(seen, b"y").unwrap();
    let own = server.open();
    server.write(own, b"z").unwrap();
    talk(&mut client, &mut server);
    assert_eq!(server.read_all(there).0, b"xy");
    let own = client.accept();
    assert_eq!(client.read_all(own).0, b"z");
}

/// docs/wire U50, U52: closing waits for the peer to end, and says which it was.
#[test]
fn closing_waits_for_the_peers_end() {
    let (mut client, mut server) = pair();
    let a = client.open();
    client.write(a, b"all of it").unwrap();
    client.engine.shutdown(a).unwrap();
    client.engine.close(client.now);
    server.hear(&client.said()).unwrap();
    assert!(client.engine.wants_shutdown());
    client.engine.handle_shutdown(client.now);
    server.hear_end();
    let b = server.accept();
    assert_eq!(server.read_all(b).0, b"all of it");
    assert!(matches!(
        server.engine.end(),
        Some(SessionEnd::ClosedByPeer)
    ));
    assert_eq!(server.engine.remote_go_away().unwrap().debug, "no error");
    assert_eq!(client.engine.outcome(), None);
    client.hear_end();
    assert_eq!(client.engine.outcome(), Some(CloseOutcome::PeerEnded));
    assert!(client.engine.is_over());
}

/// docs/wire U54, U79: a peer that neither reads nor ends.
#[test]
fn closing_ends_in_time() {
    let (mut client, _) = pair();
    client.engine.close(client.now);
    client.said();
    client.engine.handle_shutdown(client.now);
    client.wait(Duration::from_secs(9));
    assert!(!client.engine.is_over());
    client.wait(Duration::from_secs(2));
    assert_eq!(client.engine.outcome(), Some(CloseOutcome::TimedOut));
    assert!(client.engine.is_over());
}

/// docs/wire U55, U56: after the end nothing hangs, and what is whole is given out.
#[test]
fn after_the_end_nothing_hangs() {
    let (_, mut server) = pair();
    server
        .hear_hex("0000021200000003 6869 0000021300000005 6869")
        .unwrap();
    let own = server.open();
    server.hear_end();
    let whole = server.accept();
    assert_eq!(server.engine.stream_id(whole), 5);
    assert_eq!(server.read_all(whole).0, b"hi");
    assert_eq!(server.engine.accept(server.now), Accepting::Ended);
    assert!(matches!(server.read(own, 1), Err(ReadError::Session(_))));
    assert!(matches!(
        server.write(own, b"x"),
        Err(WriteError::Session(_))
    ));
    assert!(matches!(
        server.engine.open(server.now),
        Err(OpenError::Session(SessionEnd::ClosedByPeer))
    ));
}

/// docs/wire U61: after a go-away, whatever else comes is the peer's end and not a complaint.
#[test]
fn garbage_behind_a_go_away_is_the_peers_end() {
    let (mut client, _) = pair();
    client.hear_hex("00000830000000000000000000000000").unwrap();
    client
        .hear_hex("000000f000000000 0000030000000001")
        .unwrap();
    assert!(matches!(
        client.engine.end(),
        Some(SessionEnd::ClosedByPeer)
    ));
    assert_eq!(client.engine.remote_go_away().unwrap().code, 0);
}

/// docs/wire U65: a failing transport is the reason that is told.
#[test]
fn a_failing_transport_is_the_reason() {
    let (mut client, _) = pair();
    client
        .engine
        .handle_io_error(std::io::ErrorKind::ConnectionReset.into());
    match client.engine.end() {
        Some(SessionEnd::Io(error)) => {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        }
        other => panic!("{other:?}"),
    }
    assert!(client.engine.is_over());
}

/// docs/wire U50, U53: what has not left cannot have arrived, however the peer ends.
#[test]
fn closing_does_not_claim_what_has_not_left() {
    let unsent = || {
        let (mut client, _) = pair();
        let stream = client.open();
        client.write(stream, &[7; 200_000]).unwrap();
        client.engine.close(client.now);
        client
    };
    // At a boundary; inside a frame; behind an error code; with an error of the transport.
    let mut client = unsent();
    client.hear_end();
    assert!(matches!(
        client.engine.close_result(),
        Err(SessionEnd::ClosedByPeer)
    ));
    let mut client = unsent();
    client.hear_hex("00006410000000030102").unwrap();
    client.hear_end();
    assert!(matches!(
        client.engine.close_result(),
        Err(SessionEnd::Truncated)
    ));
    let mut client = unsent();
    client.hear_hex("00000830000000000000000000000002").unwrap();
    client.hear_end();
    assert!(matches!(
        client.engine.close_result(),
        Err(SessionEnd::GoneAway { code: 2, .. })
    ));
    let mut client = unsent();
    client
        .engine
        .handle_io_error(std::io::ErrorKind::BrokenPipe.into());
    assert!(matches!(
        client.engine.close_result(),
        Err(SessionEnd::Io(_))
    ));
    // The last word is on its way, or has left, when the transport fails.
    for shut in [false, true] {
        let (mut client, _) = pair();
        client.engine.close(client.now);
        client.said();
        if shut {
            client.engine.handle_shutdown(client.now);
        }
        client
            .engine
            .handle_io_error(std::io::ErrorKind::ConnectionReset.into());
        assert!(matches!(
            client.engine.close_result(),
            Err(SessionEnd::Io(_))
        ));
        assert!(matches!(client.engine.end(), Some(SessionEnd::ClosedHere)));
    }
    // The peer's end is seen while the goodbye waits: it counts when all of it has left.
    let (mut client, _) = pair();
    client.engine.close(client.now);
    client.said();
    client.hear_end();
    assert_eq!(client.engine.outcome(), None);
    client.engine.handle_shutdown(client.now);
    assert_eq!(client.engine.outcome(), Some(CloseOutcome::PeerEnded));
}

/// docs/wire U65: closing what has ended tells how it ended.
#[test]
fn closing_what_has_ended_tells_the_end() {
    let (mut client, _) = pair();
    let violation = client.hear_hex("0000030000000003000000").unwrap_err();
    client.engine.close(client.now);
    client.said();
    client.engine.handle_shutdown(client.now);
    client.hear_end();
    assert!(client.engine.is_over());
    assert!(
        matches!(client.engine.close_result(), Err(SessionEnd::Violation(found)) if found == violation)
    );
    let (mut client, _) = pair();
    client.engine.close_with(client.now, 3, "x".into());
    client.said();
    client.engine.handle_shutdown(client.now);
    client.hear_end();
    assert!(matches!(
        client.engine.close_result(),
        Err(SessionEnd::ClosedWithCode(3))
    ));
    // The peer has ended in good order, and nothing was left to send.
    for unsent in [false, true] {
        let (mut client, _) = pair();
        let stream = client.open();
        if unsent {
            client.write(stream, b"x").unwrap();
        }
        client.hear_end();
        client.engine.close(client.now);
        assert_eq!(client.engine.close_result().is_ok(), !unsent);
    }
}

/// docs/wire U56: as in yamux, what had ended before it was reset is whole.
#[test]
fn a_stream_that_is_reset_behind_its_end_is_accepted() {
    let (_, mut server) = pair();
    server
        .hear_hex("00000213000000036869 000004000000000300000006")
        .unwrap();
    let stream = server.accept();
    assert_eq!(server.read_all(stream).0, b"hi");
    assert_eq!(server.read(stream, 1).unwrap(), Reading::End);
}

/// docs/wire U57: a second go-away that names a lower stream takes more, one that does not takes none.
#[test]
fn repeated_go_aways_take_what_is_above_the_lowest() {
    let (mut client, _) = pair();
    let streams = [client.open(), client.open(), client.open()];
    for stream in streams {
        client.write(stream, b"x").unwrap();
    }
    client.said();
    let alive = |client: &mut Side| streams.map(|stream| client.write(stream, b"x").is_ok());
    for (last, expected) in [
        (5, [true, true, false]),
        (9, [true, true, false]),
        (3, [true, false, false]),
        (3, [true, false, false]),
    ] {
        client
            .hear_hex(&format!("0000083000000000{last:08x}00000000"))
            .unwrap();
        assert_eq!(alive(&mut client), expected);
    }
}
