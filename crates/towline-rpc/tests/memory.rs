//! What a hostile client can make a server allocate: counted by the allocator, not by the system.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
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
    server::{DownloadSink, UploadParts},
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

/// Where a bomb has its zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bomb {
    Body,
    Arg,
    /// As many parameters as there may be, all of them small.
    Args,
    Subject,
    FirstOfUpload,
    FirstOfDownload,
    /// In a field that nobody knows, beside a text that lies in the same memory.
    Unknown,
}

const BOMBS_OF_ALL_KINDS: [Bomb; 7] = [
    Bomb::Body,
    Bomb::Arg,
    Bomb::Args,
    Bomb::Subject,
    Bomb::FirstOfUpload,
    Bomb::FirstOfDownload,
    Bomb::Unknown,
];

impl Bomb {
    fn request(self) -> Message {
        let zeros = || vec![0; MAX_MESSAGE - 4096];
        let text = || Text::from_bytes(zeros().into());
        match self {
            Self::Body | Self::FirstOfUpload | Self::FirstOfDownload => {
                Message::request("echo", zeros())
            }
            Self::Arg => Message::request("echo", "").with_arg("a", text()),
            Self::Args => {
                let mut request = Message::request("echo", "");
                let args = (0..4096).map(|n| (Text::from(n.to_string()), Text::EMPTY));
                request.hdr.args.extend(args);
                request
            }
            Self::Subject => Message::request("echo", "").with_subject(text()),
            Self::Unknown => Message::request("echo", "").with_subject("x".repeat(100)),
        }
    }

    /// The bytes of as many as an attacker sends.
    fn bytes(self) -> Vec<u8> {
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        let now = Now {
            instant: std::time::Instant::now(),
            wall: Timestamp::new(1_800_000_000, 0),
        };
        let name = || Text::from_static("mem://test");
        let limits = Limits::default().credit(false);
        let compression = match self {
            Self::Unknown => Compression::None,
            _ => Compression::S2,
        };
        let mut client = proto::Client::new(limits, compression, name(), name(), [1; 32], now);
        let mut bytes = Vec::new();
        for _ in 0..BOMBS {
            let mut request = self.request();
            match self {
                Self::FirstOfUpload => {
                    client.begin_upload(now, &mut request);
                    client.enqueue(now, &request).unwrap();
                }
                Self::FirstOfDownload => {
                    client.begin_download(now, &mut request);
                    client.enqueue(now, &request).unwrap();
                }
                _ => {
                    client.call(now, request, None, ()).unwrap();
                }
            }
            let begin = bytes.len();
            while let Some(piece) = client.poll_transmit() {
                client.written(piece.len());
                bytes.extend_from_slice(&piece);
            }
            if self == Self::Unknown {
                add_unknown_field(&mut bytes, begin);
            }
        }
        assert!(self == Self::Unknown || bytes.len() < BOMBS * 32 * 1024);
        bytes
    }
}

/// Puts a field of zeros into the frame that begins there and holds a header alone.
fn add_unknown_field(bytes: &mut Vec<u8>, begin: usize) {
    assert_eq!(bytes[begin + 16], 0x81);
    bytes[begin + 16] = 0x82;
    let zeros = MAX_MESSAGE - 4096;
    bytes.extend_from_slice(b"\xa1x\xc6");
    bytes.extend_from_slice(&u32::try_from(zeros).unwrap().to_be_bytes());
    bytes.resize(bytes.len() + zeros, 0);
    let len = (bytes.len() - begin - 16) as u64;
    bytes[begin + 8..begin + 16].copy_from_slice(&len.to_be_bytes());
}

/// Sends all bombs at once and waits for all answers.
async fn attack(io: DuplexStream, bombs: Bytes) {
    let (mut reader, mut writer) = tokio::io::split(io);
    let writing = tokio::spawn(async move { writer.write_all(&bombs).await });
    for _ in 0..BOMBS {
        let mut head = [0; 16];
        reader.read_exact(&mut head).await.unwrap();
        let length = u64::from_be_bytes(head[8..].try_into().unwrap());
        assert!(length < 2 * MAX_MESSAGE as u64, "{length}");
        let mut body = vec![0; length as usize];
        reader.read_exact(&mut body).await.unwrap();
    }
    writing.await.unwrap().unwrap();
}

/// Bytes that serving all bombs took at most.
async fn flood(body_bytes: usize, bombs: Vec<u8>) -> usize {
    // Every handler takes its time, so that as many are in work as the server lets in.
    let echo = |_: Context, request: Message| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let reply = Message::from_body(request.body.to_vec());
        // All of it was held, not only the body.
        drop(request);
        Ok::<_, Infallible>(reply)
    };
    let wait = |first: Message| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(first);
        Ok::<_, Infallible>(Message::new())
    };
    let server = Server::builder()
        .limits(Limits::default().max_message(MAX_MESSAGE))
        .concurrency(Concurrency::default().body_bytes(body_bytes))
        .call("echo", echo)
        .upload("echo", move |_: Context, first: Message, _: UploadParts| {
            wait(first)
        })
        .download(
            "echo",
            move |_: Context, request: Message, _: DownloadSink| wait(request),
        )
        .build();
    // Not counted, and not copied for each connection.
    let bombs = Bytes::from(bombs);
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (here, there) = tokio::io::duplex(64 << 10);
        tasks.spawn(attack(here, bombs.clone()));
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
    let mut beyond = Vec::new();
    for bomb in BOMBS_OF_ALL_KINDS {
        let peak = flood(BODY_BYTES, bomb.bytes()).await;
        if peak > CONNECTIONS * BUDGET {
            beyond.push((bomb, peak));
        }
    }
    assert!(beyond.is_empty(), "{beyond:?}");
    // The test sees it if the budget is not there.
    let peak = flood(usize::MAX, Bomb::Body.bytes()).await;
    assert!(
        peak > CONNECTIONS * BOMBS * (MAX_MESSAGE / 2),
        "{peak} bytes"
    );
}
