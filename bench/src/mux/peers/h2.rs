//! HTTP/2 by h2: a request for each stream.

use std::{future::poll_fn, sync::Arc};

use anyhow::Context as _;
use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{self, ResponseFuture, SendRequest},
    server,
};
use tokio::{
    net::TcpStream,
    sync::{Mutex, mpsc},
};

use super::MOST;
use crate::mux::stream::{Mux, Stream};

/// As large as servers of large bodies set them.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
const FRAME: u32 = 64 << 10;

#[derive(Clone)]
pub(crate) enum H2 {
    Client(SendRequest<Bytes>),
    Server(Arc<Mutex<mpsc::Receiver<Exchange>>>),
}

pub(crate) async fn client(io: TcpStream) -> anyhow::Result<H2> {
    let (requests, connection) = client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .initial_max_send_streams(MOST)
        .max_concurrent_reset_streams(1000)
        .handshake(io)
        .await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            eprintln!("h2: {error}");
        }
    });
    Ok(H2::Client(requests))
}

pub(crate) async fn server(io: TcpStream) -> anyhow::Result<H2> {
    let mut connection: server::Connection<TcpStream, Bytes> = server::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_concurrent_streams(MOST as u32)
        .handshake(io)
        .await?;
    let (found, accepted) = mpsc::channel(MOST);
    tokio::spawn(async move {
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            if let Ok(send) = respond.send_response(http::Response::new(()), false) {
                let exchange = Exchange {
                    send,
                    answer: None,
                    receive: Some(request.into_body()),
                };
                drop(found.try_send(exchange));
            }
        }
    });
    Ok(H2::Server(Arc::new(Mutex::new(accepted))))
}

impl Mux for H2 {
    type Stream = Exchange;

    async fn open(&self) -> anyhow::Result<Self::Stream> {
        let Self::Client(requests) = self else {
            anyhow::bail!("a server opens nothing");
        };
        let mut requests = requests.clone().ready().await?;
        let (answer, send) = requests.send_request(http::Request::new(()), false)?;
        Ok(Exchange {
            send,
            answer: Some(answer),
            receive: None,
        })
    }

    async fn accept(&self) -> anyhow::Result<Option<Self::Stream>> {
        let Self::Server(accepted) = self else {
            anyhow::bail!("a client accepts nothing");
        };
        Ok(accepted.lock().await.recv().await)
    }
}

/// A request and its response.
pub(crate) struct Exchange {
    send: SendStream<Bytes>,
    answer: Option<ResponseFuture>,
    receive: Option<RecvStream>,
}

impl Exchange {
    async fn next(&mut self) -> anyhow::Result<Option<Bytes>> {
        if let Some(answer) = self.answer.take() {
            self.receive = Some(answer.await?.into_body());
        }
        let receive = self.receive.as_mut().context("no body")?;
        let Some(data) = receive.data().await else {
            return Ok(None);
        };
        let data = data?;
        receive.flow_control().release_capacity(data.len())?;
        Ok(Some(data))
    }
}

impl Stream for Exchange {
    async fn send(&mut self, mut bytes: Bytes) -> anyhow::Result<()> {
        while !bytes.is_empty() {
            self.send.reserve_capacity(bytes.len());
            let room = if self.send.capacity() > 0 {
                self.send.capacity()
            } else {
                poll_fn(|cx| self.send.poll_capacity(cx))
                    .await
                    .context("the stream is closed")??
            };
            let count = room.min(bytes.len());
            self.send.send_data(bytes.split_to(count), false)?;
        }
        Ok(())
    }

    async fn receive(&mut self) -> anyhow::Result<usize> {
        loop {
            match self.next().await? {
                None => return Ok(0),
                // The end may come in an empty frame of its own.
                Some(data) if data.is_empty() => {}
                Some(data) => return Ok(data.len()),
            }
        }
    }

    /// What h2 gives is a chunk, whatever buffer the caller has.
    async fn receive_into(&mut self, buffer: &mut [u8]) -> anyhow::Result<usize> {
        let count = self.receive().await?;
        Ok(count.min(buffer.len()))
    }

    async fn finish(&mut self) -> anyhow::Result<()> {
        Ok(self.send.send_data(Bytes::new(), true)?)
    }
}
