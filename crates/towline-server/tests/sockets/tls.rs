//! Sockets over TLS.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use towline_server::{CloseReason, Server, SocketStream, TaskPerConnection, WorkerPool};
use towline_transport::{ConnectOptions, Connection, ListenOptions, Listener, Stream, connect};

use crate::support::{dial, echo_reads, hangs_up, start, tls_listener as listener, until};

async fn echoes(client: &mut Connection, bytes: &[u8]) -> bool {
    client.write_all(bytes).await.unwrap();
    client.flush().await.unwrap();
    let mut back = vec![0; bytes.len()];
    client.read_exact(&mut back).await.unwrap();
    back == bytes
}

/// docs/wire L37: counters count what the application sees, and the peer is who it has proven to be.
#[tokio::test]
async fn tls_is_served_by_every_strategy() {
    for threads in [0, 1] {
        let (listener, options) = listener(Duration::from_secs(20)).await;
        let endpoint = listener.local_endpoint().clone();
        let strategy = WorkerPool::new(echo_reads()).threads(threads).build();
        let server = Server::builder()
            .start([listener], strategy.unwrap())
            .unwrap();
        let mut client = connect(&endpoint, &options).await.unwrap();
        assert!(echoes(&mut client, b"hi").await);
        let socket = server.sockets().remove(0);
        assert_eq!((socket.total_read(), socket.total_written()), (2, 2));
        assert!(socket.peer().public_key().is_some());
        assert!(echoes(&mut client, &[7; 300_000]).await);
        client.shutdown().await.unwrap();
        assert_eq!(socket.closed().await, CloseReason::Client);
        assert!(!socket.is_truncated());
    }
}

/// docs/wire L37: in the original one such client takes a core for ever.
#[tokio::test]
async fn plain_text_silence_and_broken_records_end_their_connection_alone() {
    let (listener, options) = listener(Duration::from_millis(200)).await;
    let endpoint = listener.local_endpoint().clone();
    let strategy = WorkerPool::new(echo_reads()).build().unwrap();
    let server = Server::builder().start([listener], strategy).unwrap();
    let mut good = connect(&endpoint, &options).await.unwrap();
    let mut plain = dial(&server).await;
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    // An alert, or a reset if it comes too late for that.
    let _read = plain.read_to_end(&mut said).await;
    let mut silent = dial(&server).await;
    assert!(hangs_up(&mut silent).await);
    until(|| server.counters().handshake_failures == 2).await;
    assert!(echoes(&mut good, b"still here").await);
    until(|| server.counters().active == 1).await;
    // The task of a connection ends with it: nothing goes on reading from a dead one.
    let reads = server.metrics().read_events;
    drop(good);
    until(|| server.metrics().goroutines == 0).await;
    assert_eq!(server.metrics().read_events, reads);
}

/// docs/wire L37: a broken record, an end inside a record and a reset end their connection; the original goes on
/// reading from it for ever.
#[tokio::test]
async fn broken_records_end_their_connection() {
    let bad_record: &[u8] = &[0x17, 3, 3, 0, 5, 1, 2, 3, 4, 5];
    let half_a_record: &[u8] = &[0x17, 3, 3, 0, 50, 1, 2];
    for (said, reset, reason) in [
        (bad_record, false, CloseReason::Error),
        (half_a_record, false, CloseReason::Client),
        (half_a_record, true, CloseReason::Client),
    ] {
        let (listener, options) = listener(Duration::from_secs(20)).await;
        let strategy = WorkerPool::new(echo_reads()).build().unwrap();
        let server = Server::builder().start([listener], strategy).unwrap();
        // Somebody in the middle.
        let middle = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("tls://{}", middle.local_addr().unwrap());
        let endpoint = endpoint.parse().unwrap();
        let mut to_server = dial(&server).await;
        let met = tokio::sync::Notify::new();
        let (client, accepted) = tokio::join!(
            async {
                let mut client = connect(&endpoint, &options).await.unwrap();
                assert!(echoes(&mut client, b"hello").await);
                met.notify_one();
                client
            },
            async {
                let (mut to_client, _) = middle.accept().await.unwrap();
                let relay = tokio::io::copy_bidirectional(&mut to_client, &mut to_server);
                tokio::select! {
                    ended = relay => panic!("{ended:?}"),
                    () = met.notified() => {}
                }
                to_client
            }
        );
        let socket = server.sockets().remove(0);
        to_server.write_all(said).await.unwrap();
        if reset {
            socket2::SockRef::from(&to_server)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        }
        drop(to_server);
        assert_eq!(socket.closed().await, reason);
        until(|| server.metrics().goroutines == 0).await;
        drop((client, accepted));
    }
}

/// docs/wire L38: a TCP connection that ends without a goodbye is an end, and it can be told.
#[tokio::test]
async fn an_end_without_a_goodbye_is_told_from_one_with() {
    let (listener, options) = listener(Duration::from_secs(20)).await;
    let endpoint = listener.local_endpoint().clone();
    let strategy = WorkerPool::new(echo_reads()).build().unwrap();
    let server = Server::builder().start([listener], strategy).unwrap();
    let mut client = connect(&endpoint, &options).await.unwrap();
    assert!(echoes(&mut client, b"hi").await);
    let socket = server.sockets().remove(0);
    // Dropped without a shutdown: rustls says nothing.
    drop(client);
    assert_eq!(socket.closed().await, CloseReason::Client);
    assert!(socket.is_truncated());
}

/// docs/wire L47: the original spins for ever on a TLS connection whose write has timed out.
#[tokio::test]
async fn a_tls_client_that_pauses_gets_everything_in_order_when_it_reads_again() {
    let (listener, options) = listener(Duration::from_secs(20)).await;
    let endpoint = listener.local_endpoint().clone();
    let strategy = TaskPerConnection::new(|stream: SocketStream| async move {
        for number in 0..200u32 {
            let message = number.to_be_bytes().repeat(10_000);
            stream.send_when_ready(message).await.unwrap();
        }
    });
    let server = Server::builder()
        .linger(Duration::from_secs(60))
        .start([listener], strategy)
        .unwrap();
    let mut client = connect(&endpoint, &options).await.unwrap();
    until(|| {
        let sockets = server.sockets();
        sockets
            .first()
            .is_some_and(|socket| socket.queued() > 900_000)
    })
    .await;
    let mut message = vec![0; 40_000];
    for number in 0..200u32 {
        client.read_exact(&mut message).await.unwrap();
        assert!(message == number.to_be_bytes().repeat(10_000));
    }
}

/// docs/wire L41.
#[tokio::test]
async fn the_stream_of_a_tls_socket_can_be_taken_out() {
    let (listener, options) = listener(Duration::from_secs(20)).await;
    let endpoint = listener.local_endpoint().clone();
    let strategy = TaskPerConnection::new(|stream: SocketStream| async move {
        let Ok(Stream::Other(mut io)) = stream.into_inner() else {
            panic!("it was a TLS stream");
        };
        io.write_all(b"secret").await.unwrap();
        io.shutdown().await.unwrap();
    });
    let _server = Server::builder().start([listener], strategy).unwrap();
    let mut client = connect(&endpoint, &options).await.unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "secret");
}

/// docs/wire L40.
#[cfg(unix)]
#[tokio::test]
async fn unix_sockets_are_served_and_have_names() {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = format!("unix://{}/s", dir.path().display())
        .parse()
        .unwrap();
    let listener = Listener::bind(&endpoint, &ListenOptions::new())
        .await
        .unwrap();
    let strategy = WorkerPool::new(echo_reads()).threads(1).build().unwrap();
    let server = Server::builder().start([listener], strategy).unwrap();
    let mut client = connect(&endpoint, &ConnectOptions::new()).await.unwrap();
    assert!(echoes(&mut client, b"hello").await);
    let socket = server.sockets().remove(0);
    assert!(socket.remote_address().ends_with("/s@1"), "{socket:?}");
    drop(client);
    assert_eq!(socket.closed().await, CloseReason::Client);
    // The same limits as everybody.
    let tcp = start(
        Server::builder(),
        WorkerPool::new(echo_reads()).build().unwrap(),
    )
    .await;
    assert!(tcp.handle().local_addr().is_some() && server.handle().local_addr().is_none());
}
