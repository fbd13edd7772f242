//! Both ends of every transport, and what each side hears when it goes wrong.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

mod keys;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use towline_identity::Identity;
use towline_transport::{
    AcceptError, ConnectError, ConnectOptions, Connection, Endpoint, ListenError, ListenOptions,
    Listener, TlsProblem, connect, describe_io_error,
};

use keys::{authority, identity};

fn as_client(identity: &Arc<Identity>) -> ConnectOptions {
    ConnectOptions::new().identity(Arc::clone(identity))
}

fn as_server(identity: &Arc<Identity>) -> ListenOptions {
    ListenOptions::new().identity(Arc::clone(identity))
}

fn url(text: &str) -> Endpoint {
    text.parse().unwrap()
}

async fn bind(text: &str, options: &ListenOptions) -> Listener {
    Listener::bind(&url(text), options).await.unwrap()
}

async fn accept(listener: &Listener) -> Result<Connection, AcceptError> {
    listener.accept().await.unwrap().handshake().await
}

#[tokio::test]
async fn every_transport_carries_bytes_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let authority = authority();
    let (node, ada) = (identity(&authority, "node"), identity(&authority, "ada"));
    let unix = format!("unix://{}/s", dir.path().display());
    for text in [
        "tcp://127.0.0.1:0",
        "tls://127.0.0.1:0",
        "tls://127.0.0.1:0?cipher=aes-128-gcm",
        &unix,
        "mem://both-ways",
    ] {
        let listener = bind(text, &as_server(&node)).await;
        let server = async {
            let mut connection = accept(&listener).await.unwrap();
            assert!(connection.is_write_vectored(), "{text}");
            let mut bytes = Vec::new();
            connection.read_to_end(&mut bytes).await.unwrap();
            connection.write_all(&bytes).await.unwrap();
            connection.shutdown().await.unwrap();
            connection
        };
        let client = async {
            let connection = connect(listener.local_endpoint(), &as_client(&ada))
                .await
                .unwrap();
            assert!(connection.is_write_vectored(), "{text}");
            let (local, remote, peer) = (
                connection.local_addr().to_owned(),
                connection.remote_addr().to_owned(),
                connection.peer().clone(),
            );
            let (mut reader, mut writer) = tokio::io::split(connection);
            let sent: Vec<u8> = (0..4_000_000_u32)
                .map(|at| (at ^ (at >> 9)) as u8)
                .collect();
            let mut received = Vec::new();
            let write = async {
                writer.write_all(&sent).await.unwrap();
                writer.shutdown().await.unwrap();
            };
            let (_, read) = tokio::join!(write, reader.read_to_end(&mut received));
            read.unwrap();
            assert!(sent == received, "{text}");
            (local, remote, peer)
        };
        let (served, (local, remote, peer)) = tokio::join!(server, client);
        assert_eq!(served.peer().address(), served.remote_addr());
        if text.starts_with("tls") {
            assert_eq!(served.peer().public_key(), Some(ada.public_key()));
            assert_eq!(served.peer().emails(), ["ada@localhost"]);
            assert_eq!(peer.public_key(), Some(node.public_key()));
        } else {
            assert!(!served.peer().is_authenticated() && !peer.is_authenticated());
        }
        match text.split_once(':').unwrap().0 {
            "tcp" | "tls" => {
                assert!(local.starts_with("tcp://127.0.0.1:"), "{local}");
                let port = listener.local_endpoint().port().unwrap();
                assert_eq!(remote, format!("tcp://127.0.0.1:{port}"));
                assert_eq!(
                    (served.local_addr(), served.remote_addr()),
                    (remote.as_str(), local.as_str())
                );
            }
            scheme => {
                assert_eq!(remote, listener.local_endpoint().to_string());
                assert_eq!(served.local_addr(), remote);
                assert!(served.remote_addr().starts_with(&format!("{scheme}://")));
            }
        }
    }
}

#[tokio::test]
async fn a_foreign_client_is_refused_and_reads_why() {
    let (ours, theirs) = (authority(), authority());
    let node = identity(&ours, "node");
    // This client trusts the server, but its own certificate is another authority's.
    let dir = tempfile::tempdir().unwrap();
    identity(&theirs, "eve")
        .save(dir.path(), "eve", false)
        .unwrap();
    let root = tempfile::tempdir().unwrap();
    ours.save(root.path(), false).unwrap();
    let roots = dir.path().join("ca.crt");
    let mut text = std::fs::read(&roots).unwrap();
    text.extend(std::fs::read(root.path().join("ca.crt")).unwrap());
    std::fs::write(&roots, text).unwrap();
    let eve = Arc::new(Identity::load(dir.path(), "eve").unwrap());

    let listener = bind("tls://127.0.0.1:0", &as_server(&node)).await;
    let server = async {
        let error = accept(&listener).await.unwrap_err();
        assert!(
            matches!(&error, AcceptError::Refused { why, .. } if why.contains("authority")),
            "{error}"
        );
    };
    let client = async {
        let mut connection = connect(listener.local_endpoint(), &as_client(&eve))
            .await
            .unwrap();
        // Requests that were sent at once must not hide the reason.
        let _sent_or_not = connection.write_all(&[0; 200_000]).await;
        let _flushed_or_not = connection.flush().await;
        let error = connection.read_u8().await.unwrap_err();
        let problem = describe_io_error(&error).expect("the refusal is recognised");
        assert!(
            matches!(&problem, TlsProblem::Refused(why) if why.contains("authority")),
            "{problem}"
        );
        let wrapped = io::Error::other(error);
        assert_eq!(describe_io_error(&wrapped), Some(problem));
    };
    tokio::join!(server, client);
    assert_eq!(
        describe_io_error(&io::ErrorKind::ConnectionReset.into()),
        None
    );
}

#[tokio::test]
async fn a_foreign_server_is_refused_by_the_client() {
    let (ours, theirs) = (authority(), authority());
    let listener = bind("tls://127.0.0.1:0", &as_server(&identity(&theirs, "node"))).await;
    let options = as_client(&identity(&ours, "ada"));
    let (server, client) = tokio::join!(
        accept(&listener),
        connect(listener.local_endpoint(), &options)
    );
    let error = client.unwrap_err();
    assert!(
        matches!(&error, ConnectError::PeerCertificate { why, .. } if why.contains("authority")),
        "{error}"
    );
    assert_eq!(error.endpoint(), listener.local_endpoint().to_string());
    let error = server.unwrap_err();
    assert!(
        matches!(&error, AcceptError::RefusedByPeer { why, .. } if why.contains("authority")),
        "{error}"
    );
}

#[tokio::test]
async fn different_suites_are_named_as_the_reason() {
    let authority = authority();
    let listener = bind(
        "tls://127.0.0.1:0?cipher=aes-256-gcm",
        &as_server(&identity(&authority, "node")),
    )
    .await;
    let plain = url(&format!(
        "tls://127.0.0.1:{}",
        listener.local_endpoint().port().unwrap()
    ));
    let options = as_client(&identity(&authority, "ada"));
    let (server, client) = tokio::join!(accept(&listener), connect(&plain, &options));
    let error = client.unwrap_err();
    assert!(
        matches!(&error, ConnectError::RefusedByPeer { why, .. } if why.contains("cipher")),
        "{error}"
    );
    let error = server.unwrap_err();
    assert!(error.to_string().contains("?cipher="), "{error}");
}

#[tokio::test]
async fn a_plain_client_on_a_tls_port_is_named_and_hung_up_on() {
    let listener = bind(
        "tls://127.0.0.1:0",
        &as_server(&identity(&authority(), "node")),
    )
    .await;
    let port = listener.local_endpoint().port().unwrap();
    let client = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        // Closed or reset, but not left waiting; all it gets is an alert.
        let _closed = stream.read_to_end(&mut answer).await;
        assert!(answer.len() < 16, "{answer:?}");
    };
    let (server, ()) = tokio::join!(accept(&listener), client);
    assert!(
        matches!(server, Err(AcceptError::NotTls { .. })),
        "{server:?}"
    );
}

#[tokio::test]
async fn a_tls_client_at_a_plain_port_names_what_it_met() {
    let options = as_client(&identity(&authority(), "ada"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = url(&format!("tls://{}", listener.local_addr().unwrap()));
    for banner in [&b"220 mail.example.com ready\r\n"[..], b""] {
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(banner).await.unwrap();
            let mut hello = [0; 1024];
            let _client_hello = stream.read(&mut hello).await.unwrap();
        };
        let ((), client) = tokio::join!(server, connect(&endpoint, &options));
        let error = client.unwrap_err();
        match banner {
            b"" => assert!(matches!(error, ConnectError::Closed { .. }), "{error}"),
            _ => assert!(matches!(error, ConnectError::NotTls { .. }), "{error}"),
        }
        assert!(error.hint().unwrap().contains("tcp://"), "{error}");
    }
}

#[tokio::test]
async fn silent_peers_are_given_up_on() {
    let authority = authority();
    let short = Duration::from_millis(100);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = url(&format!("tls://{}", silent.local_addr().unwrap()));
    let options = as_client(&identity(&authority, "ada")).connect_timeout(short);
    let error = connect(&endpoint, &options).await.unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut { .. }), "{error}");

    let listener = bind(
        "tls://127.0.0.1:0",
        &as_server(&identity(&authority, "node")).handshake_timeout(short),
    )
    .await;
    let port = listener.local_endpoint().port().unwrap();
    let _client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let error = accept(&listener).await.unwrap_err();
    assert!(matches!(error, AcceptError::TimedOut { .. }), "{error}");
}

#[tokio::test]
async fn a_client_that_leaves_in_the_handshake_is_named() {
    let listener = bind(
        "tls://127.0.0.1:0",
        &as_server(&identity(&authority(), "node")),
    )
    .await;
    let port = listener.local_endpoint().port().unwrap();
    drop(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    let error = accept(&listener).await.unwrap_err();
    assert!(matches!(error, AcceptError::Closed { .. }), "{error}");
}

#[tokio::test]
async fn missing_keys_are_asked_for_before_anything_is_dialled() {
    let endpoint = url("tls://192.0.2.1:1");
    let error = connect(&endpoint, &ConnectOptions::new())
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConnectError::MissingIdentity { .. }),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("tow keys new"));
    let error = Listener::bind(&url("tls://127.0.0.1:0"), &ListenOptions::new())
        .await
        .unwrap_err();
    assert!(
        matches!(error, ListenError::MissingIdentity { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn nobody_there_is_told_apart_from_nowhere() {
    let options = ConnectOptions::new();
    let dir = tempfile::tempdir().unwrap();
    let gone = bind("tcp://127.0.0.1:0", &ListenOptions::new()).await;
    let endpoint = gone.local_endpoint().clone().with_fragment("secret/path");
    drop(gone);
    for endpoint in [
        endpoint,
        url("mem://nobody-here"),
        url(&format!("unix://{}/nobody", dir.path().display())),
    ] {
        let error = connect(&endpoint, &options).await.unwrap_err();
        assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains(&endpoint.without_fragment().to_string()) && !text.contains("secret"),
            "{text}"
        );
        assert_eq!(
            io::Error::from(error).kind(),
            io::ErrorKind::ConnectionRefused
        );
    }
    let error = connect(&url("tcp://no-such-host.invalid:1"), &options)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ConnectError::Resolve { .. } | ConnectError::TimedOut { .. }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn every_address_of_a_name_is_tried() {
    // `localhost` is ::1 and 127.0.0.1 on most machines; only one of them listens.
    let listener = bind("tcp://127.0.0.1:0", &ListenOptions::new()).await;
    let endpoint = url(&format!(
        "tcp://localhost:{}",
        listener.local_endpoint().port().unwrap()
    ));
    let (server, client) = tokio::join!(accept(&listener), async {
        connect(&endpoint, &ConnectOptions::new()).await.unwrap()
    });
    assert_eq!(client.local_addr(), server.unwrap().remote_addr());
}

#[tokio::test]
async fn the_unspecified_ipv6_address_accepts_ipv4() {
    let listener = match Listener::bind(&url("tcp://[::]:0"), &ListenOptions::new()).await {
        Ok(listener) => listener,
        Err(error) => {
            println!("skipped: no IPv6 here ({error})");
            return;
        }
    };
    let port = listener.local_endpoint().port().unwrap();
    assert_ne!(port, 0);
    let client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let local = client.local_addr().unwrap();
    let server = accept(&listener).await;
    assert_eq!(server.unwrap().remote_addr(), format!("tcp://{local}"));
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let first = bind("tcp://127.0.0.1:0", &ListenOptions::new()).await;
    let error = Listener::bind(first.local_endpoint(), &ListenOptions::new())
        .await
        .unwrap_err();
    assert!(matches!(error, ListenError::InUse { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains(&first.local_endpoint().to_string())
    );
}

#[tokio::test]
async fn an_accept_that_is_cancelled_loses_nobody() {
    for text in ["tcp://127.0.0.1:0", "mem://cancelled-accept"] {
        let listener = bind(text, &ListenOptions::new()).await;
        for _ in 0..20 {
            tokio::select! {
                biased;
                _ = listener.accept() => panic!("nobody has called yet"),
                () = std::future::ready(()) => {}
            }
        }
        let options = ConnectOptions::new();
        let (server, client) = tokio::join!(
            async {
                loop {
                    tokio::select! {
                        biased;
                        incoming = listener.accept() => break incoming.unwrap(),
                        () = tokio::task::yield_now() => {}
                    }
                }
            },
            connect(listener.local_endpoint(), &options),
        );
        assert_eq!(server.remote().to_string(), client.unwrap().local_addr());
    }
}

#[tokio::test]
async fn futures_and_types_can_move_between_threads() {
    fn send<T: Send>(_: &T) {}
    fn send_sync<T: Send + Sync>() {}
    fn carries_bytes<T: AsyncWrite + Send + Unpin>() {}
    let (endpoint, options) = (url("mem://contract"), ConnectOptions::new());
    send(&connect(&endpoint, &options));
    let listener = bind("mem://contract", &ListenOptions::new()).await;
    send(&Listener::bind(&endpoint, &ListenOptions::new()));
    send(&accept(&listener));
    send_sync::<Listener>();
    send_sync::<Endpoint>();
    send_sync::<ConnectError>();
    carries_bytes::<Connection>();
}

#[tokio::test]
async fn streams_on_one_connection_are_not_taken_for_bytes() {
    let endpoint: Endpoint = "yamux+tcp://127.0.0.1:0".parse().expect("an endpoint");
    let error = connect(&endpoint, &ConnectOptions::new())
        .await
        .expect_err("no single stream");
    assert!(matches!(error, ConnectError::Multiplexed { .. }), "{error}");
    let error = Listener::bind(&endpoint, &ListenOptions::new())
        .await
        .expect_err("no single streams");
    assert!(matches!(error, ListenError::Multiplexed { .. }), "{error}");
}
