//! Typed streams and heartbeats, against a peer that is bytes.

#![cfg(feature = "tokio")]
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use towline_mux::{
    OpenError, PingError,
    muxado::{self, Heartbeat, HeartbeatConfig, HeartbeatError, Pulse, StreamType, TypedSession},
};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn server() -> (TypedSession, DuplexStream) {
    let (here, there) = tokio::io::duplex(1 << 16);
    let session = muxado::server(here, muxado::Config::default()).unwrap();
    (TypedSession::new(session), there)
}

fn client() -> (TypedSession, DuplexStream) {
    let (here, there) = tokio::io::duplex(1 << 16);
    let session = muxado::client(here, muxado::Config::default()).unwrap();
    (TypedSession::new(session), there)
}

async fn expect(peer: &mut DuplexStream, text: &str) {
    let expected = hex(text);
    let mut got = vec![0; expected.len()];
    peer.read_exact(&mut got).await.unwrap();
    assert_eq!(got, expected);
}

/// docs/wire U66: the type goes out at once, and what follows is data.
#[tokio::test]
async fn the_type_is_sent_at_once() {
    let (client, mut peer) = client();
    let mut stream = client.open_typed(StreamType(0xcafe_babe)).await.unwrap();
    expect(&mut peer, "000004 12 00000003 cafebabe").await;
    stream.write_all(b"hello").await.unwrap();
    expect(&mut peer, "000005 10 00000003 68656c6c6f").await;
    assert_eq!(stream.stream_type(), StreamType(0xcafe_babe));
}

/// docs/wire U70: a heartbeat that comes before this side's is made is no stream of the application.
#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_comes_early_is_answered() {
    let (server, mut peer) = server();
    peer.write_all(&hex("000008 12 00000003 ffffffff 01020304"))
        .await
        .unwrap();
    // Whoever would take it has taken it by then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let heartbeat = Heartbeat::new(server, HeartbeatConfig::default(), |_| {}).unwrap();
    let mut frame = [0; 12];
    while frame[3] != 0x10 {
        peer.read_exact(&mut frame).await.unwrap();
    }
    assert_eq!(frame[..], hex("000004 10 00000003 01020304"));
    drop(heartbeat);
}

/// docs/wire U66 to U68: types in pieces, streams without one before those that have one.
#[tokio::test]
async fn types_are_taken_however_they_come() {
    let (server, mut peer) = server();
    for bytes in [
        // Ends before its type; resets before it; never sends it.
        "000000 13 00000003",
        "000002 12 00000005 0102 000004 00 00000005 00000006",
        "000000 12 00000007",
        // In one frame with data; in two halves; one and three behind an empty SYN.
        "000006 12 00000009 cafebabe 6869",
        "000002 12 0000000b cafe 000004 10 0000000b babe 6869",
        "000000 12 0000000d 000001 10 0000000d ca 000005 10 0000000d febabe 6869",
    ] {
        peer.write_all(&hex(bytes)).await.unwrap();
    }
    let mut ids = Vec::new();
    for _ in 0..3 {
        let mut stream = server.accept_typed().await.unwrap().unwrap();
        assert_eq!(stream.stream_type(), StreamType(0xcafe_babe));
        let mut data = [0; 2];
        stream.read_exact(&mut data).await.unwrap();
        assert_eq!(&data, b"hi");
        ids.push(stream.id());
        stream.reset(0);
    }
    ids.sort_unstable();
    assert_eq!(ids, [9, 11, 13]);
    drop(peer);
    assert!(server.accept_typed().await.unwrap().is_none());
}

/// docs/wire U70, U73, U75: any four bytes are answered without the application; other types reach it.
#[tokio::test]
async fn heartbeats_are_answered_without_help() {
    let (server, mut peer) = server();
    let heartbeat = Heartbeat::new(server.clone(), HeartbeatConfig::default(), |_| {}).unwrap();
    peer.write_all(&hex("000004 12 00000003 ffffffff 000002 10 00000003 0102"))
        .await
        .unwrap();
    peer.write_all(&hex("000002 10 00000003 0304"))
        .await
        .unwrap();
    peer.write_all(&hex("000004 12 00000005 00000007"))
        .await
        .unwrap();
    let other = server.accept_typed().await.unwrap().unwrap();
    assert_eq!(other.stream_type(), StreamType(7));
    // Credit may come before, between or behind; the answer is one frame.
    let mut got = Vec::new();
    while !got
        .windows(12)
        .any(|window| window == hex("000004 10 00000003 01020304"))
    {
        let mut byte = [0];
        peer.read_exact(&mut byte).await.unwrap();
        got.push(byte[0]);
    }
    peer.write_all(&hex("000000 11 00000003")).await.unwrap();
    while !got.ends_with(&hex("000000 11 00000003")) {
        let mut byte = [0];
        peer.read_exact(&mut byte).await.unwrap();
        got.push(byte[0]);
    }
    drop(heartbeat);
}

fn pulses() -> (Arc<Mutex<Vec<Pulse>>>, impl Fn(Pulse) + Send + Sync) {
    let pulses = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&pulses);
    (pulses, move |pulse| told.lock().unwrap().push(pulse))
}

/// Reads the next beat of a peer's heartbeat stream: credit frames are skipped.
async fn next_beat(peer: &mut DuplexStream) -> [u8; 4] {
    loop {
        let mut frame = [0; 12];
        peer.read_exact(&mut frame).await.unwrap();
        if frame[3] == 0x10 {
            return [frame[8], frame[9], frame[10], frame[11]];
        }
    }
}

async fn answer(peer: &mut DuplexStream, beat: [u8; 4]) {
    let mut frame = hex("000004 10 00000003");
    frame.extend_from_slice(&beat);
    peer.write_all(&frame).await.unwrap();
}

/// docs/wire U69, U71: beats at their interval; a missing answer is told once; a late one revives.
#[tokio::test(start_paused = true)]
async fn a_missing_answer_is_told_once_and_a_late_one_revives() {
    let (client, mut peer) = client();
    let (told, handler) = pulses();
    let heartbeat = Heartbeat::new(client, HeartbeatConfig::default(), handler).unwrap();
    heartbeat.start().unwrap();
    assert_eq!(heartbeat.start(), Err(HeartbeatError::Started));
    expect(&mut peer, "000004 12 00000003 ffffffff").await;
    let beat = next_beat(&mut peer).await;
    assert!(beat[0] < 0x80);
    answer(&mut peer, beat).await;
    let beat = next_beat(&mut peer).await;
    assert!(matches!(told.lock().unwrap()[..], [Pulse::Alive(_)]));
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(matches!(
        told.lock().unwrap()[..],
        [Pulse::Alive(_), Pulse::TimedOut]
    ));
    answer(&mut peer, beat).await;
    next_beat(&mut peer).await;
    assert!(matches!(
        told.lock().unwrap()[..],
        [Pulse::Alive(_), Pulse::TimedOut, Pulse::Alive(_)]
    ));
}

/// docs/wire U72: another answer than the beat ends the heartbeat, and is told.
#[tokio::test(start_paused = true)]
async fn a_wrong_answer_is_told() {
    let (client, mut peer) = client();
    let (told, handler) = pulses();
    let heartbeat = Heartbeat::new(client, HeartbeatConfig::default(), handler).unwrap();
    heartbeat.start().unwrap();
    expect(&mut peer, "000004 12 00000003 ffffffff").await;
    next_beat(&mut peer).await;
    answer(&mut peer, [0xff; 4]).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(told.lock().unwrap()[..], [Pulse::Failed]);
}

/// docs/wire U74, U76: both ends at once, with times that change; a ping is a beat.
#[tokio::test(start_paused = true)]
async fn both_ends_send_heartbeats() {
    let (here, there) = tokio::io::duplex(1 << 16);
    let client = TypedSession::new(muxado::client(here, muxado::Config::default()).unwrap());
    let server = TypedSession::new(muxado::server(there, muxado::Config::default()).unwrap());
    assert!(matches!(
        client.session().ping().await,
        Err(PingError::Unsupported)
    ));
    let (told, handler) = pulses();
    let slow = HeartbeatConfig::default().interval(Duration::from_secs(100));
    let a = Heartbeat::new(client.clone(), slow, handler).unwrap();
    let b = Heartbeat::new(server, HeartbeatConfig::default(), |_| {}).unwrap();
    a.start().unwrap();
    b.start().unwrap();
    a.beat().await.unwrap();
    client.session().ping().await.unwrap();
    assert_eq!(told.lock().unwrap().len(), 2);
    assert_eq!(
        a.set_interval(Duration::ZERO),
        Err(HeartbeatError::ZeroInterval)
    );
    a.set_interval(Duration::from_secs(1)).unwrap();
    a.set_tolerance(Duration::from_secs(1));
    tokio::time::sleep(Duration::from_millis(10_500)).await;
    let count = told.lock().unwrap().len();
    assert!((11..=13).contains(&count), "{count}");
    drop(a);
    assert!(matches!(
        client.session().ping().await,
        Err(PingError::Unsupported)
    ));
}

/// docs/wire U71: whoever asks for a beat that is not answered is told so, and so is who asks meanwhile.
#[tokio::test(start_paused = true)]
async fn a_ping_that_is_not_answered_times_out() {
    let (client, mut peer) = client();
    let (told, handler) = pulses();
    let heartbeat = Heartbeat::new(client.clone(), HeartbeatConfig::default(), handler).unwrap();
    heartbeat.start().unwrap();
    let session = client.session();
    let (first, second) = tokio::time::timeout(Duration::from_secs(40), async {
        tokio::join!(session.ping(), session.ping())
    })
    .await
    .unwrap();
    assert!(matches!(first, Err(PingError::TimedOut)), "{first:?}");
    assert!(matches!(second, Err(PingError::TimedOut)), "{second:?}");
    assert_eq!(told.lock().unwrap()[..], [Pulse::TimedOut]);
    // While the answer is late; and when it has come, the next one counts.
    let third = tokio::time::timeout(Duration::from_secs(1), session.ping()).await;
    assert!(matches!(third, Ok(Err(PingError::TimedOut))), "{third:?}");
    // The beat was asked for at once, and left with the type.
    expect(&mut peer, "000008 12 00000003 ffffffff").await;
    let mut beat = [0; 4];
    peer.read_exact(&mut beat).await.unwrap();
    answer(&mut peer, beat).await;
    let (fourth, ()) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            session.ping().await
        },
        async {
            let beat = next_beat(&mut peer).await;
            answer(&mut peer, beat).await;
        }
    );
    assert!(fourth.is_ok(), "{fourth:?}");
}

/// Of two heartbeats the one that is left still answers pings.
#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_is_dropped_leaves_the_others_alone() {
    let (here, there) = tokio::io::duplex(1 << 16);
    let client = TypedSession::new(muxado::client(here, muxado::Config::default()).unwrap());
    let server = TypedSession::new(muxado::server(there, muxado::Config::default()).unwrap());
    let answering = Heartbeat::new(server, HeartbeatConfig::default(), |_| {}).unwrap();
    for first_goes in [true, false] {
        let heartbeat = || {
            let heartbeat =
                Heartbeat::new(client.clone(), HeartbeatConfig::default(), |_| {}).unwrap();
            heartbeat.start().unwrap();
            heartbeat
        };
        let (first, second) = (heartbeat(), heartbeat());
        let left = if first_goes {
            drop(first);
            second
        } else {
            drop(second);
            first
        };
        client.session().ping().await.unwrap();
        drop(left);
        assert!(matches!(
            client.session().ping().await,
            Err(PingError::Unsupported)
        ));
    }
    drop(answering);
}

/// docs/wire U68, U70: heartbeats without number hold up no other stream; all but a few are reset.
#[tokio::test(start_paused = true)]
async fn heartbeats_without_number_hold_up_nobody() {
    let (here, there) = tokio::io::duplex(1 << 16);
    let client = TypedSession::new(muxado::client(here, muxado::Config::default()).unwrap());
    let server = TypedSession::new(muxado::server(there, muxado::Config::default()).unwrap());
    let answering = Heartbeat::new(server.clone(), HeartbeatConfig::default(), |_| {}).unwrap();
    let mut beats = Vec::new();
    for _ in 0..300 {
        beats.push(client.open_typed(StreamType::HEARTBEAT).await.unwrap());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let stream = client.open_typed(StreamType(7)).await.unwrap();
    let other = tokio::time::timeout(Duration::from_secs(1), server.accept_typed())
        .await
        .unwrap();
    assert_eq!(other.unwrap().unwrap().stream_type(), StreamType(7));
    let mut answered = 0;
    for beat in &mut beats {
        if beat.write_all(&[1, 2, 3, 4]).await.is_ok() && beat.read_u32().await.is_ok() {
            answered += 1;
        }
    }
    assert_eq!(answered, 8);
    drop((stream, answering));
}

/// A stream that the peer does not take is no end of the session.
#[tokio::test(start_paused = true)]
async fn a_typed_stream_that_is_refused_is_not_the_sessions_end() {
    let (here, mut peer) = tokio::io::duplex(64);
    let config = muxado::Config::default().send_budget(1024);
    let session = muxado::client(here, config).unwrap();
    let client = TypedSession::new(session.clone());
    // Nothing more can be written, and so no type.
    let mut full = Vec::new();
    for _ in 0..20 {
        let mut stream = session.open().await.unwrap();
        let writing = stream.write_all(&[0; 1 << 20]);
        assert!(
            tokio::time::timeout(Duration::from_millis(10), writing)
                .await
                .is_err()
        );
        full.push(stream);
    }
    let opening = tokio::spawn({
        let client = client.clone();
        async move { client.open_typed(StreamType(7)).await }
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(!opening.is_finished());
    // The peer has seen the others, and accepts no more.
    peer.write_all(&hex("000008 30 00000000 00000007 00000000"))
        .await
        .unwrap();
    let result = opening.await.unwrap();
    assert!(
        matches!(result, Err(OpenError::RemoteNotAccepting)),
        "{result:?}"
    );
    assert!(session.close_reason().is_none());
}

/// After a close with a code, all ways to accept say the same.
#[tokio::test]
async fn accepting_ends_alike_behind_a_code() {
    let (server, _peer) = server();
    server.session().close_with(3, "x").await;
    assert!(matches!(server.session().accept().await, Ok(None)));
    assert!(matches!(server.accept_typed().await, Ok(None)));
}
