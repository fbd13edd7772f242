//! What a multiplexer must offer to play the cases.

use anyhow::{Result, bail};
use async_trait::async_trait;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// One stream; `shutdown` ends our direction only.
#[async_trait]
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Ends both directions at once; the peer sees an error.
    async fn reset(self: Box<Self>) -> Result<()> {
        bail!(NO_OPERATION)
    }
}

/// One connection.
#[async_trait]
pub(crate) trait Session: Send + Sync {
    async fn open(&self) -> Result<Box<dyn Stream>>;
    /// The next stream of the peer's; the error says why there will be none.
    async fn accept(&self) -> Result<Box<dyn Stream>>;
    async fn ping(&self) -> Result<()> {
        bail!(NO_OPERATION)
    }
    async fn go_away(&self) -> Result<()> {
        bail!(NO_OPERATION)
    }
    async fn close(&self) -> Result<()>;
}

pub(crate) const NO_OPERATION: &str = "this multiplexer has no such operation";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    Server,
}

/// What a case changes of a multiplexer's configuration or of the play.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    /// How many streams may wait to be accepted; 0 leaves the default.
    pub(crate) backlog: usize,
    /// End a stream only when all of its echo is there, for peers that cannot go on with a stream of
    /// which one direction has ended.
    pub(crate) close_late: bool,
    /// Muxado's typed streams and heartbeats on top: what it has instead of a ping.
    pub(crate) heartbeat: bool,
}

/// Starts a multiplexer on a connection.
pub(crate) async fn start(
    name: crate::Mux,
    io: TcpStream,
    role: Role,
    options: Options,
) -> Result<Box<dyn Session>> {
    use crate::{Mux, peers};

    io.set_nodelay(true)?;
    Ok(match name {
        Mux::TowlineYamux => Box::new(peers::towline::yamux(io, role, options)?),
        Mux::TowlineMuxado if options.heartbeat => {
            Box::new(peers::towline::muxado_heartbeat(io, role, options)?)
        }
        Mux::TowlineMuxado => Box::new(peers::towline::muxado(io, role, options)?),
        Mux::Yamux => Box::new(peers::yamux::start(io, role)),
        Mux::TokioYamux => Box::new(peers::tokio_yamux::start(io, role, options)),
        Mux::Muxado if options.heartbeat => {
            Box::new(peers::muxado_heartbeat::start(io, role).await?)
        }
        Mux::Muxado => Box::new(peers::muxado::start(io, role)),
    })
}
