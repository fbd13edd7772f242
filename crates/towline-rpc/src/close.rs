//! Why a connection is over.

use std::{io, sync::Arc};

use towline_transport::{PskProblem, TlsProblem, is_hung_up};

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
    /// The two ends have different pre-shared keys: the first that came cannot be opened. Towards the original alone;
    /// another towline's shows when connecting (docs/wire R15, R21).
    #[error("the two ends have different pre-shared keys: give both the same key file")]
    DifferentKeys,
    /// The transport failed: what TLS or the system reported.
    #[error("{}", describe(.0))]
    Io(Arc<io::Error>),
}

impl CloseReason {
    pub(crate) fn from_io(error: io::Error) -> Self {
        match PskProblem::from_io_error(&error) {
            Some(PskProblem::DifferentKeys) => Self::DifferentKeys,
            _ => Self::Io(Arc::new(error)),
        }
    }

    /// True if the other end refused this end's certificate. In TLS 1.3 that is learnt at the first
    /// read, after the connection seemed to be there (docs/wire I24).
    pub fn is_refused_certificate(&self) -> bool {
        matches!(
            self,
            Self::Io(error)
                if matches!(towline_transport::describe_io_error(error), Some(TlsProblem::Refused(_)))
        )
    }

    /// True if connecting again would end in the same way: the other end refuses this end's certificate, has another
    /// pre-shared key, or speaks another protocol, or another version of this one.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Violation(violation) => matches!(
                violation,
                Violation::WrongMagic
                    | Violation::TlsHello
                    | Violation::TlsAlert
                    | Violation::UnknownCompression(_)
                    | Violation::Decode(_)
            ),
            Self::DifferentKeys => true,
            _ => self.is_refused_certificate(),
        }
    }

    /// True if the other end of a pre-shared-key layer has hung up without a word, as one with another key does that
    /// cannot prove it.
    pub(crate) fn is_unanswered(&self) -> bool {
        matches!(
            self,
            Self::Io(error) if PskProblem::from_io_error(error) == Some(PskProblem::Unanswered)
        )
    }

    /// True if the other end is gone without having closed the connection as it should: it was
    /// killed, its machine or the network failed.
    pub fn is_lost(&self) -> bool {
        match self {
            Self::Io(error) => is_hung_up(error),
            Self::Violation(violation) => matches!(violation, Violation::Truncated(_)),
            Self::ClosedHere | Self::ClosedByPeer | Self::DifferentKeys => false,
        }
    }

    /// The same as an `io::Error`, for code that speaks of streams.
    pub fn to_io_error(&self) -> io::Error {
        let kind = match self {
            Self::ClosedHere => io::ErrorKind::NotConnected,
            Self::ClosedByPeer => io::ErrorKind::UnexpectedEof,
            Self::Violation(_) => io::ErrorKind::InvalidData,
            Self::DifferentKeys => io::ErrorKind::PermissionDenied,
            Self::Io(error) => error.kind(),
        };
        io::Error::new(kind, self.clone())
    }
}

fn describe(error: &io::Error) -> String {
    match towline_transport::describe_io_error(error) {
        Some(problem) => problem.to_string(),
        // rustls and the system each have several words for it, which help nobody.
        None if is_hung_up(error) => {
            "the other end went away without closing the connection".to_owned()
        }
        None => format!("the connection failed: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_kind(kind: io::ErrorKind) -> CloseReason {
        CloseReason::from_io(io::Error::new(kind, "words of a library"))
    }

    #[test]
    fn a_peer_that_is_gone_is_named_in_our_own_words() {
        for kind in [
            io::ErrorKind::UnexpectedEof,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::BrokenPipe,
        ] {
            let reason = of_kind(kind);
            assert!(reason.is_lost());
            assert_eq!(
                reason.to_string(),
                "the other end went away without closing the connection"
            );
        }
        assert!(CloseReason::Violation(Violation::Truncated(7)).is_lost());
        let other = of_kind(io::ErrorKind::HostUnreachable);
        assert!(!other.is_lost() && !CloseReason::ClosedByPeer.is_lost());
        assert_eq!(
            other.to_string(),
            "the connection failed: words of a library"
        );
        assert!(!other.is_refused_certificate());
    }
}
