//! Sliding-window sessions as connections, over UDP.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use towline_identity::{Authority, AuthorityOptions, Identity, LeafOptions};
use towline_mux::Role;
use towline_transport::{
    ConnectError, ConnectOptions, Endpoint, ListenError, ListenOptions, Listener, Multiplexer,
    connect, connect_session,
};

fn identities() -> (Arc<Identity>, Arc<Identity>) {
    let authority = Authority::generate(&AuthorityOptions::new().days(1)).unwrap();
    let leaf = |name| Arc::new(authority.issue(&LeafOptions::new(name).days(1)).unwrap());
    (leaf("node"), leaf("client"))
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 8)) as u8).collect()
}

async fn bind(url: &str, options: &ListenOptions) -> Listener {
    Listener::bind(&url.parse().unwrap(), options)
        .await
        .unwrap()
}

#[tokio::test]
async fn bytes_go_both_ways_and_both_ends_end() {
    let (node, client) = identities();
    let listening = ListenOptions::new().identity(node);
    let dialling = ConnectOptions::new().identity(client);
    for url in ["udp://127.0.0.1:0", "tls+udp://127.0.0.1:0"] {
        let listener = bind(url, &listening).await;
        let endpoint = listener.local_endpoint().clone();
        assert_ne!(endpoint.port(), Some(0));
        let serving = tokio::spawn(async move {
            let incoming = listener.accept().await.unwrap();
            let mut connection = incoming.handshake().await.unwrap();
            assert!(connection.remote_addr().starts_with("udp://127.0.0.1:"));
            assert!(connection.peer().ip().is_some());
            let is_known = connection.peer().is_authenticated();
            let mut got = Vec::new();
            connection.read_to_end(&mut got).await.unwrap();
            connection.write_all(&got).await.unwrap();
            connection.shutdown().await.unwrap();
            is_known
        });
        let mut connection = connect(&endpoint, &dialling).await.unwrap();
        assert_eq!(connection.peer().is_authenticated(), endpoint.has_tls());
        let sent = bytes(400_000);
        connection.write_all(&sent).await.unwrap();
        connection.shutdown().await.unwrap();
        let mut back = Vec::new();
        connection.read_to_end(&mut back).await.unwrap();
        assert!(back == sent);
        assert_eq!(serving.await.unwrap(), endpoint.has_tls());
    }
}

/// As with a socket: what was written arrives though its writer is gone.
#[tokio::test]
async fn a_dropped_connection_delivers_what_was_written() {
    let listener = bind("udp://127.0.0.1:0", &ListenOptions::new()).await;
    let endpoint = listener.local_endpoint().clone();
    let mut connection = connect(&endpoint, &ConnectOptions::new()).await.unwrap();
    let mut accepted = listener.accept().await.unwrap().handshake().await.unwrap();
    connection.write_all(&bytes(100_000)).await.unwrap();
    drop(connection);
    let mut got = Vec::new();
    accepted.read_to_end(&mut got).await.unwrap();
    assert!(got == bytes(100_000));
}

#[tokio::test]
async fn many_streams_go_over_a_session() {
    let (node, client) = identities();
    let listener = bind(
        "tls+udp://127.0.0.1:0",
        &ListenOptions::new().identity(node),
    )
    .await;
    let endpoint = listener
        .local_endpoint()
        .clone()
        .with_multiplexer(Multiplexer::Yamux);
    let serving = tokio::spawn(async move {
        let connection = listener.accept().await.unwrap().handshake().await.unwrap();
        let session = connection.into_session(Multiplexer::Yamux, Role::Server);
        for _ in 0..3 {
            let mut stream = session.accept().await.unwrap().unwrap();
            let mut got = Vec::new();
            stream.read_to_end(&mut got).await.unwrap();
            stream.write_all(&got).await.unwrap();
            stream.shutdown().await.unwrap();
        }
        while let Ok(Some(_)) = session.accept().await {}
    });
    let options = ConnectOptions::new().identity(client);
    let session = connect_session(&endpoint, &options).await.unwrap();
    for number in 1..=3 {
        let mut stream = session.open().await.unwrap();
        stream.write_all(&bytes(number * 10_000)).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).await.unwrap();
        assert!(back == bytes(number * 10_000));
    }
    session.close().await.unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn who_cannot_be_reached_is_an_error() {
    // Bound and silent.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("udp://{}", silent.local_addr().unwrap());
    let options = ConnectOptions::new().connect_timeout(Duration::from_millis(300));
    let error = connect(&url.parse().unwrap(), &options).await.unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut { .. }), "{error}");
    assert!(error.hint().unwrap().contains("other end"), "{error}");

    let tls: Endpoint = url.replace("udp", "tls+udp").parse().unwrap();
    let nobody = Listener::bind(&tls, &ListenOptions::new())
        .await
        .unwrap_err();
    assert!(
        matches!(nobody, ListenError::MissingIdentity { .. }),
        "{nobody}"
    );
    let anywhere = "udp://0.0.0.0:0".parse().unwrap();
    let error = Listener::bind(&anywhere, &ListenOptions::new())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("address that clients dial"),
        "{error}"
    );
}

/// A session's inbox is an address: a name is resolved before, and `0.0.0.0` is nobody's.
#[tokio::test]
async fn a_name_is_resolved_and_nobodys_address_is_refused() {
    let listener = bind("udp://127.0.0.1:0", &ListenOptions::new()).await;
    let port = listener.local_endpoint().port().unwrap();
    let serving = tokio::spawn(async move { listener.accept().await.is_ok() });
    let url = format!("udp://localhost:{port}");
    // Where the name stands for an IPv6 address first, half of the time is for that.
    let options = ConnectOptions::new().connect_timeout(Duration::from_secs(2));
    let connection = connect(&url.parse().unwrap(), &options).await.unwrap();
    assert_eq!(connection.remote_addr(), format!("udp://127.0.0.1:{port}"));
    assert!(serving.await.unwrap());

    let anywhere = "udp://0.0.0.0:9000".parse().unwrap();
    let error = connect(&anywhere, &options).await.unwrap_err();
    let ConnectError::Unreachable { source, .. } = &error else {
        panic!("{error}");
    };
    let text = source.to_string();
    assert!(text.contains("0.0.0.0:9000 is nobody's address"), "{text}");
}

/// A stranger's certificate is refused inside the handshake, as over TCP.
#[tokio::test]
async fn a_stranger_is_refused() {
    let (node, _) = identities();
    let (_, stranger) = identities();
    let listener = bind(
        "tls+udp://127.0.0.1:0",
        &ListenOptions::new().identity(node),
    )
    .await;
    let endpoint = listener.local_endpoint().clone();
    let serving = tokio::spawn(async move {
        let incoming = listener.accept().await.unwrap();
        incoming.handshake().await.is_err()
    });
    let options = ConnectOptions::new().identity(stranger);
    assert!(connect(&endpoint, &options).await.is_err());
    assert!(serving.await.unwrap());
}
