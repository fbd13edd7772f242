//! Values on a stream.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt};

use super::buf::{inside, length, within};
use super::error::{ReadError, ValueError};
use super::varint::{Progress, VarReader, encode};

/// What is reserved for an announced length before any of its bytes came, in bytes.
const PAGE: usize = 8 * 1024;

/// A reader of a value of fixed size.
macro_rules! fixed {
    ($($(#[$doc:meta])* $name:ident -> $type:ty, $from:ident;)*) => {
        $(
            $(#[$doc])*
            ///
            /// # Errors
            ///
            /// [`ReadError`]; [`ValueError::End`] before the first byte.
            ///
            /// # Cancel safety
            ///
            /// Not cancel safe: the bytes taken so far are lost.
            fn $name(&mut self) -> impl Future<Output = Result<$type, ReadError>> {
                async move { Ok(<$type>::$from(take(self).await?)) }
            }
        )*
    };
}

/// Reads values from any [`AsyncRead`], however its bytes come. No byte behind a value is taken, so
/// values and raw reads can be mixed freely (docs/wire L12).
///
/// A VarInt is read byte by byte: put a buffer below, such as
/// [`PacketReader`](crate::framing::PacketReader) or tokio's `BufReader`.
///
/// ```
/// use towline_codec::primitives::{ReadExt, WriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (mut here, mut there) = tokio::io::duplex(64);
/// here.write_string("hello").await?;
/// here.write_int32(-7).await?;
/// assert_eq!(there.read_string(1024).await?, "hello");
/// assert_eq!(there.read_int32().await?, -7);
/// # Ok(())
/// # }
/// ```
pub trait ReadExt: AsyncRead + Unpin {
    fixed! {
        /// Reads one byte (docs/wire L1).
        read_byte -> u8, from_be_bytes;
        /// Reads two bytes (docs/wire L2).
        read_int16 -> i16, from_be_bytes;
        /// Reads two bytes, the lowest first.
        read_int16_le -> i16, from_le_bytes;
        /// Reads four bytes (docs/wire L2).
        read_int32 -> i32, from_be_bytes;
        /// Reads four bytes, the lowest first.
        read_int32_le -> i32, from_le_bytes;
        /// Reads eight bytes (docs/wire L2).
        read_int64 -> i64, from_be_bytes;
        /// Reads eight bytes, the lowest first.
        read_int64_le -> i64, from_le_bytes;
        /// Reads four bytes; a NaN keeps its payload (docs/wire L2).
        read_float32 -> f32, from_be_bytes;
        /// Reads four bytes, the lowest first.
        read_float32_le -> f32, from_le_bytes;
        /// Reads eight bytes; a NaN keeps its payload (docs/wire L2).
        read_float64 -> f64, from_be_bytes;
        /// Reads eight bytes, the lowest first.
        read_float64_le -> f64, from_le_bytes;
    }

    /// Reads one byte: 0 is false and every other is true (docs/wire L1).
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    fn read_bool(&mut self) -> impl Future<Output = Result<bool, ReadError>> {
        async move { Ok(self.read_byte().await? != 0) }
    }

    /// Reads a VarInt as an `i32`; bits above the 32nd are dropped (docs/wire L9).
    ///
    /// # Errors
    ///
    /// [`ReadError`]; [`ValueError::VarIntTooLong`] after five bytes.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the bytes taken so far are lost.
    fn read_var_int(&mut self) -> impl Future<Output = Result<i32, ReadError>> {
        async move { Ok((self.read_var_int_raw().await? as u32).cast_signed()) }
    }

    /// Reads a VarInt as the original does: a number from 0 to 2^35 − 1 (docs/wire L5).
    ///
    /// # Errors
    ///
    /// As [`read_var_int`](Self::read_var_int).
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the bytes taken so far are lost.
    fn read_var_int_raw(&mut self) -> impl Future<Output = Result<u64, ReadError>> {
        variable(self, VarReader::var_int(false))
    }

    /// Reads a VarInt that is written as [`WriteExt::write_var_int`] would (docs/wire L8).
    ///
    /// # Errors
    ///
    /// As [`read_var_int`](Self::read_var_int), [`ValueError::NotMinimal`], [`ValueError::OutOfRange`].
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the bytes taken so far are lost.
    fn read_var_int_strict(&mut self) -> impl Future<Output = Result<i32, ReadError>> {
        async move {
            let value = variable(self, VarReader::var_int(true)).await?;
            Ok((value as u32).cast_signed())
        }
    }

    /// Reads a VarLong; bits above the 64th are dropped (docs/wire L6).
    ///
    /// # Errors
    ///
    /// [`ReadError`]; [`ValueError::VarLongTooLong`] after ten bytes.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the bytes taken so far are lost.
    fn read_var_long(&mut self) -> impl Future<Output = Result<i64, ReadError>> {
        async move {
            Ok(variable(self, VarReader::var_long(false))
                .await?
                .cast_signed())
        }
    }

    /// Reads a VarLong that is written as [`WriteExt::write_var_long`] would (docs/wire L8).
    ///
    /// # Errors
    ///
    /// As [`read_var_long`](Self::read_var_long), [`ValueError::NotMinimal`],
    /// [`ValueError::OutOfRange`].
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the bytes taken so far are lost.
    fn read_var_long_strict(&mut self) -> impl Future<Output = Result<i64, ReadError>> {
        async move {
            Ok(variable(self, VarReader::var_long(true))
                .await?
                .cast_signed())
        }
    }

    /// Reads `len` bytes that have no length in front. Memory grows with the bytes that come.
    ///
    /// # Errors
    ///
    /// [`ReadError`].
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the bytes taken so far are lost.
    fn read_bytes(&mut self, len: usize) -> impl Future<Output = Result<Bytes, ReadError>> {
        async move {
            let mut bytes = BytesMut::with_capacity(len.min(PAGE));
            let mut limited = self.take(len as u64);
            while bytes.len() < len {
                if limited.read_buf(&mut bytes).await? == 0 {
                    return Err(end(bytes.len()).into());
                }
            }
            Ok(bytes.freeze())
        }
    }

    /// Reads a VarInt and as many bytes as it says, at most `max` (docs/wire L10). Memory grows with the
    /// bytes that come, not with the length that was announced.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; [`ValueError::TooLong`] when only the length was read.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the bytes taken so far are lost.
    fn read_byte_array(&mut self, max: usize) -> impl Future<Output = Result<Bytes, ReadError>> {
        async move {
            let len = within(self.read_var_int_raw().await?, max)?;
            self.read_bytes(len).await.map_err(|error| match error {
                ReadError::Value(error) => inside(error).into(),
                failed => failed,
            })
        }
    }

    /// Reads a byte array of at most `max` bytes as text (docs/wire L11).
    ///
    /// # Errors
    ///
    /// As [`read_byte_array`](Self::read_byte_array), and [`ValueError::NotUtf8`].
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the bytes taken so far are lost.
    fn read_string(&mut self, max: usize) -> impl Future<Output = Result<String, ReadError>> {
        async move {
            let bytes = self.read_byte_array(max).await?;
            Ok(String::from_utf8(bytes.into()).map_err(|_| ValueError::NotUtf8)?)
        }
    }
}

impl<R: AsyncRead + Unpin + ?Sized> ReadExt for R {}

/// A writer of a value of fixed size.
macro_rules! write_fixed {
    ($($(#[$doc:meta])* $name:ident($type:ty), $to:ident;)*) => {
        $(
            $(#[$doc])*
            ///
            /// # Errors
            ///
            /// What the stream says.
            ///
            /// # Cancel safety
            ///
            /// Not cancel safe: a part may have been written.
            fn $name(&mut self, value: $type) -> impl Future<Output = io::Result<()>> {
                async move { self.write_all(&value.$to()).await }
            }
        )*
    };
}

/// Writes values to any [`AsyncWrite`], each with one write (docs/wire L12). To send several at once,
/// encode them with [`BufMutExt`](super::BufMutExt) into one buffer.
pub trait WriteExt: AsyncWrite + Unpin {
    write_fixed! {
        /// Writes one byte (docs/wire L1).
        write_byte(u8), to_be_bytes;
        /// Writes two bytes (docs/wire L2).
        write_int16(i16), to_be_bytes;
        /// Writes two bytes, the lowest first.
        write_int16_le(i16), to_le_bytes;
        /// Writes four bytes (docs/wire L2).
        write_int32(i32), to_be_bytes;
        /// Writes four bytes, the lowest first.
        write_int32_le(i32), to_le_bytes;
        /// Writes eight bytes (docs/wire L2).
        write_int64(i64), to_be_bytes;
        /// Writes eight bytes, the lowest first.
        write_int64_le(i64), to_le_bytes;
        /// Writes four bytes (docs/wire L2).
        write_float32(f32), to_be_bytes;
        /// Writes four bytes, the lowest first.
        write_float32_le(f32), to_le_bytes;
        /// Writes eight bytes (docs/wire L2).
        write_float64(f64), to_be_bytes;
        /// Writes eight bytes, the lowest first.
        write_float64_le(f64), to_le_bytes;
    }

    /// Writes 1 or 0 (docs/wire L1).
    ///
    /// # Errors
    ///
    /// What the stream says.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    fn write_bool(&mut self, value: bool) -> impl Future<Output = io::Result<()>> {
        self.write_byte(u8::from(value))
    }

    /// Writes one to five bytes; a negative number takes five (docs/wire L4, L7).
    ///
    /// # Errors
    ///
    /// What the stream says.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a part may have been written.
    fn write_var_int(&mut self, value: i32) -> impl Future<Output = io::Result<()>> {
        async move {
            let (bytes, len) = encode(u64::from(value.cast_unsigned()));
            self.write_all(&bytes[..len]).await
        }
    }

    /// Writes one to ten bytes; a negative number takes ten (docs/wire L4, L7).
    ///
    /// # Errors
    ///
    /// What the stream says.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a part may have been written.
    fn write_var_long(&mut self, value: i64) -> impl Future<Output = io::Result<()>> {
        async move {
            let (bytes, len) = encode(value.cast_unsigned());
            self.write_all(&bytes[..len]).await
        }
    }

    /// Writes the bytes, and no length.
    ///
    /// # Errors
    ///
    /// What the stream says.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a part may have been written.
    fn write_bytes(&mut self, value: &[u8]) -> impl Future<Output = io::Result<()>> {
        async move { self.write_all(value).await }
    }

    /// Writes the number of bytes as a VarInt, and the bytes (docs/wire L10). Length and bytes leave in
    /// one vectored write; for a stream that has none they are copied together first.
    ///
    /// # Errors
    ///
    /// What the stream says; [`TooLongError`](super::TooLongError) for 32 GiB and more.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a part may have been written.
    fn write_byte_array(&mut self, value: &[u8]) -> impl Future<Output = io::Result<()>> {
        async move {
            let (bytes, len) = length(value)?;
            if self.is_write_vectored() {
                let mut both = Buf::chain(&bytes[..len], value);
                // A stream of unknown size is written to through a reference.
                let mut stream = self;
                AsyncWriteExt::write_all_buf(&mut stream, &mut both).await
            } else {
                self.write_all(&[&bytes[..len], value].concat()).await
            }
        }
    }

    /// Writes text as a byte array: the number of its bytes, not of its characters (docs/wire L11).
    ///
    /// # Errors
    ///
    /// As [`write_byte_array`](Self::write_byte_array).
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a part may have been written.
    fn write_string(&mut self, value: &str) -> impl Future<Output = io::Result<()>> {
        self.write_byte_array(value.as_bytes())
    }
}

impl<W: AsyncWrite + Unpin + ?Sized> WriteExt for W {}

/// What the end of a stream means after so many bytes of a value.
fn end(taken: usize) -> ValueError {
    if taken == 0 {
        ValueError::End
    } else {
        ValueError::Truncated
    }
}

async fn take<const N: usize, R>(input: &mut R) -> Result<[u8; N], ReadError>
where
    R: AsyncRead + Unpin + ?Sized,
{
    let mut bytes = [0; N];
    let mut taken = 0;
    while taken < N {
        match input.read(&mut bytes[taken..]).await? {
            0 => return Err(end(taken).into()),
            count => taken += count,
        }
    }
    Ok(bytes)
}

async fn variable<R>(input: &mut R, mut reader: VarReader) -> Result<u64, ReadError>
where
    R: AsyncRead + Unpin + ?Sized,
{
    loop {
        let mut byte = [0];
        if input.read(&mut byte).await? == 0 {
            return Err(end(reader.taken() as usize).into());
        }
        if let Progress::Done(value) = reader.push(byte[0])? {
            return Ok(value);
        }
    }
}
