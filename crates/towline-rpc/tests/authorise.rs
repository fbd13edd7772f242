//! Who may call which service.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;
use towline_identity::{Authority, AuthorityOptions, LeafOptions, Peer, Verdict};
use towline_rpc::server::{DownloadSink, UploadParts};
use towline_rpc::{Client, Context, Message, Server};

const REFUSED: &str = "not authorised";

fn peer(email: &str) -> Peer {
    let authority = Authority::generate(&AuthorityOptions::new()).unwrap();
    let leaf = authority
        .issue(&LeafOptions::new("client").email(email))
        .unwrap();
    Peer::from_verified_certificate(leaf.certificate_der(), "tcp://10.0.0.1:4000").unwrap()
}

/// A server that lets only ada use what is not `open`, and how often a handler ran.
fn server() -> (Server, Arc<AtomicUsize>) {
    let ran = Arc::new(AtomicUsize::new(0));
    let count = || {
        let ran = Arc::clone(&ran);
        move || ran.fetch_add(1, Ordering::SeqCst)
    };
    let (call, open, one_way, upload, download) = (count(), count(), count(), count(), count());
    let answer = |_| async { Ok::<_, Infallible>(Message::from_body("done")) };
    let server = Server::builder()
        .authorise(|peer, service| {
            let ada = peer.emails() == ["ada@example.com"];
            if ada || service == "open" {
                Verdict::Allow
            } else {
                Verdict::refuse("only ada")
            }
        })
        .call("open", move |_: Context, _: Message| answer(open()))
        .call("work", move |_: Context, _: Message| answer(call()))
        .one_way("work", move |_: Context, _: Message| {
            one_way();
            async {}
        })
        .upload("work", move |_: Context, _: Message, _: UploadParts| {
            answer(upload())
        })
        .download("work", move |_: Context, _: Message, _: DownloadSink| {
            answer(download())
        })
        .build();
    (server, ran)
}

/// A client whose connection the server believes to be `peer`'s.
fn connect(server: Server, peer: Peer) -> Client {
    let (here, there) = tokio::io::duplex(64 << 10);
    tokio::spawn(async move {
        let shutdown = CancellationToken::new();
        server
            .serve_io(there, peer, "mem://b", "mem://a", shutdown)
            .await
    });
    let nobody = Peer::unauthenticated("mem://b");
    Client::builder().from_io(here, nobody, "mem://a", "mem://b")
}

async fn call(client: &Client, service: &'static str) -> Message {
    client.call(Message::request(service, "")).await.unwrap()
}

/// docs/wire E12
#[tokio::test]
async fn a_request_that_is_refused_runs_no_handler_and_ends_no_connection() {
    let (server, ran) = server();
    let client = connect(server, peer("eve@example.com"));
    assert_eq!(call(&client, "work").await.error, REFUSED);
    // Whether there is such a service is not told.
    assert_eq!(call(&client, "nothing").await.error, REFUSED);
    client
        .send_one_way(Message::request("work", ""))
        .await
        .unwrap();
    let upload = client
        .upload(Message::request("work", "part"))
        .await
        .unwrap();
    let reply = upload.finish(Message::from_body("last")).await.unwrap();
    assert_eq!(reply.error, REFUSED);
    let mut download = client.download(Message::request("work", "")).await.unwrap();
    assert!(download.next().await.is_none());
    assert_eq!(download.finish().await.unwrap().error, REFUSED);
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    assert_eq!(call(&client, "open").await.body, "done");
    assert_eq!(ran.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn who_may_is_served() {
    let (server, ran) = server();
    let client = connect(server, peer("ada@example.com"));
    assert_eq!(call(&client, "work").await.body, "done");
    assert_eq!(call(&client, "open").await.body, "done");
    assert_eq!(ran.load(Ordering::SeqCst), 2);
}

/// docs/wire E12
#[tokio::test]
async fn a_hook_that_panics_refuses_its_request_and_ends_no_connection() {
    let answer = |_: Context, _: Message| async { Ok::<_, Infallible>(Message::from_body("done")) };
    let server = Server::builder()
        .authorise(|_, service| {
            assert_ne!(service, "work", "a hook panics on purpose");
            Verdict::Allow
        })
        .call("open", answer)
        .call("work", answer)
        .build();
    let client = connect(server, peer("ada@example.com"));
    assert_eq!(call(&client, "work").await.error, REFUSED);
    assert_eq!(call(&client, "open").await.body, "done");
}
