//! Numbers, booleans, text and bytes.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::{Form, Greenpack};
use crate::{
    Text,
    greenpack::{DecodeError, Kind, Reader, write},
};

macro_rules! integers {
    ($($int:ty => $wide:ty, $write:ident $read:ident,)*) => {$(
        impl Greenpack for $int {
            fn encode_as(&self, _: Form, out: &mut BytesMut) {
                write::$write(out, *self as $wide);
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                reader.$read()?.try_into().map_err(|_| DecodeError::OutOfRange)
            }

            fn is_zero(&self) -> bool {
                *self == 0
            }
        }
    )*};
}

integers! {
    i8 => i64, int int,
    i16 => i64, int int,
    i32 => i64, int int,
    i64 => i64, int int,
    isize => i64, int int,
    u16 => u64, uint uint,
    u32 => u64, uint uint,
    u64 => u64, uint uint,
    usize => u64, uint uint,
}

impl Greenpack for u8 {
    fn encode_as(&self, _: Form, out: &mut BytesMut) {
        write::uint(out, (*self).into());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader
            .uint()?
            .try_into()
            .map_err(|_| DecodeError::OutOfRange)
    }

    fn is_zero(&self) -> bool {
        *self == 0
    }

    /// docs/wire G4: a sequence of bytes is bytes.
    fn encode_all(values: &[Self], _: Form, out: &mut BytesMut) {
        write::bin(out, values);
    }

    fn decode_all(reader: &mut Reader<'_>) -> Result<Vec<Self>, DecodeError> {
        reader.bytes()
    }
}

impl Greenpack for f32 {
    fn encode_as(&self, _: Form, out: &mut BytesMut) {
        out.put_u8(0xca);
        out.put_f32(*self);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.f32()
    }

    fn is_zero(&self) -> bool {
        *self == 0.0
    }
}

impl Greenpack for f64 {
    fn encode_as(&self, _: Form, out: &mut BytesMut) {
        out.put_u8(0xcb);
        out.put_f64(*self);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.f64()
    }

    fn is_zero(&self) -> bool {
        *self == 0.0
    }
}

impl Greenpack for bool {
    fn encode_as(&self, _: Form, out: &mut BytesMut) {
        write::bool(out, *self);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.bool()
    }

    fn is_zero(&self) -> bool {
        !*self
    }
}

impl Greenpack for String {
    fn encode_as(&self, _: Form, out: &mut BytesMut) {
        write::str(out, self.as_bytes());
    }

    /// docs/wire G24: what is not UTF-8 shows as U+FFFD.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader
            .str()
            .map(|text| Self::from_utf8_lossy(text).into_owned())
    }

    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

/// Text that need not be UTF-8.
impl Greenpack for Text {
    fn encode_as(&self, _: Form, out: &mut BytesMut) {
        write::str(out, self.as_bytes());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.str().map(Self::from)
    }

    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

impl Greenpack for Bytes {
    fn encode_as(&self, _: Form, out: &mut BytesMut) {
        write::bin(out, self);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.bytes().map(Self::from)
    }

    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

impl Reader<'_> {
    /// A 32-bit float; nil reads as 0.
    ///
    /// # Errors
    ///
    /// A value of another kind.
    pub fn f32(&mut self) -> Result<f32, DecodeError> {
        if self.is_lenient() {
            // What people write is decimal: the nearest value is meant.
            return self.f64().map(|value| value as f32);
        }
        match self.float(Kind::Float32)? {
            None => Ok(0.0),
            Some(mut bytes) if bytes.len() == 4 => Ok(bytes.get_f32()),
            Some(_) => Err(DecodeError::WrongType {
                wanted: Kind::Float32,
                got: Kind::Float64,
            }),
        }
    }

    /// A 64-bit float, or a 32-bit one; nil reads as 0.
    ///
    /// # Errors
    ///
    /// A value of another kind.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        if self.is_lenient() {
            match self.peek()? {
                Kind::Int => return Ok(self.int()? as f64),
                Kind::Uint => return Ok(self.uint()? as f64),
                _ => {}
            }
        }
        match self.float(Kind::Float64)? {
            None => Ok(0.0),
            Some(mut bytes) if bytes.len() == 4 => Ok(bytes.get_f32().into()),
            Some(mut bytes) => Ok(bytes.get_f64()),
        }
    }

    /// Bytes of one's own. To a lenient reader text is base64, and an array is of their values.
    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, DecodeError> {
        match self.peek()? {
            #[cfg(feature = "json")]
            Kind::Str if self.is_lenient() => crate::greenpack::json::bytes_of(self.str()?),
            Kind::Array if self.is_lenient() => {
                let len = self.array_header()?.unwrap_or(0);
                (0..len).map(|_| u8::decode(self)).collect()
            }
            _ => self.bin().map(<[u8]>::to_vec),
        }
    }
}
