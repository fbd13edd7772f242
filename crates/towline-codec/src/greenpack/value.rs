//! Types that have a form in greenpack.

use std::collections::BTreeMap;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::{DecodeError, Reader, Timestamp, write};

/// A type that has a form in greenpack: what net/rpc calls take and return.
///
/// There are forms for integers other than a byte, floats, booleans, text, bytes, times, sequences,
/// maps and optional values, and for Rust tuples: a tuple is the tuple form of a struct with so many
/// fields (docs/wire G14), so that `(i64, i64)` is Go's `struct{A, B int}` generated with `-tuple`. For
/// a struct in map form, implement it:
///
/// ```
/// use bytes::BytesMut;
/// use towline_codec::greenpack::{DecodeError, Greenpack, Reader, write};
///
/// #[derive(Debug, Default, PartialEq)]
/// struct Args {
///     a: i64,
///     b: i64,
/// }
///
/// impl Greenpack for Args {
///     fn encode(&self, out: &mut BytesMut) {
///         write::map_header(out, 2);
///         write::str(out, b"A_zid00_int");
///         write::int(out, self.a);
///         write::str(out, b"B_zid01_int");
///         write::int(out, self.b);
///     }
///
///     fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
///         let mut args = Self::default();
///         for _ in 0..reader.map_header()?.unwrap_or(0) {
///             match reader.key()? {
///                 Some(b"A_zid00_int") => args.a = reader.int()?,
///                 Some(b"B_zid01_int") => args.b = reader.int()?,
///                 Some(_) | None => reader.skip()?,
///             }
///         }
///         Ok(args)
///     }
/// }
///
/// let mut out = BytesMut::new();
/// Args { a: 7, b: 8 }.encode(&mut out);
/// assert_eq!(Args::decode(&mut Reader::new(&out))?, Args { a: 7, b: 8 });
/// # Ok::<(), DecodeError>(())
/// ```
pub trait Greenpack: Sized {
    /// Appends the value.
    fn encode(&self, out: &mut BytesMut);

    /// Reads a value. Nil reads as the zero value (docs/wire G17).
    ///
    /// # Errors
    ///
    /// Whatever in the input is not greenpack, or not of this type.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// Elements for which memory is reserved before they have been read.
const RESERVED: usize = 256;

macro_rules! integers {
    ($($int:ty => $write:ident $read:ident,)*) => {$(
        impl Greenpack for $int {
            fn encode(&self, out: &mut BytesMut) {
                write::$write(out, (*self).into());
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                reader.$read()?.try_into().map_err(|_| DecodeError::OutOfRange)
            }
        }
    )*};
}

integers! {
    i8 => int int,
    i16 => int int,
    i32 => int int,
    i64 => int int,
    u16 => uint uint,
    u32 => uint uint,
    u64 => uint uint,
}

impl Greenpack for f32 {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(0xca);
        out.put_f32(*self);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.f32()
    }
}

impl Greenpack for f64 {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(0xcb);
        out.put_f64(*self);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.f64()
    }
}

impl Greenpack for bool {
    fn encode(&self, out: &mut BytesMut) {
        write::bool(out, *self);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.bool()
    }
}

impl Greenpack for String {
    fn encode(&self, out: &mut BytesMut) {
        write::str(out, self.as_bytes());
    }

    /// docs/wire G24: what is not UTF-8 shows as U+FFFD.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader
            .str()
            .map(|text| Self::from_utf8_lossy(text).into_owned())
    }
}

impl Greenpack for Bytes {
    fn encode(&self, out: &mut BytesMut) {
        write::bin(out, self);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.bin().map(Self::copy_from_slice)
    }
}

impl Greenpack for Timestamp {
    fn encode(&self, out: &mut BytesMut) {
        write::time(out, *self);
    }

    /// Unset reads as the zero instant of Go (docs/wire G25).
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(reader
            .time()?
            .unwrap_or_else(|| Self::new(Self::ZERO_SECONDS, 0)))
    }
}

impl<T: Greenpack> Greenpack for Option<T> {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Some(value) => value.encode(out),
            None => write::nil(out),
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.rest().first() == Some(&0xc0) {
            reader.skip()?;
            return Ok(None);
        }
        T::decode(reader).map(Some)
    }
}

impl<T: Greenpack> Greenpack for Vec<T> {
    fn encode(&self, out: &mut BytesMut) {
        write::array_header(out, self.len());
        self.iter().for_each(|element| element.encode(out));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = reader.array_header()?.unwrap_or(0);
        let mut elements = Self::with_capacity(len.min(RESERVED));
        for _ in 0..len {
            elements.push(T::decode(reader)?);
        }
        Ok(elements)
    }
}

impl<T: Greenpack, const N: usize> Greenpack for [T; N] {
    fn encode(&self, out: &mut BytesMut) {
        write::array_header(out, N);
        self.iter().for_each(|element| element.encode(out));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let is_nil = !has_elements(reader, N)?;
        let mut elements = Vec::with_capacity(N.min(RESERVED));
        for _ in 0..N {
            elements.push(element(reader, is_nil)?);
        }
        // Never taken: there are exactly N.
        Self::try_from(elements).map_err(|_| DecodeError::Truncated)
    }
}

/// Written in the order of the keys, the last of equal keys is read (docs/wire G11, G18).
impl<K: Greenpack + Ord, V: Greenpack> Greenpack for BTreeMap<K, V> {
    fn encode(&self, out: &mut BytesMut) {
        write::map_header(out, self.len());
        for (key, value) in self {
            key.encode(out);
            value.encode(out);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut map = Self::new();
        for _ in 0..reader.map_header()?.unwrap_or(0) {
            let key = K::decode(reader)?;
            map.insert(key, V::decode(reader)?);
        }
        Ok(map)
    }
}

macro_rules! tuples {
    ($($len:literal: $($name:ident $index:tt),*;)*) => {$(
        /// The tuple form of a struct (docs/wire G14): the number of elements must be exact.
        impl<$($name: Greenpack),*> Greenpack for ($($name,)*) {
            fn encode(&self, out: &mut BytesMut) {
                write::array_header(out, $len);
                $(self.$index.encode(out);)*
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let is_nil = !has_elements(reader, $len)?;
                Ok(($(element::<$name>(reader, is_nil)?,)*))
            }
        }
    )*};
}

tuples! {
    1: A 0;
    2: A 0, B 1;
    3: A 0, B 1, C 2;
    4: A 0, B 1, C 2, D 3;
    5: A 0, B 1, C 2, D 3, E 4;
    6: A 0, B 1, C 2, D 3, E 4, F 5;
}

/// A struct without fields.
impl Greenpack for () {
    fn encode(&self, out: &mut BytesMut) {
        write::array_header(out, 0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        has_elements(reader, 0).map(drop)
    }
}

/// True if an array of exactly `wanted` elements begins here, false for nil.
fn has_elements(reader: &mut Reader<'_>, wanted: usize) -> Result<bool, DecodeError> {
    match reader.array_header()? {
        None => Ok(false),
        Some(got) if got == wanted => Ok(true),
        Some(got) => Err(DecodeError::ArraySize {
            wanted: u32::try_from(wanted).unwrap_or(u32::MAX),
            got: u32::try_from(got).unwrap_or(u32::MAX),
        }),
    }
}

/// The next element, or the zero value of an array that is nil.
fn element<T: Greenpack>(reader: &mut Reader<'_>, is_nil: bool) -> Result<T, DecodeError> {
    if is_nil {
        T::decode(&mut Reader::new(&[0xc0]))
    } else {
        T::decode(reader)
    }
}

impl Reader<'_> {
    /// A 32-bit float; nil reads as 0.
    ///
    /// # Errors
    ///
    /// A value of another kind.
    pub fn f32(&mut self) -> Result<f32, DecodeError> {
        match self.float(super::Kind::Float32)? {
            None => Ok(0.0),
            Some(mut bytes) if bytes.len() == 4 => Ok(bytes.get_f32()),
            Some(_) => Err(DecodeError::WrongType {
                wanted: super::Kind::Float32,
                got: super::Kind::Float64,
            }),
        }
    }

    /// A 64-bit float, or a 32-bit one; nil reads as 0.
    ///
    /// # Errors
    ///
    /// A value of another kind.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        match self.float(super::Kind::Float64)? {
            None => Ok(0.0),
            Some(mut bytes) if bytes.len() == 4 => Ok(bytes.get_f32().into()),
            Some(mut bytes) => Ok(bytes.get_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    fn survives<T: Greenpack + PartialEq + Debug>(value: T, bytes: &[u8]) {
        let mut out = BytesMut::new();
        value.encode(&mut out);
        assert_eq!(out, bytes, "{value:?}");
        let mut reader = Reader::new(&out);
        assert_eq!(T::decode(&mut reader), Ok(value));
        assert!(reader.rest().is_empty());
        for end in 0..out.len() {
            assert_eq!(
                T::decode(&mut Reader::new(&out[..end])),
                Err(DecodeError::Truncated)
            );
        }
    }

    #[test]
    fn values_survive_the_way_there_and_back() {
        survives((7_i64, 8_i64), b"\x92\x07\x08");
        survives((-200_i16, 200_u16, true), b"\x93\xd1\xff\x38\xcc\xc8\xc3");
        survives(("hi".to_owned(),), b"\x91\xa2hi");
        survives(Bytes::from_static(b"hi"), b"\xc4\x02hi");
        survives([1_i64, 2], b"\x92\x01\x02");
        survives(vec![Some(1_i32), None], b"\x92\x01\xc0");
        survives(BTreeMap::from([(3_i64, 4_i64)]), b"\x81\x03\x04");
        survives(1.5_f32, b"\xca\x3f\xc0\0\0");
        survives(1.5_f64, b"\xcb\x3f\xf8\0\0\0\0\0\0");
        survives(
            Timestamp::new(1, 2),
            b"\xc7\x0c\x05\0\0\0\0\0\0\0\x01\0\0\0\x02",
        );
    }

    /// docs/wire G17
    #[test]
    fn nil_reads_as_the_zero_value() {
        let nil = || Reader::new(&[0xc0]);
        assert_eq!(<(i64, String)>::decode(&mut nil()), Ok((0, String::new())));
        assert_eq!(<[f64; 2]>::decode(&mut nil()), Ok([0.0; 2]));
        assert_eq!(Vec::<f32>::decode(&mut nil()), Ok(vec![]));
        assert_eq!(f32::decode(&mut nil()), Ok(0.0));
        assert_eq!(Option::<bool>::decode(&mut nil()), Ok(None));
    }

    /// docs/wire G14, G21, G22
    #[test]
    fn what_is_of_another_type_is_refused() {
        let wrong = <(i64, i64)>::decode(&mut Reader::new(b"\x93\x01\x02\x03"));
        assert_eq!(wrong, Err(DecodeError::ArraySize { wanted: 2, got: 3 }));
        let wrong = i8::decode(&mut Reader::new(b"\xcc\x80"));
        assert_eq!(wrong, Err(DecodeError::OutOfRange));
        for bytes in [&b"\xcb\x3f\xf8\0\0\0\0\0\0"[..], b"\x01"] {
            let wrong = f32::decode(&mut Reader::new(bytes));
            assert!(
                matches!(wrong, Err(DecodeError::WrongType { .. })),
                "{wrong:?}"
            );
        }
        assert_eq!(f64::decode(&mut Reader::new(b"\xca\x3f\xc0\0\0")), Ok(1.5));
    }
}
