//! The numbers by which muxado names errors.

use std::fmt;

use crate::proto::{Dialect, OpenError, PingError, ReadError, SessionEnd, StreamEnd, WriteError};

/// A number by which muxado names an error, in resets and go-aways. Others than these are passed on as
/// they are.
///
/// Every error of a session or a stream has one, as with the original's `GetError`:
///
/// ```
/// use towline_mux::{ReadError, SessionEnd, StreamEnd, proto::muxado::ErrorCode};
///
/// let refused = ReadError::Ended(StreamEnd::ResetByPeer(5));
/// assert_eq!(ErrorCode::from(&refused), ErrorCode::STREAM_REFUSED);
/// assert_eq!(ErrorCode::from(&SessionEnd::ClosedByPeer), ErrorCode::PEER_EOF);
/// assert_eq!(ErrorCode::STREAM_REFUSED.to_string(), "stream refused (5)");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// 0: nothing is wrong; a session was closed.
    pub const NO_ERROR: Self = Self(0);
    /// 1: the peer broke a rule.
    pub const PROTOCOL_ERROR: Self = Self(1);
    /// 2: this side failed by its own fault.
    pub const INTERNAL_ERROR: Self = Self(2);
    /// 3: more data than the window allows.
    pub const FLOW_CONTROL_ERROR: Self = Self(3);
    /// 4: the stream is closed on this side, or was never known.
    pub const STREAM_CLOSED: Self = Self(4);
    /// 5: the stream is not accepted.
    pub const STREAM_REFUSED: Self = Self(5);
    /// 6: the application gave the stream up.
    pub const STREAM_CANCELLED: Self = Self(6);
    /// 7: the application reset the stream.
    pub const STREAM_RESET: Self = Self(7);
    /// 8: a frame of a length that its type cannot have.
    pub const FRAME_SIZE_ERROR: Self = Self(8);
    /// 9: as many streams wait to be accepted as may.
    pub const ACCEPT_QUEUE_FULL: Self = Self(9);
    /// 10: the peer asks too much.
    pub const ENHANCE_YOUR_CALM: Self = Self(10);
    /// 11: the peer went away before it saw the stream.
    pub const REMOTE_GONE_AWAY: Self = Self(11);
    /// 12: all stream ids were used.
    pub const STREAMS_EXHAUSTED: Self = Self(12);
    /// 13: nothing could be written in time.
    pub const WRITE_TIMEOUT: Self = Self(13);
    /// 14: the session was closed on this side.
    pub const SESSION_CLOSED: Self = Self(14);
    /// 15: the peer closed the transport.
    pub const PEER_EOF: Self = Self(15);
    /// 255: an error that has no number, such as the transport's. The Rust crate sends 4294967295.
    pub const UNKNOWN: Self = Self(255);

    /// What it is called, if it is one of these.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "no error",
            1 => "protocol error",
            2 => "internal error",
            3 => "flow control error",
            4 => "stream closed",
            5 => "stream refused",
            6 => "stream cancelled",
            7 => "stream reset",
            8 => "frame size error",
            9 => "accept queue full",
            10 => "enhance your calm",
            11 => "remote gone away",
            12 => "streams exhausted",
            13 => "write timeout",
            14 => "session closed",
            15 => "peer EOF",
            255 | u32::MAX => "unknown",
            _ => return None,
        })
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => self.0.fmt(f),
        }
    }
}

impl From<ErrorCode> for u32 {
    fn from(code: ErrorCode) -> Self {
        code.0
    }
}

impl From<u32> for ErrorCode {
    fn from(code: u32) -> Self {
        Self(code)
    }
}

impl From<&SessionEnd> for ErrorCode {
    fn from(end: &SessionEnd) -> Self {
        match end {
            SessionEnd::ClosedHere => Self::SESSION_CLOSED,
            SessionEnd::ClosedWithCode(code) | SessionEnd::GoneAway { code, .. } => Self(*code),
            SessionEnd::ClosedByPeer => Self::PEER_EOF,
            SessionEnd::Violation(violation) => Self(violation.code(Dialect::Muxado)),
            SessionEnd::WriteTimeout => Self::WRITE_TIMEOUT,
            SessionEnd::Truncated | SessionEnd::Io(_) | SessionEnd::KeepAliveTimeout => {
                Self::UNKNOWN
            }
        }
    }
}

impl From<StreamEnd> for ErrorCode {
    fn from(end: StreamEnd) -> Self {
        Self(end.code_in(Dialect::Muxado))
    }
}

impl From<&ReadError> for ErrorCode {
    fn from(error: &ReadError) -> Self {
        match error {
            ReadError::Ended(end) => (*end).into(),
            ReadError::Closed => Self::STREAM_CLOSED,
            ReadError::TimedOut => Self::UNKNOWN,
            ReadError::Session(end) => end.into(),
        }
    }
}

impl From<&WriteError> for ErrorCode {
    fn from(error: &WriteError) -> Self {
        match error {
            WriteError::Ended(end) => (*end).into(),
            WriteError::Closed => Self::STREAM_CLOSED,
            WriteError::TimedOut => Self::WRITE_TIMEOUT,
            WriteError::Session(end) => end.into(),
        }
    }
}

impl From<&OpenError> for ErrorCode {
    fn from(error: &OpenError) -> Self {
        match error {
            OpenError::RemoteNotAccepting => Self::REMOTE_GONE_AWAY,
            OpenError::StreamsExhausted => Self::STREAMS_EXHAUSTED,
            OpenError::CannotAnnounce | OpenError::TooManyStreams(_) | OpenError::Memory(_) => {
                Self::UNKNOWN
            }
            OpenError::Session(end) => end.into(),
            OpenError::Ended(end) => (*end).into(),
        }
    }
}

impl From<&PingError> for ErrorCode {
    fn from(error: &PingError) -> Self {
        match error {
            PingError::Unsupported | PingError::TimedOut => Self::UNKNOWN,
            PingError::Session(end) => end.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Violation;

    /// docs/wire U46, U53: what the original's `GetError` finds in an error.
    #[test]
    fn every_error_has_its_number() {
        assert_eq!(
            ErrorCode::from(StreamEnd::WindowExceeded),
            ErrorCode::FLOW_CONTROL_ERROR
        );
        assert_eq!(
            ErrorCode::from(StreamEnd::OutOfBudget),
            ErrorCode::ENHANCE_YOUR_CALM
        );
        assert_eq!(
            ErrorCode::from(&WriteError::Closed),
            ErrorCode::STREAM_CLOSED
        );
        assert_eq!(
            ErrorCode::from(&OpenError::StreamsExhausted),
            ErrorCode::STREAMS_EXHAUSTED
        );
        assert_eq!(
            ErrorCode::from(&SessionEnd::Violation(Violation::GoAwayLength(7))),
            ErrorCode::FRAME_SIZE_ERROR
        );
        assert_eq!(ErrorCode::from(&SessionEnd::Truncated), ErrorCode::UNKNOWN);
        let free = ErrorCode::from(&ReadError::Ended(StreamEnd::ResetByPeer(0xDEAD_BEEF)));
        assert_eq!((free.0, free.name()), (0xDEAD_BEEF, None));
    }
}
