//! Packets as they arrive, beside the ordered stream (docs/wire W52).

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Engine, EngineEvent};

/// Packets for who wants them at once (docs/wire W52).
#[derive(Debug)]
pub(super) struct Asap {
    limit: usize,
    packets: VecDeque<(u64, Bytes)>,
    dropped: u64,
}

impl Engine {
    /// Data packets as soon as they arrive, in whatever order, beside the ordered delivery: at most
    /// `limit` wait for [`recv_asap`](Self::recv_asap), the oldest is dropped for a new one
    /// (docs/wire W52).
    pub fn register_asap(&mut self, limit: usize) {
        self.asap = Some(Asap {
            limit: limit.max(1),
            packets: VecDeque::new(),
            dropped: 0,
        });
    }

    /// The oldest packet that waits, with its number.
    pub fn recv_asap(&mut self) -> Option<(u64, Bytes)> {
        self.asap.as_mut()?.packets.pop_front()
    }

    /// How many packets were dropped because nobody took them in time.
    pub fn asap_dropped(&self) -> u64 {
        self.asap.as_ref().map_or(0, |asap| asap.dropped)
    }

    pub(super) fn offer_asap(&mut self, seq: u64, data: Bytes) {
        if let Some(asap) = &mut self.asap {
            if asap.packets.len() >= asap.limit {
                asap.packets.pop_front();
                asap.dropped += 1;
            }
            asap.packets.push_back((seq, data));
            self.tell(EngineEvent::Readable);
        }
    }
}
