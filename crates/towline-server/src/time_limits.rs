//! How long a connection may take.

use std::time::Duration;

/// How long a connection may do nothing, or too little. Each limit may be exceeded by a quarter.
///
/// ```
/// use std::time::Duration;
/// use towline_server::{Socket, TimeLimits};
///
/// /// Whoever has logged in may be silent for longer.
/// fn logged_in(socket: &Socket) {
///     let limits = socket.time_limits();
///     socket.set_time_limits(limits.idle(Duration::from_secs(3600)));
/// }
/// # let _unused = logged_in;
/// assert_eq!(TimeLimits::default(), TimeLimits::none().packet(Duration::from_secs(30)).write(Duration::from_secs(30)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimits {
    pub(crate) first_byte: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    pub(crate) packet: Option<Duration>,
    pub(crate) write: Option<Duration>,
}

/// 30 seconds for a packet, and for what waits to be written.
impl Default for TimeLimits {
    fn default() -> Self {
        let half_a_minute = Some(Duration::from_secs(30));
        Self {
            packet: half_a_minute,
            write: half_a_minute,
            ..Self::none()
        }
    }
}

impl TimeLimits {
    /// No limits.
    pub const fn none() -> Self {
        Self {
            first_byte: None,
            idle: None,
            packet: None,
            write: None,
        }
    }

    /// Until the first byte has come; `None` for ever.
    #[must_use]
    pub fn first_byte(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.first_byte = limit.into();
        self
    }

    /// Without a byte in either direction; `None` for ever.
    #[must_use]
    pub fn idle(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.idle = limit.into();
        self
    }

    /// For one packet from its first byte to its last, however many bytes come, also for one that is passed over;
    /// `None` for ever. What the handler takes for the packet before it does not count. For handlers of packets ([`Packets`](crate::Packets)).
    #[must_use]
    pub fn packet(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.packet = limit.into();
        self
    }

    /// While the peer takes nothing of what waits for it; `None` for ever.
    #[must_use]
    pub fn write(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.write = limit.into();
        self
    }

    pub(crate) fn shortest(&self) -> Option<Duration> {
        [self.first_byte, self.idle, self.packet, self.write]
            .into_iter()
            .flatten()
            .min()
    }
}
