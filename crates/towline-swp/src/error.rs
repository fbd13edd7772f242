//! How operations fail.

use std::io;

use crate::proto::{CloseReason, ConfigError, OpenError, SendError};

/// How opening a session fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The settings cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The network does not let us hear on the inbox.
    #[error("cannot hear on the inbox: {0}")]
    Network(#[from] io::Error),
    /// There is nobody to connect to.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The session ended before it was open.
    #[error(transparent)]
    Closed(#[from] CloseReason),
}

/// How reading fails. Everything that came in order has been read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what the peer sent does not come whole: {0}")]
pub struct ReadError(pub CloseReason);

/// How pushing fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The message was not accepted.
    #[error(transparent)]
    Refused(#[from] SendError),
    /// The session ended before the message was acknowledged: it may have arrived.
    #[error("the session ended before the message was acknowledged: {0}")]
    Unacknowledged(CloseReason),
}

impl From<CloseReason> for io::Error {
    fn from(reason: CloseReason) -> Self {
        let kind = match reason {
            CloseReason::PeerTimeout(_)
            | CloseReason::ConnectTimeout(_)
            | CloseReason::HandshakeTimeout
            | CloseReason::LingerTimeout(_)
            | CloseReason::Terminated(..) => io::ErrorKind::TimedOut,
            CloseReason::Reset => io::ErrorKind::ConnectionReset,
            CloseReason::Aborted => io::ErrorKind::ConnectionAborted,
            _ => io::ErrorKind::BrokenPipe,
        };
        Self::new(kind, reason)
    }
}

impl From<SendError> for io::Error {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Closed(reason) => reason.into(),
            other => Self::new(io::ErrorKind::BrokenPipe, other),
        }
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        let ReadError(reason) = error;
        Self::new(Self::from(reason).kind(), error)
    }
}
