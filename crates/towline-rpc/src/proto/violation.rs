//! What a peer can do wrong on the wire.

use towline_codec::greenpack::DecodeError;

/// A rule of the wire that the peer broke. Each ends the connection it happened on, and no other
/// (docs/wire F22).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A frame does not begin with the magic bytes (docs/wire F4).
    #[error(
        "the peer does not speak this protocol: its bytes do not begin with the frame magic; \
         check that both ends use the same transport and that neither expects a pre-shared key"
    )]
    WrongMagic,
    /// The first bytes are a TLS ClientHello.
    #[error("the peer speaks TLS, this end plain text: use tls:// here, or tcp:// there")]
    TlsHello,
    /// The first bytes are a TLS alert.
    #[error("the peer answered with a TLS alert: it expects TLS; use tls:// here, or tcp:// there")]
    TlsAlert,
    /// A length field begins with the magic: the original wrote two frames into each other
    /// (docs/wire F26).
    #[error("the peer wrote one frame into another, a known defect of the original; connect again")]
    InterleavedFrames,
    /// A compression byte that this version does not know (docs/wire F8).
    #[error("compression byte {0} is not supported: use compression s2 or none at the peer")]
    UnknownCompression(u8),
    /// A length above [`MAX_FRAME`](super::MAX_FRAME) (docs/wire F3).
    #[error("a frame announces {0} bytes or more, over the limit of 67108784")]
    LengthOverLimit(u32),
    /// A message above the limit that this end has set for itself.
    #[error("a message of {0} bytes is over the limit that was set here")]
    MessageTooLarge(u32),
    /// A compressed body that does not decompress.
    #[error("a compressed body is corrupt")]
    CorruptCompression,
    /// A compressed body that grows beyond the limit (docs/wire F20).
    #[error("a compressed body expands beyond {0} bytes")]
    DecompressedTooLarge(u32),
    /// The body is not a message (docs/wire F22, E9).
    #[error("a message cannot be decoded: {0}")]
    Decode(#[from] DecodeError),
    /// The connection ended inside a frame.
    #[error("the connection ended inside a frame, {0} bytes before its end")]
    Truncated(u32),
    /// The rest of a frame did not come in time (docs/wire F23).
    #[error("the rest of a frame did not come within the time limit")]
    FrameTimeout,
    /// Nothing came in time (docs/wire K4).
    #[error("nothing came within the idle time limit")]
    IdleTimeout,
    /// The peer took nothing of what waited for it (docs/wire F25).
    #[error("the peer took nothing of what was to be written within the time limit")]
    WriteTimeout,
    /// Too many parts of streams that do not exist (docs/wire S10, S12).
    #[error("{0} parts came for streams that do not exist")]
    StrayParts(u32),
}
