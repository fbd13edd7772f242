//! Types that have a form in greenpack.

mod containers;
mod extensions;
mod scalars;

use bytes::BytesMut;

pub use self::extensions::{Any, Complex, Extension, Nanoseconds};
use super::{DecodeError, Reader, write};

/// A type that has a form in greenpack: what net/rpc calls and typed services take and return.
///
/// There are forms for integers, floats, booleans, text, bytes (`Bytes`, `Vec<u8>`), times, durations,
/// complex numbers, sequences, arrays, maps and optional values, and for Rust tuples: a tuple is the tuple
/// form of a struct with so many fields (docs/wire G14), so that `(i64, i64)` is Go's
/// `struct{A, B int}` generated with `-tuple`. For types of your own, derive it:
///
#[cfg_attr(feature = "derive", doc = "```")]
#[cfg_attr(not(feature = "derive"), doc = "```ignore")]
/// use bytes::BytesMut;
/// use towline_codec::greenpack::{DecodeError, Greenpack, Reader};
///
/// #[derive(Greenpack, Debug, PartialEq)]
/// struct Order {
///     #[zid(0)]
///     sku: String,
///     #[zid(1)]
///     max_price: i64,
///     #[zid(2)]
///     #[greenpack(name = "ID")]
///     id: u64,
/// }
///
/// let order = Order { sku: "a-1".into(), max_price: 0, id: 7 };
/// let mut out = BytesMut::new();
/// order.encode_plain(&mut out);
/// assert_eq!(out, &b"\x82\xadSku_zid00_str\xa3a-1\xacID_zid02_u64\x07"[..]);
/// assert_eq!(Order::decode(&mut Reader::new(&out))?, order);
/// # Ok::<(), DecodeError>(())
/// ```
///
/// # Structs
///
/// Each field has a number, `#[zid(N)]`, from 0 and without gaps. Number and name are its name for all
/// time: a field may be added, and one that is missing reads as its zero value, so old and new programs
/// understand each other. The key is made as in Go, `max_price` being `MaxPrice_zid01_i64`
/// (docs/wire G9); the last three letters tell the type (docs/wire G10) and are taken from how the Rust
/// type is written. Attributes of a field:
///
/// * `#[greenpack(name = "ID")]`: another name;
/// * `#[greenpack(clue = "int")]`: other letters, for Go's `int` and `uint`, `byte` (`byt`) and named types
///   (`rct`);
/// * `#[greenpack(skip)]`: not on the wire; reads as its `Default`, and has no number.
///
/// Attributes of the type: `#[greenpack(tuple)]` is the tuple form; `#[greenpack(name = "Order2")]`
/// is what the streaming form calls it. A struct with fields that have no names is in tuple form.
///
/// # Enums
///
/// An enum is a map with one entry, whose key is that of the variant (docs/wire G31): what in Go is a struct
/// of pointers, one of which is set. Variants have numbers, too. With `#[greenpack(int)]` an enum whose
/// variants hold nothing is a signed integer, as a named integer type of Go.
///
#[cfg_attr(feature = "derive", doc = "```")]
#[cfg_attr(not(feature = "derive"), doc = "```ignore")]
/// use towline_codec::greenpack::Greenpack;
///
/// #[derive(Greenpack)]
/// enum Change {
///     #[zid(0)]
///     Gone,
///     #[zid(1)]
///     Renamed(String),
///     #[zid(2)]
///     Moved {
///         #[zid(0)]
///         from: u32,
///         #[zid(1)]
///         to: u32,
///     },
/// }
///
/// #[derive(Greenpack)]
/// #[greenpack(int)]
/// enum Colour {
///     Red = 1,
///     Green,
/// }
/// ```
pub trait Greenpack: Sized {
    /// Appends the value in one of its forms.
    fn encode_as(&self, form: Form, out: &mut BytesMut);

    /// Reads a value in any form. Nil reads as the zero value (docs/wire G17).
    ///
    /// # Errors
    ///
    /// Whatever in the input is not greenpack, or not of this type.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// True for a value that is left out where it is a field (docs/wire G12). Durations, arrays of fixed
    /// size and nested structs are never left out.
    fn is_zero(&self) -> bool {
        false
    }

    /// Appends the value in streaming form, that of net/rpc bodies.
    fn encode(&self, out: &mut BytesMut) {
        self.encode_as(Form::Streaming, out);
    }

    /// Appends the value in plain form.
    fn encode_plain(&self, out: &mut BytesMut) {
        self.encode_as(Form::Plain, out);
    }

    /// Appends a sequence of values. Only bytes are not an array.
    #[doc(hidden)]
    fn encode_all(values: &[Self], form: Form, out: &mut BytesMut) {
        write::array_header(out, values.len());
        values.iter().for_each(|value| value.encode_as(form, out));
    }

    /// Reads a sequence of values.
    #[doc(hidden)]
    fn decode_all(reader: &mut Reader<'_>) -> Result<Vec<Self>, DecodeError> {
        let len = reader.array_header()?.unwrap_or(0);
        let mut values = Vec::with_capacity(len.min(RESERVED));
        for _ in 0..len {
            values.push(Self::decode(reader)?);
        }
        Ok(values)
    }
}

/// The forms that structs and enums have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Form {
    /// With the type's name in an entry `@` before the fields (docs/wire G13): net/rpc bodies.
    Streaming,
    /// Without: the bodies of typed calls.
    Plain,
    /// Fields by their bare names, all of them: MessagePack as others write it, and JSON.
    Named,
}

/// Elements for which memory is reserved before they have been read.
const RESERVED: usize = 256;

/// What derived implementations call.
#[doc(hidden)]
pub mod derive {
    use bytes::BufMut as _;
    pub use bytes::BytesMut;

    /// The trait without the macro of its name.
    pub use super::Greenpack;
    use super::{DecodeError, Form, Reader, write};

    /// docs/wire G12
    pub fn is_written<T: Greenpack>(value: &T, form: Form) -> bool {
        form == Form::Named || !value.is_zero()
    }

    /// docs/wire G13
    pub fn begin_struct(out: &mut BytesMut, form: Form, fields: usize, name: &str) {
        if form == Form::Streaming {
            write::map_header(out, fields + 1);
            write::str(out, b"@");
            write::str(out, name.as_bytes());
        } else {
            write::map_header(out, fields);
        }
    }

    /// The key of a field: `full` has its header before it.
    pub fn key(out: &mut BytesMut, form: Form, full: &[u8], name: &str) {
        if form == Form::Named {
            write::str(out, name.as_bytes());
        } else {
            out.put_slice(full);
        }
    }

    /// docs/wire G16: a field that is missing has its zero value.
    ///
    /// # Errors
    ///
    /// A type without one.
    pub fn or_zero<T: Greenpack>(value: Option<T>) -> Result<T, DecodeError> {
        value.map_or_else(|| T::decode(&mut Reader::new(&[0xc0])), Ok)
    }

    /// True if an array of exactly `wanted` elements begins here, false for nil.
    ///
    /// # Errors
    ///
    /// Another number of elements, or no array.
    pub fn has_elements(reader: &mut Reader<'_>, wanted: usize) -> Result<bool, DecodeError> {
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
    ///
    /// # Errors
    ///
    /// As [`Greenpack::decode`].
    pub fn element<T: Greenpack>(reader: &mut Reader<'_>, is_nil: bool) -> Result<T, DecodeError> {
        if is_nil {
            or_zero(None)
        } else {
            T::decode(reader)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fmt::Debug};

    use bytes::Bytes;

    use super::*;
    use crate::greenpack::Timestamp;

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
