//! How a command fails: what happened, what to do, which exit code.

use std::{fmt, process::ExitCode};

use towline::{
    rpc::{CallError, CloseReason, ConnectError, SendError, server::ListenError},
    sync::{PullError, PushError},
    transport,
};

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

    /// The same, with what it happened to before it.
    #[must_use]
    pub(crate) fn of(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
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

/// A text without control characters: names and errors that come from elsewhere must not forge lines
/// or command the terminal.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped
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
                    transport::ConnectError::RefusedByPeer { .. }
                    | transport::ConnectError::PeerCertificate { .. } => Exit::Refused,
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
            ListenError::Endpoint(_) => Exit::Usage,
            _ => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}

/// The end of a connection, as the failure of what ran over it.
fn closed(reason: &CloseReason) -> Failure {
    if reason.is_refused_certificate() {
        return Failure::new(Exit::Refused, reason.to_string()).hint(
            "the server admits only keys made by its own authority: ask its operator for one, \
             or point --certs at the right directory",
        );
    }
    let failure = Failure::new(Exit::Failed, format!("the connection was closed: {reason}"));
    match reason {
        CloseReason::ClosedByPeer => failure.hint(
            "the server ended the connection: if it happens at once, it may expect tls:// where you use tcp://; \
             else its log says why",
        ),
        _ => failure,
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match &error {
            CallError::Closed(reason) => closed(reason),
            CallError::Refused(_) => Self::new(Exit::Failed, error.to_string())
                .hint("the server has no such service; check its name"),
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
            SendError::Closed(reason) => closed(reason),
            _ => failed(error),
        }
    }
}

impl From<PushError> for Failure {
    fn from(error: PushError) -> Self {
        if let Some(reason) = error.close_reason() {
            return closed(reason);
        }
        let exit = if error.is_verification_failure() {
            Exit::Verification
        } else {
            Exit::Failed
        };
        let failure = Self::new(exit, error.to_string());
        match error {
            PushError::Refused(text)
                if text.contains("read-only") || text.contains("--allow-write") =>
            {
                Self {
                    exit: Exit::Refused,
                    ..failure
                }
            }
            _ => failure,
        }
    }
}

impl From<PullError> for Failure {
    fn from(error: PullError) -> Self {
        if let Some(reason) = error.close_reason() {
            return closed(reason);
        }
        let exit = if error.is_verification_failure() {
            Exit::Verification
        } else {
            Exit::Failed
        };
        Self::new(exit, error.to_string())
    }
}
