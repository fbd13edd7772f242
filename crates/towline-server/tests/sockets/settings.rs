//! Settings that are a socket's own, that change while the server runs, or that need a socket to show.

use std::io::IoSlice;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
#[cfg(feature = "serde")]
use towline_identity::LeafOptions;
use towline_server::{
    Accept, AtLimit, Broadcaster, CloseReason, ConfigError, Handshake, Outcome, Packets, Pushed,
    SendError, Server, SlowConsumer, SocketStream, Strategy, TaskPerConnection, TimeLimits,
    WorkerPool, packet_fn,
};
use towline_transport::{AcceptError, Connection, Peer};
#[cfg(feature = "serde")]
use towline_transport::{ListenOptions, Listener};

use crate::support::{
    LONG, collect, dial, dial_narrow, echo, echo_reads, echoes, hangs_up, join, lines, next, start,
    start_in_memory, until,
};

const SECOND: Duration = Duration::from_secs(1);

/// docs/wire L42: limits of one socket, shorter and longer than the server's.
#[tokio::test(start_paused = true)]
async fn a_socket_can_have_time_limits_of_its_own() {
    let (strategy, mut sockets) = collect();
    let builder = Server::builder().idle_timeout(100 * SECOND);
    let (_server, endpoint) = start_in_memory(builder, strategy).await;
    let mut clients = Vec::new();
    let mut targets = Vec::new();
    for _ in 0..3 {
        clients.push(join(&endpoint).await);
        targets.push(next(&mut sockets).await);
    }
    let [quick, plain, patient] = &targets[..] else {
        unreachable!("three of them")
    };
    assert_eq!(
        plain.time_limits(),
        TimeLimits::default().idle(100 * SECOND)
    );
    quick.set_time_limits(quick.time_limits().idle(2 * SECOND));
    patient.set_time_limits(TimeLimits::none());
    let started = tokio::time::sleep(Duration::ZERO);
    let start = started.deadline();
    started.await;
    let took = |socket: &towline_server::Socket| {
        let socket = socket.clone();
        async move {
            let reason = socket.closed().await;
            let end = tokio::time::sleep(Duration::ZERO).deadline();
            (reason, end - start)
        }
    };
    let (reason, quickly) = took(quick).await;
    assert_eq!(reason, CloseReason::IdleTimeout);
    assert!(quickly <= 3 * SECOND, "{quickly:?}");
    let (reason, later) = took(plain).await;
    assert_eq!(reason, CloseReason::IdleTimeout);
    assert!(later >= 99 * SECOND && later <= 130 * SECOND, "{later:?}");
    tokio::time::sleep(1000 * SECOND).await;
    assert!(!patient.is_closed());
}

/// docs/wire L42: silence from before a limit does not count, whoever sets it, for whatever it is.
#[tokio::test(start_paused = true)]
async fn a_time_limit_counts_from_when_it_is_set() {
    let took = |socket: &towline_server::Socket| {
        let (socket, start) = (
            socket.clone(),
            tokio::time::sleep(Duration::ZERO).deadline(),
        );
        async move {
            let reason = socket.closed().await;
            let end = tokio::time::sleep(Duration::ZERO).deadline();
            (reason, (end - start).as_secs())
        }
    };
    let none = TimeLimits::none;
    let limit = 10 * SECOND;
    for (own, reason) in [
        (none().idle(limit), CloseReason::IdleTimeout),
        (none().first_byte(limit), CloseReason::FirstByteTimeout),
        (none().write(limit), CloseReason::WriteTimeout),
        (none().packet(limit), CloseReason::PacketTimeout),
    ] {
        for of_all in [false, true] {
            let (sender, mut sockets) = mpsc::unbounded_channel();
            let hold = packet_fn(|_, _| async {});
            let packets = TaskPerConnection::reading(Packets::new(lines(), 80, hold));
            let strategy = Telling(packets, sender);
            let builder = Server::builder().time_limits(none());
            let (server, endpoint) = start_in_memory(builder, strategy).await;
            let mut client = join(&endpoint).await;
            let socket = next(&mut sockets).await;
            // Half a packet, and more than is on its way in memory.
            if reason != CloseReason::FirstByteTimeout {
                client.write_all(b"half").await.unwrap();
            }
            socket.send(vec![0; 1 << 20]).unwrap();
            tokio::time::sleep(1000 * SECOND).await;
            if of_all {
                let settings = Server::builder().time_limits(own);
                server.handle().reconfigure(&settings).unwrap();
            } else {
                socket.set_time_limits(own);
            }
            let (ended, seconds) = took(&socket).await;
            assert_eq!(ended, reason);
            assert!((9..=13).contains(&seconds), "{reason}: {seconds}");
        }
    }
}

/// Tells of the sockets that it hands on.
struct Telling(
    TaskPerConnection,
    mpsc::UnboundedSender<towline_server::Socket>,
);

impl Strategy for Telling {
    fn on_accept(&self, stream: SocketStream) {
        self.1.send(stream.socket().clone()).unwrap();
        self.0.on_accept(stream);
    }
}

/// docs/wire L46: what waits between the marks.
#[tokio::test]
async fn a_socket_is_writable_again_when_little_waits() {
    let (strategy, mut sockets) = collect();
    let builder = Server::builder()
        .water_marks(1_000, 100_000)
        .max_queued(64 << 20);
    let server = start(builder, strategy).await;
    let mut client = dial_narrow(&server).await;
    let socket = next(&mut sockets).await;
    assert!(socket.is_writable());
    let mut sent = 0;
    while socket.is_writable() {
        socket.send(vec![7; 50_000]).unwrap();
        sent += 50_000;
    }
    assert!(socket.queued() > 100_000);
    let reader = tokio::spawn(async move {
        let mut bytes = vec![0; sent];
        client.read_exact(&mut bytes).await.unwrap();
        client
    });
    socket.writable().await.unwrap();
    assert!(socket.queued() <= 1_000 && socket.is_writable());
    let client = reader.await.unwrap();
    drop(client);
    socket.closed().await;
    assert!(!socket.is_writable());
    assert_eq!(socket.writable().await, Err(SendError::Closed));
    let upside_down = Server::builder().water_marks(2, 1).validate();
    assert_eq!(
        upside_down,
        Err(ConfigError::WaterMarks { low: 2, high: 1 })
    );
}

/// docs/wire L47: of each key the latest.
#[tokio::test]
async fn the_latest_of_each_key_is_kept() {
    let (strategy, mut sockets) = collect();
    let server = start(Server::builder().max_queued(64 << 20), strategy).await;
    let mut client = dial_narrow(&server).await;
    let socket = next(&mut sockets).await;
    let prices = Broadcaster::new()
        .slow_consumer(SlowConsumer::Latest)
        .max_queued(64 << 20);
    // Begun, and not to be replaced any more.
    let begun = 16 << 20;
    assert_eq!(socket.send(vec![0; begun]).unwrap(), Pushed::Queued);
    let mut dropped = 0;
    for round in 1..=3u8 {
        for key in [1, 2] {
            let message = vec![round * 10 + key as u8];
            let report = prices
                .broadcast_about(key, message, vec![socket.clone()])
                .await;
            assert_eq!(report.queued, 1);
            dropped += report.dropped;
        }
    }
    assert_eq!(dropped, 4);
    socket.send(&b"end"[..]).unwrap();
    let mut bytes = vec![0; begun + 5];
    client.read_exact(&mut bytes).await.unwrap();
    assert!(bytes[..begun].iter().all(|byte| *byte == 0));
    assert_eq!(&bytes[begun..], [31, 32, b'e', b'n', b'd']);
    let group = towline_server::Group::new(prices);
    group.join(&socket);
    assert_eq!(group.send_about(1, "x").await.written, 1);
}

/// docs/wire L46: several slices leave in one message's place.
#[tokio::test]
async fn slices_are_written_in_order() {
    let strategy = TaskPerConnection::new(|mut stream: SocketStream| async move {
        assert!(stream.is_write_vectored());
        assert!(stream.local_addr().unwrap().starts_with("tcp://127.0.0.1:"));
        let slices = [&b"one "[..], b"", b"two "].map(IoSlice::new);
        assert_eq!(stream.write_vectored(&slices).await.unwrap(), 8);
        stream.send("three").unwrap();
        assert_eq!(stream.total_written(), 13);
    });
    let server = start(Server::builder(), strategy).await;
    let mut text = String::new();
    dial(&server).await.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "one two three");
}

/// docs/wire L53.
#[tokio::test]
async fn a_running_server_goes_by_other_settings_and_keeps_who_is_there() {
    let server = start(Server::builder(), echo()).await;
    let mut first = dial(&server).await;
    assert!(echoes(&mut first, "hello").await);
    let handle = server.handle();
    let wrong = Server::builder().max_connections(0);
    assert!(handle.reconfigure(&wrong).is_err());
    let denied = Server::builder().deny(["127.0.0.0/8".parse().unwrap()]);
    handle.reconfigure(&denied).unwrap();
    assert!(hangs_up(&mut dial(&server).await).await);
    assert_eq!(server.counters().refused_networks, 1);
    assert!(echoes(&mut first, "still here").await);
    // Time limits hold for those that are there as well.
    let idle = TimeLimits::none().idle(Duration::from_millis(50));
    handle
        .reconfigure(&Server::builder().time_limits(idle))
        .unwrap();
    assert!(hangs_up(&mut first).await);
    assert_eq!(server.metrics().closed.by(CloseReason::IdleTimeout), 1);
}

/// docs/wire L33, L53: a server that has let those beyond its limit wait does something else with them from now on.
#[tokio::test]
async fn those_who_wait_for_a_place_hear_of_other_settings() {
    let full = || Server::builder().max_connections(1);
    let server = start(full().at_limit(AtLimit::Wait), echo()).await;
    let mut first = dial(&server).await;
    assert!(echoes(&mut first, "hello").await);
    let mut waits = dial(&server).await;
    let busy = full().at_limit(AtLimit::Respond("busy".into()));
    server.handle().reconfigure(&busy).unwrap();
    let mut told = String::new();
    let read = timeout(LONG, waits.read_to_string(&mut told)).await;
    read.unwrap().unwrap();
    assert_eq!(told, "busy");
}

/// docs/wire L37: the time limit of a configuration is the listener's.
#[cfg(feature = "serde")]
#[tokio::test(start_paused = true)]
async fn a_configuration_limits_the_time_of_handshakes() {
    let config = r#"{ "address": "tls://127.0.0.1:0", "handshake_timeout": 7 }"#;
    let config: towline_server::ServerConfig = serde_json::from_str(config).unwrap();
    let authority = towline_identity::Authority::generate(&Default::default()).unwrap();
    let identity = authority.issue(&LeafOptions::new("server")).unwrap();
    let options = ListenOptions::new().identity(Arc::new(identity));
    let options = config.listen_options(options).unwrap();
    let listener = Listener::bind(&config.endpoint().unwrap(), &options)
        .await
        .unwrap();
    let server = config.builder().unwrap().start([listener], echo()).unwrap();
    let start = tokio::time::sleep(Duration::ZERO).deadline();
    let mut silent = dial(&server).await;
    assert!(hangs_up(&mut silent).await);
    let took = tokio::time::sleep(Duration::ZERO).deadline() - start;
    assert_eq!(took.as_secs(), 7);
    let none = r#"{ "address": "tls://127.0.0.1:0", "handshake_timeout": 0 }"#;
    let none: towline_server::ServerConfig = serde_json::from_str(none).unwrap();
    assert!(none.listen_options(ListenOptions::new()).is_err());
}

/// docs/wire L36: what a handler says of a bad end, told and not only counted.
#[tokio::test]
async fn a_token_tells_of_the_end_and_handlers_end_badly() {
    let strategy = TaskPerConnection::new(|stream: SocketStream| async move {
        stream.stopping_token().cancelled().await;
        stream.send("bye").unwrap();
        Outcome::Failed("it was not over".to_owned())
    });
    let server = start(Server::builder(), strategy).await;
    let mut client = dial(&server).await;
    until(|| server.metrics().goroutines == 1).await;
    server.shutdown(SECOND * 60).await;
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "bye");
}

/// A listener whose handshakes take until they are told to go on.
struct Slow {
    clients: mpsc::UnboundedReceiver<Shaking>,
}

struct Shaking {
    io: tokio::io::DuplexStream,
    begins: Arc<Semaphore>,
    goes_on: Arc<Semaphore>,
    at_once: Arc<AtomicUsize>,
}

impl Accept for Slow {
    type Incoming = Shaking;

    async fn accept(&mut self) -> std::io::Result<Shaking> {
        match self.clients.recv().await {
            Some(client) => Ok(client),
            None => std::future::pending().await,
        }
    }

    fn local(&self) -> String {
        "slow".to_owned()
    }
}

impl Handshake for Shaking {
    fn remote(&self) -> String {
        "shaking".to_owned()
    }

    fn address(&self) -> Option<IpAddr> {
        None
    }

    async fn begun(&mut self) -> Result<(), AcceptError> {
        self.begins.acquire().await.unwrap().forget();
        Ok(())
    }

    async fn handshake(self) -> Result<Connection, AcceptError> {
        self.at_once.fetch_add(1, Ordering::SeqCst);
        self.goes_on.acquire().await.unwrap().forget();
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        let peer = Peer::unauthenticated("shaking");
        Ok(Connection::new(Box::new(self.io), peer, "slow", "shaking"))
    }
}

/// A server at which five clients are about to shake hands, two at a time.
struct FiveShaking {
    server: Server,
    begins: Arc<Semaphore>,
    goes_on: Arc<Semaphore>,
    at_once: Arc<AtomicUsize>,
    _ends: (Vec<tokio::io::DuplexStream>, mpsc::UnboundedSender<Shaking>),
}

fn five_shaking() -> FiveShaking {
    let (feed, clients) = mpsc::unbounded_channel();
    let server = Server::builder()
        .max_handshakes(2)
        .start([Slow { clients }], echo())
        .unwrap();
    let (begins, goes_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let at_once = Arc::new(AtomicUsize::new(0));
    let mut ends = Vec::new();
    for _ in 0..5 {
        let (io, end) = tokio::io::duplex(64);
        ends.push(end);
        let shaking = Shaking {
            io,
            begins: Arc::clone(&begins),
            goes_on: Arc::clone(&goes_on),
            at_once: Arc::clone(&at_once),
        };
        assert!(feed.send(shaking).is_ok());
    }
    FiveShaking {
        server,
        begins,
        goes_on,
        at_once,
        _ends: (ends, feed),
    }
}

/// docs/wire L53, L54: more turns count at once, fewer when those who have theirs are done.
#[tokio::test(start_paused = true)]
async fn a_running_server_takes_another_number_of_handshakes() {
    let five = five_shaking();
    five.begins.add_permits(5);
    tokio::time::sleep(SECOND).await;
    for (most, expected) in [(Some(4), 4), (Some(1), 4), (Some(3), 4)] {
        let settings = Server::builder().max_handshakes(most.unwrap());
        five.server.handle().reconfigure(&settings).unwrap();
        tokio::time::sleep(SECOND).await;
        assert_eq!(five.at_once.load(Ordering::SeqCst), expected);
    }
    // One of four ends, and three are as many as there may be.
    five.goes_on.add_permits(1);
    tokio::time::sleep(SECOND).await;
    assert_eq!(five.at_once.load(Ordering::SeqCst), 3);
    five.server
        .handle()
        .reconfigure(&Server::builder())
        .unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(five.at_once.load(Ordering::SeqCst), 4);
}

/// docs/wire L54: a turn is for those who have begun.
#[tokio::test(start_paused = true)]
async fn so_many_shake_hands_at_once_and_silent_ones_have_no_turn() {
    let five = five_shaking();
    let FiveShaking {
        server,
        begins,
        goes_on,
        at_once,
        ..
    } = &five;
    tokio::time::sleep(SECOND).await;
    assert_eq!(at_once.load(Ordering::SeqCst), 0);
    begins.add_permits(4);
    tokio::time::sleep(SECOND).await;
    assert_eq!(at_once.load(Ordering::SeqCst), 2);
    goes_on.add_permits(4);
    tokio::time::sleep(SECOND).await;
    assert_eq!(server.metrics().connections, 4);
    // The silent one is left, and takes nobody's turn.
    assert_eq!(
        (server.counters().active, at_once.load(Ordering::SeqCst)),
        (5, 0)
    );
    begins.add_permits(1);
    goes_on.add_permits(1);
    tokio::time::sleep(SECOND).await;
    assert_eq!(server.metrics().connections, 5);
}

/// docs/wire L44, L45: the original's pool waits a quantum for each idle neighbour in turn.
#[tokio::test(start_paused = true)]
async fn idle_neighbours_cost_an_active_connection_no_time() {
    let strategy = WorkerPool::new(echo_reads()).build().unwrap();
    let (server, endpoint) = start_in_memory(Server::builder(), strategy).await;
    let mut neighbours = Vec::new();
    for _ in 0..1000 {
        neighbours.push(join(&endpoint).await);
    }
    let mut active = join(&endpoint).await;
    let start = tokio::time::sleep(Duration::ZERO).deadline();
    for _ in 0..100 {
        active.write_all(b"hello").await.unwrap();
        active.read_exact(&mut [0; 5]).await.unwrap();
    }
    let took = tokio::time::sleep(Duration::ZERO).deadline() - start;
    assert!(took <= Duration::from_millis(1), "{took:?}");
    // Much later nobody has been looked at for bytes.
    let reads = server.metrics().read_events;
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(server.metrics().read_events, reads);
    assert_eq!((reads, server.metrics().buffers_in_use), (100, 0));
    assert_eq!(server.metrics().connections, 1001);
}
