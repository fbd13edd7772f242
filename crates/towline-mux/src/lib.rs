//! Many streams on one connection, in the wire formats of yamux and muxado.
//!
//! Both formats are dialects of one engine, and sessions of both are one type: whoever uses a
//! [`Session`] need not know which it is. Either end can be the Go original. What has streams already, as QUIC has,
//! becomes a session of the same type ([`native`]).
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
//! # What is sure
//!
//! * **Bounds.** A session holds at most `receive_budget` bytes that were not read, 564 MiB unless
//!   configured, of which each stream may have 256 KiB, and in yamux up to 16 MiB once it is seen to need
//!   them; `send_budget` bytes, 1 MiB, and a quarter more wait to be written, shared among all streams; 1,000 streams of
//!   either side may be open, and 256 (muxado: 128) wait to be accepted. Everything else that a peer can
//!   make grow has a bound as well, and a peer that goes beyond ends its session and nothing more.
//! * **No stream waits for another.** A reader that is slow fills its own window. Short messages overtake
//!   long transfers.
//! * **Ends are what they seem.** A read ends with `Ok(0)` or `Ok(None)` if the peer ended its data, and
//!   with an error if anything else ended it.
//! * **Futures may be dropped.** Every `async fn` says what that does under *Cancel safety*; none loses
//!   bytes, places in a queue, or credit, except `write_chunk`, which says so.
//! * **Errors** are one type for each kind of call: [`OpenError`], [`ReadError`], [`WriteError`],
//!   [`PingError`], and [`SessionEnd`] for all of a session. Each becomes an `io::Error` of the kind that
//!   `std` has for it, and keeps its own type inside.
//! * **Time** is tokio's. Unless configured, a session ends when its peer takes nothing for 10 s, or, in
//!   yamux, does not answer a ping within 10 s after 30 s of silence; closing takes at most 10 s.
//!
//! # Features
//!
//! * `tokio` (default): sessions and streams. Without it only [`proto`] is built, which does no I/O.
//! * `futures-io`: streams are `futures_io::AsyncRead` and `AsyncWrite`, too.

pub mod proto;

#[cfg(feature = "tokio")]
mod driver;
#[cfg(feature = "tokio")]
mod heartbeat;
#[cfg(feature = "tokio")]
pub mod muxado;
#[cfg(feature = "tokio")]
pub mod native;
#[cfg(feature = "tokio")]
mod session;
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
    driver::Transport,
    session::{Incoming, Listener, Session, Termination},
    stream::{Chunks, OwnedReadHalf, OwnedWriteHalf, ReadHalf, Stream, WriteHalf},
};
