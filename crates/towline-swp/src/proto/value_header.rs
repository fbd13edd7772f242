//! The headers of values of a stream that is not all here.

use towline_codec::greenpack::DecodeError as ValueError;

use super::error::DecodeError;

/// What the header of a value says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ValueHeader {
    /// Bytes of the header itself.
    pub(crate) len: usize,
    /// Bytes behind it that belong to the value.
    pub(crate) body: u64,
    /// Values inside it.
    pub(crate) nested: u64,
    pub(crate) is_bin: bool,
}

impl ValueHeader {
    /// Bytes of a header that begins with `first`.
    pub(crate) fn len_of(first: u8) -> Result<usize, DecodeError> {
        Ok(match first {
            0xc1 => return Err(ValueError::Truncated.into()),
            0xc4 | 0xd9 => 2,
            0xc5 | 0xda | 0xdc | 0xde => 3,
            0xc6 | 0xdb | 0xdd | 0xdf => 5,
            0xc7 => 3,
            0xc8 => 4,
            0xc9 => 6,
            0xd4..=0xd8 => 2,
            _ => 1,
        })
    }

    /// The header at the front of `value`, which has all of its bytes.
    pub(crate) fn read(value: &[u8]) -> Self {
        let first = value[0];
        let number = |from: usize, to: usize| {
            value
                .get(from..to)
                .unwrap_or_default()
                .iter()
                .fold(0_u64, |number, &byte| number << 8 | u64::from(byte))
        };
        let (len, body, nested) = match first {
            0x80..=0x8f => (1, 0, 2 * u64::from(first & 0x0f)),
            0x90..=0x9f => (1, 0, u64::from(first & 0x0f)),
            0xa0..=0xbf => (1, u64::from(first & 0x1f), 0),
            0xc4 | 0xd9 => (2, number(1, 2), 0),
            0xc5 | 0xda => (3, number(1, 3), 0),
            0xc6 | 0xdb => (5, number(1, 5), 0),
            0xc7 => (3, number(1, 2), 0),
            0xc8 => (4, number(1, 3), 0),
            0xc9 => (6, number(1, 5), 0),
            0xcc | 0xd0 => (1, 1, 0),
            0xcd | 0xd1 => (1, 2, 0),
            0xca | 0xce | 0xd2 => (1, 4, 0),
            0xcb | 0xcf | 0xd3 => (1, 8, 0),
            0xd4..=0xd8 => (2, 1 << (first - 0xd4), 0),
            0xdc => (3, 0, number(1, 3)),
            0xdd => (5, 0, number(1, 5)),
            0xde => (3, 0, 2 * number(1, 3)),
            0xdf => (5, 0, 2 * number(1, 5)),
            _ => (1, 0, 0),
        };
        Self {
            len,
            body,
            nested,
            is_bin: matches!(first, 0xc4..=0xc6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two functions agree for every first byte.
    #[test]
    fn a_header_is_as_long_as_its_first_byte_says() {
        for first in 0..=u8::MAX {
            let Ok(len) = ValueHeader::len_of(first) else {
                assert_eq!(first, 0xc1);
                continue;
            };
            let mut value = [0; 6];
            value[0] = first;
            let header = ValueHeader::read(&value[..len]);
            assert_eq!(header.len, len, "{first:#x}");
        }
    }
}
