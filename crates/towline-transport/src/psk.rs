//! The pre-shared-key layer on any byte stream: the handshake, then sealed records (docs/wire R1 to R19).

mod handshake;
mod incoming;
mod outgoing;
mod stream;

pub(crate) use handshake::{Problem, Settings, dial, load, serve};
use stream::Sealed;

/// What one record holds. Both ends have to agree; the first record shows if they do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Records {
    /// Bytes, as many as there are, with an end that cannot be forged (docs/wire R19). For everything
    /// but calls.
    #[default]
    Bytes,
    /// One message of rpc25519 (docs/wire R18). What is written has to be such frames, one after the
    /// other, and such frames are read.
    Messages,
}

/// What begins the text of a record of bytes: `towpipe`, then its kind.
const BYTES_MAGIC: [u8; 7] = *b"towpipe";
const KIND_DATA: u8 = 0;
const KIND_END: u8 = 1;

/// What begins the text of a record that holds a message, and the frame it is made of (docs/wire F4).
const MESSAGE_MAGIC: [u8; 7] = [0xb3, 0x5d, 0x18, 0x39, 0xac, 0x8e, 0x1d];
/// Magic and compression byte, in a frame and in a record.
const HEAD_BYTES: usize = 8;
/// The same and the length, which a record says elsewhere.
const FRAME_HEADER_BYTES: usize = 16;

/// The longest record of bytes, its length included.
const BYTES_RECORD: usize = 64 << 10;
