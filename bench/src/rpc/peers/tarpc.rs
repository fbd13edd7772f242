//! tarpc, set up as its documentation recommends: requests run in spawned tasks, bincode in
//! length-delimited frames over TCP. Its bounds are raised so that none of them is met, the sockets
//! do not wait to fill a packet, and bodies are encoded as one slice of bytes.

use ::tarpc::{
    client, context, serde_transport,
    server::{self, Channel as _},
    tokio_serde::formats::Bincode,
    tokio_util::codec::{Framed, LengthDelimitedCodec},
};
use anyhow::ensure;
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_bytes::ByteBuf;
use tokio::net::{TcpListener, TcpStream};

use self::service::{Echo, EchoClient};
use super::{Caller, DIFFERS};
use crate::role::say_ready;

/// More than are ever in flight.
const BOUND: usize = 4096;

/// What the macro writes is beyond our say.
mod service {
    #![allow(
        missing_docs,
        unreachable_pub,
        unused_qualifications,
        clippy::all,
        reason = "generated code"
    )]

    use serde_bytes::ByteBuf;

    #[::tarpc::service]
    pub trait Echo {
        async fn echo(body: ByteBuf) -> ByteBuf;
    }
}

#[derive(Clone)]
struct Handler;

impl Echo for Handler {
    async fn echo(self, _: context::Context, body: ByteBuf) -> ByteBuf {
        body
    }
}

fn frames(stream: TcpStream) -> std::io::Result<Framed<TcpStream, LengthDelimitedCodec>> {
    stream.set_nodelay(true)?;
    Ok(Framed::new(stream, LengthDelimitedCodec::new()))
}

pub(in crate::rpc) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    rustix::net::listen(&listener, 4096)?;
    say_ready(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let config = server::Config {
            pending_response_buffer: BOUND,
        };
        let transport = serde_transport::new(frames(stream)?, Bincode::default());
        let channel = server::BaseChannel::new(config, transport);
        tokio::spawn(
            channel
                .execute(Handler.serve())
                .for_each(|response| async move {
                    tokio::spawn(response);
                }),
        );
    }
}

#[derive(Clone)]
pub(in crate::rpc) struct Tarpc(EchoClient);

pub(in crate::rpc) async fn connect(address: String) -> anyhow::Result<Tarpc> {
    let stream = TcpStream::connect(address).await?;
    let transport = serde_transport::new(frames(stream)?, Bincode::default());
    let mut config = client::Config::default();
    config.max_in_flight_requests = BOUND;
    config.pending_request_buffer = BOUND;
    Ok(Tarpc(EchoClient::new(config, transport).spawn()))
}

impl Caller for Tarpc {
    async fn echo(&self, body: &Bytes) -> anyhow::Result<()> {
        let request = ByteBuf::from(body.to_vec());
        let reply = self.0.echo(context::current(), request).await?;
        ensure!(reply == body[..], DIFFERS);
        Ok(())
    }
}
