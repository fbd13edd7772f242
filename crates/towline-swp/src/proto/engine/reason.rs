//! How operations on a session fail, why it ends, and what its driver is told.

use std::{sync::Arc, time::Duration};

/// What the driver of an engine is told. Each stands once in the queue, however often it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineEvent {
    /// Both ends know each other.
    Connected,
    /// There is something to read: data, or the end.
    Readable,
    /// Packets, or the end of them, were acknowledged: there is room to write, and who waits for
    /// [`acknowledged`](super::Engine::acknowledged) or [`is_finished`](super::Engine::is_finished)
    /// may look.
    Acknowledged,
    /// The session is over: [`Engine::close_reason`](super::Engine::close_reason) says why.
    Closed,
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// Both ends, or the other end for both, closed it in order.
    #[error("the session was closed in order")]
    Finished,
    /// The other end closed while data for it was on its way.
    #[error("the other end closed the session and takes no more data")]
    RemoteClosed,
    /// The other end abandoned the session.
    #[error("the other end abandoned the session")]
    Reset,
    /// This end abandoned the session.
    #[error("this end abandoned the session")]
    Aborted,
    /// The other end was not heard of for too long.
    #[error("the peer has not been heard of for {} s", .0.as_secs_f64())]
    PeerTimeout(Duration),
    /// Nobody answered.
    #[error("r.Connect() timeout waiting to SynAck, after over={:?} wait.", .0)]
    ConnectTimeout(Duration),
    /// The opener went silent in the middle of the handshake.
    #[error("the opener did not complete the handshake")]
    HandshakeTimeout,
    /// What was written was not acknowledged in time.
    #[error("timed-out after {} seconds waiting to get Close() message through.", .0.as_secs_f64())]
    LingerTimeout(Duration),
    /// Acknowledgements were overdue too often.
    #[error("Sender sees {0} ack fails in window of {1:?}, terminating session")]
    Terminated(usize, Duration),
    /// The network can never carry what the session sends: the text says what is wrong with it.
    #[error("the network cannot carry packets of this session: {0}")]
    Unsendable(Arc<str>),
}

/// Why nothing can be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The send buffer has no room until the peer acknowledges.
    #[error("the send buffer is full: wait for an acknowledgement")]
    Full,
    /// More data than one packet may carry.
    #[error("{len} bytes are more than the {limit} that one packet may carry")]
    TooLarge {
        /// The data's length.
        len: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// This end has said that it sends no more.
    #[error("this end has finished sending")]
    Finished,
    /// The session is over.
    #[error("the session is over: {0}")]
    Closed(#[from] CloseReason),
}

/// Why a session cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no remote inbox to open to.
    #[error("no remote inbox is named, and no opener has come: name one")]
    NoRemote,
    /// The session is over.
    #[error("connect request when receiver was not in Listen state: {0}")]
    Closed(#[from] CloseReason),
}

/// What a reader finds when there is nothing to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadState {
    /// More may come.
    Open,
    /// Everything was read, and no more comes.
    End,
    /// What the peer sent will not come whole.
    Failed(CloseReason),
}
