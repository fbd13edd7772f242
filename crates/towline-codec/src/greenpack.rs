//! Greenpack: MessagePack whose struct fields are map keys of the form `Name_zidNN_typ`.
//!
//! [`mod@write`] holds one function for each kind of value, choosing exactly the bytes the original's
//! generated code chooses (docs/wire G1 to G12). [`Reader`] is lenient where the original is
//! (docs/wire G16 to G30), bounded everywhere, and reads in place: it hands out slices of its
//! input, never copies.
//!
//! ```
//! use towline_codec::greenpack::{Reader, write};
//!
//! let mut out = Vec::new();
//! write::map_header(&mut out, 1);
//! write::str(&mut out, b"Typ_zid05_rct");
//! write::int(&mut out, 12);
//!
//! let mut input = Reader::new(&out);
//! assert_eq!(input.map_header()?, Some(1));
//! assert_eq!(input.key()?, Some(&b"Typ_zid05_rct"[..]));
//! assert_eq!(input.int()?, 12);
//! # Ok::<(), towline_codec::greenpack::DecodeError>(())
//! ```

mod error;
#[cfg(feature = "json")]
pub mod json;
mod read;
mod timestamp;
mod value;
pub mod write;

pub use error::{DecodeError, Kind};
pub use read::{MAX_DEPTH, Reader};
pub use timestamp::Timestamp;
#[cfg(feature = "derive")]
pub use towline_codec_macros::Greenpack;
#[doc(hidden)]
pub use value::derive;
pub use value::{Any, Complex, Extension, Form, Greenpack, Nanoseconds};
