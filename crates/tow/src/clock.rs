//! The program's clock.

use std::time::Instant;

/// The present. Everything below the program gets it as an argument.
#[expect(
    clippy::disallowed_methods,
    reason = "a program has to read the clock somewhere"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
