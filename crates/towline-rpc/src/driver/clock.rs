//! Where the clocks are read.

use std::{
    cell::Cell,
    marker::PhantomData,
    time::{Duration, SystemTime},
};

use towline_codec::greenpack::Timestamp;

use crate::proto::Now;

/// How long the wall clock may be derived from the other one before it is read again.
const WALL_CLOCK_AGE: Duration = Duration::from_millis(50);

thread_local! {
    // Reading both clocks for every message would be a twentieth of the cost of a call.
    static WALL_CLOCK: Cell<Option<Read>> = const { Cell::new(None) };
}

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
struct Read {
    now: Now,
    /// The wall clock goes with the runtime's, whatever the machine's says.
    is_virtual: bool,
}

/// The present, by the clocks of the runtime and of the machine.
#[expect(
    clippy::disallowed_methods,
    reason = "the driver is where the clocks are read"
)]
pub(crate) fn now() -> Now {
    let instant = tokio::time::Instant::now().into_std();
    if let Some(Read { now, is_virtual }) = WALL_CLOCK.get()
        && let Some(age) = instant.checked_duration_since(now.instant)
        && (is_virtual || age < WALL_CLOCK_AGE)
    {
        return Now {
            instant,
            wall: now.wall.saturating_add(age),
        };
    }
    let now = Now {
        instant,
        wall: SystemTime::now().into(),
    };
    WALL_CLOCK.set(Some(Read {
        now,
        is_virtual: false,
    }));
    now
}

/// For simulations: while it lives, wall time on this thread begins at a given moment and goes with the clock of the
/// runtime. So what is told in wall time, such as the deadlines of calls, holds in virtual time, and every run sends the
/// same bytes.
///
/// It is for the clients and servers of one thread, as the paused clock of tokio is; make it within the runtime.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use std::time::Duration;
/// use towline_codec::greenpack::Timestamp;
/// use towline_rpc::{Client, Context, Message, Server, VirtualWallClock};
///
/// let _clock = VirtualWallClock::starting_at(Timestamp::new(1_800_000_000, 0));
/// let server = Server::builder()
///     .call("when", |_: Context, request: Message| async move {
///         let created = request.hdr.created.map(|time| time.seconds());
///         Ok::<_, std::convert::Infallible>(Message::from_body(format!("{created:?}")))
///     })
///     .build();
/// let client = server.connect_here();
/// tokio::time::sleep(Duration::from_secs(7)).await;
/// let reply = client.call(Message::request("when", "")).await.expect("a reply");
/// assert_eq!(reply.body, "Some(1800000007)");
/// # }
/// ```
#[derive(Debug)]
pub struct VirtualWallClock {
    /// It is that of one thread.
    _thread: PhantomData<*const ()>,
}

impl VirtualWallClock {
    /// Has wall time begin here and now.
    #[must_use = "it holds while this value lives"]
    #[expect(
        clippy::disallowed_methods,
        reason = "the driver is where the clocks are read"
    )]
    pub fn starting_at(wall: Timestamp) -> Self {
        let instant = tokio::time::Instant::now().into_std();
        WALL_CLOCK.set(Some(Read {
            now: Now { instant, wall },
            is_virtual: true,
        }));
        Self {
            _thread: PhantomData,
        }
    }
}

impl Drop for VirtualWallClock {
    fn drop(&mut self) {
        WALL_CLOCK.set(None);
    }
}
