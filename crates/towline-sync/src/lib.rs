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
//! It is not delta sync: a file is always sent whole.
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

mod blocking;
mod echo;
mod hash_name;
mod incoming;
mod outgoing;
pub mod part;
mod pull;
mod push;
mod receive;
mod root;
mod service;
mod sink;
mod source;
mod stamp;
mod temporary;

pub use echo::serve_echo;
pub use hash_name::{HashName, HashNameError};
pub use incoming::{Durability, IncomingFile, IncomingOptions, StoreError};
pub use outgoing::{OutPart, OutgoingFile, SendError};
pub use pull::{PullError, PullOptions, pull};
pub use push::{PushError, PushOptions, Pushed, Transferred, push};
pub use receive::{InPart, ReceiveError, Received, Receiver};
pub use root::{NameError, Root, RootError, Target};
pub use service::{ServeOptions, ServeOptionsError, serve_files};
pub use sink::{Finish, IncomingSink, SinkError, Stored};
pub use source::{OpenError, SourceFile};

/// The names in a directory, sorted, for tests.
#[cfg(test)]
fn names_in(dir: &std::path::Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
