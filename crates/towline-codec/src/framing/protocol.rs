//! How packets are marked in a stream.

use std::sync::Arc;

use bytes::BytesMut;

use super::codec::Oversize;
use super::error::{EmptySeparatorError, EncodeError, FramingError};
use super::length::LengthPrefix;
use super::separator::Separator;

/// A way to mark packets in a stream. It looks and remembers nothing: a [`PacketCodec`] holds what one
/// stream has come to.
///
/// What it finds must depend on the bytes alone. Given more of the same stream it may find what it
/// could not find before, never something else.
///
/// [`PacketCodec`]: super::PacketCodec
pub trait FramingProtocol: Send + Sync {
    /// Looks for the packet at the start of `input`. The first `scanned` bytes were looked at before,
    /// as an earlier [`Located::Incomplete`] said. `max` is the largest payload in bytes.
    ///
    /// # Errors
    ///
    /// [`FramingError`] if this is no stream of such packets.
    fn locate(&self, input: &[u8], scanned: usize, max: usize) -> Result<Located, FramingError>;

    /// After a packet that was too big and had no length: where the next one starts.
    fn resync(&self, input: &[u8]) -> Resync;

    /// What is done about packets that are too big unless a codec is told otherwise.
    fn default_oversize(&self) -> Oversize;

    /// Appends `payload` as a packet.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]; `out` is as before.
    fn encode(&self, payload: &[u8], out: &mut BytesMut) -> Result<(), EncodeError>;
}

/// What a [`FramingProtocol`] sees at the start of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Located {
    /// Not yet a packet.
    Incomplete {
        /// How many bytes need not be looked at again.
        scanned: usize,
        /// How many more bytes it takes at least, if that is known; else 1.
        needed: u64,
    },
    /// A packet: its payload is `input[start..end]`, the next begins at `next`.
    Packet {
        /// The first byte of the payload.
        start: usize,
        /// The byte behind its last.
        end: usize,
        /// The byte behind the packet.
        next: usize,
    },
    /// A packet whose payload is larger than allowed.
    TooBig {
        /// The length in front of it, if it has one.
        announced: Option<u64>,
        /// How to pass it over.
        skip: Skip,
    },
}

/// How to pass over a packet that is too big.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// By this many bytes, counted from the start of the input.
    Bytes(u64),
    /// By looking for its end ([`FramingProtocol::resync`]).
    ToItsEnd,
}

/// Where the stream is in step again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resync {
    /// The next packet begins behind this many bytes.
    At(usize),
    /// Not within the input; this many bytes can be dropped.
    NotYet(usize),
}

/// The two ways of tinytcp.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Framing {
    /// A separator behind each packet.
    Separator(Separator),
    /// A length in front of each.
    LengthPrefix(LengthPrefix),
}

impl Framing {
    /// Packets that end with `separator`, such as `b"\n"`.
    ///
    /// # Errors
    ///
    /// An empty separator.
    pub fn separator(separator: impl AsRef<[u8]>) -> Result<Self, EmptySeparatorError> {
        Separator::new(separator).map(Self::Separator)
    }

    /// Packets with their length in front.
    pub const fn length_prefixed(prefix: LengthPrefix) -> Self {
        Self::LengthPrefix(prefix)
    }

    fn inner(&self) -> &dyn FramingProtocol {
        match self {
            Self::Separator(separator) => separator,
            Self::LengthPrefix(prefix) => prefix,
        }
    }
}

impl From<Separator> for Framing {
    fn from(separator: Separator) -> Self {
        Self::Separator(separator)
    }
}

impl From<LengthPrefix> for Framing {
    fn from(prefix: LengthPrefix) -> Self {
        Self::LengthPrefix(prefix)
    }
}

impl FramingProtocol for Framing {
    fn locate(&self, input: &[u8], scanned: usize, max: usize) -> Result<Located, FramingError> {
        self.inner().locate(input, scanned, max)
    }

    fn resync(&self, input: &[u8]) -> Resync {
        self.inner().resync(input)
    }

    fn default_oversize(&self) -> Oversize {
        self.inner().default_oversize()
    }

    fn encode(&self, payload: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
        self.inner().encode(payload, out)
    }
}

impl<P: FramingProtocol + ?Sized> FramingProtocol for Arc<P> {
    fn locate(&self, input: &[u8], scanned: usize, max: usize) -> Result<Located, FramingError> {
        (**self).locate(input, scanned, max)
    }

    fn resync(&self, input: &[u8]) -> Resync {
        (**self).resync(input)
    }

    fn default_oversize(&self) -> Oversize {
        (**self).default_oversize()
    }

    fn encode(&self, payload: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
        (**self).encode(payload, out)
    }
}

impl<P: FramingProtocol + ?Sized> FramingProtocol for &P {
    fn locate(&self, input: &[u8], scanned: usize, max: usize) -> Result<Located, FramingError> {
        (**self).locate(input, scanned, max)
    }

    fn resync(&self, input: &[u8]) -> Resync {
        (**self).resync(input)
    }

    fn default_oversize(&self) -> Oversize {
        (**self).default_oversize()
    }

    fn encode(&self, payload: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
        (**self).encode(payload, out)
    }
}
