//! muxado: opening, ending, resetting.

use std::time::Duration;

use towline_mux::proto::{
    Accepting, Reading, Role, StreamEnd, Violation, WriteError, muxado::Config,
};

use crate::support::{Side, hex, talk};

fn pair() -> (Side, Side) {
    (
        Side::muxado(Role::Client, Config::default()),
        Side::muxado(Role::Server, Config::default()),
    )
}

/// docs/wire U14, U16, U17, U26: SYN on the first frame of the opener, and on no other.
#[test]
fn the_first_frame_of_the_opener_alone_carries_syn() {
    let (mut client, mut server) = pair();
    let a = client.open();
    client.write(a, b"").unwrap();
    assert!(client.said().is_empty());
    client.write(a, b"one").unwrap();
    client.write(a, b"two").unwrap();
    // What waits in one stream is one frame.
    assert_eq!(client.said_hex(), "00000612000000036f6e6574776f");
    client.write(a, b"x").unwrap();
    assert_eq!(client.said_hex(), "000001100000000378");
    server.hear_hex("000001120000000378").unwrap();
    let b = server.accept();
    server.write(b, b"y").unwrap();
    assert_eq!(server.said_hex(), "000001100000000379");
}

/// docs/wire U15: reading tells the peer of a stream, for a peer that speaks first.
#[test]
fn reading_announces_a_stream() {
    let (mut client, mut server) = pair();
    let a = client.open();
    assert_eq!(client.read(a, 1).unwrap(), Reading::Blocked);
    talk(&mut client, &mut server);
    // What waits to be written tells of it as well.
    let other = client.open();
    client.write(other, b"x").unwrap();
    assert_eq!(client.read(other, 1).unwrap(), Reading::Blocked);
    assert_eq!(client.said_hex(), "000001120000000578");
    let b = server.accept();
    server.write(b, b"welcome").unwrap();
    talk(&mut client, &mut server);
    assert_eq!(client.read_all(a).0, b"welcome");
}

/// docs/wire U24: streams above the limit are refused with 5.
#[test]
fn streams_above_the_limit_are_refused() {
    let config = Config::default().max_incoming_streams(1);
    let mut server = Side::muxado(Role::Server, config);
    server.hear_hex("00000012000000030000001200000005").unwrap();
    assert_eq!(server.said_hex(), "000004000000000500000005");
    assert!(server.engine.end().is_none());
}

/// docs/wire U30: an end of data behind a reset is not one.
#[test]
fn an_end_behind_a_reset_is_not_one() {
    let mut server = Side::muxado(Role::Server, Config::default().max_window_size(4));
    server
        .hear_hex("000002120000000361620000031000000003636465")
        .unwrap();
    server.hear_hex("0000001100000003").unwrap();
    // It was reset before it was accepted: nobody is given it.
    assert_eq!(server.engine.accept(server.now), Accepting::Blocked);
    let mut server = Side::muxado(Role::Server, Config::default().max_window_size(4));
    server.hear_hex("00000212000000036162").unwrap();
    let stream = server.accept();
    server
        .hear_hex("00000310000000036364650000001100000003")
        .unwrap();
    let (data, end) = server.read_all(stream);
    assert_eq!(data, b"ab");
    assert!(matches!(
        end,
        Err(towline_mux::ReadError::Ended(StreamEnd::WindowExceeded))
    ));
}

/// docs/wire U39, U41: half closes in both orders; the acceptor answers a request that was ended at once.
#[test]
fn a_request_that_was_ended_at_once_is_answered() {
    let (mut client, mut server) = pair();
    server.hear_hex("000003130000000372657100").ok();
    let (mut client2, mut server2) = pair();
    let a = client2.open();
    client2.engine.shutdown(a).unwrap();
    talk(&mut client2, &mut server2);
    let b = server2.accept();
    assert_eq!(server2.read(b, 1).unwrap(), Reading::End);
    server2.write(b, b"answer").unwrap();
    server2.engine.shutdown(b).unwrap();
    talk(&mut client2, &mut server2);
    let (data, end) = client2.read_all(a);
    assert_eq!((&data[..], end.unwrap()), (&b"answer"[..], Reading::End));
    assert_eq!(
        (client2.engine.stream_count(), server2.engine.stream_count()),
        (0, 0)
    );
    client.said();
}

/// docs/wire U42, U47: closed is FIN, dropped is RST 6, reset is RST with the code; nothing follows.
#[test]
fn letting_go_says_how() {
    let opened = || {
        let (mut client, _) = pair();
        let a = client.open();
        client.write(a, b"x").unwrap();
        client.said();
        (client, a)
    };
    let (mut client, a) = opened();
    client.engine.shutdown(a).unwrap();
    client.engine.release(client.now, a);
    assert_eq!(client.said_hex(), "0000001100000003");
    client.hear_hex("000001100000000361").unwrap();
    assert_eq!(client.said_hex(), "000004000000000300000004");
    client.hear_hex("000001100000000361").unwrap();
    assert!(client.said().is_empty());

    let (mut client, a) = opened();
    client.engine.release(client.now, a);
    assert_eq!(client.said_hex(), "000004000000000300000006");

    let (mut client, a) = opened();
    client.write(a, b"queued").unwrap();
    client.engine.reset(client.now, a, 0xdead_beef);
    assert_eq!(client.said_hex(), "0000040000000003deadbeef");
}

/// docs/wire U45: five seconds, and then it is a stream that does not exist.
#[test]
fn tombstones_last_five_seconds_and_are_bounded() {
    let (_, mut server) = pair();
    for id in 0..3000_u32 {
        let id = 2 * id + 3;
        server.hear_hex(&format!("00000110{id:08x}78")).unwrap();
        assert_eq!(server.said().len(), 12);
    }
    // The last thousand are remembered, the first are not.
    server
        .hear_hex(&format!("00000110{:08x}78", 2 * 2999 + 3))
        .unwrap();
    assert!(server.said().is_empty());
    server.hear_hex("000001100000000378").unwrap();
    assert_eq!(server.said().len(), 12);
    server.now += Duration::from_secs(6);
    server.hear_hex("000001100000000378").unwrap();
    assert_eq!(server.said().len(), 12);
}

/// docs/wire U46, U49: the peer's reset with every code is told, and never answered.
#[test]
fn resets_are_told_with_their_code() {
    for code in [0, 3, 4, 5, 6, 9, 0xdead_beef_u32] {
        let (_, mut server) = pair();
        server.hear_hex("0000021200000003 6869").unwrap();
        let stream = server.accept();
        server
            .hear_hex(&format!("0000040000000003{code:08x}"))
            .unwrap();
        server
            .hear_hex(&format!("0000040000000003{code:08x}"))
            .unwrap();
        let (data, end) = server.read_all(stream);
        assert_eq!(data, b"hi");
        assert!(
            matches!(end, Err(towline_mux::ReadError::Ended(end)) if end.code_in(towline_mux::Dialect::Muxado) == code)
        );
        assert!(matches!(
            server.write(stream, b"x"),
            Err(WriteError::Ended(StreamEnd::ResetByPeer(told))) if told == code
        ));
        assert_eq!((server.said().len(), server.engine.stream_count()), (0, 0));
    }
}

/// docs/wire U78: floods are bounded, or end the session.
#[test]
fn floods_are_bounded() {
    let flood = |frame: &dyn Fn(u32) -> String| {
        let (_, mut server) = pair();
        server.engine.note_blocked(server.now);
        let result = (0..10_000).try_for_each(|number| server.hear_hex(&frame(number)));
        (result, server)
    };
    // DATA for streams that are not there, each another: nobody takes the resets.
    let (result, mut server) = flood(&|number| format!("00000110{:08x}78", 2 * number + 3));
    assert_eq!(result, Err(Violation::Flood(1024)));
    assert!(server.said_hex().starts_with("0000"));
    let (result, _) = flood(&|number| format!("00000012{:08x}", 2 * number + 3));
    assert_eq!(result, Err(Violation::Flood(1024)));
    // Streams that break off by the peer's fault.
    let (result, _) = flood(&|number| {
        let id = 2 * number + 3;
        format!("00000013{id:08x}00000110{id:08x}78")
    });
    assert_eq!(result, Err(Violation::Flood(1024)));
    // These are ignored however many they are.
    for frame in [
        "000004000000000300000004",
        "000004200000000300000004",
        "0000001100000003",
        "0000057100000000 0102030405",
    ] {
        let (result, mut server) = flood(&|_| frame.to_owned());
        assert_eq!((result, server.said().len()), (Ok(()), 0));
    }
    // Empty frames of a stream that is there.
    let (_, mut server) = pair();
    server.hear_hex("0000001200000003").unwrap();
    for _ in 0..10_000 {
        server.hear(&hex("0000001000000003")).unwrap();
    }
    assert_eq!(server.engine.stats().bytes_held, 0);
}

/// docs/wire U78: streams beyond the backlog, in one piece, from a peer that reads.
#[test]
fn a_burst_beyond_the_backlog_is_refused_and_no_flood() {
    let (_, mut server) = pair();
    let burst: Vec<u8> = (0..3000_u32)
        .flat_map(|number| {
            hex(&format!("0000011200000000{:02x}", 7))
                .into_iter()
                .enumerate()
                .map(move |(at, byte)| match at {
                    4..8 => (2 * number + 3).to_be_bytes()[at - 4],
                    _ => byte,
                })
        })
        .collect();
    server.hear(&burst).unwrap();
    let mut said = server.said();
    while server.engine.must_transmit() {
        server.go_on().unwrap();
        said.append(&mut server.said());
    }
    // An RST of 12 bytes for each.
    assert_eq!(said.len(), (3000 - 128) * 12);
    assert!(server.engine.end().is_none());
    assert_eq!(server.accept_all().len(), 128);
}
