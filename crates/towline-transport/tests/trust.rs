//! Trust over real sockets: many at once, and what the refused hear from the server itself.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

mod keys;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use towline_identity::{FirstSeen, Identity, KnownKey, KnownKeys, Peer};
use towline_transport::{
    AcceptError, Authorisation, ConnectError, ConnectOptions, Connection, ListenOptions, Listener,
    TlsProblem, Trust, Verdict, connect, describe_io_error,
};

use keys::{authority, identity};

const MANY: usize = 200;

/// An empty file that learns.
fn known() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("known_client_keys");
    fs::write(&path, "").unwrap();
    (dir, path)
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn by_file(path: &Path) -> Trust {
    Trust::known_keys(KnownKeys::open(path).unwrap())
}

async fn bind(node: &Arc<Identity>, options: ListenOptions) -> Listener {
    let endpoint = "tls://127.0.0.1:0".parse().unwrap();
    let options = options.identity(Arc::clone(node));
    Listener::bind(&endpoint, &options).await.unwrap()
}

/// Greets whoever is let in, and tells of the others. Ends with the test.
fn serve(listener: Listener) -> tokio::sync::mpsc::UnboundedReceiver<Result<Peer, AcceptError>> {
    let (told, outcomes) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let incoming = listener.accept().await.unwrap();
            let told = told.clone();
            tokio::spawn(async move {
                let outcome = match incoming.handshake().await {
                    Ok(mut connection) => {
                        connection.write_all(b"hello").await.unwrap();
                        connection.shutdown().await.unwrap();
                        Ok(connection.peer().clone())
                    }
                    Err(error) => Err(error),
                };
                // The test may have ended.
                drop(told.send(outcome));
            });
        }
    });
    outcomes
}

async fn dial(
    listener: &str,
    ada: &Arc<Identity>,
    trust: Trust,
) -> Result<Connection, ConnectError> {
    let options = ConnectOptions::new().identity(Arc::clone(ada)).trust(trust);
    connect(&listener.parse().unwrap(), &options).await
}

/// What a client hears: the greeting, or why it is refused.
async fn hear(connection: &mut Connection) -> Result<String, TlsProblem> {
    let mut text = String::new();
    match connection.read_to_string(&mut text).await {
        Ok(_) => Ok(text),
        Err(error) => Err(describe_io_error(&error).unwrap_or_else(|| panic!("no alert: {error}"))),
    }
}

fn denied() -> Result<String, TlsProblem> {
    Err(TlsProblem::Refused("it does not let our key in".to_owned()))
}

/// docs/wire I41
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_first_contacts_at_once_are_two_hundred_recorded_keys() {
    let authority = authority();
    let node = identity(&authority, "node");
    let (_dir, path) = known();
    let listener = bind(&node, ListenOptions::new().trust(by_file(&path))).await;
    let url = listener.local_endpoint().to_string();
    let mut outcomes = serve(listener);
    let mut clients = JoinSet::new();
    let mut expected = BTreeSet::new();
    for number in 0..MANY {
        let client = identity(&authority, &format!("client-{number}"));
        expected.insert(client.public_key());
        let url = url.clone();
        clients.spawn(async move {
            let mut connection = dial(&url, &client, Trust::authority()).await.unwrap();
            hear(&mut connection).await
        });
    }
    for heard in clients.join_all().await {
        assert_eq!(heard, Ok("hello".to_owned()));
    }
    for _ in 0..MANY {
        let peer = outcomes.recv().await.unwrap().unwrap();
        assert_eq!(peer.first_seen(), Some(&FirstSeen::Now));
    }
    let list = KnownKeys::open(&path).unwrap().list().unwrap();
    assert_eq!(list.keys().len(), MANY);
    let recorded: BTreeSet<_> = list
        .keys()
        .iter()
        .filter_map(KnownKey::public_key)
        .collect();
    assert_eq!(recorded, expected);
}

/// docs/wire I46: the clients have no time limit of their own, so that it is the server's alert that
/// ends each of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_unknown_peers_hear_two_hundred_alerts_and_the_server_goes_on() {
    let authority = authority();
    let (node, ada) = (identity(&authority, "node"), identity(&authority, "ada"));
    let (_dir, path) = known();
    KnownKeys::add(&path, KnownKey::new(ada.public_key(), "-", "")).unwrap();
    chmod(&path, 0o444);
    let before = fs::read(&path).unwrap();
    let listener = bind(&node, ListenOptions::new().trust(by_file(&path))).await;
    let url = listener.local_endpoint().to_string();
    let mut outcomes = serve(listener);
    let mut clients = JoinSet::new();
    for number in 0..MANY {
        let client = identity(&authority, &format!("stranger-{number}"));
        let url = url.clone();
        clients.spawn(async move {
            let mut connection = dial(&url, &client, Trust::authority()).await.unwrap();
            hear(&mut connection).await
        });
    }
    for heard in clients.join_all().await {
        assert_eq!(heard, denied());
    }
    for _ in 0..MANY {
        let refused = outcomes.recv().await.unwrap().unwrap_err();
        assert!(
            matches!(refused, AcceptError::NotAdmitted { .. }),
            "{refused}"
        );
        let text = refused.to_string();
        assert!(text.contains("to admit it: tow keys known add 9"), "{text}");
    }
    assert_eq!(fs::read(&path).unwrap(), before);

    let mut connection = dial(&url, &ada, Trust::authority()).await.unwrap();
    assert_eq!(hear(&mut connection).await, Ok("hello".to_owned()));
    let peer = outcomes.recv().await.unwrap().unwrap();
    assert_eq!(peer.public_key(), Some(ada.public_key()));
}

/// docs/wire I42: `chmod` while the server runs.
#[tokio::test]
async fn a_list_that_is_locked_while_it_is_in_use_refuses_the_next() {
    let authority = authority();
    let node = identity(&authority, "node");
    let (_dir, path) = known();
    let listener = bind(&node, ListenOptions::new().trust(by_file(&path))).await;
    let url = listener.local_endpoint().to_string();
    let _outcomes = serve(listener);
    let (ada, bob) = (identity(&authority, "ada"), identity(&authority, "bob"));
    let mut connection = dial(&url, &ada, Trust::authority()).await.unwrap();
    assert_eq!(hear(&mut connection).await, Ok("hello".to_owned()));
    chmod(&path, 0o444);
    let mut connection = dial(&url, &bob, Trust::authority()).await.unwrap();
    assert_eq!(hear(&mut connection).await, denied());
    let mut connection = dial(&url, &ada, Trust::authority()).await.unwrap();
    assert_eq!(hear(&mut connection).await, Ok("hello".to_owned()));
    chmod(&path, 0o644);
    let mut connection = dial(&url, &bob, Trust::authority()).await.unwrap();
    assert_eq!(hear(&mut connection).await, Ok("hello".to_owned()));
}

/// docs/wire I43, I46: the original's listener stops for ever at the first error of its list.
#[tokio::test]
async fn a_damaged_list_refuses_everybody_and_stops_no_listener() {
    let authority = authority();
    let (node, ada) = (identity(&authority, "node"), identity(&authority, "ada"));
    let (_dir, path) = known();
    let listener = bind(&node, ListenOptions::new().trust(by_file(&path))).await;
    let url = listener.local_endpoint().to_string();
    let mut outcomes = serve(listener);
    for (damage, word) in [
        (Some("1.2.3.4 nonsense\n"), "line 1"),
        (None, "no known-keys file"),
    ] {
        match damage {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        // The answer to its first record is the alert.
        let error = dial(&url, &ada, Trust::authority()).await.unwrap_err();
        assert!(
            matches!(&error, ConnectError::RefusedByPeer { why, .. } if why.contains("let our key in")),
            "{error}"
        );
        let refused = outcomes.recv().await.unwrap().unwrap_err().to_string();
        assert!(refused.contains(word), "{refused}");
    }
    fs::write(&path, "").unwrap();
    let mut connection = dial(&url, &ada, Trust::authority()).await.unwrap();
    assert_eq!(hear(&mut connection).await, Ok("hello".to_owned()));
}

/// docs/wire I46: no byte of the application goes to a server that is not known.
#[tokio::test]
async fn a_client_refuses_an_unknown_server_by_name() {
    let authority = authority();
    let (node, ada) = (identity(&authority, "node"), identity(&authority, "ada"));
    let (_dir, path) = known();
    KnownKeys::add(&path, KnownKey::new(ada.public_key(), "-", "")).unwrap();
    chmod(&path, 0o444);
    let listener = bind(&node, ListenOptions::new()).await;
    let url = listener.local_endpoint().to_string();
    let mut outcomes = serve(listener);
    let error = dial(&url, &ada, by_file(&path)).await.unwrap_err();
    let ConnectError::UntrustedKey { refusal, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(refusal.peer().public_key(), Some(node.public_key()));
    let text = error.to_string();
    assert!(
        text.starts_with(&url) && text.contains(&node.public_key().to_string()),
        "{text}"
    );
    let heard = outcomes.recv().await.unwrap().unwrap_err();
    assert!(
        matches!(heard, AcceptError::RefusedByPeer { .. }),
        "{heard}"
    );

    chmod(&path, 0o644);
    let connection = dial(&url, &ada, by_file(&path)).await.unwrap();
    assert_eq!(connection.peer().first_seen(), Some(&FirstSeen::Now));
}

/// docs/wire I47
#[tokio::test]
async fn a_server_is_dialled_by_its_public_key_alone() {
    let (ours, theirs) = (authority(), authority());
    let (node, ada) = (identity(&ours, "node"), identity(&theirs, "ada"));
    let trust = Trust::keys([ada.public_key()]);
    let listener = bind(&node, ListenOptions::new().trust(trust)).await;
    let url = listener.local_endpoint().to_string();
    let _outcomes = serve(listener);
    let pinned = Trust::keys([node.public_key()]);
    let mut connection = dial(&url, &ada, pinned.clone()).await.unwrap();
    assert_eq!(hear(&mut connection).await, Ok("hello".to_owned()));
    let eve = identity(&ours, "eve");
    let mut connection = dial(&url, &eve, pinned).await.unwrap();
    assert_eq!(hear(&mut connection).await, denied());
    let error = dial(&url, &ada, Trust::keys([eve.public_key()]))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConnectError::UntrustedKey { .. }),
        "{error}"
    );
}

/// docs/wire I33
#[tokio::test]
async fn anyone_needs_no_keys_and_is_nobody() {
    let node = identity(&authority(), "node");
    let (_dir, path) = known();
    let listener = bind(&node, ListenOptions::new().trust(Trust::dangerous_anyone())).await;
    let url = listener.local_endpoint().to_string();
    let mut outcomes = serve(listener);
    let options = ConnectOptions::new().trust(Trust::dangerous_anyone());
    let mut connection = connect(&url.parse().unwrap(), &options).await.unwrap();
    assert!(!connection.peer().is_authenticated());
    assert_eq!(hear(&mut connection).await, Ok("hello".to_owned()));
    assert!(!outcomes.recv().await.unwrap().unwrap().is_authenticated());
    assert_eq!(fs::read(&path).unwrap(), b"");
}

/// docs/wire I45, I46
#[tokio::test]
async fn who_is_not_authorised_hears_so_on_every_transport() {
    let authority = authority();
    let (node, ada) = (identity(&authority, "node"), identity(&authority, "ada"));
    let nobody = Authorisation::keys([]);
    let far = Authorisation::anyone().and_address(|_| Verdict::refuse("too far away"));

    let listener = bind(&node, ListenOptions::new().authorise(nobody.clone())).await;
    let url = listener.local_endpoint().to_string();
    let mut outcomes = serve(listener);
    let mut connection = dial(&url, &ada, Trust::authority()).await.unwrap();
    assert_eq!(hear(&mut connection).await, denied());
    let refused = outcomes.recv().await.unwrap().unwrap_err();
    assert!(
        matches!(refused, AcceptError::NotAdmitted { .. }),
        "{refused}"
    );

    let listener = bind(&node, ListenOptions::new().authorise(far.clone())).await;
    let url = listener.local_endpoint().to_string();
    let mut outcomes = serve(listener);
    let error = dial(&url, &ada, Trust::authority()).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::RefusedByPeer { .. }),
        "{error}"
    );
    let refused = outcomes.recv().await.unwrap().unwrap_err().to_string();
    assert!(refused.ends_with("was refused: too far away"), "{refused}");

    for (url, authorisation, word) in [
        ("tcp://127.0.0.1:0", far, "too far away"),
        ("tcp://127.0.0.1:0", nobody.clone(), "no key"),
        ("mem://not-authorised", nobody, "no key"),
    ] {
        let options = ListenOptions::new().authorise(authorisation);
        let listener = Listener::bind(&url.parse().unwrap(), &options)
            .await
            .unwrap();
        let url = listener.local_endpoint().clone();
        let mut outcomes = serve(listener);
        let mut connection = connect(&url, &ConnectOptions::new()).await.unwrap();
        assert_eq!(hear(&mut connection).await, Ok(String::new()));
        let refused = outcomes.recv().await.unwrap().unwrap_err().to_string();
        assert!(refused.contains(word), "{refused}");
    }
}

/// docs/wire I46: byte for byte, for peers that are not towline.
#[tokio::test]
async fn the_alert_before_a_handshake_is_access_denied() {
    let node = identity(&authority(), "node");
    let far = Authorisation::anyone().and_address(|_| Verdict::refuse("too far away"));
    let listener = bind(&node, ListenOptions::new().authorise(far)).await;
    let url = listener.local_endpoint().to_string();
    let _outcomes = serve(listener);
    let mut stream = TcpStream::connect(url.strip_prefix("tls://").unwrap())
        .await
        .unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer));
    read.await.unwrap().unwrap();
    assert_eq!(answer, [0x15, 3, 3, 0, 2, 2, 49]);
}

/// docs/wire I43: by a client too, once the list was there.
#[tokio::test]
async fn a_client_whose_list_cannot_be_used_trusts_nobody() {
    let authority = authority();
    let (node, ada) = (identity(&authority, "node"), identity(&authority, "ada"));
    let listener = bind(&node, ListenOptions::new()).await;
    let url = listener.local_endpoint().to_string();
    let _outcomes = serve(listener);
    let (_dir, path) = known();
    let trust = Trust::known_keys(KnownKeys::if_there(&path).unwrap());
    fs::remove_file(&path).unwrap();
    let error = dial(&url, &ada, trust).await.unwrap_err();
    assert!(matches!(error, ConnectError::KnownKeys { .. }), "{error}");

    // One that was never there decides nothing.
    let trust = Trust::known_keys(KnownKeys::if_there(&path).unwrap());
    let connection = dial(&url, &ada, trust).await.unwrap();
    assert_eq!(connection.peer().first_seen(), None);
    assert!(!path.exists());
}
