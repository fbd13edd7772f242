//! Starting, stopping, waiting, aborting.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use towline_server::{
    CloseReason, Packets, Server, Socket, SocketStream, TaskPerConnection, WorkerPool, packet_fn,
};
use towline_transport::{Endpoint, ListenOptions, Listener};

use crate::support::{
    LONG, collect, dial, echo, echo_reads, echoes, hangs_up, lines, next, start, tcp, until,
};

/// docs/wire L30: the original closes the first of its clients only.
#[tokio::test]
async fn a_shutdown_ends_every_client_and_leaves_nothing_behind() {
    for threads in [0, 2] {
        let strategy = WorkerPool::new(echo_reads()).threads(threads).build();
        let server = start(Server::builder(), strategy.unwrap()).await;
        let handle = server.handle();
        let address = handle.local_addr().unwrap();
        let mut clients = Vec::new();
        for _ in 0..20 {
            let mut client = dial(&server).await;
            assert!(echoes(&mut client, "hello").await);
            clients.push(client);
        }
        let drained = server.shutdown(LONG).await;
        assert_eq!((drained.finished, drained.cut_off), (20, 0));
        for mut client in clients {
            assert!(hangs_up(&mut client).await);
        }
        assert!(TcpStream::connect(address).await.is_err());
        assert_eq!(handle.metrics().goroutines, 0);
        assert!(handle.sockets().is_empty());
    }
}

/// docs/wire L31: a connection in the middle of a packet gets the time to finish it.
#[tokio::test]
async fn a_packet_under_way_is_finished_while_the_server_stops() {
    let echo = packet_fn(|socket, packet| async move {
        socket.send_packet(&lines(), &packet).unwrap();
    });
    let strategy = WorkerPool::new(Packets::new(lines(), 80, echo)).build();
    let server = start(Server::builder(), strategy.unwrap()).await;
    let (mut busy, mut idle) = (dial(&server).await, dial(&server).await);
    busy.write_all(b"half a ").await.unwrap();
    until(|| server.metrics().total_read == 7).await;
    until(|| server.metrics().connections == 2).await;
    let stopping = server.stopping();
    let stopped = tokio::spawn(server.shutdown(LONG));
    stopping.cancelled().await;
    assert!(hangs_up(&mut idle).await);
    busy.write_all(b"packet\n").await.unwrap();
    let mut back = String::new();
    busy.read_to_string(&mut back).await.unwrap();
    assert_eq!(back, "half a packet\n");
    assert_eq!(stopped.await.unwrap().cut_off, 0);
}

/// docs/wire L31.
#[tokio::test]
async fn handlers_that_do_not_end_are_dropped_at_the_deadline_and_their_clients_reset() {
    let (strategy, mut sockets) = collect();
    let server = start(Server::builder(), strategy).await;
    let mut client = dial(&server).await;
    let socket = next(&mut sockets).await;
    let drained = server.shutdown(Duration::from_millis(20)).await;
    assert_eq!(drained.cut_off, 1);
    assert_eq!(socket.close_reason(), Some(CloseReason::Shutdown));
    let mut byte = [0];
    let reset = client.read(&mut byte).await.unwrap_err();
    assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);
}

/// docs/wire L32: from handlers, hooks and several tasks at once: no deadlock and no panic.
#[tokio::test]
async fn a_server_can_be_asked_to_stop_from_anywhere() {
    let asked = Arc::new(Notify::new());
    let notify = Arc::clone(&asked);
    let strategy = TaskPerConnection::new(move |mut stream: SocketStream| {
        let notify = Arc::clone(&notify);
        async move {
            let mut byte = [0];
            if stream.read_exact(&mut byte).await.is_ok() {
                notify.notify_one();
                stream.socket().closed().await;
            }
        }
    });
    let server = start(Server::builder(), strategy).await;
    let handle = server.handle();
    let mut client = dial(&server).await;
    until(|| server.sockets().len() == 1).await;
    let from_hook = handle.clone();
    server.sockets()[0].on_close(move |_, _| {
        from_hook.stop();
        assert!(from_hook.sockets().is_empty());
    });
    let waiting = tokio::spawn(server.wait());
    client.write_all(b"x").await.unwrap();
    asked.notified().await;
    let several: Vec<_> = (0..8)
        .map(|_| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.stop() })
        })
        .collect();
    for one in several {
        one.await.unwrap();
    }
    handle.sockets()[0].close(CloseReason::Server);
    assert!(timeout(LONG, waiting).await.unwrap().unwrap().is_ok());
    handle.stop();
}

/// docs/wire L32.
#[tokio::test]
async fn the_first_reason_for_an_abort_is_what_waiting_returns() {
    let server = start(Server::builder(), echo()).await;
    let handle = server.handle();
    handle.abort("the disk is full");
    handle.abort("later");
    let error = server.wait().await.unwrap_err();
    assert!(error.to_string().contains("the disk is full"), "{error}");
}

/// docs/wire L30: the original panics, and leaves a task behind each time.
#[tokio::test]
async fn starting_and_stopping_a_thousand_times_leaks_nothing() {
    let listener = tcp().await;
    let endpoint: Endpoint = listener.local_endpoint().clone();
    drop(listener);
    let before = descriptors();
    for turn in 0..1000 {
        let listener = Listener::bind(&endpoint, &ListenOptions::new())
            .await
            .unwrap();
        let server = Server::builder().start([listener], echo()).unwrap();
        if turn % 100 == 0 {
            let mut client = dial(&server).await;
            assert!(echoes(&mut client, "hello").await);
        }
        server.shutdown(LONG).await;
    }
    // Other tests of this program open sockets as well, but not a thousand.
    assert!(descriptors() < before + 500);
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// docs/wire L30.
#[tokio::test]
async fn dropping_the_server_ends_its_sockets() {
    let (strategy, mut sockets) = collect();
    let server = start(Server::builder(), strategy).await;
    let mut client = dial(&server).await;
    let socket = next(&mut sockets).await;
    drop(server);
    assert_eq!(socket.closed().await, CloseReason::Shutdown);
    assert!(hangs_up(&mut client).await);
}

/// docs/wire L30: the same for connections that wait at a pool's workers, whose memory goes with them.
#[tokio::test]
async fn dropping_the_server_ends_what_waits_in_a_pool() {
    for threads in [0, 1, 2] {
        let handler = Packets::new(lines(), 1 << 10, packet_fn(|_, _| std::future::ready(())));
        let strategy = WorkerPool::new(handler).threads(threads).build().unwrap();
        let server = start(Server::builder(), strategy).await;
        let mut clients = [dial(&server).await, dial(&server).await];
        clients[0].write_all(b"whole\nhalf of").await.unwrap();
        until(|| server.metrics().packets == 1 && server.sockets().len() == 2).await;
        let sockets: Vec<_> = server.sockets().iter().map(Socket::downgrade).collect();
        drop(server);
        for mut client in clients {
            assert!(hangs_up(&mut client).await);
        }
        until(|| sockets.iter().all(|socket| socket.upgrade().is_none())).await;
    }
}

/// The same when the runtime itself ends.
#[test]
fn a_runtime_that_ends_takes_a_pools_connections_with_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (server, client) = runtime.block_on(async {
        let strategy = WorkerPool::new(echo_reads()).build().unwrap();
        let server = start(Server::builder(), strategy).await;
        let mut client = dial(&server).await;
        assert!(echoes(&mut client, "hello").await);
        (server, client.into_std().unwrap())
    });
    let socket = server.sockets().remove(0).downgrade();
    drop(runtime);
    drop(server);
    assert!(socket.upgrade().is_none());
    client.set_nonblocking(false).unwrap();
    let read = std::io::Read::read(&mut &client, &mut [0]);
    assert!(read.is_err() || read.is_ok_and(|count| count == 0));
}
