//! Mutually authenticated TLS of tokio-rustls, with the configurations and keys that towline uses.

use std::path::Path;

use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client};
use towline::identity::{CipherSuite, Identity, tls};

pub(in crate::rpc) fn acceptor(certs: &Path) -> anyhow::Result<TlsAcceptor> {
    let identity = Identity::load(certs, "node")?;
    Ok(tls::server_config(&identity, CipherSuite::ChaCha20Poly1305)?.into())
}

pub(in crate::rpc) async fn connect(
    address: &str,
    certs: &Path,
) -> anyhow::Result<client::TlsStream<TcpStream>> {
    let identity = Identity::load(certs, "client")?;
    let config = tls::client_config(&identity, CipherSuite::ChaCha20Poly1305)?;
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(tls::SERVER_NAME)?;
    Ok(TlsConnector::from(config).connect(name, stream).await?)
}
