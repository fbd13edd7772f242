//! What a peer can do wrong, and what it is told.

use super::Dialect;

/// A rule that the peer broke. The session ends, and the peer is told why before it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A yamux header with a version other than 0 (docs/wire Y2).
    #[error("the peer sent a frame of version {0}, not of version 0: it does not speak yamux")]
    Version(u32),
    /// A yamux header with a type above 3 (docs/wire Y2).
    #[error("the peer sent a frame of unknown type {0}")]
    FrameType(u32),
    /// A stream opened with id 0 (docs/wire Y15).
    #[error("the peer opened a stream with id 0, which names the session")]
    StreamIdZero,
    /// A stream opened with an id of this side's own parity: both ends took the same role (docs/wire
    /// Y15, Y17, U19).
    #[error("the peer opened stream {0}, whose id is ours to give: both ends have the same role")]
    Parity(u32),
    /// A stream opened with the id of a live one (docs/wire Y16, U21).
    #[error("the peer opened stream {0}, which is open already")]
    DuplicateStream(u32),
    /// More data than the peer had credit for (docs/wire Y39, Y40).
    #[error("the peer sent more on stream {0} than its window allows")]
    WindowExceeded(u32),
    /// Credit that adds up to more than 32 bits hold (docs/wire Y42).
    #[error("the peer's credit for stream {0} adds up to more than 4294967295 bytes")]
    CreditOverflow(u32),
    /// A muxado DATA frame on stream 0 (docs/wire U6).
    #[error("the peer sent data on stream 0, which names the session")]
    DataOnStreamZero,
    /// A muxado RST frame of another length than 4 (docs/wire U5).
    #[error("the peer sent a reset of length {0}, not of 4")]
    ResetLength(u32),
    /// A muxado RST frame on stream 0 (docs/wire U6).
    #[error("the peer reset stream 0, which names the session")]
    ResetOnStreamZero,
    /// A muxado WNDINC frame of another length than 4 (docs/wire U5).
    #[error("the peer sent a window increment of length {0}, not of 4")]
    CreditLength(u32),
    /// A muxado WNDINC frame on stream 0 (docs/wire U6).
    #[error("the peer sent a window increment for stream 0, which names the session")]
    CreditOnStreamZero,
    /// A muxado WNDINC frame with an increment of 0 (docs/wire U7).
    #[error("the peer sent a window increment of 0")]
    ZeroCredit,
    /// A muxado GOAWAY frame shorter than 8 (docs/wire U8).
    #[error("the peer sent a go-away of length {0}, less than 8")]
    GoAwayLength(u32),
    /// A muxado GOAWAY frame on a stream (docs/wire U6).
    #[error("the peer sent a go-away on stream {0}, not on 0")]
    GoAwayOnStream(u32),
    /// A muxado frame whose stream id has its top bit set (docs/wire U12).
    #[error("the peer used stream id {0}, above 2147483647")]
    ReservedBit(u32),
    /// So many frames that needed an answer, and so few answers taken, that no more are kept
    /// (docs/wire Y72, U78).
    #[error("the peer made us owe it {0} resets and took none of them")]
    Flood(u32),
}

impl Violation {
    /// The code that the go-away frame carries.
    pub const fn code(self, dialect: Dialect) -> u32 {
        match dialect {
            // yamux has one code for all of them: 1, protocol error.
            Dialect::Yamux => 1,
            Dialect::Muxado => match self {
                Self::ResetLength(_) | Self::CreditLength(_) | Self::GoAwayLength(_) => 8,
                Self::Flood(_) => 10,
                _ => 1,
            },
        }
    }

    /// The text that a muxado go-away carries: the original's, where it has one.
    pub fn debug_text(self) -> String {
        match self {
            Self::DataOnStreamZero => "DATA frame stream id must not be zero, got: 0".to_owned(),
            Self::ResetLength(length) => format!("illegal RST frame length: {length:#x}"),
            Self::ResetOnStreamZero => "RST stream id must not be zero".to_owned(),
            Self::CreditLength(length) => format!("illegal WNDINC frame length: {length:#x}"),
            Self::CreditOnStreamZero => "WNDINC stream id must not be zero, got: 0".to_owned(),
            Self::ZeroCredit => "WNDINC increment must not be zero, got: 0".to_owned(),
            Self::GoAwayLength(length) => format!("illegal GOAWAY frame length: {length:#x}"),
            Self::GoAwayOnStream(id) => format!("GOAWAY stream id must be zero, not: {id}"),
            Self::Parity(id) => {
                format!("initiated stream id has wrong parity for remote endpoint: {id:#x}")
            }
            Self::DuplicateStream(id) => {
                format!("received SYN for already-open stream id: {id:#x}")
            }
            other => other.to_string(),
        }
    }
}
