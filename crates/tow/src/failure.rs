//! How a command fails: what happened, what to do, which exit code.

use std::{fmt, process::ExitCode};

use towline::{
    rpc::{CallError, CloseReason, ConnectError, SendError, proto::Violation, server::ListenError},
    sync::{PullError, PushError},
    transport,
};

/// Names and errors that come from elsewhere must not forge lines or command the terminal.
pub(crate) use towline::identity::escape;

/// Exit codes. 0 is success, 2 is for wrong usage, which clap reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Something failed.
    Failed = 1,
    /// The command line asks for something that cannot be.
    Usage = 2,
    /// No connection could be made.
    CannotConnect = 3,
    /// Some files of several failed.
    SomeFiles = 4,
    /// What arrived is not what was sent.
    Verification = 5,
    /// This end or the other refused, for want of trust or permission.
    Refused = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: escape(&message.into()),
            hint: None,
        }
    }

    /// What the reader can do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, with the first of these names before it, unless it tells one of them anyway.
    #[must_use]
    pub(crate) fn about(mut self, names: &[&str]) -> Self {
        if let Some(name) = names.first()
            && !names.iter().any(|name| self.tells(name))
        {
            self.message = format!("{}: {}", escape(name), self.message);
        }
        self
    }

    /// True if the message holds the name: a URL, or the name of a file in backticks, perhaps with its
    /// directory or with a suffix.
    fn tells(&self, name: &str) -> bool {
        let name = escape(name);
        if name.contains("://") {
            return self.message.contains(&name);
        }
        !name.is_empty()
            && self.message.match_indices(&name).any(|(at, _)| {
                self.message[..at].ends_with(['`', '/'])
                    && self.message[at + name.len()..].starts_with(['`', '.'])
            })
    }

    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// Any error without a better description.
pub(crate) fn failed(error: impl fmt::Display) -> Failure {
    Failure::new(Exit::Failed, error.to_string())
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let message = error.to_string();
        match error {
            ConnectError::Endpoint(_) => Self::new(Exit::Usage, message),
            ConnectError::Transport(error) => {
                let exit = match error {
                    transport::ConnectError::Multiplexed { .. }
                    | transport::ConnectError::NotMultiplexed { .. }
                    | transport::ConnectError::SealedStreams { .. } => Exit::Usage,
                    transport::ConnectError::RefusedByPeer { .. }
                    | transport::ConnectError::PeerCertificate { .. }
                    | transport::ConnectError::UntrustedKey { .. }
                    | transport::ConnectError::DifferentKeys { .. }
                    | transport::ConnectError::KnownKeys { .. }
                    | transport::ConnectError::Identity { .. } => Exit::Refused,
                    transport::ConnectError::MissingIdentity { .. } => Exit::Failed,
                    _ => Exit::CannotConnect,
                };
                let failure = Self::new(exit, message);
                match error.hint() {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                }
            }
            _ => Self::new(Exit::CannotConnect, message),
        }
    }
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        let exit = match error {
            ListenError::Endpoint(_)
            | ListenError::NothingInherited(_)
            | ListenError::Transport(transport::ListenError::Multiplexed { .. }) => Exit::Usage,
            ListenError::Transport(transport::ListenError::Identity { .. }) => Exit::Refused,
            _ => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}

/// The end of a connection, as the failure of what ran over it: `message` says how far that was.
pub(crate) fn closed(reason: &CloseReason, message: String) -> Failure {
    if reason.is_refused_certificate() {
        let reason = reason.to_string();
        let hint = if reason.contains("expired") {
            "make it anew with `tow keys new`; if it is valid by `tow keys show`, one of the two clocks is wrong"
        } else if reason.contains("let our key in") {
            "the server knows our authority but not our key: ask its operator to admit it; \
             its log shows the key and how"
        } else {
            "the server admits only keys made by its own authority: ask its operator for one, \
             or point --certs at the right directory"
        };
        return Failure::new(Exit::Refused, reason).hint(hint);
    }
    match reason {
        // Nothing was ever said that both ends understood.
        CloseReason::Violation(
            Violation::WrongMagic | Violation::TlsHello | Violation::TlsAlert,
        ) => Failure::new(Exit::CannotConnect, reason.to_string()),
        CloseReason::Violation(Violation::IdleTimeout | Violation::WriteTimeout) => {
            Failure::new(Exit::Failed, message).hint(
                "the server or the network is stuck: try again, or give it more time with --timeout",
            )
        }
        CloseReason::ClosedByPeer => Failure::new(Exit::Failed, message).hint(
            "if it happens at once, the server may expect tls:// where you use tcp://; else its log says why",
        ),
        reason if reason.is_lost() => Failure::new(Exit::Failed, message)
            .hint("see whether the server still runs and can be reached, then try again"),
        _ => Failure::new(Exit::Failed, message),
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match &error {
            CallError::Closed(reason) => closed(reason, reason.to_string()),
            CallError::NoSuchService(missing) => {
                tracing::info!("the server's words: {}", escape(&missing.text.to_string()));
                Self::new(Exit::Failed, error.to_string()).hint("check its name")
            }
            CallError::TimedOut(_) => {
                Self::new(Exit::Failed, error.to_string()).hint("give it more time with --timeout")
            }
            _ => failed(error),
        }
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        match &error {
            SendError::Closed(reason) => closed(reason, reason.to_string()),
            _ => failed(error),
        }
    }
}

impl From<PushError> for Failure {
    fn from(error: PushError) -> Self {
        if let Some(reason) = error.close_reason() {
            return closed(reason, error.to_string());
        }
        let failure = Self::new(
            exit_of_file(
                error.is_verification_failure(),
                matches!(error, PushError::Refused(_)),
            ),
            error.to_string(),
        );
        match error {
            PushError::NoReply { .. } | PushError::TookNothing { .. } => {
                failure.hint("see at the server whether it is there; else push it again, or give it more time with --timeout")
            }
            _ => failure,
        }
    }
}

impl From<PullError> for Failure {
    fn from(error: PullError) -> Self {
        if let Some(reason) = error.close_reason() {
            return closed(reason, error.to_string());
        }
        Self::new(
            exit_of_file(
                error.is_verification_failure(),
                matches!(error, PullError::Refused(_)),
            ),
            error.to_string(),
        )
    }
}

const fn exit_of_file(differs: bool, refused: bool) -> Exit {
    match (differs, refused) {
        (true, _) => Exit::Verification,
        (_, true) => Exit::Refused,
        _ => Exit::Failed,
    }
}

/// The end of a command about several files. One failure stands for itself; of several files, how
/// many failed, of which the last `untried` were not tried any more.
pub(crate) fn summarise(
    mut failures: Vec<Failure>,
    files: usize,
    untried: usize,
) -> Result<(), Failure> {
    let failed = failures.len() + untried;
    if failed == 0 {
        return Ok(());
    }
    if files == 1
        && let Some(failure) = failures.pop()
    {
        return Err(failure);
    }
    let first = failures.first().map_or(Exit::Failed, Failure::exit);
    let alike = failures.iter().all(|failure| failure.exit() == first);
    let exit = if failed == files && alike {
        first
    } else {
        Exit::SomeFiles
    };
    let text = match untried {
        0 => format!("{failed} of {files} files failed"),
        _ => format!("{failed} of {files} files failed, {untried} of them were not tried"),
    };
    Err(Failure::new(exit, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_files_the_code_says_whether_all_failed_alike() {
        let exit = |exits: &[Exit], files, untried| {
            let failures = exits.iter().map(|exit| Failure::new(*exit, "x")).collect();
            summarise(failures, files, untried).map_err(|failure| failure.exit())
        };
        assert_eq!(exit(&[], 3, 0), Ok(()));
        assert_eq!(exit(&[Exit::Refused], 1, 0), Err(Exit::Refused));
        assert_eq!(exit(&[Exit::Refused; 3], 3, 0), Err(Exit::Refused));
        assert_eq!(exit(&[Exit::Refused; 2], 3, 0), Err(Exit::SomeFiles));
        assert_eq!(
            exit(&[Exit::Refused, Exit::Failed], 2, 0),
            Err(Exit::SomeFiles)
        );
        assert_eq!(exit(&[Exit::Failed], 3, 2), Err(Exit::Failed));
        assert_eq!(exit(&[Exit::Failed], 3, 1), Err(Exit::SomeFiles));
        let failures = vec![Failure::new(Exit::Failed, "x")];
        let text = summarise(failures, 3, 1).unwrap_err().message;
        assert_eq!(text, "2 of 3 files failed, 1 of them were not tried");
    }

    #[test]
    fn a_name_is_told_once() {
        let failure = || Failure::new(Exit::Failed, "`a.txt` cannot be stored");
        for text in [
            "`a.txt` cannot be stored",
            "`deep/a.txt` is a directory",
            "no space for `a.txt.servergot`",
        ] {
            let failure = Failure::new(Exit::Failed, text).about(&["in/a.txt", "a.txt"]);
            assert_eq!(failure.message, text);
        }
        // A short name stands in many words.
        assert_eq!(
            failure().about(&["be", "t"]).message,
            "be: `a.txt` cannot be stored"
        );
        assert_eq!(
            failure().about(&["b\n"]).message,
            "b\\n: `a.txt` cannot be stored"
        );
    }
}
