//! Times, durations, complex numbers, and what applications define.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{Form, Greenpack};
use crate::greenpack::{DecodeError, Kind, Reader, Timestamp, write};

const DURATION_EXTENSION: i8 = 7;

impl Greenpack for Timestamp {
    fn encode_as(&self, _: Form, out: &mut BytesMut) {
        write::time(out, *self);
    }

    /// Unset reads as the zero instant of Go (docs/wire G25).
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        #[cfg(feature = "json")]
        if reader.is_lenient() && reader.peek()? == Kind::Str {
            return crate::greenpack::json::time_of(reader.str()?);
        }
        Ok(reader.time()?.unwrap_or(Self::ZERO))
    }

    fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

/// A duration as Go has it: nanoseconds, which may be negative (docs/wire G8). Always written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nanoseconds(pub i64);

impl Greenpack for Nanoseconds {
    fn encode_as(&self, _: Form, out: &mut BytesMut) {
        out.put_slice(&[0xc7, 9, DURATION_EXTENSION as u8, 0xd3]);
        out.put_i64(self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.is_lenient() && matches!(reader.peek()?, Kind::Int | Kind::Uint) {
            return reader.int().map(Self);
        }
        match reader.extension()? {
            None => Ok(Self(0)),
            Some((DURATION_EXTENSION, data)) => Reader::new(data).int().map(Self),
            Some((got, _)) => Err(DecodeError::ExtensionType {
                wanted: DURATION_EXTENSION,
                got,
            }),
        }
    }
}

/// As [`Nanoseconds`]: at most 292 years are written, and negative ones cannot be read.
impl Greenpack for Duration {
    fn encode_as(&self, form: Form, out: &mut BytesMut) {
        let nanos = i64::try_from(self.as_nanos()).unwrap_or(i64::MAX);
        Nanoseconds(nanos).encode_as(form, out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let nanos = Nanoseconds::decode(reader)?.0;
        u64::try_from(nanos)
            .map(Self::from_nanos)
            .map_err(|_| DecodeError::OutOfRange)
    }
}

/// A complex number of two 32-bit or two 64-bit floats (docs/wire G8).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Complex<T> {
    /// The real part.
    pub re: T,
    /// The imaginary part.
    pub im: T,
}

macro_rules! complex {
    ($($float:ty: $prefix:literal $number:literal $put:ident;)*) => {$(
        impl Greenpack for Complex<$float> {
            fn encode_as(&self, _: Form, out: &mut BytesMut) {
                out.put_slice(&[$prefix, $number]);
                out.$put(self.re);
                out.$put(self.im);
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                if reader.is_lenient() && reader.peek()? == Kind::Array {
                    let (re, im) = Greenpack::decode(reader)?;
                    return Ok(Self { re, im });
                }
                const HALF: usize = size_of::<$float>();
                match reader.extension()? {
                    None => Ok(Self::default()),
                    Some(($number, data)) => {
                        let (re, im) = data.split_at_checked(HALF).ok_or(DecodeError::OutOfRange)?;
                        let float = |bytes: &[u8]| match bytes.try_into() {
                            Ok(bytes) => Ok(<$float>::from_be_bytes(bytes)),
                            Err(_) => Err(DecodeError::OutOfRange),
                        };
                        Ok(Self { re: float(re)?, im: float(im)? })
                    }
                    Some((got, _)) => Err(DecodeError::ExtensionType { wanted: $number, got }),
                }
            }

            fn is_zero(&self) -> bool {
                self.re == 0.0 && self.im == 0.0
            }
        }
    )*};
}

complex! {
    f32: 0xd7 3 put_f32;
    f64: 0xd8 4 put_f64;
}

/// A MessagePack extension with a number of the application's (docs/wire G32).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Extension {
    /// The number.
    pub number: i8,
    /// What it holds.
    pub data: Bytes,
}

impl Greenpack for Extension {
    /// docs/wire G32: the two writers choose different headers.
    fn encode_as(&self, form: Form, out: &mut BytesMut) {
        let (len, streaming) = (self.data.len(), form == Form::Streaming);
        match len {
            1 if streaming => out.put_u8(0xd4),
            2 if streaming => out.put_u8(0xd5),
            4 if streaming => out.put_u8(0xd6),
            8 if streaming => out.put_u8(0xd7),
            16 if streaming => out.put_u8(0xd8),
            0..=254 => out.put_slice(&[0xc7, len as u8]),
            255..=0xffff => {
                out.put_u8(0xc8);
                out.put_u16(len as u16);
            }
            _ => {
                out.put_u8(0xc9);
                out.put_u32(len as u32);
            }
        }
        out.put_i8(self.number);
        out.put_slice(&self.data);
    }

    /// Nil reads as an empty extension of number 0.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (number, data) = reader.extension()?.unwrap_or_default();
        Ok(Self {
            number,
            data: Bytes::copy_from_slice(data),
        })
    }

    fn is_zero(&self) -> bool {
        self.number == 0 && self.data.is_empty()
    }
}

/// Any value, as it stands on the wire: what in Go is an `interface{}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Any(Bytes);

impl Any {
    /// Holds a value in plain form.
    pub fn new<T: Greenpack>(value: &T) -> Self {
        let mut out = BytesMut::new();
        value.encode_plain(&mut out);
        Self(out.freeze())
    }

    /// The value, if it is of this type.
    ///
    /// # Errors
    ///
    /// Whatever in it is not of this type.
    pub fn get<T: Greenpack>(&self) -> Result<T, DecodeError> {
        T::decode(&mut Reader::new(&self.0))
    }

    /// True for nil.
    pub fn is_nil(&self) -> bool {
        self.0[..] == [0xc0]
    }
}

impl Default for Any {
    fn default() -> Self {
        Self(Bytes::from_static(&[0xc0]))
    }
}

impl Greenpack for Any {
    fn encode_as(&self, _: Form, out: &mut BytesMut) {
        out.put_slice(&self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let before = reader.rest();
        reader.skip()?;
        let len = before.len() - reader.rest().len();
        Ok(Self(Bytes::copy_from_slice(&before[..len])))
    }

    fn is_zero(&self) -> bool {
        self.is_nil()
    }
}
