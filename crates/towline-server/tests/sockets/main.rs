//! Servers of sockets: strategies, queues, limits, ends.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

mod broadcasting;
mod clients;
mod closing;
mod life;
mod limits;
mod numbers;
mod packets;
mod patience;
mod proxied;
mod read_of;
mod settings;
mod stalls;
mod strategies;
mod support;
mod timing;
mod tls;
mod wrapping;
