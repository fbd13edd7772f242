//! The pre-shared-key layer over real transports (docs/wire R1 to R20).

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

mod keys;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use towline_identity::{Identity, LoadError};
use towline_transport::{
    AcceptError, Authorisation, ConnectError, ConnectOptions, Connection, Endpoint, ListenError,
    ListenOptions, Listener, Records, Trust, connect,
};

use keys::{authority, identity};

/// Both ends' keys, and the file that they share.
struct Ends {
    ada: Arc<Identity>,
    node: Arc<Identity>,
    dir: TempDir,
}

fn ends() -> Ends {
    let authority = authority();
    let ends = Ends {
        ada: identity(&authority, "ada"),
        node: identity(&authority, "node"),
        dir: tempfile::tempdir().unwrap(),
    };
    ends.file("psk", 1);
    ends
}

impl Ends {
    fn file(&self, name: &str, byte: u8) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, [byte; 32]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn url(&self, transport: &str) -> Endpoint {
        let file = self.dir.path().join("psk");
        transport.parse::<Endpoint>().unwrap().with_psk(file)
    }

    fn listening(&self) -> ListenOptions {
        ListenOptions::new().identity(Arc::clone(&self.node))
    }

    fn dialling(&self) -> ConnectOptions {
        ConnectOptions::new().identity(Arc::clone(&self.ada))
    }

    /// Both ends of a connection.
    async fn pair(&self, transport: &str) -> (Connection, Connection) {
        let listener = Listener::bind(&self.url(transport), &self.listening())
            .await
            .unwrap();
        let serve = async { listener.accept().await.unwrap().handshake().await.unwrap() };
        let endpoint = listener.local_endpoint().clone();
        let options = self.dialling();
        let dial = async { connect(&endpoint, &options).await.unwrap() };
        tokio::join!(dial, serve)
    }
}

/// What the two ends make of each other.
async fn outcomes(
    endpoint: &Endpoint,
    dialling: &ConnectOptions,
    listener: &Listener,
) -> (
    Result<Connection, ConnectError>,
    Result<Connection, AcceptError>,
) {
    let serve = async { listener.accept().await.unwrap().handshake().await };
    tokio::join!(connect(endpoint, dialling), serve)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// Sends, half closes and reads to the end, both ways at once.
async fn exchange(client: &mut Connection, server: &mut Connection, len: usize) {
    let sent = pattern(len);
    let talk = async |end: &mut Connection| {
        let (mut read, mut write) = tokio::io::split(end);
        let mut got = Vec::new();
        let send = async {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let ((), read) = tokio::join!(send, read.read_to_end(&mut got));
        read.unwrap();
        assert_eq!(got.len(), sent.len());
        assert!(got == sent);
    };
    tokio::join!(talk(client), talk(server));
}

/// docs/wire R19, R20
#[tokio::test]
async fn bytes_pass_both_ways_on_every_transport_and_both_ends_know_each_other() {
    let ends = ends();
    let socket = format!("unix://{}", ends.dir.path().join("s").display());
    for transport in [
        "tcp://127.0.0.1:0",
        "tls://127.0.0.1:0",
        &socket,
        "mem://psk-bytes",
    ] {
        let (mut client, mut server) = ends.pair(transport).await;
        assert_eq!(
            client.peer().public_key(),
            Some(ends.node.public_key()),
            "{transport}"
        );
        assert_eq!(
            server.peer().public_key(),
            Some(ends.ada.public_key()),
            "{transport}"
        );
        exchange(&mut client, &mut server, 3_000_000).await;
    }
}

/// docs/wire R19: nothing at all is an end too, if it is said.
#[tokio::test]
async fn an_empty_stream_has_an_end() {
    let ends = ends();
    let (mut client, mut server) = ends.pair("mem://psk-empty").await;
    exchange(&mut client, &mut server, 0).await;
}

/// docs/wire R19: somebody who cuts the connection cannot pretend that it has ended.
#[tokio::test]
async fn a_connection_that_is_cut_has_not_ended() {
    let ends = ends();
    let (mut client, mut server) = ends.pair("mem://psk-cut").await;
    client.write_all(b"half of it").await.unwrap();
    client.flush().await.unwrap();
    drop(client);
    let mut got = Vec::new();
    let error = server.read_to_end(&mut got).await.unwrap_err();
    assert_eq!(got, b"half of it");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(error.to_string().contains("cut off"), "{error}");
}

/// docs/wire R8, R15: the two files differ; both ends say so, and nobody waits.
#[tokio::test]
async fn different_keys_are_named_at_both_ends() {
    let ends = ends();
    let listener = Listener::bind(&ends.url("tcp://127.0.0.1:0"), &ends.listening())
        .await
        .unwrap();
    let endpoint = listener
        .local_endpoint()
        .clone()
        .with_psk(ends.file("other", 2));
    let (client, server) = outcomes(&endpoint, &ends.dialling(), &listener).await;
    let (client, server) = (client.unwrap_err(), server.unwrap_err());
    assert!(
        matches!(client, ConnectError::DifferentKeys { .. }) && client.is_permanent(),
        "{client}"
    );
    assert!(
        matches!(server, AcceptError::DifferentKeys { .. }),
        "{server}"
    );
    for error in [client.to_string(), server.to_string()] {
        assert!(error.contains("different pre-shared keys"), "{error}");
    }
}

/// docs/wire R1: no file, no connection, and never one without the layer.
#[tokio::test]
async fn a_missing_or_short_file_is_an_error_before_anything_is_sent() {
    let ends = ends();
    let missing = ends.dir.path().join("missing");
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    for file in [missing, {
        let short = ends.file("short", 1);
        fs::write(&short, [1; 31]).unwrap();
        short
    }] {
        let there = format!("tcp://127.0.0.1:{port}")
            .parse::<Endpoint>()
            .unwrap();
        let there = there.with_psk(file.clone());
        let error = connect(&there, &ends.dialling()).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::PreSharedKey { .. }),
            "{error}"
        );
        let here = "tcp://127.0.0.1:0"
            .parse::<Endpoint>()
            .unwrap()
            .with_psk(file);
        let error = Listener::bind(&here, &ends.listening()).await.unwrap_err();
        assert!(matches!(
            error,
            ListenError::PreSharedKey {
                source: LoadError::Read { .. } | LoadError::ShortPreSharedKey { .. },
                ..
            }
        ));
    }
    // Nobody dialled: the next who comes is this one.
    let _client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut accepted, _) = socket.accept().await.unwrap();
    drop(_client);
    assert_eq!(accepted.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn without_keys_of_our_own_there_is_no_layer() {
    let ends = ends();
    let url = ends.url("tcp://127.0.0.1:1");
    let dialled = connect(&url, &ConnectOptions::new()).await;
    assert!(matches!(dialled, Err(ConnectError::MissingIdentity { .. })));
    let bound = Listener::bind(&url, &ListenOptions::new()).await;
    assert!(matches!(bound, Err(ListenError::MissingIdentity { .. })));
}

/// Only one end has a key: both fail, and the sentence says what is missing where.
#[tokio::test]
async fn one_side_without_a_key_fails_at_both() {
    let ends = ends();
    // The client has none and sends what a message begins with.
    let listener = Listener::bind(&ends.url("tcp://127.0.0.1:0"), &ends.listening())
        .await
        .unwrap();
    let plain = listener.local_endpoint().clone().with_psk(None);
    let client = async {
        let mut client = connect(&plain, &ConnectOptions::new()).await.unwrap();
        let frame = b"\xb3\x5d\x18\x39\xac\x8e\x1d\x00\0\0\0\0\0\0\0\x01\x80";
        client.write_all(frame).await.unwrap();
        client.flush().await.unwrap();
        // Closed, or reset as bytes were left unread: at once, not when its time is over.
        client.read_u8().await.unwrap_err()
    };
    let serve = async { listener.accept().await.unwrap().handshake().await };
    let (_, refused) = tokio::join!(client, serve);
    let error = refused.unwrap_err();
    assert!(matches!(error, AcceptError::Sealing { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("the other end uses no pre-shared key"),
        "{error}"
    );
    // The server has none, and answers something else.
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = format!("tcp://{}", server.local_addr().unwrap());
    let serve = async {
        let (mut stream, _) = server.accept().await.unwrap();
        stream
            .write_all(b"\xb3\x5d\x18\x39\xac\x8e\x1d\x00")
            .await
            .unwrap();
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest).await);
    };
    let (url, options) = (ends.url(&there), ends.dialling());
    let (error, ()) = tokio::join!(connect(&url, &options), serve);
    let error = error.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("the other end uses no pre-shared key"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("?psk="));
}

/// docs/wire R17: a silent peer ends with its time, and holds up nobody. In virtual time.
#[tokio::test(start_paused = true)]
async fn a_silent_peer_ends_with_its_time() {
    let ends = ends();
    let limit = Duration::from_secs(10);
    let options = ends.listening().handshake_timeout(limit);
    let listener = Listener::bind(&ends.url("mem://psk-silent"), &options)
        .await
        .unwrap();
    let plain = listener.local_endpoint().clone().with_psk(None);
    let nobody = ConnectOptions::new();
    let silent = connect(&plain, &nobody);
    let (silent, incoming) = tokio::join!(silent, listener.accept());
    let waiting = tokio::spawn(incoming.unwrap().handshake());
    let (client, server) = outcomes(listener.local_endpoint(), &ends.dialling(), &listener).await;
    exchange(&mut client.unwrap(), &mut server.unwrap(), 1000).await;
    assert!(!waiting.is_finished());
    let error = waiting.await.unwrap().unwrap_err();
    assert!(matches!(error, AcceptError::TimedOut { .. }), "{error}");
    drop(silent);
}

/// docs/wire R6, I45: who may come is asked of the key that was proven, on plain TCP too.
#[tokio::test]
async fn authorisation_and_trust_judge_the_proven_key() {
    let ends = ends();
    let endpoint = ends.url("tcp://127.0.0.1:0");
    let allowed = ends
        .listening()
        .authorise(Authorisation::keys([ends.ada.public_key()]));
    let listener = Listener::bind(&endpoint, &allowed).await.unwrap();
    let here = listener.local_endpoint();
    let (client, server) = outcomes(here, &ends.dialling(), &listener).await;
    assert!(client.is_ok() && server.is_ok());
    let stranger = ConnectOptions::new().identity(Arc::clone(&ends.node));
    let (client, server) = outcomes(here, &stranger, &listener).await;
    assert!(matches!(client, Err(ConnectError::Sealing { .. })));
    assert!(matches!(server, Err(AcceptError::NotAdmitted { .. })));
    // The server is somebody else than whom the client has pinned.
    let pinned = ends.dialling().trust(Trust::keys([ends.ada.public_key()]));
    let (client, _server) = outcomes(here, &pinned, &listener).await;
    assert!(matches!(client, Err(ConnectError::UntrustedKey { .. })));
}

/// The two ends mean different things by a record.
#[tokio::test]
async fn calls_and_bytes_do_not_mix() {
    let ends = ends();
    let frame = b"\xb3\x5d\x18\x39\xac\x8e\x1d\x00\0\0\0\0\0\0\0\x01\x80";
    let listener = Listener::bind(&ends.url("mem://psk-mixed"), &ends.listening())
        .await
        .unwrap();
    let calls = ends.dialling().records(Records::Messages);
    let (client, server) = outcomes(listener.local_endpoint(), &calls, &listener).await;
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    client.write_all(frame).await.unwrap();
    client.flush().await.unwrap();
    let error = server.read_u8().await.unwrap_err();
    assert!(
        error.to_string().contains("the other end sends calls"),
        "{error}"
    );
    server.write_all(b"bytes").await.unwrap();
    server.flush().await.unwrap();
    let error = client.read_u8().await.unwrap_err();
    assert!(
        error.to_string().contains("the other end sends bytes"),
        "{error}"
    );
    // What is no message is not sealed as one.
    let error = client.write_all(&[0; 16]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

/// docs/wire R18: frames come out as they went in, however they are cut.
#[tokio::test]
async fn messages_come_out_as_they_went_in() {
    let ends = ends();
    let options = ends.listening().records(Records::Messages);
    let listener = Listener::bind(&ends.url("mem://psk-messages"), &options)
        .await
        .unwrap();
    let calls = ends.dialling().records(Records::Messages);
    let (client, server) = outcomes(listener.local_endpoint(), &calls, &listener).await;
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    let mut frames = Vec::new();
    for (kind, len) in [
        (0_u8, 1_usize),
        (1, 0),
        (4, 70_000),
        (7, 20),
        (0, 1_000_000),
    ] {
        frames.extend_from_slice(b"\xb3\x5d\x18\x39\xac\x8e\x1d");
        frames.push(kind);
        frames.extend_from_slice(&(len as u64).to_be_bytes());
        frames.extend_from_slice(&pattern(len));
    }
    let expected = frames.clone();
    let send = async {
        let mut rest = &frames[..];
        for size in [1, 7, 8, 1, 16, 3, 5000].into_iter().cycle() {
            let (part, after) = rest.split_at(size.min(rest.len()));
            client.write_all(part).await.unwrap();
            client.flush().await.unwrap();
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        client.shutdown().await.unwrap();
    };
    let receive = async {
        let mut got = Vec::new();
        server.read_to_end(&mut got).await.unwrap();
        got
    };
    let ((), got) = tokio::join!(send, receive);
    assert_eq!(got.len(), expected.len());
    assert!(got == expected);
}

/// docs/wire R15: somebody between the two changes one byte.
#[tokio::test]
async fn a_record_that_was_changed_on_its_way_ends_the_connection() {
    let ends = ends();
    let listener = Listener::bind(&ends.url("tcp://127.0.0.1:0"), &ends.listening())
        .await
        .unwrap();
    let between = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = ends.url(&format!("tcp://{}", between.local_addr().unwrap()));
    let port = listener.local_endpoint().port().unwrap();
    let meddling = Arc::new(AtomicBool::new(false));
    let meddle = Arc::clone(&meddling);
    tokio::spawn(async move {
        let (client, _) = between.accept().await.unwrap();
        let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            if meddle.load(Ordering::SeqCst) {
                buffer[count - 1] ^= 1;
            }
            to_server.write_all(&buffer[..count]).await.unwrap();
        }
    });
    let (client, server) = outcomes(&url, &ends.dialling(), &listener).await;
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    client.write_all(b"x").await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(server.read_u8().await.unwrap(), b'x');
    meddling.store(true, Ordering::SeqCst);
    client.write_all(b"y").await.unwrap();
    client.flush().await.unwrap();
    let error = server.read_u8().await.unwrap_err();
    assert!(error.to_string().contains("changed on its way"), "{error}");
}
