//! Calls behind an HTTP CONNECT: at an endpoint, and within a server of HTTP that has other things to do
//! (docs/wire F35).

#![cfg(feature = "tokio")]

use std::convert::Infallible;

use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use towline::identity::{Authority, AuthorityOptions, LeafOptions, Peer, PreSharedKey};
use towline::rpc::server::ListenConfig;
use towline::rpc::{Client, Context, Message, Server};
use towline::transport::http_connect::{PATH, REASON, is_wanted};

fn echo() -> Server {
    Server::builder()
        .call("echo", |_: Context, request: Message| async move {
            Ok::<_, Infallible>(Message::from_body(request.body))
        })
        .build()
}

/// docs/wire F35, R18: frames follow the answer, or the pre-shared-key handshake does.
#[tokio::test]
async fn calls_pass_with_and_without_a_pre_shared_key() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("psk");
    PreSharedKey::create(&file).expect("a key");
    let authority = Authority::generate(&AuthorityOptions::new()).expect("an authority");
    let identity = |name| {
        let leaf = authority.issue(&LeafOptions::new(name));
        std::sync::Arc::new(leaf.expect("a leaf"))
    };
    for query in [String::new(), format!("?psk={}", file.display())] {
        let config = ListenConfig::new().identity(identity("node"));
        let listening = echo()
            .listen(&format!("connect+tcp://127.0.0.1:0{query}"), config)
            .await
            .expect("bound");
        let client = Client::builder()
            .identity(identity("ada"))
            .connect_endpoint(listening.endpoint())
            .await
            .expect("connected");
        let reply = client.call(Message::request("echo", "hi")).await;
        assert_eq!(reply.expect("answered").body, "hi");
        client.close().await;
    }
}

/// docs/wire F35: a server of HTTP serves pages, and hands the connection over when it is asked to; whether by the
/// request of the original, LF alone and HTTP/1.0, or one with all that HTTP/1.1 wants.
#[tokio::test]
async fn a_server_of_http_hands_the_connection_over() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let server = echo();
    let http = tokio::spawn(async move {
        while let Ok((stream, from)) = listener.accept().await {
            let server = server.clone();
            let answer = service_fn(move |request: Request<Incoming>| {
                let server = server.clone();
                async move {
                    if !is_wanted(request.method().as_str(), request.uri().path()) {
                        return Ok::<_, Infallible>(Response::new("a page".to_owned()));
                    }
                    tokio::spawn(async move {
                        let Ok(upgraded) = hyper::upgrade::on(request).await else {
                            return;
                        };
                        let remote = format!("tcp://{from}");
                        let peer = Peer::unauthenticated(remote.as_str());
                        let io = TokioIo::new(upgraded);
                        let until = CancellationToken::new();
                        server
                            .serve_io(io, peer, "tcp://here", &remote, until)
                            .await;
                    });
                    let mut answer = Response::new(String::new());
                    *answer.status_mut() = StatusCode::OK;
                    let reason = ReasonPhrase::from_static(REASON.as_bytes());
                    answer.extensions_mut().insert(reason);
                    Ok(answer)
                }
            });
            tokio::spawn(
                http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answer)
                    .with_upgrades(),
            );
        }
    });

    let client = Client::builder()
        .connect(&format!("connect+tcp://{address}"))
        .await
        .expect("connected");
    let reply = client.call(Message::request("echo", "hi")).await;
    assert_eq!(reply.expect("answered").body, "hi");
    client.close().await;

    let mut stream = TcpStream::connect(address).await.expect("connected");
    let request = format!("CONNECT {PATH} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut status = [0; 32];
    stream.read_exact(&mut status).await.expect("read");
    assert_eq!(&status, b"HTTP/1.1 200 Connected to Go RPC");

    let mut stream = TcpStream::connect(address).await.expect("connected");
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut page = String::new();
    stream.read_to_string(&mut page).await.expect("read");
    assert!(page.ends_with("a page"), "{page}");
    http.abort();
}
