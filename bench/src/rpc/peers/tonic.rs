//! tonic, with a codec of bytes in place of protobuf: what is measured is gRPC, not a serialiser. No delay on the sockets,
//! windows that no load fills, and no bound that one would meet.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    io::IoSlice,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
};

use anyhow::ensure;
use bytes::{Buf as _, BufMut as _, Bytes};
use futures_util::stream;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::server::TlsStream;
use tonic::{
    Request, Response, Status,
    body::Body,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::{NamedService, UnaryService},
    transport::{
        Channel, Endpoint, Server,
        server::{Connected, TcpIncoming},
    },
};
use tower::service_fn;

use super::{Caller, DIFFERS, tls};
use crate::role::say_ready;

const PATH: &str = "/bench.Echo/Echo";
/// More than are ever in flight.
const STREAMS: u32 = 4096;
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Messages are what they are.
#[derive(Debug, Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, input: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(input.copy_to_bytes(input.remaining())))
    }
}

/// As tonic's own generator writes it.
#[derive(Debug, Clone, Copy)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "bench.Echo";
}

impl UnaryService<Bytes> for Echo {
    type Response = Bytes;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        ready(Ok(Response::new(request.into_inner())))
    }
}

impl tower::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Raw);
            Ok(grpc.unary(Self, request).await)
        })
    }
}

pub(in crate::rpc) async fn serve(certs: Option<&Path>) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    rustix::net::listen(&listener, 4096)?;
    say_ready(listener.local_addr()?);
    let router = Server::builder()
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .add_service(Echo);
    match certs {
        None => {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            router.serve_with_incoming(incoming).await?;
        }
        Some(certs) => {
            let acceptor = tls::acceptor(certs)?;
            let incoming = stream::unfold((listener, acceptor), |(listener, acceptor)| async {
                let accepted = accept(&listener, &acceptor).await;
                Some((accepted, (listener, acceptor)))
            });
            router.serve_with_incoming(incoming).await?;
        }
    }
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    acceptor: &tokio_rustls::TlsAcceptor,
) -> std::io::Result<Accepted> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(Accepted(acceptor.accept(stream).await?))
}

/// A connection about which tonic's server need not know more.
struct Accepted(TlsStream<TcpStream>);

impl Connected for Accepted {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

#[derive(Clone)]
pub(in crate::rpc) struct Tonic(Channel);

/// With keys over TLS, without in the clear.
pub(in crate::rpc) async fn connect(
    address: String,
    certs: Option<PathBuf>,
) -> anyhow::Result<Tonic> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .buffer_size(STREAMS as usize);
    let channel = match certs {
        None => endpoint.connect().await?,
        Some(certs) => {
            let dial = move |_| dial(address.clone(), certs.clone());
            endpoint.connect_with_connector(service_fn(dial)).await?
        }
    };
    Ok(Tonic(channel))
}

async fn dial(
    address: String,
    certs: PathBuf,
) -> anyhow::Result<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>> {
    Ok(TokioIo::new(tls::connect(&address, &certs).await?))
}

impl Caller for Tonic {
    async fn echo(&self, body: &Bytes) -> anyhow::Result<()> {
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await?;
        let path = PathAndQuery::from_static(PATH);
        let reply = grpc.unary(Request::new(body.clone()), path, Raw).await?;
        ensure!(reply.get_ref() == body, DIFFERS);
        Ok(())
    }
}
