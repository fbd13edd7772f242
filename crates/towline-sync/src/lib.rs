//! Files over towline-rpc: whole, or what changed of them; verified, stored at once or not at all,
//! beneath one directory.
//!
//! [`push_tree`] and [`pull_tree`] sync trees and files: [`engine`] is the sync as two state machines
//! without I/O, [`wire`](mod@wire) its messages, [`fs`] what they ask of a file system, [`chunk`] where
//! files are cut. [`compat`] holds the original's own types of delta sync. What follows is the transfer of
//! whole files, which the original takes part in.
//!
//! A file travels in the original's form: parts of 1 MiB, numbered from 0, each with its BLAKE3
//! hash, the last one empty, and the hash of the whole file in the final reply. This crate holds
//! what stands at both ends of such a transfer:
//!
//! - [`Root`] is an open directory that no name or path can leave; it resolves what a peer asks
//!   for, opens files for reading and creates files to receive.
//! - [`OutgoingFile`] reads and hashes a file ahead of the socket on a thread of its own and hands
//!   out its parts; [`IncomingSink`] checks, hashes and writes arriving parts on a thread of its
//!   own and puts the file under its name only when all of it is there and verified.
//! - [`serve_files`] adds the services to a server; [`push()`] and [`pull()`] are the client's calls.
//! - [`part`] names the services and the arguments that travel with the parts.
//!
//! The two threads without a connection between them:
//!
#![cfg_attr(feature = "tokio", doc = "```")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! use towline_sync::{Finish, IncomingSink, InPart, OutgoingFile, Root, SourceFile};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let from = tempfile::tempdir()?;
//! let to = tempfile::tempdir()?;
//! std::fs::write(from.path().join("notes.txt"), "one line\n")?;
//!
//! let mut outgoing = OutgoingFile::start(SourceFile::open(from.path().join("notes.txt"))?)?;
//! let root = Root::open(to.path())?;
//! let target = root.target("notes.txt", None, None)?;
//! let mut sink = IncomingSink::start(root.create_incoming(&target, &Default::default())?)?;
//! while let Some(part) = outgoing.next_part().await? {
//!     // A socket lies between the two in real life.
//!     sink.push(InPart::from(part)).await?;
//! }
//! let stored = sink.finish(Finish::default()).await?;
//! assert_eq!(Some(stored.total), outgoing.total());
//! assert_eq!(std::fs::read(to.path().join("notes.txt"))?, b"one line\n");
//! # Ok(())
//! # }
//! ```

pub mod chunk;
pub mod compat;
pub mod engine;
pub mod fs;
mod hash_name;
#[cfg_attr(
    not(feature = "tokio"),
    expect(dead_code, reason = "only transfers read times")
)]
mod stamp;
#[cfg(feature = "tokio")]
mod sync;
#[cfg(feature = "tokio")]
mod transfer;
pub mod wire;

pub use hash_name::{HashName, HashNameError};
#[cfg(feature = "tokio")]
pub use sync::{
    SYNC_SERVICE, SyncError, SyncEvent, SyncOptions, offers_sync, pull_file, pull_tree, push_tree,
};
#[cfg(feature = "tokio")]
pub use transfer::*;
