//! muxado: version 2 of the wire format of inconshreveable/muxado.
//!
//! It has no version on the wire: a peer that speaks version 1, of 2014, is told that its first frame has
//! an illegal length.

use crate::{
    driver::{Transport, now, seed},
    proto::{ConfigError, Engine, Role},
    session::Session,
};
pub use crate::{
    heartbeat::{Heartbeat, HeartbeatConfig, HeartbeatError, Pulse},
    proto::muxado::Config,
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
