//! Why streams and sessions end.

use std::{io, sync::Arc};

use bytes::Bytes;

use super::{ConfigError, Dialect, Violation};

/// Why a session is over. The first reason counts; every later call returns it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SessionEnd {
    /// This side closed or aborted it, or dropped its last handle.
    #[error("the session was closed on this side")]
    ClosedHere,
    /// This side ended it with a code.
    #[error("the session was closed on this side with code {0}")]
    ClosedWithCode(u32),
    /// The peer closed the transport between two frames, which is how sessions usually end.
    #[error("the peer closed the session")]
    ClosedByPeer,
    /// The peer ended the session with a code.
    #[error("the peer ended the session with code {code}{}", in_words(debug))]
    GoneAway {
        /// The code: 1 protocol error, 2 internal error, others as the application has them.
        code: u32,
        /// What it said about it; yamux has no such text.
        debug: Bytes,
    },
    /// The peer broke a rule of the protocol; it was told.
    #[error("the session was ended: {0}")]
    Violation(#[source] Violation),
    /// The transport ended inside a frame.
    #[error("the connection was lost: it ended inside a frame")]
    Truncated,
    /// The transport failed.
    #[error("the connection was lost: {0}")]
    Io(#[source] Arc<io::Error>),
    /// Nothing came from the peer, and no answer to a ping.
    #[error("the peer is mute: a keep-alive ping was not answered in time")]
    KeepAliveTimeout,
    /// The peer did not take what was to be written.
    #[error("the peer does not read: nothing could be written in time")]
    WriteTimeout,
}

fn in_words(debug: &Bytes) -> String {
    if debug.is_empty() {
        String::new()
    } else {
        let start = &debug[..debug.len().min(200)];
        format!(": {}", String::from_utf8_lossy(start).escape_debug())
    }
}

impl SessionEnd {
    /// What `std` calls it.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::ClosedHere | Self::ClosedWithCode(_) => io::ErrorKind::NotConnected,
            Self::ClosedByPeer | Self::GoneAway { .. } => io::ErrorKind::ConnectionAborted,
            Self::Violation(_) => io::ErrorKind::InvalidData,
            Self::Truncated => io::ErrorKind::UnexpectedEof,
            Self::Io(error) => error.kind(),
            Self::KeepAliveTimeout | Self::WriteTimeout => io::ErrorKind::TimedOut,
        }
    }

    /// True for a time-out.
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::KeepAliveTimeout | Self::WriteTimeout)
    }

    /// True if the session ended because somebody meant it to.
    pub const fn is_clean(&self) -> bool {
        matches!(self, Self::ClosedHere | Self::ClosedByPeer)
    }
}

/// What the peer said when it went away.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteGoAway {
    /// Its code; 0 is nothing special.
    pub code: u32,
    /// muxado: a text for people, at most 1 MiB. Empty in yamux.
    pub debug: Bytes,
}

impl RemoteGoAway {
    /// What a peer said.
    pub const fn new(code: u32, debug: Bytes) -> Self {
        Self { code, debug }
    }
}

/// Why one stream ended before its time. [`SessionEnd`] has the reasons that end all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum StreamEnd {
    /// The peer reset it.
    #[error("the peer reset the stream with code {0}")]
    ResetByPeer(u32),
    /// This side reset it.
    #[error("the stream was reset on this side with code {0}")]
    ResetHere(u32),
    /// muxado: the peer sent more than its window allows.
    #[error("the stream was reset: the peer sent more than its window allows")]
    WindowExceeded,
    /// muxado: the peer sent data behind its end of data.
    #[error("the stream was reset: the peer sent data behind its end")]
    DataAfterEnd,
    /// The session held more than its receive budget, and this stream held most of it.
    #[error(
        "the stream was reset: the session's receive budget is used up, and this stream holds most of it"
    )]
    OutOfBudget,
    /// The peer did not acknowledge it in time.
    #[error("the stream was reset: the peer did not acknowledge it in time")]
    OpenTimeout,
    /// muxado: the peer went away before it saw the stream.
    #[error("the peer went away before it saw the stream")]
    RemoteGoneAway,
}

impl StreamEnd {
    /// True for a stream that was not acknowledged in time.
    pub const fn is_timeout(self) -> bool {
        matches!(self, Self::OpenTimeout)
    }

    /// The code on the wire that stands for it. yamux has none for what this side finds.
    pub const fn code_in(self, dialect: Dialect) -> u32 {
        match (self, dialect) {
            (Self::ResetByPeer(code) | Self::ResetHere(code), _) => code,
            (Self::WindowExceeded, _) => 3,
            (Self::DataAfterEnd, _) => 4,
            (Self::RemoteGoneAway, _) => 11,
            (Self::OutOfBudget | Self::OpenTimeout, Dialect::Yamux) => 0,
            (Self::OutOfBudget, Dialect::Muxado) => 10,
            (Self::OpenTimeout, Dialect::Muxado) => 6,
        }
    }
}

/// Why a stream could not be opened.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The peer went away: it accepts no more streams. Those that are open go on.
    #[error("the peer accepts no more streams; open them on a new connection")]
    RemoteNotAccepting,
    /// All ids of this side were used. The session lives on, for what is open.
    #[error("all stream ids of this session were used; open streams on a new connection")]
    StreamsExhausted,
    /// The peer of this transport sees a stream with its first byte, and cannot be told of it before.
    #[error(
        "the other end sees a stream of this transport with its first byte: write first, or put yamux+ in front of it"
    )]
    CannotAnnounce,
    /// This side's own limit, `max_outgoing_streams`.
    #[error("{0} streams are open, as many as max_outgoing_streams allows")]
    TooManyStreams(usize),
    /// The stream was opened and ended before its type was written, as when the peer refuses it. The
    /// session lives on. Only [typed streams](crate::muxado::TypedSession) tell it here.
    #[error(transparent)]
    Ended(#[from] StreamEnd),
    /// The memory manager refused.
    #[error("no memory for another stream: {0}")]
    Memory(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The session is over.
    #[error(transparent)]
    Session(#[from] SessionEnd),
}

/// Why nothing could be read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The stream ended before its end of data. What had come before was read.
    #[error(transparent)]
    Ended(#[from] StreamEnd),
    /// This side gave up reading.
    #[error("reading from the stream was given up on this side")]
    Closed,
    /// The read deadline has passed. The stream can still be used.
    #[error("nothing came before the read deadline")]
    TimedOut,
    /// The session is over, and the peer had not ended its data: there may have been more.
    #[error(transparent)]
    Session(#[from] SessionEnd),
}

/// Why nothing could be written.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The stream has ended.
    #[error(transparent)]
    Ended(#[from] StreamEnd),
    /// This side has ended its data.
    #[error("the stream's writing half is closed on this side")]
    Closed,
    /// The write deadline has passed. The stream can still be used.
    #[error("nothing could be written before the write deadline")]
    TimedOut,
    /// The session is over.
    #[error(transparent)]
    Session(#[from] SessionEnd),
}

/// Why a ping was not answered.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PingError {
    /// muxado and QUIC have no pings; run a heartbeat.
    #[error("the session has no pings: run a heartbeat")]
    Unsupported,
    /// No answer within the write time-out.
    #[error("the ping was not answered in time")]
    TimedOut,
    /// The session is over.
    #[error(transparent)]
    Session(#[from] SessionEnd),
}

impl OpenError {
    /// True if the session ended by a time-out.
    pub const fn is_timeout(&self) -> bool {
        match self {
            Self::Session(end) => end.is_timeout(),
            Self::Ended(end) => end.is_timeout(),
            _ => false,
        }
    }

    /// True if opening may succeed later on the same session: when other streams have ended, or memory
    /// has become free.
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::TooManyStreams(_) | Self::Memory(_))
    }
}

impl ReadError {
    /// True for a deadline that has passed, a stream that was not acknowledged in time, and a session that
    /// ended by a time-out.
    pub const fn is_timeout(&self) -> bool {
        match self {
            Self::TimedOut => true,
            Self::Ended(end) => end.is_timeout(),
            Self::Session(end) => end.is_timeout(),
            Self::Closed => false,
        }
    }

    /// True if the stream can still be used: the deadline has passed.
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::TimedOut)
    }
}

impl WriteError {
    /// As [`ReadError::is_timeout`].
    pub const fn is_timeout(&self) -> bool {
        match self {
            Self::TimedOut => true,
            Self::Ended(end) => end.is_timeout(),
            Self::Session(end) => end.is_timeout(),
            Self::Closed => false,
        }
    }

    /// True if the stream can still be used: the deadline has passed.
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::TimedOut)
    }
}

impl PingError {
    /// True if the answer did not come in time, or the session ended by a time-out.
    pub const fn is_timeout(&self) -> bool {
        match self {
            Self::TimedOut => true,
            Self::Session(end) => end.is_timeout(),
            Self::Unsupported => false,
        }
    }

    /// True if another ping may be answered: the session lives.
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::TimedOut)
    }
}

impl From<ConfigError> for io::Error {
    fn from(error: ConfigError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

impl From<SessionEnd> for io::Error {
    fn from(end: SessionEnd) -> Self {
        Self::new(end.kind(), end)
    }
}

impl From<StreamEnd> for io::Error {
    fn from(end: StreamEnd) -> Self {
        let kind = match end {
            StreamEnd::OpenTimeout => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::ConnectionReset,
        };
        Self::new(kind, end)
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Ended(end) => end.into(),
            ReadError::Session(end) => end.into(),
            ReadError::Closed => Self::new(io::ErrorKind::NotConnected, error),
            ReadError::TimedOut => Self::new(io::ErrorKind::TimedOut, error),
        }
    }
}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Ended(end) => end.into(),
            // What `std` reports for a write to what is closed.
            WriteError::Session(SessionEnd::ClosedHere) | WriteError::Closed => {
                Self::new(io::ErrorKind::BrokenPipe, error)
            }
            WriteError::Session(end) => end.into(),
            WriteError::TimedOut => Self::new(io::ErrorKind::TimedOut, error),
        }
    }
}

impl From<OpenError> for io::Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Session(end) => end.into(),
            OpenError::Ended(end) => end.into(),
            OpenError::Memory(_) => Self::new(io::ErrorKind::OutOfMemory, error),
            _ => Self::other(error),
        }
    }
}

impl From<PingError> for io::Error {
    fn from(error: PingError) -> Self {
        match error {
            PingError::Session(end) => end.into(),
            PingError::TimedOut => Self::new(io::ErrorKind::TimedOut, error),
            PingError::Unsupported => Self::new(io::ErrorKind::Unsupported, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_outs_are_told_from_what_passes() {
        let mute = SessionEnd::KeepAliveTimeout;
        let told = [
            (
                ReadError::TimedOut.is_timeout(),
                ReadError::TimedOut.is_temporary(),
                true,
                true,
            ),
            (
                WriteError::TimedOut.is_timeout(),
                WriteError::TimedOut.is_temporary(),
                true,
                true,
            ),
            (
                PingError::TimedOut.is_timeout(),
                PingError::TimedOut.is_temporary(),
                true,
                true,
            ),
            (
                ReadError::from(mute.clone()).is_timeout(),
                ReadError::from(mute.clone()).is_temporary(),
                true,
                false,
            ),
            (
                OpenError::from(mute.clone()).is_timeout(),
                OpenError::from(mute).is_temporary(),
                true,
                false,
            ),
            (
                OpenError::TooManyStreams(1).is_timeout(),
                OpenError::TooManyStreams(1).is_temporary(),
                false,
                true,
            ),
            (
                OpenError::StreamsExhausted.is_timeout(),
                OpenError::StreamsExhausted.is_temporary(),
                false,
                false,
            ),
            (
                WriteError::Closed.is_timeout(),
                WriteError::Closed.is_temporary(),
                false,
                false,
            ),
            (
                PingError::Unsupported.is_timeout(),
                PingError::Unsupported.is_temporary(),
                false,
                false,
            ),
            (
                ReadError::from(StreamEnd::OpenTimeout).is_timeout(),
                ReadError::from(StreamEnd::OpenTimeout).is_temporary(),
                true,
                false,
            ),
        ];
        for (number, (timeout, temporary, expected_timeout, expected_temporary)) in
            told.into_iter().enumerate()
        {
            assert_eq!(
                (timeout, temporary),
                (expected_timeout, expected_temporary),
                "{number}"
            );
        }
    }

    #[test]
    fn a_wrong_configuration_is_invalid_input() {
        let error = io::Error::from(ConfigError::ZeroDuration { name: "linger" });
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("linger"));
    }
}
