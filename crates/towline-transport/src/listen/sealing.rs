//! The pre-shared-key layer of a listener's connections.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use towline_identity::{Authorisation, LiveIdentity, PreSharedKey, Trust};

use super::{AcceptError, ListenError, ListenOptions};
use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::psk::{self, Records};

/// What the pre-shared-key layer needs for each client.
pub(super) struct Sealing {
    key: Arc<PreSharedKey>,
    identity: LiveIdentity,
    trust: Trust,
    authorisation: Authorisation,
    records: Records,
}

impl Sealing {
    pub(super) async fn new(
        endpoint: &Endpoint,
        file: &Path,
        options: &ListenOptions,
    ) -> Result<Self, ListenError> {
        let name = || endpoint.to_string();
        let identity = options
            .identity
            .clone()
            .ok_or_else(|| ListenError::MissingIdentity { endpoint: name() })?;
        let key = psk::load(file)
            .await
            .map_err(|source| ListenError::PreSharedKey {
                endpoint: name(),
                source,
            })?;
        Ok(Self {
            key,
            identity,
            trust: options.trust.clone(),
            authorisation: options.authorisation.clone(),
            records: options.records,
        })
    }

    /// Puts the layer on a connection whose other handshakes are done.
    pub(super) async fn seal(
        &self,
        beneath: Connection,
        limit: Duration,
    ) -> Result<Connection, AcceptError> {
        let Connection {
            io,
            peer,
            local,
            remote,
        } = beneath;
        let settings = psk::Settings {
            key: Arc::clone(&self.key),
            identity: self.identity.current(),
            trust: &self.trust,
            authorisation: self.authorisation.clone(),
            records: self.records,
        };
        match timeout(limit, psk::serve(io, settings, &peer)).await {
            Ok(Ok((io, peer))) => Ok(Connection::new(Box::new(io), peer, local, remote)),
            Ok(Err(psk::Problem::Refused(refusal))) => {
                Err(AcceptError::NotAdmitted { remote, refusal })
            }
            Ok(Err(problem)) => {
                let why = problem.to_string();
                Err(AcceptError::Sealing { remote, why })
            }
            Err(_) => Err(AcceptError::TimedOut { remote, limit }),
        }
    }
}
