//! What a stream and a session are to others: chunks, listeners, the traits of futures, deadlines.

#![cfg(feature = "tokio")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and measure virtual time"
)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};
use towline_mux::{FrameInfo, FrameKind, Session, WriteError, muxado, yamux};

fn pair() -> (Session, Session) {
    let (here, there) = tokio::io::duplex(64 << 10);
    (
        yamux::client(here, yamux::Config::default()).unwrap(),
        yamux::server(there, yamux::Config::default()).unwrap(),
    )
}

/// The session's streams as a `Stream`, and each stream as a `Stream` and a `Sink`; both come to an end.
#[tokio::test]
async fn streams_are_streams_and_sinks() {
    let (client, server) = pair();
    let serving = tokio::spawn(async move {
        let mut incoming = server.incoming();
        let mut served = 0;
        while let Some(stream) = incoming.next().await {
            let mut chunks = stream.unwrap().into_chunks();
            while let Some(chunk) = chunks.next().await {
                chunks.feed(chunk.unwrap()).await.unwrap();
            }
            SinkExt::<Bytes>::close(&mut chunks).await.unwrap();
            served += 1;
        }
        served
    });
    for _ in 0..2 {
        let mut chunks = client.open().await.unwrap().into_chunks();
        for part in [&b"one "[..], b"two ", b"three"] {
            chunks.feed(Bytes::from_static(part)).await.unwrap();
        }
        SinkExt::<Bytes>::flush(&mut chunks).await.unwrap();
        SinkExt::<Bytes>::close(&mut chunks).await.unwrap();
        let mut got = Vec::new();
        while let Some(chunk) = chunks.next().await {
            got.extend_from_slice(&chunk.unwrap());
        }
        assert_eq!(got, b"one two three");
        // The end is told once, and again.
        assert!(chunks.next().await.is_none());
        drop(chunks.into_inner());
    }
    client.close().await.unwrap();
    assert_eq!(serving.await.unwrap(), 2);
}

/// A session where a listener is asked for.
#[tokio::test]
async fn a_session_listens() {
    let (client, server) = pair();
    let listener = server.into_listener();
    assert_eq!(listener.local_addr(), "yamux:local");
    let mut opened = client.try_open().unwrap().unwrap();
    opened.write_all(b"x").await.unwrap();
    let (mut stream, peer) = listener.accept().await.unwrap();
    assert_eq!(
        (peer.as_str(), stream.read_u8().await.unwrap()),
        ("yamux:remote", b'x')
    );
    let (client_side, server_side) = (
        (
            client.stream_count(),
            client.outbound_count(),
            client.inbound_count(),
        ),
        listener.session().inbound_count(),
    );
    assert_eq!((client_side, server_side), ((1, 1, 0), 1));
    let closing = tokio::spawn(async move { client.close().await });
    // However the session ended, a listener tells it by an error.
    assert!(listener.accept().await.is_err());
    drop(stream);
    closing.await.unwrap().unwrap();
}

/// A write deadline covers the wait for the peer's window, and the stream goes on when it is lifted.
#[tokio::test(start_paused = true)]
async fn a_write_deadline_covers_the_window() {
    let (client, server) = pair();
    let mut stream = client.open().await.unwrap();
    stream.set_deadline(Some(Instant::now() + Duration::from_secs(1)));
    let error = stream
        .write_chunk(Bytes::from(vec![0; 1 << 20]))
        .await
        .unwrap_err();
    assert!(matches!(error, WriteError::TimedOut), "{error}");
    let error = stream.write(b"x").await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    stream.set_deadline(None);
    let mut other = server.accept().await.unwrap().unwrap();
    let reading = tokio::spawn(async move {
        let mut all = Vec::new();
        other.read_to_end(&mut all).await.map(|_| all.len())
    });
    stream.write_all(b"last").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(reading.await.unwrap().unwrap(), (256 << 10) + 4);
}

/// A tap sees every frame of both ways, in words that are one line.
#[tokio::test]
async fn a_tap_sees_every_frame() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let tap = Arc::clone(&seen);
    let config = muxado::Config::default().tap(Arc::new(move |frame: &FrameInfo| {
        tap.lock().unwrap().push(*frame)
    }));
    let (here, there) = tokio::io::duplex(64 << 10);
    let client = muxado::client(here, config).unwrap();
    let server = muxado::server(there, muxado::Config::default()).unwrap();
    let mut stream = client.open().await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut other = server.accept().await.unwrap().unwrap();
    other.reset(7);
    assert!(stream.read_chunk().await.is_err());
    let seen = seen.lock().unwrap();
    assert_eq!(
        seen[0].to_string(),
        "write DATA stream 3 length 5 flags 0x2"
    );
    assert!(
        seen.iter()
            .any(|frame| frame.kind == FrameKind::Reset && !frame.sent && frame.length == 7)
    );
}

/// The traits of the crate `futures-io` do what tokio's do.
#[cfg(feature = "futures-io")]
#[tokio::test]
async fn the_traits_of_futures_io_are_there() {
    use std::{future::poll_fn, pin::Pin};

    use futures_io::{AsyncRead as _, AsyncWrite as _};

    let (client, server) = pair();
    let mut stream = client.open().await.unwrap();
    let written = poll_fn(|cx| Pin::new(&mut stream).poll_write(cx, b"hello"))
        .await
        .unwrap();
    poll_fn(|cx| futures_io::AsyncWrite::poll_flush(Pin::new(&mut stream), cx))
        .await
        .unwrap();
    poll_fn(|cx| Pin::new(&mut stream).poll_close(cx))
        .await
        .unwrap();
    let (mut read, _write) = server.accept().await.unwrap().unwrap().into_split();
    let (mut all, mut buffer) = (Vec::new(), [0; 3]);
    loop {
        match poll_fn(|cx| Pin::new(&mut read).poll_read(cx, &mut buffer))
            .await
            .unwrap()
        {
            0 => break,
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
    assert_eq!((written, &all[..]), (5, &b"hello"[..]));
}
