//! The server's clock: rates, time limits, and a snapshot for whoever wants one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::clock::now;
use crate::metrics::{Rates, ServerMetrics};
use crate::registry::Registry;
use crate::socket::{CloseReason, Inner, Socket};
use crate::strategy::Strategy;
use crate::time_limits::TimeLimits;

/// The shortest time between two looks at all connections.
const SHORTEST: Duration = Duration::from_millis(10);

/// Called with each snapshot.
pub(crate) type MetricsHook = Arc<dyn Fn(ServerMetrics) + Send + Sync>;

pub(crate) struct Clock {
    pub(crate) registry: Arc<Registry>,
    pub(crate) interval: Duration,
    pub(crate) hook: Option<MetricsHook>,
    pub(crate) strategy: Arc<dyn Strategy>,
    pub(crate) publish: watch::Sender<ServerMetrics>,
}

impl Clock {
    /// Runs until it is dropped. Nothing of the user's is called under a lock.
    pub(crate) async fn run(self) {
        let start = now();
        let mut next = start + self.step();
        let mut interval_ends = start + self.interval;
        let mut rates = Rates::default();
        let mut told = false;
        let mut known = self.registry.time_limits();
        loop {
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.registry.limits_changed() => {
                    next = next.min(now() + self.step());
                    continue;
                }
                () = self.registry.stop().cancelled(), if !told => {
                    told = true;
                    self.registry.begin_stop();
                    continue;
                }
            }
            let moment = now();
            let ms = since(start, moment);
            let ends = moment >= interval_ends;
            let limits = self.registry.time_limits();
            // Other limits count from now on, as for a socket that is given its own.
            let others = limits != std::mem::replace(&mut known, limits);
            let mut shortest = None;
            self.registry.forget_shortest();
            self.registry.for_each(|socket| {
                if others && socket.0.own_limits().is_none() {
                    socket.0.forget_silence();
                }
                look(socket, &limits, ms, moment, ends);
                if let Some(own) = socket.0.own_limits().and_then(|own| own.shortest()) {
                    shortest = Some(shortest.map_or(own, |least: Duration| least.min(own)));
                }
            });
            self.registry.found_shortest(shortest);
            next = moment + self.step();
            self.registry.show_complaints();
            if ends {
                interval_ends = moment + self.interval;
                rates.end_interval(self.registry.totals());
                self.tell(ServerMetrics::view(&self.registry, rates.last()));
            }
        }
    }

    /// How long until the next look: a limit is exceeded by a quarter at most.
    fn step(&self) -> Duration {
        let shortest = self.registry.shortest_limit();
        shortest
            .map_or(self.interval, |limit| (limit / 4).min(self.interval))
            .max(SHORTEST)
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
}

/// Ends the interval of a socket, and the socket if it has exceeded a limit.
fn look(socket: &Socket, limits: &TimeLimits, ms: u64, moment: Instant, interval_ends: bool) {
    if let Some(reason) = exceeded(&socket.0, limits, ms, moment, interval_ends) {
        socket.close(reason);
    }
}

fn exceeded(
    inner: &Arc<Inner>,
    limits: &TimeLimits,
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
    let own = watch.limits.as_deref().copied();
    let limits = own.as_ref().unwrap_or(limits);
    if watch.moved_at == 0 {
        (watch.moved_at, watch.since) = (ms, ms);
    }
    let read = inner.traffic.read();
    let moved = read.wrapping_add(inner.traffic.written()) as u32;
    if moved != watch.moved {
        (watch.moved, watch.moved_at) = (moved, ms);
    }
    let packet = inner.packet_under_way();
    if packet != watch.packet {
        (watch.packet, watch.since) = (packet, ms);
    }
    let over = |since: u64, limit: Option<Duration>| {
        limit.is_some_and(|limit| u128::from(ms - since) >= limit.as_millis())
    };
    // Without a byte there is no packet.
    if read == 0 && over(watch.since, limits.first_byte) {
        return Some(CloseReason::FirstByteTimeout);
    }
    if packet != 0 && over(watch.since, limits.packet) {
        return Some(CloseReason::PacketTimeout);
    }
    let stuck = || inner.has_output().then(|| inner.stuck_since()).flatten();
    if let Some(limit) = limits.write
        && stuck().is_some_and(|since| moment.duration_since(since) >= limit)
    {
        return Some(CloseReason::WriteTimeout);
    }
    over(watch.moved_at, limits.idle).then_some(CloseReason::IdleTimeout)
}

/// Milliseconds, from 1 on.
fn since(start: Instant, moment: Instant) -> u64 {
    moment.duration_since(start).as_millis() as u64 + 1
}
