//! What a hostile client can make a server allocate: counted by the allocator, not by the system.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{convert::Infallible, time::Duration};

use peak_alloc::PeakAlloc;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use towline_codec::{Text, greenpack::Timestamp};
use towline_identity::Peer;
use towline_rpc::{
    Context, Message, Server,
    proto::{self, Compression, Concurrency, Limits, Now},
};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const CONNECTIONS: usize = 3;
const BOMBS: usize = 64;
/// What a client can make of less than a kilobyte.
const MAX_MESSAGE: usize = 1 << 20;
const BODY_BYTES: usize = 2 << 20;

/// For one connection: the bodies in work, of which the last may go beyond the budget; as much again
/// for their answers; one message being decompressed and one answer being encoded, each with room to
/// grow into; and the buffers of the connection.
const BUDGET: usize = 2 * (BODY_BYTES + MAX_MESSAGE) + 4 * MAX_MESSAGE + (4 << 20);

/// Calls whose bodies are zeros.
fn bombs() -> Vec<u8> {
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    let now = Now {
        instant: std::time::Instant::now(),
        wall: Timestamp::new(1_800_000_000, 0),
    };
    let name = || Text::from_static("mem://test");
    let limits = Limits::default();
    let mut client = proto::Client::new(limits, Compression::S2, name(), name(), [1; 32], now);
    let mut bytes = Vec::new();
    for _ in 0..BOMBS {
        let request = Message::request("echo", vec![0; MAX_MESSAGE - 4096]);
        client.call(now, request, None, ()).unwrap();
        while let Some(piece) = client.poll_transmit() {
            client.written(piece.len());
            bytes.extend_from_slice(&piece);
        }
    }
    assert!(bytes.len() < BOMBS * 1024);
    bytes
}

/// Sends all bombs at once and waits for all answers.
async fn attack(io: DuplexStream, bombs: Vec<u8>) {
    let (mut reader, mut writer) = tokio::io::split(io);
    let writing = tokio::spawn(async move { writer.write_all(&bombs).await });
    for _ in 0..BOMBS {
        let mut head = [0; 16];
        reader.read_exact(&mut head).await.unwrap();
        let length = u64::from_be_bytes(head[8..].try_into().unwrap());
        assert!(length < 4096, "{length}");
        let mut body = vec![0; length as usize];
        reader.read_exact(&mut body).await.unwrap();
    }
    writing.await.unwrap().unwrap();
}

/// Bytes that serving all bombs took at most.
async fn flood(body_bytes: usize, bombs: &[u8]) -> usize {
    // Every handler takes its time, so that as many are in work as the server lets in.
    let echo = |_: Context, request: Message| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok::<_, Infallible>(Message::from_body(request.body.to_vec()))
    };
    let server = Server::builder()
        .limits(Limits::default().max_message(MAX_MESSAGE))
        .concurrency(Concurrency::default().body_bytes(body_bytes))
        .call("echo", echo)
        .build();
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (here, there) = tokio::io::duplex(64 << 10);
        tasks.spawn(attack(here, bombs.to_vec()));
        let server = server.clone();
        tasks.spawn(async move {
            let peer = Peer::unauthenticated("mem://test");
            let shutdown = CancellationToken::new();
            server
                .serve_io(there, peer, "mem://b", "mem://a", shutdown)
                .await;
        });
    }
    tasks.join_all().await;
    MEMORY.peak_usage() - before
}

/// docs/wire C5: one test, because the allocator counts for all of the process.
#[tokio::test(start_paused = true)]
async fn a_flood_of_bombs_takes_no_more_memory_than_the_budget() {
    let bombs = bombs();
    let peak = flood(BODY_BYTES, &bombs).await;
    assert!(peak <= CONNECTIONS * BUDGET, "{peak} bytes");
    // The test sees it if the budget is not there.
    let peak = flood(usize::MAX, &bombs).await;
    assert!(
        peak > CONNECTIONS * BOMBS * (MAX_MESSAGE / 2),
        "{peak} bytes"
    );
}
