//! Packets as they arrive, beside the ordered stream (docs/wire W52).

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Engine, EngineEvent};

/// Packets for who wants them at once (docs/wire W52).
#[derive(Debug)]
pub(super) struct Asap {
    registration: u64,
    limit: usize,
    packets: VecDeque<(u64, Bytes)>,
    dropped: u64,
}

impl Engine {
    /// Data packets as soon as they arrive, in whatever order, beside the ordered delivery: at most
    /// `limit` wait for [`recv_asap`](Self::recv_asap), the oldest is dropped for a new one
    /// (docs/wire W52). What was registered before ends; the number of the registration is returned.
    pub fn register_asap(&mut self, limit: usize) -> u64 {
        self.asap_registrations += 1;
        self.asap = Some(Asap {
            registration: self.asap_registrations,
            limit: limit.max(1),
            packets: VecDeque::new(),
            dropped: 0,
        });
        // Who waits for the one before learns of its end.
        self.tell(EngineEvent::Readable);
        self.asap_registrations
    }

    /// Ends a registration, unless another one has taken its place.
    pub fn unregister_asap(&mut self, registration: u64) {
        if self.asap_registration() == Some(registration) {
            self.asap = None;
        }
    }

    /// The number of the registration, if there is one.
    pub fn asap_registration(&self) -> Option<u64> {
        self.asap.as_ref().map(|asap| asap.registration)
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
