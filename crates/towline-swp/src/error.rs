//! How operations fail.

use std::{io, time::Duration};

use crate::proto::{
    BigFile, CloseReason, ConfigError, DecodeError, FileMismatch, OpenError, SendError,
};

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
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what the peer sent does not come whole: {0}")]
pub struct ReadError(pub CloseReason);

/// How pushing fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The message was not accepted.
    #[error(transparent)]
    Refused(#[from] SendError),
    /// The session ended before the message was acknowledged: it may have arrived.
    #[error("the session ended before the message was acknowledged: {0}")]
    Unacknowledged(CloseReason),
}

/// How writing with an acknowledgement fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The time was up.
    #[error(
        "after {limit:?} the peer had acknowledged {acked} bytes only; the rest may still arrive"
    )]
    TimedOut {
        /// How many of the bytes were acknowledged.
        acked: usize,
        /// The time limit.
        limit: Duration,
    },
    /// The session takes no more, or ended.
    #[error("the peer had acknowledged {acked} bytes: {source}")]
    Failed {
        /// How many of the bytes were acknowledged.
        acked: usize,
        /// Why.
        source: PushError,
    },
}

/// How sending a file fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendFileError {
    /// More than the wire format can say.
    #[error("the file has {len} bytes, more than the 4294967295 that this format can carry")]
    TooLarge {
        /// Its length.
        len: u64,
    },
    /// The file was changed while it was sent.
    #[error("the file changed while it was sent; the receiver finds its checksum wrong")]
    Changed,
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The session takes no more.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The session ended before the file was acknowledged.
    #[error(transparent)]
    Push(#[from] PushError),
}

/// How receiving a file fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecvFileError {
    /// What came is not a file, or too large a one.
    #[error("what comes is not a file: {0}")]
    Decode(#[from] DecodeError),
    /// It came whole, and is not what was sent.
    #[error("{mismatch}")]
    Mismatch {
        /// How it differs.
        mismatch: FileMismatch,
        /// The file; without its data if they were written elsewhere.
        file: Box<BigFile>,
    },
    /// It did not come whole.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It cannot be written.
    #[error("the file cannot be written: {0}")]
    Write(io::Error),
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
            CloseReason::Unsendable(_) => io::ErrorKind::InvalidInput,
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
        let kind = Self::from(error.0.clone()).kind();
        Self::new(kind, error)
    }
}
