//! Settings of a pool.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex},
};

use tokio::task::JoinSet;
use towline_transport::Connection;

use super::{
    Inner, Pool,
    calls::Settings,
    connecting::{Connecting, Dial},
    table::Table,
};
use crate::{
    client::{Client, ClientBuilder},
    driver,
    error::ConnectError,
    proto::{Backoff, ReconnectPolicy, ReconnectPolicyError},
};

/// Settings of a [`Pool`].
pub struct PoolBuilder {
    addresses: Vec<Arc<str>>,
    connections: usize,
    max_waiting: usize,
    policy: ReconnectPolicy,
    client: ClientBuilder,
    dial: Option<Arc<Dial>>,
    seed: Option<[u8; 32]>,
}

/// Why there can be no such pool.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// There is nothing to connect to.
    #[error("a pool needs an address to connect to: give it one")]
    NoAddress,
    /// There would be no connections.
    #[error("a pool of 0 connections connects to nothing: ask for 1 or more")]
    NoConnections,
    /// An address is not an endpoint this build can connect to.
    #[error(transparent)]
    Endpoint(#[from] towline_transport::ParseEndpointError),
    /// The numbers of the policy contradict each other.
    #[error(transparent)]
    Policy(#[from] ReconnectPolicyError),
}

impl Default for PoolBuilder {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            connections: 1,
            max_waiting: 1024,
            policy: ReconnectPolicy::default(),
            client: Client::builder(),
            dial: None,
            seed: None,
        }
    }
}

impl PoolBuilder {
    /// An address to connect to, such as `tls://host:8443`. May be given several times: connections are spread over them
    /// in their order, and one that is lost is next made to another address.
    #[must_use]
    pub fn address(mut self, address: impl Into<Arc<str>>) -> Self {
        self.addresses.push(address.into());
        self
    }

    /// How many connections are kept. Default: 1. Each costs both ends a socket, its buffers and a task.
    #[must_use]
    pub const fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// How many calls may wait for a connection while there is none. Default: 1,024; one more fails at once with
    /// [`NoConnection::TooManyWaiting`](super::NoConnection::TooManyWaiting).
    #[must_use]
    pub const fn max_waiting(mut self, calls: usize) -> Self {
        self.max_waiting = calls;
        self
    }

    /// When to connect again. Default: [`ReconnectPolicy::default`].
    #[must_use]
    pub fn reconnect(mut self, policy: ReconnectPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Settings of each connection: identity, trust, compression, time limits. Default: those of
    /// [`ClientBuilder`]. Its [`seed`](ClientBuilder::seed) counts for nothing here: see [`seed`](Self::seed).
    #[must_use]
    pub fn client(mut self, settings: ClientBuilder) -> Self {
        self.client = settings;
        self
    }

    /// How an address becomes a connection, in place of [`ClientBuilder::connect`]: addresses then are any texts.
    ///
    /// ```
    /// use towline_rpc::Pool;
    /// use towline_transport::Connection;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Pool::builder()
    ///     .address("somewhere")
    ///     .connect_by(|address| async move {
    ///         let (io, _other_end) = tokio::io::duplex(1024);
    ///         let peer = towline_identity::Peer::unauthenticated(&*address);
    ///         Ok(Connection::new(Box::new(io), peer, "here", &*address))
    ///     })
    ///     .build()?;
    /// # drop(pool);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn connect_by<F, Fut>(mut self, dial: F) -> Self
    where
        F: Fn(Arc<str>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Connection, ConnectError>> + Send + 'static,
    {
        self.dial = Some(Arc::new(move |address| Box::pin(dial(address))));
        self
    }

    /// What all random choices of the pool follow from: its waits, and the CallIDs of its connections. Default: the
    /// system's random numbers. For tests and simulations.
    #[must_use]
    pub const fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Whether the settings fit together.
    ///
    /// # Errors
    ///
    /// [`PoolError`].
    pub fn validate(&self) -> Result<(), PoolError> {
        if self.addresses.is_empty() {
            return Err(PoolError::NoAddress);
        }
        if self.connections == 0 {
            return Err(PoolError::NoConnections);
        }
        if self.dial.is_none() {
            for address in &self.addresses {
                address.parse::<towline_transport::Endpoint>()?;
            }
        }
        Ok(self.policy.validate()?)
    }

    /// The pool. It begins to connect at once, in tasks of its own, and does not wait for that: see [`Pool::ready`]. Must be
    /// called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`PoolError`] if the settings contradict each other.
    pub fn build(self) -> Result<Pool, PoolError> {
        self.validate()?;
        let Self {
            addresses,
            connections,
            max_waiting,
            policy,
            client,
            dial,
            seed,
        } = self;
        let dial = dial.unwrap_or_else(|| {
            let client = client.clone();
            Arc::new(move |address| {
                let client = client.clone();
                Box::pin(async move { client.dial(&address).await })
            })
        });
        let first = |connection: usize| connection % addresses.len();
        let at_first = (0..connections).map(|connection| Arc::clone(&addresses[first(connection)]));
        let table = Table::new(at_first, max_waiting);
        let mut seeds = Backoff::new(policy.clone(), seed.unwrap_or_else(driver::seed));
        let settings = Settings::new(&client, policy.clone(), seeds.seed());
        let mut connecting = JoinSet::new();
        for connection in 0..connections {
            let mut addresses = addresses.clone();
            addresses.rotate_left(first(connection));
            let task = Connecting {
                table: Arc::clone(&table),
                connection,
                addresses,
                dial: Arc::clone(&dial),
                client: client.clone(),
                backoff: Backoff::new(policy.clone(), seeds.seed()),
                hung_up: 0,
            };
            connecting.spawn(task.run());
        }
        Ok(Pool {
            inner: Arc::new(Inner {
                table,
                settings,
                connecting: Mutex::new(connecting),
            }),
        })
    }
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("addresses", &self.addresses)
            .field("connections", &self.connections)
            .field("max_waiting", &self.max_waiting)
            .field("policy", &self.policy)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
