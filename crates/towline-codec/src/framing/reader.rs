//! One packet at a time.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::error::{FramingError, PacketError};
use super::length::LengthPrefix;
use super::protocol::{FramingProtocol, Located, Resync};
use super::separator::Separator;
use crate::primitives::ValueError;

/// How much is read at once, in bytes. The buffer grows with what comes, never with what is announced.
const PAGE: usize = 8 * 1024;

/// Reads packets and values from a stream, in any mixture (docs/wire L26).
///
/// What came with a packet and does not belong to it stays in the buffer, and whoever reads next gets it
/// first: the next packet, a value through [`ReadExt`](crate::primitives::ReadExt), or a raw read. The
/// buffer holds at most one packet and 8 KiB.
///
/// ```
/// use towline_codec::framing::{LengthPrefix, PacketReader, Separator};
/// use towline_codec::primitives::ReadExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut stream = PacketReader::new(&b"hello\n\0\0\0\x07\x02\0\0\0ok"[..]);
/// assert_eq!(&stream.read_separated(&Separator::new("\n")?, 80).await?[..], b"hello");
/// assert_eq!(stream.read_int32().await?, 7);
/// assert_eq!(&stream.read_length_prefixed(LengthPrefix::U32Le, 80).await?[..], b"ok");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PacketReader<R> {
    inner: R,
    buffer: BytesMut,
}

impl<R> PacketReader<R> {
    /// Reads from `inner`; nothing is reserved before the first read.
    pub fn new(inner: R) -> Self {
        Self::with_buffer(inner, BytesMut::new())
    }

    /// Reads what is in `buffer` first.
    pub fn with_buffer(inner: R, buffer: BytesMut) -> Self {
        Self { inner, buffer }
    }

    /// What has come and was not taken.
    pub fn buffer(&self) -> &[u8] {
        &self.buffer
    }

    /// The stream below. Bytes read from it directly overtake those in the buffer.
    pub const fn get_ref(&self) -> &R {
        &self.inner
    }

    /// The stream below, to be changed. Bytes read from it directly overtake those in the buffer.
    pub const fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// The stream below, and what has come and was not taken.
    pub fn into_parts(self) -> (R, BytesMut) {
        (self.inner, self.buffer)
    }
}

impl<R: AsyncRead + Unpin> PacketReader<R> {
    /// Waits for a packet with its length in front, of at most `max` bytes.
    ///
    /// # Errors
    ///
    /// [`PacketError`]. When it is too big, the length was taken and nothing of the payload: whoever
    /// does not want it closes the stream.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what has come of the packet stays in the buffer.
    pub async fn read_length_prefixed(
        &mut self,
        prefix: LengthPrefix,
        max: usize,
    ) -> Result<BytesMut, PacketError> {
        match self.read_packet(&prefix, max).await {
            Err(error @ PacketError::Framing(FramingError::PacketTooBig { .. })) => {
                // The whole length is there, or it would not be known to be too big.
                if let Ok(Ok((_, size))) = prefix.read(&self.buffer) {
                    self.buffer.advance(size);
                }
                Err(error)
            }
            other => other,
        }
    }

    /// Waits for a packet of at most `max` bytes and the separator behind it.
    ///
    /// # Errors
    ///
    /// [`PacketError`]. When it is too big nothing was taken; [`resync`](Self::resync) passes it over.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what has come of the packet stays in the buffer.
    pub async fn read_separated(
        &mut self,
        separator: &Separator,
        max: usize,
    ) -> Result<BytesMut, PacketError> {
        self.read_packet(separator, max).await
    }

    /// Waits for a packet of any kind. After [`FramingError::PacketTooBig`] nothing was taken.
    ///
    /// # Errors
    ///
    /// [`PacketError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what has come of the packet stays in the buffer.
    pub async fn read_packet(
        &mut self,
        protocol: &(impl FramingProtocol + ?Sized),
        max: usize,
    ) -> Result<BytesMut, PacketError> {
        let mut scanned = 0;
        loop {
            match protocol.locate(&self.buffer, scanned, max)? {
                Located::Packet { start, end, next } => {
                    let mut packet = self.buffer.split_to(next);
                    packet.truncate(end);
                    packet.advance(start);
                    return Ok(packet);
                }
                Located::TooBig { announced, .. } => {
                    return Err(FramingError::PacketTooBig { max, announced }.into());
                }
                Located::Incomplete {
                    scanned: so_far, ..
                } => scanned = so_far,
            }
            if self.fill().await? == 0 {
                return Err(PacketError::Ended(if self.buffer.is_empty() {
                    ValueError::End
                } else {
                    ValueError::Truncated
                }));
            }
        }
    }

    /// Drops everything up to and including the next separator.
    ///
    /// # Errors
    ///
    /// [`PacketError::Ended`] if there is none, and [`PacketError::Io`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: called again, it goes on.
    pub async fn resync(&mut self, separator: &Separator) -> Result<(), PacketError> {
        loop {
            match separator.resync(&self.buffer) {
                Resync::At(end) => {
                    self.buffer.advance(end);
                    return Ok(());
                }
                Resync::NotYet(gone) => self.buffer.advance(gone),
            }
            if self.fill().await? == 0 {
                return Err(PacketError::Ended(ValueError::Truncated));
            }
        }
    }

    /// Reads what there is, up to a page.
    async fn fill(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buffer.reserve(PAGE);
        let polled = poll_read_buf(pin!(&mut self.inner), cx, &mut self.buffer);
        if polled.is_pending() && self.buffer.is_empty() {
            // Whoever waits for a silent peer holds no memory for it.
            self.buffer = BytesMut::new();
        }
        polled
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for PacketReader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.buffer.is_empty() {
            if buf.remaining() >= PAGE {
                return Pin::new(&mut self.inner).poll_read(cx, buf);
            }
            ready!(self.poll_fill(cx))?;
        }
        let count = self.buffer.len().min(buf.remaining());
        buf.put_slice(&self.buffer[..count]);
        self.buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<R: AsyncRead + Unpin> AsyncBufRead for PacketReader<R> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.buffer.is_empty() {
            ready!(this.poll_fill(cx))?;
        }
        Poll::Ready(Ok(&this.buffer))
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.buffer.advance(amount);
    }
}

impl<R: AsyncWrite + Unpin> AsyncWrite for PacketReader<R> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
