//! Packets that a network can never carry end their session at once, with the reason.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use towline_codec::Text;
use towline_swp::{
    ConnectError, PushError, Session,
    network::{
        Inbox, InboxLimits, Network, Pending,
        sim::{PacketConditions, SimNet},
        udp::UdpNetwork,
    },
    proto::{CloseReason, Config},
};

/// A network that takes no large packets, and says so or not.
struct Narrow {
    inner: SimNet,
    kind: io::ErrorKind,
    refused: AtomicU64,
}

impl Network for Narrow {
    fn listen<'a>(&'a self, inbox: &'a Text, limits: InboxLimits) -> Pending<'a, Inbox> {
        self.inner.listen(inbox, limits)
    }

    fn send<'a>(&'a self, dest: &'a Text, packet: Bytes) -> Pending<'a, ()> {
        let is_refused = packet.len() > 5000
            && (self.kind == io::ErrorKind::InvalidInput
                || self.refused.load(Ordering::Relaxed) < 2);
        if is_refused {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let error = io::Error::new(self.kind, "5,000 bytes pass through here");
            return Box::pin(std::future::ready(Err(error)));
        }
        self.inner.send(dest, packet)
    }

    fn max_packet(&self) -> usize {
        self.inner.max_packet()
    }
}

async fn pair(kind: io::ErrorKind) -> (Arc<Narrow>, Session, Session) {
    let network = Arc::new(Narrow {
        inner: SimNet::new(PacketConditions::default(), 1),
        kind,
        refused: AtomicU64::new(0),
    });
    let shared = |network: &Arc<Narrow>| -> Arc<dyn Network> { Arc::clone(network) as _ };
    let accepting = tokio::spawn(Session::accept(shared(&network), Config::new("B", "A")));
    let opened = Session::connect(shared(&network), Config::new("A", "B")).await;
    let accepted = accepting.await.unwrap();
    (network, opened.unwrap(), accepted.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_packet_that_can_never_be_sent_ends_its_session_and_says_why() {
    let (network, a, _b) = pair(io::ErrorKind::InvalidInput).await;
    a.push(vec![0; 1000]).await.unwrap();
    let reason = CloseReason::Unsendable("5,000 bytes pass through here".into());
    let push = tokio::time::timeout(Duration::from_secs(60), a.push(vec![0; 6000])).await;
    assert_eq!(
        push.expect("the session has ended"),
        Err(PushError::Unacknowledged(reason.clone()))
    );
    assert_eq!(a.closed().await, reason);
    assert_eq!(
        reason.to_string(),
        "the network cannot carry packets of this session: 5,000 bytes pass through here"
    );
    assert_eq!(io::Error::from(reason).kind(), io::ErrorKind::InvalidInput);
    a.task_ended().await;
    assert_eq!(network.refused.load(Ordering::Relaxed), 1, "once is enough");
}

/// Any other error is a packet that was lost.
#[tokio::test(start_paused = true)]
async fn a_packet_that_was_not_sent_this_time_is_sent_again() {
    let (network, a, b) = pair(io::ErrorKind::Other).await;
    a.push(vec![0; 6000]).await.unwrap();
    assert_eq!(b.recv().await.unwrap().unwrap().len(), 6000);
    assert_eq!(network.refused.load(Ordering::Relaxed), 2);
    assert_eq!(a.network_failures(), (0, 2));
}

#[tokio::test]
async fn over_udp_a_peer_is_an_address_that_somebody_has() {
    let local: SocketAddr = "127.0.0.1:0".parse().unwrap();
    for (remote, problem) in [
        ("localhost:9000", "names are resolved before"),
        ("127.0.0.1", "an IP address and a port"),
        ("0.0.0.0:9000", "nobody's address"),
        ("127.0.0.1:0", "nobody's address"),
        ("[::1]:9000", "one is IPv4, the other IPv6"),
    ] {
        let network = UdpNetwork::bind(local).await.unwrap();
        let config =
            Config::new(network.inbox(), remote).connect_timeout(Duration::from_secs(60), 1);
        let error = Session::connect(Arc::new(network), config)
            .await
            .unwrap_err();
        let ConnectError::Closed(CloseReason::Unsendable(text)) = &error else {
            panic!("{remote}: {error}");
        };
        assert!(text.contains(problem) && text.contains(remote), "{text}");
    }
    let nobody = UdpNetwork::towards("0.0.0.0:9000".parse().unwrap()).await;
    assert_eq!(nobody.unwrap_err().kind(), io::ErrorKind::InvalidInput);
}
