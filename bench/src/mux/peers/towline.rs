//! towline, in both dialects.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Poll, ready},
};

use bytes::Bytes;
use futures_util::TryFutureExt as _;
use tokio::{
    io::{AsyncRead as _, ReadBuf},
    net::TcpStream,
};
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
    fn send(&mut self, bytes: Bytes) -> impl Future<Output = anyhow::Result<()>> + Send {
        // An async function would hold the bytes twice.
        self.write_chunk(bytes).err_into()
    }

    async fn receive(&mut self) -> anyhow::Result<usize> {
        Ok(self.read_chunk().await?.map_or(0, |chunk| chunk.len()))
    }

    fn receive_into(
        &mut self,
        buffer: &mut [u8],
    ) -> impl Future<Output = anyhow::Result<usize>> + Send {
        poll_fn(move |cx| {
            let mut room = ReadBuf::new(buffer);
            ready!(Pin::new(&mut *self).poll_read(cx, &mut room))?;
            Poll::Ready(Ok(room.filled().len()))
        })
    }

    async fn finish(&mut self) -> anyhow::Result<()> {
        Ok(self.close_write()?)
    }
}
