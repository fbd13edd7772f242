//! Byte-level encodings shared by towline's protocols.
//!
//! Functions over bytes: no clock, no randomness, and without the feature `tokio` no I/O. What is here:
//!
//! * [`primitives`]: single values, from a boolean to a string, as tinytcp writes them;
//! * [`framing`]: packets cut out of a stream by a separator or by a length in front;
//! * [`greenpack`]: MessagePack with numbered field names, the encoding of every rpc25519 message;
//! * [`Text`]: text as it came from the wire, shared without a copy and never dropped for bad UTF-8.
//!
//! What is *not* here: message types. They live with the protocol that defines them.

pub mod framing;
pub mod greenpack;
pub mod primitives;
mod text;

pub use text::Text;
