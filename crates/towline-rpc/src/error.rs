//! How operations fail.

use towline_codec::{Text, greenpack::DecodeError};

use crate::{
    close::CloseReason,
    pool::NoConnection,
    proto::{CallType, OutOfSync, RemoteError, TooLarge, refusal},
};

/// How connecting fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The text is not an endpoint this build can connect to.
    #[error(transparent)]
    Endpoint(#[from] towline_transport::ParseEndpointError),
    /// The way to the endpoint failed.
    #[error(transparent)]
    Transport(#[from] towline_transport::ConnectError),
    /// A connection that the program makes itself
    /// ([`PoolBuilder::connect_by`](crate::pool::PoolBuilder::connect_by)) failed.
    #[error("cannot connect: {0}")]
    Io(#[from] std::io::Error),
}

impl ConnectError {
    /// True if trying again would fail in the same way: the endpoint or the keys cannot be used, one end refuses the
    /// other's key, or they speak different protocols.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Endpoint(_) => true,
            Self::Transport(error) => error.is_permanent(),
            Self::Io(error) => matches!(
                error.kind(),
                std::io::ErrorKind::PermissionDenied
                    | std::io::ErrorKind::InvalidInput
                    | std::io::ErrorKind::Unsupported
            ),
        }
    }
}

/// The server has no service of the name that was called, and of the kind that it was called as: a call, an upload, a download
/// or a bistream (docs/wire E2 to E4). The connection goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server has no service `{service}`")]
#[non_exhaustive]
pub struct NoSuchService {
    /// The name, as the server repeats it.
    pub service: Text,
    /// The server's words, which are the original's.
    pub text: Text,
}

impl NoSuchService {
    /// What a refusal says of its service; the text itself if it says something else.
    pub(crate) fn of(text: Text) -> Result<Self, Text> {
        match refusal::unknown_service_name(&text) {
            Some(service) => Ok(Self { service, text }),
            None => Err(text),
        }
    }
}

/// How a call fails.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server has no such service.
    #[error(transparent)]
    NoSuchService(#[from] NoSuchService),
    /// The server refused the call for another reason: its text (docs/wire E4). The connection goes on.
    #[error("the server refused the call: {0}")]
    Refused(Text),
    /// The server has too much to do, or is shutting down, and has not begun the call: its text (docs/wire E14). It may be
    /// made again, elsewhere or later.
    #[error("the server did not begin the call: {0}")]
    Overloaded(Text),
    /// There was no connection to make the call over. Nothing was sent.
    #[error(transparent)]
    NoConnection(#[from] NoConnection),
    /// As many calls as were allowed are in flight on the connection, and as many wait
    /// ([`InFlight`](crate::client::InFlight)). Nothing was sent.
    #[error(
        "{in_flight} calls are in flight and {waiting} wait, as many as were allowed: make fewer at once, or allow more"
    )]
    TooManyInFlight {
        /// The limit of calls in flight.
        in_flight: usize,
        /// The limit of calls that wait.
        waiting: usize,
    },
    /// No reply came in time. The server was told that nobody waits any more.
    #[error("time-out waiting for call to complete: no reply within {} s", .0.as_secs_f64())]
    TimedOut(std::time::Duration),
    /// The request is too large; nothing was sent.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The connection ended before the reply came.
    #[error(transparent)]
    Closed(#[from] CloseReason),
    /// A layer of this program ended the call: its error.
    #[cfg(feature = "tower")]
    #[error("{0}")]
    Layer(std::sync::Arc<dyn std::error::Error + Send + Sync>),
}

impl CallError {
    /// The outcome for metrics.
    pub(crate) const fn outcome(&self) -> &'static str {
        match self {
            Self::Refused(_) | Self::NoSuchService(_) => "refused",
            Self::Overloaded(_) => "not_begun",
            Self::TimedOut(_) => "timed_out",
            Self::Closed(_) => "closed",
            _ => "other",
        }
    }
}

/// How a net/rpc call fails.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum NetRpcError {
    /// The method failed, or there is none of this name: the server's text (docs/wire E13).
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The answer, or the value in it, is of another type than was asked for.
    #[error("the answer of the net/rpc call cannot be read: {0}; compare the types at both ends")]
    Decode(#[from] DecodeError),
    /// The answer names another method: the server has mixed up calls (docs/wire X16).
    #[error("the answer is that of another call, of {0}: make one net/rpc call at a time")]
    OtherMethod(Text),
    /// The call failed as any call can.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// How sending fails.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The other end has ended the stream already.
    #[error("the other end has ended the stream")]
    Ended,
    /// The deadline of the message passed before there was room for it. Nothing was sent.
    #[error("the deadline passed before there was room to send")]
    TimedOut,
    /// There was no connection to begin on. Nothing was sent.
    #[error(transparent)]
    NoConnection(#[from] NoConnection),
    /// The message is too large; nothing was sent.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The connection is over.
    #[error(transparent)]
    Closed(#[from] CloseReason),
}

/// What a listener hears instead of a message. Listening goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenerError {
    /// So many messages came while its queue was full, and were dropped: take them faster, or listen
    /// with `WhenFull::Wait`.
    #[error("{0} messages were dropped because the listener's queue was full")]
    Lost(u64),
    /// The server refused a message that this client had sent one way: its text (docs/wire E4).
    #[error("the server refused a message: {text}")]
    Refused {
        /// Of the message that was refused.
        call_id: Text,
        /// The server's words.
        text: Text,
    },
}

/// How a push fails. Nothing was sent.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// No connection has this address.
    #[error("no client is connected from {0}")]
    NotConnected(Text),
    /// Only types from 10 up can be pushed: smaller ones would ask the client for an answer
    /// (docs/wire C16).
    #[error("a message of type {0} cannot be pushed: CallOneWay or a greater number can")]
    WrongType(CallType),
    /// The client does not read what waits for it: its outbox is full.
    #[error("the client does not read what waits for it")]
    NoRoom,
    /// The message is too large.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The connection is over.
    #[error(transparent)]
    Closed(#[from] CloseReason),
}

/// How a stream fails.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The server has no such service.
    #[error(transparent)]
    NoSuchService(#[from] NoSuchService),
    /// The server refused the stream for another reason: its text (docs/wire E4).
    #[error("the server refused the stream: {0}")]
    Refused(Text),
    /// A part was missing or came twice (docs/wire S9).
    #[error(transparent)]
    OutOfSync(#[from] OutOfSync),
    /// A part is too large; it was not sent.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The deadline in the header of its first message passed; the other end was told if it had heard of the stream
    /// (docs/wire C11).
    #[error("the stream did not end before its deadline")]
    TimedOut,
    /// The other end ended the stream before its last part.
    #[error("the stream ended before its last part")]
    Ended,
    /// This end cancelled it, by dropping its other half.
    #[error("the stream was cancelled at this end")]
    Cancelled,
    /// There was no connection to begin on. Nothing was sent.
    #[error(transparent)]
    NoConnection(#[from] NoConnection),
    /// The connection ended before the stream did.
    #[error(transparent)]
    Closed(#[from] CloseReason),
    /// A layer of this program ended the stream: its error.
    #[cfg(feature = "tower")]
    #[error("{0}")]
    Layer(std::sync::Arc<dyn std::error::Error + Send + Sync>),
}

impl From<SendError> for StreamError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Ended => Self::Ended,
            SendError::TimedOut => Self::TimedOut,
            SendError::NoConnection(why) => Self::NoConnection(why),
            SendError::TooLarge(error) => Self::TooLarge(error),
            SendError::Closed(reason) => Self::Closed(reason),
        }
    }
}
