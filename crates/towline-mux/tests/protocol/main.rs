//! Engines without a transport: what they say, what they do with what they are told.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and only differences to their first instant matter"
)]

mod any_input;
mod any_order;
mod muxado_flow;
mod muxado_frames;
mod muxado_sessions;
mod muxado_streams;
mod support;
mod vectors_muxado;
mod vectors_yamux;
mod yamux_closing;
mod yamux_flow;
mod yamux_frames;
mod yamux_opening;
mod yamux_sessions;
