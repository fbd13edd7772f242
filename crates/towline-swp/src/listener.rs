//! One inbox, many peers.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use bytes::Bytes;
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinHandle,
};
use towline_codec::Text;

use crate::{
    driver::Source,
    error::ConnectError,
    network::{Inbox, Network},
    proto::{Compact, Config, Incoming, TcpEvent, compact_tag},
    session::{self, Session},
};

/// Sessions of one listener, open or opening.
const MAX_SESSIONS: usize = 1024;
/// Sessions that wait to be accepted.
const BACKLOG: usize = 128;
/// Packets beyond the window for which a session has room: acknowledgements and signs of life.
const CONTROL_PACKETS: usize = 256;

/// Hears on one inbox for many peers: each opener becomes a session (docs/wire W18).
///
/// At most 1,024 sessions are open or opening at a time; a further opener is not answered. Dropping the
/// listener ends the hearing, and with it its sessions.
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
    task: JoinHandle<()>,
}

impl Listener {
    /// Hears on the configured inbox. The configured remote is not used: every opener is served.
    ///
    /// # Errors
    ///
    /// What the settings or the network do not allow.
    pub async fn bind(network: Arc<dyn Network>, config: Config) -> Result<Self, ConnectError> {
        config.validate()?;
        let inbox = network.listen(config.local()).await?;
        let (accepting, accepted) = mpsc::channel(BACKLOG);
        let router = Router {
            config,
            network,
            accepting,
            routes: HashMap::new(),
            tags: HashMap::new(),
        };
        Ok(Self {
            accepted: Mutex::new(accepted),
            task: tokio::spawn(router.run(inbox)),
        })
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

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

/// A peer's inbox and nonce.
type Key = (Text, Text);

struct Router {
    config: Config,
    network: Arc<dyn Network>,
    accepting: mpsc::Sender<Session>,
    routes: HashMap<Key, mpsc::Sender<Incoming>>,
    tags: HashMap<u64, Key>,
}

impl Router {
    async fn run(mut self, mut inbox: Inbox) {
        while let Some(packet) = inbox.receive().await {
            self.route(&packet);
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
            match route.try_send(incoming) {
                // A full queue loses the packet, as any network may.
                Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => {}
                Err(mpsc::error::TrySendError::Closed(_)) => self.forget_ended(),
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
        let config = self.config.clone().with_remote(key.0.clone());
        let queue = (config.window_messages() as usize * 2).min(1 << 16) + CONTROL_PACKETS;
        let Ok((engine, max_packet)) = session::engine(&self.network, config) else {
            return;
        };
        let tag = compact_tag(&key.1, engine.nonce());
        let (route, routed) = mpsc::channel(queue);
        // There is room for one packet.
        route.try_send(syn).ok();
        self.routes.insert(key.clone(), route);
        self.tags.insert(tag, key);
        Session::begin_accepted(
            engine,
            max_packet,
            Arc::clone(&self.network),
            Source::Routed(routed),
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
