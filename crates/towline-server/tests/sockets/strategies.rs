//! Task per connection, the worker pool, strategies of one's own.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use towline_server::{
    CloseReason, Packets, PoolConfigError, ReadHandler, Server, Socket, SocketStream, Strategy,
    TaskPerConnection, WorkerPool, packet_fn, read_fn,
};

use crate::support::{dial, echo, echo_reads, echoes, hangs_up, lines, start, until};

/// docs/wire L43, L44.
#[tokio::test]
async fn every_strategy_serves_many_connections_at_once() {
    let pools = || WorkerPool::new(echo_reads());
    let servers = [
        start(Server::builder(), echo()).await,
        start(Server::builder(), TaskPerConnection::reading(echo_reads())).await,
        start(Server::builder(), pools().build().unwrap()).await,
        start(Server::builder(), pools().threads(2).build().unwrap()).await,
        start(
            Server::builder(),
            pools().max_pool_size(8).read_buffer(7).build().unwrap(),
        )
        .await,
    ];
    for server in servers {
        let mut clients = JoinSet::new();
        for number in 0..50 {
            let mut client = dial(&server).await;
            clients.spawn(async move {
                for turn in 0..20 {
                    assert!(echoes(&mut client, &format!("{number}:{turn} hello")).await);
                }
            });
        }
        while let Some(done) = clients.join_next().await {
            done.unwrap();
        }
        until(|| server.metrics().goroutines == 0).await;
        let metrics = server.metrics();
        assert_eq!((metrics.connections, metrics.buffers_in_use), (0, 0));
        assert_eq!(metrics.closed.by(CloseReason::Client), 50);
        assert_eq!(metrics.total_read, metrics.total_written);
        let drained = server.shutdown(Duration::from_secs(10)).await;
        assert_eq!(drained.cut_off, 0);
    }
}

/// docs/wire L36.
#[tokio::test]
async fn a_handler_that_panics_ends_its_own_connection_alone() {
    let strategies: [Box<dyn Fn() -> Box<dyn Strategy>>; 3] = [
        Box::new(|| {
            Box::new(TaskPerConnection::new(
                |mut stream: SocketStream| async move {
                    let mut byte = [0];
                    while stream.read_exact(&mut byte).await.is_ok() {
                        assert!(byte != *b"!", "as asked");
                        stream.write_all(&byte).await.unwrap();
                    }
                },
            ))
        }),
        Box::new(|| Box::new(TaskPerConnection::reading(touchy()))),
        Box::new(|| Box::new(WorkerPool::new(touchy()).threads(1).build().unwrap())),
    ];
    for strategy in strategies {
        let server = start(Server::builder(), Boxed(strategy())).await;
        let (mut good, mut bad) = (dial(&server).await, dial(&server).await);
        assert!(echoes(&mut good, "a").await);
        bad.write_all(b"!").await.unwrap();
        assert!(hangs_up(&mut bad).await);
        assert!(echoes(&mut good, "b").await);
        until(|| server.metrics().goroutines == 1).await;
        assert_eq!(server.counters().handler_panics, 1);
        assert_eq!(server.metrics().closed.by(CloseReason::Panicked), 1);
        // The good one's handler may still be returning.
        until(|| server.metrics().buffers_in_use == 0).await;
    }
}

fn touchy() -> impl ReadHandler {
    read_fn(|socket, bytes| async move {
        assert!(&bytes[..] != b"!", "as asked");
        socket.send(bytes).unwrap();
    })
}

/// Any strategy.
struct Boxed(Box<dyn Strategy>);

impl Strategy for Boxed {
    fn on_start(&self) {
        self.0.on_start();
    }

    fn on_accept(&self, stream: SocketStream) {
        self.0.on_accept(stream);
    }

    fn on_stop(&self) {
        self.0.on_stop();
    }

    fn is_prompt(&self) -> bool {
        self.0.is_prompt()
    }
}

/// docs/wire L44: what is kept for a connection is its own, and calls for it come one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_for_one_connection_never_overlap_and_keep_their_order() {
    struct Checker;
    struct State {
        next: u8,
        busy: bool,
    }
    impl ReadHandler for Checker {
        type State = Arc<Mutex<State>>;

        async fn on_accept(&self, _: &Socket) -> Self::State {
            Arc::new(Mutex::new(State {
                next: 0,
                busy: false,
            }))
        }

        async fn on_read(&self, state: &mut Self::State, socket: &Socket, bytes: &[u8]) {
            {
                let mut state = state.lock().unwrap();
                assert!(!state.busy);
                state.busy = true;
                for byte in bytes {
                    assert_eq!(*byte, state.next);
                    state.next = state.next.wrapping_add(1);
                }
            }
            tokio::task::yield_now().await;
            state.lock().unwrap().busy = false;
            socket.send(bytes.to_vec()).unwrap();
        }
    }
    let strategy = WorkerPool::new(Checker).read_buffer(16).build().unwrap();
    let server = start(Server::builder(), strategy).await;
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let mut client = dial(&server).await;
        clients.spawn(async move {
            let bytes: Vec<u8> = (0..=255).cycle().take(64 * 1024).collect();
            let (mut reader, mut writer) = client.split();
            let mut came = vec![0; bytes.len()];
            let (sent, read) = tokio::join!(writer.write_all(&bytes), reader.read_exact(&mut came));
            sent.unwrap();
            read.unwrap();
            assert_eq!(came, bytes);
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    assert_eq!(server.counters().handler_panics, 0);
}

/// docs/wire L44: in a group of the original's kind no two handlers run at once; without groups a stuck handler holds
/// up nobody.
#[tokio::test]
async fn a_stuck_handler_holds_up_its_group_and_nobody_else() {
    let stuck = Arc::new(Notify::new());
    let handler = |stuck: &Arc<Notify>| {
        let stuck = Arc::clone(stuck);
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
    let alone = WorkerPool::new(handler(&stuck)).build().unwrap();
    let server = start(Server::builder(), alone).await;
    let (mut first, mut second) = (dial(&server).await, dial(&server).await);
    first.write_all(b"wait").await.unwrap();
    until(|| server.metrics().buffers_in_use == 1).await;
    assert!(echoes(&mut second, "not held up").await);
    stuck.notify_one();
    let mut back = [0; 4];
    first.read_exact(&mut back).await.unwrap();

    let grouped = WorkerPool::new(handler(&stuck))
        .max_pool_size(2)
        .build()
        .unwrap();
    let server = start(Server::builder(), grouped).await;
    let mut clients = [
        dial(&server).await,
        dial(&server).await,
        dial(&server).await,
    ];
    until(|| server.metrics().connections == 3).await;
    clients[0].write_all(b"wait").await.unwrap();
    until(|| server.metrics().buffers_in_use == 1).await;
    clients[1].write_all(b"held up").await.unwrap();
    // The third is of another group.
    assert!(echoes(&mut clients[2], "free").await);
    assert_eq!(server.metrics().total_written, 4);
    stuck.notify_one();
    let mut back = [0; 7];
    clients[1].read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"held up");
}

/// docs/wire L45: connections beyond the number of handlers wait for one, and are served then.
#[tokio::test]
async fn no_more_handlers_run_than_allowed() {
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let handler = {
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        read_fn(move |socket, bytes| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                running.fetch_sub(1, Ordering::SeqCst);
                socket.send(bytes).unwrap();
            }
        })
    };
    let strategy = WorkerPool::new(handler).max_handlers(3).build().unwrap();
    let server = start(Server::builder(), strategy).await;
    let mut clients = JoinSet::new();
    for _ in 0..30 {
        let mut client = dial(&server).await;
        clients.spawn(async move {
            for _ in 0..20 {
                assert!(echoes(&mut client, "turn").await);
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
}

/// docs/wire L45: whoever sends without pause lets others have their turn.
#[tokio::test]
async fn a_flood_yields() {
    let strategy = WorkerPool::new(read_fn(|_, _| async {}))
        .read_budget(64 * 1024)
        .build()
        .unwrap();
    let server = start(Server::builder(), strategy).await;
    let mut client = dial(&server).await;
    // Everything is there before the server looks: both run on one thread.
    let bytes = vec![7; 1 << 20];
    client.write_all(&bytes).await.unwrap();
    until(|| server.metrics().total_read == 1 << 20).await;
    let metrics = server.metrics();
    assert!(metrics.read_events >= (1 << 20) / (16 * 1024));
    assert!(metrics.budget_exhausted > 0, "{metrics:?}");
}

/// docs/wire L45: the same with packets so small that one read holds thousands of them.
#[tokio::test]
async fn a_flood_of_small_packets_lets_others_have_their_turn() {
    const FLOOD: u64 = 12 * 1024;
    let seen = Arc::new(AtomicU64::new(0));
    let flood = Arc::clone(&seen);
    let at_the_other = Arc::new(AtomicU64::new(u64::MAX));
    let at = Arc::clone(&at_the_other);
    let handler = packet_fn(move |_, packet| {
        if packet.is_empty() {
            flood.fetch_add(1, Ordering::SeqCst);
        } else {
            at.store(flood.load(Ordering::SeqCst), Ordering::SeqCst);
        }
        std::future::ready(())
    });
    let strategy = WorkerPool::new(Packets::new(lines(), 100, handler))
        .build()
        .unwrap();
    let server = start(Server::builder(), strategy).await;
    let (mut first, mut second) = (dial(&server).await, dial(&server).await);
    until(|| server.metrics().connections == 2).await;
    // Both are there before the server looks: everything runs on one thread.
    first.write_all(&vec![b'\n'; FLOOD as usize]).await.unwrap();
    second.write_all(b"me too\n").await.unwrap();
    until(|| seen.load(Ordering::SeqCst) == FLOOD).await;
    until(|| at_the_other.load(Ordering::SeqCst) != u64::MAX).await;
    assert!(at_the_other.load(Ordering::SeqCst) < FLOOD / 10);
}

/// docs/wire L45: the original reads byte by byte after it has read a single one.
#[tokio::test]
async fn reads_never_become_smaller() {
    let silent = || read_fn(|_, _| async {});
    let pool = WorkerPool::new(silent()).build().unwrap();
    let servers = [
        start(Server::builder(), pool).await,
        start(Server::builder(), TaskPerConnection::reading(silent())).await,
    ];
    for server in servers {
        let mut client = dial(&server).await;
        for total in [1, 1 + 12 * 1024] {
            let before = server.metrics().total_read;
            // It is there before the server looks: both run on one thread.
            client
                .write_all(&vec![7; total - before as usize])
                .await
                .unwrap();
            until(|| server.metrics().total_read == total as u64).await;
        }
        assert_eq!(server.metrics().read_events, 2);
    }
}

/// docs/wire L36: a strategy of one's own that blocks or panics: the server accepts on.
#[tokio::test]
async fn a_strategy_that_blocks_or_panics_does_not_stop_the_server() {
    struct Rough {
        seen: AtomicUsize,
        go_on: Mutex<std::sync::mpsc::Receiver<()>>,
    }
    impl Strategy for Rough {
        fn on_accept(&self, stream: SocketStream) {
            match self.seen.fetch_add(1, Ordering::SeqCst) {
                0 => self.go_on.lock().unwrap().recv().unwrap(),
                1 => panic!("as a strategy may"),
                _ => {}
            }
            tokio::spawn(stream.run(|stream| async move {
                stream.send("hello").unwrap();
            }));
        }
    }
    let (sender, go_on) = std::sync::mpsc::channel();
    let strategy = Rough {
        seen: AtomicUsize::new(0),
        go_on: Mutex::new(go_on),
    };
    let server = start(Server::builder(), strategy).await;
    let mut blocked = dial(&server).await;
    until(|| server.metrics().connections == 1).await;
    let mut refused = dial(&server).await;
    assert!(hangs_up(&mut refused).await);
    let mut served = dial(&server).await;
    let mut text = String::new();
    served.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "hello");
    until(|| server.counters().handler_panics == 1).await;
    sender.send(()).unwrap();
    text.clear();
    blocked.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "hello");
}

#[test]
fn pools_that_could_do_nothing_are_refused() {
    let pool = || WorkerPool::new(read_fn(|_, _| async {}));
    for (pool, setting) in [
        (pool().read_buffer(0), "read_buffer"),
        (pool().read_budget(0), "read_budget"),
        (pool().max_handlers(0), "max_handlers"),
        (pool().max_pool_size(0), "max_pool_size"),
    ] {
        assert_eq!(pool.validate(), Err(PoolConfigError::Zero { setting }));
    }
    assert!(matches!(
        pool().max_handlers(usize::MAX).validate(),
        Err(PoolConfigError::TooManyHandlers { .. })
    ));
}
