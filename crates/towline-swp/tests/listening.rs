//! Listeners and those who knock: what they may not do, and what is counted of it.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use towline_codec::Text;
use towline_swp::{
    Listener, Session,
    network::{
        InboxLimits, Network,
        sim::{PacketConditions, SimNet},
        udp::UdpNetwork,
    },
    proto::{Config, Packet, TcpEvent},
};

/// docs/wire W18: over UDP only the sender itself is answered, not who it claims to be.
#[tokio::test]
async fn over_udp_nobody_is_answered_for_another() {
    let local = "127.0.0.1:0".parse().unwrap();
    let server = UdpNetwork::bind(local).await.unwrap();
    let (address, inbox) = (server.address(), server.inbox());
    let listener = Listener::bind(Arc::new(server), Config::new(inbox.clone(), ""))
        .await
        .unwrap();
    let victim = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let liar = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let named = victim.local_addr().unwrap().to_string();
    let syn = |nonce: &str| {
        let packet = Packet {
            from: Text::from(named.clone()),
            dest: inbox.clone(),
            from_nonce: nonce.into(),
            event: TcpEvent::SYN,
            ..Packet::default()
        };
        let mut wire = BytesMut::new();
        packet.encode(&mut wire);
        wire
    };
    liar.send_to(&syn("forged"), address).await.unwrap();
    victim.send_to(&syn("true"), address).await.unwrap();
    let mut buffer = vec![0; 2000];
    let len = victim.recv(&mut buffer).await.unwrap();
    let answer = Packet::decode(&Bytes::copy_from_slice(&buffer[..len]), 1000).unwrap();
    assert_eq!(
        (answer.event, &answer.dest_nonce),
        (TcpEvent::SYN_ACK, &Text::from("true"))
    );
    let report = listener.inbox_report();
    assert_eq!((report.refused, report.delivered), (1, 1));
}

fn knock(number: u32) -> Packet {
    Packet {
        from: "nobody".into(),
        dest: "S".into(),
        from_nonce: Text::from(format!("n{number}")),
        event: TcpEvent::SYN,
        ..Packet::default()
    }
}

fn wire(packet: &Packet) -> Bytes {
    let mut wire = BytesMut::new();
    packet.encode(&mut wire);
    wire.freeze()
}

/// docs/wire W18: who only knocks keeps nobody out, and ends nobody's session.
#[tokio::test(start_paused = true)]
async fn half_open_sessions_make_room_at_a_full_listener() {
    let net = SimNet::new(PacketConditions::default(), 15);
    let network: Arc<dyn Network> = Arc::new(net.clone());
    let listener = Listener::bind(Arc::clone(&network), Config::new("S", ""))
        .await
        .unwrap();
    let first = Session::connect(Arc::clone(&network), Config::new("first", "S"))
        .await
        .unwrap();
    for number in 0..1100 {
        net.send(&"S".into(), wire(&knock(number))).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    let config = Config::new("second", "S").connect_timeout(Duration::from_millis(100), 1);
    let second = Session::connect(network, config).await.unwrap();
    first.push("still there").await.unwrap();
    second.push("and here").await.unwrap();
    let accepted = listener.accept().await.unwrap();
    assert_eq!(accepted.recv().await.unwrap().unwrap(), "still there");
    for garbage in [&b"garbage"[..], b"\x80"] {
        net.send(&"S".into(), Bytes::from_static(garbage))
            .await
            .unwrap();
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    let stats = listener.stats();
    assert_eq!((stats.undecodable, stats.foreign, stats.refused), (1, 1, 0));
    assert_eq!(stats.displaced, 1 + 1100 + 1 - 1024);
}

/// docs/wire W17: data of who does not hear fills no memory, and who opens later finds room again.
#[tokio::test(start_paused = true)]
async fn data_behind_syns_that_nobody_answers_for_is_bounded() {
    let net = SimNet::new(PacketConditions::default(), 16);
    let listener = Listener::bind(Arc::new(net.clone()), Config::new("S", ""))
        .await
        .unwrap();
    let early = |number, seq| {
        let mut packet = Packet {
            seq,
            event: TcpEvent::DATA,
            ..knock(number)
        };
        packet.set_data(Bytes::from(vec![0; 1_000_000]));
        wire(&packet)
    };
    let settled = || tokio::time::sleep(Duration::from_millis(10));
    let to = Text::from("S");
    for number in 0..20 {
        net.send(&to, wire(&knock(number))).await.unwrap();
        settled().await;
        for seq in 0..3 {
            net.send(&to, early(number, seq)).await.unwrap();
            settled().await;
        }
    }
    // 8 MiB have room for eight packets of this size, one a session.
    assert_eq!(listener.stats().early, 60 - 8);
    // The handshakes of all of them are given up; what they kept is forgotten.
    tokio::time::sleep(Duration::from_secs(12)).await;
    for number in 20..28 {
        net.send(&to, wire(&knock(number))).await.unwrap();
        net.send(&to, early(number, 0)).await.unwrap();
        settled().await;
    }
    assert_eq!(listener.stats().early, 60 - 8);
}

/// docs/wire W7: the configured limit holds for what comes, at a session's own inbox and at a listener's.
#[tokio::test(start_paused = true)]
async fn data_above_the_configured_limit_is_dropped_and_counted() {
    let net = SimNet::new(PacketConditions::default(), 17);
    let network: Arc<dyn Network> = Arc::new(net);
    for extension in [true, false] {
        let small = |local: &'static str| Config::new(local, "").max_data(1000);
        let accepting = tokio::spawn(Session::accept(Arc::clone(&network), small("B")));
        let listener = Listener::bind(Arc::clone(&network), small("L"))
            .await
            .unwrap();
        let connect = |dest: &'static str| {
            let config = Config::new(format!("to {dest}"), dest).extension(extension);
            Session::connect(Arc::clone(&network), config)
        };
        let (to_session, to_listener) = (connect("B").await.unwrap(), connect("L").await.unwrap());
        let own = accepting.await.unwrap().unwrap();
        let routed = listener.accept().await.unwrap();
        for (sender, receiver) in [(&to_session, &own), (&to_listener, &routed)] {
            sender.push(vec![1; 1000]).await.unwrap();
            sender.send(vec![2; 1001]).await.unwrap();
            tokio::time::sleep(Duration::from_secs(5)).await;
            assert_eq!(receiver.recv().await.unwrap().unwrap().len(), 1000);
            assert_eq!(receiver.stats().data_received, 1);
        }
        assert!(own.network_failures().0 > 0);
        assert!(listener.stats().undecodable > 0);
    }
}

/// docs/wire W18: an opener cannot have the answer sent to just anybody.
#[tokio::test(start_paused = true)]
async fn openers_below_other_names_than_the_configured_are_not_answered() {
    let net = SimNet::new(PacketConditions::default(), 18);
    let network: Arc<dyn Network> = Arc::new(net.clone());
    let config = Config::new("S", "").peers_below(["clients.", "_INBOX."]);
    let listener = Listener::bind(Arc::clone(&network), config.clone())
        .await
        .unwrap();
    let limits = InboxLimits::new(10, 10_000);
    let mut orders = net.listen(&"orders".into(), limits).await.unwrap();
    let limit = Duration::from_secs(1);
    for stranger in ["orders", "client", "clientss.a"] {
        let forged = Packet {
            from: stranger.into(),
            ..knock(1)
        };
        net.send(&"S".into(), wire(&forged)).await.unwrap();
    }
    let answer = tokio::time::timeout(limit, orders.receive()).await;
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(listener.stats().barred, 3);
    for peer in ["clients.a", "_INBOX.1.2"] {
        let session = Session::connect(Arc::clone(&network), Config::new(peer, "S")).await;
        session.unwrap().push("hello").await.unwrap();
    }

    // The same where a session waits by itself.
    let waiting = Config::new("W", "").peers_below(["clients."]);
    let accepting = tokio::spawn(Session::accept(Arc::clone(&network), waiting));
    let barred = Config::new("elsewhere", "W").connect_timeout(limit, 1);
    assert!(
        Session::connect(Arc::clone(&network), barred)
            .await
            .is_err()
    );
    let peer = Session::connect(network, Config::new("clients.b", "W")).await;
    accepting.await.unwrap().unwrap();
    drop(peer.unwrap());
}
