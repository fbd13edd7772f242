//! Files over towline-rpc: verified part by part, stored at once or not at all, beneath one
//! directory.
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
//! ```
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
mod hash_name;
mod stamp;
#[cfg(feature = "tokio")]
mod transfer;

pub use hash_name::{HashName, HashNameError};
#[cfg(feature = "tokio")]
pub use transfer::*;
