//! Whole files over calls and streams, in the original's form.

pub(crate) mod blocking;
mod echo;
mod incoming;
mod outgoing;
pub mod part;
mod pull;
mod push;
mod receive;
mod root;
mod serve_options;
mod service;
mod sink;
mod source;
mod temporary;
pub(crate) mod unfinished;

pub use echo::serve_echo;
pub use incoming::{Durability, IncomingFile, IncomingOptions, StoreError};
pub use outgoing::{OutPart, OutgoingFile, SendError};
pub use pull::{PullError, PullOptions, pull};
pub use push::{PushError, PushOptions, Pushed, Transferred, push};
pub use receive::{InPart, ReceiveError, Received, Receiver};
pub use root::{NameError, Root, RootError, Target};
pub use serve_options::{ServeOptions, ServeOptionsError};
pub use service::serve_files;
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
