//! Sessions of towline-swp as connections: through a NATS broker, and over UDP.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use towline_swp::network::Network;
#[cfg(feature = "nats")]
use towline_swp::network::nats::{NatsConfig, NatsError, NatsNetwork, NatsTls};
use towline_swp::network::udp::UdpNetwork;
use towline_swp::proto::{CloseReason, Config};
use towline_swp::{ByteStream, ConnectError, Session};

#[cfg(feature = "nats")]
use crate::endpoint::{BrokerTls, Nats};

/// An open session and the addresses of both ends.
pub(crate) struct Opened {
    pub(crate) io: ByteStream,
    pub(crate) local: String,
    pub(crate) remote: String,
}

/// An inbox at which sessions open.
pub(crate) struct Listener {
    inner: towline_swp::Listener,
    /// What stands in front of an inbox in addresses.
    prefix: String,
}

/// Opens a session to a UDP socket.
pub(crate) async fn connect_udp(remote: SocketAddr, limit: Duration) -> io::Result<Opened> {
    let network = UdpNetwork::towards(remote).await?;
    let config = Config::new(network.inbox(), remote.to_string());
    open(Arc::new(network), config, limit, "udp://").await
}

/// Opens a session to a subject of a broker.
#[cfg(feature = "nats")]
pub(crate) async fn connect_nats(nats: &Nats, limit: Duration) -> io::Result<Opened> {
    let network = network(nats, limit).await?;
    let inbox = match &nats.inbox {
        Some(inbox) => inbox.clone(),
        None => network.client().new_inbox(),
    };
    let config = Config::new(inbox, nats.subject.as_str());
    open(Arc::new(network), config, limit, &prefix(nats)).await
}

async fn open(
    network: Arc<dyn Network>,
    config: Config,
    limit: Duration,
    prefix: &str,
) -> io::Result<Opened> {
    let session = Session::connect(network, config.connect_timeout(limit, 1))
        .await
        .map_err(not_open)?;
    Ok(opened(session, prefix))
}

impl Listener {
    /// Hears on a UDP socket, and tells its port. Peers answer to the very address it is bound to.
    pub(crate) async fn bind_udp(address: SocketAddr) -> io::Result<(Self, u16)> {
        if address.ip() == Ipv4Addr::UNSPECIFIED || address.ip() == Ipv6Addr::UNSPECIFIED {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "name the address that clients dial: a session answers from the address it was opened to",
            ));
        }
        let network = UdpNetwork::bind(address).await?;
        let port = network.address().port();
        let config = Config::new(network.inbox(), "");
        let listener = Self::bind(Arc::new(network), config, "udp://".to_owned()).await?;
        Ok((listener, port))
    }

    /// Hears on a subject of a broker.
    #[cfg(feature = "nats")]
    pub(crate) async fn bind_nats(nats: &Nats, limit: Duration) -> io::Result<Self> {
        let network = network(nats, limit).await?;
        let config = Config::new(nats.subject.as_str(), "").peers_below(answered(nats));
        Self::bind(Arc::new(network), config, prefix(nats)).await
    }

    async fn bind(network: Arc<dyn Network>, config: Config, prefix: String) -> io::Result<Self> {
        let inner = towline_swp::Listener::bind(network, config)
            .await
            .map_err(not_open)?;
        Ok(Self { inner, prefix })
    }

    pub(crate) async fn accept(&self) -> io::Result<Opened> {
        match self.inner.accept().await {
            Some(session) => Ok(opened(session, &self.prefix)),
            None => Err(io::Error::new(
                io::ErrorKind::NotConnected,
                "the network that was listened on is gone",
            )),
        }
    }
}

fn opened(session: Session, prefix: &str) -> Opened {
    let address = |inbox: towline_codec::Text| {
        // A peer's inbox can be any text, and addresses stand in logs.
        let shown: String = inbox
            .to_string_lossy()
            .chars()
            .take(200)
            .map(|c| if c.is_ascii_graphic() { c } else { '?' })
            .collect();
        format!("{prefix}{shown}")
    };
    Opened {
        local: address(session.local()),
        remote: address(session.remote()),
        io: session.into_byte_stream(),
    }
}

#[cfg(feature = "nats")]
async fn network(nats: &Nats, limit: Duration) -> io::Result<NatsNetwork> {
    let mut config = NatsConfig::new(format!("nats://{}", nats.broker())).connect_timeout(limit);
    if let Some((user, password)) = &nats.credentials {
        config = match password {
            Some(password) => config.credentials(user, password),
            None => config.token(user),
        };
    }
    match &nats.tls_to_broker {
        BrokerTls::AsOffered => {}
        BrokerTls::Required => config = config.tls(NatsTls::platform().map_err(io::Error::other)?),
        BrokerTls::Authority(file) => {
            let file = file.clone();
            // A file may be slow to read.
            let tls = tokio::task::spawn_blocking(move || NatsTls::authority(file)).await?;
            config = config.tls(tls.map_err(NatsError::from)?);
        }
    }
    Ok(config.connect().await?)
}

/// Where the clients of a listener may hear: whoever can publish on its subject could otherwise have it
/// publish on any other.
#[cfg(feature = "nats")]
fn answered(nats: &Nats) -> Vec<String> {
    let own = ["_INBOX", nats.subject.as_str()];
    let words = own.into_iter().chain(nats.peers.as_deref());
    words.map(|words| format!("{words}.")).collect()
}

#[cfg(feature = "nats")]
fn prefix(nats: &Nats) -> String {
    format!("nats://{}/", nats.broker())
}

/// A session that does not open, as an I/O error: nobody who answers is a time-out.
fn not_open(error: ConnectError) -> io::Error {
    match error {
        ConnectError::Network(error) => error,
        ConnectError::Closed(reason @ CloseReason::ConnectTimeout(_)) => {
            io::Error::new(io::ErrorKind::TimedOut, reason)
        }
        ConnectError::Closed(reason) => reason.into(),
        other => io::Error::new(io::ErrorKind::InvalidInput, other),
    }
}

#[cfg(all(test, feature = "nats"))]
mod tests {
    use super::*;
    use crate::endpoint::{Address, Endpoint};

    #[test]
    fn a_listener_answers_where_its_clients_hear() {
        let answered_by = |url: &str| {
            let endpoint: Endpoint = url.parse().unwrap();
            match &endpoint.address {
                Address::Nats(nats) => answered(nats),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(answered_by("nats://h/files.a"), ["_INBOX.", "files.a."]);
        let more = answered_by("tls+nats://h/files.a?peers=my.clients");
        assert_eq!(more, ["_INBOX.", "files.a.", "my.clients."]);
    }
}
