//! Sockets that were bound by somebody else.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use towline_transport::{ConnectOptions, ListenError, ListenOptions, Listener, connect};

const CHILD: &str = "TOWLINE_TEST_INHERITED";

async fn says_hello(listener: &Listener) {
    let mut connection = listener.accept().await.unwrap().handshake().await.unwrap();
    connection.write_all(b"hello").await.unwrap();
    connection.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_socket_that_is_bound_already_is_listened_on() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let endpoint = "tcp://0.0.0.0:1".parse().unwrap();
    let listener = Listener::adopt(socket, &endpoint, &ListenOptions::new())
        .await
        .unwrap();
    assert_eq!(
        listener.local_endpoint().to_string(),
        format!("tcp://127.0.0.1:{port}")
    );
    let options = ConnectOptions::new();
    let (connected, ()) = tokio::join!(
        connect(listener.local_endpoint(), &options),
        says_hello(&listener)
    );
    let mut text = String::new();
    connected.unwrap().read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "hello");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = "unix:///run/app".parse().unwrap();
    let refused = Listener::adopt(socket, &endpoint, &ListenOptions::new()).await;
    assert!(matches!(refused, Err(ListenError::Bind { .. })));
}

/// The child is this very test, started with a listening socket as systemd does it.
#[tokio::test]
async fn a_process_takes_the_sockets_it_was_started_with() {
    if std::env::var_os(CHILD).is_some() {
        let endpoint = "tcp://0.0.0.0:1".parse().unwrap();
        let listeners = Listener::inherited(&endpoint, &ListenOptions::new()).await;
        return says_hello(&listeners.unwrap()[0]).await;
    }
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", socket.local_addr().unwrap());
    let script = "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" --exact \
                  a_process_takes_the_sockets_it_was_started_with";
    let mut child = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, "1")
        .stdin(OwnedFd::from(socket))
        .spawn()
        .unwrap();
    let endpoint = endpoint.parse().unwrap();
    let mut text = String::new();
    // The socket listens already: nobody has to wait for the child.
    let mut connected = connect(&endpoint, &ConnectOptions::new()).await.unwrap();
    let read = connected.read_to_string(&mut text);
    tokio::time::timeout(Duration::from_secs(60), read)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(text, "hello");
    assert!(child.wait().unwrap().success());
    let none = Listener::inherited(&endpoint, &ListenOptions::new()).await;
    assert!(none.unwrap().is_empty());
}

/// Its file is the supervisor's, and stays.
#[tokio::test]
async fn a_unix_socket_that_is_bound_already_is_listened_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let options = ListenOptions::new();
    let elsewhere = "unix:///nowhere".parse().unwrap();
    let listener = Listener::adopt_unix(socket, &elsewhere, &options)
        .await
        .unwrap();
    assert_eq!(
        listener.local_endpoint().to_string(),
        format!("unix://{}", path.display())
    );
    let options = ConnectOptions::new();
    let (connected, ()) = tokio::join!(
        connect(listener.local_endpoint(), &options),
        says_hello(&listener)
    );
    let mut text = String::new();
    connected.unwrap().read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "hello");
    drop(listener);
    assert!(path.exists());
    let socket = std::os::unix::net::UnixListener::bind(dir.path().join("other")).unwrap();
    let endpoint = "tcp://127.0.0.1:1".parse().unwrap();
    let refused = Listener::adopt_unix(socket, &endpoint, &ListenOptions::new()).await;
    assert!(matches!(refused, Err(ListenError::Bind { .. })));
}

const UNIX_CHILD: &str = "TOWLINE_TEST_INHERITED_UNIX";

/// As the test before last: of a TCP socket and a Unix socket each endpoint takes its own.
#[tokio::test]
async fn a_process_takes_the_unix_sockets_it_was_started_with() {
    if std::env::var_os(UNIX_CHILD).is_some() {
        let endpoint = "unix:///nowhere".parse().unwrap();
        let listeners = Listener::inherited(&endpoint, &ListenOptions::new())
            .await
            .unwrap();
        assert_eq!(listeners.len(), 1);
        return says_hello(&listeners[0]).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let script = "exec 4<&0 3<&1 0</dev/null 1>&2; LISTEN_PID=$$ LISTEN_FDS=2 exec \"$0\" --exact \
                  a_process_takes_the_unix_sockets_it_was_started_with";
    let mut child = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(UNIX_CHILD, "1")
        .stdin(OwnedFd::from(unix))
        .stdout(OwnedFd::from(tcp))
        .spawn()
        .unwrap();
    let endpoint = format!("unix://{}", path.display()).parse().unwrap();
    let mut text = String::new();
    let mut connected = connect(&endpoint, &ConnectOptions::new()).await.unwrap();
    let read = connected.read_to_string(&mut text);
    tokio::time::timeout(Duration::from_secs(60), read)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(text, "hello");
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
async fn several_listeners_share_a_port_if_all_of_them_say_so() {
    let shared = ListenOptions::new().reuse_port(true);
    let first = Listener::bind(&"tcp://127.0.0.1:0".parse().unwrap(), &shared)
        .await
        .unwrap();
    let endpoint = first.local_endpoint().clone();
    let second = Listener::bind(&endpoint, &shared).await.unwrap();
    assert_eq!(first.local_endpoint(), second.local_endpoint());
    let alone = Listener::bind(&endpoint, &ListenOptions::new()).await;
    assert!(matches!(alone, Err(ListenError::InUse { .. })));
}

/// docs/wire L28.
#[tokio::test]
async fn a_listener_for_ipv6_alone_takes_no_ipv4() {
    let bind = |options: ListenOptions| async move {
        Listener::bind(&"tcp://[::]:0".parse().unwrap(), &options).await
    };
    // Where there is no IPv6 there is nothing to test.
    let Ok(both) = bind(ListenOptions::new()).await else {
        return;
    };
    let only = bind(ListenOptions::new().ipv6_only(true)).await.unwrap();
    let dial = |listener: &Listener| {
        let endpoint = listener.local_endpoint().to_string();
        let endpoint = endpoint.replace("[::]", "127.0.0.1").parse().unwrap();
        async move { connect(&endpoint, &ConnectOptions::new()).await.is_ok() }
    };
    assert!(dial(&both).await);
    assert!(!dial(&only).await);
}
