//! Calls and streams.
pub mod proto;
