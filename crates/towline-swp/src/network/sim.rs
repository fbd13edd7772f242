//! A seeded network within this process: loss, delay, duplicates, partitions.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use bytes::Bytes;
use tokio::{sync::Notify, task::JoinHandle};
use towline_codec::Text;
pub use towline_sim::{Counters, PacketConditions, Passage};
use towline_sim::{PacketNet, Rng};

use super::{Delivery, Inbox, InboxLimits, Network, Pending};
use crate::{
    driver::now,
    proto::{Incoming, TcpEvent},
};

/// What a NATS server carries, unless it is told otherwise.
const MAX_PACKET: usize = 1 << 20;

/// A network that loses, delays and repeats packets as its conditions and its seed say. Clones are the
/// same network. It runs on the clock of the runtime: paused, that is virtual time.
///
/// Must be made within a tokio runtime; its task ends with the last clone.
#[derive(Debug, Clone)]
pub struct SimNet {
    inner: Arc<Inner>,
    _pump: Arc<Pump>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    net: PacketNet<Text>,
    inboxes: HashMap<Text, Delivery>,
    cut: HashSet<Text>,
}

#[derive(Debug)]
struct Pump(JoinHandle<()>);

impl SimNet {
    /// A network under the given conditions.
    pub fn new(conditions: PacketConditions, seed: u64) -> Self {
        let inner = Arc::new(Inner {
            state: Mutex::new(State {
                net: PacketNet::new(conditions, Rng::from_seed(seed)),
                inboxes: HashMap::new(),
                cut: HashSet::new(),
            }),
            changed: Notify::new(),
        });
        let pump = Pump(tokio::spawn(pump(Arc::downgrade(&inner))));
        Self {
            inner,
            _pump: Arc::new(pump),
        }
    }

    /// Changes the conditions for packets that are sent from now on.
    pub fn set_conditions(&self, conditions: PacketConditions) {
        self.inner.lock().net.set_conditions(conditions);
    }

    /// Decides the fate of each packet by where it goes and what it is.
    pub fn set_filter(&self, mut filter: impl FnMut(&Text, TcpEvent) -> Passage + Send + 'static) {
        self.inner.lock().net.set_filter(move |_, to, packet| {
            let packet = Bytes::copy_from_slice(packet);
            Incoming::decode(&packet, MAX_PACKET)
                .map_or(Passage::Normal, |incoming| filter(to, incoming.event()))
        });
    }

    /// Cuts an inbox off: what is sent to it is lost. Two ends are parted when both are cut off.
    pub fn cut(&self, inbox: &Text) {
        self.inner.lock().cut.insert(inbox.clone());
    }

    /// Ends every cut.
    pub fn heal(&self) {
        self.inner.lock().cut.clear();
    }

    /// What was counted of what went to an inbox.
    pub fn counters(&self, inbox: &Text) -> Counters {
        self.inner.lock().net.counters(inbox)
    }
}

impl Network for SimNet {
    fn listen<'a>(&'a self, inbox: &'a Text, limits: InboxLimits) -> Pending<'a, Inbox> {
        Box::pin(async move {
            let (delivery, heard) = Inbox::new(limits);
            let mut state = self.inner.lock();
            state.net.listen(inbox.clone());
            state.inboxes.insert(inbox.clone(), delivery);
            Ok(heard)
        })
    }

    fn send<'a>(&'a self, dest: &'a Text, packet: Bytes) -> Pending<'a, ()> {
        let mut state = self.inner.lock();
        let result = if state.net.is_heard(dest) {
            Ok(())
        } else {
            Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("sim sees packet for unknown node '{dest}'"),
            ))
        };
        if !state.cut.contains(dest) {
            // Only where it goes matters here.
            state.net.send(now().instant, dest, dest, packet);
        }
        drop(state);
        self.inner.changed.notify_one();
        Box::pin(std::future::ready(result))
    }

    fn max_packet(&self) -> usize {
        MAX_PACKET
    }
}

async fn pump(network: Weak<Inner>) {
    loop {
        let Some(inner) = network.upgrade() else {
            return;
        };
        let next = {
            let mut state = inner.lock();
            let now = now().instant;
            while let Some((to, packet)) = state.net.receive(now) {
                let is_heard = state
                    .inboxes
                    .get(&to)
                    .is_some_and(|delivery| delivery.deliver(packet));
                if !is_heard {
                    state.inboxes.remove(&to);
                    state.net.forget(&to);
                }
            }
            state.net.next_arrival()
        };
        match next {
            Some(at) => {
                tokio::select! {
                    biased;
                    () = inner.changed.notified() => {}
                    () = tokio::time::sleep_until(at.into()) => {}
                }
            }
            None => inner.changed.notified().await,
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}
