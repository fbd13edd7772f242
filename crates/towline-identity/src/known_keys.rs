//! Known keys: the list of keys that were met before, in a file of the original's format.
//!
//! A server reads `known_client_keys`, a client `known_server_keys`, both in the current directory,
//! as the original does (docs/wire I31). A file that may be written to is learning: a key that is met
//! for the first time is appended. A read-only file is locked: unknown keys are refused.
//!
//! [`KnownKeyList`] is the text of such a file, without the file; [`KnownKeys`] is the file.

mod error;
mod file;
mod list;
mod mark;
mod update;

pub use error::{KnownKeysError, KnownKeysProblem};
pub use file::{KnownKeys, KnownKeysPolicy};
pub(crate) use file::{Lookup, Snapshot};
pub use list::{KnownKey, KnownKeyList};

/// The file that servers read, in the current directory (docs/wire I31).
pub const KNOWN_CLIENT_KEYS: &str = "known_client_keys";
/// The file that clients read, in the current directory (docs/wire I31).
pub const KNOWN_SERVER_KEYS: &str = "known_server_keys";

#[cfg(test)]
mod vectors;
