//! Values, one after the other: booleans, integers, floats, VarInts, byte arrays and strings in tinytcp's
//! encoding (docs/wire L1 to L12).
//!
//! [`BufExt`] and [`BufMutExt`] read and write them in memory. With the feature `tokio`, [`ReadExt`] and
//! [`WriteExt`] do so on a stream: each value is one write, and no byte behind a value is taken.
//!
//! Multi-byte values are big-endian; the methods that end in `_le` are not. A VarInt comes in three
//! kinds: as `i32`, as the original's number from 0 to 2^35 − 1 (`_raw`), and as an `i32` that may be
//! written in one way only (`_strict`).
//!
//! ```
//! use towline_codec::primitives::{BufExt, BufMutExt};
//!
//! let mut packet = Vec::new();
//! packet.write_var_int(25_565);
//! packet.write_string("zażółć")?;
//! packet.write_bool(true);
//!
//! let mut input = &packet[..];
//! assert_eq!(input.read_var_int()?, 25_565);
//! assert_eq!(input.read_string(64)?, "zażółć");
//! assert!(input.read_bool()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod buf;
mod error;
#[cfg(feature = "tokio")]
mod io;
mod varint;

pub use buf::{BufExt, BufMutExt};
#[cfg(feature = "tokio")]
pub use error::ReadError;
pub use error::{TooLongError, ValueError};
#[cfg(feature = "tokio")]
pub use io::{ReadExt, WriteExt};
pub use varint::{MAX_VAR_INT_BYTES, MAX_VAR_INT_RAW, MAX_VAR_LONG_BYTES};
pub(crate) use varint::{Progress, VarReader, encode};

/// What [`BufExt::read_byte_array`] and its kin are usually given as their maximum, in bytes.
pub const DEFAULT_MAX_BYTES: usize = 64 * 1024;
