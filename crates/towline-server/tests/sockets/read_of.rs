//! Defects that the original has by its source, and nobody has seen: what they would be here.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::mpsc;
use towline_server::{
    Accept, Broadcaster, CloseReason, Handshake, SendError, Server, SlowConsumer, SocketStream,
    TaskPerConnection, run_until_signal,
};
use towline_transport::{AcceptError, BoxIo, Connection, Peer};

use crate::support::{collect, dial, dial_narrow, echo, echoes, next, start, tcp, until};

/// docs/wire L39: a socket that is kept is never somebody else's, whatever descriptors and memory are used again.
#[tokio::test]
async fn a_socket_that_is_kept_speaks_to_nobody_else() {
    let (strategy, mut sockets) = collect();
    let server = start(Server::builder(), strategy).await;
    let mut stale = Vec::new();
    for _ in 0..50 {
        let client = dial(&server).await;
        stale.push(next(&mut sockets).await);
        drop(client);
        until(|| server.metrics().connections == 0).await;
    }
    let mut client = dial(&server).await;
    let fresh = next(&mut sockets).await;
    for socket in &stale {
        assert_ne!(socket.id(), fresh.id());
        assert_eq!(socket.send("secret"), Err(SendError::Closed));
        socket.close(CloseReason::Error);
        assert_eq!(socket.close_reason(), Some(CloseReason::Client));
    }
    fresh.send("yours").unwrap();
    let mut said = [0; 5];
    client.read_exact(&mut said).await.unwrap();
    assert_eq!((&said, fresh.close_reason()), (b"yours", None));
    // Nor after the server has gone.
    server.shutdown(Duration::ZERO).await;
    assert_eq!(fresh.send("late"), Err(SendError::Closed));
}

/// docs/wire L43: looked at from many threads while connections come and go, numbers add up at the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn numbers_that_are_read_while_they_change_add_up() {
    let server = Arc::new(start(Server::builder().max_connections(1000), echo()).await);
    let looking: Vec<_> = (0..2)
        .map(|_| {
            let handle = server.handle();
            tokio::spawn(async move {
                let mut before = 0;
                while !handle.is_stopping() {
                    let metrics = handle.metrics();
                    assert!(metrics.total_written >= before);
                    before = metrics.total_written;
                    assert!(metrics.connections <= metrics.max_connections);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                for _ in 0..25 {
                    assert!(echoes(&mut dial(&server).await, "hello").await);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    until(|| server.metrics().connections == 0).await;
    let metrics = server.metrics();
    assert_eq!((metrics.total_read, metrics.total_written), (1000, 1000));
    assert_eq!(metrics.closed.total(), 200);
    server.handle().stop();
    for look in looking {
        look.await.unwrap();
    }
}

/// A transport that fails as it is told.
struct Failing(io::ErrorKind, &'static str);

impl AsyncRead for Failing {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::Error::new(self.0, self.1)))
    }
}

impl AsyncWrite for Failing {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::Error::new(self.0, self.1)))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Hands out transports.
struct Given(mpsc::UnboundedReceiver<Failing>);

impl Accept for Given {
    type Incoming = Failing;

    async fn accept(&mut self) -> io::Result<Failing> {
        match self.0.recv().await {
            Some(transport) => Ok(transport),
            None => std::future::pending().await,
        }
    }

    fn local(&self) -> String {
        "given".to_owned()
    }
}

impl Handshake for Failing {
    fn remote(&self) -> String {
        "failing".to_owned()
    }

    async fn handshake(self) -> Result<Connection, AcceptError> {
        let peer = Peer::unauthenticated("failing");
        Ok(Connection::new(Box::new(self), peer, "given", "failing"))
    }
}

/// docs/wire L39: what an error is called in some language says nothing.
#[tokio::test]
async fn errors_are_told_by_their_kind_and_not_by_their_text() {
    let (feed, given) = mpsc::unbounded_channel();
    let (strategy, mut sockets) = collect();
    let _server = Server::builder().start([Given(given)], strategy).unwrap();
    let (client, error) = (CloseReason::Client, CloseReason::Error);
    for (kind, text, reason) in [
        (io::ErrorKind::ConnectionReset, "la connexion", client),
        (io::ErrorKind::BrokenPipe, "Datenübergabe", client),
        (io::ErrorKind::Other, "broken pipe", error),
        (io::ErrorKind::Other, "connection reset by peer", error),
        (io::ErrorKind::InvalidData, "EOF", error),
    ] {
        assert!(feed.send(Failing(kind, text)).is_ok());
        assert_eq!(next(&mut sockets).await.closed().await, reason, "{text}");
    }
}

/// docs/wire L50: a server that was ended before anybody waited for it is told, with its reason; one that cannot start is
/// an error before that.
#[tokio::test]
async fn what_happened_before_a_server_is_waited_for_is_not_lost() {
    let (first, second) = (
        start(Server::builder(), echo()).await,
        start(Server::builder(), echo()).await,
    );
    second.handle().abort("no licence");
    let error = run_until_signal([first, second], Duration::from_secs(10))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no licence"), "{error}");
    let stopped = start(Server::builder(), echo()).await;
    stopped.handle().stop();
    assert!(run_until_signal([stopped], None).await.is_ok());
    let never = Server::builder().max_connections(0);
    assert!(never.start([tcp().await], echo()).is_err());
}

/// Panics when it is written to.
struct Touchy(BoxIo);

impl AsyncRead for Touchy {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Touchy {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        panic!("as a layer may")
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// docs/wire L36, L47: panics within a broadcast, of hooks and of layers, end their own connections.
#[tokio::test]
async fn a_panic_within_a_broadcast_ends_nothing_else() {
    let (sender, mut layered) = mpsc::unbounded_channel();
    let touchy = TaskPerConnection::new(move |stream: SocketStream| {
        let mut stream = stream.wrap(|io| Box::new(Touchy(io))).unwrap();
        sender.send(stream.socket().clone()).unwrap();
        async move { while let Ok(1..) = stream.read(&mut [0; 16]).await {} }
    });
    let other = start(Server::builder(), touchy).await;
    let _panics = dial(&other).await;
    let (strategy, mut sockets) = collect();
    let server = start(Server::builder(), strategy).await;
    let _deaf = dial_narrow(&server).await;
    let mut targets = vec![next(&mut layered).await, next(&mut sockets).await];
    targets[1].on_close(|_, _| panic!("as a hook may"));
    targets[1].send(vec![0; 16 << 20]).unwrap();
    let mut client = dial(&server).await;
    targets.push(next(&mut sockets).await);
    let news = Broadcaster::new().slow_consumer(SlowConsumer::Disconnect);
    let report = news.broadcast("news", targets.clone()).await;
    assert_eq!(
        (report.written, report.disconnected, report.closed),
        (1, 1, 1)
    );
    let reasons: Vec<_> = targets.iter().map(|socket| socket.close_reason()).collect();
    let (panicked, slow) = (CloseReason::Panicked, CloseReason::SlowConsumer);
    assert_eq!(reasons, [Some(panicked), Some(slow), None]);
    let panics = [&other, &server].map(|server| server.counters().handler_panics);
    assert_eq!(panics, [1, 1]);
    let mut said = [0; 4];
    client.read_exact(&mut said).await.unwrap();
    // And the next one goes on.
    assert_eq!(news.broadcast("more", targets).await.written, 1);
}

/// docs/wire L40: numbers of a server that has had very many.
#[tokio::test]
async fn a_later_socket_has_a_larger_number_on_every_listener() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let ids = Arc::clone(&told);
    let strategy = TaskPerConnection::new(move |stream: SocketStream| {
        ids.lock().unwrap().push(stream.id());
        async move {
            stream.send("hello").unwrap();
        }
    });
    let listeners = [tcp().await, tcp().await];
    let addresses = [0, 1].map(|at| listeners[at].local_endpoint().to_string());
    let server = Server::builder().start(listeners, strategy).unwrap();
    for turn in 0..200 {
        let address = addresses[turn % 2].trim_start_matches("tcp://");
        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        client.write_all(b"x").await.unwrap();
        client.read_exact(&mut [0; 5]).await.unwrap();
    }
    let ids = told.lock().unwrap().clone();
    assert_eq!(ids, (1..=200).collect::<Vec<_>>());
    drop(server);
}
