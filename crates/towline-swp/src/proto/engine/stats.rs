//! Figures of a session.

use std::time::Duration;

use super::Engine;

/// Packets that had no effect, by why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Dropped {
    /// From another inbox, for another session, or from another session of the peer (docs/wire W20).
    pub foreign: u64,
    /// Outside the window, or with a number that no data has (docs/wire W23).
    pub outside_window: u64,
    /// Known already.
    pub duplicate: u64,
    /// Acknowledging what was never sent (docs/wire W30).
    pub impossible_ack: u64,
    /// Events that mean nothing on the wire (docs/wire W21).
    pub unknown_event: u64,
    /// After the session was over.
    pub late: u64,
}

/// Figures of a session, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Packets sent, of every kind.
    pub packets_sent: u64,
    /// Packets that passed the filters.
    pub packets_received: u64,
    /// Data packets that arrived and were new.
    pub data_received: u64,
    /// Data packets that the application has taken.
    pub consumed: u64,
    /// Data packets that the application has handed over.
    pub accepted: u64,
    /// Data packets sent again.
    pub retransmissions: u64,
    /// How often the data packet that was sent most often was sent.
    pub most_sent: u32,
    /// Data packets held to be lost that were not.
    pub spurious: u64,
    /// How often acknowledgements were overdue.
    pub overdue: u64,
    /// Data packets on their way, and not held to be lost.
    pub in_flight: usize,
    /// Data packets that were sent and are not acknowledged.
    pub unacknowledged: usize,
    /// Data packets that were accepted and are not acknowledged.
    pub buffered_to_send: usize,
    /// Data bytes acknowledged.
    pub acknowledged_bytes: u64,
    /// Data bytes sent at least once.
    pub sent_bytes: u64,
    /// The first packet beyond the peer's window.
    pub peer_edge_messages: u64,
    /// The data bytes up to which the peer's window reaches.
    pub peer_edge_bytes: u64,
    /// Packets that arrived and were not taken, in order or not.
    pub buffered_received: usize,
    /// Their data bytes.
    pub buffered_received_bytes: u64,
    /// The smoothed round trip.
    pub rtt: Option<Duration>,
    /// The least round trip of the last seconds.
    pub min_rtt: Option<Duration>,
    /// The wait for an acknowledgement.
    pub rto: Duration,
    /// The rate at which packets are delivered, in bytes a second.
    pub delivery_rate: f64,
    /// The share of packets that is lost.
    pub loss: f64,
    /// What had no effect.
    pub dropped: Dropped,
}

impl Engine {
    /// Figures of this moment.
    pub fn stats(&self) -> Stats {
        let figures = self.sender.figures();
        Stats {
            consumed: self.receiver.consumed(),
            accepted: self.sender.accepted(),
            retransmissions: figures.retransmissions,
            most_sent: figures.most_sent,
            spurious: figures.spurious,
            overdue: figures.overdue,
            in_flight: figures.flying_packets,
            unacknowledged: figures.unacknowledged,
            buffered_to_send: self.sender.buffered().0,
            acknowledged_bytes: figures.acked_bytes,
            sent_bytes: figures.sent_bytes,
            peer_edge_messages: figures.edge_messages,
            peer_edge_bytes: figures.edge_bytes,
            buffered_received: self.receiver.buffered(),
            buffered_received_bytes: self.receiver.buffered_bytes(),
            rtt: self.sender.rtt().smoothed(),
            min_rtt: figures.min_rtt,
            rto: self.sender.rto(),
            delivery_rate: figures.delivery_rate,
            loss: figures.loss,
            ..self.stats
        }
    }
}
