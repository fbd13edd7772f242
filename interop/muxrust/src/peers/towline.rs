//! towline itself, in both dialects.

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use tokio::net::TcpStream;
use towline_mux::{
    muxado::{self, Heartbeat, HeartbeatConfig, StreamType, TypedSession, TypedStream},
    yamux,
};

use crate::session::{Options, Role, Session, Stream};

pub(crate) fn yamux(io: TcpStream, role: Role, options: Options) -> Result<towline_mux::Session> {
    let mut config = yamux::Config::default();
    if options.backlog > 0 {
        config = config.accept_backlog(options.backlog);
    }
    Ok(match role {
        Role::Client => yamux::client(io, config)?,
        Role::Server => yamux::server(io, config)?,
    })
}

pub(crate) fn muxado(io: TcpStream, role: Role, options: Options) -> Result<towline_mux::Session> {
    let mut config = muxado::Config::default();
    if options.backlog > 0 {
        config = config.accept_backlog(options.backlog);
    }
    Ok(match role {
        Role::Client => muxado::client(io, config)?,
        Role::Server => muxado::server(io, config)?,
    })
}

/// muxado with typed streams and a heartbeat, its stand-in for a ping.
pub(crate) fn muxado_heartbeat(
    io: TcpStream,
    role: Role,
    options: Options,
) -> Result<impl Session> {
    let typed = TypedSession::new(muxado(io, role, options)?);
    let heartbeat = Heartbeat::new(typed, HeartbeatConfig::default(), |_| {})?;
    heartbeat.start()?;
    Ok(Beating(heartbeat))
}

struct Beating(Heartbeat);

#[async_trait]
impl Session for Beating {
    async fn open(&self) -> Result<Box<dyn Stream>> {
        Ok(Box::new(self.0.typed().open_typed(StreamType(1)).await?))
    }

    async fn accept(&self) -> Result<Box<dyn Stream>> {
        let stream = self.0.typed().accept_typed().await?.context("closed")?;
        Ok(Box::new(stream))
    }

    async fn ping(&self) -> Result<()> {
        self.0.typed().session().ping().await?;
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.0.typed().session().close().await?;
        Ok(())
    }
}

#[async_trait]
impl Stream for TypedStream {}

#[async_trait]
impl Session for towline_mux::Session {
    async fn open(&self) -> Result<Box<dyn Stream>> {
        Ok(Box::new(Self::open(self).await?))
    }

    async fn accept(&self) -> Result<Box<dyn Stream>> {
        let stream = Self::accept(self).await?.context("closed")?;
        Ok(Box::new(stream))
    }

    async fn ping(&self) -> Result<()> {
        Self::ping(self).await?;
        Ok(())
    }

    async fn go_away(&self) -> Result<()> {
        Ok(Self::go_away(self).await?)
    }

    async fn close(&self) -> Result<()> {
        Self::close(self).await?;
        Ok(())
    }
}

#[async_trait]
impl Stream for towline_mux::Stream {
    async fn reset(mut self: Box<Self>) -> Result<()> {
        Self::reset(&mut self, 7);
        Ok(())
    }
}
