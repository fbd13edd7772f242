//! Connections and keys from the command line.

use std::sync::Arc;

use towline::{
    identity::{Identity, find_certs_dir},
    rpc::Client,
    transport::{Endpoint, Scheme},
};

use crate::{
    cli::{ClientArgs, KeyArgs},
    failure::{Exit, Failure, failed},
};

/// An endpoint from the command line.
pub(crate) fn endpoint(url: &str) -> Result<Endpoint, Failure> {
    url.parse()
        .map_err(|error| Failure::new(Exit::Usage, format!("{error}")))
}

/// The keys an endpoint needs, if it needs any.
pub(crate) fn identity(
    endpoint: &Endpoint,
    keys: &KeyArgs,
    default: &str,
) -> Result<Option<Arc<Identity>>, Failure> {
    if endpoint.scheme() != Scheme::Tls {
        return Ok(None);
    }
    let name = keys.key.as_deref().unwrap_or(default);
    let dir = find_certs_dir(keys.certs.as_deref(), name)
        .map_err(|error| Failure::new(Exit::CannotConnect, error.to_string()))?;
    Identity::load(dir, name)
        .map(|identity| Some(Arc::new(identity)))
        .map_err(failed)
}

/// Refuses to move files over a connection that anybody could read and answer.
pub(crate) fn require_secure(endpoint: &Endpoint, insecure: bool) -> Result<(), Failure> {
    if insecure || endpoint.is_authenticated() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Refused,
        format!(
            "{} is neither encrypted nor authenticated: files do not go over it",
            endpoint.without_fragment()
        ),
    )
    .hint(
        "use tls:// with keys from `tow keys new`, or say --insecure if the network is yours alone",
    ))
}

/// Connects as the command line says.
pub(crate) async fn connect(endpoint: &Endpoint, args: &ClientArgs) -> Result<Client, Failure> {
    let mut builder = Client::builder()
        .compression(args.compress)
        .connect_timeout(args.timeout)
        .call_timeout(Some(args.timeout));
    if let Some(identity) = identity(endpoint, &args.keys, "client")? {
        builder = builder.identity(identity);
    }
    Ok(builder.connect_endpoint(endpoint).await?)
}
