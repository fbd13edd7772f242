//! A call over TLS with the cryptography that this build has: ring, or AWS-LC with the feature
//! `aws-lc-rs`. Run with each, and with every feature at once.

#![cfg(feature = "tokio")]

use std::{convert::Infallible, sync::Arc, time::Duration};

use towline::{
    identity::{Authority, AuthorityOptions, LeafOptions},
    rpc::{Client, Context, Message, Server, server::ListenConfig},
};

/// docs/wire I18: which group was agreed on is tested beside the configurations.
#[tokio::test]
async fn a_call_arrives_over_tls() {
    let authority = Authority::generate(&AuthorityOptions::new()).unwrap();
    let leaf = |name| Arc::new(authority.issue(&LeafOptions::new(name)).unwrap());
    let server = Server::builder()
        .call("who", |caller: Context, _: Message| async move {
            let key = caller.peer().public_key().unwrap();
            Ok::<_, Infallible>(Message::from_body(key.to_string()))
        })
        .build();
    let (node, client) = (leaf("node"), leaf("client"));
    for cipher in ["chacha20-poly1305", "aes-128-gcm", "aes-256-gcm"] {
        let endpoint = format!("tls://127.0.0.1:0?cipher={cipher}");
        let config = ListenConfig::new().identity(Arc::clone(&node));
        let listening = server.listen(&endpoint, config).await.unwrap();
        let connected = Client::builder()
            .identity(Arc::clone(&client))
            .connect(&listening.endpoint().to_string())
            .await
            .unwrap();
        let reply = connected.call(Message::request("who", "")).await.unwrap();
        assert_eq!(reply.body, client.public_key().to_string());
        connected.close().await;
        listening.shutdown(Duration::from_secs(5)).await;
    }
}
