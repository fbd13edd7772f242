//! Transports within a machine: memory and Unix sockets.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

use tokio::io::AsyncReadExt;
use towline_transport::{
    AcceptError, ConnectError, ConnectOptions, Connection, Endpoint, ListenError, ListenOptions,
    Listener, connect,
};

fn url(text: &str) -> Endpoint {
    text.parse().unwrap()
}

async fn bind(text: &str, options: &ListenOptions) -> Listener {
    Listener::bind(&url(text), options).await.unwrap()
}

async fn accept(listener: &Listener) -> Result<Connection, AcceptError> {
    listener.accept().await.unwrap().handshake().await
}

#[tokio::test(start_paused = true)]
async fn the_queue_of_a_memory_listener_is_bounded() {
    let listener = bind("mem://bounded", &ListenOptions::new()).await;
    let options = ConnectOptions::new();
    let mut waiting = Vec::new();
    let error = loop {
        assert!(waiting.len() < 10_000, "no bound");
        match connect(&url("mem://bounded"), &options).await {
            Ok(connection) => waiting.push(connection),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ConnectError::TimedOut { .. }), "{error}");
    accept(&listener).await.unwrap();
    connect(&url("mem://bounded"), &options).await.unwrap();
}

#[tokio::test]
async fn a_memory_name_is_free_again_after_its_listener() {
    let first = bind("mem://again", &ListenOptions::new()).await;
    let error = Listener::bind(&url("mem://again"), &ListenOptions::new())
        .await
        .unwrap_err();
    assert!(matches!(error, ListenError::InUse { .. }), "{error}");
    let mut client = connect(&url("mem://again"), &ConnectOptions::new())
        .await
        .unwrap();
    drop(first);
    assert_eq!(
        client.read(&mut [0; 1]).await.unwrap(),
        0,
        "who was waiting is hung up on"
    );
    bind("mem://again", &ListenOptions::new()).await;
}

#[cfg(unix)]
mod unix {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn the_socket_is_private_and_removed_in_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let text = format!("unix://{}", path.display());
        let listener = bind(&text, &ListenOptions::new()).await;
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["s"]);
        let error = Listener::bind(&url(&text), &ListenOptions::new())
            .await
            .unwrap_err();
        assert!(matches!(error, ListenError::InUse { .. }), "{error}");
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn an_abandoned_socket_is_replaced_and_another_file_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let text = format!("unix://{}", path.display());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let listener = bind(&text, &ListenOptions::new()).await;
        let (server, client) = tokio::join!(accept(&listener), async {
            connect(&url(&text), &ConnectOptions::new()).await
        });
        drop((server.unwrap(), client.unwrap()));

        // A listener only removes its own file.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        drop(listener);
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        let error = Listener::bind(&url(&text), &ListenOptions::new())
            .await
            .unwrap_err();
        assert!(
            matches!(error, ListenError::Bind { .. }) && error.to_string().contains("not a socket"),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }
}
