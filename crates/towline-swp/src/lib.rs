//! Sessions over a message bus.

pub mod proto;
