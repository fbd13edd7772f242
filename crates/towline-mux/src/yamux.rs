//! yamux: the wire format of hashicorp/yamux and of libp2p's go-yamux.

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
