//! towline, in both dialects.

use bytes::Bytes;
use tokio::{io::AsyncReadExt as _, net::TcpStream};
use towline::mux::{self, Session, muxado, yamux};

use super::{MOST, Role};
use crate::mux::stream::{Mux, Stream};

pub(crate) fn yamux(io: TcpStream, role: Role) -> anyhow::Result<Session> {
    let config = yamux::Config::default()
        .max_incoming_streams(MOST)
        .max_outgoing_streams(MOST);
    Ok(match role {
        Role::Client => yamux::client(io, config)?,
        Role::Server => yamux::server(io, config)?,
    })
}

pub(crate) fn muxado(io: TcpStream, role: Role) -> anyhow::Result<Session> {
    let config = muxado::Config::default()
        .max_incoming_streams(MOST)
        .max_outgoing_streams(MOST)
        .accept_backlog(MOST);
    Ok(match role {
        Role::Client => muxado::client(io, config)?,
        Role::Server => muxado::server(io, config)?,
    })
}

impl Mux for Session {
    type Stream = mux::Stream;

    async fn open(&self) -> anyhow::Result<Self::Stream> {
        Ok(Self::open(self).await?)
    }

    async fn accept(&self) -> anyhow::Result<Option<Self::Stream>> {
        Ok(Self::accept(self).await?)
    }
}

impl Stream for mux::Stream {
    async fn send(&mut self, bytes: Bytes) -> anyhow::Result<()> {
        Ok(self.write_chunk(bytes).await?)
    }

    async fn receive(&mut self) -> anyhow::Result<usize> {
        Ok(self.read_chunk().await?.map_or(0, |chunk| chunk.len()))
    }

    async fn receive_into(&mut self, buffer: &mut [u8]) -> anyhow::Result<usize> {
        Ok(self.read(buffer).await?)
    }

    async fn finish(&mut self) -> anyhow::Result<()> {
        Ok(self.close_write()?)
    }
}
