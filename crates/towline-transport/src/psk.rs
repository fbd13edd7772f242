//! The pre-shared-key layer on any byte stream: the handshake, then sealed records (docs/wire R1 to R19).

mod handshake;
mod incoming;
mod layer;
mod outgoing;
mod stream;

use std::io;

pub(crate) use handshake::{Problem, load};
use incoming::Fault;
pub(crate) use layer::DURING;
pub use layer::PskLayer;
use stream::Sealed;
use towline_identity::psk::RecordError;

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

/// What an error of an established connection says about its pre-shared key.
///
/// Between two towlines different keys show in the handshake: connecting fails with
/// [`ConnectError::DifferentKeys`](crate::ConnectError::DifferentKeys). Towards the original they show with the first
/// record, as this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PskProblem {
    /// The two ends have different keys: the other end's first record cannot be opened.
    DifferentKeys,
    /// The other end has hung up before its first record. It may have another key and be unable to open ours; it may
    /// also be stopping. The wire does not tell (docs/wire R15).
    Unanswered,
}

impl PskProblem {
    /// What the error says, if it is about that. Errors that wrap the layer's are looked into.
    pub fn from_io_error(error: &io::Error) -> Option<Self> {
        let mut inner = error
            .get_ref()
            .map(|inner| inner as &(dyn std::error::Error + 'static));
        while let Some(error) = inner {
            match error.downcast_ref::<Fault>() {
                Some(Fault::Record(RecordError::WrongKey)) => return Some(Self::DifferentKeys),
                Some(Fault::NoRecord) => return Some(Self::Unanswered),
                _ => {}
            }
            inner = match error.downcast_ref::<io::Error>() {
                Some(error) => error
                    .get_ref()
                    .map(|inner| inner as &(dyn std::error::Error + 'static)),
                None => error.source(),
            };
        }
        None
    }
}

/// Of both ends, in their errors.
pub(crate) const DIFFERENT_KEYS: &str =
    "the two ends have different pre-shared keys: what one seals the other cannot open";

/// What begins the text of a record of bytes: `towpipe`, then its kind.
const BYTES_MAGIC: [u8; 7] = *b"towpipe";
const KIND_DATA: u8 = 0;
const KIND_END: u8 = 1;
/// Of any records: this end has the key (docs/wire R21).
const KIND_CONFIRM: u8 = 2;

/// What begins the text of a record that holds a message, and the frame it is made of (docs/wire F4).
const MESSAGE_MAGIC: [u8; 7] = [0xb3, 0x5d, 0x18, 0x39, 0xac, 0x8e, 0x1d];
/// Magic and compression byte, in a frame and in a record.
const HEAD_BYTES: usize = 8;
/// The same and the length, which a record says elsewhere.
const FRAME_HEADER_BYTES: usize = 16;

/// The longest record of bytes, its length included.
const BYTES_RECORD: usize = 64 << 10;
