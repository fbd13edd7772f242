//! The accept loop in virtual time: scripted listeners, silent clients, panics, limits, shutdown.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use towline_identity::Peer;
use towline_server::{Accept, ConfigError, Handshake, Server};
use towline_transport::{
    AcceptError, Authorisation, ConnectError, ConnectOptions, Connection, Endpoint, ListenOptions,
    Listener, connect,
};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);

/// A listener that does what the test says, and notes when it was asked.
struct Script {
    steps: VecDeque<io::Result<Fake>>,
    more: Option<mpsc::UnboundedReceiver<Fake>>,
    asked: Arc<Mutex<Vec<Instant>>>,
    done: Arc<Notify>,
}

impl Script {
    fn new(steps: impl IntoIterator<Item = io::Result<Fake>>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            more: None,
            asked: Arc::default(),
            done: Arc::default(),
        }
    }

    fn fed() -> (Self, mpsc::UnboundedSender<Fake>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (
            Self {
                more: Some(receiver),
                ..Self::new([])
            },
            sender,
        )
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the virtual clock of a paused runtime"
)]
fn now() -> Instant {
    Instant::now()
}

impl Accept for Script {
    type Incoming = Fake;

    async fn accept(&mut self) -> io::Result<Fake> {
        if let Some(step) = self.steps.pop_front() {
            self.asked.lock().unwrap().push(now());
            return step;
        }
        if let Some(more) = &mut self.more
            && let Some(fake) = more.recv().await
        {
            return Ok(fake);
        }
        self.asked.lock().unwrap().push(now());
        self.done.notify_one();
        pending().await
    }

    fn local(&self) -> String {
        "script".to_owned()
    }
}

/// A client: one whose handshake is done at once, fails, or never ends.
enum Fake {
    Good(DuplexStream),
    Bad,
    Silent(DuplexStream),
}

impl Fake {
    fn good() -> (Self, DuplexStream) {
        let (ours, theirs) = duplex(64);
        (Self::Good(theirs), ours)
    }

    fn silent() -> (Self, DuplexStream) {
        let (ours, theirs) = duplex(64);
        (Self::Silent(theirs), ours)
    }
}

impl Handshake for Fake {
    fn remote(&self) -> String {
        "fake".to_owned()
    }

    async fn handshake(self) -> Result<Connection, AcceptError> {
        match self {
            Self::Good(io) => Ok(Connection::new(
                Box::new(io),
                Peer::unauthenticated("fake"),
                "script",
                "fake",
            )),
            Self::Bad => Err(AcceptError::NotTls {
                remote: "fake".to_owned(),
            }),
            Self::Silent(_held) => pending().await,
        }
    }
}

/// Answers one byte with the same byte, until the client is done or the server is stopping.
async fn echo(mut connection: Connection, stopping: CancellationToken) {
    loop {
        tokio::select! {
            byte = connection.read_u8() => match byte {
                Ok(byte) => connection.write_u8(byte).await.unwrap(),
                Err(_) => return,
            },
            () = stopping.cancelled() => return,
        }
    }
}

/// In virtual time a wait that cannot end ends at once.
async fn is_served(client: &mut DuplexStream) -> bool {
    let asked = async {
        client.write_u8(7).await.is_ok() && client.read_u8().await.is_ok_and(|byte| byte == 7)
    };
    timeout(LONG, asked).await.unwrap()
}

async fn is_closed(client: &mut DuplexStream) -> bool {
    timeout(LONG, client.read_u8()).await.unwrap().is_err()
}

fn error(kind: io::ErrorKind) -> io::Result<Fake> {
    Err(kind.into())
}

#[tokio::test(start_paused = true)]
async fn failing_accepts_are_tried_again_after_growing_pauses() {
    let out_of_files = || Err(io::Error::other("too many open files"));
    let (good, mut client) = Fake::good();
    let mut steps: Vec<_> = (0..10).map(|_| out_of_files()).collect();
    steps.push(Ok(good));
    steps.push(out_of_files());
    let script = Script::new(steps);
    let (asked, done) = (Arc::clone(&script.asked), Arc::clone(&script.done));
    let server = Server::builder().serve([script], echo).unwrap();
    done.notified().await;
    let asked = asked.lock().unwrap().clone();
    let pauses: Vec<_> = asked
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_millis())
        .collect();
    // Timers have a resolution of a millisecond and never fire early.
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 0, 5]);
    assert!(is_served(&mut client).await);
    let counters = server.counters();
    assert_eq!((counters.accept_errors, counters.accepted), (11, 1));
}

#[tokio::test(start_paused = true)]
async fn connections_that_end_do_not_prolong_a_pause() {
    let (mut steps, mut clients) = (Vec::new(), Vec::new());
    for _ in 0..50 {
        let (good, client) = Fake::good();
        steps.push(Ok(good));
        clients.push(client);
    }
    steps.extend((0..3).map(|_| Err(io::Error::other("too many open files"))));
    let script = Script::new(steps);
    let (asked, done) = (Arc::clone(&script.asked), Arc::clone(&script.done));
    let _server = Server::builder().serve([script], echo).unwrap();
    // Clients leave one by one while the loop waits; each wakes it.
    while let Some(client) = clients.pop() {
        drop(client);
        tokio::time::sleep(MS).await;
    }
    done.notified().await;
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked[53] - asked[50], 35 * MS);
}

#[tokio::test(start_paused = true)]
async fn errors_of_one_client_cost_no_time() {
    use io::ErrorKind as E;
    let kinds = [
        E::ConnectionAborted,
        E::ConnectionReset,
        E::ConnectionRefused,
        E::Interrupted,
    ];
    let script = Script::new(kinds.into_iter().cycle().take(400).map(error));
    let (asked, done) = (Arc::clone(&script.asked), Arc::clone(&script.done));
    let server = Server::builder().serve([script], echo).unwrap();
    done.notified().await;
    let asked = asked.lock().unwrap();
    assert_eq!((asked.len(), asked[400] - asked[0]), (401, Duration::ZERO));
    assert_eq!(server.counters().accept_errors, 0);
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_delays_nobody_but_counts() {
    let (script, feed) = Script::fed();
    let server = Server::builder()
        .max_connections(3)
        .serve([script], echo)
        .unwrap();
    let mut silent = Vec::new();
    for _ in 0..2 {
        let (fake, client) = Fake::silent();
        feed.send(fake).unwrap();
        silent.push(client);
    }
    let (fake, mut client) = Fake::good();
    feed.send(fake).unwrap();
    let start = now();
    assert!(is_served(&mut client).await);
    assert_eq!(now(), start);
    assert_eq!(server.counters().active, 3);
    let (fake, mut refused) = Fake::good();
    feed.send(fake).unwrap();
    assert!(is_closed(&mut refused).await);
    assert_eq!(server.counters().refused_at_limit, 1);
}

/// docs/wire I45: whatever the connections come from.
#[tokio::test(start_paused = true)]
async fn a_peer_that_is_not_authorised_gets_no_handler() {
    let (script, feed) = Script::fed();
    let server = Server::builder()
        .authorise(Authorisation::keys([]))
        .serve([script], echo)
        .unwrap();
    let (fake, mut client) = Fake::good();
    feed.send(fake).unwrap();
    assert!(is_closed(&mut client).await);
    let counters = server.counters();
    assert_eq!((counters.accepted, counters.not_authorised), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_place_is_free_again_after_a_connection_however_it_ended() {
    let (script, feed) = Script::fed();
    let panics = |mut connection: Connection, _| async move {
        match connection.read_u8().await {
            Ok(0) => panic!("told to"),
            Ok(_) => connection.write_u8(7).await.unwrap(),
            Err(_) => {}
        }
    };
    let server = Server::builder()
        .max_connections(1)
        .serve([script], panics)
        .unwrap();
    for round in 0..30 {
        let (fake, mut client) = Fake::good();
        let (fake, bad) = if round % 3 == 0 {
            (Fake::Bad, true)
        } else {
            (fake, false)
        };
        feed.send(fake).unwrap();
        if !bad {
            client.write_u8(u8::from(round % 3 == 1)).await.unwrap();
            // Closed once it has answered or panicked.
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer.len(), usize::from(round % 3 == 1));
        }
        // The stream closes a moment before the place is free.
        while server.counters().active > 0 || server.counters().accepted <= round {
            tokio::task::yield_now().await;
        }
    }
    let counters = server.counters();
    assert_eq!((counters.accepted, counters.refused_at_limit), (30, 0));
    assert_eq!(
        (counters.handshake_failures, counters.handler_panics),
        (10, 10)
    );
    assert_eq!(server.drain().await.cut_off, 0);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_tells_the_handlers_and_waits_for_them() {
    let (script, feed) = Script::fed();
    let farewells = Arc::new(AtomicU32::new(0));
    let said = Arc::clone(&farewells);
    let server = Server::builder()
        .serve(
            [script],
            move |mut connection: Connection, stopping: CancellationToken| {
                let said = Arc::clone(&said);
                async move {
                    connection.write_u8(1).await.unwrap();
                    stopping.cancelled().await;
                    tokio::time::sleep(3000 * MS).await;
                    connection.write_u8(2).await.unwrap();
                    said.fetch_add(1, Ordering::Relaxed);
                }
            },
        )
        .unwrap();
    let mut clients = Vec::new();
    for _ in 0..5 {
        let (fake, mut client) = Fake::good();
        feed.send(fake).unwrap();
        assert_eq!(client.read_u8().await.unwrap(), 1);
        clients.push(client);
    }
    let (fake, mut silent) = Fake::silent();
    feed.send(fake).unwrap();
    while server.counters().active < 6 {
        tokio::task::yield_now().await;
    }
    let start = now();
    let nobody_new = async {
        tokio::time::sleep(1000 * MS).await;
        assert!(
            feed.is_closed(),
            "the listener is gone before the handlers are"
        );
    };
    let (drained, ()) = tokio::join!(server.shutdown(LONG), nobody_new);
    assert_eq!((drained.finished, drained.cut_off), (6, 0));
    assert_eq!(now() - start, 3000 * MS);
    assert_eq!(farewells.load(Ordering::Relaxed), 5);
    assert!(
        is_closed(&mut silent).await,
        "an unfinished handshake is not waited for"
    );
    for client in &mut clients {
        assert_eq!(client.read_u8().await.unwrap(), 2);
    }
}

struct OnDrop(Arc<AtomicU32>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A server with `count` connections whose handlers never end, and how many of them are gone.
async fn deaf_server(count: usize) -> (Server, Vec<DuplexStream>, Arc<AtomicU32>) {
    let (script, feed) = Script::fed();
    let gone = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&gone);
    let server = Server::builder()
        .serve([script], move |mut connection: Connection, _| {
            let on_drop = OnDrop(Arc::clone(&counter));
            async move {
                let _on_drop = on_drop;
                connection.write_u8(1).await.unwrap();
                pending::<()>().await
            }
        })
        .unwrap();
    let mut clients = Vec::new();
    for _ in 0..count {
        let (fake, mut client) = Fake::good();
        feed.send(fake).unwrap();
        client.read_u8().await.unwrap();
        clients.push(client);
    }
    (server, clients, gone)
}

#[tokio::test(start_paused = true)]
async fn handlers_that_do_not_listen_are_cut_off_at_the_deadline() {
    let (server, mut clients, gone) = deaf_server(4).await;
    let start = now();
    let drained = server.shutdown(1500 * MS).await;
    assert_eq!((drained.finished, drained.cut_off), (0, 4));
    assert_eq!(now() - start, 1500 * MS);
    assert_eq!(
        gone.load(Ordering::Relaxed),
        4,
        "no task is left when shutdown returns"
    );
    for client in &mut clients {
        assert!(is_closed(client).await);
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_server_ends_everything() {
    let (server, mut clients, gone) = deaf_server(4).await;
    drop(server);
    for client in &mut clients {
        assert!(is_closed(client).await);
    }
    assert_eq!(gone.load(Ordering::Relaxed), 4);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_shutdown_ends_everything_too() {
    let (server, mut clients, _) = deaf_server(2).await;
    tokio::select! {
        _ = server.shutdown(LONG) => panic!("nobody ends by himself"),
        () = tokio::time::sleep(MS) => {}
    }
    for client in &mut clients {
        assert!(is_closed(client).await);
    }
}

#[tokio::test(start_paused = true)]
async fn settings_that_serve_nobody_are_refused() {
    let none = Server::builder()
        .max_connections(0)
        .serve([Script::new([])], echo);
    assert!(matches!(
        none,
        Err(ConfigError::MaxConnections { given: 0, .. })
    ));
    assert!(
        Server::builder()
            .max_connections(usize::MAX)
            .validate()
            .is_err()
    );
    let nowhere = Server::builder().serve(Vec::<Script>::new(), echo);
    assert!(matches!(nowhere, Err(ConfigError::NoListener)));
}

#[tokio::test]
async fn real_listeners_share_one_server_and_one_limit() {
    let endpoints: [Endpoint; 2] = [
        "mem://shared".parse().unwrap(),
        "tcp://127.0.0.1:0".parse().unwrap(),
    ];
    let mut listeners = Vec::new();
    for endpoint in &endpoints {
        listeners.push(
            Listener::bind(endpoint, &ListenOptions::new())
                .await
                .unwrap(),
        );
    }
    let bound: Vec<_> = listeners
        .iter()
        .map(|listener| listener.local_endpoint().clone())
        .collect();
    let server = Server::builder()
        .max_connections(2)
        .serve(listeners, echo)
        .unwrap();
    let options = ConnectOptions::new();
    let mut clients = Vec::new();
    for endpoint in &bound {
        let mut client = connect(endpoint, &options).await.unwrap();
        client.write_u8(9).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), 9);
        clients.push(client);
    }
    for endpoint in &bound {
        let mut client = connect(endpoint, &options).await.unwrap();
        assert!(client.read_u8().await.is_err());
    }
    assert_eq!(server.counters().refused_at_limit, 2);
    let drained = server.shutdown(LONG).await;
    assert_eq!((drained.finished, drained.cut_off), (2, 0));
    for endpoint in &bound {
        assert!(matches!(
            connect(endpoint, &options).await,
            Err(ConnectError::Refused { .. })
        ));
    }
}
