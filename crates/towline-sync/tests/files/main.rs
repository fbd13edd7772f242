//! Files, from the disk of one end to that of the other, and over a connection between them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attributes;
mod authorised;
mod file_to_disk;
mod hash_names;
mod inputs;
mod listing;
mod names;
mod over_rpc;
mod sending;
mod silence;
mod storing;
mod syncing;
#[cfg(target_os = "linux")]
mod unprivileged;
