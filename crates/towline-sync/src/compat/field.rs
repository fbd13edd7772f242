//! How the fields of a struct become greenpack and JSON.

use bytes::{Bytes, BytesMut};
use towline_codec::greenpack::{DecodeError, Greenpack, Reader, Timestamp, write};

use super::json;

/// Elements for which memory is reserved before they have been read.
const RESERVED: usize = 256;

/// A value in a field of a struct.
pub(super) trait Field: Default {
    /// docs/wire D6: zero values are not written.
    fn is_zero(&self) -> bool;
    fn put(&self, out: &mut BytesMut);
    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;
    /// Appends JSON; lines behind the first are indented by `indent`.
    fn json(&self, indent: usize, out: &mut String);
}

/// A struct of such fields.
pub(super) trait Fields {
    /// Names as in Go, and what writes the value at an indentation.
    #[expect(
        clippy::type_complexity,
        reason = "a visitor of two words, used here only"
    )]
    fn each(&self, visit: &mut dyn FnMut(&'static str, &dyn Fn(usize, &mut String)));
}

/// Structs whose fields are written under their keys, in the order of the numbers in these.
macro_rules! structs {
    ($(
        $(#[$doc:meta])*
        pub struct $name:ident {
            $( $(#[$field_doc:meta])* pub $field:ident: $type:ty = $key:literal, )*
        }
    )*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$field_doc])* pub $field: $type, )*
        }

        impl Greenpack for $name {
            /// docs/wire D6: always without the entry `@`.
            fn encode_as(&self, _: towline_codec::greenpack::Form, out: &mut BytesMut) {
                let written = 0 $( + usize::from(!Field::is_zero(&self.$field)) )*;
                write::map_header(out, written);
                $(
                    if !Field::is_zero(&self.$field) {
                        write::str(out, $key.as_bytes());
                        self.$field.put(out);
                    }
                )*
            }

            /// Nil reads as nothing set; keys that are not known are passed over.
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let mut value = Self::default();
                for _ in 0..reader.map_header()?.unwrap_or(0) {
                    let Some(key) = reader.key()? else {
                        reader.skip()?;
                        continue;
                    };
                    $(
                        if key == $key.as_bytes() {
                            value.$field = Field::take(reader)?;
                            continue;
                        }
                    )*
                    reader.skip()?;
                }
                Ok(value)
            }
        }

        impl $crate::compat::field::Fields for $name {
            fn each(&self, visit: &mut dyn FnMut(&'static str, &dyn Fn(usize, &mut String))) {
                $(
                    let name = $key.split_once("_zid").map_or($key, |(name, _)| name);
                    visit(name, &|indent, out| self.$field.json(indent, out));
                )*
            }
        }
    )*};
}

pub(super) use structs;

impl Field for String {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }

    fn put(&self, out: &mut BytesMut) {
        Greenpack::encode(self, out);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Greenpack::decode(reader)
    }

    fn json(&self, _: usize, out: &mut String) {
        json::text(self, out);
    }
}

impl Field for i64 {
    fn is_zero(&self) -> bool {
        *self == 0
    }

    fn put(&self, out: &mut BytesMut) {
        write::int(out, *self);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.int()
    }

    fn json(&self, _: usize, out: &mut String) {
        out.push_str(&self.to_string());
    }
}

impl Field for u32 {
    fn is_zero(&self) -> bool {
        *self == 0
    }

    fn put(&self, out: &mut BytesMut) {
        write::uint(out, (*self).into());
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Greenpack::decode(reader)
    }

    fn json(&self, _: usize, out: &mut String) {
        out.push_str(&self.to_string());
    }
}

impl Field for bool {
    fn is_zero(&self) -> bool {
        !*self
    }

    fn put(&self, out: &mut BytesMut) {
        write::bool(out, *self);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.bool()
    }

    fn json(&self, _: usize, out: &mut String) {
        out.push_str(if *self { "true" } else { "false" });
    }
}

impl Field for Bytes {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }

    fn put(&self, out: &mut BytesMut) {
        write::bin(out, self);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self::copy_from_slice(reader.bin()?))
    }

    fn json(&self, _: usize, out: &mut String) {
        json::binary(self, out);
    }
}

impl Field for Option<Timestamp> {
    fn is_zero(&self) -> bool {
        self.is_none()
    }

    fn put(&self, out: &mut BytesMut) {
        match self {
            Some(time) => write::time(out, *time),
            None => write::nil(out),
        }
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.time()
    }

    fn json(&self, _: usize, out: &mut String) {
        json::time(*self, out);
    }
}

impl<T: Greenpack + Fields> Field for Option<Box<T>> {
    fn is_zero(&self) -> bool {
        self.is_none()
    }

    fn put(&self, out: &mut BytesMut) {
        match self {
            Some(value) => value.encode(out),
            None => write::nil(out),
        }
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Some(Box::new(T::decode(reader)?)))
    }

    fn json(&self, indent: usize, out: &mut String) {
        match self {
            Some(value) => json::object(&**value, indent, out),
            None => out.push_str("null"),
        }
    }
}

impl<T: Greenpack + Fields> Field for Vec<T> {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }

    fn put(&self, out: &mut BytesMut) {
        write::array_header(out, self.len());
        self.iter().for_each(|element| element.encode(out));
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        elements(reader)
    }

    fn json(&self, indent: usize, out: &mut String) {
        json::array(self, indent, out, |element, indent, out| {
            json::object(element, indent, out);
        });
    }
}

impl Field for Vec<String> {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }

    fn put(&self, out: &mut BytesMut) {
        write::array_header(out, self.len());
        self.iter().for_each(|element| element.encode(out));
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        elements(reader)
    }

    fn json(&self, indent: usize, out: &mut String) {
        json::array(self, indent, out, |element, _, out| {
            json::text(element, out)
        });
    }
}

/// docs/wire D7: memory grows with the elements that are there, not with their count.
fn elements<T: Greenpack>(reader: &mut Reader<'_>) -> Result<Vec<T>, DecodeError> {
    let count = reader.array_header()?.unwrap_or(0);
    let mut elements = Vec::with_capacity(count.min(RESERVED));
    for _ in 0..count {
        elements.push(T::decode(reader)?);
    }
    Ok(elements)
}
