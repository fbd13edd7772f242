//! Packets cut out of a stream of bytes, by a separator behind or by a length in front of each
//! (docs/wire L13 to L26).
//!
//! A [`Framing`] says how; a [`PacketCodec`] is that, a limit, and where one stream stands. What comes
//! out never depends on how the bytes were cut on their way: one packet in one read or in a hundred is
//! the same packet, and a packet that is too big is noticed as soon as its length is known.
//!
//! With the feature `tokio`, a `PacketCodec` is a `Decoder` and an `Encoder` for tokio-util's `Framed`,
//! and [`PacketReader`] waits for one packet at a time.
//!
//! ```
//! use bytes::BytesMut;
//! use towline_codec::framing::{Framing, LengthPrefix, PacketCodec, Received};
//!
//! let mut codec = PacketCodec::new(Framing::length_prefixed(LengthPrefix::VarInt), 1024);
//! let mut stream = BytesMut::new();
//! codec.encode_packet(b"hello", &mut stream)?;
//! assert_eq!(&stream[..], b"\x05hello");
//!
//! let mut came = stream.split_to(3);
//! assert_eq!(codec.next_packet(&mut came)?, None);
//! came.unsplit(stream);
//! assert_eq!(codec.next_packet(&mut came)?, Some(Received::Packet("hello".into())));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A protocol with another way to mark packets implements [`FramingProtocol`].

mod codec;
mod error;
mod length;
mod protocol;
#[cfg(feature = "tokio")]
mod reader;
mod separator;
#[cfg(feature = "tokio")]
mod tokio_util;

pub use codec::{Cut, Oversize, PacketCodec, Received, Step};
#[cfg(feature = "tokio")]
pub use error::PacketError;
pub use error::{EmptySeparatorError, EncodeError, FramingError};
pub use length::{LengthPrefix, PrefixBytes};
pub use protocol::{Framing, FramingProtocol, Located, Resync, Skip};
#[cfg(feature = "tokio")]
pub use reader::PacketReader;
pub use separator::Separator;
