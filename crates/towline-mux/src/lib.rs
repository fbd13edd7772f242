//! Many streams on one connection, in the wire formats of yamux and muxado.
//!
//! Both formats are dialects of one engine, and sessions of both are one type: whoever uses a
//! [`Session`] need not know which it is. Either end can be the Go original.
//!
//! ```text
//!  Session::open ──▶ Stream ─┐                          ┌─▶ Stream ──▶ Session::accept
//!  Session::open ──▶ Stream ─┼─ frames ─▶ transport ────┼─▶ Stream
//!  Session::accept ◀─ Stream ┘           (any bytes)    └── Stream ◀── Session::open
//! ```
//!
//! The types to know are [`Session`] and [`Stream`]; [`yamux::client`], [`yamux::server`],
//! [`muxado::client`] and [`muxado::server`] make the first, over anything that is
//! `AsyncRead + AsyncWrite`. What is *not* here: encryption, and finding out which format a peer speaks.
//!
#![cfg_attr(feature = "tokio", doc = "```")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use towline_mux::yamux;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (here, there) = tokio::io::duplex(64 << 10);
//! let client = yamux::client(here, yamux::Config::default())?;
//! let server = yamux::server(there, yamux::Config::default())?;
//!
//! let mut stream = client.open().await?;
//! stream.write_all(b"hello").await?;
//! stream.shutdown().await?;
//!
//! let mut stream = server.accept().await?.ok_or("the client closed the session")?;
//! let mut text = String::new();
//! stream.read_to_string(&mut text).await?;
//! assert_eq!(text, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! * `tokio` (default): sessions and streams. Without it only [`proto`] is built, which does no I/O.
//! * `futures-io`: streams are `futures_io::AsyncRead` and `AsyncWrite`, too.

pub mod proto;

#[cfg(feature = "tokio")]
mod chunks;
#[cfg(feature = "tokio")]
mod deadline;
#[cfg(feature = "tokio")]
mod driver;
#[cfg(feature = "tokio")]
mod heartbeat;
#[cfg(feature = "tokio")]
pub mod muxado;
#[cfg(feature = "tokio")]
mod session;
#[cfg(feature = "tokio")]
mod split;
#[cfg(feature = "tokio")]
mod stream;
#[cfg(feature = "tokio")]
mod typed;
#[cfg(feature = "tokio")]
pub mod yamux;

pub use proto::{
    AckPolicy, CloseOutcome, ConfigError, Dialect, FrameInfo, FrameKind, FrameTap, MemoryManager,
    OpenError, PingError, ReadError, RemoteGoAway, Role, SessionEnd, Stats, StreamEnd, Violation,
    WriteError,
};

#[cfg(feature = "tokio")]
pub use self::{
    chunks::Chunks,
    driver::Transport,
    session::{Incoming, Listener, Session, Termination},
    split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf},
    stream::Stream,
};
