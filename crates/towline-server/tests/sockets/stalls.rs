//! Peers that take nothing, in virtual time, and in memory: 256 KiB are on their way then.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use towline_server::{CloseReason, Pushed, Server, Socket, SocketStream, TaskPerConnection};

use crate::support::{LONG, join, next, start_in_memory};

const SECOND: Duration = Duration::from_secs(1);
/// What a connection in memory holds.
const PIPE: usize = 256 * 1024;

/// Gives its sockets to the test; like TLS they hold back up to 64 KiB.
fn hold_back() -> (TaskPerConnection, mpsc::UnboundedReceiver<Socket>) {
    let (sender, sockets) = mpsc::unbounded_channel();
    let strategy = TaskPerConnection::new(move |stream: SocketStream| {
        let sender = sender.clone();
        async move {
            let wrapped = stream.wrap(|io| Box::new(BufStream::with_capacity(1024, 64 * 1024, io)));
            let mut stream = wrapped.unwrap();
            sender.send(stream.socket().clone()).unwrap();
            while let Ok(1..) = stream.read(&mut [0; 1024]).await {}
        }
    });
    (strategy, sockets)
}

/// docs/wire L47: writing and reading share a task, which is woken by each byte that comes.
#[tokio::test(start_paused = true)]
async fn a_write_that_waits_is_tried_again_only_when_there_is_room() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&tries);
    let strategy = TaskPerConnection::new(move |stream: SocketStream| {
        let counter = Arc::clone(&counter);
        async move {
            let (mut reader, mut writer) = tokio::io::split(stream);
            let writing = async {
                let bytes = vec![b'x'; 2 * PIPE];
                let mut write = std::pin::pin!(writer.write_all(&bytes));
                let tried = std::future::poll_fn(|cx| {
                    let tried = counter.fetch_add(1, Ordering::Relaxed);
                    assert!(tried < 1000, "it wakes itself");
                    write.as_mut().poll(cx)
                });
                tried.await.unwrap();
                writer.shutdown().await.unwrap();
            };
            let reading = async { while let Ok(1..) = reader.read(&mut [0; 16]).await {} };
            tokio::join!(writing, reading);
        }
    });
    let (server, endpoint) = start_in_memory(Server::builder(), strategy).await;
    let mut client = join(&endpoint).await;
    for _ in 0..5 {
        client.write_all(b"x").await.unwrap();
        sleep(SECOND).await;
    }
    // join! polls both whenever one is woken.
    assert!(tries.load(Ordering::Relaxed) <= 10, "{tries:?}");
    let mut all = vec![0; 2 * PIPE];
    timeout(LONG, client.read_exact(&mut all))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(server.metrics().closed.by(CloseReason::WriteTimeout), 0);
}

/// docs/wire L42.
#[tokio::test(start_paused = true)]
async fn a_stream_whose_write_makes_no_progress_is_cut_off() {
    let (sender, mut sockets) = mpsc::unbounded_channel();
    let strategy = TaskPerConnection::new(move |mut stream: SocketStream| {
        sender.send(stream.socket().clone()).unwrap();
        async move { while stream.write_all(&[b'x'; 1000]).await.is_ok() {} }
    });
    let builder = Server::builder().write_timeout(10 * SECOND);
    let (_server, endpoint) = start_in_memory(builder, strategy).await;
    let mut client = join(&endpoint).await;
    let socket = next(&mut sockets).await;
    // Slow is not stuck.
    for _ in 0..10 {
        sleep(6 * SECOND).await;
        client.read_exact(&mut [0; 1000]).await.unwrap();
    }
    assert_eq!(socket.close_reason(), None);
    let closed = timeout(20 * SECOND, socket.closed()).await;
    assert_eq!(closed.unwrap(), CloseReason::WriteTimeout);
}

/// docs/wire L42: who has given up writing does not wait any more.
#[tokio::test(start_paused = true)]
async fn a_write_that_was_given_up_is_no_reason_to_end_once_there_is_room() {
    let (sender, mut sockets) = mpsc::unbounded_channel();
    let strategy = TaskPerConnection::new(move |mut stream: SocketStream| {
        sender.send(stream.socket().clone()).unwrap();
        async move {
            let bytes = vec![b'x'; PIPE + 1];
            assert!(timeout(SECOND, stream.write_all(&bytes)).await.is_err());
            while let Ok(1..) = stream.read(&mut [0; 16]).await {}
        }
    });
    let builder = Server::builder().write_timeout(10 * SECOND);
    let (_server, endpoint) = start_in_memory(builder, strategy).await;
    let mut client = join(&endpoint).await;
    let socket = next(&mut sockets).await;
    sleep(3 * SECOND).await;
    client.read_exact(&mut [0; 1000]).await.unwrap();
    assert!(timeout(LONG, socket.closed()).await.is_err());
}

/// docs/wire L42.
#[tokio::test(start_paused = true)]
async fn what_a_layer_holds_back_has_a_time_limit_too() {
    let (strategy, mut sockets) = hold_back();
    let builder = Server::builder().write_timeout(10 * SECOND);
    let (_server, endpoint) = start_in_memory(builder, strategy).await;
    let _client = join(&endpoint).await;
    let socket = next(&mut sockets).await;
    socket.send(vec![b'x'; PIPE]).unwrap();
    // Too little to fill the layer, again and again.
    let sending = async {
        loop {
            socket.send("ping").unwrap();
            sleep(3 * SECOND).await;
        }
    };
    let closed = tokio::select! {
        closed = timeout(20 * SECOND, socket.closed()) => closed,
        () = sending => unreachable!("it sends for ever"),
    };
    assert_eq!(closed.unwrap(), CloseReason::WriteTimeout);
}

/// docs/wire L46.
#[tokio::test(start_paused = true)]
async fn written_and_flushed_mean_that_no_layer_holds_anything() {
    let (strategy, mut sockets) = hold_back();
    let (_server, endpoint) = start_in_memory(Server::builder(), strategy).await;
    let mut client = join(&endpoint).await;
    let socket = next(&mut sockets).await;
    assert_eq!(socket.send(vec![b'x'; PIPE]), Ok(Pushed::Written));
    socket.flushed().await.unwrap();
    assert_eq!(socket.send("more"), Ok(Pushed::Queued));
    assert!(timeout(SECOND, socket.flushed()).await.is_err());
    client.read_exact(&mut [0; 4]).await.unwrap();
    timeout(LONG, socket.flushed()).await.unwrap().unwrap();
}
