//! Files, from the disk of one end to that of the other, without a connection between them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod file_to_disk;
mod hash_names;
mod inputs;
mod names;
mod sending;
mod storing;
