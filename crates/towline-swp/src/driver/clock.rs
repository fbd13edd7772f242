//! Where the clock is read, and where randomness comes from.

use std::{io, time::SystemTime};

use towline_codec::greenpack::Timestamp;

use crate::proto::Now;

/// The present, by the clock of the runtime and the wall's.
#[expect(
    clippy::disallowed_methods,
    reason = "the driver is where the clock is read"
)]
pub(crate) fn now() -> Now {
    Now {
        instant: tokio::time::Instant::now().into_std(),
        wall: Timestamp::from(SystemTime::now()),
    }
}

/// A seed for an engine: its session's nonce follows from it, so it must not be guessed.
#[expect(
    clippy::disallowed_methods,
    reason = "the driver is where randomness comes from"
)]
pub(crate) fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|_| io::Error::other("the system has no randomness"))?;
    Ok(seed)
}
