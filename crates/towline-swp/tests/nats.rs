//! Sessions over a real nats-server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a test that is left out says so")]

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_nats::RequestErrorKind;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::spawn_blocking,
};
use towline_identity::{Authority, AuthorityOptions, LeafOptions};
use towline_swp::{
    ConnectError, Listener, Session,
    network::{
        InboxLimits, Network,
        broker::Broker,
        nats::{NatsConfig, NatsNetwork, NatsTls, NatsTlsError},
    },
    proto::{AckMode, Config},
};

/// A broker, unless none is on this machine: then the test has nothing to say, except where one is
/// required.
fn broker() -> Option<Broker> {
    broker_with(&[])
}

fn broker_with(arguments: &[&str]) -> Option<Broker> {
    if Broker::program().is_none() && std::env::var_os("TOWLINE_REQUIRE_NATS").is_none() {
        println!("not run: there is no nats-server here; apt-get install nats-server");
        return None;
    }
    Some(Broker::start_with(arguments).unwrap())
}

async fn network(broker: &Broker) -> NatsNetwork {
    NatsNetwork::connect(&broker.url()).await.unwrap()
}

async fn pair(broker: &Broker, a: Config, b: Config) -> (Session, Session) {
    let (here, there) = (network(broker).await, network(broker).await);
    let accepting = tokio::spawn(Session::accept(Arc::new(there), b));
    let opened = Session::connect(Arc::new(here), a).await.unwrap();
    (opened, accepting.await.unwrap().unwrap())
}

/// Some moment.
fn moment() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 9)) as u8).collect()
}

/// docs/wire W1, W9, W47: both formats.
#[tokio::test]
async fn a_stream_of_bytes_arrives_whole() {
    let Some(broker) = broker() else { return };
    for extension in [true, false] {
        let (mut a, mut b) = pair(
            &broker,
            Config::new("stream.a", "stream.b").extension(extension),
            Config::new("stream.b", "stream.a"),
        )
        .await;
        assert_eq!(a.is_extended(), extension);
        let sent = bytes(8 << 20);
        let expected = sent.clone();
        let writing = tokio::spawn(async move {
            a.write_all(&sent).await.unwrap();
            a.close().await
        });
        let mut read = Vec::new();
        b.read_to_end(&mut read).await.unwrap();
        assert!(read == expected);
        writing.await.unwrap().unwrap();
    }
}

/// docs/wire W1: a packet that is sent once the inbox is there is never lost.
#[tokio::test]
async fn a_subscription_is_active_when_listening_begins() {
    let Some(broker) = broker() else { return };
    let (here, there) = (network(&broker).await, network(&broker).await);
    for number in 0..50 {
        let subject = format!("active.{number}").into();
        let mut inbox = there
            .listen(&subject, InboxLimits::new(10, 1000))
            .await
            .unwrap();
        here.send(&subject, Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(inbox.receive().await.as_deref(), Some(&b"x"[..]));
    }
}

/// docs/wire W1: nothing but the packet, on exactly the subject of its `Dest`.
#[tokio::test]
async fn packets_are_bare_messages_on_the_peers_subject() {
    let Some(broker) = broker() else { return };
    let watching = async_nats::connect(broker.url()).await.unwrap();
    let mut seen = watching.subscribe("bare.>").await.unwrap();
    watching.flush().await.unwrap();
    let (a, b) = pair(
        &broker,
        Config::new("bare.a", "bare.b").extension(false),
        Config::new("bare.b", ""),
    )
    .await;
    a.push("hello").await.unwrap();
    assert_eq!(b.recv().await.unwrap().unwrap(), "hello");
    let message = seen.next().await.unwrap();
    assert_eq!(message.subject.as_str(), "bare.b");
    assert!(message.reply.is_none() && message.headers.is_none());
    let packet = towline_swp::proto::Packet::decode(&message.payload, 1 << 20).unwrap();
    assert_eq!(packet.dest.as_bytes(), b"bare.b");
}

/// docs/wire W18
#[tokio::test]
async fn one_inbox_serves_many_peers_and_outlives_its_listener() {
    let Some(broker) = broker() else { return };
    let listener = Listener::bind(Arc::new(network(&broker).await), Config::new("hub", ""))
        .await
        .unwrap();
    let client: Arc<dyn Network> = Arc::new(network(&broker).await);
    let mut sessions = Vec::new();
    for number in 0..8 {
        let config = Config::new(format!("peer.{number}"), "hub").extension(number % 2 == 0);
        let opened = Session::connect(Arc::clone(&client), config).await.unwrap();
        sessions.push((opened, listener.accept().await.unwrap()));
    }
    drop(listener);
    for (number, (opened, accepted)) in sessions.iter().enumerate() {
        opened.push(format!("{number}")).await.unwrap();
        assert_eq!(accepted.recv().await.unwrap().unwrap(), format!("{number}"));
        accepted.push("back").await.unwrap();
        assert_eq!(opened.recv().await.unwrap().unwrap(), "back");
    }
    let late = Config::new("late", "hub").connect_timeout(Duration::from_millis(600), 1);
    let error = Session::connect(client, late).await.unwrap_err();
    assert!(matches!(error, ConnectError::Closed(_)), "{error}");
}

/// docs/wire W34, W37: who takes nothing for a while holds the sender, and loses nothing.
#[tokio::test]
async fn a_slow_consumer_gets_everything() {
    let Some(broker) = broker() else { return };
    for (extension, mode) in [
        (true, AckMode::OnReceive),
        (false, AckMode::OnReceive),
        (false, AckMode::OnConsume),
    ] {
        let (a, b) = pair(
            &broker,
            Config::new("slow.a", "slow.b").extension(extension),
            Config::new("slow.b", "slow.a")
                .window(16, 1 << 20)
                .ack_mode(mode),
        )
        .await;
        let sending = tokio::spawn(async move {
            for number in 0..200_u32 {
                let mut message = bytes(16 << 10);
                message[..4].copy_from_slice(&number.to_be_bytes());
                a.send(message).await.unwrap();
            }
            a.close().await.unwrap();
            a.stats()
        });
        for number in 0..200_u32 {
            if number % 10 == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let message = b.recv().await.unwrap().unwrap();
            assert_eq!(message[..4], number.to_be_bytes());
        }
        assert_eq!(b.recv().await.unwrap(), None);
        let stats = sending.await.unwrap();
        assert!(stats.most_sent <= 6, "{stats:?}");
        assert_eq!(b.inbox_report().dropped, 0);
    }
}

/// docs/wire W31: what the inbox has no room for is lost like any packet.
#[tokio::test]
async fn what_overflows_is_sent_again() {
    let Some(broker) = broker() else { return };
    let (a, b) = pair(
        &broker,
        Config::new("full.a", "full.b").linger(Duration::from_secs(60)),
        Config::new("full.b", "full.a")
            .window(500, 8 << 20)
            .inbox_limits(4, 40_000),
    )
    .await;
    let sending = tokio::spawn(async move {
        for number in 0..100_u32 {
            let mut message = bytes(8000);
            message[..4].copy_from_slice(&number.to_be_bytes());
            a.send(message).await.unwrap();
        }
        a.close().await.unwrap();
    });
    for number in 0..100_u32 {
        let message = b.recv().await.unwrap().unwrap();
        assert_eq!(message[..4], number.to_be_bytes());
    }
    sending.await.unwrap();
    let report = b.inbox_report();
    assert!(report.most_bytes <= 40_000, "{report:?}");
}

/// The broker's limit is kept: a stream is cut smaller, a message that is too large is refused here.
#[tokio::test]
async fn no_packet_is_larger_than_the_broker_carries() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("nats.conf");
    std::fs::write(&file, "max_payload: 8192\n").unwrap();
    let Some(broker) = broker_with(&["-c", file.to_str().unwrap()]) else {
        return;
    };
    for extension in [true, false] {
        let (mut a, mut b) = pair(
            &broker,
            Config::new("small.a", "small.b").extension(extension),
            Config::new("small.b", "small.a"),
        )
        .await;
        assert!(a.send(vec![0; 8192]).await.is_err());
        let sent = bytes(100_000);
        let expected = sent.clone();
        let writing = tokio::spawn(async move {
            a.write_all(&sent).await.unwrap();
            a.close().await.unwrap();
            assert_eq!(a.network_failures().1, 0);
        });
        let mut read = Vec::new();
        b.read_to_end(&mut read).await.unwrap();
        assert!(read == expected);
        writing.await.unwrap();
    }
}

/// A broker that is killed and started again in the middle of a transfer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_restarts_loses_nothing() {
    let Some(mut broker) = broker() else { return };
    for extension in [true, false] {
        let (a, b) = pair(
            &broker,
            Config::new("again.a", "again.b").extension(extension),
            Config::new("again.b", "again.a"),
        )
        .await;
        let sent = Bytes::from(bytes(24 << 20));
        let expected = sent.clone();
        let sending = tokio::spawn(async move {
            a.send_file("big", sent, moment()).await.unwrap();
            a
        });
        let mut received = Vec::new();
        // Its first part is there: the broker dies in the middle.
        while received.len() < 4 << 20 {
            received.extend_from_slice(&b.recv().await.unwrap().unwrap());
        }
        broker = spawn_blocking(move || {
            broker.restart().unwrap();
            broker
        })
        .await
        .unwrap();
        while received.len() < expected.len() {
            received.extend_from_slice(&b.recv().await.unwrap().unwrap());
        }
        assert!(received.ends_with(&expected));
        sending.await.unwrap().close().await.unwrap();
    }
}

/// Nothing is left at the broker of a session that has ended, in whatever way.
#[tokio::test]
async fn a_subscription_ends_with_its_session() {
    let Some(broker) = broker() else { return };
    let watching = async_nats::connect(broker.url()).await.unwrap();
    for way in ["close", "abort", "drop"] {
        let (a, b) = pair(
            &broker,
            Config::new("left.a", "left.b"),
            Config::new("left.b", "left.a"),
        )
        .await;
        match way {
            "close" => a.close().await.unwrap(),
            "abort" => a.abort(),
            _ => drop(a),
        }
        b.closed().await;
        b.task_ended().await;
        for subject in ["left.a", "left.b"] {
            // The broker itself answers where nobody hears. What is taken back may be on its way.
            let nobody_hears = async {
                loop {
                    let request =
                        async_nats::Request::new().timeout(Some(Duration::from_millis(100)));
                    let answer = watching.send_request(subject, request).await;
                    if answer.is_err_and(|it| it.kind() == RequestErrorKind::NoResponders) {
                        return;
                    }
                }
            };
            let waited = tokio::time::timeout(Duration::from_secs(20), nobody_hears).await;
            assert!(waited.is_ok(), "{way}: {subject} is still heard on");
        }
    }
}

/// A broker that cuts off who does not read: the client connects again, and nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_cut_off_by_the_broker_loses_nothing() {
    const MESSAGES: u32 = 2000;
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("nats.conf");
    let config = r#"
        max_pending: 1MB
        write_deadline: "500ms"
        system_account: SYS
        accounts {
          SYS { users = [ { user: watcher, password: secret } ] }
          ALL { users = [ { user: me, password: secret } ] }
        }
        "#;
    std::fs::write(&file, config).unwrap();
    let Some(broker) = broker_with(&["-c", file.to_str().unwrap()]) else {
        return;
    };
    let url = |user: &str| broker.url().replace("//", &format!("//{user}:secret@"));
    let watching = NatsNetwork::connect(&url("watcher")).await.unwrap();
    let ends = watching
        .client()
        .subscribe("$SYS.ACCOUNT.ALL.DISCONNECT")
        .await;
    let mut ends = ends.unwrap();
    watching.client().flush().await.unwrap();

    let there = url("me");
    let (telling, told) = tokio::sync::oneshot::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    // A runtime of its own, which can stand still.
    let receiving = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async move {
            let network = NatsNetwork::connect(&there).await.unwrap();
            let flood = network.client().subscribe("flood").await.unwrap();
            let listener = Listener::bind(Arc::new(network.clone()), Config::new("cut.b", ""));
            let listener = listener.await.unwrap();
            telling.send(()).unwrap();
            let session = listener.accept().await.unwrap();
            for number in 0..MESSAGES {
                if number == 100 {
                    may_go_on.recv().unwrap();
                }
                let message = session.recv().await.unwrap().unwrap();
                assert_eq!(message[..4], number.to_be_bytes());
            }
            drop(flood);
            assert!(network.report().disconnected > 0);
            assert_eq!(session.recv().await.unwrap(), None);
            session.task_ended().await;
        });
    });
    told.await.unwrap();
    let network = NatsNetwork::connect(&url("me")).await.unwrap();
    let flooding = network.client().clone();
    let config = Config::new("cut.a", "cut.b").linger(Duration::from_secs(60));
    let session = Session::connect(Arc::new(network), config).await.unwrap();
    let sending = tokio::spawn(async move {
        for number in 0..MESSAGES {
            let mut message = bytes(4 << 10);
            message[..4].copy_from_slice(&number.to_be_bytes());
            session.send(message).await.unwrap();
        }
        session.close().await
    });
    let flood = Bytes::from(vec![0; 64 << 10]);
    loop {
        tokio::select! {
            biased;
            end = ends.next() => {
                let end = end.unwrap();
                if String::from_utf8_lossy(&end.payload).contains("Slow Consumer") {
                    break;
                }
            }
            published = flooding.publish("flood", flood.clone()) => published.unwrap(),
        }
    }
    go_on.send(()).unwrap();
    sending.await.unwrap().unwrap();
    receiving.join().unwrap();
}

/// TLS to the broker, with the original's layout of files, and what is wrong with them.
#[tokio::test]
async fn the_way_to_the_broker_can_be_tls() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path();
    for part in ["certs", "private"] {
        std::fs::create_dir(dir.join(part)).unwrap();
    }
    let authority = Authority::generate(&AuthorityOptions::new().days(1)).unwrap();
    let leaf = |name: &str| {
        let keys = authority.issue(&LeafOptions::new(name).days(1)).unwrap();
        keys.save(dir.join(name), name, false).unwrap();
        (
            dir.join(name).join(format!("{name}.crt")),
            dir.join(name).join(format!("{name}.key")),
            dir.join(name).join("ca.crt"),
        )
    };
    let (cert, key, ca) = leaf("broker");
    let (client_cert, client_key, _) = leaf("client");
    let Some(broker) = broker_with(&[
        "--tlsverify",
        "--tlscert",
        cert.to_str().unwrap(),
        "--tlskey",
        key.to_str().unwrap(),
        "--tlscacert",
        ca.to_str().unwrap(),
    ]) else {
        return;
    };
    let missing = NatsTls::from_dir(dir).unwrap_err();
    assert!(matches!(missing, NatsTlsError::Missing(_)), "{missing}");
    let (to_cert, to_key, to_ca) = (
        dir.join("certs/internal.crt"),
        dir.join("private/internal.key"),
        dir.join("certs/ca.pem"),
    );
    std::fs::copy(&client_cert, &to_cert).unwrap();
    std::fs::copy(&key, &to_key).unwrap();
    std::fs::write(&to_ca, "no certificate").unwrap();
    let roots = NatsTls::from_dir(dir).unwrap_err();
    assert!(matches!(roots, NatsTlsError::NoRoots(_)), "{roots}");
    std::fs::copy(&ca, &to_ca).unwrap();
    let pair = NatsTls::from_dir(dir).unwrap_err();
    assert!(matches!(pair, NatsTlsError::Pair { .. }), "{pair}");
    std::fs::copy(&client_key, &to_key).unwrap();

    let config = || NatsConfig::new(broker.url()).connect_timeout(Duration::from_secs(5));
    let network = config()
        .tls(NatsTls::from_dir(dir).unwrap())
        .connect()
        .await
        .unwrap();
    let listener = Listener::bind(Arc::new(network.clone()), Config::new("tls.b", ""))
        .await
        .unwrap();
    let session = Session::connect(Arc::new(network), Config::new("tls.a", "tls.b"))
        .await
        .unwrap();
    session.push("through TLS").await.unwrap();
    let accepted = listener.accept().await.unwrap();
    assert_eq!(accepted.recv().await.unwrap().unwrap(), "through TLS");
    // The system's authorities do not vouch for this broker, and it wants a certificate of ours.
    assert!(config().connect().await.is_err());
    let bare = NatsTls::authority(&ca).unwrap();
    assert!(config().tls(bare).connect().await.is_err());
}
