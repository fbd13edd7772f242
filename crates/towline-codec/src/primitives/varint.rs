//! VarInt and VarLong: seven bits a byte, the lowest first, the top bit for "more follows".

use super::error::ValueError;

/// The most bytes of a VarInt.
pub const MAX_VAR_INT_BYTES: usize = 5;
/// The most bytes of a VarLong.
pub const MAX_VAR_LONG_BYTES: usize = 10;
/// The largest number that five bytes hold: 2^35 − 1 (docs/wire L5).
pub const MAX_VAR_INT_RAW: u64 = (1 << 35) - 1;

/// A number in its bytes, and how many of them count.
pub(crate) fn encode(mut value: u64) -> ([u8; MAX_VAR_LONG_BYTES], usize) {
    let mut bytes = [0; MAX_VAR_LONG_BYTES];
    let mut len = 0;
    // docs/wire L4, L7: shifted as an unsigned number, so that it ends for every value.
    while value > 0x7f {
        bytes[len] = value as u8 | 0x80;
        value >>= 7;
        len += 1;
    }
    bytes[len] = value as u8;
    (bytes, len + 1)
}

/// Takes a number byte by byte.
pub(crate) struct VarReader {
    value: u64,
    position: u32,
    /// 35 or 70 bits.
    bits: u32,
    strict: bool,
}

/// What a byte has brought.
pub(crate) enum Progress {
    More,
    Done(u64),
}

impl VarReader {
    pub(crate) const fn var_int(strict: bool) -> Self {
        Self {
            value: 0,
            position: 0,
            bits: 7 * MAX_VAR_INT_BYTES as u32,
            strict,
        }
    }

    pub(crate) const fn var_long(strict: bool) -> Self {
        Self {
            value: 0,
            position: 0,
            bits: 7 * MAX_VAR_LONG_BYTES as u32,
            strict,
        }
    }

    /// How many bytes were taken.
    pub(crate) const fn taken(&self) -> u32 {
        self.position / 7
    }

    pub(crate) fn push(&mut self, byte: u8) -> Result<Progress, ValueError> {
        let low = u64::from(byte & 0x7f);
        let last = self.position + 7 == self.bits;
        let is_int = self.bits == 7 * MAX_VAR_INT_BYTES as u32;
        // docs/wire L6: the last possible byte must be the last.
        if byte & 0x80 != 0 && last {
            return Err(if is_int {
                ValueError::VarIntTooLong
            } else {
                ValueError::VarLongTooLong
            });
        }
        // docs/wire L8.
        if self.strict && last && low > if is_int { 0x0f } else { 0x01 } {
            return Err(ValueError::OutOfRange);
        }
        if self.strict && byte == 0 && self.position > 0 {
            return Err(ValueError::NotMinimal);
        }
        // The tenth byte's upper bits are shifted out, as in the original (docs/wire L6).
        self.value |= low << self.position;
        self.position += 7;
        Ok(if byte & 0x80 == 0 {
            Progress::Done(self.value)
        } else {
            Progress::More
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(mut reader: VarReader, bytes: &[u8]) -> Result<(u64, usize), ValueError> {
        for (at, byte) in bytes.iter().enumerate() {
            if let Progress::Done(value) = reader.push(*byte)? {
                return Ok((value, at + 1));
            }
        }
        Err(ValueError::Truncated)
    }

    /// docs/wire L8: a strict reader takes exactly what a writer makes.
    #[test]
    fn strict_readers_take_one_form_only() {
        let (ten, int, long) = (
            [0x80; 9],
            || VarReader::var_int(true),
            || VarReader::var_long(true),
        );
        for bytes in [&[0x81, 0][..], &[0x80, 0], &[0xff, 0xff, 0xff, 0x80, 0]] {
            assert_eq!(read(int(), bytes), Err(ValueError::NotMinimal));
        }
        assert_eq!(
            read(int(), &[0xff, 0xff, 0xff, 0xff, 0x1f]),
            Err(ValueError::OutOfRange)
        );
        assert_eq!(
            read(long(), &[&ten[..], &[2]].concat()),
            Err(ValueError::OutOfRange)
        );
        assert_eq!(
            read(long(), &[&ten[..], &[0]].concat()),
            Err(ValueError::NotMinimal)
        );
        assert_eq!(read(int(), &[0]), Ok((0, 1)));
        assert_eq!(
            read(int(), &[0xff, 0xff, 0xff, 0xff, 0x0f]),
            Ok((0xffff_ffff, 5))
        );
    }

    proptest! {
        /// docs/wire L4, L7, L9.
        #[test]
        fn every_number_comes_back(value: u64, small: i32) {
            for value in [value, value >> 32, u64::from(small.cast_unsigned())] {
                let (bytes, len) = encode(value);
                for strict in [false, true] {
                    prop_assert_eq!(read(VarReader::var_long(strict), &bytes[..len]), Ok((value, len)));
                    if value <= u64::from(u32::MAX) {
                        prop_assert_eq!(read(VarReader::var_int(strict), &bytes[..len]), Ok((value, len)));
                    }
                }
            }
        }
    }
}
