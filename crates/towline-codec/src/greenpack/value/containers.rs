//! Optional values, sequences, maps and tuples.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::Arc,
};

use bytes::BytesMut;

use super::{
    Form, Greenpack, RESERVED,
    derive::{element, has_elements},
};
use crate::greenpack::{DecodeError, Kind, Reader, write};

/// A pointer that may be nil.
impl<T: Greenpack> Greenpack for Option<T> {
    fn encode_as(&self, form: Form, out: &mut BytesMut) {
        match self {
            Some(value) => value.encode_as(form, out),
            None => write::nil(out),
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.peek()? == Kind::Nil {
            reader.skip()?;
            return Ok(None);
        }
        T::decode(reader).map(Some)
    }

    fn is_zero(&self) -> bool {
        self.is_none()
    }
}

macro_rules! pointers {
    ($($pointer:ident)*) => {$(
        impl<T: Greenpack> Greenpack for $pointer<T> {
            fn encode_as(&self, form: Form, out: &mut BytesMut) {
                T::encode_as(self, form, out);
            }

            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                T::decode(reader).map(Self::new)
            }

            fn is_zero(&self) -> bool {
                T::is_zero(self)
            }
        }
    )*};
}

pointers!(Box Arc);

impl<T: Greenpack> Greenpack for Vec<T> {
    fn encode_as(&self, form: Form, out: &mut BytesMut) {
        T::encode_all(self, form, out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        T::decode_all(reader)
    }

    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

/// An array of fixed size is always written. One of bytes is bytes.
impl<T: Greenpack, const N: usize> Greenpack for [T; N] {
    fn encode_as(&self, form: Form, out: &mut BytesMut) {
        T::encode_all(self, form, out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.peek()? == Kind::Bin {
            let got = T::decode_all(reader)?;
            let (wanted, len) = (N as u32, got.len() as u32);
            return Self::try_from(got).map_err(|_| DecodeError::ArraySize { wanted, got: len });
        }
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
    fn encode_as(&self, form: Form, out: &mut BytesMut) {
        write::map_header(out, self.len());
        for (key, value) in self {
            key.encode_as(form, out);
            value.encode_as(form, out);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(entries(reader)?.into_iter().collect())
    }

    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

/// As a [`BTreeMap`]: written in the order of the keys.
impl<K: Greenpack + Ord + Hash, V: Greenpack> Greenpack for HashMap<K, V> {
    fn encode_as(&self, form: Form, out: &mut BytesMut) {
        let sorted: BTreeMap<&K, &V> = self.iter().collect();
        write::map_header(out, sorted.len());
        for (key, value) in sorted {
            key.encode_as(form, out);
            value.encode_as(form, out);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(entries(reader)?.into_iter().collect())
    }

    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

fn entries<K: Greenpack, V: Greenpack>(
    reader: &mut Reader<'_>,
) -> Result<Vec<(K, V)>, DecodeError> {
    let len = reader.map_header()?.unwrap_or(0);
    let mut entries = Vec::with_capacity(len.min(RESERVED));
    for _ in 0..len {
        let key = key(reader)?;
        entries.push((key, V::decode(reader)?));
    }
    Ok(entries)
}

/// In what people write, a key that is a number stands in quotes.
fn key<K: Greenpack>(reader: &mut Reader<'_>) -> Result<K, DecodeError> {
    if !reader.is_lenient() || reader.peek()? != Kind::Str {
        return K::decode(reader);
    }
    let mut as_text = reader.clone();
    if let Ok(key) = K::decode(&mut as_text) {
        *reader = as_text;
        return Ok(key);
    }
    let number = std::str::from_utf8(reader.str()?)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(DecodeError::OutOfRange)?;
    let mut bytes = Vec::new();
    write::int(&mut bytes, number);
    K::decode(&mut Reader::new(&bytes))
}

macro_rules! tuples {
    ($($len:literal: $($name:ident $index:tt),*;)*) => {$(
        /// The tuple form of a struct (docs/wire G14): the number of elements must be exact.
        impl<$($name: Greenpack),*> Greenpack for ($($name,)*) {
            fn encode_as(&self, form: Form, out: &mut BytesMut) {
                write::array_header(out, $len);
                $(self.$index.encode_as(form, out);)*
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
    fn encode_as(&self, _: Form, out: &mut BytesMut) {
        write::array_header(out, 0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        has_elements(reader, 0).map(drop)
    }
}
