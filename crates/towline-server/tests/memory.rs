//! What connections that wait cost.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use peak_alloc::PeakAlloc;
use towline_codec::framing::Framing;
use towline_server::{
    PacketHandler, Packets, SendError, Server, Socket, Strategy, TaskPerConnection, WorkerPool,
};
use towline_transport::{ConnectOptions, ListenOptions, Listener, connect};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Connections that are there before anything is measured, and those that are measured.
const BEFORE: usize = 100;
const MEASURED: usize = 200;

struct Echo(Framing);

impl PacketHandler for Echo {
    type State = ();

    async fn on_accept(&self, _: &Socket) {}

    async fn on_packet(&self, (): &mut (), socket: &Socket, packet: &[u8]) {
        socket.send_packet(&self.0, packet).unwrap();
    }
}

/// Bytes of the heap for each connection that has had a packet there and back, and waits for the next.
async fn each(strategy: impl Strategy) -> usize {
    let endpoint = "tcp://127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind(&endpoint, &ListenOptions::new()).await;
    let server = Server::builder()
        .start([listener.unwrap()], strategy)
        .unwrap();
    let address = server.handle().local_addr().unwrap();
    let mut clients = Vec::with_capacity(BEFORE + MEASURED);
    let mut measured = Vec::new();
    for count in [BEFORE, BEFORE + MEASURED] {
        // Sockets of the standard library have nothing on the heap.
        while clients.len() < count {
            let mut client = TcpStream::connect(address).unwrap();
            client.write_all(b"are you there?\n").unwrap();
            clients.push(client);
        }
        while server.metrics().packets < count as u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for client in &mut clients[measured.len() * BEFORE..] {
            client.read_exact(&mut [0; 15]).unwrap();
        }
        measured.push(MEMORY.current_usage());
    }
    server.shutdown(Duration::from_secs(10)).await;
    (measured[1] - measured[0]) / MEASURED
}

/// Bytes of the heap that the smallest messages take when no more of them may wait, and the limit.
async fn full_of_single_bytes() -> (usize, usize) {
    let max = 1 << 20;
    let listener = Listener::bind(&"mem://memory".parse().unwrap(), &ListenOptions::new()).await;
    let server = Server::builder()
        .max_queued(max)
        .start(
            [listener.unwrap()],
            TaskPerConnection::new(async |stream| {
                stream.closed().await;
            }),
        )
        .unwrap();
    let client = connect(&"mem://memory".parse().unwrap(), &ConnectOptions::new()).await;
    while server.sockets().is_empty() {
        tokio::task::yield_now().await;
    }
    let socket = server.sockets().remove(0);
    // More than is on its way in memory.
    socket.send(vec![0; 300_000]).unwrap();
    let before = MEMORY.current_usage();
    let mut sent = 0;
    let full = loop {
        match socket.send(vec![1]) {
            Ok(_) => sent += 1,
            Err(full) => break full,
        }
    };
    let took = MEMORY.current_usage() - before;
    assert!(matches!(full, SendError::Full { queued, .. } if queued <= max));
    // Somebody who waits for room is not told that there is some.
    let mut waits = pin!(socket.send_when_ready(vec![1]));
    assert!((&mut waits).now_or_never().is_none());
    assert!(!socket.is_writable() && sent > 1000, "{sent}");
    drop(client);
    (took, max)
}

/// docs/wire L45, L46: neither a buffer nor a task of the runtime. All in one test, and nothing else in this program: what is
/// counted is all of it.
#[tokio::test]
async fn a_connection_that_waits_costs_less_than_a_kilobyte() {
    let lines = Framing::separator("\n").unwrap();
    let packets = || Packets::new(lines.clone(), 4096, Echo(lines.clone()));
    let pool = each(WorkerPool::new(packets()).build().unwrap()).await;
    assert!(pool <= 850, "{pool}");
    let task = each(TaskPerConnection::reading(packets())).await;
    assert!(task <= 1000, "{task}");
    let (took, max) = full_of_single_bytes().await;
    assert!(took <= max, "{took}");
}
