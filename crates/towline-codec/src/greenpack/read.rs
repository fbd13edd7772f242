//! Reading values in place, leniently and within bounds.

use super::{DecodeError, Kind, Timestamp, write::TIME_EXTENSION};

/// How deep arrays and maps may be nested in a value that is skipped (docs/wire G27).
pub const MAX_DEPTH: usize = 64;

/// Reads greenpack values from the front of a slice.
///
/// Every method consumes one value, or fails and leaves the reader somewhere inside it: a failed
/// reader is good for nothing but being dropped. Counts and lengths are checked against the bytes
/// that are there before anything else happens, so a caller may allocate what a header announces.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Containers that are being read, of types that may hold themselves.
    depth: usize,
    names: bool,
    lenient: bool,
}

impl<'a> Reader<'a> {
    /// A reader of `input`.
    pub const fn new(input: &'a [u8]) -> Self {
        Self {
            rest: input,
            depth: 0,
            names: false,
            lenient: false,
        }
    }

    /// A reader of what others write: fields of structs may be called by their bare names, as in
    /// [`Form::Named`](super::Form::Named).
    pub const fn with_names(input: &'a [u8]) -> Self {
        Self {
            names: true,
            ..Self::new(input)
        }
    }

    /// A reader of what was made of JSON: besides names, it takes whole numbers for floats, text for times
    /// and, in base64, for bytes, and nanoseconds for durations.
    pub const fn lenient(input: &'a [u8]) -> Self {
        Self {
            lenient: true,
            ..Self::with_names(input)
        }
    }

    /// True if bare names do for keys.
    #[doc(hidden)]
    pub const fn takes_names(&self) -> bool {
        self.names
    }

    pub(super) const fn is_lenient(&self) -> bool {
        self.lenient
    }

    /// Reads a value that may hold others of its own type: no deeper than [`MAX_DEPTH`].
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooDeep`], and what `read` says.
    pub fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        if self.depth >= MAX_DEPTH {
            return Err(DecodeError::TooDeep);
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    /// What has not been read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Passes over the first of these texts that comes next, each as it is written, header included; `None` if none of
    /// them does. It is the short way to keys that come in a known order and form; [`key`](Self::key) takes any.
    pub fn take_literal(&mut self, literals: &[&[u8]]) -> Option<usize> {
        let first = self.rest.first();
        let (at, rest) = literals
            .iter()
            .enumerate()
            .filter(|(_, literal)| literal.first() == first)
            .find_map(|(at, literal)| Some((at, self.rest.strip_prefix(*literal)?)))?;
        self.rest = rest;
        Some(at)
    }

    /// The kind of the next value, without consuming it.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Truncated`] at the end of the input.
    pub fn peek(&self) -> Result<Kind, DecodeError> {
        self.rest
            .first()
            .map(|&byte| kind(byte))
            .ok_or(DecodeError::Truncated)
    }

    /// The number of entries of the map that begins here; `None` for nil (docs/wire G17).
    ///
    /// # Errors
    ///
    /// A count that the remaining bytes cannot hold is [`DecodeError::Truncated`].
    pub fn map_header(&mut self) -> Result<Option<usize>, DecodeError> {
        let count = match self.take_byte()? {
            0xc0 => return Ok(None),
            byte @ 0x80..=0x8f => usize::from(byte & 0x0f),
            0xde => self.take_length(2)?,
            0xdf => self.take_length(4)?,
            byte => return Err(wrong(Kind::Map, byte)),
        };
        // An entry is at least one byte of key and one of value.
        if count > self.rest.len() / 2 {
            return Err(DecodeError::Truncated);
        }
        Ok(Some(count))
    }

    /// The number of elements of the array that begins here; `None` for nil.
    ///
    /// # Errors
    ///
    /// A count that the remaining bytes cannot hold is [`DecodeError::Truncated`].
    pub fn array_header(&mut self) -> Result<Option<usize>, DecodeError> {
        let count = match self.take_byte()? {
            0xc0 => return Ok(None),
            byte @ 0x90..=0x9f => usize::from(byte & 0x0f),
            0xdc => self.take_length(2)?,
            0xdd => self.take_length(4)?,
            byte => return Err(wrong(Kind::Array, byte)),
        };
        if count > self.rest.len() {
            return Err(DecodeError::Truncated);
        }
        Ok(Some(count))
    }

    /// The key of a map entry: a string, or bytes. `None` for a nil or empty key, whose value the
    /// caller skips; the original dies of such keys (docs/wire G23).
    ///
    /// # Errors
    ///
    /// A key of any other kind.
    pub fn key(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        let key = match self.peek()? {
            Kind::Bin => self.bin()?,
            _ => self.str()?,
        };
        Ok(if key.is_empty() { None } else { Some(key) })
    }

    /// A string, as bytes; nil reads as empty.
    ///
    /// # Errors
    ///
    /// A value of another kind, or a length beyond the input.
    pub fn str(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = match self.take_byte()? {
            0xc0 => 0,
            byte @ 0xa0..=0xbf => usize::from(byte & 0x1f),
            0xd9 => self.take_length(1)?,
            0xda => self.take_length(2)?,
            0xdb => self.take_length(4)?,
            byte => return Err(wrong(Kind::Str, byte)),
        };
        self.take(len)
    }

    /// A byte string; nil reads as empty.
    ///
    /// # Errors
    ///
    /// A value of another kind, or a length beyond the input.
    pub fn bin(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = match self.take_byte()? {
            0xc0 => 0,
            0xc4 => self.take_length(1)?,
            0xc5 => self.take_length(2)?,
            0xc6 => self.take_length(4)?,
            byte => return Err(wrong(Kind::Bin, byte)),
        };
        self.take(len)
    }

    /// An integer for a signed field, in any form whose value fits; nil reads as 0.
    ///
    /// # Errors
    ///
    /// A value of another kind, or an unsigned one above `i64::MAX`.
    pub fn int(&mut self) -> Result<i64, DecodeError> {
        match self.integer(Kind::Int)? {
            Integer::Signed(value) => Ok(value),
            Integer::Unsigned(value) => i64::try_from(value).map_err(|_| DecodeError::OutOfRange),
        }
    }

    /// An integer for an unsigned field, in any form whose value fits; nil reads as 0.
    ///
    /// # Errors
    ///
    /// A value of another kind, or a negative one.
    pub fn uint(&mut self) -> Result<u64, DecodeError> {
        match self.integer(Kind::Uint)? {
            Integer::Signed(value) => u64::try_from(value).map_err(|_| DecodeError::OutOfRange),
            Integer::Unsigned(value) => Ok(value),
        }
    }

    /// A boolean; nil reads as false.
    ///
    /// # Errors
    ///
    /// A value of another kind.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.take_byte()? {
            0xc0 | 0xc2 => Ok(false),
            0xc3 => Ok(true),
            byte => Err(wrong(Kind::Bool, byte)),
        }
    }

    /// The bytes of a 32-bit or 64-bit float; `None` for nil.
    pub(super) fn float(&mut self, wanted: Kind) -> Result<Option<&'a [u8]>, DecodeError> {
        let len = match self.take_byte()? {
            0xc0 => return Ok(None),
            0xca => 4,
            0xcb => 8,
            byte => return Err(wrong(wanted, byte)),
        };
        self.take(len).map(Some)
    }

    /// An instant; nil and the original's zero instant read as `None` (docs/wire G25).
    ///
    /// # Errors
    ///
    /// A value of another kind or an extension of another type: the standard MessagePack timestamp
    /// is refused, as the original refuses it.
    pub fn time(&mut self) -> Result<Option<Timestamp>, DecodeError> {
        let data = match self.extension()? {
            None => return Ok(None),
            Some((TIME_EXTENSION, data)) => data,
            Some((got, _)) => {
                return Err(DecodeError::ExtensionType {
                    wanted: TIME_EXTENSION,
                    got,
                });
            }
        };
        if data.len() != 12 {
            return Err(DecodeError::OutOfRange);
        }
        let mut data = Self::new(data);
        let seconds = i64::from_be_bytes(data.take_array()?);
        let nanos = i32::from_be_bytes(data.take_array()?);
        // Nanoseconds are carried first: what is the zero instant only then must not be written on.
        let time = Timestamp::new(seconds, i64::from(nanos));
        let is_zero = time == Timestamp::new(Timestamp::ZERO_SECONDS, 0);
        Ok((!is_zero).then_some(time))
    }

    /// An extension: its number and what it holds; `None` for nil.
    ///
    /// # Errors
    ///
    /// A value of another kind.
    pub fn extension(&mut self) -> Result<Option<(i8, &'a [u8])>, DecodeError> {
        let len = match self.take_byte()? {
            0xc0 => return Ok(None),
            0xc7 => self.take_length(1)?,
            0xc8 => self.take_length(2)?,
            0xc9 => self.take_length(4)?,
            0xd4 => 1,
            0xd5 => 2,
            0xd6 => 4,
            0xd7 => 8,
            0xd8 => 16,
            byte => return Err(wrong(Kind::Ext, byte)),
        };
        let number = self.take_byte()? as i8;
        Ok(Some((number, self.take(len)?)))
    }

    /// Passes over one value of any kind.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooDeep`] beyond [`MAX_DEPTH`], [`DecodeError::InvalidPrefix`],
    /// [`DecodeError::Truncated`].
    pub fn skip(&mut self) -> Result<(), DecodeError> {
        // Values still to pass at each level; an explicit stack, so that depth costs no call stack.
        let mut open = [0_usize; MAX_DEPTH];
        let mut depth = 0;
        loop {
            let inside = self.skip_one()?;
            if inside > 0 {
                let level = open.get_mut(depth).ok_or(DecodeError::TooDeep)?;
                *level = inside;
                depth += 1;
            } else {
                // One value is complete; so is every container of which it was the last.
                while depth > 0 {
                    open[depth - 1] -= 1;
                    if open[depth - 1] > 0 {
                        break;
                    }
                    depth -= 1;
                }
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// Passes over a scalar, or over the header of a container and returns how many values it holds.
    fn skip_one(&mut self) -> Result<usize, DecodeError> {
        let scalar = match self.rest.first().copied().ok_or(DecodeError::Truncated)? {
            0x80..=0x8f | 0xde | 0xdf => return Ok(self.map_header()?.unwrap_or(0) * 2),
            0x90..=0x9f | 0xdc | 0xdd => return Ok(self.array_header()?.unwrap_or(0)),
            0xc1 => return Err(DecodeError::InvalidPrefix),
            byte => byte,
        };
        self.take_byte()?;
        let len = match scalar {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => 0,
            0xa0..=0xbf => usize::from(scalar & 0x1f),
            0xcc | 0xd0 => 1,
            0xcd | 0xd1 => 2,
            0xce | 0xd2 | 0xca => 4,
            0xcf | 0xd3 | 0xcb => 8,
            0xc4 | 0xd9 => self.take_length(1)?,
            0xc5 | 0xda => self.take_length(2)?,
            0xc6 | 0xdb => self.take_length(4)?,
            // Extensions: a type byte stands before the data.
            0xd4 => 2,
            0xd5 => 3,
            0xd6 => 5,
            0xd7 => 9,
            0xd8 => 17,
            0xc7 => self.take_length(1)?.saturating_add(1),
            0xc8 => self.take_length(2)?.saturating_add(1),
            0xc9 => self.take_length(4)?.saturating_add(1),
            _ => return Err(DecodeError::InvalidPrefix),
        };
        self.take(len)?;
        Ok(0)
    }

    fn integer(&mut self, wanted: Kind) -> Result<Integer, DecodeError> {
        Ok(match self.take_byte()? {
            0xc0 => Integer::Unsigned(0),
            byte @ 0x00..=0x7f => Integer::Unsigned(u64::from(byte)),
            byte @ 0xe0..=0xff => Integer::Signed(i64::from(byte as i8)),
            0xcc => Integer::Unsigned(u64::from(self.take_byte()?)),
            0xcd => Integer::Unsigned(u64::from(u16::from_be_bytes(self.take_array()?))),
            0xce => Integer::Unsigned(u64::from(u32::from_be_bytes(self.take_array()?))),
            0xcf => Integer::Unsigned(u64::from_be_bytes(self.take_array()?)),
            0xd0 => Integer::Signed(i64::from(self.take_byte()? as i8)),
            0xd1 => Integer::Signed(i64::from(i16::from_be_bytes(self.take_array()?))),
            0xd2 => Integer::Signed(i64::from(i32::from_be_bytes(self.take_array()?))),
            0xd3 => Integer::Signed(i64::from_be_bytes(self.take_array()?)),
            byte => return Err(wrong(wanted, byte)),
        })
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn take_byte(&mut self) -> Result<u8, DecodeError> {
        let (&byte, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(byte)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// A big-endian length of `width` bytes.
    fn take_length(&mut self, width: usize) -> Result<usize, DecodeError> {
        let bytes = self.take(width)?;
        Ok(bytes
            .iter()
            .fold(0, |length, &byte| length << 8 | usize::from(byte)))
    }
}

enum Integer {
    Signed(i64),
    Unsigned(u64),
}

fn wrong(wanted: Kind, byte: u8) -> DecodeError {
    match kind(byte) {
        Kind::Invalid => DecodeError::InvalidPrefix,
        got => DecodeError::WrongType { wanted, got },
    }
}

const fn kind(byte: u8) -> Kind {
    match byte {
        0xc0 => Kind::Nil,
        0xc1 => Kind::Invalid,
        0xc2 | 0xc3 => Kind::Bool,
        0x00..=0x7f | 0xd0..=0xd3 | 0xe0..=0xff => Kind::Int,
        0xcc..=0xcf => Kind::Uint,
        0xca => Kind::Float32,
        0xcb => Kind::Float64,
        0xa0..=0xbf | 0xd9..=0xdb => Kind::Str,
        0xc4..=0xc6 => Kind::Bin,
        0x90..=0x9f | 0xdc | 0xdd => Kind::Array,
        0x80..=0x8f | 0xde | 0xdf => Kind::Map,
        0xc7..=0xc9 | 0xd4..=0xd8 => Kind::Ext,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::write, *};

    #[test]
    fn signed_and_unsigned_fields_use_their_own_forms() {
        let mut out = Vec::new();
        write::int(&mut out, 128);
        write::uint(&mut out, 128);
        write::int(&mut out, -5);
        assert_eq!(out, [0xd1, 0x00, 0x80, 0xcc, 0x80, 0xfb]);
    }

    #[test]
    fn a_count_beyond_the_input_is_refused_before_anything_is_allocated() {
        let mut reader = Reader::new(&[0xdf, 0xff, 0xff, 0xff, 0xff, 0xa1, b'a']);
        assert_eq!(reader.map_header(), Err(DecodeError::Truncated));
        let mut reader = Reader::new(&[0xdd, 0xff, 0xff, 0xff, 0xff, 0x01]);
        assert_eq!(reader.array_header(), Err(DecodeError::Truncated));
    }

    #[test]
    fn a_literal_is_taken_only_if_all_of_it_comes_next() {
        let mut reader = Reader::new(b"\xa2ab\xa2ac\xa2");
        assert_eq!(reader.take_literal(&[b"\xa1a", b"\xa2ac"]), None);
        assert_eq!(reader.take_literal(&[b"\xa2ac", b"\xa2ab"]), Some(1));
        assert_eq!(reader.take_literal(&[]), None);
        assert_eq!(reader.str(), Ok(&b"ac"[..]));
        assert_eq!(reader.take_literal(&[b"\xa2ab"]), None);
        assert_eq!(reader.rest(), b"\xa2");
    }

    #[test]
    fn nesting_is_bounded_without_using_the_call_stack() {
        let nested = |levels: usize| {
            let mut bytes = vec![0x91; levels];
            bytes.push(0x01);
            bytes
        };
        assert_eq!(Reader::new(&nested(MAX_DEPTH)).skip(), Ok(()));
        assert_eq!(
            Reader::new(&nested(MAX_DEPTH + 1)).skip(),
            Err(DecodeError::TooDeep)
        );
        assert_eq!(
            Reader::new(&nested(10_000)).skip(),
            Err(DecodeError::TooDeep)
        );
    }

    #[test]
    fn skip_ends_exactly_behind_the_value() {
        // [1, {"a": [nil, 2.5]}, ext], then 7
        let bytes = [
            0x93, 0x01, 0x81, 0xa1, b'a', 0x92, 0xc0, 0xcb, 0, 0, 0, 0, 0, 0, 0, 0, 0xc7, 3, 10, 1,
            2, 3, 0x07,
        ];
        let mut reader = Reader::new(&bytes);
        reader.skip().expect("well-formed");
        assert_eq!(reader.rest(), [0x07]);
    }

    #[test]
    fn nil_reads_as_the_zero_value_of_every_kind() {
        let nil = [0xc0];
        assert_eq!(Reader::new(&nil).int(), Ok(0));
        assert_eq!(Reader::new(&nil).uint(), Ok(0));
        assert_eq!(Reader::new(&nil).bool(), Ok(false));
        assert_eq!(Reader::new(&nil).str(), Ok(&[][..]));
        assert_eq!(Reader::new(&nil).bin(), Ok(&[][..]));
        assert_eq!(Reader::new(&nil).time(), Ok(None));
        assert_eq!(Reader::new(&nil).map_header(), Ok(None));
        assert_eq!(Reader::new(&nil).array_header(), Ok(None));
    }

    #[test]
    fn nanoseconds_that_carry_to_the_zero_instant_read_as_unset() {
        let zero = Timestamp::ZERO_SECONDS;
        for (seconds, nanos) in [
            (zero, 0),
            (zero - 1, 1_000_000_000),
            (zero + 1, -1_000_000_000),
        ] {
            let mut bytes = vec![0xc7, 12, TIME_EXTENSION as u8];
            bytes.extend_from_slice(&seconds.to_be_bytes());
            bytes.extend_from_slice(&i32::to_be_bytes(nanos));
            assert_eq!(Reader::new(&bytes).time(), Ok(None), "{seconds} {nanos}");
        }
    }

    #[test]
    fn an_integer_outside_its_field_is_an_error() {
        let mut big = Vec::new();
        write::uint(&mut big, u64::MAX);
        assert_eq!(Reader::new(&big).int(), Err(DecodeError::OutOfRange));
        let mut negative = Vec::new();
        write::int(&mut negative, -1);
        assert_eq!(Reader::new(&negative).uint(), Err(DecodeError::OutOfRange));
    }

    proptest! {
        #[test]
        fn integers_round_trip_and_another_reader_agrees(signed: i64, unsigned: u64) {
            let mut out = Vec::new();
            write::int(&mut out, signed);
            prop_assert_eq!(Reader::new(&out).int(), Ok(signed));
            prop_assert_eq!(rmp::decode::read_int::<i64, _>(&mut &out[..]).ok(), Some(signed));
            out.clear();
            write::uint(&mut out, unsigned);
            prop_assert_eq!(Reader::new(&out).uint(), Ok(unsigned));
            prop_assert_eq!(rmp::decode::read_int::<u64, _>(&mut &out[..]).ok(), Some(unsigned));
        }

        #[test]
        fn strings_and_bytes_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..70_000)) {
            let mut out = Vec::new();
            write::str(&mut out, &bytes);
            write::bin(&mut out, &bytes);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.str(), Ok(&bytes[..]));
            prop_assert_eq!(reader.bin(), Ok(&bytes[..]));
            prop_assert!(reader.rest().is_empty());
        }

        #[test]
        fn times_round_trip(seconds: i64, nanos in 0..1_000_000_000_i64) {
            let time = Timestamp::new(seconds, nanos);
            let mut out = Vec::new();
            write::time(&mut out, time);
            prop_assert_eq!(Reader::new(&out).time(), Ok(Some(time)));
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_never_read_beyond_the_end(
            bytes in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            let mut reader = Reader::new(&bytes);
            while !reader.rest().is_empty() && reader.skip().is_ok() {}
            Reader::new(&bytes).time().ok();
            Reader::new(&bytes).key().ok();
            Reader::new(&bytes).int().ok();
        }
    }
}
