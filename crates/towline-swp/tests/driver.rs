//! Sessions on tokio, over the simulated network on a paused clock, and over UDP.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use towline_swp::{
    Listener, PushError, Session, WriteError,
    network::{
        Network,
        sim::{PacketConditions, Passage, SimNet},
        udp::UdpNetwork,
    },
    proto::{AckMode, CloseReason, Config, SendError, TcpEvent},
};

fn bad() -> PacketConditions {
    PacketConditions::default()
        .delay(Duration::from_millis(10))
        .jitter(Duration::from_millis(5))
        .loss(200_000)
        .duplicate(50_000)
}

async fn pair(net: &SimNet, a: Config, b: Config) -> (Session, Session) {
    let listening = tokio::spawn(Session::accept(Arc::new(net.clone()), b));
    let opened = Session::connect(Arc::new(net.clone()), a).await.unwrap();
    (opened, listening.await.unwrap().unwrap())
}

fn names() -> (Config, Config) {
    (Config::new("A", "B"), Config::new("B", "A"))
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 7)) as u8).collect()
}

/// docs/wire W24, W51
#[tokio::test(start_paused = true)]
async fn a_stream_of_bytes_arrives_whole_over_a_bad_network() {
    let net = SimNet::new(bad(), 1);
    let (a, b) = names();
    let (mut a, mut b) = pair(&net, a, b).await;
    assert!(a.is_extended() && b.is_extended());
    let sent = bytes(1_500_000);
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        a.write_all(&sent).await.unwrap();
        a.shutdown().await.unwrap();
        // The other direction goes on.
        let mut answer = String::new();
        a.read_to_string(&mut answer).await.unwrap();
        answer
    });
    let mut read = Vec::new();
    b.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, expected);
    b.write_all(b"got it all").await.unwrap();
    b.shutdown().await.unwrap();
    assert_eq!(writing.await.unwrap(), "got it all");
}

/// docs/wire W37, W44: in the original's format too.
#[tokio::test(start_paused = true)]
async fn messages_are_pushed_and_closing_loses_none() {
    let net = SimNet::new(bad(), 2);
    let (a, b) = names();
    let (a, b) = pair(&net, a.extension(false), b).await;
    assert!(!a.is_extended());
    let reading = tokio::spawn(async move {
        let mut messages = Vec::new();
        while let Some(message) = b.recv().await.unwrap() {
            messages.push(message);
        }
        messages
    });
    a.push("first").await.unwrap();
    for number in 0..200_u32 {
        a.send(number.to_be_bytes().to_vec()).await.unwrap();
    }
    a.close().await.unwrap();
    assert!(matches!(a.send("late").await, Err(SendError::Closed(_))));
    let messages = reading.await.unwrap();
    assert_eq!(messages.len(), 201);
    assert_eq!(messages[0], "first");
    assert_eq!(messages[200][..], 199_u32.to_be_bytes());
}

/// docs/wire W44, W51: whoever closes learns that everything arrived, also when the end of the data
/// overtakes the data, and when the last acknowledgement is lost.
#[tokio::test(start_paused = true)]
async fn closing_over_a_bad_network_ends_well_at_both_ends() {
    for seed in 0..150 {
        for (extension, mode) in [
            (true, AckMode::OnReceive),
            (true, AckMode::OnConsume),
            (false, AckMode::OnReceive),
        ] {
            let net = SimNet::new(bad(), seed);
            let (a, b) = names();
            let (a, b) = pair(&net, a.extension(extension), b.ack_mode(mode)).await;
            let reading = tokio::spawn(async move {
                let taken = b.drain().await;
                (taken, b.closed().await)
            });
            for number in 0..12_u8 {
                a.send(vec![number; 100]).await.unwrap();
            }
            assert_eq!(
                a.close().await,
                Ok(()),
                "seed {seed}, {extension}, {mode:?}"
            );
            let (taken, reason) = reading.await.unwrap();
            assert_eq!(taken, Ok(12), "seed {seed}, {extension}, {mode:?}");
            let in_order = matches!(reason, CloseReason::Finished | CloseReason::RemoteClosed);
            assert!(in_order, "seed {seed}, {extension}, {mode:?}: {reason}");
        }
    }
}

/// docs/wire W37: a push that means consumption waits for the reader.
#[tokio::test(start_paused = true)]
async fn a_push_waits_for_the_reader_where_consumption_is_acknowledged() {
    let net = SimNet::new(PacketConditions::default(), 3);
    let (a, b) = names();
    let (a, b) = pair(&net, a, b.ack_mode(AckMode::OnConsume)).await;
    let push = a.push("hello");
    tokio::pin!(push);
    let early = tokio::time::timeout(Duration::from_secs(5), &mut push).await;
    assert!(early.is_err(), "nobody has read it");
    assert_eq!(b.recv().await.unwrap().unwrap(), "hello");
    push.await.unwrap();
    assert!(a.stats().most_sent <= 2, "{:?}", a.stats());
}

/// docs/wire W18
#[tokio::test(start_paused = true)]
async fn a_listener_serves_many_peers_on_one_inbox() {
    let net = SimNet::new(bad(), 4);
    let network: Arc<dyn Network> = Arc::new(net.clone());
    let listener = Listener::bind(Arc::clone(&network), Config::new("hub", ""))
        .await
        .unwrap();
    let serving = tokio::spawn(async move {
        for _ in 0..10 {
            let session = listener.accept().await.unwrap();
            tokio::spawn(async move {
                while let Some(message) = session.recv().await.unwrap() {
                    session.send(message).await.unwrap();
                }
                session.close().await.ok();
            });
        }
        listener
    });
    let mut clients = Vec::new();
    for number in 0..10_u32 {
        let network = Arc::clone(&network);
        clients.push(tokio::spawn(async move {
            let config = Config::new(format!("client.{number}"), "hub").extension(number % 2 == 0);
            let session = Session::connect(network, config).await.unwrap();
            for message in 0..20_u32 {
                session.send(format!("{number}.{message}")).await.unwrap();
            }
            for message in 0..20_u32 {
                let echo = session.recv().await.unwrap().unwrap();
                assert_eq!(echo, format!("{number}.{message}"));
            }
            session.close().await.unwrap();
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
    drop(serving.await.unwrap());
}

/// docs/wire W19
#[tokio::test(start_paused = true)]
async fn nobody_there_is_a_time_out() {
    let net = SimNet::new(PacketConditions::default(), 5);
    let config = Config::new("A", "nobody").connect_timeout(Duration::from_secs(2), 3);
    let error = Session::connect(Arc::new(net), config).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "r.Connect() timeout waiting to SynAck, after over=6s wait."
    );
}

/// docs/wire W42
#[tokio::test(start_paused = true)]
async fn a_peer_that_is_cut_off_is_dead_after_a_while() {
    let net = SimNet::new(PacketConditions::default(), 6);
    let (a, b) = names();
    let interval = Duration::from_millis(500);
    let (a, b) = pair(
        &net,
        a.keep_alive(interval, Some(4)),
        b.keep_alive(interval, None),
    )
    .await;
    net.cut(&"A".into());
    net.cut(&"B".into());
    let push = a.push("lost").await;
    assert!(matches!(
        push,
        Err(PushError::Unacknowledged(CloseReason::PeerTimeout(_)))
    ));
    assert!(a.recv().await.is_err());
    assert_eq!(b.close_reason(), None, "the other end never gives up");
    a.task_ended().await;
}

/// As with a socket: what was written is delivered though nobody waits for it.
#[tokio::test(start_paused = true)]
async fn a_session_that_is_let_go_delivers_what_was_sent() {
    for extension in [true, false] {
        let net = SimNet::new(bad(), 14);
        let (a, b) = names();
        let (a, b) = pair(&net, a.extension(extension), b).await;
        for number in 0..50_u8 {
            a.send(vec![number; 1000]).await.unwrap();
        }
        a.close_in_background();
        assert_eq!(b.drain().await, Ok(50));
        assert_ne!(b.closed().await, CloseReason::Reset);
    }
}

/// docs/wire W46: dropping the handle ends the task, and the peer learns of it.
#[tokio::test(start_paused = true)]
async fn dropping_a_session_abandons_it() {
    for extension in [true, false] {
        let net = SimNet::new(PacketConditions::default(), 7);
        let (a, b) = names();
        let (a, b) = pair(&net, a.extension(extension), b).await;
        drop(a);
        let reason = b.closed().await;
        let expected = if extension {
            CloseReason::Reset
        } else {
            CloseReason::Finished
        };
        assert_eq!(reason, expected);
        b.task_ended().await;
    }
}

/// docs/wire W37: bytes that are acknowledged as a whole, and how far they came in time.
#[tokio::test(start_paused = true)]
async fn writing_can_wait_for_the_acknowledgement() {
    let net = SimNet::new(bad(), 12);
    let (a, b) = names();
    let (a, b) = pair(&net, a, b.ack_mode(AckMode::OnConsume).window(4, 40_000)).await;
    let limit = Duration::from_secs(10);
    a.write_all_acked(b"", limit).await.unwrap();
    let reading = tokio::spawn(async move {
        let first = b.recv_batch(100).await.unwrap();
        (b, first)
    });
    a.write_all_acked(b"hello", limit).await.unwrap();
    let (b, first) = reading.await.unwrap();
    assert_eq!(first, ["hello"]);
    let piece = a.config().piece();
    let data = bytes(piece * 2 + 1);
    let writing = a.write_all_acked(&data, limit);
    tokio::pin!(writing);
    let taking = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        b.recv().await.unwrap().unwrap().len()
    };
    let (error, taken) = tokio::join!(&mut writing, taking);
    let expected = WriteError::TimedOut {
        acked: taken,
        limit,
    };
    assert_eq!(error, Err(expected));
    assert_eq!(taken, piece);
    for _ in 0..2 {
        b.recv().await.unwrap().unwrap();
    }
    a.all_acknowledged().await.unwrap();
    assert_eq!(a.stats().acknowledged_bytes, 5 + data.len() as u64);
}

/// docs/wire W52: what ends the delivery at once.
#[tokio::test(start_paused = true)]
async fn a_receiver_of_packets_at_once_ends_with_the_next_one_and_with_its_handle() {
    let net = SimNet::new(PacketConditions::default(), 13);
    let (a, b) = names();
    let (a, b) = pair(&net, a, b).await;
    let mut first = b.asap(9);
    a.push("one").await.unwrap();
    let mut second = b.asap(9);
    assert_eq!(first.recv().await, None);
    a.push("two").await.unwrap();
    assert_eq!(second.recv().await, Some((1, Bytes::from_static(b"two"))));
    drop(first);
    a.push("three").await.unwrap();
    assert!(second.recv().await.is_some());
    drop(second);
    a.push("four").await.unwrap();
    a.close().await.unwrap();
    assert_eq!(b.drain().await, Ok(4));
}

/// docs/wire W52
#[tokio::test(start_paused = true)]
async fn who_wants_packets_at_once_gets_the_newest() {
    let net = SimNet::new(PacketConditions::default(), 8);
    let (a, b) = names();
    let (a, b) = pair(&net, a, b).await;
    let mut asap = b.asap(2);
    for number in 0..6_u8 {
        a.push(vec![number]).await.unwrap();
    }
    assert_eq!(asap.dropped(), 4);
    assert_eq!(asap.recv().await, Some((4, Bytes::from_static(&[4]))));
    assert_eq!(asap.recv().await, Some((5, Bytes::from_static(&[5]))));
    // The ordered stream has them all.
    for number in 0..6_u8 {
        assert_eq!(b.recv().await.unwrap().unwrap()[..], [number]);
    }
}

/// docs/wire W15: each handshake packet lost twice.
#[tokio::test(start_paused = true)]
async fn lost_handshake_packets_are_sent_again() {
    for extension in [true, false] {
        let net = SimNet::new(PacketConditions::default(), 9);
        let mut left = [2, 2, 2];
        net.set_filter(move |_, event| {
            let index = match event {
                TcpEvent::SYN => 0,
                TcpEvent::SYN_ACK => 1,
                TcpEvent::ESTAB_ACK => 2,
                _ => return Passage::Normal,
            };
            if left[index] == 0 {
                return Passage::Normal;
            }
            left[index] -= 1;
            Passage::Drop
        });
        let (a, b) = names();
        let (a, b) = pair(&net, a.extension(extension), b).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        a.push("still alive").await.unwrap();
        assert_eq!(b.recv().await.unwrap().unwrap(), "still alive");
    }
}

/// docs/wire W20: garbage on the inbox is counted, and nothing else.
#[tokio::test(start_paused = true)]
async fn garbage_on_the_inbox_changes_nothing() {
    let net = SimNet::new(PacketConditions::default(), 10);
    let (a, b) = names();
    let (a, b) = pair(&net, a, b).await;
    for garbage in [&b"garbage"[..], b"\xc1", b"\x80", b""] {
        net.send(&"B".into(), Bytes::from_static(garbage))
            .await
            .unwrap();
    }
    a.push("after it").await.unwrap();
    assert_eq!(b.recv().await.unwrap().unwrap(), "after it");
    assert_eq!(b.network_failures().0, 3);
    assert_eq!(b.stats().dropped.foreign, 1);
}

#[tokio::test]
async fn sessions_run_over_udp() {
    let local = "127.0.0.1:0".parse().unwrap();
    let (here, there) = (
        UdpNetwork::bind(local).await.unwrap(),
        UdpNetwork::bind(local).await.unwrap(),
    );
    let (a, b) = (here.inbox(), there.inbox());
    let listener = Listener::bind(Arc::new(there), Config::new(b.clone(), ""))
        .await
        .unwrap();
    let mut session = Session::connect(Arc::new(here), Config::new(a, b))
        .await
        .unwrap();
    let mut accepted = listener.accept().await.unwrap();
    let sent = bytes(300_000);
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        session.write_all(&sent).await.unwrap();
        session.close().await
    });
    let mut read = Vec::new();
    accepted.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, expected);
    writing.await.unwrap().unwrap();
}

#[test]
fn handles_and_futures_can_be_sent_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    fn is_sync<T: Send + Sync>() {}
    is_sync::<Session>();
    is_sync::<Listener>();
    is_sync::<SimNet>();
    fn futures(session: &Session) {
        is_send(&session.push("x"));
        is_send(&session.recv());
        is_send(&session.close());
    }
    let _: fn(&Session) = futures;
}
