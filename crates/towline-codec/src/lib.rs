//! Byte-level encodings shared by towline's protocols.
//!
//! Pure functions over byte slices: no I/O, no clock, no randomness. What is here:
//!
//! * [`greenpack`]: MessagePack with numbered field names, the encoding of every rpc25519 message;
//! * [`Text`]: text as it came from the wire, shared without a copy and never dropped for bad UTF-8.
//!
//! What is *not* here: message types. They live with the protocol that defines them.

pub mod greenpack;
mod text;

pub use text::Text;
