//! Layers around a socket's bytes, and taking it apart.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::mpsc;
use towline_server::{CloseReason, Server, SocketStream, TaskPerConnection, UnwrapError};
use towline_transport::{BoxIo, Stream};

use crate::support::{collect, dial, dial_narrow, next, start};

/// Writes every byte twice, and reads every second one: what crosses the connection is twice as much.
struct Doubled(BoxIo);

impl AsyncRead for Doubled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = vec![0; 2 * buf.remaining()];
        let mut pairs = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut pairs))?;
        let (pairs, []) = pairs.filled().as_chunks::<2>() else {
            panic!("the test sends pairs");
        };
        for [first, _] in pairs {
            buf.put_slice(&[*first]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Doubled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let pairs: Vec<u8> = bytes.iter().flat_map(|byte| [*byte; 2]).collect();
        let written = ready!(Pin::new(&mut self.0).poll_write(cx, &pairs))?;
        assert_eq!(written, pairs.len(), "few bytes are written at once");
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// docs/wire L41.
#[tokio::test]
async fn layers_stack_and_counters_are_below_them() {
    let (sender, mut sockets) = mpsc::unbounded_channel();
    let strategy = TaskPerConnection::new(move |mut stream: SocketStream| {
        let sender = sender.clone();
        async move {
            // One byte before there is a layer.
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            let stream = stream.wrap(|io| Box::new(Doubled(io))).unwrap();
            let mut stream = stream.wrap(|io| Box::new(Doubled(io))).unwrap();
            sender.send(stream.socket().clone()).unwrap();
            stream.read_exact(&mut byte).await.unwrap();
            stream.write_all(&byte).await.unwrap();
            stream.socket().closed().await;
        }
    });
    let server = start(Server::builder(), strategy).await;
    let mut client = dial(&server).await;
    client.write_all(b"0").await.unwrap();
    let socket = next(&mut sockets).await;
    client.write_all(b"aaaa").await.unwrap();
    let mut back = [0; 4];
    client.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"aaaa");
    // Everybody sends through the layers.
    socket.send("b").unwrap();
    client.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"bbbb");
    assert_eq!((socket.total_read(), socket.total_written()), (5, 8));
}

/// docs/wire L41.
#[tokio::test]
async fn a_socket_can_be_taken_apart() {
    let strategy = TaskPerConnection::new(|stream: SocketStream| async move {
        let socket = stream.socket().clone();
        let Ok(Stream::Tcp(mut raw)) = stream.into_inner() else {
            panic!("it was a TCP socket");
        };
        assert_eq!(socket.close_reason(), Some(CloseReason::Server));
        raw.write_all(b"raw").await.unwrap();
        let mut rest = String::new();
        raw.read_to_string(&mut rest).await.unwrap();
    });
    let server = start(Server::builder(), strategy).await;
    let mut client = dial(&server).await;
    let mut bytes = [0; 3];
    client.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"raw");
}

/// docs/wire L41: bytes that wait would overtake, or be lost.
#[tokio::test]
async fn a_socket_with_bytes_waiting_stays_whole() {
    let (sender, mut told) = mpsc::unbounded_channel();
    let strategy = TaskPerConnection::new(move |stream: SocketStream| {
        let sender = sender.clone();
        async move {
            stream.send(vec![7; 8 << 20]).unwrap();
            let Err(UnwrapError::Busy(stream)) = stream.into_inner() else {
                panic!("bytes wait");
            };
            let Err(UnwrapError::Busy(stream)) = stream.wrap(|io| io) else {
                panic!("bytes wait");
            };
            sender.send(()).unwrap();
            stream.flushed().await.unwrap();
            assert!(stream.wrap(|io| io).is_ok());
        }
    });
    let server = start(Server::builder(), strategy).await;
    let mut client = dial_narrow(&server).await;
    told.recv().await.unwrap();
    let mut came = Vec::new();
    client.read_to_end(&mut came).await.unwrap();
    assert_eq!(came.len(), 8 << 20);
    assert_eq!(server.counters().handler_panics, 0);
}

#[tokio::test]
async fn what_has_ended_cannot_be_wrapped() {
    let (strategy, mut sockets) = collect();
    let (sender, mut ended) = mpsc::unbounded_channel();
    let server = start(Server::builder(), strategy).await;
    let _client = dial(&server).await;
    next(&mut sockets).await.close(CloseReason::Server);
    let late = TaskPerConnection::new(move |stream: SocketStream| {
        stream.close(CloseReason::Server);
        let closed = matches!(stream.wrap(|io| io), Err(UnwrapError::Closed));
        sender.send(closed).unwrap();
        async {}
    });
    let server = start(Server::builder(), late).await;
    let _client = dial(&server).await;
    assert!(ended.recv().await.unwrap());
}
