//! The messages of delta sync as bytes (docs/wire D10 to D22).
//!
//! [`Message::encode`] and [`Message::decode`] are the whole of it: a message is a kind, fields in a
//! fixed order, and nothing that is read before it is checked. Any number of messages stand one
//! behind the other in the body of a part.

mod attributes;
mod codec;
mod fields;
mod hello;
mod message;
mod numbers;
mod report;
mod types;

pub use attributes::{Attributes, Owner};
pub use hello::{Hello, Role};
pub use message::{Chunk, Hash16, Message, SubChunk};
pub use numbers::WireError;
pub use report::{Item, Outcome, Totals};
pub(crate) use types::PATH_MAX;
pub use types::{Chunking, Entry, FileTime, Kind, Meta, RelPath};

pub(crate) use numbers::{Reader, Writer};
