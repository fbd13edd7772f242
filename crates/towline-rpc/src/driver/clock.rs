//! Where the clocks are read.

use std::{
    cell::Cell,
    time::{Duration, SystemTime},
};

use crate::proto::Now;

/// How long the wall clock may be derived from the other one before it is read again.
const WALL_CLOCK_AGE: Duration = Duration::from_millis(50);

thread_local! {
    // Reading both clocks for every message would be a twentieth of the cost of a call.
    static WALL_CLOCK: Cell<Option<Now>> = const { Cell::new(None) };
}

/// The present, by the clocks of the runtime and of the machine.
#[expect(
    clippy::disallowed_methods,
    reason = "the driver is where the clocks are read"
)]
pub(crate) fn now() -> Now {
    let instant = tokio::time::Instant::now().into_std();
    if let Some(read) = WALL_CLOCK.get()
        && let Some(age) = instant.checked_duration_since(read.instant)
        && age < WALL_CLOCK_AGE
    {
        return Now {
            instant,
            wall: read.wall.saturating_add(age),
        };
    }
    let now = Now {
        instant,
        wall: SystemTime::now().into(),
    };
    WALL_CLOCK.set(Some(now));
    now
}
