//! Calls over QUIC (docs/wire F36).

#![cfg(feature = "tokio")]

use std::convert::Infallible;
use std::sync::Arc;

use tokio::task::JoinSet;
use towline::identity::{Authority, AuthorityOptions, LeafOptions, PreSharedKey};
use towline::rpc::proto::{Limits, WhenFull};
use towline::rpc::server::{ConnectionEvent, DownloadSink, ListenConfig, Push};
use towline::rpc::{CallError, Client, Context, Message, Server};
use towline::transport::{ConnectOptions, ListenOptions, Listener, connect_session};

/// docs/wire F36, R18: also inside the pre-shared-key layer.
#[tokio::test]
async fn calls_and_streams_pass_over_quic() {
    let authority = Authority::generate(&AuthorityOptions::new()).unwrap();
    let identity = |name: &str| Arc::new(authority.issue(&LeafOptions::new(name)).unwrap());
    let (ada, node) = (identity("ada"), identity("node"));
    let dir = tempfile::tempdir().unwrap();
    let psk = dir.path().join("psk");
    PreSharedKey::create(&psk).unwrap();
    for url in [
        "quic://127.0.0.1:0".to_owned(),
        format!("quic://127.0.0.1:0?psk={}", psk.display()),
    ] {
        let server = Server::builder()
            .call("who", |context: Context, _: Message| async move {
                let key = context.peer().public_key().map(|key| key.to_string());
                Ok::<_, Infallible>(Message::from_body(key.unwrap_or_default()))
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
        let config = ListenConfig::new().identity(Arc::clone(&node));
        let listening = server.listen(&url, config).await.unwrap();
        let client = Client::builder()
            .identity(Arc::clone(&ada))
            .connect_endpoint(listening.endpoint())
            .await
            .unwrap();
        let who = client.call(Message::request("who", "")).await.unwrap();
        assert_eq!(who.body, ada.public_key().to_string());
        let body = vec![7; 5_000_000];
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
        let mut parts = 0;
        while let Some(part) = download.next().await {
            assert_eq!(part.body.len(), 100_000);
            parts += 1;
        }
        assert_eq!(parts, 20);
        assert_eq!(download.finish().await.unwrap().body, "done");
        client.close().await;
        listening.shutdown(std::time::Duration::from_secs(5)).await;
    }
}

/// docs/wire K2, F36: a server hears of a client that has not called yet, and pushes to it.
#[tokio::test]
async fn a_server_may_speak_first() {
    let authority = Authority::generate(&AuthorityOptions::new()).unwrap();
    let identity = |name: &str| Arc::new(authority.issue(&LeafOptions::new(name)).unwrap());
    let server = Server::builder().build();
    let mut events = server.connections().events();
    let config = ListenConfig::new().identity(identity("node"));
    let listening = server.listen("quic://127.0.0.1:0", config).await.unwrap();
    let client = Client::builder()
        .identity(identity("ada"))
        .connect_endpoint(listening.endpoint())
        .await
        .unwrap();
    let mut listener = client.listen(WhenFull::Wait);
    let Some(ConnectionEvent::Connected(connection)) = events.next().await else {
        panic!("nobody came");
    };
    assert_eq!(connection.remote_addr(), client.local_addr());
    let push = Push::new("news", "you are first");
    connection.push(push).await.unwrap();
    let heard = listener.next().await.unwrap().unwrap();
    assert_eq!(heard.body, "you are first");
    client.close().await;
}

/// docs/wire K6: whatever runs at the other end, a connection from which no packet comes any more is over.
#[tokio::test]
async fn a_silent_end_is_noticed() {
    let authority = Authority::generate(&AuthorityOptions::new()).unwrap();
    let identity = |name: &str| Arc::new(authority.issue(&LeafOptions::new(name)).unwrap());
    let server = Server::builder()
        .call("echo", |_: Context, request: Message| async move {
            Ok::<_, Infallible>(Message::from_body(request.body))
        })
        .build();
    let config = ListenConfig::new().identity(identity("node"));
    let endpoint = "quic://127.0.0.1:0";
    // The server has a runtime of its own, which stops while its socket stays.
    let (told, heard) = std::sync::mpsc::channel();
    let (go, stay) = std::sync::mpsc::channel::<()>();
    let (stop, stopping) = tokio::sync::oneshot::channel::<()>();
    let serving = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let listening = runtime.block_on(async {
            let listening = server.listen(endpoint, config).await.unwrap();
            told.send(listening.endpoint().clone()).unwrap();
            stopping.await.ok();
            listening
        });
        // Nothing runs any more; the socket goes when the test is done.
        stay.recv().ok();
        drop((listening, runtime));
    });
    let there = tokio::task::spawn_blocking(move || heard.recv().unwrap())
        .await
        .unwrap();
    let client = Client::builder()
        .identity(identity("ada"))
        .limits(Limits::default().dead_peer(Some(std::time::Duration::from_secs(3))))
        .connect_endpoint(&there)
        .await
        .unwrap();
    let reply = client.call(Message::request("echo", "hi")).await.unwrap();
    assert_eq!(reply.body, "hi");
    stop.send(()).unwrap();
    let waiting = Message::request("echo", "is anybody there?");
    let error = client.call_with_timeout(waiting, None).await.unwrap_err();
    assert!(matches!(error, CallError::Closed(_)), "{error}");
    go.send(()).unwrap();
    serving.join().unwrap();
}

/// docs/wire F36: each stream of one connection carries a client of its own.
#[tokio::test]
async fn the_streams_of_a_session_carry_clients() {
    let authority = Authority::generate(&AuthorityOptions::new()).unwrap();
    let identity = |name: &str| Arc::new(authority.issue(&LeafOptions::new(name)).unwrap());
    let (ada, node) = (identity("ada"), identity("node"));
    let server = Server::builder()
        .call("who", |context: Context, _: Message| async move {
            let key = context.peer().public_key().map(|key| key.to_string());
            Ok::<_, Infallible>(Message::from_body(key.unwrap_or_default()))
        })
        .build();
    let endpoint = "quic://127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind(&endpoint, &ListenOptions::new().identity(node))
        .await
        .unwrap();
    let options = ConnectOptions::new().identity(Arc::clone(&ada));
    let dial = async {
        connect_session(listener.local_endpoint(), &options)
            .await
            .unwrap()
    };
    let serve = async { listener.accept().await.unwrap().session().await.unwrap() };
    let (here, there) = tokio::join!(dial, serve);
    let serving = tokio::spawn(async move {
        server
            .serve_session(&there, tokio_util::sync::CancellationToken::new())
            .await
    });
    for _ in 0..3 {
        let client = Client::builder().over(here.open().await.unwrap());
        let who = client.call(Message::request("who", "")).await.unwrap();
        assert_eq!(who.body, ada.public_key().to_string());
        client.close().await;
    }
    here.close().await.unwrap();
    serving.await.unwrap().unwrap();
}
