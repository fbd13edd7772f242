//! Transfers whose end nobody hears of: the connection ended first, or the peer cancelled.

use towline_identity::Peer;

/// Logs, if it is dropped before [`finished`](Self::finished), that a transfer was cut short: the
/// call's future is dropped then, and nothing else of it is.
#[derive(Debug)]
pub(crate) struct Unfinished<'a> {
    peer: &'a Peer,
    what: &'static str,
    is_over: bool,
}

impl<'a> Unfinished<'a> {
    pub(crate) const fn new(peer: &'a Peer, what: &'static str) -> Self {
        Self {
            peer,
            what,
            is_over: false,
        }
    }

    /// The transfer has an end that is told elsewhere.
    pub(crate) fn finished(mut self) {
        self.is_over = true;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let peer = self.peer;
            let what = self.what;
            tracing::warn!(%peer, "{what} was cut short: the peer went away or cancelled it");
        }
    }
}
