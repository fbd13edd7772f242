//! Why a connection is over.

use std::{io, sync::Arc};

use crate::proto::Violation;

/// Why a connection is over: who ended it, and how.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// This end closed it, by [`close`](crate::Client::close), by dropping the last handle, or by a
    /// server's shutdown.
    #[error("this end closed the connection")]
    ClosedHere,
    /// The other end closed it between two frames.
    #[error("the other end closed the connection")]
    ClosedByPeer,
    /// The other end broke a rule of the wire.
    #[error("{0}")]
    Violation(#[from] Violation),
    /// The transport failed.
    #[error("the connection failed: {}", describe(.0))]
    Io(Arc<io::Error>),
}

impl CloseReason {
    pub(crate) fn from_io(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }

    /// True if the other end refused this end's certificate. In TLS 1.3 that is learnt at the first
    /// read, after the connection seemed to be there (docs/wire I24).
    pub fn is_refused_certificate(&self) -> bool {
        matches!(self, Self::Io(error) if towline_transport::describe_io_error(error).is_some())
    }

    /// The same as an `io::Error`, for code that speaks of streams.
    pub fn to_io_error(&self) -> io::Error {
        let kind = match self {
            Self::ClosedHere => io::ErrorKind::NotConnected,
            Self::ClosedByPeer => io::ErrorKind::UnexpectedEof,
            Self::Violation(_) => io::ErrorKind::InvalidData,
            Self::Io(error) => error.kind(),
        };
        io::Error::new(kind, self.clone())
    }
}

fn describe(error: &io::Error) -> String {
    match towline_transport::describe_io_error(error) {
        Some(text) => text.to_string(),
        None => error.to_string(),
    }
}
