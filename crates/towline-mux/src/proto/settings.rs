//! What a session allows itself and its peer, for both dialects.

use std::{fmt, sync::Arc, time::Duration};

use super::{Dialect, FrameTap, MemoryManager, muxado, yamux};

/// When a yamux acceptor acknowledges a stream (docs/wire Y11, Y76).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum AckPolicy {
    /// When the application accepts it, as both Go implementations do.
    #[default]
    OnAccept,
    /// When it arrives. A hashicorp peer closes the whole connection when a stream stays
    /// unacknowledged for 75 s; this protects an application that accepts slowly.
    OnArrival,
    /// With the first frame that this side sends on it.
    Lazy,
}

/// A configuration in which two settings do not go together, or one cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number is outside of what works.
    #[error("{name} is {value}; it must be {rule}")]
    OutOfRange {
        /// The setter's name.
        name: &'static str,
        /// What it was given.
        value: u64,
        /// What it may be.
        rule: &'static str,
    },
    /// A duration of zero.
    #[error("{name} is 0; it must be longer, or None where that turns it off")]
    ZeroDuration {
        /// The setter's name.
        name: &'static str,
    },
    /// The largest window is below the first one.
    #[error("max_stream_window {max} is below initial_stream_window {initial}")]
    WindowsCross {
        /// `max_stream_window`
        max: u32,
        /// `initial_stream_window`
        initial: u32,
    },
    /// The receive budget cannot hold what the streams are promised.
    #[error(
        "receive_budget {budget} does not hold the first windows of all streams, {needed} bytes: raise it, allow fewer streams, or set overcommit"
    )]
    BudgetTooSmall {
        /// `receive_budget`
        budget: u64,
        /// (`max_incoming_streams` + `max_outgoing_streams`) × the first window
        needed: u64,
    },
}

/// The setters that the configurations of both dialects have alike.
macro_rules! shared_setters {
    () => {
        /// Streams of the peer that may be open at a time; above that they are refused. Default: 1000. Each
        /// promises the peer a window of memory. Peers built on the Rust crates `yamux` and
        /// `muxado` do not go above 512 in both directions together.
        #[must_use]
        pub const fn max_incoming_streams(mut self, streams: usize) -> Self {
            self.0.max_incoming = streams;
            self
        }

        /// Streams of this side that may be open at a time; above that opening fails. Default: 1000. Each
        /// promises the peer a window of memory.
        #[must_use]
        pub const fn max_outgoing_streams(mut self, streams: usize) -> Self {
            self.0.max_outgoing = streams;
            self
        }

        /// Bytes that the session may hold unread for its application, over all streams. Default: what
        /// the first windows of all allowed streams come to, and 64 MiB for windows to grow by.
        #[must_use]
        pub const fn receive_budget(mut self, bytes: u64) -> Self {
            self.0.receive_budget = Some(bytes);
            self
        }

        /// Promises more than the budget holds: streams may be many and idle. When the session really holds
        /// more than [`receive_budget`](Self::receive_budget), the stream that holds most is reset. Default:
        /// not.
        #[must_use]
        pub const fn overcommit(mut self, overcommit: bool) -> Self {
            self.0.overcommit = overcommit;
            self
        }

        /// Bytes written by the application that may wait for the transport, over all streams; above that
        /// writers wait their turn. A stream that has nothing waiting may use up to a quarter more, and up
        /// to 128 KiB and a direct write are on their way to the transport besides. Default: 1 MiB. More costs memory on every connection whose peer reads
        /// slowly, and gains nothing that the transport's own buffer does not give.
        #[must_use]
        pub const fn send_budget(mut self, bytes: usize) -> Self {
            self.0.send_budget = bytes;
            self
        }

        /// What the first read of a burst asks the transport for; it grows with what comes. Default: 4 KiB.
        #[must_use]
        pub const fn read_buffer(mut self, bytes: usize) -> Self {
            self.0.read_buffer = bytes;
            self
        }

        /// Lets the small writes of tasks that were woken together leave in one system call. They never wait
        /// for time to pass. Default: true.
        #[must_use]
        pub const fn write_coalescing(mut self, coalesce: bool) -> Self {
            self.0.coalesce = coalesce;
            self
        }

        /// Ends the session when the transport takes nothing of what waits for it for this long. Pings,
        /// too, are given up after so long. Default: 10 s.
        #[must_use]
        pub const fn connection_write_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.0.write_timeout = timeout;
            self
        }

        /// How long closing may take. Default: 10 s.
        #[must_use]
        pub const fn close_timeout(mut self, timeout: std::time::Duration) -> Self {
            self.0.close_timeout = timeout;
            self
        }

        /// How long a stream that was ended and dropped here waits for the peer's end before it is reset.
        /// Default: 30 s.
        #[must_use]
        pub const fn linger(mut self, time: std::time::Duration) -> Self {
            self.0.linger = time;
            self
        }

        /// Streams that the peer may open in a second; above that they are refused. Default: no limit. A
        /// limit makes opening and resetting streams without end useless to a hostile peer.
        #[must_use]
        pub const fn max_stream_rate(mut self, streams: Option<u32>) -> Self {
            self.0.max_stream_rate = streams;
            self
        }

        /// Asks `manager` before memory is promised to the peer. Default: nobody is asked.
        #[must_use]
        pub fn memory_manager(
            mut self,
            manager: std::sync::Arc<dyn $crate::proto::MemoryManager>,
        ) -> Self {
            self.0.memory = Some(manager);
            self
        }

        /// Shows every frame to `tap`. Default: to nobody.
        #[must_use]
        pub fn tap(mut self, tap: std::sync::Arc<dyn $crate::proto::FrameTap>) -> Self {
            self.0.tap = Some(tap);
            self
        }

        /// Checks that the numbers go together. Every constructor of a session does.
        ///
        /// # Errors
        ///
        /// [`ConfigError`](crate::ConfigError), which names the numbers.
        pub fn validate(&self) -> Result<(), $crate::proto::ConfigError> {
            self.0.validate()
        }

        pub(crate) const fn settings(&self) -> &$crate::proto::settings::Settings {
            &self.0
        }
    };
}
pub(crate) use shared_setters;

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) dialect: Dialect,
    pub(crate) accept_backlog: usize,
    pub(crate) ping_backlog: usize,
    pub(crate) max_incoming: usize,
    pub(crate) max_outgoing: usize,
    pub(crate) initial_window: u32,
    pub(crate) max_window: u32,
    pub(crate) growth_factor: u32,
    pub(crate) receive_budget: Option<u64>,
    pub(crate) overcommit: bool,
    pub(crate) send_budget: usize,
    /// Payload bytes of a DATA frame.
    pub(crate) max_payload: u32,
    pub(crate) read_buffer: usize,
    pub(crate) coalesce: bool,
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) rtt_interval: Option<Duration>,
    pub(crate) write_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) open_timeout: Option<Duration>,
    pub(crate) linger: Duration,
    pub(crate) ack_policy: AckPolicy,
    pub(crate) max_stream_rate: Option<u32>,
    pub(crate) memory: Option<Arc<dyn MemoryManager>>,
    pub(crate) tap: Option<Arc<dyn FrameTap>>,
}

/// Longer than any session: thirty years.
pub(crate) const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

impl Settings {
    pub(crate) const fn new(dialect: Dialect) -> Self {
        let yamux = matches!(dialect, Dialect::Yamux);
        Self {
            dialect,
            accept_backlog: if yamux { 256 } else { 128 },
            ping_backlog: 1024,
            max_incoming: 1000,
            max_outgoing: 1000,
            initial_window: yamux::FIRST_WINDOW,
            max_window: if yamux { 16 << 20 } else { 256 << 10 },
            growth_factor: 1,
            receive_budget: None,
            overcommit: false,
            send_budget: 1 << 20,
            max_payload: if yamux { 65_536 - 12 } else { 65_536 },
            read_buffer: 4 << 10,
            coalesce: true,
            keep_alive: if yamux {
                Some(Duration::from_secs(30))
            } else {
                None
            },
            rtt_interval: if yamux {
                Some(Duration::from_secs(30))
            } else {
                None
            },
            write_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(10),
            open_timeout: None,
            linger: Duration::from_secs(30),
            ack_policy: AckPolicy::OnAccept,
            max_stream_rate: None,
            memory: None,
            tap: None,
        }
    }

    /// Bytes that the first windows of all allowed streams come to.
    pub(crate) const fn promised(&self) -> u64 {
        (self.max_incoming as u64)
            .saturating_add(self.max_outgoing as u64)
            .saturating_mul(self.initial_window as u64)
    }

    /// The receive budget: as set, or what the first windows need and 64 MiB for growth.
    pub(crate) const fn budget(&self) -> u64 {
        match self.receive_budget {
            Some(budget) => budget,
            None => self.promised().saturating_add(64 << 20),
        }
    }

    /// What windows may grow by, over all streams.
    pub(crate) const fn growth_pool(&self) -> u64 {
        let budget = self.budget();
        if self.overcommit {
            budget
        } else {
            budget.saturating_sub(self.promised())
        }
    }

    /// With no time limit so long that it lies beyond the end of time: `Duration::MAX` is never, too.
    pub(crate) fn bounded(mut self) -> Self {
        for limit in [
            &mut self.write_timeout,
            &mut self.close_timeout,
            &mut self.linger,
        ] {
            *limit = (*limit).min(NEVER);
        }
        for limit in [
            &mut self.keep_alive,
            &mut self.rtt_interval,
            &mut self.open_timeout,
        ] {
            *limit = limit.map(|limit| limit.min(NEVER));
        }
        self
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let range = |name, value: u64, holds: bool, rule| {
            if holds {
                Ok(())
            } else {
                Err(ConfigError::OutOfRange { name, value, rule })
            }
        };
        let durations = [
            ("keep_alive", self.keep_alive),
            ("rtt_interval", self.rtt_interval),
            ("connection_write_timeout", Some(self.write_timeout)),
            ("close_timeout", Some(self.close_timeout)),
            ("stream_open_timeout", self.open_timeout),
            ("linger", Some(self.linger)),
        ];
        range(
            "accept_backlog",
            self.accept_backlog as u64,
            self.accept_backlog > 0,
            "at least 1",
        )?;
        range(
            "ping_backlog",
            self.ping_backlog as u64,
            self.ping_backlog > 0,
            "at least 1",
        )?;
        for (name, duration) in durations {
            if duration.is_some_and(|duration| duration.is_zero()) {
                return Err(ConfigError::ZeroDuration { name });
            }
        }
        let (least, largest, rule) = match self.dialect {
            Dialect::Yamux => (yamux::FIRST_WINDOW, u32::MAX, "at least 262144"),
            Dialect::Muxado => (1, muxado::MAX_STREAM, "from 1 to 2147483647"),
        };
        range(
            "initial_stream_window",
            self.initial_window.into(),
            (least..=largest).contains(&self.initial_window),
            rule,
        )?;
        if self.max_window < self.initial_window {
            return Err(ConfigError::WindowsCross {
                max: self.max_window,
                initial: self.initial_window,
            });
        }
        // docs/wire Y77: what lies above some peers take for an attack.
        let (least, largest, rule) = match self.dialect {
            Dialect::Yamux => (1024 - 12, 1 << 20, "from 1024 to 1048588"),
            Dialect::Muxado => (1, muxado::MAX_LENGTH, "from 1 to 16777215"),
        };
        let header = match self.dialect {
            Dialect::Yamux => 12,
            Dialect::Muxado => 0,
        };
        range(
            "max_message_size",
            u64::from(self.max_payload) + header,
            (least..=largest).contains(&self.max_payload),
            rule,
        )?;
        range(
            "send_budget",
            self.send_budget as u64,
            self.send_budget >= 1024,
            "at least 1024",
        )?;
        let (budget, needed) = (
            self.budget(),
            if self.overcommit {
                self.initial_window.into()
            } else {
                self.promised()
            },
        );
        if budget < needed {
            return Err(ConfigError::BudgetTooSmall { budget, needed });
        }
        Ok(())
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("dialect", &self.dialect)
            .field("accept_backlog", &self.accept_backlog)
            .field("max_incoming_streams", &self.max_incoming)
            .field("max_outgoing_streams", &self.max_outgoing)
            .field("initial_window", &self.initial_window)
            .field("max_window", &self.max_window)
            .field("receive_budget", &self.budget())
            .field("overcommit", &self.overcommit)
            .field("send_budget", &self.send_budget)
            .field("max_payload", &self.max_payload)
            .field("keep_alive", &self.keep_alive)
            .field("write_timeout", &self.write_timeout)
            .field("close_timeout", &self.close_timeout)
            .finish_non_exhaustive()
    }
}
