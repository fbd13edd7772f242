//! Sessions whose streams are those of a QUIC connection (docs/wire F36).

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

mod keys;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use towline_identity::{Identity, Peer};
use towline_mux::muxado::{Heartbeat, HeartbeatConfig, StreamType, TypedSession};
use towline_mux::{
    CloseOutcome, OpenError, PingError, ReadError, Role, Session, SessionEnd, StreamEnd, WriteError,
};
use towline_transport::{
    AcceptError, ConnectError, ConnectOptions, Connection, Endpoint, ListenOptions, Listener,
    connect, connect_session,
};

use keys::{authority, identity};

/// Streams that either side may have open.
const STREAMS: usize = 128;

struct Ends {
    ada: Arc<Identity>,
    listener: Listener,
}

async fn ends() -> Ends {
    let authority = authority();
    let options = ListenOptions::new().identity(identity(&authority, "node"));
    let endpoint = "quic://127.0.0.1:0".parse().unwrap();
    Ends {
        ada: identity(&authority, "ada"),
        listener: Listener::bind(&endpoint, &options).await.unwrap(),
    }
}

impl Ends {
    fn endpoint(&self) -> &Endpoint {
        self.listener.local_endpoint()
    }

    fn options(&self) -> ConnectOptions {
        ConnectOptions::new().identity(Arc::clone(&self.ada))
    }

    /// Both ends of a session.
    async fn session(&self) -> (Session, Session) {
        let options = self.options();
        let dial = async { connect_session(self.endpoint(), &options).await.unwrap() };
        let serve = async {
            self.listener
                .accept()
                .await
                .unwrap()
                .session()
                .await
                .unwrap()
        };
        tokio::join!(dial, serve)
    }
}

#[tokio::test]
async fn either_end_opens_streams_and_ends_each_direction() {
    let ends = ends().await;
    let (client, server) = ends.session().await;
    assert_eq!((client.role(), server.role()), (Role::Client, Role::Server));
    assert_eq!(client.dialect(), None);
    assert_eq!(server.peer_addr(), client.local_addr());
    let peer = server.extension::<Peer>().unwrap();
    assert_eq!(peer.public_key(), Some(ends.ada.public_key()));
    for (from, to) in [(&client, &server), (&server, &client)] {
        let mut opened = from.open().await.unwrap();
        opened.write_all(b"question").await.unwrap();
        opened.shutdown().await.unwrap();
        assert!(matches!(
            opened.write_chunk(Bytes::from_static(b"more")).await,
            Err(WriteError::Closed)
        ));
        let mut accepted = to.accept().await.unwrap().unwrap();
        assert_eq!(accepted.id(), opened.id());
        assert_eq!((from.outbound_count(), to.inbound_count()), (1, 1));
        let mut text = String::new();
        accepted.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "question");
        // The other direction is still open.
        accepted
            .write_chunk(Bytes::from_static(b"answer"))
            .await
            .unwrap();
        accepted.close_write().unwrap();
        accepted.close_write().unwrap();
        assert_eq!(
            opened.read_chunk().await.unwrap(),
            Some(Bytes::from_static(b"answer"))
        );
        assert_eq!(opened.read_chunk().await.unwrap(), None);
        drop((opened, accepted));
        assert_eq!((from.stream_count(), to.stream_count()), (0, 0));
    }
    let stats = client.stats();
    assert_eq!((stats.streams_opened, stats.streams_accepted), (1, 1));
    assert!(stats.bytes_sent > 0 && stats.rtt.is_some());
}

#[tokio::test]
async fn many_streams_carry_much_at_once() {
    let ends = ends().await;
    let (client, server) = ends.session().await;
    let serving = tokio::spawn(async move {
        let mut incoming = server.incoming();
        while let Some(stream) = incoming.next().await {
            let (mut read, mut write) = stream.unwrap().into_split();
            tokio::spawn(async move {
                tokio::io::copy(&mut read, &mut write).await.unwrap();
                write.shutdown().await.unwrap();
            });
        }
    });
    let bytes: Arc<[u8]> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
    let mut tasks = tokio::task::JoinSet::new();
    // More than may be open at a time: `open` waits for its turn.
    for _ in 0..2 * STREAMS {
        let (client, bytes) = (client.clone(), Arc::clone(&bytes));
        tasks.spawn(async move {
            let (mut read, mut write) = client.open().await.unwrap().into_split();
            let sending = Arc::clone(&bytes);
            let send = async move {
                write.write_all(&sending).await.unwrap();
                write.shutdown().await.unwrap();
            };
            let mut back = Vec::new();
            let ((), read) = tokio::join!(send, read.read_to_end(&mut back));
            read.unwrap();
            assert!(back == bytes[..]);
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    assert_eq!(client.close().await.unwrap(), CloseOutcome::Acknowledged);
    serving.await.unwrap();
}

#[tokio::test]
async fn a_reset_has_its_code_at_both_ends() {
    let ends = ends().await;
    let (client, server) = ends.session().await;
    let mut opened = client.open().await.unwrap();
    opened.write_all(b"x").await.unwrap();
    let mut accepted = server.accept().await.unwrap().unwrap();
    assert_eq!(accepted.read_u8().await.unwrap(), b'x');
    opened.reset(77);
    assert!(matches!(
        accepted.read_chunk().await,
        Err(ReadError::Ended(StreamEnd::ResetByPeer(77)))
    ));
    let written = loop {
        match accepted.write_chunk(Bytes::from_static(b"y")).await {
            Ok(()) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(written, WriteError::Ended(StreamEnd::ResetByPeer(77))),
        "{written}"
    );
    let here = (opened.read_chunk().await, opened.close_write());
    assert!(
        matches!(
            here,
            (
                Err(ReadError::Ended(StreamEnd::ResetHere(77))),
                Err(WriteError::Ended(StreamEnd::ResetHere(77)))
            )
        ),
        "{here:?}"
    );
}

/// A peer never takes half a message for a whole one.
#[tokio::test]
async fn dropping_a_stream_that_was_not_ended_resets_it() {
    let ends = ends().await;
    let (client, server) = ends.session().await;
    let mut opened = client.open().await.unwrap();
    opened.write_all(b"half").await.unwrap();
    let mut accepted = server.accept().await.unwrap().unwrap();
    let mut half = [0; 4];
    accepted.read_exact(&mut half).await.unwrap();
    drop(opened);
    assert!(matches!(
        accepted.read_chunk().await,
        Err(ReadError::Ended(StreamEnd::ResetByPeer(0)))
    ));
    // Who gives up reading tells who writes; the other direction goes on.
    let mut opened = client.open().await.unwrap();
    opened.write_all(b"x").await.unwrap();
    let mut accepted = server.accept().await.unwrap().unwrap();
    accepted.close_read();
    assert!(matches!(
        accepted.read_chunk().await,
        Err(ReadError::Closed)
    ));
    while opened.write_chunk(Bytes::from_static(b"y")).await.is_ok() {
        tokio::task::yield_now().await;
    }
    accepted.write_all(b"z").await.unwrap();
    assert_eq!(opened.read_u8().await.unwrap(), b'z');
}

#[expect(
    clippy::disallowed_methods,
    reason = "deadlines are of the time it has"
)]
#[tokio::test]
async fn a_slow_reader_holds_up_its_own_stream_only() {
    let ends = ends().await;
    let (client, server) = ends.session().await;
    let mut slow = Vec::new();
    // Each with all its window on the way, more than a connection's of single streams would take.
    for _ in 0..12 {
        let mut stream = client.open().await.unwrap();
        stream.set_write_deadline(Some(Instant::now() + Duration::from_millis(100)));
        let mut sent = 0;
        let full = loop {
            match stream.write_chunk(Bytes::from_static(&[7; 64 << 10])).await {
                Ok(()) => sent += 64 << 10,
                Err(error) => break error,
            }
        };
        assert!(matches!(full, WriteError::TimedOut), "{full}");
        assert!(sent <= (2 << 20) + (8 << 20), "{sent}");
        stream.set_write_deadline(None);
        let accepted = server.accept().await.unwrap().unwrap();
        slow.push((stream, accepted, sent));
    }
    let mut quick = client.open().await.unwrap();
    quick.write_all(&[1; 1000]).await.unwrap();
    quick.shutdown().await.unwrap();
    let mut back = Vec::new();
    let mut accepted = server.accept().await.unwrap().unwrap();
    accepted.read_to_end(&mut back).await.unwrap();
    assert_eq!(back.len(), 1000);
    // And the slow ones lose nothing.
    for (mut stream, mut accepted, sent) in slow {
        stream.shutdown().await.unwrap();
        let mut back = Vec::new();
        accepted.read_to_end(&mut back).await.unwrap();
        assert!(back.len() >= sent && back.iter().all(|byte| *byte == 7));
    }
}

#[tokio::test]
async fn as_many_streams_as_the_other_side_allows() {
    let ends = ends().await;
    let (client, server) = ends.session().await;
    let mut streams = Vec::new();
    while let Some(mut stream) = client.try_open().unwrap() {
        stream.write_all(b"x").await.unwrap();
        streams.push(stream);
    }
    assert_eq!(streams.len(), STREAMS);
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.open().await.map(drop) }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    // Those that have ended in both directions make room, an eighth of them at a time.
    for mut opened in streams.drain(..STREAMS / 4) {
        opened.shutdown().await.unwrap();
        let mut accepted = server.accept().await.unwrap().unwrap();
        accepted.read_to_end(&mut Vec::new()).await.unwrap();
        accepted.shutdown().await.unwrap();
        opened.read_to_end(&mut Vec::new()).await.unwrap();
    }
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn closing_waits_until_the_peer_has_everything() {
    let ends = ends().await;
    let (client, server) = ends.session().await;
    let bytes = vec![5; 1 << 20];
    let mut stream = client.open().await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let closing = tokio::spawn({
        let client = client.clone();
        async move { client.close().await }
    });
    let mut accepted = server.accept().await.unwrap().unwrap();
    let mut back = Vec::new();
    accepted.read_to_end(&mut back).await.unwrap();
    assert!(back == bytes);
    assert_eq!(closing.await.unwrap().unwrap(), CloseOutcome::Acknowledged);
    assert!(matches!(
        client.open().await,
        Err(OpenError::Session(SessionEnd::ClosedHere))
    ));
    assert!(client.is_closed());
    assert!(server.accept().await.unwrap().is_none());
    assert!(matches!(
        server.closed().await.local,
        SessionEnd::ClosedByPeer
    ));
    assert_eq!(server.close().await.unwrap(), CloseOutcome::PeerEnded);
}

#[tokio::test]
async fn dropping_the_last_handle_closes_with_everything_sent() {
    let ends = ends().await;
    let (client, server) = ends.session().await;
    let mut stream = client.open().await.unwrap();
    stream.write_all(&[9; 100_000]).await.unwrap();
    stream.shutdown().await.unwrap();
    drop((stream, client));
    let mut accepted = server.accept().await.unwrap().unwrap();
    let mut back = Vec::new();
    accepted.read_to_end(&mut back).await.unwrap();
    assert_eq!(back.len(), 100_000);
    assert!(server.accept().await.unwrap().is_none());
}

#[tokio::test]
async fn a_code_and_a_text_reach_the_peer() {
    let ends = ends().await;
    let (client, server) = ends.session().await;
    let mut stream = client.open().await.unwrap();
    stream.write_all(b"x").await.unwrap();
    let mut accepted = server.accept().await.unwrap().unwrap();
    assert_eq!(accepted.read_u8().await.unwrap(), b'x');
    client.close_with(42, "enough").await;
    let gone = server.closed().await;
    assert!(
        matches!(&gone.local, SessionEnd::GoneAway { code: 42, debug } if debug == "enough"),
        "{gone:?}"
    );
    assert_eq!(gone.remote.unwrap().code, 42);
    assert!(matches!(
        accepted.read_chunk().await,
        Err(ReadError::Session(SessionEnd::GoneAway { code: 42, .. }))
    ));
    assert!(server.accept().await.is_err());
    assert!(matches!(
        client.closed().await.local,
        SessionEnd::ClosedWithCode(42)
    ));
    assert!(client.accept().await.unwrap().is_none());
}

#[tokio::test]
async fn who_has_gone_away_refuses_new_streams_and_keeps_those_there_are() {
    let ends = ends().await;
    let (client, server) = ends.session().await;
    let mut kept = client.open().await.unwrap();
    kept.write_all(b"x").await.unwrap();
    let mut accepted = server.accept().await.unwrap().unwrap();
    server.go_away().await.unwrap();
    let mut refused = client.open().await.unwrap();
    refused.write_all(b"y").await.unwrap();
    assert!(matches!(
        refused.read_chunk().await,
        Err(ReadError::Ended(StreamEnd::ResetByPeer(_)))
    ));
    accepted.write_all(b"z").await.unwrap();
    assert_eq!(kept.read_u8().await.unwrap(), b'z');
    // And may open some itself.
    let mut own = server.open().await.unwrap();
    own.write_all(b"o").await.unwrap();
    let mut there = client.accept().await.unwrap().unwrap();
    assert_eq!(there.read_u8().await.unwrap(), b'o');
}

#[expect(
    clippy::disallowed_methods,
    reason = "deadlines are of the time it has"
)]
#[tokio::test]
async fn deadlines_pass_and_the_stream_lives_on() {
    let ends = ends().await;
    let (client, server) = ends.session().await;
    let mut stream = client.open().await.unwrap();
    stream.write_all(b"x").await.unwrap();
    stream.set_read_deadline(Some(Instant::now() + Duration::from_millis(5)));
    assert!(matches!(
        stream.read_chunk().await,
        Err(ReadError::TimedOut)
    ));
    stream.set_read_deadline(None);
    let mut accepted = server.accept().await.unwrap().unwrap();
    accepted.write_all(b"late").await.unwrap();
    let mut late = [0; 4];
    stream.read_exact(&mut late).await.unwrap();
    assert_eq!(&late, b"late");
}

#[tokio::test]
async fn typed_streams_and_heartbeats_work_where_pings_do_not() {
    let ends = ends().await;
    let (client, server) = ends.session().await;
    assert!(matches!(client.ping().await, Err(PingError::Unsupported)));
    assert!(matches!(
        client.open_eager().await,
        Err(OpenError::CannotAnnounce)
    ));
    let (client, server) = (TypedSession::new(client), TypedSession::new(server));
    let config = HeartbeatConfig::default();
    let _answering = Heartbeat::new(server.clone(), config, |_| {}).unwrap();
    let heartbeat = Heartbeat::new(client.clone(), config, |_| {}).unwrap();
    heartbeat.start().unwrap();
    client.session().ping().await.unwrap();
    let mut typed = client.open_typed(StreamType(7)).await.unwrap();
    typed.write_all(b"x").await.unwrap();
    let accepted = server.accept_typed().await.unwrap().unwrap();
    assert_eq!(accepted.stream_type(), StreamType(7));
}

/// A listener that takes each stream for a connection serves the streams of a session.
#[tokio::test]
async fn streams_of_a_session_are_connections_to_a_plain_listener() {
    let ends = ends().await;
    let options = ends.options();
    let client = async {
        let session = connect_session(ends.endpoint(), &options).await.unwrap();
        let mut streams = Vec::new();
        for number in 0..3 {
            let mut stream = session.open().await.unwrap();
            stream.write_u8(number).await.unwrap();
            streams.push(stream);
        }
        for (number, stream) in (0..3).zip(&mut streams) {
            assert_eq!(stream.read_u8().await.unwrap(), number);
        }
    };
    let server = async {
        let mut connections = Vec::new();
        for number in 0..3 {
            let incoming = ends.listener.accept().await.unwrap();
            let mut connection = incoming.handshake().await.unwrap();
            assert_eq!(connection.read_u8().await.unwrap(), number);
            connection.write_u8(number).await.unwrap();
            connections.push(connection);
        }
        connections
    };
    let ((), connections) = tokio::join!(client, server);
    assert_eq!(connections.len(), 3);
}

#[tokio::test]
async fn what_is_no_session_is_refused_and_says_why() {
    let ends = ends().await;
    let url = format!("{}?psk=/nowhere", ends.endpoint());
    let sealed = connect_session(&url.parse().unwrap(), &ends.options()).await;
    let error = sealed.unwrap_err();
    assert!(
        matches!(error, ConnectError::SealedStreams { .. }),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("yamux+"));
    let endpoint = "mem://no-session".parse().unwrap();
    let listener = Listener::bind(&endpoint, &ListenOptions::new())
        .await
        .unwrap();
    let dial = async { connect(&endpoint, &ConnectOptions::new()).await.unwrap() };
    let serve = async { listener.accept().await.unwrap().session().await };
    let (_connection, served): (Connection, _) = tokio::join!(dial, serve);
    let error = served.unwrap_err();
    assert!(
        matches!(error, AcceptError::NotMultiplexed { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_lost_connection_ends_everything() {
    let ends = ends().await;
    let (client, server) = ends.session().await;
    let mut stream = client.open().await.unwrap();
    stream.write_all(b"x").await.unwrap();
    let mut accepted = server.accept().await.unwrap().unwrap();
    client.abort();
    let lost = timeout(Duration::from_secs(10), server.closed()).await;
    assert!(lost.is_ok());
    assert_eq!(accepted.read_u8().await.unwrap(), b'x');
    assert!(accepted.read_chunk().await.is_err());
    assert!(stream.read_chunk().await.is_err());
    assert!(matches!(
        server.open().await,
        Err(OpenError::Session(SessionEnd::ClosedByPeer))
    ));
}
