//! The same sockets, dialled.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::timeout;
use towline_server::{Client, CloseReason, SendError, Server, SocketStream};
use towline_transport::{ConnectError, Endpoint, ListenOptions, Listener};

use crate::support::{LONG, collect, echo, next, start, start_in_memory, tcp, until};

fn endpoint(server: &Server) -> Endpoint {
    server.handle().local()[0].parse().unwrap()
}

/// docs/wire L49.
#[tokio::test]
async fn a_dialled_socket_is_a_socket() {
    let server = start(Server::builder(), echo()).await;
    let client = Client::new(endpoint(&server));
    let mut stream = client.connect().await.unwrap();
    assert_eq!(stream.remote_address(), "127.0.0.1");
    // Through the queue, from elsewhere, more than fits at once.
    let socket = stream.socket().clone();
    let bytes = vec![7; 4 << 20];
    let sent = tokio::spawn({
        let bytes = bytes.clone();
        async move {
            socket.send(bytes).unwrap();
            socket.flushed().await.unwrap();
            socket
        }
    });
    let mut back = vec![0; bytes.len()];
    timeout(LONG, stream.read_exact(&mut back))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(back, bytes);
    let socket = sent.await.unwrap();
    assert_eq!(client.totals(), (4 << 20, 4 << 20));
    let ended = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ended);
    socket.on_close(move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
    });
    drop(stream);
    socket.close(CloseReason::Error);
    assert_eq!(
        (socket.closed().await, ended.load(Ordering::SeqCst)),
        (CloseReason::Server, 1)
    );
    assert_eq!(socket.send("x"), Err(SendError::Closed));
    until(|| server.metrics().connections == 0).await;
}

/// docs/wire L49.
#[tokio::test]
async fn what_goes_wrong_has_its_own_name() {
    let listener = tcp().await;
    let gone = listener.local_endpoint().clone();
    drop(listener);
    let refused = Client::new(gone).connect().await.unwrap_err();
    assert!(
        matches!(refused, ConnectError::Refused { .. }),
        "{refused:?}"
    );
    let unresolved = Client::new("tcp://no-such-host.invalid:1".parse().unwrap());
    let unresolved = unresolved.connect().await.unwrap_err();
    assert!(
        matches!(unresolved, ConnectError::Resolve { .. }),
        "{unresolved:?}"
    );
}

/// docs/wire L49: with a server that comes, goes and comes back.
#[tokio::test(start_paused = true)]
async fn a_client_comes_back_until_it_is_stopped() {
    let (strategy, mut sockets) = collect();
    let (server, endpoint) = start_in_memory(Server::builder(), strategy).await;
    let client =
        Client::new(endpoint.clone()).pauses(Duration::from_secs(1), Duration::from_secs(8));
    let hello = Arc::new(Notify::new());
    let kept = tokio::spawn({
        let (client, hello) = (client.clone(), Arc::clone(&hello));
        async move {
            let handler = |mut stream: SocketStream| {
                hello.notify_one();
                async move {
                    let mut rest = Vec::new();
                    // However it ends, there is a next time.
                    let _ended = stream.read_to_end(&mut rest).await;
                }
            };
            client.keep_connected(handler).await;
        }
    });
    for _ in 0..3 {
        hello.notified().await;
        next(&mut sockets).await.close(CloseReason::Server);
    }
    server.shutdown(LONG).await;
    tokio::time::sleep(60 * Duration::from_secs(1)).await;
    let listener = Listener::bind(&endpoint, &ListenOptions::new())
        .await
        .unwrap();
    let (strategy, mut sockets) = collect();
    let _server = Server::builder().start([listener], strategy).unwrap();
    let socket = next(&mut sockets).await;
    client.stop();
    kept.await.unwrap();
    assert_eq!(socket.closed().await, CloseReason::Client);
}

/// docs/wire L36, L39, L49: as at a server, what waits is written when the handler returns or is dropped, and a panic
/// ends its own connection.
#[tokio::test(start_paused = true)]
async fn what_a_kept_connection_has_sent_arrives_however_its_handler_ends() {
    let (strategy, mut sockets) = collect();
    let (_server, endpoint) = start_in_memory(Server::builder(), strategy).await;
    let client = Client::new(endpoint).pauses(LONG / 60, LONG);
    let kept = tokio::spawn({
        let (client, turn) = (client.clone(), AtomicUsize::new(0));
        async move {
            let handler = |stream: SocketStream| {
                // More than is on its way in memory.
                stream.send(vec![7; 1 << 20]).unwrap();
                let turn = turn.fetch_add(1, Ordering::SeqCst);
                async move {
                    match turn {
                        0 => {}
                        1 => panic!("as asked"),
                        _ => std::future::pending().await,
                    }
                }
            };
            client.keep_connected(handler).await;
        }
    });
    let first = next(&mut sockets).await;
    assert_eq!(first.closed().await, CloseReason::Client);
    assert_eq!(first.total_read(), 1 << 20);
    let panicked = next(&mut sockets).await;
    assert_eq!(panicked.closed().await, CloseReason::Client);
    let stopped = next(&mut sockets).await;
    client.stop();
    kept.await.unwrap();
    assert_eq!(stopped.closed().await, CloseReason::Client);
    assert_eq!(stopped.total_read(), 1 << 20);
}

/// docs/wire L49.
#[tokio::test]
async fn shutting_down_writes_what_waits_and_says_goodbye() {
    let (strategy, mut sockets) = collect();
    let server = start(Server::builder(), strategy).await;
    let mut stream = Client::new(endpoint(&server)).connect().await.unwrap();
    let socket = next(&mut sockets).await;
    stream.send(vec![7; 2 << 20]).unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(socket.closed().await, CloseReason::Client);
    assert_eq!(socket.total_read(), 2 << 20);
}
