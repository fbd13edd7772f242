//! The server's clock: rates, time limits, and a snapshot for whoever wants one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::clock::now;
use crate::metrics::{Rates, ServerMetrics};
use crate::registry::Registry;
use crate::socket::{CloseReason, Inner, Socket};
use crate::strategy::Strategy;

/// The shortest time between two looks at all connections.
const SHORTEST: Duration = Duration::from_millis(10);

/// Called with each snapshot.
pub(crate) type MetricsHook = Arc<dyn Fn(ServerMetrics) + Send + Sync>;

/// How long a connection may do nothing, or too little.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TimeLimits {
    pub(crate) first_byte: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    pub(crate) packet: Option<Duration>,
    pub(crate) write: Option<Duration>,
}

impl TimeLimits {
    /// How often to look: a limit is exceeded by a quarter at most.
    fn step(&self, interval: Duration) -> Duration {
        [self.first_byte, self.idle, self.packet, self.write]
            .into_iter()
            .flatten()
            .map(|limit| limit / 4)
            .fold(interval, Duration::min)
            .max(SHORTEST)
    }
}

pub(crate) struct Clock {
    pub(crate) registry: Arc<Registry>,
    pub(crate) limits: TimeLimits,
    pub(crate) interval: Duration,
    pub(crate) hook: Option<MetricsHook>,
    pub(crate) strategy: Arc<dyn Strategy>,
    pub(crate) publish: watch::Sender<ServerMetrics>,
}

impl Clock {
    /// Runs until it is dropped. Nothing of the user's is called under a lock.
    pub(crate) async fn run(self) {
        let start = now();
        let step = self.limits.step(self.interval);
        let mut looks = interval_at(start + step, step);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut interval_ends = start + self.interval;
        let mut rates = Rates::default();
        let mut told = false;
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = self.registry.stop().cancelled(), if !told => {
                    told = true;
                    self.registry.begin_stop();
                    continue;
                }
            }
            let moment = now();
            let ms = since(start, moment);
            let ends = moment >= interval_ends;
            self.registry
                .for_each(|socket| self.look(socket, ms, moment, ends));
            self.registry.show_panics();
            if ends {
                interval_ends = moment + self.interval;
                rates.end_interval(self.registry.totals());
                self.tell(ServerMetrics::view(&self.registry, rates.last()));
            }
        }
    }

    fn tell(&self, mut metrics: ServerMetrics) {
        let told = catch_unwind(AssertUnwindSafe(|| {
            self.strategy.on_metrics(&mut metrics);
            self.publish.send_replace(metrics.clone());
            if let Some(hook) = &self.hook {
                hook(metrics);
            }
        }));
        if let Err(payload) = told {
            self.registry.panicked("a metrics hook", payload);
        }
    }

    /// Ends the interval of a socket, and the socket if it has exceeded a limit.
    fn look(&self, socket: &Socket, ms: u64, moment: Instant, interval_ends: bool) {
        let inner = &socket.0;
        if let Some(reason) = self.exceeded(inner, ms, moment, interval_ends) {
            socket.close(reason);
        }
    }

    fn exceeded(
        &self,
        inner: &Arc<Inner>,
        ms: u64,
        moment: Instant,
        interval_ends: bool,
    ) -> Option<CloseReason> {
        let mut watch = inner.watch.lock().unwrap_or_else(PoisonError::into_inner);
        if interval_ends {
            inner.traffic.rate(&mut watch);
        }
        if inner.close_reason().is_some() {
            return None;
        }
        let seen_at = *watch.seen_at.get_or_insert(ms);
        let moved = inner.traffic.read() + inner.traffic.written();
        if moved != watch.moved || watch.moved_at == 0 {
            (watch.moved, watch.moved_at) = (moved, ms);
        }
        let packet = inner.packet_under_way();
        if packet != watch.packet {
            (watch.packet, watch.packet_since) = (packet, ms);
        }
        let over = |since: u64, limit: Option<Duration>| {
            limit.is_some_and(|limit| u128::from(ms - since) >= limit.as_millis())
        };
        if inner.traffic.read() == 0 && over(seen_at, self.limits.first_byte) {
            return Some(CloseReason::FirstByteTimeout);
        }
        if packet != 0 && over(watch.packet_since, self.limits.packet) {
            return Some(CloseReason::PacketTimeout);
        }
        let stuck = || inner.has_output().then(|| inner.stuck_since()).flatten();
        if let Some(limit) = self.limits.write
            && stuck().is_some_and(|since| moment.duration_since(since) >= limit)
        {
            return Some(CloseReason::WriteTimeout);
        }
        over(watch.moved_at, self.limits.idle).then_some(CloseReason::IdleTimeout)
    }
}

/// Milliseconds, from 1 on.
fn since(start: Instant, moment: Instant) -> u64 {
    moment.duration_since(start).as_millis() as u64 + 1
}
