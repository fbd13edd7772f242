//! The program's clock.

use std::time::{Instant, SystemTime};

/// The present. Everything below the program gets it as an argument.
#[expect(
    clippy::disallowed_methods,
    reason = "a program has to read the clock somewhere"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The wall time, to tell how long certificates last.
#[expect(
    clippy::disallowed_methods,
    reason = "a program has to read the clock somewhere"
)]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}
