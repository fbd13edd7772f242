//! How a sync ends before it is done, and what may help.

use std::time::Duration;

use towline::{
    rpc::{
        CloseReason, StreamError,
        proto::Violation::{IdleTimeout, WriteTimeout},
    },
    sync::SyncError,
};

use crate::failure::{Exit, Failure, closed};

/// Longest wait before the next attempt.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// To connect again: the sync goes on from where it was.
    Reconnect,
    /// To try again later: something is away, full or busy.
    Time,
    /// Nothing that this program can do.
    None,
}

/// How a sync ended before it was done.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) failure: Failure,
    pub(super) remedy: Remedy,
}

impl Ended {
    /// A connection could not be made. `again` is true if there was one before.
    pub(super) fn connecting(failure: Failure, again: bool) -> Self {
        let remedy = match failure.exit() {
            Exit::CannotConnect if again => Remedy::Reconnect,
            Exit::CannotConnect => Remedy::Time,
            // Time mends neither keys nor a refusal.
            _ => Remedy::None,
        };
        Self { failure, remedy }
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        let remedy = Remedy::None;
        Self { failure, remedy }
    }
}

impl From<Ended> for Failure {
    fn from(ended: Ended) -> Self {
        ended.failure
    }
}

impl From<SyncError> for Ended {
    fn from(error: SyncError) -> Self {
        let remedy = match &error {
            SyncError::Stream(StreamError::Closed(reason)) => match reason {
                reason if reason.is_lost() => Remedy::Reconnect,
                CloseReason::Violation(IdleTimeout | WriteTimeout)
                | CloseReason::ClosedByPeer
                | CloseReason::Io(_)
                    if !reason.is_permanent() =>
                {
                    Remedy::Time
                }
                _ => Remedy::None,
            },
            SyncError::Stream(
                StreamError::NoConnection(_) | StreamError::TimedOut | StreamError::Ended,
            )
            | SyncError::Remote { refused: false, .. } => Remedy::Time,
            // What is not there may be put there.
            SyncError::Local { source, .. }
                if source.kind() != std::io::ErrorKind::InvalidInput =>
            {
                Remedy::Time
            }
            _ => Remedy::None,
        };
        let failure = failure(error);
        Self { failure, remedy }
    }
}

/// Why a sync ended, for people.
pub(crate) fn failure(error: SyncError) -> Failure {
    let message = error.to_string();
    if let Some(reason) = error.close_reason() {
        return closed(reason, message);
    }
    match error {
        SyncError::Remote { refused: true, .. } => Failure::new(Exit::Refused, message),
        SyncError::Unsupported(_) => Failure::new(Exit::Failed, message)
            .hint("a server of the original takes and gives whole files: `tow push`, `tow pull`"),
        SyncError::Reserved(_) => Failure::new(Exit::Failed, message).hint("rename the file first"),
        SyncError::Filter(_) => Failure::new(Exit::Usage, message),
        SyncError::Violation(_) | SyncError::Wire(_) => Failure::new(Exit::Verification, message),
        _ => Failure::new(Exit::Failed, message),
    }
}

/// How long to wait before the next attempt: longer each time, and not as long as others.
pub(super) fn wait(tries: u32) -> Duration {
    use std::hash::{BuildHasher as _, RandomState};

    let most = Duration::from_millis(200 << tries.min(6)).min(LONGEST_WAIT);
    let percent = 50 + RandomState::new().hash_one(tries) % 51;
    most * percent as u32 / 100
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn remedy(error: SyncError) -> Remedy {
        Ended::from(error).remedy
    }

    #[test]
    fn time_mends_what_is_away_and_no_refusal() {
        let local = |kind: io::ErrorKind| SyncError::Local {
            path: "src".to_owned(),
            source: kind.into(),
        };
        let remote = |refused| SyncError::Remote {
            text: "words".to_owned(),
            refused,
        };
        for error in [
            local(io::ErrorKind::NotFound),
            remote(false),
            StreamError::Ended.into(),
            StreamError::from(CloseReason::ClosedByPeer).into(),
            StreamError::from(CloseReason::Violation(IdleTimeout)).into(),
        ] {
            assert_eq!(remedy(error), Remedy::Time);
        }
        for error in [
            local(io::ErrorKind::InvalidInput),
            remote(true),
            SyncError::Unsupported("words".to_owned()),
            SyncError::Directory("src".to_owned()),
            SyncError::Reserved("src".to_owned()),
            StreamError::from(CloseReason::DifferentKeys).into(),
            StreamError::from(CloseReason::Violation(
                towline::rpc::proto::Violation::TlsAlert,
            ))
            .into(),
        ] {
            assert_eq!(remedy(error), Remedy::None);
        }
        let lost = io::Error::from(io::ErrorKind::ConnectionReset);
        let lost = StreamError::from(CloseReason::Io(lost.into()));
        assert_eq!(remedy(lost.into()), Remedy::Reconnect);
        let connecting = |exit| Ended::connecting(Failure::new(exit, "x"), false).remedy;
        assert_eq!(connecting(Exit::CannotConnect), Remedy::Time);
        assert_eq!(connecting(Exit::Failed), Remedy::None);
        assert_eq!(connecting(Exit::Refused), Remedy::None);
    }

    #[test]
    fn waits_grow_up_to_a_limit() {
        assert!(wait(1) <= Duration::from_millis(400));
        assert!((Duration::from_secs(5)..=LONGEST_WAIT).contains(&wait(1000)));
    }
}
