//! What `tow listen` and `tow connect` share: what stands behind a stream, and how bytes get there.

mod stripes;
mod tally;

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional_with_sizes},
    net::TcpStream,
};
use towline::transport::{Connection, describe_io_error};

pub(super) use self::{
    stripes::{Stripes, join_stdio},
    tally::{Counted, Tally},
};
use crate::{
    cli::Behind,
    failure::{Exit, Failure, failed},
};

/// How much is moved at a time: what one write takes of a fast link.
const BLOCK: usize = 64 << 10;
/// How long the other end of a forwarded stream may take to answer.
const DIAL: Duration = Duration::from_secs(10);

/// One stream of bytes, whatever carries it.
pub(super) type Link = Box<dyn towline::transport::Io>;

/// What a stream is joined to, other than standard input and output.
#[derive(Debug, Clone)]
pub(super) enum Service {
    /// Itself.
    Echo,
    /// New TCP connections to this host and port.
    Forward(Arc<str>),
}

impl Service {
    /// Nothing if it is to be standard input and output.
    pub(super) fn of(behind: &Behind) -> Result<Option<Self>, Failure> {
        if let Some(address) = &behind.forward {
            let port = address
                .rsplit_once(':')
                .map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(1..))) {
                let text = format!("`{address}` is no address to forward to: it needs HOST:PORT");
                return Err(Failure::new(Exit::Usage, text));
            }
            return Ok(Some(Self::Forward(address.as_str().into())));
        }
        Ok(behind.echo.then_some(Self::Echo))
    }

    /// Serves one stream to its end, in both directions. Dropping the future drops the stream.
    pub(super) async fn serve(&self, mut link: Counted<Link>) -> io::Result<()> {
        match self {
            Self::Echo => echo(&mut link).await,
            Self::Forward(address) => forward(&mut link, address).await,
        }
    }
}

async fn echo(link: &mut Counted<Link>) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    loop {
        let count = link.read(&mut block).await?;
        if count == 0 {
            return link.shutdown().await;
        }
        link.write_all(&block[..count]).await?;
        link.flush().await?;
    }
}

async fn forward(link: &mut Counted<Link>, address: &str) -> io::Result<()> {
    let dialled = tokio::time::timeout(DIAL, TcpStream::connect(address)).await;
    let mut target = dialled.unwrap_or_else(|_| {
        let text = format!("no answer within {DIAL:?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    });
    if let Ok(target) = &target {
        target.set_nodelay(true)?;
    }
    let target = target
        .as_mut()
        .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
    let moved = copy_bidirectional_with_sizes(link, target, BLOCK, BLOCK).await;
    if moved.is_err() {
        // A stream that broke off must not look whole at the other end.
        target.set_zero_linger()?;
    }
    moved.map(drop)
}

/// An error of a connection that was made, as the end of the command.
pub(super) fn broken(error: &io::Error) -> Failure {
    match describe_io_error(error) {
        Some(problem) => Failure::new(Exit::Refused, problem.to_string()),
        None => failed(format_args!("the connection broke: {error}")),
    }
}

/// A stream of a session, counted.
pub(super) fn link(stream: towline::mux::Stream, tally: &Tally) -> Counted<Link> {
    tally.count(Box::new(stream))
}

/// The bytes of a connection, counted.
pub(super) fn counted(connection: Connection, tally: &Tally) -> Counted<Link> {
    tally.count(connection.into_io())
}
