//! A TLS server among clients that misbehave: it names each of them and goes on serving the others.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use towline_identity::{Authority, AuthorityOptions, Identity, LeafOptions};
use towline_server::Server;
use towline_transport::{
    ConnectError, ConnectOptions, Connection, Endpoint, ListenOptions, Listener, connect,
};

fn authority() -> Authority {
    Authority::generate(&AuthorityOptions::new()).unwrap()
}

fn identity(authority: &Authority, name: &str) -> Arc<Identity> {
    Arc::new(authority.issue(&LeafOptions::new(name)).unwrap())
}

async fn ask(connection: &mut Connection) -> u8 {
    connection.write_u8(7).await.unwrap();
    connection.flush().await.unwrap();
    connection.read_u8().await.unwrap()
}

#[tokio::test]
async fn a_good_client_is_served_whatever_the_others_do() {
    let ours = authority();
    let options = ListenOptions::new().identity(identity(&ours, "node"));
    let listener = Listener::bind(&"tls://127.0.0.1:0".parse().unwrap(), &options)
        .await
        .unwrap();
    let endpoint: Endpoint = listener.local_endpoint().clone();
    let port = endpoint.port().unwrap();
    let server = Server::builder()
        .serve([listener], |mut connection: Connection, _| async move {
            assert!(connection.peer().is_authenticated());
            while let Ok(byte) = connection.read_u8().await {
                let answered = async {
                    connection.write_u8(byte).await?;
                    connection.flush().await
                };
                if answered.await.is_err() {
                    break;
                }
            }
        })
        .unwrap();
    let good = ConnectOptions::new().identity(identity(&ours, "ada"));
    let mut client = connect(&endpoint, &good).await.unwrap();
    assert_eq!(ask(&mut client).await, 7);

    let raw = || async { TcpStream::connect(("127.0.0.1", port)).await.unwrap() };
    // Clients that say nothing hold their place and delay nobody.
    let silent = [raw().await, raw().await, raw().await];
    assert_eq!(ask(&mut client).await, 7);

    // Text, an older TLS, half a record, random bytes, nothing at all.
    let old_tls = [0x16, 0x03, 0x01, 0x00, 0x05, 0x01, 0x00, 0x00, 0x01, 0x03];
    let noise: Vec<u8> = (0..5000_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &old_tls,
        &[0x16, 0x03, 0x01, 0x40],
        &noise,
        &[],
    ] {
        let mut stream = raw().await;
        // The server may hang up in the middle of it.
        let _sent_or_not = stream.write_all(bytes).await;
        let _shut_or_not = stream.shutdown().await;
        let mut answer = Vec::new();
        let _closed_or_reset = stream.read_to_end(&mut answer).await;
        assert!(answer.len() < 16, "an alert at most: {answer:?}");
        assert_eq!(ask(&mut client).await, 7);
    }

    // Another authority's client, whose own side refuses the server.
    let foreign = ConnectOptions::new().identity(identity(&authority(), "eve"));
    let error = connect(&endpoint, &foreign).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::PeerCertificate { .. }),
        "{error}"
    );
    // A plain client that believes itself connected, and is cut off.
    let plain: Endpoint = format!("tcp://127.0.0.1:{port}").parse().unwrap();
    let mut believer = connect(&plain, &ConnectOptions::new()).await.unwrap();
    believer.write_all(&[0xb3; 4096]).await.unwrap();
    let _closed_or_reset = believer.read_to_end(&mut Vec::new()).await;

    // Clients that vanish: one in its handshake, one in the middle of a request.
    drop(raw().await);
    let mut vanishing = connect(&endpoint, &good).await.unwrap();
    vanishing.write_u8(1).await.unwrap();
    drop(vanishing);
    assert_eq!(ask(&mut client).await, 7);
    let mut late = connect(&endpoint, &good).await.unwrap();
    assert_eq!(ask(&mut late).await, 7);

    // Five odd ones, the foreign one, the plain one and the one that vanished in its handshake.
    while server.counters().handshake_failures < 8 || server.counters().active > 5 {
        tokio::task::yield_now().await;
    }
    let counters = server.counters();
    assert_eq!(
        (
            counters.handshake_failures,
            counters.handler_panics,
            counters.active
        ),
        (8, 0, 5)
    );
    drop((client, late, silent));
    let drained = server.shutdown(Duration::from_secs(60)).await;
    assert_eq!(drained.cut_off, 0);
}
