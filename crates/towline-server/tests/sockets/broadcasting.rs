//! One message for many sockets.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use towline_server::{Broadcaster, CloseReason, Group, Pushed, Server, SlowConsumer, Socket};

use crate::support::{LONG, collect, dial, dial_narrow, join, next, start, start_in_memory, until};

async fn audience(
    server: &Server,
    sockets: &mut mpsc::UnboundedReceiver<Socket>,
    count: usize,
    narrow: bool,
) -> (Vec<TcpStream>, Vec<Socket>) {
    let (mut clients, mut targets) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let client = if narrow {
            dial_narrow(server).await
        } else {
            dial(server).await
        };
        clients.push(client);
        targets.push(next(sockets).await);
    }
    (clients, targets)
}

/// A numbered message of any length.
fn message(number: u32, len: usize) -> Bytes {
    let mut message = Vec::with_capacity(len + 8);
    message.extend((len as u32).to_be_bytes());
    message.extend(number.to_be_bytes());
    message.resize(len + 8, number as u8);
    message.into()
}

async fn read_message(client: &mut (impl AsyncRead + Unpin)) -> u32 {
    let len = client.read_u32().await.unwrap() as usize;
    let number = client.read_u32().await.unwrap();
    let mut body = vec![0; len];
    client.read_exact(&mut body).await.unwrap();
    assert!(body.iter().all(|byte| *byte == number as u8), "{number}");
    number
}

/// docs/wire L46, L47: messages of all sizes, mixed with direct ones, arrive whole and in order at everybody. In the original
/// the bytes of two messages mix after a partial write, and lists that change lose the order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_arrive_whole_and_in_order_while_others_come_and_go() {
    let (strategy, mut sockets) = collect();
    let server = start(Server::builder().max_queued(64 << 20), strategy).await;
    let (clients, targets) = audience(&server, &mut sockets, 50, false).await;
    let mut readers = JoinSet::new();
    for mut client in clients {
        readers.spawn(async move {
            for expected in 0..40 {
                assert_eq!(read_message(&mut client).await, expected);
            }
        });
    }
    let news = Broadcaster::new().max_queued(64 << 20);
    for number in 0..40u32 {
        let len = [1, 100, 5_000, 300_000][number as usize % 4];
        let message = message(number, len);
        if number % 3 == 0 {
            for socket in &targets {
                socket.send(message.clone()).unwrap();
            }
        } else {
            // The list changes from message to message.
            let mut list = targets.clone();
            list.rotate_left(number as usize % 50);
            let (passing, socket) = (dial(&server).await, next(&mut sockets).await);
            list.insert(number as usize % 50, socket);
            drop(passing);
            let report = news.broadcast(message, list).await;
            assert!(report.written + report.queued >= 50, "{report:?}");
        }
    }
    while let Some(done) = timeout(LONG, readers.join_next()).await.unwrap() {
        done.unwrap();
    }
}

/// docs/wire L47: at the 33rd slow client the original's worker waits for itself, for ever.
#[tokio::test]
async fn slow_clients_hold_up_nobody_and_are_disconnected() {
    let (strategy, mut sockets) = collect();
    let server = start(Server::builder(), strategy).await;
    let (_stalled, mut targets) = audience(&server, &mut sockets, 40, true).await;
    let (clients, healthy) = audience(&server, &mut sockets, 60, false).await;
    targets.extend(healthy.iter().cloned());
    let mut readers = JoinSet::new();
    for mut client in clients {
        readers.spawn(async move {
            for expected in 0..100 {
                assert_eq!(read_message(&mut client).await, expected);
            }
        });
    }
    let news = Broadcaster::new().max_queued(256 * 1024);
    let mut disconnected = 0;
    for number in 0..100 {
        let sent = news.broadcast(message(number, 60_000), targets.clone());
        let report = timeout(LONG, sent).await.unwrap();
        disconnected += report.disconnected;
        assert!(
            targets
                .iter()
                .all(|socket| socket.queued() <= 256 * 1024 + 60_008)
        );
        for socket in &healthy {
            socket.flushed().await.unwrap();
        }
    }
    while let Some(done) = timeout(LONG, readers.join_next()).await.unwrap() {
        done.unwrap();
    }
    assert_eq!(disconnected, 40);
    assert_eq!(server.metrics().closed.by(CloseReason::SlowConsumer), 40);
}

/// docs/wire L47: each policy keeps whole messages, and the one that is under way.
#[tokio::test]
async fn policies_drop_whole_messages_of_their_kind() {
    for policy in [
        SlowConsumer::DropNewest,
        SlowConsumer::DropOldest,
        SlowConsumer::Latest,
    ] {
        let (strategy, mut sockets) = collect();
        let server = start(Server::builder(), strategy).await;
        let (mut clients, targets) = audience(&server, &mut sockets, 1, true).await;
        let news = Broadcaster::new().slow_consumer(policy).max_queued(1 << 20);
        let (mut dropped, total) = (0, 300);
        for number in 0..total {
            dropped += news
                .broadcast(message(number, 50_000), targets.clone())
                .await
                .dropped;
        }
        assert!(dropped > 0, "{policy:?}");
        assert!(targets[0].queued() <= (1 << 20) + 50_008);
        // What is sent directly afterwards works as before.
        assert!(matches!(
            targets[0].send(message(total, 1)),
            Ok(Pushed::Queued)
        ));
        let mut came = Vec::new();
        loop {
            let number = timeout(LONG, read_message(&mut clients[0])).await.unwrap();
            came.push(number);
            if number == total {
                break;
            }
        }
        assert!(came.is_sorted(), "{policy:?}: {came:?}");
        assert_eq!(came[0], 0, "what was under way was finished");
        let last = came[came.len() - 2];
        match policy {
            SlowConsumer::DropNewest => assert!(last < total - 1, "{came:?}"),
            _ => assert_eq!(last, total - 1, "{policy:?}: {came:?}"),
        }
        assert_eq!(targets[0].close_reason(), None);
    }
}

/// docs/wire L47.
#[tokio::test]
async fn a_broadcast_that_blocks_waits_for_its_slowest_reader() {
    let (strategy, mut sockets) = collect();
    let server = start(Server::builder(), strategy).await;
    let (mut clients, targets) = audience(&server, &mut sockets, 1, true).await;
    let news = Broadcaster::new()
        .slow_consumer(SlowConsumer::Block)
        .max_queued(100_000);
    let sender = tokio::spawn(async move {
        let mut report = (0, 0);
        for number in 0..200 {
            let sent = news
                .broadcast(message(number, 50_000), targets.clone())
                .await;
            report = (
                report.0 + sent.written + sent.queued,
                report.1 + sent.dropped,
            );
        }
        report
    });
    for expected in 0..200 {
        assert_eq!(
            timeout(LONG, read_message(&mut clients[0])).await.unwrap(),
            expected
        );
    }
    assert_eq!(sender.await.unwrap(), (200, 0));
}

/// docs/wire L48: the original's stop is ignored by whoever is at work.
#[tokio::test]
async fn a_stopped_broadcaster_sends_nothing_more_and_says_what_waits() {
    let (strategy, mut sockets) = collect();
    let server = start(Server::builder(), strategy).await;
    let (_clients, targets) = audience(&server, &mut sockets, 1, true).await;
    let news = Broadcaster::new().max_queued(64 << 20);
    news.broadcast(vec![7; 16 << 20], targets.clone()).await;
    let waits = news.stop(&targets, Duration::from_millis(20)).await;
    assert!(waits > 0);
    let report = news.broadcast("x", targets.clone()).await;
    assert!(report.stopped && report.written == 0);
    targets[0].close(CloseReason::Server);
    assert_eq!(news.stop(&targets, LONG).await, 0);
}

/// docs/wire L47.
#[tokio::test]
async fn members_of_a_group_hear_the_same_in_the_same_order_until_they_leave() {
    let (strategy, mut sockets) = collect();
    let server = start(Server::builder(), strategy).await;
    let room = Group::new(Broadcaster::new());
    let (mut clients, members) = audience(&server, &mut sockets, 3, false).await;
    assert!(members.iter().all(|socket| room.join(socket)));
    assert!(!room.join(&members[0]));
    let (first, second) = tokio::join!(room.send(message(1, 9)), room.send(message(2, 9)));
    assert_eq!((first.written, second.written), (3, 3));
    let (report, flushed) = Broadcaster::new()
        .broadcast_and_flush(message(3, 9), room.sockets(), LONG)
        .await;
    assert_eq!((report.written, flushed), (3, 3));
    assert_eq!(
        room.send_except(message(4, 9), &members[0]).await.written,
        2
    );
    let mut orders = Vec::new();
    for (number, client) in clients.iter_mut().enumerate() {
        let count = if number == 0 { 3 } else { 4 };
        let mut order = Vec::new();
        for _ in 0..count {
            order.push(read_message(client).await);
        }
        orders.push(order);
    }
    assert_eq!(
        (orders[0].clone(), &orders[1][..3]),
        (vec![1, 2, 3], &[1, 2, 3][..])
    );
    assert_eq!(orders[1], orders[2]);
    // Gone with its connection, or when told.
    clients.pop();
    until(|| room.len() == 2).await;
    assert!(room.leave(&members[0]) && !room.leave(&members[0]));
    assert!(room.contains(&members[1]));
    assert_eq!(room.send(message(5, 9)).await.written, 1);
    members[1].close(CloseReason::Server);
    assert!(room.is_empty() && !room.join(&members[1]) && room.is_empty());
}

/// Many targets are shared out among tasks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_targets_are_served_by_several_tasks() {
    let (strategy, mut sockets) = collect();
    let (_server, endpoint) = start_in_memory(Server::builder(), strategy).await;
    let (mut clients, mut targets) = (Vec::new(), Vec::new());
    for _ in 0..1500 {
        clients.push(join(&endpoint).await);
        targets.push(next(&mut sockets).await);
    }
    let report = Broadcaster::new().broadcast(message(1, 100), targets).await;
    assert_eq!(report.written, 1500);
    for client in &mut clients {
        assert_eq!(read_message(client).await, 1);
    }
}
