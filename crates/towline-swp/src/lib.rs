//! Reliable, ordered, flow-controlled sessions between two inboxes of a message bus, or over any
//! network that carries packets, in the wire format of go-sliding-window.
//!
//! A bus such as NATS drops what a slow subscriber does not take in time, and its publisher never
//! learns. A session numbers its packets, sends again what is lost, and never has more on the way
//! than the receiver has room for. It does *not* encrypt or authenticate: run TLS over it where the
//! bus is shared (docs/wire W9).
//!
//! The types to know are [`Session`], one end, and [`Listener`], one inbox for many peers; both run
//! over a [`Network`](network::Network). [`proto`] is the protocol without I/O: [`proto::Engine`] is
//! one end of a session. It talks to the Go original, and in a shorter, faster format to another
//! towline (docs/wire W47).
//!
//! # Features
//!
//! * `tokio` (default): sessions and networks. Without it only [`proto`] is built.
//! * `nats`: a NATS broker as a network, `network::nats::NatsNetwork`.
//! * `broker`: starts a nats-server of one's own for tests and demonstrations, `network::broker::Broker`.
//! * `sim`: a seeded network within the process, `network::sim::SimNet`.

#[cfg(feature = "tokio")]
mod driver;
#[cfg(feature = "tokio")]
mod error;
#[cfg(feature = "tokio")]
mod listener;
#[cfg(feature = "tokio")]
pub mod network;
pub mod proto;
#[cfg(feature = "tokio")]
mod session;

#[cfg(feature = "tokio")]
pub use self::{
    error::{ConnectError, PushError, ReadError, RecvFileError, SendFileError, WriteError},
    listener::{Listener, ListenerStats},
    session::{AsapReceiver, ByteStream, FileInfo, Messages, Session},
};
