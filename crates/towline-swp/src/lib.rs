//! Reliable, ordered, flow-controlled sessions between two inboxes of a message bus, or over any
//! network that carries packets, in the wire format of go-sliding-window.
//!
//! A bus such as NATS drops what a slow subscriber does not take in time, and its publisher never
//! learns. A session numbers its packets, sends again what is lost, and never has more on the way
//! than the receiver has room for. It does *not* encrypt or authenticate: run TLS over it where the
//! bus is shared (docs/wire W9).
//!
//! [`proto`] is the protocol without I/O: [`proto::Engine`] is one end of a session. It talks to the
//! Go original, and in a shorter, faster format to another towline (docs/wire W47).

pub mod proto;
