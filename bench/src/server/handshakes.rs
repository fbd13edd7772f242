//! TLS 1.3, both sides with Ed25519 keys, one connection after the other.

use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use towline::identity::{CipherSuite, Identity, tls};
use towline::server::{Server, SocketStream, TaskPerConnection};
use towline::transport::{ListenOptions, Listener};

use super::Peer;
use crate::role::say_ready;

/// Clients that shake hands at the same time.
const AT_ONCE: usize = 32;

pub(super) async fn serve(peer: Peer, certs: &Path) -> anyhow::Result<()> {
    let identity = Arc::new(Identity::load(certs, "node")?);
    if peer == Peer::Raw {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        rustix::net::listen(&listener, 4096)?;
        say_ready(listener.local_addr()?);
        let acceptor = TlsAcceptor::from(tls::server_config(&identity, CipherSuite::default())?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await?;
                stream.write_u8(1).await?;
                stream.flush().await?;
                // Until the client has gone.
                stream.read_u8().await
            });
        }
    }
    let options = ListenOptions::new().identity(identity);
    let listener = Listener::bind(&"tls://127.0.0.1:0".parse()?, &options).await?;
    let strategy = TaskPerConnection::new(|mut stream: SocketStream| async move {
        stream.send(vec![1]).ok();
        let _gone = stream.read_u8().await;
    });
    let server = Server::builder().start([listener], strategy)?;
    if let Some(address) = server.handle().local_addr() {
        say_ready(address);
    }
    server.wait().await?;
    Ok(())
}

/// Handshakes a second.
pub(super) async fn client(
    address: SocketAddr,
    seconds: f64,
    certs: &Path,
) -> anyhow::Result<Vec<f64>> {
    let identity = Identity::load(certs, "client")?;
    let connector = TlsConnector::from(tls::client_config(&identity, CipherSuite::default())?);
    let start = Instant::now();
    let warm = start + Duration::from_millis(300);
    let end = warm + Duration::from_secs_f64(seconds);
    let mut clients = JoinSet::new();
    for _ in 0..AT_ONCE {
        let connector = connector.clone();
        clients.spawn(async move {
            let mut count = 0_u64;
            while Instant::now() < end {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let name = ServerName::try_from(tls::SERVER_NAME)?;
                let mut stream = connector.connect(name, stream).await?;
                stream.read_u8().await?;
                let now = Instant::now();
                count += u64::from(now > warm && now < end);
                stream.shutdown().await?;
            }
            anyhow::Ok(count)
        });
    }
    let mut total = 0;
    for count in clients.join_all().await {
        total += count?;
    }
    Ok(vec![total as f64 / seconds])
}
