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

/// Two ends of a session over TCP.
async fn tcp_pair(dialect: Dialect) -> (Session, Session) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (here, there) = tokio::join!(tokio::net::TcpStream::connect(address), listener.accept());
    let (here, (there, _)) = (here.unwrap(), there.unwrap());
    match dialect {
        Dialect::Yamux => (
            yamux::client(here, yamux::Config::default()).unwrap(),
            yamux::server(there, yamux::Config::default()).unwrap(),
        ),
        Dialect::Muxado => {
            let config = muxado::Config::default().accept_backlog(1000);
            (
                muxado::client(here, config.clone()).unwrap(),
                muxado::server(there, config).unwrap(),
            )
        }
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

/// docs/wire Y12: more than the backlog, so that most wait. The peer accepts one now and then, and each
/// place that becomes free must reach one of those who wait.
#[tokio::test(start_paused = true)]
async fn all_who_wait_to_open_have_their_turn() {
    const STREAMS: usize = 900;
    let (client, server) = pair(Dialect::Yamux, 1 << 16);
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..STREAMS {
        let client = client.clone();
        opening.spawn(async move { client.open().await.unwrap() });
    }
    let accepting = async {
        let mut accepted = Vec::new();
        for _ in 0..STREAMS {
            accepted.push(server.accept().await.unwrap().unwrap());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        accepted
    };
    let (opened, accepted) = tokio::time::timeout(Duration::from_secs(60), async {
        tokio::join!(opening.join_all(), accepting)
    })
    .await
    .expect("nobody waits for ever");
    assert_eq!((opened.len(), accepted.len()), (STREAMS, STREAMS));
}

/// docs/wire Y61, U50, U52, U53.
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

/// docs/wire U54, U79.
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

/// docs/wire Y33, U42.
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

/// docs/wire U64: what was written still leaves, then the transport closes.
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

/// docs/wire Y48: what has come is read behind the deadline, and is given back as credit.
#[tokio::test(start_paused = true)]
async fn a_deadline_holds_back_neither_data_nor_credit() {
    for dialect in DIALECTS {
        let (client, server) = pair(dialect, 1 << 20);
        let mut stream = client.open().await.unwrap();
        let writing = tokio::spawn(async move {
            stream.write_all(&noise(600_000, 1)).await.unwrap();
            stream
        });
        let mut other = server.accept().await.unwrap().unwrap();
        let now = tokio::time::Instant::now();
        other.set_read_deadline(Some(now));
        let mut got = Vec::new();
        while got.len() < 600_000 {
            match other.read_chunk().await {
                Ok(chunk) => got.extend_from_slice(&chunk.unwrap()),
                Err(ReadError::TimedOut) => tokio::task::yield_now().await,
                Err(error) => panic!("{dialect}: {error}"),
            }
        }
        assert!(got == noise(600_000, 1), "{dialect}");
        let mut stream = writing.await.unwrap();
        stream.set_write_deadline(Some(now));
        let error = stream.write_all(b"x").await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{dialect}");
        stream.set_deadline(None);
        stream.write_all(b"x").await.unwrap();
        other.set_read_deadline(None);
        assert_eq!(other.read_chunk().await.unwrap().unwrap(), "x", "{dialect}");
    }
}

/// docs/wire Y63, Y66, U55, U63: everything that waits returns, and the task ends.
#[tokio::test]
async fn aborting_returns_everything_that_waits() {
    for dialect in DIALECTS {
        let (client, server) = pair(dialect, 1 << 10);
        let mut tasks = Vec::new();
        for waits in 0..5 {
            let client = client.clone();
            tasks.push(tokio::spawn(async move {
                match waits {
                    0 => assert!(client.accept().await.unwrap().is_none()),
                    1 => {
                        let mut stream = client.open().await.unwrap();
                        stream.read_chunk().await.unwrap_err();
                    }
                    2 => {
                        let mut stream = client.open().await.unwrap();
                        stream.write_all(&[0; 1 << 20]).await.unwrap_err();
                    }
                    3 => drop(client.closed().await),
                    _ => {
                        // Open as many as the peer leaves unacknowledged, or allows.
                        let mut streams = Vec::new();
                        while let Ok(stream) = client.open().await {
                            streams.push(stream);
                        }
                    }
                }
            }));
        }
        tokio::task::yield_now().await;
        client.abort();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(client.is_closed() && client.open().await.is_err());
        assert!(client.ping().await.is_err());
        server.closed().await;
        assert_eq!((client.stream_count(), server.stream_count()), (0, 0));
    }
}

/// docs/wire Y12, Y69: futures that are dropped while they wait lose no stream, no place, no byte.
#[tokio::test]
async fn dropped_futures_lose_nothing() {
    let (here, there) = tokio::io::duplex(1 << 16);
    let config = || yamux::Config::default().accept_backlog(1);
    let client = yamux::client(here, config()).unwrap();
    let server = yamux::server(there, config()).unwrap();
    let first = client.open().await.unwrap();
    for _ in 0..10 {
        let mut opening = Box::pin(client.open());
        assert!(poll_once(opening.as_mut()).await.is_none());
        let mut accepting = Box::pin(client.accept());
        assert!(poll_once(accepting.as_mut()).await.is_none());
        let mut pinging = Box::pin(client.ping());
        assert!(poll_once(pinging.as_mut()).await.is_none());
    }
    let mut there = server.accept().await.unwrap().unwrap();
    let mut second = client.open().await.unwrap();
    assert_eq!((first.id(), second.id()), (1, 3));
    second.write_all(b"second").await.unwrap();
    let mut reading = Box::pin(there.read_chunk());
    assert!(poll_once(reading.as_mut()).await.is_none());
    drop(reading);
    let mut first = first;
    first.write_all(b"first").await.unwrap();
    assert_eq!(there.read_chunk().await.unwrap().unwrap(), "first");
    let mut there = server.accept().await.unwrap().unwrap();
    assert_eq!(there.read_chunk().await.unwrap().unwrap(), "second");
    client.ping().await.unwrap();
}

/// Polls a future once.
async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match future.as_mut().poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

/// docs/wire Y64: the transport takes nothing, and the session ends with the reason.
#[tokio::test(start_paused = true)]
async fn a_transport_that_takes_nothing_ends_the_session() {
    let (here, _there) = tokio::io::duplex(64);
    let client = yamux::client(here, yamux::Config::default()).unwrap();
    let mut stream = client.open().await.unwrap();
    let error = stream.write_all(&[0; 1 << 20]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert!(client.closed().await.local.is_timeout());
}

/// Over TCP, with two threads: what the halves of a stream, its chunks and its sink carry is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_over_tcp_carry_everything() {
    for dialect in DIALECTS {
        let (client, server) = tcp_pair(dialect).await;
        assert_eq!(client.peer_addr(), server.local_addr());
        echo(server);
        let mut tasks = Vec::new();
        for number in 0..50_usize {
            let client = client.clone();
            tasks.push(tokio::spawn(async move {
                let data = noise(number * 40_000, number);
                let (mut read, mut write) = client.open().await.unwrap().into_split();
                let sent = data.clone();
                let writing = tokio::spawn(async move {
                    write.write_all(&sent).await.unwrap();
                    write.flush().await.unwrap();
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
        client.close().await.unwrap();
    }
}

/// Streams that say one thing and rest; the last one is answered, and so the others have come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_at_rest_hold_nobody_up() {
    const STREAMS: u32 = 900;
    for dialect in DIALECTS {
        let (client, server) = tcp_pair(dialect).await;
        tokio::spawn(async move {
            let mut count = 0;
            while let Ok(Some(mut stream)) = server.accept().await {
                count += 1;
                let answers = count == STREAMS;
                tokio::spawn(async move {
                    let mut buffer = [0; 64];
                    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                        if answers {
                            stream.write_all(&buffer[..read]).await.unwrap();
                        }
                    }
                });
            }
        });
        let mut streams = Vec::new();
        for _ in 0..STREAMS {
            let mut stream = client.open().await.unwrap();
            stream.write_chunk(Bytes::from_static(b"x")).await.unwrap();
            streams.push(stream);
        }
        let last = streams.last_mut().unwrap();
        assert_eq!(last.read_u8().await.unwrap(), b'x', "{dialect}");
    }
}

/// docs/wire Y61, U50: a peer that leaves with most of it unread was not closed well.
#[tokio::test]
async fn closing_fails_when_the_peer_leaves_early() {
    for dialect in DIALECTS {
        let (here, mut there) = tokio::io::duplex(64);
        let session = match dialect {
            Dialect::Yamux => yamux::client(here, yamux::Config::default()).unwrap(),
            Dialect::Muxado => muxado::client(here, muxado::Config::default()).unwrap(),
        };
        let mut stream = session.open().await.unwrap();
        // Less than what is taken from the session at a time.
        stream.write_all(&[7; 1000]).await.unwrap();
        stream.shutdown().await.unwrap();
        let closing = tokio::spawn({
            let session = session.clone();
            async move { session.close().await }
        });
        let mut start = [0; 64];
        there.read_exact(&mut start).await.unwrap();
        drop(there);
        let result = closing.await.unwrap();
        assert!(result.is_err(), "{dialect} {result:?}");
        assert!(session.close().await.is_err());
    }
}
