//! muxado: version 2 of the wire format of inconshreveable/muxado.
//!
//! It has no version on the wire: a peer that speaks version 1, of 2014, is told that its first frame has
//! an illegal length. It has no pings either: a [`Heartbeat`] does their work.
//!
//! ```
//! use tokio::io::AsyncWriteExt;
//! use towline_mux::muxado::{self, Config, ErrorCode};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (here, there) = tokio::io::duplex(4096);
//! let client = muxado::client(here, Config::default())?;
//! let server = muxado::server(there, Config::default())?;
//!
//! // The peer hears of a stream with the first thing that is written on it.
//! let mut stream = client.open().await?;
//! stream.write_all(b"hello").await?;
//! let mut accepted = server.accept().await?.ok_or("the client closed the session")?;
//! accepted.reset(ErrorCode::STREAM_CANCELLED.into());
//! let error = stream.read_chunk().await.unwrap_err();
//! assert_eq!(ErrorCode::from(&error), ErrorCode::STREAM_CANCELLED);
//! # Ok(())
//! # }
//! ```
//!
//! # From muxado
//!
//! | Go | here |
//! | --- | --- |
//! | `Client`, `Server`, `Config` | [`client`], [`server`], [`Config`] |
//! | `Session.Open`, `OpenStream` | [`Session::open`], [`Session::open_eager`], [`Session::try_open`] |
//! | `Session.Accept`, `AcceptStream`; a session as `net.Listener` | [`Session::accept`], [`Session::incoming`], [`Session::into_listener`] |
//! | `Session.Close`, `GoAway` | [`Session::close`], [`Session::close_with`], [`Session::go_away_with`] |
//! | `Session.Wait` and its three results | [`Session::closed`] and its [`Termination`](crate::Termination) |
//! | `Session.Addr`, `LocalAddr`, `RemoteAddr` | [`Session::local_addr`], [`Session::peer_addr`] |
//! | `Stream` | [`Stream`](crate::Stream), as for [yamux](crate::yamux#from-go-yamux) |
//! | `ErrorCode`, `GetError` | [`ErrorCode`], made from any error |
//! | `StreamType`, `TypedStream`, `TypedStreamSession` | [`StreamType`], [`TypedStream`], [`TypedSession`] |
//! | `Heartbeat`, `HeartbeatConfig` | [`Heartbeat`], [`HeartbeatConfig`], [`Pulse`] for the callback |
//! | package `frame` | [`proto::muxado`](crate::proto::muxado): `Frame`, `Header`, `Kind`, `Flags`, `PackError`; [`Violation`](crate::Violation) for its errors |
//! | `NewFramer`, `NewDebugFramer` | [`Config::tap`], [`FrameInfo`](crate::FrameInfo) |

use crate::{
    driver::{Transport, now, seed},
    proto::{ConfigError, Engine, Role},
    session::Session,
};
pub use crate::{
    heartbeat::{Heartbeat, HeartbeatConfig, HeartbeatError, Pulse},
    proto::muxado::{Config, ErrorCode},
    typed::{StreamType, TypedSession, TypedStream},
};

/// The client's end of a session: the one that gives odd stream ids. Call it within a tokio runtime.
///
/// # Errors
///
/// [`ConfigError`]
pub fn client(io: impl Into<Transport>, config: Config) -> Result<Session, ConfigError> {
    start(Role::Client, io.into(), &config)
}

/// The server's end of a session, as [`client`].
///
/// # Errors
///
/// [`ConfigError`]
pub fn server(io: impl Into<Transport>, config: Config) -> Result<Session, ConfigError> {
    start(Role::Server, io.into(), &config)
}

fn start(role: Role, transport: Transport, config: &Config) -> Result<Session, ConfigError> {
    let engine = Engine::muxado(role, config, seed(), now())?;
    let settings = config.settings();
    Ok(Session::start(
        transport,
        engine,
        settings.read_buffer,
        settings.coalesce,
    ))
}
