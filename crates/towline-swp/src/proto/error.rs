//! Why bytes are not a packet.

use towline_codec::greenpack;

/// Why bytes are not a packet. The input is the peer's: decoding never panics on it, and reserves no
/// memory that the input does not fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A value cannot be read.
    #[error("a value of the packet cannot be read: {0}")]
    Value(#[from] greenpack::DecodeError),
    /// Something other than a map stands where the packet should begin.
    #[error("the bytes are not a packet: they do not begin with a map")]
    NoMap,
    /// Nil stands where a value is due.
    #[error("nil stands where a value of the packet is due")]
    Nil,
    /// A key of the map is empty.
    #[error("a key of the packet is empty")]
    EmptyKey,
    /// A map with more entries than any packet has.
    #[error("the packet has {0} entries, more than any packet has")]
    TooManyEntries(u32),
    /// A text longer than 4 KiB.
    #[error("a text of the packet has {0} bytes, over the limit of 4096")]
    TextTooLong(u32),
    /// Data above the limit that was set here.
    #[error("the data of the packet has {0} bytes, over the limit that was set here")]
    DataTooLong(u32),
    /// A list with more elements than are read.
    #[error("a list of the packet has {0} elements, over the limit")]
    ListTooLong(u32),
    /// Data come a second time in one file (docs/wire W53).
    #[error("the file has its data twice")]
    TwiceData,
    /// The checksum is not that of the data (docs/wire W9), or of the frame (docs/wire W48).
    #[error("the checksum does not match: the packet was damaged or forged on its way")]
    WrongChecksum,
    /// A compact frame of a kind that this version does not know (docs/wire W48).
    #[error("compact frame of unknown kind {0}")]
    UnknownKind(u8),
    /// A compact frame that ends early, or holds numbers that no frame can (docs/wire W48).
    #[error("the compact frame is malformed")]
    MalformedCompact,
}

/// How a file that came whole is not what was sent. In the original's words, and in the order of its
/// checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileMismatch {
    /// The size is not that of the data.
    #[error("RecvFile corruption detected: bf.Data was length {got}, but it was sent as {said}")]
    Size {
        /// Bytes of data that came.
        got: u64,
        /// The size that the sender told.
        said: i64,
    },
    /// There is no checksum.
    #[error("got BigFile without checksum?!?!: the sender did not hash it")]
    NoChecksum,
    /// The checksum is of other data.
    #[error(
        "RecvFile corruption detected: bf.Data had checksum that is not the one it was sent with"
    )]
    Checksum,
}
