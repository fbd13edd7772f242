//! QUIC by quinn: a transport of its own, with encryption.

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::Context as _;
use bytes::Bytes;
use quinn::{
    ClientConfig, Connection, Endpoint, RecvStream, SendStream, ServerConfig, TransportConfig,
    VarInt,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::MOST;
use crate::mux::stream::{Mux, Stream};

/// The name in the certificate.
const NAME: &str = "localhost";

#[derive(Clone)]
pub(crate) struct Quinn {
    connection: Connection,
    /// It does the work.
    _endpoint: Endpoint,
}

/// Makes a certificate for one run.
pub(crate) fn make_certificate(folder: &Path) -> anyhow::Result<()> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    std::fs::write(folder.join("quic.crt"), made.cert.pem())?;
    std::fs::write(folder.join("quic.key"), made.signing_key.serialize_pem())?;
    Ok(())
}

pub(crate) fn listen(folder: &Path) -> anyhow::Result<Endpoint> {
    let certificate = CertificateDer::from_pem_file(folder.join("quic.crt"))?;
    let key = PrivateKeyDer::from_pem_file(folder.join("quic.key"))?;
    let mut config = ServerConfig::with_single_cert(vec![certificate], key)?;
    config.transport_config(transport()?);
    Ok(Endpoint::server(
        config,
        SocketAddr::from(([127, 0, 0, 1], 0)),
    )?)
}

pub(crate) async fn accept(endpoint: Endpoint) -> anyhow::Result<Quinn> {
    let connection = endpoint.accept().await.context("closed")?.await?;
    Ok(Quinn {
        connection,
        _endpoint: endpoint,
    })
}

pub(crate) async fn connect(address: SocketAddr, folder: &Path) -> anyhow::Result<Quinn> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("quic.crt"))?)?;
    let mut config = ClientConfig::with_root_certificates(Arc::new(roots))?;
    config.transport_config(transport()?);
    let endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let connection = endpoint.connect_with(config, address, NAME)?.await?;
    Ok(Quinn {
        connection,
        _endpoint: endpoint,
    })
}

fn transport() -> anyhow::Result<Arc<TransportConfig>> {
    let mut config = TransportConfig::default();
    config.max_concurrent_bidi_streams(VarInt::try_from(MOST as u64)?);
    Ok(Arc::new(config))
}

impl Mux for Quinn {
    type Stream = Pair;

    async fn open(&self) -> anyhow::Result<Self::Stream> {
        let (send, receive) = self.connection.open_bi().await?;
        Ok(Pair { send, receive })
    }

    async fn accept(&self) -> anyhow::Result<Option<Self::Stream>> {
        Ok(match self.connection.accept_bi().await {
            Ok((send, receive)) => Some(Pair { send, receive }),
            Err(_) => None,
        })
    }
}

pub(crate) struct Pair {
    send: SendStream,
    receive: RecvStream,
}

impl Stream for Pair {
    async fn send(&mut self, bytes: Bytes) -> anyhow::Result<()> {
        Ok(self.send.write_chunk(bytes).await?)
    }

    async fn receive(&mut self) -> anyhow::Result<usize> {
        let chunk = self.receive.read_chunk(usize::MAX, true).await?;
        Ok(chunk.map_or(0, |chunk| chunk.bytes.len()))
    }

    async fn receive_into(&mut self, buffer: &mut [u8]) -> anyhow::Result<usize> {
        Ok(self.receive.read(buffer).await?.unwrap_or(0))
    }

    async fn finish(&mut self) -> anyhow::Result<()> {
        Ok(self.send.finish()?)
    }
}
