//! Where the clock is read.

use std::time::Instant;

/// The present, by the clock of the runtime.
#[expect(
    clippy::disallowed_methods,
    reason = "the driver is where the clock is read"
)]
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A seed for an engine. All zeros if the system has no randomness: the seed hides the layout of a
/// hash table from the peer and nothing else.
#[expect(
    clippy::disallowed_methods,
    reason = "the driver is where randomness comes from"
)]
pub(crate) fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    if getrandom::fill(&mut seed).is_err() {
        seed = [0; 32];
    }
    seed
}
