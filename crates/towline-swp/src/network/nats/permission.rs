//! What a broker says that a user may not do, and what to do about it.

use std::io;

/// What is tried with a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    Subscribe,
    Publish,
}

/// What the broker refuses, if that is what its text says of this subject.
pub(super) fn refused(text: &str, subject: &str) -> Option<Right> {
    let text = text.to_ascii_lowercase();
    let names_it = text.contains(&format!("\"{}\"", subject.to_ascii_lowercase()));
    if !names_it || !text.contains("permissions violation") {
        return None;
    }
    if text.contains("for publish") {
        Some(Right::Publish)
    } else {
        Some(Right::Subscribe)
    }
}

/// The inbox itself is refused.
pub(super) fn inbox_error(subject: &str, text: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!(
            "the broker does not let this user subscribe to {subject}: allow it, or hear on another \
             inbox ({text})"
        ),
    )
}

/// The message to oneself that confirms a subscription is refused.
pub(super) fn probe_error(probe: &str, right: Right, text: &str) -> io::Error {
    let what = match right {
        Right::Subscribe => "subscribe to",
        Right::Publish => "publish on",
    };
    let own = wildcard(probe);
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!(
            "the broker does not let this user {what} {own}, where a message to oneself shows that a \
             subscription is active: allow the user to subscribe to {own} and to publish on it ({text})"
        ),
    )
}

/// Nothing was refused in so many words, and nothing came back.
pub(super) fn silence_error(inbox: &str, probe: &str) -> io::Error {
    let own = wildcard(probe);
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!(
            "the broker did not confirm the subscription to {inbox}: no message to oneself came back on \
             {own}. The user must be allowed to subscribe to {own} and to publish on it, and the \
             connection must echo"
        ),
    )
}

/// All subjects beside this one.
fn wildcard(probe: &str) -> String {
    match probe.rsplit_once('.') {
        Some((prefix, _)) => format!("{prefix}.>"),
        None => probe.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_the_subject_and_what_was_tried() {
        let subscribing = "nats: Permissions Violation for Subscription to \"My.inbox\"";
        assert_eq!(refused(subscribing, "My.inbox"), Some(Right::Subscribe));
        assert_eq!(refused(subscribing, "inbox"), None);
        let publishing = "nats: Permissions Violation for Publish to \"My.inbox\"";
        assert_eq!(refused(publishing, "My.inbox"), Some(Right::Publish));
    }
}
