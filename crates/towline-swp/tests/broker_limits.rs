//! What a real nats-server does not allow.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a test that is left out says so")]

use std::{io::ErrorKind, path::Path, sync::Arc, time::Duration};

use tokio::task::spawn_blocking;
use towline_swp::{
    PushError, Session,
    network::{
        InboxLimits, Network,
        broker::Broker,
        nats::{NatsConfig, NatsNetwork},
    },
    proto::{CloseReason, Config},
};

/// A broker with this configuration, unless none is on this machine.
fn broker(file: &Path, config: &str) -> Option<Broker> {
    if Broker::program().is_none() && std::env::var_os("TOWLINE_REQUIRE_NATS").is_none() {
        println!("not run: there is no nats-server here; apt-get install nats-server");
        return None;
    }
    std::fs::write(file, config).unwrap();
    Some(Broker::start_with(&["-c", file.to_str().unwrap()]).unwrap())
}

/// A subscription that the broker refuses is an error at once.
#[tokio::test]
async fn a_subject_that_is_not_allowed_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("nats.conf");
    let config = r#"
        authorization {
          users = [ { user: me, password: secret, permissions: {
            publish: [">"], subscribe: ["mine.>", "_INBOX.>"] } } ]
        }"#;
    let Some(broker) = broker(&file, config) else {
        return;
    };
    let stranger = NatsNetwork::connect(&broker.url()).await.unwrap_err();
    assert!(
        stranger.to_string().contains("authorization violation"),
        "{stranger}"
    );
    let wrong = broker.url().replace("//", "//me:wrong@");
    assert!(NatsNetwork::connect(&wrong).await.is_err());
    let named = broker.url().replace("//", "//me:se%63ret@");
    NatsNetwork::connect(&named).await.unwrap();
    let network = NatsConfig::new(wrong)
        .credentials("me", "secret")
        .connect()
        .await
        .unwrap();
    let limits = InboxLimits::new(10, 1000);
    network.listen(&"mine.a".into(), limits).await.unwrap();
    let refused = network
        .listen(&"theirs.a".into(), limits)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    let text = refused.to_string();
    assert!(text.contains("subscribe to theirs.a: allow it"), "{text}");
    let wrong = network.listen(&"mine.*".into(), limits).await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::InvalidInput);
}

/// A subscription is confirmed by a message to oneself: who may not send or hear that is told what to ask for.
#[tokio::test]
async fn who_cannot_write_to_itself_is_told_what_permission_is_missing() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("nats.conf");
    let config = r#"
        authorization {
          users = [
            { user: deaf, password: secret, permissions: { publish: [">"], subscribe: ["mine.>"] } }
            { user: mute, password: secret, permissions: {
              publish: ["mine.>"], subscribe: ["mine.>", "_INBOX.>"] } }
          ]
        }"#;
    let Some(broker) = broker(&file, config) else {
        return;
    };
    for (user, missing) in [("deaf", "subscribe to"), ("mute", "publish on")] {
        let url = broker.url().replace("//", &format!("//{user}:secret@"));
        let network = NatsNetwork::connect(&url).await.unwrap();
        let limits = InboxLimits::new(10, 1000);
        let error = network.listen(&"mine.a".into(), limits).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        let text = error.to_string();
        let expected = format!("does not let this user {missing} _INBOX.>,");
        assert!(text.contains(&expected), "{text}");
        let remedy = "allow the user to subscribe to _INBOX.> and to publish on it";
        assert!(text.contains(remedy), "{text}");
    }
}

/// A packet that the broker will never carry ends its session, with the reason.
#[tokio::test]
async fn a_packet_above_a_new_limit_of_the_broker_ends_the_session() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("nats.conf");
    let Some(mut broker) = broker(&file, "max_payload: 65536\n") else {
        return;
    };
    let (here, there) = (
        NatsNetwork::connect(&broker.url()).await.unwrap(),
        NatsNetwork::connect(&broker.url()).await.unwrap(),
    );
    let listening = Config::new("limit.b", "limit.a");
    let accepting = tokio::spawn(Session::accept(Arc::new(there), listening));
    let opening = Config::new("limit.a", "limit.b");
    let session = Session::connect(Arc::new(here), opening).await.unwrap();
    let _peer = accepting.await.unwrap().unwrap();
    session.push(vec![0; 50_000]).await.unwrap();
    std::fs::write(&file, "max_payload: 8192\n").unwrap();
    let _broker = spawn_blocking(move || {
        broker.restart().unwrap();
        broker
    })
    .await
    .unwrap();
    let push = tokio::time::timeout(Duration::from_secs(60), session.push(vec![0; 50_000])).await;
    let error = push.expect("the session has ended").unwrap_err();
    let PushError::Unacknowledged(CloseReason::Unsendable(text)) = error else {
        panic!("{error}");
    };
    assert!(text.contains("8192"), "{text}");
}
