//! What the tests of the pure core share.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod calls;
pub(crate) mod peer;
pub(crate) mod vectors;

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use towline_codec::greenpack::Timestamp;
use towline_rpc::proto::Now;

/// The beginning of every test's time.
pub(crate) fn start() -> Now {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    #[expect(
        clippy::disallowed_methods,
        reason = "only differences to this instant matter"
    )]
    let instant = *EPOCH.get_or_init(Instant::now);
    Now {
        instant,
        wall: Timestamp::new(1_800_000_000, 0),
    }
}

/// The time `after` the beginning.
pub(crate) fn at(after: Duration) -> Now {
    let start = start();
    Now {
        instant: start.instant + after,
        wall: start.wall.saturating_add(after),
    }
}
