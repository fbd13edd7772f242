//! From a host name to a bound socket, and to what TLS needs there.

use std::future::ready;
use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use towline_identity::CipherSuite;

use super::{ListenError, ListenOptions};
use crate::endpoint::Endpoint;
use crate::server_tls::{Handshakes, ServerTls};
use crate::{swp, tcp};

/// By what clients of a `tls` endpoint shake hands.
pub(super) fn handshakes(
    endpoint: &Endpoint,
    cipher: CipherSuite,
    options: &ListenOptions,
) -> Result<Handshakes, ListenError> {
    match &options.tls_config {
        Some(config) => Ok(Handshakes::Config(config.clone())),
        None => server_tls(endpoint, cipher, options).map(Handshakes::Identity),
    }
}

pub(super) fn server_tls(
    endpoint: &Endpoint,
    cipher: CipherSuite,
    options: &ListenOptions,
) -> Result<ServerTls, ListenError> {
    let name = || endpoint.to_string();
    let identity = options
        .identity
        .clone()
        .ok_or_else(|| ListenError::MissingIdentity { endpoint: name() })?;
    let (trust, authorisation) = (options.trust.clone(), options.authorisation.clone());
    ServerTls::new(identity, trust, authorisation, cipher).map_err(|source| ListenError::Identity {
        endpoint: name(),
        source,
    })
}

/// The first of a name's addresses that can be bound.
pub(super) async fn bind_first<T, F>(
    endpoint: &Endpoint,
    host: &str,
    port: u16,
    bind: impl Fn(SocketAddr) -> F,
) -> Result<T, ListenError>
where
    F: Future<Output = io::Result<T>>,
{
    let addresses = tcp::resolve(host, port)
        .await
        .map_err(|source| ListenError::Resolve {
            endpoint: endpoint.to_string(),
            source,
        })?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match bind(address).await {
            Ok(bound) => return Ok(bound),
            Err(error) => last = error,
        }
    }
    Err(bind_error(endpoint, last))
}

/// The listener, and its port.
pub(super) async fn bind_tcp(
    endpoint: &Endpoint,
    host: &str,
    port: u16,
    sharing: tcp::Sharing,
) -> Result<(TcpListener, u16), ListenError> {
    let bind = |address| {
        ready(tcp::listen(address, sharing).and_then(|listener| {
            let port = listener.local_addr()?.port();
            Ok((listener, port))
        }))
    };
    bind_first(endpoint, host, port, bind).await
}

/// The listener, and its port.
pub(super) async fn bind_udp(
    endpoint: &Endpoint,
    host: &str,
    port: u16,
) -> Result<(swp::Listener, u16), ListenError> {
    bind_first(endpoint, host, port, swp::Listener::bind_udp).await
}

pub(super) fn bind_error(endpoint: &Endpoint, source: io::Error) -> ListenError {
    let endpoint = endpoint.to_string();
    match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse { endpoint },
        _ => ListenError::Bind { endpoint, source },
    }
}
