//! yamux: the wire format of hashicorp/yamux and of libp2p's go-yamux.
//!
//! ```
//! use towline_mux::yamux::{self, Config};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (here, there) = tokio::io::duplex(4096);
//! let client = yamux::client(here, Config::default().max_stream_window(64 << 20))?;
//! let server = yamux::server(there, Config::default())?;
//! println!("the round trip takes {:?}", client.ping().await?);
//! # drop(server);
//! # Ok(())
//! # }
//! ```
//!
//! # From go-yamux
//!
//! | Go | here |
//! | --- | --- |
//! | `Client`, `Server` | [`client`], [`server`] |
//! | `DefaultConfig`, `VerifyConfig` | [`Config::default`], [`Config::validate`] |
//! | `Session.Open`, `OpenStream` | [`Session::open`], [`Session::try_open`] |
//! | `Session.Accept`, `AcceptStream` | [`Session::accept`], [`Session::incoming`], [`Session::into_listener`] |
//! | `Session.Close`, `CloseWithError` | [`Session::close`], [`Session::abort`], [`Session::close_with`] |
//! | `Session.CloseChan`, `IsClosed` | [`Session::closed`], [`Session::close_reason`], [`Session::is_closed`] |
//! | `Session.GoAway` | [`Session::go_away`] |
//! | `Session.NumStreams` | [`Session::stream_count`], [`Session::inbound_count`], [`Session::outbound_count`] |
//! | `Session.Ping`, `RTT` | [`Session::ping`], [`Session::rtt`] |
//! | `Session.Addr`, `LocalAddr`, `RemoteAddr` | [`Session::local_addr`], [`Session::peer_addr`] |
//! | `Stream.Read`, `Write` | `AsyncRead`, `AsyncWrite`, [`Stream::read_chunk`], [`Stream::write_chunk`] |
//! | `Stream.CloseWrite`, `CloseRead`, `Close` | [`Stream::close_write`], [`Stream::close_read`], [`Stream::close`] |
//! | `Stream.Reset`, `ResetWithError` | [`Stream::reset`] |
//! | `Stream.SetDeadline` and its two parts | [`Stream::set_deadline`], [`Stream::set_read_deadline`], [`Stream::set_write_deadline`] |
//! | `Stream.StreamID`, `Session`, `LocalAddr`, `RemoteAddr` | [`Stream::id`], [`Stream::session`], [`Stream::local_addr`], [`Stream::peer_addr`] |
//! | `Error`, `StreamError`, `GoAwayError` | [`OpenError`], [`ReadError`], [`WriteError`], [`PingError`], [`StreamEnd`], [`SessionEnd`] |
//! | `MemoryManager` | [`MemoryManager`], [`Config::memory_manager`] |
//! | the configuration's logger | events of `tracing`; [`Config::tap`] shows every frame |
//!
//! [`OpenError`]: crate::OpenError
//! [`ReadError`]: crate::ReadError
//! [`WriteError`]: crate::WriteError
//! [`PingError`]: crate::PingError
//! [`StreamEnd`]: crate::StreamEnd
//! [`SessionEnd`]: crate::SessionEnd
//! [`MemoryManager`]: crate::MemoryManager
//! [`Stream::read_chunk`]: crate::Stream::read_chunk
//! [`Stream::write_chunk`]: crate::Stream::write_chunk
//! [`Stream::close_write`]: crate::Stream::close_write
//! [`Stream::close_read`]: crate::Stream::close_read
//! [`Stream::close`]: crate::Stream::close
//! [`Stream::reset`]: crate::Stream::reset
//! [`Stream::set_deadline`]: crate::Stream::set_deadline
//! [`Stream::set_read_deadline`]: crate::Stream::set_read_deadline
//! [`Stream::set_write_deadline`]: crate::Stream::set_write_deadline
//! [`Stream::id`]: crate::Stream::id
//! [`Stream::session`]: crate::Stream::session
//! [`Stream::local_addr`]: crate::Stream::local_addr
//! [`Stream::peer_addr`]: crate::Stream::peer_addr

pub use crate::proto::yamux::Config;
use crate::{
    driver::{Transport, now, seed},
    proto::{ConfigError, Engine, Role},
    session::Session,
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
    let engine = Engine::yamux(role, config, seed(), now())?;
    let settings = config.settings();
    Ok(Session::start(
        transport,
        engine,
        settings.read_buffer,
        settings.coalesce,
    ))
}
