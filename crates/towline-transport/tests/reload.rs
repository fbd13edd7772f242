//! A listener whose identity is exchanged while it runs (docs/wire I37).

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

mod keys;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use towline_identity::{Authority, AuthorityOptions, Identity, LeafOptions, LiveIdentity};
use towline_transport::{
    AcceptError, ConnectError, ConnectOptions, Connection, ListenOptions, Listener, connect,
};

use keys::{authority, identity};

async fn listen(live: &LiveIdentity) -> Listener {
    let options = ListenOptions::new().identity(live.clone());
    Listener::bind(&"tls://127.0.0.1:0".parse().unwrap(), &options)
        .await
        .unwrap()
}

/// A connection of this client, as both ends see it.
async fn meet(
    listener: &Listener,
    client: &Arc<Identity>,
) -> (
    Result<Connection, AcceptError>,
    Result<Connection, ConnectError>,
) {
    let options = ConnectOptions::new().identity(Arc::clone(client));
    tokio::join!(
        async { listener.accept().await.unwrap().handshake().await },
        connect(listener.local_endpoint(), &options),
    )
}

#[tokio::test]
async fn key_and_authorities_change_together_and_live_connections_stay() {
    let (old, new) = (authority(), authority());
    let (old_client, new_client) = (identity(&old, "client"), identity(&new, "client"));
    let live = LiveIdentity::new(identity(&old, "node"));
    let listener = listen(&live).await;
    let (served, connected) = meet(&listener, &old_client).await;
    let (mut served, mut connected) = (served.unwrap(), connected.unwrap());
    assert_eq!(
        connected.peer().public_key(),
        Some(live.current().public_key())
    );

    let before = live.current();
    let next = identity(&new, "node");
    assert!(Arc::ptr_eq(&live.replace(Arc::clone(&next)), &before));
    let (accepted, dialled) = meet(&listener, &new_client).await;
    assert_eq!(
        accepted.unwrap().peer().public_key(),
        Some(new_client.public_key())
    );
    assert_eq!(
        dialled.unwrap().peer().public_key(),
        Some(next.public_key())
    );
    // The old authority's clients are strangers now, on both sides.
    let (accepted, dialled) = meet(&listener, &old_client).await;
    assert!(accepted.is_err() && dialled.is_err());

    connected.write_all(b"still here").await.unwrap();
    connected.flush().await.unwrap();
    let mut heard = [0; 10];
    served.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"still here");
}

#[tokio::test]
async fn an_identity_that_cannot_be_used_does_not_stop_a_server_that_works() {
    let good = authority();
    let (node, client) = (identity(&good, "node"), identity(&good, "client"));
    let live = LiveIdentity::new(Arc::clone(&node));
    let listener = listen(&live).await;

    // Its only authority ended years ago: no verifier can be made from it.
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    let over = Authority::generate(&AuthorityOptions::new().days(10).at(then)).unwrap();
    let ended = over.issue(&LeafOptions::new("node").at(then)).unwrap();
    live.replace(Arc::new(ended));
    for _ in 0..2 {
        let (accepted, dialled) = meet(&listener, &client).await;
        accepted.unwrap();
        assert_eq!(
            dialled.unwrap().peer().public_key(),
            Some(node.public_key())
        );
    }
}
