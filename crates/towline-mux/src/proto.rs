//! The session as a state machine: no socket, no task, no clock.
//!
//! The two types to know are [`Engine`], one end of a session, and [`Transmit`], what it has to
//! write. Whoever drives it does this, in a loop:
//!
//! ```
//! use std::time::Instant;
//! use bytes::BytesMut;
//! use towline_mux::proto::{Accepting, Engine, Opening, Reading, Role, Transmit, yamux};
//!
//! # #[expect(clippy::disallowed_methods, reason = "an example has to start somewhere")]
//! let now = Instant::now();
//! let config = yamux::Config::default();
//! let mut client = Engine::yamux(Role::Client, &config, [1; 32], now)?;
//! let mut server = Engine::yamux(Role::Server, &config, [2; 32], now)?;
//!
//! // 1. The application does something.
//! let Opening::Stream(stream) = client.open(now)? else { unreachable!("none is open") };
//! client.write(stream, "hello".into())?;
//! // 2. What is to be written goes to the transport ...
//! let mut out = Transmit::new();
//! client.poll_transmit(now, &mut out, usize::MAX);
//! // 3. ... and what the transport brings goes in at the other end.
//! let mut input = BytesMut::from(&out.take()[..]);
//! server.handle_input(now, &mut input)?;
//! // 4. Events tell whom to wake; 5. the deadline, when to call `handle_timeout`.
//! while let Some(event) = server.poll_event() { println!("{event:?}") }
//! assert!(server.deadline() > Some(now));
//! // 6. And the application goes on.
//! let Accepting::Stream(stream) = server.accept(now) else { unreachable!("one waits") };
//! assert_eq!(server.read(stream, 100)?, Reading::Chunk("hello".into()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! After every call that takes `now` or a stream, drain [`Engine::poll_transmit`] and
//! [`Engine::poll_event`], and look at [`Engine::deadline`] again.
//!
//! ```text
//!                 yamux │ muxado                       the application
//!   bytes ──▶ decode ──▶ receive ──▶ stream table ◀──▶ app: open, accept, read, write
//!                                     │  flow, ping
//!   bytes ◀── encode ◀── send ◀───────┘  close, timers ──▶ events, deadline
//! ```
//!
//! The dialects differ in frames, ids, codes and a few habits; table, flow control, order of sending
//! and closing exist once.

mod app;
mod chunks;
mod close;
mod engine;
mod error;
mod flow;
mod frame;
mod hash;
mod inbound;
mod memory;
pub mod muxado;
mod ping;
mod receive;
mod send;
mod settings;
mod stream;
mod table;
mod tap;
mod transmit;
mod turns;
mod violation;
pub mod yamux;

#[cfg(feature = "tokio")]
pub(crate) use self::settings::NEVER;
pub use self::{
    app::{Accepting, Opening, Reading},
    close::CloseOutcome,
    engine::{Engine, Event, Stats, StreamKey},
    error::{OpenError, PingError, ReadError, RemoteGoAway, SessionEnd, StreamEnd, WriteError},
    frame::{Dialect, FrameInfo, FrameKind, FrameTap, Role},
    memory::MemoryManager,
    send::Direct,
    settings::{AckPolicy, ConfigError},
    transmit::Transmit,
    violation::Violation,
};
