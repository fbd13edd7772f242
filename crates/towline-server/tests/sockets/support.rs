//! Servers on TCP and in memory, and clients that wait for what they should see.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socket2::{Domain, Socket as RawSocket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use towline_codec::framing::Framing;
use towline_identity::{Authority, AuthorityOptions, LeafOptions};
use towline_server::{
    Builder, ReadHandler, Server, Socket, SocketStream, Strategy, TaskPerConnection, read_fn,
};
use towline_transport::{ConnectOptions, Connection, Endpoint, ListenOptions, Listener, connect};

/// Long enough for anything that happens at all.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) fn lines() -> Framing {
    Framing::separator("\n").unwrap()
}

pub(crate) async fn tcp() -> Listener {
    let endpoint = "tcp://127.0.0.1:0".parse().unwrap();
    Listener::bind(&endpoint, &ListenOptions::new())
        .await
        .unwrap()
}

/// A listener for TLS with such a time limit for handshakes, and who is let in.
pub(crate) async fn tls_listener(limit: Duration) -> (Listener, ConnectOptions) {
    let authority = Authority::generate(&AuthorityOptions::new()).unwrap();
    let identity = |name| authority.issue(&LeafOptions::new(name)).unwrap();
    let options = ListenOptions::new()
        .identity(Arc::new(identity("server")))
        .handshake_timeout(limit);
    let endpoint = "tls://127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind(&endpoint, &options).await.unwrap();
    let client = ConnectOptions::new().identity(Arc::new(identity("client")));
    (listener, client)
}

/// A server on TCP.
pub(crate) async fn start(builder: Builder, strategy: impl Strategy) -> Server {
    builder.start([tcp().await], strategy).unwrap()
}

/// A server in memory, for virtual time.
pub(crate) async fn start_in_memory(
    builder: Builder,
    strategy: impl Strategy,
) -> (Server, Endpoint) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let endpoint: Endpoint = format!("mem://sockets-{number}").parse().unwrap();
    let listener = Listener::bind(&endpoint, &ListenOptions::new())
        .await
        .unwrap();
    (builder.start([listener], strategy).unwrap(), endpoint)
}

pub(crate) async fn join(endpoint: &Endpoint) -> Connection {
    connect(endpoint, &ConnectOptions::new()).await.unwrap()
}

pub(crate) async fn dial(server: &Server) -> TcpStream {
    TcpStream::connect(server.handle().local_addr().unwrap())
        .await
        .unwrap()
}

/// A client whose system takes next to nothing, so that it is slow at once.
pub(crate) async fn dial_narrow(server: &Server) -> TcpStream {
    let socket = RawSocket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address = server.handle().local_addr().unwrap();
    socket.connect(&address.into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    TcpStream::from_std(socket.into()).unwrap()
}

/// Whether the other end hangs up without a byte.
pub(crate) async fn hangs_up(client: &mut TcpStream) -> bool {
    let mut byte = [0];
    match timeout(LONG, client.read(&mut byte)).await.unwrap() {
        Ok(count) => count == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

pub(crate) async fn echoes(client: &mut TcpStream, text: &str) -> bool {
    if client.write_all(text.as_bytes()).await.is_err() {
        return false;
    }
    let mut back = vec![0; text.len()];
    timeout(LONG, client.read_exact(&mut back))
        .await
        .unwrap()
        .is_ok()
        && back == text.as_bytes()
}

/// Sends back what comes, by a task for each connection.
pub(crate) fn echo() -> TaskPerConnection {
    TaskPerConnection::new(|mut stream: SocketStream| async move {
        let mut bytes = [0; 1024];
        while let Ok(count @ 1..) = stream.read(&mut bytes).await {
            if stream.write_all(&bytes[..count]).await.is_err() {
                break;
            }
        }
    })
}

/// Sends back what is read.
pub(crate) fn echo_reads() -> impl ReadHandler {
    read_fn(|socket, bytes| async move {
        if socket.send_when_ready(bytes).await.is_err() {
            assert!(socket.is_closed());
        }
    })
}

/// Gives its sockets to the test, and keeps them until the peer goes or the server stops.
pub(crate) fn collect() -> (TaskPerConnection, mpsc::UnboundedReceiver<Socket>) {
    let (sender, sockets) = mpsc::unbounded_channel();
    let strategy = TaskPerConnection::new(move |mut stream: SocketStream| {
        sender.send(stream.socket().clone()).ok();
        async move {
            let mut bytes = [0; 1024];
            while let Ok(1..) = stream.read(&mut bytes).await {}
        }
    });
    (strategy, sockets)
}

/// The next socket of [`collect`].
pub(crate) async fn next(sockets: &mut mpsc::UnboundedReceiver<Socket>) -> Socket {
    timeout(LONG, sockets.recv()).await.unwrap().unwrap()
}

/// Waits until `done`; every change comes with some task's progress.
pub(crate) async fn until(mut done: impl FnMut() -> bool) {
    timeout(LONG, async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
}
