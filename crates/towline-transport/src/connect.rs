//! Dialling: from an endpoint to an established connection.

mod attempt;
mod error;

use std::sync::Arc;
use std::time::Duration;

use towline_identity::{Identity, Trust};
use towline_mux::Session;

use self::attempt::Attempt;
pub use self::error::ConnectError;
use crate::connection::Connection;
use crate::endpoint::{Address, Endpoint};
use crate::psk::Records;
use crate::quic::SharedUdp;

/// How to dial. The default has no identity and waits 10 seconds.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    identity: Option<Arc<Identity>>,
    trust: Trust,
    connect_timeout: Duration,
    dead_peer: Option<Duration>,
    records: Records,
    shared_udp: Option<SharedUdp>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            identity: None,
            trust: Trust::default(),
            connect_timeout: Duration::from_secs(10),
            dead_peer: None,
            records: Records::default(),
            shared_udp: None,
        }
    }
}

impl ConnectOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// What this side proves itself with, and by which it judges the other; `tls` needs one unless
    /// [`trust`](Self::trust) asks no authority.
    pub fn identity(mut self, identity: Arc<Identity>) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Whom this side trusts, on `tls`: by default every server to whom the identity's authority has
    /// given a certificate. [`Trust::keys`] dials by public key.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// How long looking up the name, dialling and shaking hands may take together. The default is
    /// 10 seconds; a name with several addresses shares it among them.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// After how long a peer that is silent counts as gone: never unless told otherwise, but for what the system and QUIC
    /// do by themselves (docs/wire K6). On `tcp`, `connect+tcp` and `tls` the system asks a silent peer three times within
    /// this time, and on Linux a peer that takes nothing of what was sent for so long is gone as well, even if it is only
    /// slow. On `quic` a peer from which no packet comes is gone, within 30 s in any case. At least 3 s are of use.
    pub fn dead_peer(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.dead_peer = limit.into();
        self
    }

    /// What the records of the pre-shared-key layer hold, where the endpoint asks for it. The default
    /// is bytes.
    pub fn records(mut self, records: Records) -> Self {
        self.records = records;
        self
    }

    /// Uses this UDP port, on `quic`, beside the process's listener and other clients. Default: a port of its own.
    pub fn shared_udp(mut self, port: &SharedUdp) -> Self {
        self.shared_udp = Some(port.clone());
        self
    }
}

/// Connects to `endpoint` and finishes every handshake of its stack.
///
/// All addresses of a name are tried in turn. In TLS 1.3 a server judges our certificate after our
/// side of the handshake is done: its refusal is the error of the first read, which
/// [`describe_io_error`](crate::describe_io_error) explains.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use towline_identity::Identity;
/// use towline_transport::{ConnectOptions, connect};
///
/// let identity = Arc::new(Identity::load("certs", "client")?);
/// let options = ConnectOptions::new().identity(identity);
/// let connection = connect(&"tls://db.internal:8443".parse()?, &options).await?;
/// println!("talking to {}", connection.peer());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`ConnectError`].
///
/// # Cancel safety
///
/// Dropping the future closes what was opened; nothing else remains.
pub async fn connect(
    endpoint: &Endpoint,
    options: &ConnectOptions,
) -> Result<Connection, ConnectError> {
    let attempt = Attempt::new(endpoint, options);
    if endpoint.multiplexer().is_some() {
        return Err(ConnectError::Multiplexed {
            endpoint: attempt.name(),
        });
    }
    let seal = match endpoint.psk() {
        Some(file) => Some(attempt.prepare_sealing(file, options).await?),
        None => None,
    };
    let connection = match &endpoint.address {
        Address::Tcp { host, port } => attempt.tcp(host, *port).await,
        Address::HttpConnect { host, port } => attempt.http_connect(host, *port).await,
        Address::Tls { host, port, cipher } => attempt.tls(host, *port, *cipher, options).await,
        #[cfg(unix)]
        Address::Unix { path } => attempt.unix(path).await,
        #[cfg(not(unix))]
        Address::Unix { .. } => Err(ConnectError::Unsupported {
            endpoint: endpoint.to_string(),
        }),
        Address::Mem { name } => attempt.mem(name).await,
        Address::Quic { host, port, cipher } => attempt.quic(host, *port, *cipher, options).await,
        Address::Udp { host, port, tls } => {
            let opened = attempt.udp(host, *port).await?;
            attempt.over_session(opened, *tls, options).await
        }
        Address::Nats(nats) => {
            let opened = attempt.nats(nats).await?;
            attempt.over_session(opened, nats.tls, options).await
        }
    }?;
    match seal {
        Some(layer) => attempt.seal(connection, layer).await,
        None => Ok(connection),
    }
}

/// Connects to a QUIC endpoint for any number of streams.
pub(crate) async fn connect_quic_session(
    endpoint: &Endpoint,
    options: &ConnectOptions,
) -> Result<Session, ConnectError> {
    let attempt = Attempt::new(endpoint, options);
    match &endpoint.address {
        Address::Quic { host, port, cipher } if endpoint.psk().is_none() => {
            attempt.quic_session((host, *port), *cipher, options).await
        }
        Address::Quic { .. } => Err(ConnectError::SealedStreams {
            endpoint: attempt.name(),
        }),
        _ => Err(ConnectError::NotMultiplexed {
            endpoint: attempt.name(),
        }),
    }
}
