//! Connections of proxies that say for whom they connect.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use towline_server::{ProxyProtocol, Server, SocketStream, TaskPerConnection};

use crate::support::{dial, echoes, hangs_up, start, until};

/// Says who its client is, then sends back what comes.
fn who() -> TaskPerConnection {
    TaskPerConnection::new(|mut stream: SocketStream| async move {
        let who = format!("{} {}\n", stream.remote(), stream.peer().address());
        stream.send(who).unwrap();
        let mut bytes = [0; 64];
        while let Ok(count @ 1..) = stream.read(&mut bytes).await {
            stream.send_slice(&bytes[..count]).unwrap();
        }
    })
}

async fn line(client: &mut tokio::net::TcpStream) -> String {
    let mut line = String::new();
    while !line.ends_with('\n') {
        line.push(client.read_u8().await.unwrap().into());
    }
    line
}

/// docs/wire L51.
#[tokio::test]
async fn the_address_a_proxy_names_is_the_peers() {
    let server = start(
        Server::builder().proxy_protocol(ProxyProtocol::required()),
        who(),
    )
    .await;
    let mut client = dial(&server).await;
    // What follows the header in the same segment is the client's.
    client
        .write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 443\r\nhello")
        .await
        .unwrap();
    assert_eq!(
        line(&mut client).await,
        "tcp://192.0.2.7:40000 tcp://192.0.2.7:40000\n"
    );
    let mut back = [0; 5];
    client.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"hello");

    let mut client = dial(&server).await;
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x24";
    let body = [&[0x20, 1, 0x0d, 0xb8][..], &[0; 28], &[0x9c, 0x40, 1, 0xbb]].concat();
    // Byte by byte.
    for byte in header.iter().chain(&body) {
        client.write_all(&[*byte]).await.unwrap();
    }
    assert!(
        line(&mut client)
            .await
            .starts_with("tcp://[2001:db8::]:40000 ")
    );
    assert!(echoes(&mut client, "hello").await);
}

/// docs/wire L51.
#[tokio::test]
async fn headers_are_believed_from_trusted_networks_only() {
    let elsewhere = ProxyProtocol::from_networks(["10.0.0.0/8".parse().unwrap()]);
    let server = start(Server::builder().proxy_protocol(elsewhere), who()).await;
    let mut client = dial(&server).await;
    assert!(line(&mut client).await.starts_with("tcp://127.0.0.1:"));
    assert!(echoes(&mut client, "PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n").await);
}

/// docs/wire L34, L51.
#[tokio::test]
async fn headers_that_are_wrong_late_or_of_denied_clients_are_refused_and_counted() {
    let builder = Server::builder()
        .proxy_protocol(ProxyProtocol::required())
        .proxy_timeout(Duration::from_millis(50))
        .deny(["192.0.2.0/24".parse().unwrap()]);
    let server = start(builder, who()).await;
    let cases: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 nonsense\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 1 1\r\n",
        // And silence.
        b"",
    ];
    for (number, said) in cases.into_iter().enumerate() {
        let mut client = dial(&server).await;
        client.write_all(said).await.unwrap();
        assert!(hangs_up(&mut client).await, "{}", said.escape_ascii());
        until(|| server.counters().refused_proxy_headers == number as u64 + 1).await;
    }
    until(|| server.counters().active == 0).await;
    assert_eq!(server.metrics().max_connections, 0);
}
