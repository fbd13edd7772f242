//! The TLS configuration of a listener: made again when its identity was exchanged.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::rustls::ServerConfig;
use towline_identity::tls::{Acceptor, TlsConfigError};
use towline_identity::{Authorisation, CipherSuite, Identity, LiveIdentity, Trust};

use crate::tls_config::TlsConfig;

/// By what the clients of a listener shake hands.
pub(crate) enum Handshakes {
    /// By an identity, and by the rules for its peers.
    Identity(ServerTls),
    /// By a configuration that somebody else has made.
    Config(TlsConfig),
}

/// What one handshake begins with.
pub(crate) enum Shaker {
    Identity(Arc<Acceptor>),
    Config(Arc<ServerConfig>),
}

impl Handshakes {
    pub(crate) fn shaker(&self) -> Shaker {
        match self {
            Self::Identity(settings) => Shaker::Identity(settings.acceptor()),
            Self::Config(config) => Shaker::Config(config.current()),
        }
    }
}

/// What a listener needs for the handshakes of its clients (docs/wire I37).
pub(crate) struct ServerTls {
    live: LiveIdentity,
    trust: Trust,
    authorisation: Authorisation,
    cipher: CipherSuite,
    made: Mutex<Made>,
}

/// What makes configurations, and the identity it was made from.
struct Made {
    from: Arc<Identity>,
    acceptor: Arc<Acceptor>,
}

impl ServerTls {
    pub(crate) fn new(
        live: LiveIdentity,
        trust: Trust,
        authorisation: Authorisation,
        cipher: CipherSuite,
    ) -> Result<Self, TlsConfigError> {
        let from = live.current();
        let acceptor = Arc::new(Acceptor::new(&from, &trust, &authorisation, cipher)?);
        Ok(Self {
            live,
            trust,
            authorisation,
            cipher,
            made: Mutex::new(Made { from, acceptor }),
        })
    }

    /// What the next handshake begins with. An identity that gives nothing is reported once, and the
    /// one before it stays in use: a server that works is not stopped by a bad file.
    pub(crate) fn acceptor(&self) -> Arc<Acceptor> {
        let current = self.live.current();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&made.from, &current) {
            match Acceptor::new(&current, &self.trust, &self.authorisation, self.cipher) {
                Ok(acceptor) => made.acceptor = Arc::new(acceptor),
                Err(error) => {
                    tracing::error!(%error, "the new identity cannot be used; the old one stays");
                }
            }
            made.from = current;
        }
        Arc::clone(&made.acceptor)
    }
}
