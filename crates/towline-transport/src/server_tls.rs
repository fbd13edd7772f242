//! The TLS configuration of a listener: made again when its identity was exchanged.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::rustls::ServerConfig;
use towline_identity::tls::{TlsConfigError, server_config};
use towline_identity::{CipherSuite, Identity, LiveIdentity};

/// What a listener needs for the handshakes of its clients (docs/wire I37).
pub(crate) struct ServerTls {
    live: LiveIdentity,
    cipher: CipherSuite,
    made: Mutex<Made>,
}

/// A configuration, and the identity it was made from.
struct Made {
    from: Arc<Identity>,
    config: Arc<ServerConfig>,
}

impl ServerTls {
    pub(crate) fn new(live: LiveIdentity, cipher: CipherSuite) -> Result<Self, TlsConfigError> {
        let from = live.current();
        let config = server_config(&from, cipher)?;
        Ok(Self {
            live,
            cipher,
            made: Mutex::new(Made { from, config }),
        })
    }

    /// The configuration for the next handshake. An identity that gives none is reported once, and
    /// the one before it stays in use: a server that works is not stopped by a bad file.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        let current = self.live.current();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&made.from, &current) {
            match server_config(&current, self.cipher) {
                Ok(config) => made.config = config,
                Err(error) => {
                    tracing::error!(%error, "the new identity cannot be used; the old one stays");
                }
            }
            made.from = current;
        }
        Arc::clone(&made.config)
    }
}
