//! Connections and keys from the command line.

use std::{path::PathBuf, sync::Arc, time::Duration};

use towline::{
    identity::{Identity, KnownKeys, KnownKeysError, LoadError, Trust, find_certs_dir},
    rpc::{Client, client::ClientBuilder, proto::Limits},
    transport::{Endpoint, Scheme},
};

use crate::{
    cli::{ClientArgs, KeyArgs},
    failure::{Exit, Failure, failed},
    passphrase::Passphrases,
};

/// An endpoint from the command line.
pub(crate) fn endpoint(url: &str) -> Result<Endpoint, Failure> {
    let endpoint: Endpoint = url
        .parse()
        .map_err(|error| Failure::new(Exit::Usage, format!("{error}")))?;
    if endpoint.scheme() == Scheme::Mem {
        let text = format!("{url} lives inside one process: no other program can reach it");
        return Err(Failure::new(Exit::Usage, text).hint("on one machine use unix:///path"));
    }
    Ok(endpoint)
}

/// An endpoint where a path would mean nothing.
pub(crate) fn endpoint_without_path(url: &str) -> Result<Endpoint, Failure> {
    let endpoint = endpoint(url)?;
    match endpoint.fragment() {
        None => Ok(endpoint),
        Some(path) => Err(Failure::new(
            Exit::Usage,
            format!("`#{path}` means nothing here: only files have a path behind the #"),
        )
        .hint(format!("leave it out: {}", endpoint.without_fragment()))),
    }
}

/// Our key, and where it came from.
pub(crate) struct Loaded {
    pub(crate) identity: Arc<Identity>,
    pub(crate) dir: PathBuf,
    pub(crate) name: String,
    pub(crate) passphrases: Passphrases,
}

/// The keys an endpoint needs, if it needs any. A protected one may take a person's time.
pub(crate) async fn identity(
    endpoint: &Endpoint,
    keys: &KeyArgs,
    default: &str,
) -> Result<Option<Loaded>, Failure> {
    if !endpoint.has_tls() && endpoint.psk().is_none() {
        return Ok(None);
    }
    let name = keys.key.as_deref().unwrap_or(default);
    let dir = find_certs_dir(keys.certs.as_deref(), name)
        .map_err(|error| {
        Failure::new(Exit::Failed, error.to_string()).hint(
            "name the directory with --certs or TOW_CERTS; a key must be made by the authority that the other end trusts",
        )
    })?;
    let name = name.to_owned();
    let passphrases = Passphrases::own(keys.passphrase_file.clone());
    let load = move || {
        let identity = Identity::load_with(&dir, &name, &mut passphrases.clone());
        match identity {
            Ok(identity) => Ok(Some(Loaded {
                identity: Arc::new(identity),
                dir,
                name,
                passphrases,
            })),
            // No other end would trust it.
            Err(error @ (LoadError::Expired { .. } | LoadError::NotVouched { .. })) => {
                Err(Failure::new(Exit::Refused, error.to_string()))
            }
            Err(error @ LoadError::Passphrase { .. }) => {
                Err(failed(error).hint(passphrases.hint()))
            }
            Err(error) => Err(failed(error)),
        }
    };
    tokio::task::spawn_blocking(load).await.map_err(failed)?
}

/// Who is trusted at the other end: those of our authority, and of them those on the list of known
/// keys if there is one. `usual` is where the list is looked for; `warn` whether an unknown key from a
/// known address is worth a warning.
pub(crate) fn trust(
    keys: &KeyArgs,
    usual: impl FnOnce() -> Result<KnownKeys, KnownKeysError>,
    warn: bool,
) -> Result<Trust, Failure> {
    let known = match &keys.known {
        Some(file) => KnownKeys::open(file),
        None => usual(),
    };
    let known = known.map_err(failed)?;
    Ok(Trust::known_keys(known.warn_on_address_reuse(warn)))
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
        "use tls:// or tls+nats:// with keys from `tow keys new`, or say --insecure if the network is yours alone",
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

/// How long a server may neither take nor send anything of a file: six times the patience with a call,
/// as a disk may be busy for a while.
pub(crate) const fn patience(args: &ClientArgs) -> Duration {
    args.timeout.saturating_mul(6)
}

/// Connects as the command line says.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    args: &ClientArgs,
    purpose: Purpose,
) -> Result<Client, Failure> {
    let builder = builder(endpoint, args, purpose).await?;
    Ok(builder.connect_endpoint(endpoint).await?)
}

/// How to connect, as the command line says.
pub(crate) async fn builder(
    endpoint: &Endpoint,
    args: &ClientArgs,
    purpose: Purpose,
) -> Result<ClientBuilder, Failure> {
    let stalled = Some(patience(args));
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
    if let Some(loaded) = identity(endpoint, &args.keys, "client").await? {
        let trust = if args.server_key.is_empty() {
            trust(&args.keys, KnownKeys::for_client, true)?
        } else {
            Trust::keys(args.server_key.iter().copied())
        };
        builder = builder.identity(loaded.identity).trust(trust);
    }
    Ok(builder)
}
