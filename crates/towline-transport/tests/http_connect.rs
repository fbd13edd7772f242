//! `connect+tcp://`: both ends, and who speaks something else (docs/wire F35).

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};
use towline_transport::http_connect::{self, HttpConnectError};
use towline_transport::{
    AcceptError, Authorisation, ConnectError, ConnectOptions, Connection, Endpoint, ListenOptions,
    Listener, Stream, Verdict, connect,
};

async fn bind(options: &ListenOptions) -> Listener {
    Listener::bind(&"connect+tcp://127.0.0.1:0".parse().unwrap(), options)
        .await
        .unwrap()
}

async fn accept(listener: &Listener) -> Result<Connection, AcceptError> {
    listener.accept().await.unwrap().handshake().await
}

/// What a client says to a listener byte by byte, without the listener's help.
async fn dial(listener: &Listener) -> TcpStream {
    let endpoint = listener.local_endpoint();
    TcpStream::connect((endpoint.host().unwrap(), endpoint.port().unwrap()))
        .await
        .unwrap()
}

/// docs/wire F35, M5: the connection behind it is plain TCP, and is called so in headers.
#[tokio::test]
async fn bytes_pass_both_ways_and_the_socket_stays_in_the_open() {
    let listener = bind(&ListenOptions::new()).await;
    let server = async {
        let incoming = listener.accept().await.unwrap();
        assert!(incoming.shakes_hands());
        let established = incoming.establish().await.unwrap();
        assert!(matches!(established.stream, Stream::Tcp(_)));
        let mut connection = established.into_connection().unwrap();
        let mut bytes = Vec::new();
        connection.read_to_end(&mut bytes).await.unwrap();
        connection.write_all(&bytes).await.unwrap();
        connection.shutdown().await.unwrap();
        connection
    };
    let client = async {
        let mut connection = connect(listener.local_endpoint(), &ConnectOptions::new())
            .await
            .unwrap();
        connection.write_all(&vec![7; 1_000_000]).await.unwrap();
        connection.shutdown().await.unwrap();
        let mut back = Vec::new();
        connection.read_to_end(&mut back).await.unwrap();
        assert_eq!(back, vec![7; 1_000_000]);
        connection
    };
    let (server, client) = tokio::join!(server, client);
    assert!(client.local_addr().starts_with("tcp://127.0.0.1:"));
    assert_eq!(client.local_addr(), server.remote_addr());
    assert_eq!(client.remote_addr(), server.local_addr());
    let url = listener.local_endpoint().to_string();
    assert!(url.starts_with("connect+tcp://127.0.0.1:") && !url.ends_with(":0"));
}

/// What a server of ours says to these words.
async fn answer_to(words: &str) -> (Result<(), HttpConnectError>, Vec<u8>) {
    let (mut far, mut near) = duplex(1024);
    far.write_all(words.as_bytes()).await.unwrap();
    let accepted = http_connect::accept(&mut near).await;
    drop(near);
    let mut said = Vec::new();
    far.read_to_end(&mut said).await.unwrap();
    (accepted, said)
}

/// What a client of ours asks, and what it makes of this answer.
async fn dialled(answer: &[u8]) -> (Result<(), HttpConnectError>, Vec<u8>) {
    let (mut far, mut near) = duplex(1024);
    far.write_all(answer).await.unwrap();
    let connected = http_connect::dial(&mut near).await;
    drop(near);
    let mut asked = Vec::new();
    far.read_to_end(&mut asked).await.unwrap();
    (connected, asked)
}

/// docs/wire F35: every recorded byte, said by the one end and understood by the other.
#[tokio::test]
async fn both_ends_say_and_understand_what_was_recorded() {
    let text = include_str!("vectors/http-connect.json");
    let entries: Vec<Value> = serde_json::from_str(text).unwrap();
    let recorded = |name: &str| {
        let entry = entries.iter().find(|entry| entry["name"] == name).unwrap();
        let hex = entry["hex"].as_str().unwrap();
        let bytes = (0..hex.len()).step_by(2);
        let bytes = bytes.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
        bytes.collect::<Vec<u8>>()
    };
    let names: Vec<_> = entries.iter().map(|entry| &entry["name"]).collect();
    let played = [
        "connect-request",
        "connect-response-ok",
        "connect-wrong-method",
        "connect-wrong-path",
    ];
    assert_eq!(names, played);
    let [request, agreed, wrong_method, wrong_path] = played.map(recorded);

    let (connected, asked) = dialled(&agreed).await;
    connected.unwrap();
    assert_eq!(asked, request);
    let (accepted, said) = answer_to(std::str::from_utf8(&request).unwrap()).await;
    accepted.unwrap();
    assert_eq!(said, agreed);

    for (asked, answer, status) in [
        ("GET /_goRPC_ HTTP/1.0\r\n\r\n", wrong_method, "405"),
        ("CONNECT /other HTTP/1.0\r\n\r\n", wrong_path, "404"),
    ] {
        let (refused, said) = answer_to(asked).await;
        assert!(matches!(refused, Err(HttpConnectError::Request(_))));
        assert_eq!(said, answer);
        let (refused, _) = dialled(&answer).await;
        assert!(
            matches!(&refused, Err(HttpConnectError::Status(words)) if words.starts_with(status)),
            "{refused:?}"
        );
    }
}

/// docs/wire F35: what either side says directly behind the head is not lost.
#[tokio::test]
async fn what_comes_in_one_piece_with_the_head_is_kept() {
    let listener = bind(&ListenOptions::new()).await;
    let mut client = dial(&listener).await;
    client
        .write_all(b"CONNECT /_goRPC_ HTTP/1.1\r\nHost: x\r\n\r\nframe")
        .await
        .unwrap();
    let mut served = accept(&listener).await.unwrap();
    let mut behind = [0; 5];
    served.read_exact(&mut behind).await.unwrap();
    assert_eq!(&behind, b"frame");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("connect+tcp://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = [0; 27];
        stream.read_exact(&mut asked).await.unwrap();
        assert_eq!(&asked, b"CONNECT /_goRPC_ HTTP/1.0\n\n");
        stream
            .write_all(b"HTTP/1.0 200 Connected to Go RPC\n\nframe")
            .await
            .unwrap();
        stream
    });
    let mut connection = connect(&url.parse().unwrap(), &ConnectOptions::new())
        .await
        .unwrap();
    connection.read_exact(&mut behind).await.unwrap();
    assert_eq!(&behind, b"frame");
    server.await.unwrap();
}

/// docs/wire F35: ours and the original's answers to what is not for us.
#[tokio::test]
async fn other_requests_are_answered_and_told_apart() {
    let listener = bind(&ListenOptions::new()).await;
    for (request, status, asked) in [
        ("GET /_goRPC_ HTTP/1.0\r\n\r\n", "405", "GET /_goRPC_"),
        ("CONNECT /other HTTP/1.0\n\n", "404", "CONNECT /other"),
    ] {
        let mut client = dial(&listener).await;
        client.write_all(request.as_bytes()).await.unwrap();
        let error = accept(&listener).await.unwrap_err();
        assert!(error.to_string().contains(asked), "{error}");
        assert!(matches!(error, AcceptError::HttpConnect { .. }));
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with(&format!("HTTP/1.0 {status} ")), "{said}");
    }
}

/// docs/wire F35: ten seconds, however long other handshakes may take.
#[tokio::test(start_paused = true)]
async fn a_slow_request_is_given_up() {
    let listener = bind(&ListenOptions::new().handshake_timeout(Duration::from_secs(3600))).await;
    let mut client = dial(&listener).await;
    client.write_all(b"CONNECT /_goRPC_ ").await.unwrap();
    let error = accept(&listener).await.unwrap_err();
    assert!(
        matches!(&error, AcceptError::TimedOut { limit, .. } if *limit == Duration::from_secs(10)),
        "{error}"
    );
}

#[tokio::test]
async fn who_may_not_come_from_there_is_hung_up_on_without_an_answer() {
    let nobody = Authorisation::anyone().and_address(|_| Verdict::refuse("not from there"));
    let listener = bind(&ListenOptions::new().authorise(nobody)).await;
    let mut client = dial(&listener).await;
    let error = accept(&listener).await.unwrap_err();
    assert!(matches!(error, AcceptError::Refused { .. }), "{error}");
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
}

/// docs/wire F35: what does not speak HTTP, or is another server of it, is a lasting error that names it; a server
/// that is silent costs the time for connecting.
#[tokio::test]
async fn servers_that_are_no_such_thing_are_named() {
    for (said, expected, hint) in [
        ("SSH-2.0-OpenSSH_9.7\r\n", "does not speak HTTP", "tcp://"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "200 OK",
            "another HTTP server",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("connect+tcp://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(said.as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.ok();
        });
        let endpoint: Endpoint = url.parse().unwrap();
        let error = connect(&endpoint, &ConnectOptions::new())
            .await
            .unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.hint().unwrap().contains(hint));
        assert!(error.is_permanent());
        assert_eq!(error.endpoint(), url);
        server.await.unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("connect+tcp://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        drop(stream);
    });
    let error = connect(&url.parse().unwrap(), &ConnectOptions::new())
        .await
        .unwrap_err();
    assert!(
        matches!(
            &error,
            ConnectError::HttpConnect {
                source: HttpConnectError::HungUp,
                ..
            }
        ),
        "{error}"
    );
    assert!(!error.is_permanent());
    server.await.unwrap();
}
