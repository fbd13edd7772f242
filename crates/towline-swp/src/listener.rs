//! One inbox, many peers.

mod opening;

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc};
use towline_codec::Text;

pub(crate) use self::opening::Opened;
use self::opening::{EarlyData, Opening};
use crate::{
    driver::{Arrived, Routed},
    error::ConnectError,
    network::{
        Inbox, InboxReport, Network,
        queue::{Entrance, Reporter, Weight, queue},
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
/// At most 1,024 sessions are open or opening at a time. A further opener displaces the one that has
/// been opening for the longest; it is not answered if all are open, or if 128 wait to be accepted. When
/// the listener is dropped no more sessions open; those that were accepted live on. Of data that comes before
/// its sender has shown that it hears, one packet a session is kept, and 8 MiB of all (docs/wire W17).
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
    counters: Arc<Counters>,
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
        let counters = Arc::new(Counters::default());
        let listener = Self {
            accepted: Mutex::new(accepted),
            inbox: inbox.reporter(),
            local: config.local().clone(),
            counters: Arc::clone(&counters),
            _alive: alive.clone(),
        };
        let router = Router {
            max_data: session::max_data(&network, &config),
            config,
            network,
            accepting,
            alive: alive.downgrade(),
            routes: HashMap::new(),
            tags: HashMap::new(),
            opened: 0,
            early: EarlyData::default(),
            counters,
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

    /// What came and belongs to no session.
    pub fn stats(&self) -> ListenerStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ListenerStats {
            undecodable: read(&self.counters.undecodable),
            foreign: read(&self.counters.foreign),
            refused: read(&self.counters.refused),
            displaced: read(&self.counters.displaced),
            early: read(&self.counters.early),
            barred: read(&self.counters.barred),
        }
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

/// What a [`Listener`] has dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerStats {
    /// Packets that could not be read (docs/wire W7, W9).
    pub undecodable: u64,
    /// Packets of no session that begin none (docs/wire W18).
    pub foreign: u64,
    /// Openers that were not answered, since too many sessions are open or wait to be accepted.
    pub refused: u64,
    /// Sessions that were opening and made room for a newer opener.
    pub displaced: u64,
    /// Data packets of openers who have not shown yet that they hear, for which there was no room
    /// (docs/wire W17).
    pub early: u64,
    /// Openers whose inbox is none of those that are answered ([`Config::peers_below`], docs/wire W18).
    pub barred: u64,
}

#[derive(Debug, Default)]
struct Counters {
    undecodable: AtomicU64,
    foreign: AtomicU64,
    refused: AtomicU64,
    displaced: AtomicU64,
    early: AtomicU64,
    barred: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A peer's inbox and nonce.
type Key = (Text, Text);

/// The way to a session's task, which ends when the route is dropped.
struct Route {
    packets: Entrance<Arrived>,
    tag: u64,
    /// Grows from one route to the next.
    number: u64,
    opening: Arc<Opening>,
}

struct Router {
    config: Config,
    /// The most data of one packet.
    max_data: usize,
    network: Arc<dyn Network>,
    accepting: mpsc::Sender<Session>,
    /// The listener and each session hold one.
    alive: mpsc::WeakSender<Infallible>,
    routes: HashMap<Key, Route>,
    tags: HashMap<u64, Key>,
    /// Routes so far.
    opened: u64,
    early: EarlyData,
    counters: Arc<Counters>,
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
        let Ok(incoming) = Incoming::decode(packet, self.max_data) else {
            count(&self.counters.undecodable);
            return;
        };
        let key = match &incoming {
            Incoming::Classic(packet) => (packet.from.clone(), packet.from_nonce.clone()),
            Incoming::Compact(frame) => match self.tags.get(&frame.tag) {
                Some(key) => key.clone(),
                None => {
                    count(&self.counters.foreign);
                    return;
                }
            },
        };
        let begins = incoming.event() == TcpEvent::SYN && !Compact::is_compact(packet);
        let arrived = Arrived {
            incoming,
            len: packet.len(),
        };
        if let Some(route) = self.routes.get(&key) {
            if is_early(&arrived.incoming) && !route.opening.may_keep(arrived.weight()) {
                count(&self.counters.early);
                return;
            }
            // A full queue loses the packet, as any network may.
            if !route.packets.put(arrived) {
                self.forget_ended();
            }
        } else if begins {
            self.open(key, arrived);
        } else {
            count(&self.counters.foreign);
        }
    }

    /// docs/wire W18: a SYN that belongs to no session begins one.
    fn open(&mut self, key: Key, syn: Arrived) {
        if !self.config.answers(&key.0) {
            count(&self.counters.barred);
            return;
        }
        if self.accepting.capacity() == 0 || !self.has_room() {
            count(&self.counters.refused);
            return;
        }
        let Some(alive) = self.alive.upgrade().filter(|_| !self.accepting.is_closed()) else {
            return;
        };
        let config = self.config.clone().with_remote(key.0.clone());
        let Ok(engine) = session::engine(&self.network, config) else {
            return;
        };
        let tag = compact_tag(&key.1, engine.nonce());
        let limits = session::inbox_limits(engine.config(), self.network.max_packet());
        let (entrance, packets) = queue(limits);
        entrance.put(syn);
        let (opening, opened) = self.early.begin();
        let route = Route {
            packets: entrance,
            tag,
            number: self.opened,
            opening,
        };
        self.opened += 1;
        self.routes.insert(key.clone(), route);
        self.tags.insert(tag, key);
        Session::begin_accepted(
            engine,
            self.max_data,
            Arc::clone(&self.network),
            Routed {
                packets,
                _alive: alive,
            },
            self.accepting.clone(),
            opened,
        );
    }

    /// Makes room for a session. Anybody can send SYNs in any name and answer nothing: the oldest of
    /// those that only knocked goes, and its task ends with its route.
    fn has_room(&mut self) -> bool {
        if self.routes.len() < MAX_SESSIONS {
            return true;
        }
        self.forget_ended();
        if self.routes.len() < MAX_SESSIONS {
            return true;
        }
        let oldest = self
            .routes
            .iter()
            .filter(|(_, route)| !route.opening.is_open())
            .min_by_key(|(_, route)| route.number)
            .map(|(key, _)| key.clone());
        let Some(route) = oldest.and_then(|key| self.routes.remove(&key)) else {
            return false;
        };
        self.tags.remove(&route.tag);
        count(&self.counters.displaced);
        true
    }

    /// Forgets sessions whose tasks have ended.
    fn forget_ended(&mut self) {
        self.routes.retain(|_, route| !route.packets.is_closed());
        let open: HashSet<&Key> = self.routes.keys().collect();
        self.tags.retain(|_, key| open.contains(key));
    }
}

/// Data of who does not know the session's nonce (docs/wire W17).
fn is_early(incoming: &Incoming) -> bool {
    match incoming {
        Incoming::Classic(packet) => packet.event == TcpEvent::DATA && packet.dest_nonce.is_empty(),
        Incoming::Compact(_) => false,
    }
}
