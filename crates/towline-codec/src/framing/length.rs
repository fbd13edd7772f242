//! Packets with their length in front.

use std::ops::Deref;

use bytes::{BufMut, BytesMut};

use super::codec::Oversize;
use super::error::{EncodeError, FramingError};
use super::protocol::{FramingProtocol, Located, Resync, Skip};
use crate::primitives::{MAX_VAR_INT_RAW, Progress, VarReader, encode};

/// How the length of a packet stands in front of it. It counts the payload, not itself (docs/wire L16).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LengthPrefix {
    /// One to five bytes.
    VarInt,
    /// One to ten bytes.
    VarLong,
    /// Two bytes, big-endian.
    U16Be,
    /// Two bytes, little-endian.
    U16Le,
    /// Four bytes, big-endian.
    U32Be,
    /// Four bytes, little-endian: the original's `PrefixInt32` of its first generation.
    U32Le,
    /// Eight bytes, big-endian.
    U64Be,
    /// Eight bytes, little-endian.
    U64Le,
}

/// A length in its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixBytes {
    bytes: [u8; 10],
    len: u8,
}

impl Deref for PrefixBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl LengthPrefix {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::VarInt,
        Self::VarLong,
        Self::U16Be,
        Self::U16Le,
        Self::U32Be,
        Self::U32Le,
        Self::U64Be,
        Self::U64Le,
    ];

    /// The largest length that it can say.
    pub const fn max_length(self) -> u64 {
        match self {
            Self::VarInt => MAX_VAR_INT_RAW,
            Self::U16Be | Self::U16Le => u16::MAX as u64,
            Self::U32Be | Self::U32Le => u32::MAX as u64,
            // The original keeps it signed (docs/wire L17).
            Self::VarLong | Self::U64Be | Self::U64Le => i64::MAX as u64,
        }
    }

    /// The prefix of a packet of `len` bytes.
    ///
    /// # Errors
    ///
    /// [`EncodeError::TooLong`].
    pub fn prefix(self, len: usize) -> Result<PrefixBytes, EncodeError> {
        let value = len as u64;
        let max = self.max_length();
        if value > max {
            return Err(EncodeError::TooLong { len, max });
        }
        let mut bytes = [0; 10];
        let len = match self {
            Self::VarInt | Self::VarLong => {
                let (encoded, len) = encode(value);
                bytes = encoded;
                len
            }
            Self::U16Be => put(&mut bytes, &(value as u16).to_be_bytes()),
            Self::U16Le => put(&mut bytes, &(value as u16).to_le_bytes()),
            Self::U32Be => put(&mut bytes, &(value as u32).to_be_bytes()),
            Self::U32Le => put(&mut bytes, &(value as u32).to_le_bytes()),
            Self::U64Be => put(&mut bytes, &value.to_be_bytes()),
            Self::U64Le => put(&mut bytes, &value.to_le_bytes()),
        };
        Ok(PrefixBytes {
            bytes,
            len: len as u8,
        })
    }

    /// The length at the start of `input` and the number of its bytes; how many bytes are missing if it
    /// is not whole yet.
    pub(super) fn read(self, input: &[u8]) -> Result<Result<(u64, usize), usize>, FramingError> {
        let (length, size) = match self {
            Self::VarInt => return read_variable(VarReader::var_int(false), input),
            Self::VarLong => return read_variable(VarReader::var_long(false), input),
            Self::U16Be | Self::U16Le => match input.first_chunk() {
                Some(bytes) if self == Self::U16Be => (u16::from_be_bytes(*bytes).into(), 2),
                Some(bytes) => (u16::from_le_bytes(*bytes).into(), 2),
                None => return Ok(Err(2 - input.len())),
            },
            Self::U32Be | Self::U32Le => match input.first_chunk() {
                Some(bytes) if self == Self::U32Be => (u32::from_be_bytes(*bytes).into(), 4),
                Some(bytes) => (u32::from_le_bytes(*bytes).into(), 4),
                None => return Ok(Err(4 - input.len())),
            },
            Self::U64Be | Self::U64Le => match input.first_chunk() {
                Some(bytes) if self == Self::U64Be => (u64::from_be_bytes(*bytes), 8),
                Some(bytes) => (u64::from_le_bytes(*bytes), 8),
                None => return Ok(Err(8 - input.len())),
            },
        };
        positive(length).map(|length| Ok((length, size)))
    }
}

impl FramingProtocol for LengthPrefix {
    fn locate(&self, input: &[u8], _scanned: usize, max: usize) -> Result<Located, FramingError> {
        let (length, start) = match self.read(input)? {
            Ok(read) => read,
            Err(missing) => {
                return Ok(Located::Incomplete {
                    scanned: 0,
                    needed: missing as u64,
                });
            }
        };
        let whole = length.saturating_add(start as u64);
        // docs/wire L20: before anything is kept for it.
        if length > max as u64 {
            return Ok(Located::TooBig {
                announced: Some(length),
                skip: Skip::Bytes(whole),
            });
        }
        let come = input.len() as u64;
        Ok(if come < whole {
            Located::Incomplete {
                scanned: 0,
                needed: whole - come,
            }
        } else {
            // No more than `input.len()`.
            let end = whole as usize;
            Located::Packet {
                start,
                end,
                next: end,
            }
        })
    }

    fn resync(&self, _input: &[u8]) -> Resync {
        // Never asked: `TooBig` says how many bytes.
        Resync::At(0)
    }

    fn default_oversize(&self) -> Oversize {
        Oversize::Close
    }

    fn encode(&self, payload: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
        let prefix = self.prefix(payload.len())?;
        out.reserve(prefix.len() + payload.len());
        out.put_slice(&prefix);
        out.put_slice(payload);
        Ok(())
    }
}

fn put(bytes: &mut [u8; 10], value: &[u8]) -> usize {
    bytes[..value.len()].copy_from_slice(value);
    value.len()
}

fn positive(length: u64) -> Result<u64, FramingError> {
    // docs/wire L17.
    if length > i64::MAX as u64 {
        let length = length.cast_signed();
        return Err(FramingError::NegativeLength { length });
    }
    Ok(length)
}

fn read_variable(
    mut reader: VarReader,
    input: &[u8],
) -> Result<Result<(u64, usize), usize>, FramingError> {
    for (at, byte) in input.iter().enumerate() {
        // docs/wire L18: at the fifth or tenth byte, whatever follows.
        match reader.push(*byte).map_err(FramingError::OverlongPrefix)? {
            Progress::Done(length) => return positive(length).map(|length| Ok((length, at + 1))),
            Progress::More => {}
        }
    }
    Ok(Err(1))
}
