//! One inbox, many peers.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    fmt,
    sync::Arc,
};

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc};
use towline_codec::Text;

use crate::{
    driver::Routed,
    error::ConnectError,
    network::{
        Inbox, InboxReport, Network,
        queue::{Entrance, Reporter, queue},
    },
    proto::{Compact, Config, Incoming, TcpEvent, compact_tag},
    session::{self, Session},
};

/// Sessions of one listener, open or opening.
const MAX_SESSIONS: usize = 1024;
/// Sessions that wait to be accepted.
const BACKLOG: usize = 128;
/// Packets that are handed out before the listener looks up.
const BATCH: usize = 64;

/// Hears on one inbox for many peers: each opener becomes a session (docs/wire W18).
///
/// At most 1,024 sessions are open or opening at a time; a further opener is not answered. When the
/// listener is dropped no more sessions open; those that were accepted live on.
///
/// ```no_run
/// use std::sync::Arc;
/// use towline_swp::{Listener, network::udp::UdpNetwork, proto::Config};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let network = UdpNetwork::bind("127.0.0.1:9000".parse()?).await?;
/// let config = Config::new(network.inbox(), "");
/// let listener = Listener::bind(Arc::new(network), config).await?;
/// while let Some(session) = listener.accept().await {
///     tokio::spawn(async move { session.recv().await });
/// }
/// # Ok(())
/// # }
/// ```
pub struct Listener {
    accepted: Mutex<mpsc::Receiver<Session>>,
    inbox: Reporter,
    local: Text,
    _alive: mpsc::Sender<Infallible>,
}

impl Listener {
    /// Hears on the configured inbox. The configured remote is not used: every opener is served.
    ///
    /// # Errors
    ///
    /// What the settings or the network do not allow.
    pub async fn bind(network: Arc<dyn Network>, config: Config) -> Result<Self, ConnectError> {
        config.validate()?;
        let limits = session::inbox_limits(
            &session::limited(&network, config.clone()),
            network.max_packet(),
        );
        let inbox = network.listen(config.local(), limits).await?;
        let (accepting, accepted) = mpsc::channel(BACKLOG);
        let (alive, ended) = mpsc::channel(1);
        let listener = Self {
            accepted: Mutex::new(accepted),
            inbox: inbox.reporter(),
            local: config.local().clone(),
            _alive: alive.clone(),
        };
        let router = Router {
            config,
            network,
            accepting,
            alive: alive.downgrade(),
            routes: HashMap::new(),
            tags: HashMap::new(),
        };
        // It ends with the listener and the last of its sessions.
        tokio::spawn(router.run(inbox, ended));
        Ok(listener)
    }

    /// The inbox it hears on.
    pub fn local(&self) -> &Text {
        &self.local
    }

    /// What the inbox has seen.
    pub fn inbox_report(&self) -> InboxReport {
        self.inbox.report()
    }

    /// The next session that an opener has opened; `None` when the network is gone.
    ///
    /// # Cancel safety
    ///
    /// No session is lost if the future is dropped.
    pub async fn accept(&self) -> Option<Session> {
        self.accepted.lock().await.recv().await
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

/// A peer's inbox and nonce.
type Key = (Text, Text);

struct Router {
    config: Config,
    network: Arc<dyn Network>,
    accepting: mpsc::Sender<Session>,
    /// The listener and each session hold one.
    alive: mpsc::WeakSender<Infallible>,
    routes: HashMap<Key, Entrance<Incoming>>,
    tags: HashMap<u64, Key>,
}

impl Router {
    async fn run(mut self, mut inbox: Inbox, mut ended: mpsc::Receiver<Infallible>) {
        let mut packets = Vec::new();
        loop {
            tokio::select! {
                biased;
                _never_sent = ended.recv() => return,
                taken = inbox.receive_many(&mut packets, BATCH) => {
                    if taken == 0 {
                        return;
                    }
                }
            }
            for packet in packets.drain(..) {
                self.route(&packet);
            }
        }
    }

    fn route(&mut self, packet: &Bytes) {
        let Ok(incoming) = Incoming::decode(packet, self.network.max_packet()) else {
            return;
        };
        let key = match &incoming {
            Incoming::Classic(packet) => (packet.from.clone(), packet.from_nonce.clone()),
            Incoming::Compact(frame) => match self.tags.get(&frame.tag) {
                Some(key) => key.clone(),
                None => return,
            },
        };
        if let Some(route) = self.routes.get(&key) {
            // A full queue loses the packet, as any network may.
            if !route.put(incoming) {
                self.forget_ended();
            }
            return;
        }
        if incoming.event() == TcpEvent::SYN && !Compact::is_compact(packet) {
            self.open(key, incoming);
        }
    }

    /// docs/wire W18: a SYN that belongs to no session begins one.
    fn open(&mut self, key: Key, syn: Incoming) {
        if self.routes.len() >= MAX_SESSIONS {
            self.forget_ended();
        }
        if self.routes.len() >= MAX_SESSIONS || self.accepting.capacity() == 0 {
            return;
        }
        let Some(alive) = self.alive.upgrade().filter(|_| !self.accepting.is_closed()) else {
            return;
        };
        let config = self.config.clone().with_remote(key.0.clone());
        let Ok((engine, max_packet)) = session::engine(&self.network, config) else {
            return;
        };
        let tag = compact_tag(&key.1, engine.nonce());
        let (route, packets) = queue(session::inbox_limits(engine.config(), max_packet));
        route.put(syn);
        self.routes.insert(key.clone(), route);
        self.tags.insert(tag, key);
        Session::begin_accepted(
            engine,
            max_packet,
            Arc::clone(&self.network),
            Routed {
                packets,
                _alive: alive,
            },
            self.accepting.clone(),
        );
    }

    /// Forgets sessions whose tasks have ended.
    fn forget_ended(&mut self) {
        self.routes.retain(|_, route| !route.is_closed());
        let open: HashSet<&Key> = self.routes.keys().collect();
        self.tags.retain(|_, key| open.contains(key));
    }
}
