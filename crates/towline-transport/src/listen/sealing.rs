//! The pre-shared-key layer of a listener's connections.

use std::path::Path;

use super::{ListenError, ListenOptions};
use crate::endpoint::Endpoint;
use crate::psk::{self, PskLayer};

/// What the pre-shared-key layer needs for each client.
pub(super) async fn layer(
    endpoint: &Endpoint,
    file: &Path,
    options: &ListenOptions,
) -> Result<PskLayer, ListenError> {
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
    Ok(PskLayer::new(key, identity)
        .trust(options.trust.clone())
        .authorise(options.authorisation.clone())
        .records(options.records)
        .handshake_timeout(options.handshake_timeout))
}
