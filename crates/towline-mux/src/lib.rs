//! Many streams on one connection.
pub mod proto;
