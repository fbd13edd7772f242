//! One file a multiplexer.

pub(super) mod h2;
pub(super) mod muxado;
pub(super) mod quinn;
pub(super) mod tcp;
pub(super) mod tokio_yamux;
pub(super) mod towline;
pub(super) mod yamux;

/// Which end of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

/// More streams than any load opens.
pub(super) const MOST: usize = 1_000_000;
