//! The settings of a server.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use towline_transport::{Authorisation, Connection};

use crate::accept::Accept;
use crate::accept_loop::AcceptLoop;
use crate::admission::{AcceptRate, Admission, Rules};
use crate::counters::Shared;
use crate::metrics::ServerMetrics;
use crate::network::Network;
use crate::outcome::Outcome;
use crate::preamble::{AtLimit, Manners, Preamble};
use crate::proxy::ProxyProtocol;
use crate::registry::{Registry, Settings};
use crate::server::{Server, ServerHandle};
use crate::strategy::Strategy;
use crate::target::{Handler, Sockets, Target};
use crate::time_limits::TimeLimits;
use crate::timing::{Clock, MetricsHook};
use crate::turn::Turns;

/// Settings that cannot be served with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A limit that lets nobody in, or more than can be counted.
    #[error("max_connections is {given}; it must be from 1 to {most}")]
    MaxConnections {
        /// What was set.
        given: usize,
        /// The largest value.
        most: usize,
    },
    /// A low water mark above the high one.
    #[error("water_marks are {low} and {high}; the low one must not be above the high one")]
    WaterMarks {
        /// The low one.
        low: usize,
        /// The high one.
        high: usize,
    },
    /// A setting of 0 that would serve nobody, or never end.
    #[error("{setting} is 0; it must be at least 1")]
    Zero {
        /// Which one.
        setting: &'static str,
    },
    /// Nothing to accept from.
    #[error("a server needs at least one listener")]
    NoListener,
}

/// How a server runs. The defaults suit a machine that serves thousands of peers.
///
/// ```
/// use std::time::Duration;
/// use towline_server::{Server, TaskPerConnection};
/// use towline_transport::{ListenOptions, Listener};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = Listener::bind(&"tcp://127.0.0.1:0".parse()?, &ListenOptions::new()).await?;
/// let server = Server::builder()
///     .max_per_address(100)
///     .deny(["192.0.2.0/24".parse()?])
///     .idle_timeout(Duration::from_secs(300))
///     .start([listener], TaskPerConnection::new(|stream| async move {
///         stream.send("hello\n").ok();
///     }))?;
/// println!("{:?}", server.handle().local_addr());
/// server.shutdown(Duration::from_secs(1)).await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Builder {
    max_connections: usize,
    authorisation: Authorisation,
    rules: Rules,
    max_handshakes: Option<usize>,
    manners: Manners,
    settings: Settings,
    interval: Duration,
    hook: Option<MetricsHook>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            max_connections: 10_240,
            authorisation: Authorisation::default(),
            rules: Rules::default(),
            max_handshakes: None,
            manners: Manners {
                proxy: ProxyProtocol::default(),
                limit: Duration::from_secs(10),
                at_limit: AtLimit::default(),
            },
            settings: Settings {
                max_queued: 1024 * 1024,
                marks: (32 * 1024, 64 * 1024),
                linger: Duration::from_secs(5),
                drain_deadline: Duration::from_secs(10),
                limits: TimeLimits::default(),
            },
            interval: Duration::from_secs(1),
            hook: None,
        }
    }
}

impl Builder {
    /// How many connections may live at once over all listeners, unfinished handshakes included:
    /// 10,240 unless told otherwise. What becomes of one more is said by [`at_limit`](Self::at_limit).
    ///
    /// Each costs a file descriptor and its buffers; a TLS connection that idles some 30 KiB, a busy one up to
    /// 300 KiB.
    pub fn max_connections(mut self, most: usize) -> Self {
        self.max_connections = most;
        self
    }

    /// What becomes of connections beyond [`max_connections`](Self::max_connections): by default they
    /// are accepted and closed at once, and counted.
    pub fn at_limit(mut self, policy: AtLimit) -> Self {
        self.manners.at_limit = policy;
        self
    }

    /// How many connections one address may have at once; no limit unless told otherwise. An IPv6 site,
    /// 64 bits, counts as one address. One more is closed at once, and counted. Connections of a proxy
    /// count for the proxy.
    pub fn max_per_address(mut self, most: usize) -> Self {
        self.rules.max_per_address = Some(most);
        self
    }

    /// How many connections are taken in a second, and how many at once after a pause; no limit unless
    /// told otherwise. More are closed at once, and counted.
    pub fn accept_rate(mut self, per_second: u32, burst: u32) -> Self {
        self.rules.accept_rate = Some(AcceptRate { per_second, burst });
        self
    }

    /// The same for each address: how many of its connections are taken in a second, and how many at once
    /// after a pause; no limit unless told otherwise. An IPv6 site counts as one address. Of more than 65,536
    /// addresses that come within moments the rest is not told apart.
    pub fn accept_rate_per_address(mut self, per_second: u32, burst: u32) -> Self {
        self.rules.address_rate = Some(AcceptRate { per_second, burst });
        self
    }

    /// How many connections may be shaking hands at once; no limit unless told otherwise. The others wait for
    /// their turn, those that have sent nothing yet outside of the queue. A handshake costs a millisecond
    /// of a processor and some 40 KiB meanwhile: with a limit those who are served already keep their pace when
    /// thousands come back at the same moment. Whoever begins a handshake and does not go on holds a turn until
    /// the listener's time limit: make the limit larger than what strangers can waste.
    pub fn max_handshakes(mut self, most: usize) -> Self {
        self.max_handshakes = Some(most);
        self
    }

    /// Takes in connections from these networks alone; from all unless told otherwise. Decided before
    /// any handshake.
    pub fn allow(mut self, networks: impl IntoIterator<Item = Network>) -> Self {
        self.rules.allow.extend(networks);
        self
    }

    /// Takes in no connections from these networks, allowed or not.
    pub fn deny(mut self, networks: impl IntoIterator<Item = Network>) -> Self {
        self.rules.deny.extend(networks);
        self
    }

    /// Which connections begin with a PROXY header, of version 1 or 2: none unless told otherwise. The
    /// address it names is the peer's from then on, for logs, authorisation and networks alike.
    pub fn proxy_protocol(mut self, proxy: ProxyProtocol) -> Self {
        self.manners.proxy = proxy;
        self
    }

    /// How long a PROXY header may take: 10 seconds unless told otherwise.
    pub fn proxy_timeout(mut self, limit: Duration) -> Self {
        self.manners.limit = limit;
        self
    }

    /// How many bytes may wait to be sent on one socket: 1 MiB unless told otherwise. Each message counts 128
    /// bytes on top of its own, which is what keeping it costs: however small they are, they take no more
    /// memory than this. More is refused to the sender ([`SendError::Full`](crate::SendError::Full)); a
    /// single larger message is taken when nothing waits.
    pub fn max_queued(mut self, bytes: usize) -> Self {
        self.settings.max_queued = bytes;
        self
    }

    /// Between how many bytes that wait, counted as by [`max_queued`](Self::max_queued), a socket counts as writable again and no more
    /// ([`Socket::writable`](crate::Socket::writable)): 32 KiB and 64 KiB unless told otherwise. Marks above
    /// that limit are never reached.
    pub fn water_marks(mut self, low: usize, high: usize) -> Self {
        self.settings.marks = (low, high);
        self
    }

    /// How long a connection whose handler has returned may take to send what waits, and then to hear that its
    /// peer has ended as well: 5 seconds unless told otherwise. A connection that is cut off before may cost its
    /// peer the end of what it was sent. A server that stops does not wait for silent peers.
    pub fn linger(mut self, limit: Duration) -> Self {
        self.settings.linger = limit;
        self
    }

    /// Ends sockets that have sent nothing at all after this time; never unless told otherwise. Like all
    /// time limits of sockets it may be exceeded by a quarter.
    pub fn first_byte_timeout(mut self, limit: Duration) -> Self {
        self.settings.limits.first_byte = Some(limit);
        self
    }

    /// Ends sockets on which no byte has moved for this time, in either direction; never unless told
    /// otherwise. Recommended: connections whose peer has vanished hold their place until keep-alives
    /// notice.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.settings.limits.idle = Some(limit);
        self
    }

    /// Ends sockets that have begun a packet and not finished it after this time, however many bytes
    /// come: 30 seconds unless told otherwise, `None` for never. For handlers of packets
    /// ([`Packets`](crate::Packets)).
    pub fn packet_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.limits.packet = limit.into();
        self
    }

    /// Ends sockets whose peer takes nothing of what waits for this time: 30 seconds unless told
    /// otherwise, `None` for never.
    pub fn write_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.limits.write = limit.into();
        self
    }

    /// All four at once. A socket can be given its own
    /// ([`Socket::set_time_limits`](crate::Socket::set_time_limits)).
    pub fn time_limits(mut self, limits: TimeLimits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// How long [`Server::drain`] waits for handlers: 10 seconds unless told otherwise. Less cuts
    /// off transfers that would have finished, more makes stopping slow.
    pub fn drain_deadline(mut self, limit: Duration) -> Self {
        self.settings.drain_deadline = limit;
        self
    }

    /// Which peers get a handler, whatever their connections come from: by default all of them. The
    /// others are closed after their handshake, and counted. A listener of towline-transport can
    /// refuse them within it, so that they hear why (`ListenOptions::authorise`).
    pub fn authorise(mut self, authorisation: Authorisation) -> Self {
        self.authorisation = authorisation;
        self
    }

    /// How long an interval of the metrics is, and hence of all rates: one second unless told otherwise.
    pub fn metrics_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Calls `hook` at the end of each interval with a snapshot. It may call everything, and must not
    /// block.
    pub fn on_metrics(mut self, hook: impl Fn(ServerMetrics) + Send + Sync + 'static) -> Self {
        self.hook = Some(Arc::new(hook));
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        let (given, most) = (self.max_connections, Semaphore::MAX_PERMITS);
        if !(1..=most).contains(&given) {
            return Err(ConfigError::MaxConnections { given, most });
        }
        let (low, high) = self.settings.marks;
        if low > high {
            return Err(ConfigError::WaterMarks { low, high });
        }
        let rate = self.rules.accept_rate;
        let address_rate = self.rules.address_rate;
        let limits = &self.settings.limits;
        let is_zero = |limit: Option<Duration>| limit.is_some_and(|limit| limit.is_zero());
        let zeros = [
            ("max_per_address", self.rules.max_per_address == Some(0)),
            ("accept_rate", rate.is_some_and(|rate| rate.per_second == 0)),
            (
                "accept_rate's burst",
                rate.is_some_and(|rate| rate.burst == 0),
            ),
            (
                "accept_rate_per_address",
                address_rate.is_some_and(|rate| rate.per_second == 0),
            ),
            (
                "accept_rate_per_address's burst",
                address_rate.is_some_and(|rate| rate.burst == 0),
            ),
            ("max_handshakes", self.max_handshakes == Some(0)),
            ("proxy_timeout", self.manners.limit.is_zero()),
            ("metrics_interval", self.interval.is_zero()),
            ("first_byte_timeout", is_zero(limits.first_byte)),
            ("idle_timeout", is_zero(limits.idle)),
            ("packet_timeout", is_zero(limits.packet)),
            ("write_timeout", is_zero(limits.write)),
        ];
        match zeros.into_iter().find(|(_, zero)| *zero) {
            Some((setting, _)) => Err(ConfigError::Zero { setting }),
            None => Ok(()),
        }
    }

    /// Starts accepting. Must be called within a tokio runtime.
    ///
    /// The handler runs once for each connection whose handshake succeeded, in that connection's own
    /// task; the connection ends when its future does. The token it gets is cancelled when the server
    /// is being shut down: finish what must be finished and return. What it returns is `()`, or an
    /// [`Outcome`] that tells why a connection ended badly. A handler that panics ends only its own
    /// connection.
    ///
    /// The handler has the connection for itself; there is no [`Socket`](crate::Socket), and the limits
    /// for time and queues do not apply. For those, see [`start`](Self::start).
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn serve<L, H, F>(
        self,
        listeners: impl IntoIterator<Item = L>,
        handler: H,
    ) -> Result<Server, ConfigError>
    where
        L: Accept,
        H: Fn(Connection, CancellationToken) -> F + Send + Sync + 'static,
        F: Future<Output: Into<Outcome>> + Send + 'static,
    {
        self.validate()?;
        let (registry, counters) = self.registry();
        let target = Handler {
            handler: Arc::new(handler),
            counters,
            authorisation: self.authorisation.clone(),
        };
        self.run(listeners, target, registry, None)
    }

    /// Starts accepting, and serves sockets by a strategy. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn start<L: Accept>(
        self,
        listeners: impl IntoIterator<Item = L>,
        strategy: impl Strategy,
    ) -> Result<Server, ConfigError> {
        self.validate()?;
        let (registry, _) = self.registry();
        let strategy: Arc<dyn Strategy> = Arc::new(strategy);
        let target = Sockets {
            strategy: Arc::clone(&strategy),
            registry: Arc::clone(&registry),
            authorisation: self.authorisation.clone(),
        };
        self.run(listeners, target, registry, Some(strategy))
    }

    /// Changes a running server ([`ServerHandle::reconfigure`]).
    pub(crate) fn apply(&self, handle: &ServerHandle) -> Result<(), ConfigError> {
        self.validate()?;
        // Before the places: whoever waits for one looks at the manners then.
        handle.preamble.change(self.manners.clone());
        handle
            .admission
            .change(self.rules.clone(), self.max_connections);
        handle.turns.set_most(self.max_handshakes);
        handle.registry.change(self.settings);
        Ok(())
    }

    fn registry(&self) -> (Arc<Registry>, Arc<Shared>) {
        let counters = Arc::new(Shared::default());
        let registry = Registry::new(
            self.settings,
            CancellationToken::new(),
            Arc::clone(&counters),
        );
        (registry, counters)
    }

    fn run<L: Accept, T: Target>(
        self,
        listeners: impl IntoIterator<Item = L>,
        target: T,
        registry: Arc<Registry>,
        strategy: Option<Arc<dyn Strategy>>,
    ) -> Result<Server, ConfigError> {
        let listeners: Vec<L> = listeners.into_iter().collect();
        if listeners.is_empty() {
            return Err(ConfigError::NoListener);
        }
        let counters = Arc::clone(&registry.counters);
        let cut_off = CancellationToken::new();
        let admission = Arc::new(Admission::new(
            self.rules,
            self.max_connections,
            Arc::clone(&counters),
        ));
        let preamble = Arc::new(Preamble::new(self.manners));
        let turns = Arc::new(Turns::new(self.max_handshakes));
        let (publish, published) = watch::channel(ServerMetrics::default());
        let mut helpers = JoinSet::new();
        if let Some(strategy) = &strategy {
            strategy.on_start();
            let clock = Clock {
                registry: Arc::clone(&registry),
                interval: self.interval,
                hook: self.hook,
                strategy: Arc::clone(strategy),
                publish,
            };
            helpers.spawn(clock.run());
        }
        let addresses = listeners.iter().map(Accept::local).collect();
        let mut loops = JoinSet::new();
        for listener in listeners {
            let accept_loop = AcceptLoop {
                admission: Arc::clone(&admission),
                preamble: Arc::clone(&preamble),
                turns: Arc::clone(&turns),
                counters: Arc::clone(&counters),
                stopping: registry.stop().clone(),
                cut_off: cut_off.clone(),
                target: target.clone(),
            };
            loops.spawn(accept_loop.run(listener));
        }
        let handle = ServerHandle {
            registry,
            admission,
            preamble,
            turns,
            published,
            failure: Arc::new(Mutex::new(None)),
            addresses,
        };
        Ok(Server::new(handle, cut_off, loops, helpers, strategy))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("max_connections", &self.max_connections)
            .field("max_handshakes", &self.max_handshakes)
            .field("rules", &self.rules)
            .field("manners", &self.manners)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
