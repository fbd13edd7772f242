//! Values in memory.

use bytes::{Buf, BufMut, Bytes};

use super::error::{TooLongError, ValueError};
use super::varint::{MAX_VAR_INT_RAW, Progress, VarReader, encode};

/// A reader of a value of fixed size.
macro_rules! fixed {
    ($($(#[$doc:meta])* $name:ident -> $type:ty, $size:literal, $get:ident;)*) => {
        $(
            $(#[$doc])*
            ///
            /// # Errors
            ///
            /// [`ValueError::End`] and [`ValueError::Truncated`].
            fn $name(&mut self) -> Result<$type, ValueError> {
                ensure(self, $size)?;
                Ok(self.$get())
            }
        )*
    };
}

/// Reads values from any [`Buf`], such as `&[u8]`, [`Bytes`] and `BytesMut`.
///
/// What an error was found in is taken as well, as on a stream: read from a whole packet, or from a
/// slice of it that can be thrown away. Nothing panics, whatever the bytes are.
pub trait BufExt: Buf {
    fixed! {
        /// Reads one byte (docs/wire L1).
        read_byte -> u8, 1, get_u8;
        /// Reads two bytes (docs/wire L2).
        read_int16 -> i16, 2, get_i16;
        /// Reads two bytes, the lowest first.
        read_int16_le -> i16, 2, get_i16_le;
        /// Reads four bytes (docs/wire L2).
        read_int32 -> i32, 4, get_i32;
        /// Reads four bytes, the lowest first.
        read_int32_le -> i32, 4, get_i32_le;
        /// Reads eight bytes (docs/wire L2).
        read_int64 -> i64, 8, get_i64;
        /// Reads eight bytes, the lowest first.
        read_int64_le -> i64, 8, get_i64_le;
        /// Reads four bytes; a NaN keeps its payload (docs/wire L2).
        read_float32 -> f32, 4, get_f32;
        /// Reads four bytes, the lowest first.
        read_float32_le -> f32, 4, get_f32_le;
        /// Reads eight bytes; a NaN keeps its payload (docs/wire L2).
        read_float64 -> f64, 8, get_f64;
        /// Reads eight bytes, the lowest first.
        read_float64_le -> f64, 8, get_f64_le;
    }

    /// Reads one byte: 0 is false and every other is true (docs/wire L1).
    ///
    /// # Errors
    ///
    /// [`ValueError::End`].
    fn read_bool(&mut self) -> Result<bool, ValueError> {
        Ok(self.read_byte()? != 0)
    }

    /// Reads a VarInt as an `i32`; bits above the 32nd are dropped (docs/wire L9).
    ///
    /// # Errors
    ///
    /// [`ValueError::VarIntTooLong`] after five bytes, and where the input ends.
    fn read_var_int(&mut self) -> Result<i32, ValueError> {
        Ok((self.read_var_int_raw()? as u32).cast_signed())
    }

    /// Reads a VarInt as the original does: a number from 0 to 2^35 − 1 (docs/wire L5).
    ///
    /// # Errors
    ///
    /// As [`read_var_int`](Self::read_var_int).
    fn read_var_int_raw(&mut self) -> Result<u64, ValueError> {
        variable(self, VarReader::var_int(false))
    }

    /// Reads a VarInt that is written as [`BufMutExt::write_var_int`] would (docs/wire L8).
    ///
    /// # Errors
    ///
    /// As [`read_var_int`](Self::read_var_int), [`ValueError::NotMinimal`], [`ValueError::OutOfRange`].
    fn read_var_int_strict(&mut self) -> Result<i32, ValueError> {
        Ok((variable(self, VarReader::var_int(true))? as u32).cast_signed())
    }

    /// Reads a VarLong; bits above the 64th are dropped (docs/wire L6).
    ///
    /// # Errors
    ///
    /// [`ValueError::VarLongTooLong`] after ten bytes, and where the input ends.
    fn read_var_long(&mut self) -> Result<i64, ValueError> {
        Ok(variable(self, VarReader::var_long(false))?.cast_signed())
    }

    /// Reads a VarLong that is written as [`BufMutExt::write_var_long`] would (docs/wire L8).
    ///
    /// # Errors
    ///
    /// As [`read_var_long`](Self::read_var_long), [`ValueError::NotMinimal`], [`ValueError::OutOfRange`].
    fn read_var_long_strict(&mut self) -> Result<i64, ValueError> {
        Ok(variable(self, VarReader::var_long(true))?.cast_signed())
    }

    /// Reads `len` bytes that have no length in front; from [`Bytes`] and `BytesMut` without a copy.
    ///
    /// # Errors
    ///
    /// [`ValueError::End`] and [`ValueError::Truncated`].
    fn read_bytes(&mut self, len: usize) -> Result<Bytes, ValueError> {
        ensure(self, len)?;
        Ok(self.copy_to_bytes(len))
    }

    /// Reads a VarInt and as many bytes as it says, at most `max` (docs/wire L10).
    ///
    /// # Errors
    ///
    /// [`ValueError::TooLong`] when only the length was read; those of a VarInt; where the input ends.
    fn read_byte_array(&mut self, max: usize) -> Result<Bytes, ValueError> {
        let announced = self.read_var_int_raw()?;
        let len = within(announced, max)?;
        self.read_bytes(len).map_err(inside)
    }

    /// Reads a byte array of at most `max` bytes as text (docs/wire L11).
    ///
    /// # Errors
    ///
    /// As [`read_byte_array`](Self::read_byte_array), and [`ValueError::NotUtf8`].
    fn read_string(&mut self, max: usize) -> Result<String, ValueError> {
        String::from_utf8(self.read_byte_array(max)?.into()).map_err(|_| ValueError::NotUtf8)
    }
}

impl<B: Buf + ?Sized> BufExt for B {}

/// A writer of a value of fixed size.
macro_rules! write_fixed {
    ($($(#[$doc:meta])* $name:ident($type:ty), $put:ident;)*) => {
        $(
            $(#[$doc])*
            ///
            /// # Panics
            ///
            /// If the buffer has a fixed size and no room, as [`BufMut`]'s own methods.
            fn $name(&mut self, value: $type) {
                self.$put(value);
            }
        )*
    };
}

/// Writes values to any [`BufMut`], such as `BytesMut` and `Vec<u8>`.
pub trait BufMutExt: BufMut {
    write_fixed! {
        /// Writes one byte (docs/wire L1).
        write_byte(u8), put_u8;
        /// Writes two bytes (docs/wire L2).
        write_int16(i16), put_i16;
        /// Writes two bytes, the lowest first.
        write_int16_le(i16), put_i16_le;
        /// Writes four bytes (docs/wire L2).
        write_int32(i32), put_i32;
        /// Writes four bytes, the lowest first.
        write_int32_le(i32), put_i32_le;
        /// Writes eight bytes (docs/wire L2).
        write_int64(i64), put_i64;
        /// Writes eight bytes, the lowest first.
        write_int64_le(i64), put_i64_le;
        /// Writes four bytes (docs/wire L2).
        write_float32(f32), put_f32;
        /// Writes four bytes, the lowest first.
        write_float32_le(f32), put_f32_le;
        /// Writes eight bytes (docs/wire L2).
        write_float64(f64), put_f64;
        /// Writes eight bytes, the lowest first.
        write_float64_le(f64), put_f64_le;
    }

    /// Writes 1 or 0 (docs/wire L1).
    ///
    /// # Panics
    ///
    /// As [`write_byte`](Self::write_byte).
    fn write_bool(&mut self, value: bool) {
        self.put_u8(u8::from(value));
    }

    /// Writes one to five bytes; a negative number takes five (docs/wire L4, L7).
    ///
    /// # Panics
    ///
    /// As [`write_byte`](Self::write_byte).
    fn write_var_int(&mut self, value: i32) {
        let (bytes, len) = encode(u64::from(value.cast_unsigned()));
        self.put_slice(&bytes[..len]);
    }

    /// Writes one to ten bytes; a negative number takes ten (docs/wire L4, L7). A number from 0 to
    /// 2^35 − 1 is at the same time what [`BufExt::read_var_int_raw`] reads.
    ///
    /// # Panics
    ///
    /// As [`write_byte`](Self::write_byte).
    fn write_var_long(&mut self, value: i64) {
        let (bytes, len) = encode(value.cast_unsigned());
        self.put_slice(&bytes[..len]);
    }

    /// Writes the bytes, and no length.
    ///
    /// # Panics
    ///
    /// As [`write_byte`](Self::write_byte).
    fn write_bytes(&mut self, value: &[u8]) {
        self.put_slice(value);
    }

    /// Writes the number of bytes as a VarInt, and the bytes (docs/wire L10).
    ///
    /// # Errors
    ///
    /// [`TooLongError`] for 32 GiB and more; nothing is written.
    ///
    /// # Panics
    ///
    /// As [`write_byte`](Self::write_byte).
    fn write_byte_array(&mut self, value: &[u8]) -> Result<(), TooLongError> {
        let (bytes, len) = length(value)?;
        self.put_slice(&bytes[..len]);
        self.put_slice(value);
        Ok(())
    }

    /// Writes text as a byte array: the number of its bytes, not of its characters (docs/wire L11).
    ///
    /// # Errors
    ///
    /// As [`write_byte_array`](Self::write_byte_array).
    ///
    /// # Panics
    ///
    /// As [`write_byte`](Self::write_byte).
    fn write_string(&mut self, value: &str) -> Result<(), TooLongError> {
        self.write_byte_array(value.as_bytes())
    }
}

impl<B: BufMut + ?Sized> BufMutExt for B {}

/// A byte array's length in its bytes, and how many of them count.
pub(super) fn length(value: &[u8]) -> Result<([u8; 10], usize), TooLongError> {
    let len = value.len() as u64;
    if len > MAX_VAR_INT_RAW {
        return Err(TooLongError { len: value.len() });
    }
    Ok(encode(len))
}

/// The announced length, if it is allowed.
pub(super) fn within(announced: u64, max: usize) -> Result<usize, ValueError> {
    match usize::try_from(announced) {
        Ok(len) if len <= max => Ok(len),
        _ => Err(ValueError::TooLong { announced, max }),
    }
}

/// What the end means behind a length.
pub(super) fn inside(error: ValueError) -> ValueError {
    match error {
        ValueError::End => ValueError::Truncated,
        other => other,
    }
}

fn ensure<B: Buf + ?Sized>(input: &mut B, len: usize) -> Result<(), ValueError> {
    let left = input.remaining();
    if left >= len {
        return Ok(());
    }
    input.advance(left);
    Err(if left == 0 {
        ValueError::End
    } else {
        ValueError::Truncated
    })
}

fn variable<B: Buf + ?Sized>(input: &mut B, mut reader: VarReader) -> Result<u64, ValueError> {
    loop {
        if !input.has_remaining() {
            return Err(if reader.taken() == 0 {
                ValueError::End
            } else {
                ValueError::Truncated
            });
        }
        if let Progress::Done(value) = reader.push(input.get_u8())? {
            return Ok(value);
        }
    }
}
