//! Delta sync over a connection: the engine, a tree on disk, and a stream between two of them.
//!
//! [`push_tree`] makes a tree at a server like one here, [`pull_tree`] the other way round; either may
//! be one file, and [`pull_file`] takes nothing else. The server's half comes with [`serve_files`](crate::serve_files).

mod client;
mod drive;
mod error;
mod options;
mod place;
mod places;
mod service;

pub use client::{offers_sync, pull_file, pull_tree, push_tree};
pub use error::SyncError;
pub use options::{SyncEvent, SyncOptions};
pub(crate) use places::Places;
pub(crate) use service::serve;

/// Service that syncs: a bistream.
pub const SYNC_SERVICE: &str = "__towSync";
