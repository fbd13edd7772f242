//! The layer as a byte stream over a byte stream.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;
use towline_identity::psk::{Role, Sealer, SessionKey};

use super::Records;
use super::incoming::{Fault, Incoming};
use super::outgoing::Outgoing;

/// Seals what is written and opens what is read. What is written leaves with the next flush, or when
/// enough has gathered.
#[derive(Debug)]
pub(crate) struct Sealed<IO> {
    io: IO,
    outgoing: Outgoing,
    incoming: Incoming,
}

impl<IO> Sealed<IO> {
    /// `role` is this end's, `random` where its nonces begin.
    pub(super) fn new(
        io: IO,
        key: &SessionKey,
        role: Role,
        random: [u8; 12],
        records: Records,
    ) -> Self {
        let other = match role {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        };
        Self {
            io,
            outgoing: Outgoing::new(Sealer::new(key, role, random), records),
            incoming: Incoming::new(key, other, records),
        }
    }
}

impl<IO: AsyncWrite + Unpin> Sealed<IO> {
    /// Hands the transport what is sealed.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.ready().is_empty() {
            let count = ready!(Pin::new(&mut self.io).poll_write(cx, self.outgoing.ready()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing.advance(count);
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Sealed<IO> {
    /// Proves to the other end that this one has the key, and has it prove the same (docs/wire R21). What is
    /// sent leaves first, so that both ends learn of it.
    pub(super) async fn confirm(&mut self) -> Result<(), Unconfirmed> {
        self.outgoing.confirm()?;
        poll_fn(|cx| {
            ready!(self.poll_drain(cx))?;
            Pin::new(&mut self.io).poll_flush(cx)
        })
        .await?;
        while !self.incoming.confirmed()? {
            let room = self.incoming.room();
            let count = poll_fn(|cx| poll_read_buf(Pin::new(&mut self.io), cx, room)).await?;
            if count == 0 {
                return Err(Unconfirmed::Io(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Ok(())
    }
}

/// Why the other end has not proven that it has the key.
#[derive(Debug)]
pub(super) enum Unconfirmed {
    Fault(Fault),
    Io(io::Error),
}

impl From<Fault> for Unconfirmed {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<io::Error> for Unconfirmed {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Sealed<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let plain = this.incoming.plain();
            if !plain.is_empty() {
                let count = plain.len().min(buf.remaining());
                buf.put_slice(&plain.split_to(count));
                return Poll::Ready(Ok(()));
            }
            if this.incoming.open()? {
                continue;
            }
            if this.incoming.has_ended() {
                return Poll::Ready(Ok(()));
            }
            match poll_read_buf(Pin::new(&mut this.io), cx, this.incoming.room()) {
                Poll::Pending => {
                    this.incoming.rest();
                    return Poll::Pending;
                }
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(this.incoming.at_end().map_err(Into::into));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(this.incoming.at_error(error))),
            }
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Sealed<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.outgoing.has_room() {
            ready!(self.poll_drain(cx))?;
        }
        let mut taken = 0;
        for buf in bufs {
            let count = self.outgoing.push(buf)?;
            taken += count;
            if count < buf.len() {
                break;
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.end()?;
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
