//! How to connect to a broker.

use std::{sync::Arc, time::Duration};

use async_nats::{ConnectErrorKind, ConnectOptions};
use percent_encoding::percent_decode_str;

use super::{Events, NatsNetwork, NatsTls, NatsTlsError, heap};

/// Commands that wait for a broker that is slow; then sending waits.
const QUEUE: usize = 256;
/// The longest wait before a broken connection is tried again.
const RECONNECT_LONGEST: Duration = Duration::from_secs(2);
/// And the first one; each next is twice as long.
const RECONNECT_FIRST: Duration = Duration::from_millis(50);

/// How to connect to a broker.
///
/// ```no_run
/// use std::time::Duration;
/// use towline_swp::network::nats::{NatsConfig, NatsTls};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let network = NatsConfig::new("nats://a.example:4222,nats://b.example:4222")
///     .credentials("me", "secret")
///     .tls(NatsTls::authority("ca.pem")?)
///     .connect_timeout(Duration::from_secs(2))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct NatsConfig {
    servers: String,
    name: String,
    credentials: Option<(String, String)>,
    token: Option<String>,
    tls: Option<NatsTls>,
    connect_timeout: Duration,
    capacity: usize,
}

impl NatsConfig {
    /// A broker, or several of a cluster with commas between them: `nats://[user:password@]host[:port]`, or
    /// `nats://token@host`, percent-encoded where need be. The usual port is 4222. Who is named first is who
    /// this client is for all of them, unless [`credentials`](Self::credentials) or [`token`](Self::token)
    /// say otherwise.
    pub fn new(servers: impl Into<String>) -> Self {
        Self {
            servers: servers.into(),
            name: "towline".to_owned(),
            credentials: None,
            token: None,
            tls: None,
            connect_timeout: Duration::from_secs(5),
            capacity: 8192,
        }
    }

    /// The name under which the broker knows this client. Default: `towline`.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The user and the password for the broker, instead of those in its URL.
    #[must_use]
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials = Some((user.into(), password.into()));
        self
    }

    /// A token for the broker.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Connects by TLS or not at all. Without it TLS is used if the broker insists, and the system's
    /// authorities then vouch for it.
    #[must_use]
    pub fn tls(mut self, tls: NatsTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// How long connecting to one broker may take. Default: 5 s.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// How many packets the client holds for a subscription before it drops some. Sessions have no
    /// larger window than a third of it. Default: 8,192.
    #[must_use]
    pub fn capacity(mut self, packets: usize) -> Self {
        self.capacity = packets.max(1);
        self
    }

    /// Connects. Where the allocator is glibc's, the first connection of a process has it keep up to 16 MiB of
    /// freed memory for the next messages, instead of 128 KiB.
    ///
    /// # Errors
    ///
    /// [`NatsError`]: only the first connection can fail; one that breaks is made again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes what was opened.
    pub async fn connect(self) -> Result<NatsNetwork, NatsError> {
        heap::keep_for_messages();
        let events = Arc::new(Events::new());
        let noting = Arc::clone(&events);
        let is_required = self.tls.is_some();
        let tls = match self.tls {
            Some(tls) => tls,
            None => NatsTls::platform()?,
        };
        let mut options = ConnectOptions::new()
            .name(&self.name)
            .connection_timeout(self.connect_timeout)
            .subscription_capacity(self.capacity)
            .client_capacity(QUEUE)
            .require_tls(is_required)
            // Always given: without it the provider of the whole process decides, and there may be two.
            .tls_client_config(tls.into_config())
            .reconnect_delay_callback(|attempts| {
                let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
                RECONNECT_FIRST
                    .saturating_mul(1 << doublings.min(8))
                    .min(RECONNECT_LONGEST)
            })
            .event_callback(move |event| {
                noting.note(event);
                std::future::ready(())
            });
        let (credentials, token) = match (self.credentials, self.token) {
            (None, None) => match in_url(&self.servers) {
                Some((user, Some(password))) => (Some((user, password)), None),
                Some((token, None)) => (None, Some(token)),
                None => (None, None),
            },
            told => told,
        };
        if let Some((user, password)) = credentials {
            options = options.user_and_password(user, password);
        }
        if let Some(token) = token {
            options = options.token(token);
        }
        let servers: Vec<&str> = self.servers.split(',').map(str::trim).collect();
        let connected = options.connect(&servers[..]).await;
        let client = connected.map_err(|source| NatsError::Connect {
            servers: without_passwords(&self.servers),
            kind: source.kind(),
            source: Box::new(source),
        })?;
        Ok(NatsNetwork::new(client, self.capacity, events))
    }
}

impl std::fmt::Debug for NatsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsConfig")
            .field("servers", &without_passwords(&self.servers))
            .field("name", &self.name)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

/// Why there is no connection to a broker.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NatsError {
    /// It cannot be reached, or does not let us in.
    #[error("cannot connect to the broker at {servers}: {source}")]
    Connect {
        /// Where it was looked for, without passwords.
        servers: String,
        /// What kind of failure it was.
        kind: ConnectErrorKind,
        /// What the client says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The settings for TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] NatsTlsError),
}

impl From<NatsError> for std::io::Error {
    fn from(error: NatsError) -> Self {
        use std::io::ErrorKind;
        let kind = match &error {
            NatsError::Connect { kind, .. } => match kind {
                ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                    ErrorKind::PermissionDenied
                }
                ConnectErrorKind::TimedOut => ErrorKind::TimedOut,
                ConnectErrorKind::Dns => ErrorKind::NotFound,
                ConnectErrorKind::ServerParse => ErrorKind::InvalidInput,
                ConnectErrorKind::Tls => ErrorKind::InvalidData,
                _ => ErrorKind::ConnectionRefused,
            },
            NatsError::Tls(_) => ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}

/// Errors are shown and logged; passwords must not be.
/// The first user and password, or token, in the URLs: the client looks at none of them.
fn in_url(servers: &str) -> Option<(String, Option<String>)> {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (before, _host) = servers
        .split(',')
        .find_map(|server| server.rsplit_once('@'))?;
    let (_, user) = before.split_once("://").unwrap_or(("nats", before));
    Some(match user.trim().split_once(':') {
        Some((user, password)) => (decode(user), Some(decode(password))),
        None => (decode(user.trim()), None),
    })
}

fn without_passwords(servers: &str) -> String {
    let hide = |server: &str| match server.rsplit_once('@') {
        Some((before, host)) => {
            let (scheme, user) = before.split_once("://").unwrap_or(("nats", before));
            match user.split_once(':') {
                Some((user, _)) => format!("{scheme}://{user}:***@{host}"),
                // A name alone is a token.
                None => format!("{scheme}://***@{host}"),
            }
        }
        None => server.to_owned(),
    };
    let shown: Vec<String> = servers.split(',').map(hide).collect();
    shown.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_a_url_names_is_who_connects() {
        let named = |user: &str, password: Option<&str>| {
            Some((user.to_owned(), password.map(ToOwned::to_owned)))
        };
        assert_eq!(in_url("nats://me:s%40e:t@h:1"), named("me", Some("s@e:t")));
        assert_eq!(in_url("nats://h:1, to%3aken@h"), named("to:ken", None));
        assert_eq!(in_url("nats://h:1,h:2"), None);
    }

    #[test]
    fn passwords_are_not_shown() {
        let config = NatsConfig::new("nats://me:secret@h:1, nats://token@h:2,nats://h:3");
        let shown = format!("{config:?}");
        assert!(
            !shown.contains("secret") && !shown.contains("token"),
            "{shown}"
        );
        assert!(shown.contains("me:***@h:1") && shown.contains("***@h:2") && shown.contains("h:3"));
    }
}
