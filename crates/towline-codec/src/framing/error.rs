//! What can be wrong with packets.

use std::io;

use crate::primitives::ValueError;

/// A stream that cannot be cut into packets any further. Close the connection: what follows has no
/// meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FramingError {
    /// A packet is larger than allowed (docs/wire L19, L20).
    #[error("packet too big: at most {max} bytes are accepted here{}", announcement(*announced))]
    PacketTooBig {
        /// The limit, in bytes of payload.
        max: usize,
        /// The length in front of it, if it has one.
        announced: Option<u64>,
    },
    /// A length is negative as a signed 64-bit number (docs/wire L17).
    #[error("the length of a packet is negative: {length}")]
    NegativeLength {
        /// As the original reads it.
        length: i64,
    },
    /// A VarInt or VarLong in front of a packet does not end (docs/wire L18).
    #[error("the length of a packet is not a number: {0}")]
    OverlongPrefix(ValueError),
}

impl From<FramingError> for io::Error {
    fn from(error: FramingError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

fn announcement(announced: Option<u64>) -> String {
    announced.map_or_else(String::new, |bytes| format!(", and {bytes} are announced"))
}

/// A payload that cannot be sent as one packet. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// It holds the separator, and would arrive as two packets (docs/wire L14).
    #[error("the payload holds the separator at byte {at} and would arrive as two packets")]
    ContainsSeparator {
        /// Where.
        at: usize,
    },
    /// It is longer than its length prefix can say, or than the codec allows.
    #[error("packet too big: {len} bytes, and at most {max} can be sent")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit.
        max: u64,
    },
}

impl From<EncodeError> for io::Error {
    fn from(error: EncodeError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

/// A separator of no bytes would be found everywhere, for ever (docs/wire L15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a separator must have at least one byte")]
pub struct EmptySeparatorError;

/// Why a [`PacketReader`](super::PacketReader) has no packet.
#[cfg(feature = "tokio")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// The stream ended: [`ValueError::End`] between two packets, [`ValueError::Truncated`] inside one.
    #[error(transparent)]
    Ended(ValueError),
    /// Its bytes are no packet.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// The stream failed.
    #[error("the packet could not be read: {0}")]
    Io(#[from] io::Error),
}

#[cfg(feature = "tokio")]
impl From<PacketError> for io::Error {
    fn from(error: PacketError) -> Self {
        match error {
            PacketError::Io(error) => error,
            PacketError::Framing(error) => error.into(),
            PacketError::Ended(error) => Self::new(io::ErrorKind::UnexpectedEof, error),
        }
    }
}
