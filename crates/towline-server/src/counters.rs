//! What a server has seen so far.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::admission::Refusal;

/// A moment's view of a server's counters. Each is exact; together they may be a moment apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Connections taken in, handshake or not.
    pub accepted: u64,
    /// Connections that live now, unfinished handshakes included.
    pub active: u64,
    /// Connections closed at once because the limit was reached.
    pub refused_at_limit: u64,
    /// Connections closed at once because their address had its share (`Builder::max_per_address`).
    pub refused_at_address_limit: u64,
    /// Connections closed at once because too many came (`Builder::accept_rate`).
    pub refused_at_rate: u64,
    /// Connections closed at once because too many came from their address
    /// (`Builder::accept_rate_per_address`).
    pub refused_at_address_rate: u64,
    /// Connections closed at once because of their network (`Builder::allow`, `Builder::deny`).
    pub refused_networks: u64,
    /// Connections of proxies whose header was missing, malformed or not believed.
    pub refused_proxy_headers: u64,
    /// Connections that ended in their handshake, those refused there included.
    pub handshake_failures: u64,
    /// Connections that were refused after their handshake (`Builder::authorise`).
    pub not_authorised: u64,
    /// Handlers that panicked.
    pub handler_panics: u64,
    /// Failed accepts, except those of connections that were gone already.
    pub accept_errors: u64,
}

impl Counters {
    /// Connections that were not served, each cause by a word for the labels of metrics.
    pub fn refused(&self) -> [(&'static str, u64); 8] {
        [
            ("limit", self.refused_at_limit),
            ("address_limit", self.refused_at_address_limit),
            ("rate", self.refused_at_rate),
            ("address_rate", self.refused_at_address_rate),
            ("network", self.refused_networks),
            ("proxy_header", self.refused_proxy_headers),
            ("handshake", self.handshake_failures),
            ("authorisation", self.not_authorised),
        ]
    }
}

#[derive(Debug, Default)]
pub(crate) struct Shared {
    accepted: AtomicU64,
    active: AtomicU64,
    refused_at_limit: AtomicU64,
    refused_at_address_limit: AtomicU64,
    refused_at_rate: AtomicU64,
    refused_at_address_rate: AtomicU64,
    refused_networks: AtomicU64,
    refused_proxy_headers: AtomicU64,
    handshake_failures: AtomicU64,
    not_authorised: AtomicU64,
    handler_panics: AtomicU64,
    accept_errors: AtomicU64,
}

impl Shared {
    pub(crate) fn view(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            accepted: read(&self.accepted),
            active: read(&self.active),
            refused_at_limit: read(&self.refused_at_limit),
            refused_at_address_limit: read(&self.refused_at_address_limit),
            refused_at_rate: read(&self.refused_at_rate),
            refused_at_address_rate: read(&self.refused_at_address_rate),
            refused_networks: read(&self.refused_networks),
            refused_proxy_headers: read(&self.refused_proxy_headers),
            handshake_failures: read(&self.handshake_failures),
            not_authorised: read(&self.not_authorised),
            handler_panics: read(&self.handler_panics),
            accept_errors: read(&self.accept_errors),
        }
    }

    /// Counts a connection in, and out again when the guard is dropped, however its task ends.
    pub(crate) fn enter(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.active.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn leave(&self) {
        self.active.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, refusal: Refusal) {
        let counter = match refusal {
            Refusal::Limit => &self.refused_at_limit,
            Refusal::AddressLimit => &self.refused_at_address_limit,
            Refusal::Rate => &self.refused_at_rate,
            Refusal::AddressRate => &self.refused_at_address_rate,
            Refusal::Network => &self.refused_networks,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused_proxy_header(&self) {
        self.refused_proxy_headers.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn handshake_failed(&self) {
        self.handshake_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn not_authorised(&self) {
        self.not_authorised.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn handler_panicked(&self) {
        self.handler_panics.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn accept_failed(&self) {
        self.accept_errors.fetch_add(1, Ordering::Relaxed);
    }
}
