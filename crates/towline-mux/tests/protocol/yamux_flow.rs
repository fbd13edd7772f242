//! yamux: credit, windows, budgets, turns.

use std::time::Duration;

use bytes::BytesMut;
use towline_mux::proto::{
    AckPolicy, Event, ReadError, Reading, Role, StreamEnd, StreamKey, Transmit, WriteError, yamux,
};

use crate::support::{Side, describe, hex, quiet, talk};

/// docs/wire Y37: exactly the credit, and again with each update.
#[test]
fn a_sender_stops_at_its_credit() {
    let mut client = Side::client();
    let stream = client.open();
    assert_eq!(client.write(stream, &vec![0; 300_000]).unwrap(), 262_144);
    client.said();
    assert_eq!(client.engine.write_room(stream).unwrap(), 0);
    client.hear_hex("000100000000000100000000").unwrap();
    assert_eq!(client.engine.write_room(stream).unwrap(), 0);
    client.hear_hex("000100000000000100000005").unwrap();
    assert!(client.events().contains(&Event::Writable(stream)));
    assert_eq!(client.write(stream, &[0; 10]).unwrap(), 5);
    assert_eq!(client.said_yamux(), ["DATA[] sid=1 len=5"]);
}

/// docs/wire Y41: eight megabytes in one frame, if the credit holds them.
#[test]
fn a_long_frame_within_the_credit_is_taken() {
    let config = quiet()
        .initial_stream_window(8 << 20)
        .receive_budget(20 << 30);
    let mut server = Side::yamux(Role::Server, config.max_stream_window(16 << 20));
    server.hear_hex("000100010000000100000000").unwrap();
    let stream = server.accept();
    assert_eq!(server.said_yamux(), ["WU[ACK] sid=1 len=8126464"]);
    let mut frame = hex("000000000000000100800000");
    frame.resize(12 + (8 << 20), 7);
    server.hear(&frame).unwrap();
    assert_eq!(server.read_all(stream).0.len(), 8 << 20);
}

/// docs/wire Y43: ends with different first windows move everything.
#[test]
fn different_first_windows_work() {
    for (ours, theirs) in [(256, 1280), (1280, 256), (300, 700)] {
        let config = |kib: u32| {
            quiet()
                .initial_stream_window(kib << 10)
                .receive_budget(8 << 30)
        };
        let mut client = Side::yamux(Role::Client, config(ours));
        let mut server = Side::yamux(Role::Server, config(theirs));
        let a = client.open();
        talk(&mut client, &mut server);
        let b = server.accept();
        let mut moved = [0, 0];
        while moved[0] < 12_500_000 || moved[1] < 12_500_000 {
            client.write(a, &[1; 50_000]).unwrap();
            server.write(b, &[2; 50_000]).unwrap();
            talk(&mut client, &mut server);
            let got = [client.read_all(a).0.len(), server.read_all(b).0.len()];
            assert!(got[0] > 0 && got[1] > 0, "a stall at {moved:?}");
            moved[0] += got[0];
            moved[1] += got[1];
        }
    }
}

fn busy(config: yamux::Config, rtt: Option<Duration>) -> (Side, Side, StreamKey, StreamKey) {
    let mut client = Side::client();
    let mut server = Side::yamux(Role::Server, config);
    if let Some(rtt) = rtt {
        server.measure(rtt);
    }
    let a = client.open();
    client.now = server.now;
    talk(&mut client, &mut server);
    let b = server.accept();
    talk(&mut client, &mut server);
    (client, server, a, b)
}

/// Moves bytes at a pace; returns how much credit the server gave at a time.
fn pump(
    client: &mut Side,
    server: &mut Side,
    keys: (StreamKey, StreamKey),
    pace: Duration,
) -> Vec<u32> {
    let mut given = Vec::new();
    for _ in 0..400 {
        client.write(keys.0, &[0; 32 << 10]).unwrap();
        server.hear(&client.said()).unwrap();
        server.drain(keys.1);
        let said = server.said();
        for frame in describe(&said) {
            given.extend(
                frame
                    .strip_prefix("WU[] sid=1 len=")
                    .map(|len| len.parse::<u32>().unwrap()),
            );
        }
        client.hear(&said).unwrap();
        server.wait(pace);
        client.now = server.now;
    }
    given
}

/// docs/wire Y44 to Y46: growth needs a round trip, haste, and room below the largest window.
#[test]
fn windows_grow_only_when_they_hold_the_peer_up() {
    let config = || {
        yamux::Config::default()
            .keep_alive(None)
            .rtt_interval(Some(Duration::from_secs(3600)))
    };
    let grows = |config: yamux::Config, rtt, pace| {
        let (mut client, mut server, a, b) = busy(config, rtt);
        let given = pump(&mut client, &mut server, (a, b), pace);
        assert!(!given.is_empty());
        server.engine.stats().windows_grown
    };
    let (rtt, fast, slow) = (
        Some(Duration::from_millis(50)),
        Duration::from_micros(10),
        Duration::from_millis(70),
    );
    assert_eq!(grows(config(), rtt, fast), 6);
    assert_eq!(grows(config(), rtt, slow), 0);
    assert_eq!(grows(config(), None, fast), 0);
    assert_eq!(grows(config().growth_rtt_factor(0), rtt, fast), 0);
    assert_eq!(grows(config().max_stream_window(1 << 20), rtt, fast), 2);
    // docs/wire Y45, Y46: no more than the budget has beyond the first windows of all streams.
    let tight = config()
        .max_incoming_streams(2)
        .max_outgoing_streams(2)
        .receive_budget((4 << 18) + (300 << 10));
    assert_eq!(grows(tight, rtt, fast), 1);
}

/// docs/wire Y46: what windows have grown by comes back.
#[test]
fn the_budget_comes_back_when_streams_end() {
    let config = yamux::Config::default()
        .keep_alive(None)
        .rtt_interval(Some(Duration::from_secs(3600)))
        .max_incoming_streams(2)
        .max_outgoing_streams(2)
        .receive_budget((4 << 18) + (300 << 10));
    let (mut client, mut server, a, b) = busy(config, Some(Duration::from_millis(50)));
    pump(&mut client, &mut server, (a, b), Duration::from_micros(10));
    assert_eq!(server.engine.stats().windows_grown, 1);
    client.engine.reset(client.now, a, 0);
    talk(&mut client, &mut server);
    server.engine.release(server.now, b);
    let a = client.open();
    talk(&mut client, &mut server);
    let b = server.accept();
    talk(&mut client, &mut server);
    for _ in 0..400 {
        client.write(a, &[0; 32 << 10]).unwrap();
        talk(&mut client, &mut server);
        server.drain(b);
        talk(&mut client, &mut server);
    }
    assert_eq!(server.engine.stats().windows_grown, 2);
}

/// docs/wire Y46: with overcommit, the stream that holds most goes, and the others stay.
#[test]
fn the_stream_that_holds_most_is_reset() {
    let config = quiet().overcommit(true).receive_budget(300 << 10);
    let mut server = Side::yamux(Role::Server, config);
    let frame = |id: u32, len: u32, flag: u8| {
        let mut bytes = hex(&format!("000000{flag:02x}{id:08x}{len:08x}"));
        bytes.resize(12 + len as usize, 0);
        bytes
    };
    server.hear(&frame(1, 100 << 10, 1)).unwrap();
    server.hear(&frame(3, 150 << 10, 1)).unwrap();
    let streams = server.accept_all();
    server.said();
    server.hear(&frame(5, 100 << 10, 1)).unwrap();
    assert_eq!(server.said_yamux(), ["WU[RST] sid=3 len=0"]);
    assert_eq!(server.read_all(streams[0]).0.len(), 100 << 10);
    let (_, end) = server.read_all(streams[1]);
    assert!(matches!(end, Err(ReadError::Ended(StreamEnd::OutOfBudget))));
    assert!(server.engine.stats().bytes_held <= 300 << 10);
}

/// docs/wire Y47: none after the peer's end, but the acknowledgement.
#[test]
fn no_credit_is_given_to_who_sends_no_more() {
    let mut server = Side::server();
    let mut frame = hex("000000050000000100040000");
    frame.resize(12 + 262_144, 0);
    server.hear(&frame).unwrap();
    let stream = server.accept();
    let (data, end) = server.read_all(stream);
    assert_eq!((data.len(), end.unwrap()), (262_144, Reading::End));
    assert_eq!(server.said_yamux(), ["WU[ACK] sid=1 len=0"]);
}

/// docs/wire Y38: credit is given for what was read before the acknowledgement has left, and with it.
#[test]
fn what_is_read_before_the_acknowledgement_is_given_back() {
    for policy in [AckPolicy::OnAccept, AckPolicy::OnArrival, AckPolicy::Lazy] {
        for initial in [256 << 10, 300 << 10] {
            let config = quiet()
                .ack_policy(policy)
                .initial_stream_window(initial)
                .receive_budget(1 << 30);
            let mut server = Side::yamux(Role::Server, config);
            let mut frame = hex("000000010000000100040000");
            frame.resize(12 + 262_144, 0);
            server.hear(&frame).unwrap();
            let stream = server.accept();
            assert_eq!(server.read_all(stream).0.len(), 262_144);
            // Together the whole window, and no more.
            assert_eq!(
                server.said_yamux(),
                [
                    format!("WU[ACK] sid=1 len={}", initial - 262_144),
                    "WU[] sid=1 len=262144".to_owned()
                ],
                "{policy:?} {initial}"
            );
        }
    }
}

/// docs/wire Y49: a full window and its end outlive the transport.
#[test]
fn what_came_before_the_end_of_the_transport_is_read() {
    let mut server = Side::server();
    let mut frame = hex("000000050000000100040000");
    frame.resize(12 + 262_144, 0);
    server.hear(&frame).unwrap();
    // Not even accepted yet.
    server.hear_end();
    let stream = server.accept();
    let (data, end) = server.read_all(stream);
    assert_eq!((data.len(), end.unwrap()), (262_144, Reading::End));
    assert!(matches!(
        server.write(stream, b"x"),
        Err(WriteError::Session(_))
    ));
}

/// docs/wire Y71: a hundred thousand unread bytes in frames of their own cost what they count, and hold
/// up nothing.
#[test]
fn small_unread_frames_hold_up_nobody() {
    let mut server = Side::server();
    server.hear_hex("000100010000000100000000").unwrap();
    let dead = server.accept();
    let frame = hex("00000000000000010000000178");
    for _ in 0..100_000 {
        server.hear(&frame).unwrap();
    }
    server.said();
    server.hear_hex("000200010000000000000001").unwrap();
    server.hear_hex("0000000100000003000000026869").unwrap();
    let other = server.accept();
    assert_eq!(server.read_all(other).0, b"hi");
    assert!(
        server
            .said_yamux()
            .contains(&"PING[ACK] sid=0 len=1".to_owned())
    );
    assert_eq!(server.read_all(dead).0.len(), 100_000);
}

/// docs/wire Y77: a short message overtakes a long transfer, and streams take turns of 16 KiB.
#[test]
fn streams_share_the_transport_fairly() {
    let (mut client, mut server) = (Side::client(), Side::server());
    let bulk: Vec<StreamKey> = (0..3).map(|_| client.open()).collect();
    let chat = client.open();
    talk(&mut client, &mut server);
    for &stream in &bulk {
        assert_eq!(client.write(stream, &[0; 200_000]).unwrap(), 200_000);
    }
    let mut out = Transmit::new();
    client.engine.poll_transmit(client.now, &mut out, 100_000);
    let frames = describe(&out.take());
    assert!(
        frames.iter().all(|frame| frame.ends_with("len=16384")),
        "{frames:?}"
    );
    assert_eq!(frames[0].split(' ').nth(1), frames[3].split(' ').nth(1));
    client.write(chat, b"now").unwrap();
    client.engine.poll_transmit(client.now, &mut out, 1000);
    assert_eq!(describe(&out.take())[0], "DATA[] sid=7 len=3");
}

/// The send budget bounds what waits, leaves room for who has nothing waiting, and is shared in turn.
#[test]
fn the_send_budget_bounds_what_waits() {
    let mut client = Side::yamux(Role::Client, quiet().send_budget(100_000));
    let streams: Vec<StreamKey> = (0..200).map(|_| client.open()).collect();
    client.said();
    let mut taken = 0;
    for &stream in &streams {
        taken += client.write(stream, &[0; 40_000]).unwrap();
    }
    assert!((100_000..=125_000).contains(&taken), "{taken}");
    assert_eq!(client.engine.stats().bytes_queued, taken as u64);
    let waiting = streams[199];
    assert_eq!(client.engine.write_room(waiting).unwrap(), 0);
    // As it empties, everybody who waits is told.
    client.said();
    let woken = client.events();
    for &stream in &streams[10..] {
        assert!(woken.contains(&Event::Writable(stream)), "{stream:?}");
    }
    assert!(client.engine.write_room(waiting).unwrap() >= 40_000);
}

/// docs/wire Y71: what is read in place keeps no more than twice its size in memory.
#[test]
fn a_piece_of_a_large_buffer_is_copied() {
    for (payload, in_place) in [(16 << 10, false), (20 << 10, false), (40 << 10, true)] {
        let mut server = Side::server();
        server.hear_hex("000100010000000100000000").unwrap();
        let stream = server.accept();
        let mut input = BytesMut::with_capacity(64 << 10);
        let capacity = input.capacity();
        // Behind something for nobody, which stays in the same buffer.
        let skipped = capacity - payload - 24;
        input.extend_from_slice(&hex(&format!("0000000000000063{skipped:08x}")));
        input.resize(12 + skipped, 0);
        // In two goes: the buffer is the same one.
        server.engine.handle_input(server.now, &mut input).unwrap();
        input.extend_from_slice(&hex(&format!("0000000000000001{payload:08x}")));
        input.resize(12 + payload, 7);
        let place = input.as_ptr().wrapping_add(12);
        assert_eq!(input.capacity(), 12 + payload);
        server.engine.handle_input(server.now, &mut input).unwrap();
        let Reading::Chunk(chunk) = server.read(stream, usize::MAX).unwrap() else {
            panic!("nothing came");
        };
        assert_eq!((chunk.len(), chunk.as_ptr() == place), (payload, in_place));
    }
}

/// docs/wire Y46: a stream that has ended on the wire holds memory like any other, and goes like any other.
#[test]
fn the_stream_that_holds_most_is_dropped_when_it_has_ended() {
    let config = quiet().overcommit(true).receive_budget(1 << 20);
    let mut server = Side::yamux(Role::Server, config);
    let mut streams = Vec::new();
    for id in [1, 3, 5, 7_u32] {
        server
            .hear_hex(&format!("00010001{id:08x}00000000"))
            .unwrap();
        let stream = server.accept();
        server.engine.shutdown(stream).unwrap();
        server.said();
        let mut frame = hex(&format!("00000004{id:08x}{:08x}", 250_000));
        frame.resize(12 + 250_000, 7);
        server.hear(&frame).unwrap();
        streams.push(stream);
    }
    assert_eq!(server.engine.stream_count(), 0);
    // One that lives, and holds less.
    let mut frame = hex(&format!("0000000100000009{:08x}", 100_000));
    frame.resize(12 + 100_000, 7);
    server.hear(&frame).unwrap();
    let small = server.accept();
    assert_eq!(server.read_all(small).0.len(), 100_000);
    assert_eq!(server.engine.stats().streams_reset, 1);
    // The peer has forgotten the other: it is told nothing but the acknowledgement of this one.
    assert_eq!(server.said_yamux(), ["WU[ACK] sid=9 len=0"]);
    let mut whole = 0;
    for stream in streams {
        match server.read_all(stream) {
            (data, Ok(Reading::End)) => whole += usize::from(data.len() == 250_000),
            (data, end) => assert!(
                data.is_empty() && matches!(end, Err(ReadError::Ended(StreamEnd::OutOfBudget)))
            ),
        }
        server.engine.release(server.now, stream);
    }
    assert_eq!((whole, server.engine.inbound_count()), (3, 1));
}
