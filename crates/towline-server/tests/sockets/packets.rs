//! Packets on every strategy (docs/wire L13 to L25).

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use towline_codec::framing::{Framing, LengthPrefix, Oversize};
use towline_server::{
    CloseReason, Ended, PacketHandler, Packets, Server, Socket, TaskPerConnection, WorkerPool,
    packet_fn,
};

use crate::support::{LONG, dial, hangs_up, lines, start, until};

/// Tells the test what it sees.
struct Teller(mpsc::UnboundedSender<Seen>);

#[derive(Debug, PartialEq)]
enum Seen {
    Packet(Bytes),
    Oversized(Option<u64>),
    End { unfinished: usize },
}

impl PacketHandler for Teller {
    type State = ();

    async fn on_accept(&self, _: &Socket) {}

    async fn on_packet(&self, (): &mut (), _: &Socket, packet: &[u8]) {
        let packet = Bytes::copy_from_slice(packet);
        self.0.send(Seen::Packet(packet)).unwrap();
    }

    async fn on_oversized(&self, (): &mut (), _: &Socket, announced: Option<u64>) {
        self.0.send(Seen::Oversized(announced)).unwrap();
    }

    async fn on_end(&self, (): (), _: &Socket, _: Ended, unfinished: usize) {
        self.0.send(Seen::End { unfinished }).unwrap();
    }
}

fn teller() -> (Teller, mpsc::UnboundedReceiver<Seen>) {
    let (sender, seen) = mpsc::unbounded_channel();
    (Teller(sender), seen)
}

async fn see(seen: &mut mpsc::UnboundedReceiver<Seen>) -> Seen {
    timeout(LONG, seen.recv()).await.unwrap().unwrap()
}

/// docs/wire L21: bytes of two connections that share buffers never mix, however they are cut. The later
/// version of the original shows one client another's bytes here.
#[tokio::test]
async fn packets_in_pieces_hold_their_own_bytes_only() {
    for threads in [0, 1] {
        let echo = packet_fn(|socket, packet| async move {
            socket.send_packet(&lines(), &packet).unwrap();
        });
        let pool = WorkerPool::new(Packets::new(lines(), 4096, echo)).threads(threads);
        let server = start(Server::builder(), pool.build().unwrap()).await;
        let (mut first, mut second) = (dial(&server).await, dial(&server).await);
        for turn in 0..50 {
            let secret = format!("secret of the first client, turn {turn}\n");
            let open = format!("what the second one says, turn {turn}\n");
            for (one, other) in secret.as_bytes().chunks(5).zip(open.as_bytes().chunks(5)) {
                first.write_all(one).await.unwrap();
                second.write_all(other).await.unwrap();
            }
            let said = |text: &str, chunks: usize| text.len().min(chunks * 5);
            let chunks = secret.len().div_ceil(5).min(open.len().div_ceil(5));
            first
                .write_all(&secret.as_bytes()[said(&secret, chunks)..])
                .await
                .unwrap();
            second
                .write_all(&open.as_bytes()[said(&open, chunks)..])
                .await
                .unwrap();
            for (client, text) in [(&mut first, secret), (&mut second, open)] {
                let mut back = vec![0; text.len()];
                client.read_exact(&mut back).await.unwrap();
                assert_eq!(back, text.as_bytes());
            }
        }
        assert_eq!(server.metrics().packets, 100);
    }
}

/// docs/wire L13, L23, L25: empty packets, one that is too big, and one that never ends.
#[tokio::test]
async fn what_is_skipped_and_what_is_unfinished_is_told() {
    let (teller, mut seen) = teller();
    let strategy = TaskPerConnection::reading(Packets::new(lines(), 8, teller));
    let server = start(Server::builder(), strategy).await;
    let mut client = dial(&server).await;
    client.write_all(b"one\n\nmuch too long").await.unwrap();
    assert_eq!(see(&mut seen).await, Seen::Packet("one".into()));
    assert_eq!(see(&mut seen).await, Seen::Packet("".into()));
    assert_eq!(see(&mut seen).await, Seen::Oversized(None));
    client.write_all(b" for this\ntwo\nthr").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(see(&mut seen).await, Seen::Packet("two".into()));
    assert_eq!(see(&mut seen).await, Seen::End { unfinished: 3 });
    until(|| server.metrics().connections == 0).await;
    let metrics = server.metrics();
    assert_eq!(
        (metrics.packets, metrics.packets_too_big, metrics.unfinished),
        (3, 1, 1)
    );
    assert_eq!(metrics.closed.by(CloseReason::Client), 1);
}

/// docs/wire L17, L18, L20, L22: nothing of the packet is delivered, and the reason says what was wrong.
#[tokio::test]
async fn streams_that_cannot_go_on_are_closed_with_their_reason() {
    let cases: [(LengthPrefix, &[u8], CloseReason); 4] = [
        (
            LengthPrefix::U32Be,
            &[0, 0, 0, 9, 1],
            CloseReason::PacketTooBig,
        ),
        (LengthPrefix::U32Le, &[0xff; 4], CloseReason::PacketTooBig),
        (
            LengthPrefix::U64Be,
            &[0x80, 0, 0, 0, 0, 0, 0, 0],
            CloseReason::Malformed,
        ),
        (LengthPrefix::VarInt, &[0xff; 5], CloseReason::Malformed),
    ];
    for (prefix, bytes, reason) in cases {
        let (teller, mut seen) = teller();
        let packets = Packets::new(Framing::length_prefixed(prefix), 8, teller);
        let server = start(Server::builder(), TaskPerConnection::reading(packets)).await;
        let mut client = dial(&server).await;
        client.write_all(bytes).await.unwrap();
        assert!(hangs_up(&mut client).await);
        assert!(matches!(see(&mut seen).await, Seen::End { .. }));
        assert_eq!(server.metrics().closed.by(reason), 1, "{prefix:?}");
    }
}

/// docs/wire L39: packets that came in the same read as one whose handler hung up are for nobody.
#[tokio::test]
async fn nothing_is_handled_behind_a_close() {
    let (sender, mut handled) = mpsc::unbounded_channel();
    let quit = packet_fn(move |socket: Socket, packet: Bytes| {
        sender.send(packet.clone()).unwrap();
        async move {
            if packet == "quit" {
                socket.close(CloseReason::Server);
            }
        }
    });
    let packets = Packets::new(lines(), 80, quit).oversize(Oversize::Close);
    let server = start(Server::builder(), TaskPerConnection::reading(packets)).await;
    let mut client = dial(&server).await;
    client.write_all(b"one\nquit\nafter\n").await.unwrap();
    assert!(hangs_up(&mut client).await);
    assert_eq!(handled.recv().await.unwrap(), "one");
    assert_eq!(handled.recv().await.unwrap(), "quit");
    until(|| server.metrics().goroutines == 0).await;
    assert!(handled.try_recv().is_err());
}

/// docs/wire L44: a handler that is slow for one client is back-pressure for that client and nobody else.
#[tokio::test]
async fn a_slow_handler_stops_reading_from_its_client_only() {
    let slow = packet_fn(|socket: Socket, packet: Bytes| async move {
        if packet == "slow" {
            socket.closed().await;
        } else {
            socket.send_packet(&lines(), &packet).unwrap();
        }
    });
    let pool = WorkerPool::new(Packets::new(lines(), 80, slow)).build();
    let server = start(Server::builder(), pool.unwrap()).await;
    let (mut held, mut free) = (dial(&server).await, dial(&server).await);
    held.write_all(b"slow\n").await.unwrap();
    until(|| server.metrics().buffers_in_use == 1).await;
    let read = server.metrics().total_read;
    // As much as the systems take, then no more.
    let flood = vec![b'x'; 64 * 1024];
    while timeout(Duration::from_millis(50), held.write_all(&flood))
        .await
        .is_ok()
    {}
    assert_eq!(server.metrics().total_read, read);
    free.write_all(b"quick\n").await.unwrap();
    let mut back = [0; 6];
    timeout(LONG, free.read_exact(&mut back))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&back, b"quick\n");
}

#[cfg(feature = "tower")]
#[tokio::test]
async fn a_tower_service_answers_packets_in_order() {
    use std::convert::Infallible;
    use std::future::{Ready, ready};
    use std::task::{Context, Poll};

    use towline_server::TowerService;

    #[derive(Clone)]
    struct Count(usize);

    impl tower_service::Service<Bytes> for Count {
        type Response = Option<Bytes>;
        type Error = Infallible;
        type Future = Ready<Result<Option<Bytes>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Bytes) -> Self::Future {
            self.0 += 1;
            let answer = format!("{} {}", self.0, String::from_utf8_lossy(&request));
            ready(Ok((request != "hush").then(|| answer.into())))
        }
    }

    let packets = Packets::new(lines(), 80, TowerService::new(lines(), Count(0)));
    let server = start(Server::builder(), TaskPerConnection::reading(packets)).await;
    for _ in 0..2 {
        let mut client = dial(&server).await;
        client.write_all(b"a\nhush\nb\n").await.unwrap();
        let mut answers = [0; 8];
        client.read_exact(&mut answers).await.unwrap();
        assert_eq!(&answers, b"1 a\n3 b\n");
    }
}
