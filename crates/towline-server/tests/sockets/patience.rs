//! Handlers that wait, for their peers and for their group: who waits takes nobody else's place. In memory, where
//! 256 KiB are on their way at most, and in virtual time unless several threads are needed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, timeout};
use towline_server::{
    Broadcaster, Packets, Server, SlowConsumer, Socket, WorkerPool, packet_fn, read_fn,
};
use towline_transport::Connection;

use crate::support::{LONG, join, lines, start_in_memory};

const SECOND: Duration = Duration::from_secs(1);

/// Sends without reading until nothing more is taken; how much was.
async fn stall(client: &mut Connection) -> usize {
    let mut sent = 0;
    while let Ok(count) = timeout(SECOND, client.write(&[b'x'; 4096])).await {
        sent += count.unwrap();
    }
    sent
}

async fn is_echoed(client: &mut Connection, text: &[u8]) -> bool {
    client.write_all(text).await.unwrap();
    let mut back = vec![0; text.len()];
    let read = timeout(LONG, client.read_exact(&mut back)).await;
    read.is_ok_and(|read| read.is_ok()) && back == text
}

/// docs/wire L44, L45: and when they have room again, no more of them go on at once than allowed.
#[tokio::test(start_paused = true)]
async fn peers_that_do_not_read_take_nobody_elses_turn() {
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let echo = {
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        read_fn(move |socket: Socket, bytes| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            async move {
                if socket.send_when_ready(bytes).await.is_err() {
                    return;
                }
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                for _ in 0..10 {
                    yield_now().await;
                }
                running.fetch_sub(1, Ordering::SeqCst);
            }
        })
    };
    let strategy = WorkerPool::new(echo).max_handlers(1).build().unwrap();
    let builder = Server::builder().max_queued(1024).write_timeout(None);
    let (server, endpoint) = start_in_memory(builder, strategy).await;
    let mut stalled = Vec::new();
    for _ in 0..3 {
        let mut client = join(&endpoint).await;
        let sent = stall(&mut client).await;
        stalled.push((client, sent));
    }
    let mut good = join(&endpoint).await;
    assert!(is_echoed(&mut good, b"served").await);
    // Nothing is lost of those who read in the end.
    let mut readers = JoinSet::new();
    for (mut client, sent) in stalled {
        readers.spawn(async move {
            let mut back = vec![0; sent];
            let read = timeout(LONG, client.read_exact(&mut back)).await;
            assert_eq!(read.unwrap().unwrap(), sent);
        });
    }
    while let Some(read) = readers.join_next().await {
        read.unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
    // Those who left while they waited take nothing with them.
    for _ in 0..3 {
        let mut client = join(&endpoint).await;
        stall(&mut client).await;
    }
    sleep(SECOND).await;
    assert!(is_echoed(&mut good, b"still").await);
    assert_eq!(server.metrics().connections, 1);
}

/// docs/wire L44: a peer that does not read is waited for by others as well.
#[tokio::test(start_paused = true)]
async fn waiting_for_somebody_elses_peer_takes_nobodys_turn_either() {
    let told: Arc<std::sync::Mutex<Option<Socket>>> = Arc::default();
    let relay = packet_fn(move |socket: Socket, packet: bytes::Bytes| {
        let told = Arc::clone(&told);
        async move {
            let other = told.lock().unwrap().clone();
            match (&packet[..], other) {
                (b"tell me", _) => *told.lock().unwrap() = Some(socket),
                (b"echo", _) => drop(socket.send("echo\n").unwrap()),
                (_, Some(other)) => {
                    other.send_when_ready(packet).await.unwrap();
                }
                (_, None) => unreachable!("somebody listens"),
            }
        }
    });
    let strategy = WorkerPool::new(Packets::new(lines(), 1 << 20, relay))
        .max_handlers(1)
        .build()
        .unwrap();
    let builder = Server::builder().max_queued(1024).write_timeout(None);
    let (_server, endpoint) = start_in_memory(builder, strategy).await;
    let mut deaf = join(&endpoint).await;
    deaf.write_all(b"tell me\n").await.unwrap();
    sleep(SECOND).await;
    let mut speaker = join(&endpoint).await;
    let line = [&[b'x'; 300_000][..], b"\n"].concat();
    for _ in 0..2 {
        let said = timeout(SECOND, speaker.write_all(&line)).await;
        assert!(said.is_ok_and(|said| said.is_ok()));
    }
    sleep(SECOND).await;
    let mut good = join(&endpoint).await;
    assert!(is_echoed(&mut good, b"echo\n").await);
}

/// docs/wire L44, L47: nor does a broadcast so large that several tasks send it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_the_slow_ones_of_a_large_broadcast_takes_nobodys_turn() {
    const TARGETS: usize = 2000;
    const SIZE: usize = 1000;
    let (tell, mut told) = mpsc::channel(1);
    let handler = packet_fn(move |socket: Socket, packet: bytes::Bytes| {
        let tell = tell.clone();
        async move {
            if &packet[..] == b"echo" {
                socket.send("echo\n").unwrap();
                return;
            }
            let news = Broadcaster::new()
                .slow_consumer(SlowConsumer::Block)
                .max_queued(1);
            let sent = news
                .broadcast(vec![b'x'; SIZE], vec![socket; TARGETS])
                .await;
            tell.send(sent.written + sent.queued).await.unwrap();
        }
    });
    let strategy = WorkerPool::new(Packets::new(lines(), 1 << 20, handler))
        .max_handlers(1)
        .build()
        .unwrap();
    let (_server, endpoint) = start_in_memory(Server::builder(), strategy).await;
    let mut deaf = join(&endpoint).await;
    deaf.write_all(b"all\n").await.unwrap();
    // Its handler is at work.
    deaf.read_exact(&mut [0]).await.unwrap();
    let mut good = join(&endpoint).await;
    assert!(is_echoed(&mut good, b"echo\n").await);
    let mut rest = vec![0; TARGETS * SIZE - 1];
    let read = timeout(LONG, deaf.read_exact(&mut rest)).await;
    read.unwrap().unwrap();
    assert_eq!(told.recv().await, Some(TARGETS));
}

/// docs/wire L44, L45: whoever waits for its group holds neither a turn nor a buffer.
#[tokio::test(start_paused = true)]
async fn a_stuck_group_takes_no_turns_from_the_others() {
    let stuck = Arc::new(Notify::new());
    let handler = {
        let stuck = Arc::clone(&stuck);
        read_fn(move |socket, bytes| {
            let stuck = Arc::clone(&stuck);
            async move {
                if &bytes[..] == b"wait" {
                    stuck.notified().await;
                }
                socket.send(bytes).unwrap();
            }
        })
    };
    let strategy = WorkerPool::new(handler)
        .max_pool_size(3)
        .max_handlers(2)
        .build()
        .unwrap();
    let (server, endpoint) = start_in_memory(Server::builder(), strategy).await;
    let mut group = Vec::new();
    for _ in 0..3 {
        group.push(join(&endpoint).await);
        sleep(SECOND).await;
    }
    group[0].write_all(b"wait").await.unwrap();
    sleep(SECOND).await;
    for client in &mut group[1..] {
        client.write_all(b"held up").await.unwrap();
    }
    sleep(SECOND).await;
    assert_eq!(server.metrics().buffers_in_use, 1);
    let mut other = join(&endpoint).await;
    assert!(is_echoed(&mut other, b"free").await);
    stuck.notify_one();
    for client in &mut group[1..] {
        let mut back = [0; 7];
        client.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"held up");
    }
}
