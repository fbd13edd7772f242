//! yamux: half closes, resets, and streams that are let go of.

use std::time::Duration;

use towline_mux::proto::{ReadError, Reading, Role, StreamEnd, StreamKey, WriteError};

use crate::support::{Side, quiet, talk};

fn pair() -> (Side, Side, StreamKey, StreamKey) {
    let (mut client, mut server) = (Side::client(), Side::server());
    let a = client.open();
    talk(&mut client, &mut server);
    let b = server.accept();
    talk(&mut client, &mut server);
    (client, server, a, b)
}

/// docs/wire Y24 to Y26.
#[test]
fn half_a_close_leaves_the_other_half() {
    let (mut client, mut server, a, b) = pair();
    client.write(a, b"request").unwrap();
    client.engine.shutdown(a).unwrap();
    client.engine.shutdown(a).unwrap();
    assert!(matches!(client.write(a, b"x"), Err(WriteError::Closed)));
    let said = client.said();
    assert_eq!(
        crate::support::describe(&said),
        ["DATA[] sid=1 len=7", "WU[FIN] sid=1 len=0"]
    );
    server.hear(&said).unwrap();
    let (data, end) = server.read_all(b);
    assert_eq!((&data[..], end.unwrap()), (&b"request"[..], Reading::End));
    assert_eq!(server.read(b, 1).unwrap(), Reading::End);
    server.write(b, b"answer").unwrap();
    talk(&mut client, &mut server);
    assert_eq!(client.read_all(a).0, b"answer");
    server.engine.shutdown(b).unwrap();
    talk(&mut client, &mut server);
    assert_eq!(client.read(a, 1).unwrap(), Reading::End);
    assert_eq!(
        (client.engine.stream_count(), server.engine.stream_count()),
        (0, 0)
    );
}

/// docs/wire Y26: ends that cross.
#[test]
fn crossing_ends_forget_the_stream() {
    let (mut client, mut server, a, b) = pair();
    client.engine.shutdown(a).unwrap();
    server.engine.shutdown(b).unwrap();
    talk(&mut client, &mut server);
    assert_eq!(
        (client.engine.stream_count(), server.engine.stream_count()),
        (0, 0)
    );
}

/// docs/wire Y29, Y30, Y32, Y36: a reset wakes who reads and who writes, with the code.
#[test]
fn a_reset_wakes_everybody_with_its_code() {
    let (mut client, mut server, a, b) = pair();
    assert_eq!(server.read(b, 1).unwrap(), Reading::Blocked);
    assert_eq!(server.write(b, &vec![0; 300_000]).unwrap(), 262_144);
    client.engine.reset(client.now, a, 77);
    assert_eq!(client.said_yamux(), ["WU[RST] sid=1 len=77"]);
    client.engine.reset(client.now, a, 78);
    assert!(client.said().is_empty());
    server.hear_hex("00010008000000010000004d").unwrap();
    assert_eq!(server.events().len(), 2);
    let reset = StreamEnd::ResetByPeer(77);
    assert!(matches!(server.read(b, 1), Err(ReadError::Ended(end)) if end == reset));
    assert!(matches!(server.write(b, b"x"), Err(WriteError::Ended(end)) if end == reset));
    assert!(matches!(
        client.read(a, 1),
        Err(ReadError::Ended(StreamEnd::ResetHere(77)))
    ));
    assert!(matches!(
        client.write(a, b"x"),
        Err(WriteError::Ended(StreamEnd::ResetHere(77)))
    ));
    // What was queued went with it.
    assert!(server.said().is_empty());
    assert_eq!(server.engine.stats().bytes_queued, 0);
}

/// docs/wire Y29: neither SYN nor RST for a stream that the peer has not heard of.
#[test]
fn a_stream_that_was_never_announced_is_never_reset() {
    let mut client = Side::client();
    let stream = client.open();
    client.engine.reset(client.now, stream, 5);
    assert!(client.said().is_empty());
}

/// docs/wire Y31: before an end of data a reset is an error; behind one, all of it stays.
#[test]
fn a_reset_behind_the_end_leaves_the_end() {
    for (frames, ends) in [
        ("0000000400000001000000026869000100080000000100000000", true),
        (
            "0000000000000001000000026869000100080000000100000000",
            false,
        ),
    ] {
        let (_, mut server, _, b) = pair();
        server.hear_hex(frames).unwrap();
        let (data, end) = server.read_all(b);
        assert_eq!(data, b"hi");
        assert_eq!(matches!(end, Ok(Reading::End)), ends);
        assert_eq!(matches!(end, Err(ReadError::Ended(_))), !ends);
    }
}

/// docs/wire Y33: what is sent for a stream that is let go of.
#[test]
fn letting_go_resets_what_is_open() {
    // Nothing was ended.
    let (mut client, _, a, _) = pair();
    client.engine.release(client.now, a);
    assert_eq!(client.said_yamux(), ["WU[RST] sid=1 len=0"]);
    // The peer's data was ended: this side's was not.
    let (mut client, _, a, _) = pair();
    client.hear_hex("000100040000000100000000").unwrap();
    client.engine.release(client.now, a);
    assert_eq!(client.said_yamux(), ["WU[RST] sid=1 len=0"]);
    // Both were.
    let (mut client, _, a, _) = pair();
    client.hear_hex("000100040000000100000000").unwrap();
    client.engine.shutdown(a).unwrap();
    assert_eq!(client.said_yamux(), ["WU[FIN] sid=1 len=0"]);
    client.engine.release(client.now, a);
    assert!(client.said().is_empty());
    assert_eq!(client.engine.stream_count(), 0);
}

/// docs/wire Y33, Y34: a stream that only the peer has not ended lingers, in any of three ways.
#[test]
fn a_stream_that_was_ended_lingers() {
    let linger = || {
        let (mut client, _, a, _) = pair();
        client.write(a, b"all of it").unwrap();
        client.engine.shutdown(a).unwrap();
        client.engine.release(client.now, a);
        assert_eq!(client.said_yamux().len(), 2);
        client
    };
    // The peer ends, too.
    let mut client = linger();
    client.hear_hex("0000000400000001000000026869").unwrap();
    assert_eq!((client.said().len(), client.engine.stream_count()), (0, 0));
    // The peer uses up its credit.
    let mut client = linger();
    let mut data = crate::support::hex("00000000000000010003ffff");
    data.resize(12 + 0x3_ffff, 0);
    client.hear(&data).unwrap();
    assert!(client.said().is_empty());
    client.hear_hex("00000000000000010000000100").unwrap();
    assert_eq!(client.said_yamux(), ["WU[RST] sid=1 len=0"]);
    assert_eq!(client.engine.stats().bytes_held, 0);
    // Nothing comes.
    let mut client = linger();
    client.wait(Duration::from_secs(29));
    assert!(client.engine.deadline().is_some());
    assert_eq!(client.engine.stream_count(), 1);
    client.now += Duration::from_secs(2);
    client.engine.handle_timeout(client.now);
    assert_eq!(client.said_yamux(), ["WU[RST] sid=1 len=0"]);
    assert_eq!(
        (client.engine.stream_count(), client.engine.deadline()),
        (0, None)
    );
}

/// docs/wire Y34: who gives up reading holds nothing, and the session lives.
#[test]
fn data_that_nobody_reads_is_not_kept() {
    let (mut client, mut server, a, b) = pair();
    server.engine.close_read(server.now, b);
    assert!(matches!(server.read(b, 1), Err(ReadError::Closed)));
    assert_eq!(client.write(a, &vec![0; 3 << 20]).unwrap(), 262_144);
    talk(&mut client, &mut server);
    assert!(matches!(
        client.write(a, b"x"),
        Err(WriteError::Ended(StreamEnd::ResetByPeer(0)))
    ));
    assert_eq!(server.engine.stats().bytes_held, 0);
    assert!(server.engine.end().is_none());
}

/// docs/wire Y74: nothing leaves behind a reset, and an end of data leaves behind the data.
#[test]
fn order_within_a_stream_holds() {
    let mut client = Side::yamux(Role::Client, quiet());
    let stream = client.open();
    client.write(stream, &vec![1; 100_000]).unwrap();
    client.engine.shutdown(stream).unwrap();
    let frames = client.said_yamux();
    assert_eq!(frames.first().unwrap(), "WU[SYN] sid=1 len=0");
    assert_eq!(frames.last().unwrap(), "WU[FIN] sid=1 len=0");
    assert_eq!(frames.len(), 4);
}
