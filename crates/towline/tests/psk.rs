//! Calls in the pre-shared-key layer (docs/wire R18).

#![cfg(feature = "tokio")]
#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use towline::identity::{Authority, AuthorityOptions, Identity, LeafOptions, PreSharedKey};
use towline::rpc::server::{DownloadSink, ListenConfig, Listening};
use towline::rpc::{Client, Compression, Context, Message, Server};
use towline::transport::{AcceptError, Connection, Endpoint, Peer, PskLayer};

struct Ends {
    ada: Arc<Identity>,
    node: Arc<Identity>,
    dir: tempfile::TempDir,
}

fn ends() -> Ends {
    let authority = Authority::generate(&AuthorityOptions::new()).unwrap();
    let identity = |name: &str| Arc::new(authority.issue(&LeafOptions::new(name)).unwrap());
    let ends = Ends {
        ada: identity("ada"),
        node: identity("node"),
        dir: tempfile::tempdir().unwrap(),
    };
    ends.key("psk");
    ends.key("other");
    ends
}

impl Ends {
    fn key(&self, name: &str) {
        PreSharedKey::create(self.path(name)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A server that tells who called, echoes, and sends a body of parts.
    async fn serve(&self, transport: &str) -> Listening {
        let server = Server::builder()
            .call("who", |context: Context, _: Message| async move {
                let key = context.peer().public_key();
                Ok::<_, Infallible>(Message::from_body(
                    key.map(|key| key.to_string()).unwrap_or_default(),
                ))
            })
            .call("echo", |_: Context, request: Message| async move {
                Ok::<_, Infallible>(Message::from_body(request.body))
            })
            .download(
                "parts",
                |_: Context, _: Message, mut sink: DownloadSink| async move {
                    for part in 0..20_u8 {
                        let part = Message::from_body(vec![part; 100_000]);
                        sink.send(part).await.map_err(|error| error.to_string())?;
                    }
                    Ok::<_, String>(Message::from_body("done"))
                },
            )
            .build();
        let config = ListenConfig::new().identity(Arc::clone(&self.node));
        let url = url(transport, &self.path("psk"));
        server.listen(&url, config).await.unwrap()
    }

    async fn connect(&self, listening: &Listening, compression: Compression) -> Client {
        Client::builder()
            .identity(Arc::clone(&self.ada))
            .compression(compression)
            .connect_endpoint(listening.endpoint())
            .await
            .unwrap()
    }
}

fn url(transport: &str, file: &Path) -> String {
    let endpoint: Endpoint = transport.parse().unwrap();
    endpoint.with_psk(file.to_owned()).to_string()
}

/// docs/wire R18, R20
#[tokio::test]
async fn calls_and_streams_pass_through_the_layer_on_every_transport() {
    let ends = ends();
    let socket = format!("unix://{}", ends.path("socket").display());
    for transport in ["tcp://127.0.0.1:0", "tls://127.0.0.1:0", &socket] {
        let listening = ends.serve(transport).await;
        for compression in [Compression::None, Compression::S2] {
            let client = ends.connect(&listening, compression).await;
            let who = client.call(Message::request("who", "")).await.unwrap();
            assert_eq!(who.body, ends.ada.public_key().to_string(), "{transport}");
            let body: Vec<u8> = (0..5_000_000_u32).map(|at| (at % 251) as u8).collect();
            let reply = client
                .call(Message::request("echo", body.clone()))
                .await
                .unwrap();
            assert!(reply.body == body);
            let mut calls = JoinSet::new();
            for call in 0..200_u32 {
                let client = client.clone();
                calls.spawn(async move {
                    let body = call.to_be_bytes().to_vec();
                    let reply = client
                        .call(Message::request("echo", body.clone()))
                        .await
                        .unwrap();
                    assert_eq!(reply.body, body);
                });
            }
            while let Some(call) = calls.join_next().await {
                call.unwrap();
            }
            let mut download = client
                .download(Message::request("parts", ""))
                .await
                .unwrap();
            for part in 0..20_u8 {
                let got = download.next().await.unwrap().body;
                assert!(got.len() == 100_000 && got.iter().all(|byte| *byte == part));
            }
            assert!(download.next().await.is_none());
            assert_eq!(download.finish().await.unwrap().body, "done");
            client.close().await;
        }
    }
}

/// docs/wire R15, R21: connecting says so, and nothing is tried.
#[tokio::test]
async fn different_keys_end_connecting_at_once_and_say_why() {
    let ends = ends();
    let listening = ends.serve("tcp://127.0.0.1:0").await;
    let there = listening.endpoint().clone().with_psk(ends.path("other"));
    let error = Client::builder()
        .identity(Arc::clone(&ends.ada))
        .connect_endpoint(&there)
        .await
        .unwrap_err();
    assert!(error.is_permanent());
    assert!(
        error.to_string().contains("different pre-shared keys"),
        "{error}"
    );
    // The next who comes with the right file is served.
    let client = ends.connect(&listening, Compression::None).await;
    assert_eq!(
        client
            .call(Message::request("echo", "y"))
            .await
            .unwrap()
            .body,
        "y"
    );
}

/// A client without a key at a server with one, and the reverse: errors, not silence.
#[tokio::test]
async fn one_end_without_a_key_is_told_so() {
    let ends = ends();
    let listening = ends.serve("tcp://127.0.0.1:0").await;
    let plain = listening.endpoint().clone().with_psk(None);
    let client = Client::builder()
        .call_timeout(None)
        .connect_endpoint(&plain)
        .await
        .unwrap();
    let error = client
        .call(Message::request("echo", "x"))
        .await
        .unwrap_err();
    // Nothing tells a plain client why; but it is told at once.
    assert!(error.to_string().contains("clos"), "{error}");

    let server = Server::builder().build();
    let open = server
        .listen("tcp://127.0.0.1:0", ListenConfig::new())
        .await
        .unwrap();
    let there = open.endpoint().clone().with_psk(ends.path("psk"));
    let error = Client::builder()
        .identity(Arc::clone(&ends.ada))
        .connect_endpoint(&there)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("uses no pre-shared key"),
        "{error}"
    );
}

/// docs/wire R18, R21: on any stream of bytes, one of a multiplexed session for instance; who comes with another key
/// is told so, and no handler sees it.
#[tokio::test]
async fn the_layer_stands_on_any_stream_of_bytes() {
    let ends = ends();
    let layer = async |identity: &Arc<Identity>, name: &str| {
        PskLayer::load(ends.path(name), Arc::clone(identity))
            .await
            .unwrap()
    };
    let over = |io| {
        let peer = Peer::unauthenticated("mem://x");
        Connection::new(Box::new(io), peer, "mem://x", "mem://x")
    };
    let server = Server::builder()
        .call("who", |context: Context, _: Message| async move {
            let key = context.peer().public_key();
            Ok::<_, Infallible>(Message::from_body(
                key.map(|key| key.to_string()).unwrap_or_default(),
            ))
        })
        .build();
    let ours = layer(&ends.node, "psk").await;
    for (name, is_right) in [("psk", true), ("other", false)] {
        let (here, there) = tokio::io::duplex(64 << 10);
        let (server, layer_there) = (server.clone(), ours.clone());
        let served = tokio::spawn(async move {
            let until = CancellationToken::new();
            server.serve_psk(over(there), &layer_there, until).await
        });
        let here = over(here);
        let client = Client::builder()
            .over_psk(here, &layer(&ends.ada, name).await)
            .await;
        if is_right {
            let client = client.unwrap();
            let who = client.call(Message::request("who", "")).await.unwrap();
            assert_eq!(who.body, ends.ada.public_key().to_string());
            client.close().await;
            served.await.unwrap().unwrap();
        } else {
            let error = client.unwrap_err();
            assert!(error.is_permanent(), "{error}");
            let refused = served.await.unwrap().unwrap_err();
            assert!(matches!(refused, AcceptError::DifferentKeys { .. }));
        }
    }
}
