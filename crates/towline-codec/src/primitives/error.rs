//! Why a value cannot be read or written.

#[cfg(feature = "tokio")]
use std::io;

/// Bytes that are not a value of the wanted kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// There was nothing left: the stream ended between two values.
    #[error("the input ended before the value")]
    End,
    /// The stream ended inside the value (docs/wire L3).
    #[error("the input ended inside the value")]
    Truncated,
    /// The fifth byte of a VarInt says that another follows (docs/wire L6).
    #[error("invalid size of VarInt: its fifth byte is not its last")]
    VarIntTooLong,
    /// The tenth byte of a VarLong says that another follows (docs/wire L6).
    #[error("invalid size of VarLong: its tenth byte is not its last")]
    VarLongTooLong,
    /// A strict reader met a value in more bytes than it needs (docs/wire L8).
    #[error("a number is written in more bytes than it needs")]
    NotMinimal,
    /// A strict reader met bits that the type has no room for (docs/wire L8).
    #[error("a number has bits beyond the 32 or 64 of its type")]
    OutOfRange,
    /// More bytes are announced than the reader allows (docs/wire L10).
    #[error("{announced} bytes are announced, and at most {max} are accepted here")]
    TooLong {
        /// The length in front of the bytes.
        announced: u64,
        /// The reader's limit.
        max: usize,
    },
    /// A string is not UTF-8; read it as a byte array to have it as it is (docs/wire L11).
    #[error("a string is not valid UTF-8")]
    NotUtf8,
}

/// A byte array or string longer than a length can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{len} bytes are more than a VarInt can announce ({max}): send them in parts", max = super::MAX_VAR_INT_RAW)]
pub struct TooLongError {
    /// Its length in bytes.
    pub len: usize,
}

#[cfg(feature = "tokio")]
impl From<TooLongError> for io::Error {
    fn from(error: TooLongError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

/// Why no value came out of a stream.
#[cfg(feature = "tokio")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The stream ended, or its bytes are no such value.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The stream failed.
    #[error("the value could not be read: {0}")]
    Io(#[from] io::Error),
}

#[cfg(feature = "tokio")]
impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => error,
            ReadError::Value(error @ (ValueError::End | ValueError::Truncated)) => {
                Self::new(io::ErrorKind::UnexpectedEof, error)
            }
            ReadError::Value(error) => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}
