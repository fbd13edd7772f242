//! What a server does, in numbers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::counters::Counters;
use crate::registry::Registry;
use crate::socket::{CloseReason, Traffic, Watch};

/// A moment's view of a server's sockets, by value.
///
/// The first eight are tinytcp's, live and exact: bytes of sockets that are gone are in the totals, and
/// connections that have ended are not among the connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerMetrics {
    /// Bytes read since the start.
    pub total_read: u64,
    /// Bytes written since the start.
    pub total_written: u64,
    /// Bytes read in the last full interval, by default a second.
    pub reads_per_second: u64,
    /// Bytes written in the last full interval.
    pub writes_per_second: u64,
    /// Connections that live now.
    pub connections: u64,
    /// The most that ever lived at once, however short.
    pub max_connections: u64,
    /// Tasks that serve connections now, under the original's name.
    pub goroutines: u64,
    /// The most there ever were at once.
    pub max_goroutines: u64,
    /// Connections that have ended, by reason.
    pub closed: Closed,
    /// Packets that were handled.
    pub packets: u64,
    /// Packets larger than allowed.
    pub packets_too_big: u64,
    /// Connections that ended in the middle of a packet.
    pub unfinished: u64,
    /// Reads that brought something, of strategies that read.
    pub read_events: u64,
    /// How often a connection with much to read let others go first.
    pub budget_exhausted: u64,
    /// Read buffers in use: as many as handlers run.
    pub buffers_in_use: u64,
    /// What the accept loops have seen.
    pub accepts: Counters,
}

/// Ends of connections, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closed([u64; CloseReason::ALL.len()]);

impl Closed {
    /// How many connections ended so.
    pub fn by(&self, reason: CloseReason) -> u64 {
        self.0[reason as usize - 1]
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Each reason with its number.
    pub fn iter(&self) -> impl Iterator<Item = (CloseReason, u64)> + '_ {
        CloseReason::ALL.into_iter().zip(self.0)
    }
}

/// Bytes per interval of a whole server.
#[derive(Default)]
pub(crate) struct Rates {
    traffic: Traffic,
    watch: Watch,
}

impl Rates {
    /// Ends an interval in which the totals have become these.
    pub(crate) fn end_interval(&mut self, (read, written): (u64, u64)) {
        let more = |now: u64, before: u64| now.saturating_sub(before) as usize;
        self.traffic.add_read(more(read, self.traffic.read()));
        self.traffic
            .add_written(more(written, self.traffic.written()));
        self.traffic.rate(&mut self.watch);
    }

    pub(crate) fn last(&self) -> (u64, u64) {
        (self.traffic.read_rate(), self.traffic.written_rate())
    }
}

impl ServerMetrics {
    pub(crate) fn view(registry: &Arc<Registry>, rates: (u64, u64)) -> Self {
        // What has left is counted a moment later, under the lock of its socket.
        registry.for_each(|socket| socket.0.settle());
        let (total_read, total_written) = registry.totals();
        let (connections, max_connections) = registry.connections();
        let (goroutines, max_goroutines) = registry.tasks();
        let reading = &registry.reading;
        Self {
            total_read,
            total_written,
            reads_per_second: rates.0,
            writes_per_second: rates.1,
            connections,
            max_connections,
            goroutines,
            max_goroutines,
            closed: Closed(CloseReason::ALL.map(|reason| registry.closed(reason))),
            packets: reading.packets.load(Ordering::Relaxed),
            packets_too_big: reading.oversized.load(Ordering::Relaxed),
            unfinished: reading.unfinished.load(Ordering::Relaxed),
            read_events: reading.reads.load(Ordering::Relaxed),
            budget_exhausted: reading.yields.load(Ordering::Relaxed),
            buffers_in_use: reading.buffers.load(Ordering::Relaxed),
            accepts: registry.counters.view(),
        }
    }

    /// Gives the numbers to the recorder of the `metrics` facade, under names that begin with
    /// `towline_server_`; call it from [`Builder::on_metrics`](crate::Builder::on_metrics).
    #[cfg(feature = "metrics")]
    pub fn record(&self) {
        use metrics::{counter, gauge};

        counter!("towline_server_read_bytes_total").absolute(self.total_read);
        counter!("towline_server_written_bytes_total").absolute(self.total_written);
        gauge!("towline_server_read_bytes_per_interval").set(self.reads_per_second as f64);
        gauge!("towline_server_written_bytes_per_interval").set(self.writes_per_second as f64);
        gauge!("towline_server_connections").set(self.connections as f64);
        gauge!("towline_server_connections_peak").set(self.max_connections as f64);
        gauge!("towline_server_tasks").set(self.goroutines as f64);
        gauge!("towline_server_buffers_in_use").set(self.buffers_in_use as f64);
        for (reason, count) in self.closed.iter() {
            counter!("towline_server_closed_total", "reason" => reason.as_str()).absolute(count);
        }
        counter!("towline_server_packets_total").absolute(self.packets);
        counter!("towline_server_packets_too_big_total").absolute(self.packets_too_big);
        counter!("towline_server_packets_unfinished_total").absolute(self.unfinished);
        counter!("towline_server_read_events_total").absolute(self.read_events);
        counter!("towline_server_budget_exhausted_total").absolute(self.budget_exhausted);
        let accepts = &self.accepts;
        counter!("towline_server_accepted_total").absolute(accepts.accepted);
        counter!("towline_server_accept_errors_total").absolute(accepts.accept_errors);
        counter!("towline_server_handler_panics_total").absolute(accepts.handler_panics);
        for (cause, count) in accepts.refused() {
            counter!("towline_server_refused_total", "cause" => cause).absolute(count);
        }
    }
}
