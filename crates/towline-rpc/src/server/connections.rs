//! All clients of a server: finding them, grouping them, sending to many.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tokio::{
    sync::broadcast,
    time::{Instant, timeout_at},
};
use towline_codec::Text;

use super::{
    connection::{Connection, ConnectionId},
    push::Push,
};
use crate::{close::CloseReason, driver, error::PushError, proto::CallIds};

/// Events that wait for a slow taker before the oldest are dropped.
const EVENTS: usize = 1024;

/// The clients that are connected to a server, whatever they came over: a handle that is cheap to
/// clone. Handlers have it from [`Context::connections`](super::Context::connections).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use towline_rpc::{
///     Client, Context, Message, Server,
///     proto::WhenFull,
///     server::{ListenConfig, Push},
/// };
///
/// // A chat: who joins a room hears what is said in it.
/// let server = Server::builder()
///     .call("join", |context: Context, request: Message| async move {
///         context.connection().join(request.body.as_ref());
///         Ok::<_, std::convert::Infallible>(Message::new())
///     })
///     .call("say", |context: Context, request: Message| async move {
///         let push = Push::new("said", request.body);
///         let pushed = context.connections().push_group("room", &push, Duration::from_millis(30)).await;
///         Ok::<_, std::convert::Infallible>(Message::from_body(pushed.queued.to_string()))
///     })
///     .build();
/// let listening = server.listen("tcp://127.0.0.1:0", ListenConfig::new()).await?;
/// let client = Client::builder().connect(&listening.endpoint().to_string()).await?;
/// let mut pushes = client.listen(WhenFull::Wait);
/// client.call(Message::request("join", "room")).await?;
/// assert_eq!(client.call(Message::request("say", "hi")).await?.body, "1");
/// assert_eq!(pushes.next().await.expect("connected")?.body, "hi");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Connections {
    registry: Arc<Registry>,
}

/// What became of a push to many.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Pushed {
    /// Clients for which it was queued.
    pub queued: usize,
    /// Those that did not get it, and why.
    pub refused: Vec<(Connection, PushError)>,
}

/// Clients that come and go. Each comes once and goes once.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// A client has connected; its handshakes are done.
    Connected(Connection),
    /// Its connection is over.
    Gone(Connection, CloseReason),
    /// So many older events were dropped because nobody took them. [`Connections::list`] tells who is
    /// there now.
    Missed(u64),
}

/// The events of a server. At most 1,024 wait; then the oldest are dropped and counted.
#[derive(Debug)]
pub struct ConnectionEvents {
    receiver: broadcast::Receiver<ConnectionEvent>,
}

impl ConnectionEvents {
    /// The next event; `None` when the server is gone.
    ///
    /// # Cancel safety
    ///
    /// Safe: no event is lost.
    pub async fn next(&mut self) -> Option<ConnectionEvent> {
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                Some(ConnectionEvent::Missed(missed))
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Connections {
    pub(super) fn new() -> Self {
        Self {
            registry: Arc::default(),
        }
    }

    /// Those of a registry that may be gone, and then are none.
    pub(super) fn of(registry: Option<Arc<Registry>>) -> Self {
        Self {
            registry: registry.unwrap_or_default(),
        }
    }

    pub(super) const fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Everybody who is connected, in the order in which they came.
    pub fn list(&self) -> Vec<Connection> {
        self.registry.lock().all.values().map(handle).collect()
    }

    /// The members of a group ([`Connection::join`]), in the order in which they connected.
    pub fn group(&self, group: impl Into<Text>) -> Vec<Connection> {
        let table = self.registry.lock();
        let Some(members) = table.groups.get(&group.into()) else {
            return Vec::new();
        };
        members
            .iter()
            .filter_map(|id| table.all.get(id))
            .map(handle)
            .collect()
    }

    /// The client with this address, `tcp://127.0.0.1:59705` say: of several, as over `unix://`, the
    /// latest.
    pub fn find(&self, remote_addr: impl Into<Text>) -> Option<Connection> {
        let remote = remote_addr.into();
        let table = self.registry.lock();
        let mut newest_first = table.all.values().rev();
        newest_first
            .find(|entry| *entry.connection.remote_addr() == remote)
            .map(handle)
    }

    /// Pushes to the client with this address, as [`find`](Self::find) finds it; otherwise as
    /// [`Connection::push`].
    ///
    /// # Errors
    ///
    /// [`PushError`]; nothing was sent.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, nothing was sent.
    pub async fn push_to(&self, remote_addr: impl Into<Text>, push: Push) -> Result<(), PushError> {
        let remote = remote_addr.into();
        match self.find(remote.clone()) {
            Some(connection) => connection.push(push).await,
            None => Err(PushError::NotConnected(remote)),
        }
    }

    /// Pushes to everybody. A client whose outbox is full may use `wait` (the original's: 30 ms) to
    /// make room; the time is for all of them together, so that those who do not read cost the others
    /// nothing. Who did not get the message is reported.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, some have got the message: first of all those with room.
    pub async fn push_all(&self, push: &Push, wait: Duration) -> Pushed {
        push_to_each(self.list(), push, wait).await
    }

    /// As [`push_all`](Self::push_all), to the members of a group.
    ///
    /// # Cancel safety
    ///
    /// As [`push_all`](Self::push_all).
    pub async fn push_group(&self, group: impl Into<Text>, push: &Push, wait: Duration) -> Pushed {
        push_to_each(self.group(group), push, wait).await
    }

    /// Who comes and goes, from now on.
    pub fn events(&self) -> ConnectionEvents {
        ConnectionEvents {
            receiver: self.registry.events().subscribe(),
        }
    }
}

async fn push_to_each(connections: Vec<Connection>, push: &Push, wait: Duration) -> Pushed {
    let mut pushed = Pushed {
        queued: 0,
        refused: Vec::new(),
    };
    let mut slow = Vec::new();
    for connection in connections {
        match connection.try_push(push.clone()) {
            Ok(()) => pushed.queued += 1,
            Err(PushError::NoRoom) => slow.push(connection),
            Err(error) => pushed.refused.push((connection, error)),
        }
    }
    if slow.is_empty() {
        return pushed;
    }
    let now = Instant::from_std(driver::now().instant);
    let deadline = now.checked_add(wait).unwrap_or(now);
    for connection in slow {
        // One after the other waits as long as all at once would: whoever makes room meanwhile has it
        // when its turn comes.
        match timeout_at(deadline, connection.push(push.clone())).await {
            Ok(Ok(())) => pushed.queued += 1,
            Ok(Err(error)) => pushed.refused.push((connection, error)),
            Err(_) => pushed.refused.push((connection, PushError::NoRoom)),
        }
    }
    pushed
}

fn handle(entry: &Entry) -> Connection {
    entry.connection.clone()
}

/// Everybody who is connected to one server.
#[derive(Default)]
pub(super) struct Registry {
    table: Mutex<Table>,
    events: OnceLock<broadcast::Sender<ConnectionEvent>>,
    call_ids: OnceLock<Mutex<CallIds>>,
}

#[derive(Default)]
struct Table {
    last: u64,
    all: BTreeMap<ConnectionId, Entry>,
    groups: HashMap<Text, BTreeSet<ConnectionId>>,
}

struct Entry {
    connection: Connection,
    groups: BTreeSet<Text>,
}

impl Registry {
    pub(super) fn next_id(&self) -> ConnectionId {
        let mut table = self.lock();
        table.last += 1;
        ConnectionId(table.last)
    }

    pub(super) fn next_call_id(&self) -> Text {
        let call_ids = self
            .call_ids
            .get_or_init(|| Mutex::new(CallIds::new(driver::seed())));
        call_ids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next()
    }

    /// Enters a connection; it is entered until the returned value is dropped.
    pub(super) fn enter(self: &Arc<Self>, connection: Connection) -> Entered {
        self.lock().all.insert(
            connection.id(),
            Entry {
                connection: connection.clone(),
                groups: BTreeSet::new(),
            },
        );
        self.tell(ConnectionEvent::Connected(connection.clone()));
        Entered {
            registry: Arc::clone(self),
            connection,
        }
    }

    pub(super) fn join(&self, id: ConnectionId, group: Text) {
        let mut table = self.lock();
        if let Some(entry) = table.all.get_mut(&id) {
            entry.groups.insert(group.clone());
            table.groups.entry(group).or_default().insert(id);
        }
    }

    pub(super) fn leave(&self, id: ConnectionId, group: &Text) {
        let mut table = self.lock();
        if let Some(entry) = table.all.get_mut(&id) {
            entry.groups.remove(group);
        }
        table.forget_member(id, group);
    }

    fn tell(&self, event: ConnectionEvent) {
        if let Some(events) = self.events.get() {
            // Nobody listens any more: nobody is to be told.
            drop(events.send(event));
        }
    }

    fn events(&self) -> &broadcast::Sender<ConnectionEvent> {
        self.events.get_or_init(|| broadcast::Sender::new(EVENTS))
    }

    /// The table is consistent between any two statements that could panic.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn forget_member(&mut self, id: ConnectionId, group: &Text) {
        if let Some(members) = self.groups.get_mut(group) {
            members.remove(&id);
            if members.is_empty() {
                self.groups.remove(group);
            }
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.lock();
        f.debug_struct("Registry")
            .field("connections", &table.all.len())
            .field("groups", &table.groups.len())
            .finish_non_exhaustive()
    }
}

/// A connection that is entered in its server's registry.
pub(super) struct Entered {
    registry: Arc<Registry>,
    connection: Connection,
}

impl Entered {
    /// Says why the connection ended. Without it, dropping says that this end closed it.
    pub(super) fn ended(&self, reason: CloseReason) {
        drop(self.connection.info.reason.set(reason));
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let id = self.connection.id();
        {
            let mut table = self.registry.lock();
            if let Some(entry) = table.all.remove(&id) {
                for group in &entry.groups {
                    table.forget_member(id, group);
                }
            }
        }
        let info = &self.connection.info;
        let reason = info.reason.get_or_init(|| CloseReason::ClosedHere).clone();
        info.gone.cancel();
        self.registry
            .tell(ConnectionEvent::Gone(self.connection.clone(), reason));
    }
}
