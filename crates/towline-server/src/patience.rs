//! Whether what a handler waits for is a peer that does not take what it was sent.

use std::cell::Cell;

thread_local! {
    /// Somebody has come to wait for a peer in the poll that is being watched.
    static WAITS: Cell<bool> = const { Cell::new(false) };
}

/// Polls something, and says whether in there somebody [has come to wait](peer_awaited) for a peer.
pub(crate) fn watched<R>(poll: impl FnOnce() -> R) -> (R, bool) {
    let outer = WAITS.replace(false);
    let polled = poll();
    (polled, WAITS.replace(outer))
}

/// Tells whoever watches this poll.
pub(crate) fn peer_awaited() {
    WAITS.set(true);
}
