//! The crate `tokio-yamux`: its session is a stream of streams, which a task reads.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use bytes::BytesMut;
use futures_util::StreamExt as _;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{Mutex, mpsc},
};
use tokio_yamux::{Config, Control, StreamHandle};

use crate::session::{Options, Role, Session, Stream};

struct TokioYamux {
    control: Mutex<Control>,
    inbound: Mutex<mpsc::Receiver<StreamHandle>>,
}

pub(crate) fn start(io: TcpStream, role: Role, options: Options) -> impl Session {
    let mut config = Config::default();
    if options.backlog > 0 {
        config.accept_backlog = options.backlog;
    }
    let mut session = match role {
        Role::Client => tokio_yamux::Session::new_client(io, config),
        Role::Server => tokio_yamux::Session::new_server(io, config),
    };
    let control = Mutex::new(session.control());
    let (found, inbound) = mpsc::channel(256);
    tokio::spawn(async move {
        while let Some(Ok(stream)) = session.next().await {
            // More than wait here are refused by being dropped.
            found.try_send(stream).ok();
        }
    });
    TokioYamux {
        control,
        inbound: Mutex::new(inbound),
    }
}

#[async_trait]
impl Session for TokioYamux {
    async fn open(&self) -> Result<Box<dyn Stream>> {
        let mut control = self.control.lock().await.clone();
        Ok(Box::new(ReadingAhead::new(control.open_stream().await?)))
    }

    async fn accept(&self) -> Result<Box<dyn Stream>> {
        let stream = self.inbound.lock().await.recv().await;
        Ok(Box::new(ReadingAhead::new(stream.context("closed")?)))
    }

    async fn close(&self) -> Result<()> {
        self.control.lock().await.close().await;
        Ok(())
    }
}

/// A stream of the crate learns of credit only while it is read: one that is only written stops for ever.
/// So whoever waits to write reads ahead.
struct ReadingAhead {
    inner: StreamHandle,
    ahead: BytesMut,
}

impl ReadingAhead {
    fn new(inner: StreamHandle) -> Self {
        Self {
            inner,
            ahead: BytesMut::new(),
        }
    }
}

impl AsyncRead for ReadingAhead {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buffer);
        }
        let taken = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead.split_to(taken));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ReadingAhead {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let mut block = [0; 4096];
        loop {
            if let Poll::Ready(written) = Pin::new(&mut this.inner).poll_write(cx, bytes) {
                return Poll::Ready(written);
            }
            let mut buffer = ReadBuf::new(&mut block);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                // The end has been read: no credit will ever be seen.
                return Poll::Pending;
            }
            this.ahead.extend_from_slice(buffer.filled());
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[async_trait]
impl Stream for ReadingAhead {
    /// A stream that is dropped open is reset.
    async fn reset(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
