//! How a sync ends before it is done.

use std::io;

use towline_rpc::{CloseReason, SendError, StreamError};

use crate::engine::{FilterError, Violation};
use crate::wire::WireError;

/// How a sync ends before it is done. Files that fail do not end it: they are told as items.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The tree here cannot be used.
    #[error("`{path}` cannot be synced: {source}")]
    Local {
        /// Its path.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A pattern cannot be read.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The other end does not know delta sync.
    #[error("the other end does not know delta sync: {0}")]
    Unsupported(String),
    /// What should be a file is a directory.
    #[error("`{0}` is a directory; name a file")]
    Directory(String),
    /// The file has a name that a sync keeps for files under way (docs/wire D20).
    #[error("`{0}`: nothing was moved: names of this form are kept for files under way")]
    Reserved(String),
    /// The other end refuses or failed; its words.
    #[error("the other end says: {text}")]
    Remote {
        /// What it says.
        text: String,
        /// It does not allow what was asked for.
        refused: bool,
    },
    /// The other end sent what cannot be read.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The other end did what it must not.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The stream or the connection ended.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// Work on files ended in a panic, or the runtime stops.
    #[error("an internal error: {0}")]
    Internal(String),
}

impl SyncError {
    /// Why the connection ended, if that is what happened: a sync that is begun again goes on from
    /// where it was.
    pub fn close_reason(&self) -> Option<&CloseReason> {
        match self {
            Self::Stream(StreamError::Closed(reason)) => Some(reason),
            _ => None,
        }
    }
}

impl From<SendError> for SyncError {
    fn from(error: SendError) -> Self {
        Self::Stream(error.into())
    }
}
