//! Sessions over tokio, in both dialects.

#![cfg(feature = "tokio")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and measure virtual time"
)]

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use towline_mux::{CloseOutcome, Dialect, PingError, ReadError, Session, StreamEnd, muxado, yamux};

const DIALECTS: [Dialect; 2] = [Dialect::Yamux, Dialect::Muxado];

/// Two ends of a session over a pipe of this capacity.
fn pair(dialect: Dialect, capacity: usize) -> (Session, Session) {
    let (here, there): (DuplexStream, DuplexStream) = tokio::io::duplex(capacity);
    match dialect {
        Dialect::Yamux => (
            yamux::client(here, yamux::Config::default()).unwrap(),
            yamux::server(there, yamux::Config::default()).unwrap(),
        ),
        Dialect::Muxado => (
            muxado::client(here, muxado::Config::default()).unwrap(),
            muxado::server(there, muxado::Config::default()).unwrap(),
        ),
    }
}

/// Answers every stream with what it sends.
fn echo(session: Session) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while let Ok(Some(mut stream)) = session.accept().await {
            tokio::spawn(async move {
                while let Ok(Some(chunk)) = stream.read_chunk().await {
                    stream.write_chunk(chunk).await.unwrap();
                }
                stream.shutdown().await.unwrap();
            });
        }
    })
}

fn noise(len: usize, salt: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at.wrapping_mul(31) ^ (at >> 8) ^ salt) as u8)
        .collect()
}

#[tokio::test]
async fn many_streams_echo_over_a_narrow_pipe() {
    for dialect in DIALECTS {
        let (client, server) = pair(dialect, 1 << 10);
        echo(server);
        let mut tasks = Vec::new();
        for number in 0..20 {
            let client = client.clone();
            tasks.push(tokio::spawn(async move {
                let stream = client.open().await.unwrap();
                let data = noise(200_000 + number * 1000, number);
                let (mut read, mut write) = stream.into_split();
                let sent = data.clone();
                let writing = tokio::spawn(async move {
                    write.write_all(&sent).await.unwrap();
                    write.shutdown().await.unwrap();
                    write
                });
                let mut got = Vec::new();
                read.read_to_end(&mut got).await.unwrap();
                assert!(got == data, "{dialect} {number}");
                drop(writing.await.unwrap());
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(client.stream_count(), 0, "{dialect}");
    }
}

#[tokio::test]
async fn closing_says_how_it_knows() {
    let (client, _server) = pair(Dialect::Yamux, 1 << 16);
    let mut stream = client.open().await.unwrap();
    stream.write_all(b"last words").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(client.close().await.unwrap(), CloseOutcome::Acknowledged);

    let (client, server) = pair(Dialect::Muxado, 1 << 16);
    let waiting = tokio::spawn({
        let server = server.clone();
        async move { server.closed().await }
    });
    assert_eq!(client.close().await.unwrap(), CloseOutcome::PeerEnded);
    let termination = waiting.await.unwrap();
    let remote = termination.remote.unwrap();
    assert_eq!((remote.code, &remote.debug[..]), (0, &b"no error"[..]));
    assert!(termination.local.is_clean());
}

#[tokio::test(start_paused = true)]
async fn closing_towards_a_mute_peer_ends_in_time() {
    for dialect in DIALECTS {
        let (here, _there) = tokio::io::duplex(1 << 16);
        let session = match dialect {
            Dialect::Yamux => yamux::client(here, yamux::Config::default()).unwrap(),
            Dialect::Muxado => muxado::client(here, muxado::Config::default()).unwrap(),
        };
        let start = tokio::time::Instant::now();
        assert_eq!(session.close().await.unwrap(), CloseOutcome::TimedOut);
        assert!(start.elapsed() <= Duration::from_secs(10), "{dialect}");
        assert_eq!(session.close().await.unwrap(), CloseOutcome::TimedOut);
    }
}

#[tokio::test]
async fn a_reset_carries_its_code() {
    for dialect in DIALECTS {
        let (client, server) = pair(dialect, 1 << 16);
        let mut stream = client.open_eager().await.unwrap();
        let mut other = server.accept().await.unwrap().unwrap();
        stream.reset(42);
        match other.read_chunk().await {
            Err(ReadError::Ended(StreamEnd::ResetByPeer(42))) => {}
            result => panic!("{dialect}: {result:?}"),
        }
        match stream.read_chunk().await {
            Err(ReadError::Ended(StreamEnd::ResetHere(42))) => {}
            result => panic!("{dialect}: {result:?}"),
        }
    }
}

#[tokio::test]
async fn pings_are_answered_or_not_supported() {
    let (client, _server) = pair(Dialect::Yamux, 1 << 16);
    client.ping().await.unwrap();
    assert!(client.rtt().is_some());
    let (client, _server) = pair(Dialect::Muxado, 1 << 16);
    assert!(matches!(client.ping().await, Err(PingError::Unsupported)));
}

#[tokio::test]
async fn a_dropped_stream_is_not_a_clean_end() {
    for dialect in DIALECTS {
        let (client, server) = pair(dialect, 1 << 16);
        let mut stream = client.open().await.unwrap();
        stream
            .write_chunk(Bytes::from_static(b"half"))
            .await
            .unwrap();
        stream.flush().await.unwrap();
        let mut other = server.accept().await.unwrap().unwrap();
        drop(stream);
        let mut got = Vec::new();
        let error = other.read_to_end(&mut got).await.unwrap_err();
        assert_eq!(
            error.kind(),
            std::io::ErrorKind::ConnectionReset,
            "{dialect}"
        );
        assert_eq!(got, b"half", "{dialect}");
    }
}

#[tokio::test]
async fn dropping_every_handle_ends_the_session() {
    for dialect in DIALECTS {
        let (client, server) = pair(dialect, 1 << 16);
        let mut stream = client.open().await.unwrap();
        drop(client);
        stream.write_all(b"still here").await.unwrap();
        stream.shutdown().await.unwrap();
        drop(stream);
        let mut other = server.accept().await.unwrap().unwrap();
        let mut got = Vec::new();
        other.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"still here", "{dialect}");
        drop(other);
        assert!(server.accept().await.unwrap().is_none(), "{dialect}");
        assert!(server.closed().await.local.is_clean(), "{dialect}");
    }
}
