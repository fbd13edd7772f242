//! Connections and keys from the command line.

use std::sync::Arc;

use towline::{
    identity::{Identity, find_certs_dir},
    rpc::{Client, proto::Limits},
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
        .map_err(|error| {
        Failure::new(Exit::Failed, error.to_string()).hint(
            "name the directory with --certs or TOW_CERTS; a key must be made by the authority that the other end trusts",
        )
    })?;
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

/// What a connection is for: when silence on it means that something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Calls have time limits of their own.
    Calls,
    /// The server only answers at the end, but must take what we send.
    Push,
    /// The server must send.
    Pull,
}

/// Connects as the command line says.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    args: &ClientArgs,
    purpose: Purpose,
) -> Result<Client, Failure> {
    // Six times the patience with a call: a disk may be busy for a while.
    let stalled = Some(args.timeout.saturating_mul(6));
    let limits = match purpose {
        Purpose::Calls => Limits::default(),
        Purpose::Push => Limits::default().write_timeout(stalled),
        Purpose::Pull => Limits::default().idle_timeout(stalled),
    };
    let mut builder = Client::builder()
        .compression(args.compress)
        .limits(limits)
        .connect_timeout(args.timeout)
        .call_timeout(Some(args.timeout));
    if let Some(identity) = identity(endpoint, &args.keys, "client")? {
        builder = builder.identity(identity);
    }
    Ok(builder.connect_endpoint(endpoint).await?)
}
