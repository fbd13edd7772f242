//! What the sending half counts.

use std::time::Duration;

use super::{RttEstimator, Sender};

/// What the sending half counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) flying_packets: usize,
    pub(crate) unacknowledged: usize,
    pub(crate) edge_messages: u64,
    pub(crate) edge_bytes: u64,
    pub(crate) acked_bytes: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) retransmissions: u64,
    pub(crate) most_sent: u32,
    pub(crate) spurious: u64,
    pub(crate) overdue: u64,
    pub(crate) min_rtt: Option<Duration>,
    pub(crate) delivery_rate: f64,
    pub(crate) loss: f64,
}

impl Sender {
    pub(crate) fn figures(&self) -> Figures {
        Figures {
            flying_packets: self.flying_packets,
            unacknowledged: (self.next - self.base) as usize,
            edge_messages: self.edge_messages,
            edge_bytes: self.edge_bytes,
            acked_bytes: self.acked_bytes,
            sent_bytes: self.sent_bytes(),
            retransmissions: self.retransmissions,
            most_sent: self.most_sent,
            spurious: self.spurious,
            overdue: self.overdue,
            min_rtt: self.rate.min_rtt(),
            delivery_rate: self.rate.delivery_rate(),
            loss: self.rate.loss(),
        }
    }

    /// Data bytes up to the last packet that was ever sent.
    fn sent_bytes(&self) -> u64 {
        match self.next.checked_sub(self.base) {
            None | Some(0) => self.acked_bytes,
            Some(ahead) => self
                .slots
                .get((ahead - 1) as usize)
                .map_or(self.acked_bytes, |slot| slot.cumulative),
        }
    }

    pub(crate) fn rtt(&self) -> &RttEstimator {
        &self.rtt
    }
}
