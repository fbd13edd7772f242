//! Time limits, in virtual time.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};
use towline_codec::framing::Oversize;
use towline_server::{Builder, CloseReason, Packets, Server, TaskPerConnection, packet_fn};
use towline_transport::Connection;

use crate::support::{join, lines, start_in_memory};

const SECOND: Duration = Duration::from_secs(1);

/// Echoes lines; how long it takes until the client is hung up on, and why.
async fn lasts<F: Future<Output = ()>>(
    builder: Builder,
    behave: impl FnOnce(Connection) -> F,
) -> (Duration, CloseReason) {
    let echo = packet_fn(|socket, packet| async move {
        // A full queue is the limit's business, not this handler's.
        let _sent = socket.send_packet(&lines(), &packet);
    });
    let strategy = TaskPerConnection::reading(Packets::new(lines(), 1 << 20, echo));
    let (server, endpoint) = start_in_memory(builder.packet_timeout(None), strategy).await;
    let client = join(&endpoint).await;
    while server.sockets().is_empty() {
        tokio::task::yield_now().await;
    }
    let socket = server.sockets().remove(0);
    let start = now();
    let (reason, ()) = tokio::join!(
        async {
            let reason = socket.closed().await;
            (now() - start, reason)
        },
        behave(client)
    );
    reason
}

#[expect(
    clippy::disallowed_methods,
    reason = "the virtual clock of a paused runtime"
)]
fn now() -> Instant {
    Instant::now()
}

/// The limit, and at most a quarter more and a look.
fn about(took: Duration, limit: Duration) -> bool {
    took >= limit - SECOND / 4 && took <= limit + limit / 4 + SECOND
}

/// docs/wire L42.
#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_at_all_is_not_waited_for() {
    let builder = Server::builder().first_byte_timeout(10 * SECOND);
    let (took, reason) = lasts(builder, |mut client| async move {
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    })
    .await;
    assert_eq!(reason, CloseReason::FirstByteTimeout);
    assert!(about(took, 10 * SECOND), "{took:?}");
}

/// docs/wire L42.
#[tokio::test(start_paused = true)]
async fn a_connection_on_which_nothing_moves_ends_and_one_that_moves_does_not() {
    let builder = Server::builder().idle_timeout(10 * SECOND);
    let (took, reason) = lasts(builder, |mut client| async move {
        for _ in 0..10 {
            client.write_all(b"hello\n").await.unwrap();
            client.read_exact(&mut [0; 6]).await.unwrap();
            sleep(6 * SECOND).await;
        }
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    })
    .await;
    assert_eq!(reason, CloseReason::IdleTimeout);
    assert!(about(took, 64 * SECOND), "{took:?}");
}

/// docs/wire L42: one byte per second keeps a connection from being idle, and a packet from ending.
#[tokio::test(start_paused = true)]
async fn a_packet_that_comes_byte_by_byte_is_cut_off() {
    let builder = Server::builder().idle_timeout(5 * SECOND);
    let echo = packet_fn(|_, _| async {});
    let strategy = TaskPerConnection::reading(Packets::new(lines(), 1 << 20, echo));
    let (server, endpoint) = start_in_memory(builder.packet_timeout(20 * SECOND), strategy).await;
    let mut client = join(&endpoint).await;
    let start = now();
    // Packets that are finished in time are no reason.
    for _ in 0..10 {
        client.write_all(b"half ").await.unwrap();
        sleep(4 * SECOND).await;
        client.write_all(b"whole\nand a ").await.unwrap();
        sleep(4 * SECOND).await;
    }
    let loris = now();
    assert!(loris - start == 80 * SECOND);
    while client.write_all(b"x").await.is_ok() {
        sleep(SECOND).await;
        if server.metrics().connections == 0 {
            break;
        }
    }
    let took = now() - loris + 4 * SECOND;
    assert_eq!(server.metrics().closed.by(CloseReason::PacketTimeout), 1);
    assert!(about(took, 20 * SECOND), "{took:?}");
}

/// docs/wire L42, L46.
#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_cut_off_and_costs_a_bounded_queue() {
    let builder = Server::builder()
        .write_timeout(10 * SECOND)
        .max_queued(1 << 20);
    let (took, reason) = lasts(builder, |mut client| async move {
        let line = [&[b'x'; 60_000][..], b"\n"].concat();
        for _ in 0..100 {
            client.write_all(&line).await.unwrap();
        }
        sleep(60 * SECOND).await;
    })
    .await;
    assert_eq!(reason, CloseReason::WriteTimeout);
    assert!(about(took, 10 * SECOND), "{took:?}");
}

/// docs/wire L42: a time limit of the handler's own leaves the socket as it is.
#[tokio::test(start_paused = true)]
async fn a_read_that_was_given_up_loses_nothing() {
    let strategy = TaskPerConnection::new(|mut stream: towline_server::SocketStream| async move {
        let mut byte = [0];
        let read = tokio::time::timeout(SECOND, stream.read(&mut byte));
        assert!(read.await.is_err());
        stream.send("waiting\n").unwrap();
        stream.read_exact(&mut byte).await.unwrap();
        stream.send(byte.to_vec()).unwrap();
    });
    let (_server, endpoint) = start_in_memory(Server::builder(), strategy).await;
    let mut client = join(&endpoint).await;
    client.read_exact(&mut [0; 8]).await.unwrap();
    client.write_all(b"x").await.unwrap();
    let mut back = [0];
    client.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"x");
}

/// docs/wire L42: what a handler takes is not its peer's time, whatever has come of the next packet.
#[tokio::test(start_paused = true)]
async fn a_slow_handler_is_no_slow_packet() {
    let slow = packet_fn(
        |socket: towline_server::Socket, packet: bytes::Bytes| async move {
            sleep(60 * SECOND).await;
            socket.send_packet(&lines(), &packet).unwrap();
        },
    );
    let strategy = TaskPerConnection::reading(Packets::new(lines(), 1 << 20, slow));
    let builder = Server::builder().packet_timeout(20 * SECOND);
    let (server, endpoint) = start_in_memory(builder, strategy).await;
    let mut client = join(&endpoint).await;
    client.write_all(b"half ").await.unwrap();
    sleep(SECOND).await;
    client.write_all(b"whole\nhalf ").await.unwrap();
    client.read_exact(&mut [0; 11]).await.unwrap();
    // The time of the next begins behind the handler.
    sleep(15 * SECOND).await;
    client.write_all(b"whole\n").await.unwrap();
    client.read_exact(&mut [0; 11]).await.unwrap();
    assert_eq!(server.metrics().connections, 1);
}

/// docs/wire L42: a packet that is passed over has to end as well, and one that has ended is none.
#[tokio::test(start_paused = true)]
async fn a_packet_that_is_passed_over_is_cut_off_when_it_does_not_end() {
    for framing in [
        lines(),
        towline_codec::framing::Framing::length_prefixed(
            towline_codec::framing::LengthPrefix::U32Be,
        ),
    ] {
        let quiet = packet_fn(|_, _| async {});
        let packets = Packets::new(framing, 8, quiet).oversize(Oversize::Skip);
        let strategy = TaskPerConnection::reading(packets);
        let builder = Server::builder().packet_timeout(20 * SECOND);
        let (server, endpoint) = start_in_memory(builder, strategy).await;
        let (mut endless, mut over) = (join(&endpoint).await, join(&endpoint).await);
        // For one framing a long line, for the other 1,000 bytes of which two and then all are there.
        let begun = [&[0, 0, 3, 232][..], b"much too long"].concat();
        endless.write_all(&begun).await.unwrap();
        over.write_all(&begun).await.unwrap();
        over.write_all(&[b'\n'; 987]).await.unwrap();
        let start = now();
        for _ in 0..100 {
            sleep(SECOND).await;
            if server.metrics().connections < 2 {
                break;
            }
            endless.write_all(b"x").await.unwrap();
        }
        let took = now() - start;
        assert_eq!(server.metrics().closed.by(CloseReason::PacketTimeout), 1);
        assert!(about(took, 20 * SECOND), "{took:?}");
        sleep(100 * SECOND).await;
        assert_eq!(server.metrics().connections, 1);
        drop(over);
    }
}

/// docs/wire L42: packets that follow each other, each begun in the read that ends the one before, have their own time;
/// one that is begun behind a packet that was passed over has the time from its own beginning.
#[tokio::test(start_paused = true)]
async fn each_packet_has_its_own_time() {
    let quiet = packet_fn(|_, _| async {});
    let strategy = TaskPerConnection::reading(Packets::new(lines(), 8, quiet));
    let builder = Server::builder().packet_timeout(20 * SECOND);
    let (server, endpoint) = start_in_memory(builder, strategy).await;
    let mut client = join(&endpoint).await;
    // Several between two looks of the server, each of which finds one under way.
    sleep(SECOND / 2).await;
    for _ in 0..50 {
        client.write_all(b"half").await.unwrap();
        sleep(SECOND * 9 / 10).await;
        client.write_all(b" one\n").await.unwrap();
        sleep(SECOND / 10).await;
    }
    for piece in [
        "half",
        " one\nhalf",
        "\nmuch too long",
        " a line\nhalf",
        "\nover long ",
        "line\n",
    ] {
        client.write_all(piece.as_bytes()).await.unwrap();
        sleep(15 * SECOND).await;
    }
    sleep(100 * SECOND).await;
    assert_eq!(
        (server.metrics().connections, server.metrics().packets),
        (1, 53)
    );
}

/// docs/wire L31: a server that stops waits for a packet that is passed over as for any other, and not for one whose
/// handler is done.
#[tokio::test(start_paused = true)]
async fn a_stopping_server_knows_whether_a_packet_is_under_way() {
    let quiet = packet_fn(|_, _| async {});
    let strategy = TaskPerConnection::reading(Packets::new(lines(), 8, quiet));
    let (server, endpoint) = start_in_memory(Server::builder(), strategy).await;
    let (mut skipping, mut idle) = (join(&endpoint).await, join(&endpoint).await);
    skipping.write_all(b"much too long").await.unwrap();
    idle.write_all(b"much too long\n").await.unwrap();
    sleep(SECOND).await;
    let stopped = tokio::spawn(server.shutdown(60 * SECOND));
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0);
    sleep(SECOND).await;
    assert!(!stopped.is_finished());
    skipping.write_all(b" a line\n").await.unwrap();
    assert_eq!(skipping.read(&mut [0]).await.unwrap(), 0);
    drop((skipping, idle));
    assert_eq!(stopped.await.unwrap().cut_off, 0);
}
