//! Where a server's time comes from.

use std::time::SystemTime;

use tokio::time::Instant;

#[expect(
    clippy::disallowed_methods,
    reason = "a driver: this is where its time comes from"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a driver: this is where its wall time comes from"
)]
pub(crate) fn wall_time() -> SystemTime {
    SystemTime::now()
}
