//! QUIC over real sockets (docs/wire F36).

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

mod keys;

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use towline_identity::Identity;
use towline_transport::{
    AcceptError, Authorisation, ConnectError, ConnectOptions, Connection, Endpoint, ListenOptions,
    Listener, Records, SharedUdp, TlsProblem, Trust, connect, describe_io_error,
};

use keys::{authority, identity};

struct Ends {
    ada: Arc<Identity>,
    node: Arc<Identity>,
}

fn ends() -> Ends {
    let authority = authority();
    Ends {
        ada: identity(&authority, "ada"),
        node: identity(&authority, "node"),
    }
}

impl Ends {
    async fn listen(&self, url: &str, options: ListenOptions) -> Listener {
        let options = options.identity(Arc::clone(&self.node));
        Listener::bind(&url.parse().unwrap(), &options)
            .await
            .unwrap()
    }

    fn dialling(&self) -> ConnectOptions {
        ConnectOptions::new().identity(Arc::clone(&self.ada))
    }
}

/// Echoes every connection; ends with the test.
fn echo(listener: Listener) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let incoming = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let Ok(connection) = incoming.handshake().await else {
                    return;
                };
                let (mut read, mut write) = tokio::io::split(connection);
                if tokio::io::copy(&mut read, &mut write).await.is_ok() {
                    write.shutdown().await.unwrap();
                }
            });
        }
    })
}

/// Sends, half closes and reads to the end.
async fn round_trip(connection: Connection, bytes: &[u8]) {
    let (mut read, mut write) = tokio::io::split(connection);
    let send = async {
        write.write_all(bytes).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let mut got = Vec::new();
    let ((), result) = tokio::join!(send, read.read_to_end(&mut got));
    result.unwrap();
    assert_eq!(got.len(), bytes.len());
    assert!(got == bytes);
}

#[tokio::test]
async fn bytes_pass_both_ways_under_every_suite() {
    let ends = ends();
    let bytes: Vec<u8> = (0..2_000_000_u32).map(|at| (at % 253) as u8).collect();
    for suite in ["", "?cipher=aes-128-gcm", "?cipher=aes-256-gcm"] {
        let url = format!("quic://127.0.0.1:0{suite}");
        let listener = ends.listen(&url, ListenOptions::new()).await;
        let here = listener.local_endpoint().clone();
        echo(listener);
        let connection = connect(&here, &ends.dialling()).await.unwrap();
        assert_eq!(connection.peer().public_key(), Some(ends.node.public_key()));
        assert!(
            connection.local_addr().starts_with("udp://127.0.0.1:"),
            "{}",
            connection.local_addr()
        );
        assert_eq!(
            connection.remote_addr(),
            format!("udp://127.0.0.1:{}", here.port().unwrap())
        );
        round_trip(connection, &bytes).await;
    }
}

#[tokio::test]
async fn the_server_knows_who_is_there() {
    let ends = ends();
    let listener = ends.listen("quic://[::1]:0", ListenOptions::new()).await;
    let here = listener.local_endpoint().clone();
    let dial = async {
        let mut client = connect(&here, &ends.dialling()).await.unwrap();
        // Until the first byte the stream is not visible at the other end.
        client.write_all(b"x").await.unwrap();
        client
    };
    let serve = async { listener.accept().await.unwrap().handshake().await.unwrap() };
    let (client, mut server) = tokio::join!(dial, serve);
    assert_eq!(server.peer().public_key(), Some(ends.ada.public_key()));
    assert_eq!(server.remote_addr(), client.local_addr());
    assert_eq!(server.read_u8().await.unwrap(), b'x');
}

#[tokio::test]
async fn many_connections_at_once() {
    let ends = ends();
    let listener = ends
        .listen("quic://127.0.0.1:0", ListenOptions::new())
        .await;
    let here = listener.local_endpoint().clone();
    echo(listener);
    let mut clients = JoinSet::new();
    for client in 0..50_u8 {
        let (here, options) = (here.clone(), ends.dialling());
        clients.spawn(async move {
            let connection = connect(&here, &options).await.unwrap();
            round_trip(connection, &[client; 10_000]).await;
        });
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
}

/// P1: somebody who is refused hears so, and the listener goes on.
#[tokio::test]
async fn who_is_refused_hears_so_and_the_listener_goes_on() {
    let ends = ends();
    let only_node = Authorisation::keys([ends.node.public_key()]);
    let listener = ends
        .listen(
            "quic://127.0.0.1:0",
            ListenOptions::new().authorise(only_node),
        )
        .await;
    let here = listener.local_endpoint().clone();
    let (told, mut outcomes) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let incoming = listener.accept().await.unwrap();
            let told = told.clone();
            tokio::spawn(async move { drop(told.send(incoming.handshake().await.map(drop))) });
        }
    });
    for _ in 0..3 {
        // In TLS 1.3 the client may have finished before the server judges it.
        let refused = match connect(&here, &ends.dialling()).await {
            Ok(mut connection) => {
                // Written or not, the answer is the refusal.
                let _sent = connection.write_all(b"x").await;
                describe_io_error(&connection.read_u8().await.unwrap_err())
            }
            Err(ConnectError::RefusedByPeer { why, .. }) => Some(TlsProblem::Refused(why)),
            Err(error) => panic!("{error}"),
        };
        assert!(
            matches!(refused, Some(TlsProblem::Refused(_))),
            "{refused:?}"
        );
        let outcome = outcomes.recv().await.unwrap();
        assert!(
            matches!(outcome, Err(AcceptError::NotAdmitted { .. })),
            "{outcome:?}"
        );
    }
    let welcome = ConnectOptions::new().identity(Arc::clone(&ends.node));
    let mut connection = connect(&here, &welcome).await.unwrap();
    connection.write_all(b"x").await.unwrap();
    assert!(outcomes.recv().await.unwrap().is_ok());
}

#[tokio::test]
async fn a_client_refuses_whom_it_does_not_trust() {
    let (ours, theirs) = (ends(), ends());
    let listener = theirs
        .listen("quic://127.0.0.1:0", ListenOptions::new())
        .await;
    let here = listener.local_endpoint().clone();
    echo(listener);
    let error = connect(&here, &ours.dialling()).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::PeerCertificate { .. }),
        "{error}"
    );
    let pinned = theirs
        .dialling()
        .trust(Trust::keys([theirs.ada.public_key()]));
    let error = connect(&here, &pinned).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::UntrustedKey { .. }),
        "{error}"
    );
    let anonymous = connect(&here, &ConnectOptions::new()).await.unwrap_err();
    assert!(matches!(anonymous, ConnectError::MissingIdentity { .. }));
}

#[tokio::test]
async fn nobody_there_is_an_error_that_names_the_endpoint() {
    let ends = ends();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let url: Endpoint = format!("quic://{}", socket.local_addr().unwrap())
        .parse()
        .unwrap();
    let options = ends
        .dialling()
        .connect_timeout(std::time::Duration::from_millis(50));
    let error = connect(&url, &options).await.unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut { .. }), "{error}");
    assert!(error.to_string().contains("quic://"));
}

/// A connection that is closed without the end of its stream is no clean end of bytes; to messages,
/// which say themselves where they end, it is one: the original knows no other.
#[tokio::test]
async fn closing_the_connection_is_the_end_of_messages_only() {
    let ends = ends();
    for records in [Records::Bytes, Records::Messages] {
        let listener = ends
            .listen("quic://127.0.0.1:0", ListenOptions::new().records(records))
            .await;
        let here = listener.local_endpoint().clone();
        let dial = async {
            let mut client = connect(&here, &ends.dialling()).await.unwrap();
            client.write_all(b"x").await.unwrap();
            client
        };
        let serve = async { listener.accept().await.unwrap().handshake().await.unwrap() };
        let (client, mut server) = tokio::join!(dial, serve);
        assert_eq!(server.read_u8().await.unwrap(), b'x');
        drop(client);
        let end = server.read(&mut [0; 8]).await;
        match records {
            Records::Bytes => assert!(end.is_err()),
            _ => assert_eq!(end.unwrap(), 0),
        }
    }
}

/// A listener and two clients on one port, of which one calls the listener itself; whoever goes, the others stay.
#[tokio::test]
async fn a_listener_and_clients_share_one_port() {
    let ends = ends();
    let far = ends
        .listen("quic://127.0.0.1:0", ListenOptions::new())
        .await;
    let there = far.local_endpoint().clone();
    echo(far);
    let port = SharedUdp::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = port.local_addr().unwrap();
    let listener = ends
        .listen("quic://127.0.0.1:0", ListenOptions::new().shared_udp(&port))
        .await;
    let here = listener.local_endpoint().clone();
    assert_eq!(here.port(), Some(address.port()));
    let echoing = echo(listener);

    let sharing = ends.dialling().shared_udp(&port);
    let first = connect(&there, &sharing).await.unwrap();
    let second = connect(&here, &sharing).await.unwrap();
    for client in [&first, &second] {
        assert_eq!(client.local_addr(), format!("udp://{address}"));
    }
    let outside = connect(&here, &ends.dialling()).await.unwrap();
    round_trip(first, &[1; 10_000]).await;
    round_trip(second, &[2; 10_000]).await;
    round_trip(outside, &[3; 10_000]).await;

    // Without the listener clients go on, those that are there and new ones.
    let mut kept = connect(&there, &sharing).await.unwrap();
    echoing.abort();
    assert!(echoing.await.unwrap_err().is_cancelled());
    let soon = ends
        .dialling()
        .connect_timeout(std::time::Duration::from_millis(50));
    let nobody = connect(&here, &soon).await.unwrap_err();
    assert!(matches!(nobody, ConnectError::TimedOut { .. }), "{nobody}");
    kept.write_all(b"x").await.unwrap();
    assert_eq!(kept.read_u8().await.unwrap(), b'x');
    round_trip(connect(&there, &sharing).await.unwrap(), &[4; 10]).await;

    // And without clients another listener does.
    drop(kept);
    let again = ends
        .listen("quic://127.0.0.1:0", ListenOptions::new().shared_udp(&port))
        .await;
    assert_eq!(again.local_endpoint().port(), Some(address.port()));
    echo(again);
    round_trip(connect(&here, &ends.dialling()).await.unwrap(), &[5; 10]).await;
}

#[tokio::test]
async fn a_shared_port_has_one_listener_and_one_address() {
    let ends = ends();
    let port = SharedUdp::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let bound = port.local_addr().unwrap();
    let options = ListenOptions::new()
        .identity(Arc::clone(&ends.node))
        .shared_udp(&port);
    let bind = async |url: String| Listener::bind(&url.parse().unwrap(), &options).await;
    let elsewhere = bind("quic://[::1]:0".to_owned()).await.unwrap_err();
    assert!(
        elsewhere.to_string().contains(&bound.to_string()),
        "{elsewhere}"
    );
    let first = bind(format!("quic://{bound}")).await.unwrap();
    let second = bind("quic://127.0.0.1:0".to_owned()).await.unwrap_err();
    assert!(second.to_string().contains("in use"), "{second}");
    drop(first);
    bind("quic://127.0.0.1:0".to_owned()).await.unwrap();

    let sharing = ends.dialling().shared_udp(&port);
    let error = connect(&"quic://[::1]:9".parse().unwrap(), &sharing)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("bind it to [::]"), "{error}");
}

/// `[::]` reaches both kinds of addresses, and says where packets leave from.
#[tokio::test]
async fn a_shared_port_of_every_address_dials_both_kinds() {
    let ends = ends();
    let port = SharedUdp::bind("[::]:0".parse().unwrap()).unwrap();
    let bound = port.local_addr().unwrap().port();
    for host in ["127.0.0.1", "[::1]"] {
        let listener = ends
            .listen(&format!("quic://{host}:0"), ListenOptions::new())
            .await;
        let there = listener.local_endpoint().clone();
        echo(listener);
        let client = connect(&there, &ends.dialling().shared_udp(&port))
            .await
            .unwrap();
        assert_eq!(client.local_addr(), format!("udp://{host}:{bound}"));
        round_trip(client, &[6; 1000]).await;
    }
}
