//! Pools towards servers that refuse them.

#![cfg(feature = "tokio")]
#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

use std::{path::Path, sync::Arc};

use towline::{
    identity::{Authority, AuthorityOptions, Identity, LeafOptions, PreSharedKey},
    rpc::{
        CallError, Client, Message, Pool, Server,
        client::ClientBuilder,
        pool::{NoConnection, PoolEvent},
        server::{ListenConfig, Listening},
    },
    transport::Endpoint,
};

fn identity(authority: &Authority, name: &str) -> Arc<Identity> {
    Arc::new(authority.issue(&LeafOptions::new(name)).unwrap())
}

async fn listen(url: &str, identity: &Arc<Identity>) -> Listening {
    let config = ListenConfig::new().identity(Arc::clone(identity));
    Server::builder().build().listen(url, config).await.unwrap()
}

/// Calls until the pool gives up; returns why, and how often it has tried.
async fn given_up(endpoint: &Endpoint, client: ClientBuilder) -> (String, usize) {
    let pool = Pool::builder()
        .address(endpoint.to_string())
        .client(client)
        .build()
        .unwrap();
    let mut events = pool.events();
    let error = loop {
        match pool.call(Message::request("echo", "")).await.unwrap_err() {
            error @ CallError::NoConnection(NoConnection::GivenUp(_)) => break error,
            CallError::Closed(_) => {}
            other => panic!("{other}"),
        }
    };
    let mut tried = 1;
    loop {
        match events.next().await.unwrap() {
            PoolEvent::Gone { retry_in: None, .. } => return (error.to_string(), tried),
            PoolEvent::Gone { .. } => tried += 1,
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_certificate_that_either_end_refuses_is_shown_once() {
    let [ours, theirs] =
        std::array::from_fn(|_| Authority::generate(&AuthorityOptions::new()).unwrap());
    let node = identity(&ours, "node");
    let listening = listen("tls://127.0.0.1:0", &node).await;
    // They refuse ours, which a client learns with their first word, or we theirs.
    let stranger = Client::builder()
        .identity(identity(&theirs, "eve"))
        .trust(towline::identity::Trust::keys([node.public_key()]));
    let (why, tried) = given_up(listening.endpoint(), stranger).await;
    assert_eq!(tried, 1, "{why}");
    assert!(why.contains("refused"), "{why}");
    let stranger = Client::builder().identity(identity(&theirs, "eve"));
    let (why, tried) = given_up(listening.endpoint(), stranger).await;
    assert_eq!(tried, 1, "{why}");
    assert!(why.contains("not acceptable"), "{why}");
}

/// docs/wire R21
#[tokio::test]
async fn another_pre_shared_key_is_never_tried_again() {
    let authority = Authority::generate(&AuthorityOptions::new()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let url = |base: &str, file: &Path| {
        let endpoint: Endpoint = base.parse().unwrap();
        endpoint.with_psk(file.to_owned())
    };
    let [ours, theirs] = ["ours", "theirs"].map(|name| dir.path().join(name));
    PreSharedKey::create(&ours).unwrap();
    PreSharedKey::create(&theirs).unwrap();
    let server = url("tcp://127.0.0.1:0", &theirs).to_string();
    let listening = listen(&server, &identity(&authority, "node")).await;
    let endpoint = listening.endpoint().clone().with_psk(ours.clone());
    let client = Client::builder().identity(identity(&authority, "ada"));
    let (why, tried) = given_up(&endpoint, client).await;
    assert_eq!(tried, 1, "{why}");
    assert!(why.contains("different pre-shared keys"), "{why}");
}
