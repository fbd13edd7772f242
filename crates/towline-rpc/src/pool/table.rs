//! Who is connected, and who waits for a connection.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{broadcast, watch};

use super::events::{Cause, EVENTS, PoolEvent, PoolEvents};
use crate::{client::Client, close::CloseReason, driver, error::CallError};

/// How long a connection whose server is busy, or does not answer, is passed over while there are others.
const REST: Duration = Duration::from_millis(500);

/// Why a call of a pool found no connection. Nothing was sent.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum NoConnection {
    /// The time of the call was up before there was one.
    #[error("no connection within {} s{}", waited.as_secs_f64(), said(last))]
    TimedOut {
        /// How long it waited.
        waited: Duration,
        /// What the latest attempt failed by.
        last: Option<Cause>,
    },
    /// All connections were given up; this is why the last was.
    #[error("every connection was given up; the last because: {0}")]
    GivenUp(Cause),
    /// So many calls wait already.
    #[error("{0} calls wait for a connection already: raise max_waiting, or make fewer at once")]
    TooManyWaiting(usize),
}

fn said(last: &Option<Cause>) -> String {
    last.as_ref()
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default()
}

/// One connection of a pool, at a moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PooledConnection {
    /// Which, counted from 0.
    pub connection: usize,
    /// What it is connected to, or is to be.
    pub address: Arc<str>,
    /// Whether it is.
    pub is_connected: bool,
    /// Calls and streams on it that have not ended.
    pub in_flight: usize,
}

/// All connections of a pool.
#[derive(Debug)]
pub(super) struct Table {
    state: Mutex<State>,
    max_waiting: usize,
    /// Changes whenever who waits for a connection should look again.
    changed: watch::Sender<()>,
    events: broadcast::Sender<PoolEvent>,
}

#[derive(Debug)]
struct State {
    slots: Vec<Slot>,
    /// Of connections with equally little to do the next in turn is taken.
    turn: usize,
    waiting: usize,
    last: Option<Cause>,
    closed: bool,
}

#[derive(Debug)]
struct Slot {
    address: Arc<str>,
    client: Option<Client>,
    /// Others are taken before it until then.
    rests: Option<Instant>,
    given_up: bool,
}

impl Table {
    /// A table of connections to be made, first to these addresses.
    pub(super) fn new(addresses: impl Iterator<Item = Arc<str>>, max_waiting: usize) -> Arc<Self> {
        let slots = addresses.map(|address| Slot {
            address,
            client: None,
            rests: None,
            given_up: false,
        });
        Arc::new(Self {
            state: Mutex::new(State {
                slots: slots.collect(),
                turn: 0,
                waiting: 0,
                last: None,
                closed: false,
            }),
            max_waiting,
            changed: watch::Sender::new(()),
            events: broadcast::Sender::new(EVENTS),
        })
    }

    /// The connection with the least to do, and which it is; waits for one until `deadline`.
    pub(super) async fn connection(
        &self,
        deadline: Option<Instant>,
    ) -> Result<(usize, Client), CallError> {
        if let Some(found) = self.lock().pick()? {
            return Ok(found);
        }
        let begun = driver::now().instant;
        let Some(_place) = Place::take(self) else {
            return Err(NoConnection::TooManyWaiting(self.max_waiting).into());
        };
        let mut changed = self.changed.subscribe();
        let search = async {
            loop {
                if let Some(found) = self.lock().pick()? {
                    return Ok(found);
                }
                if changed.changed().await.is_err() {
                    return Err(CallError::Closed(CloseReason::ClosedHere));
                }
            }
        };
        let Some(deadline) = deadline else {
            return search.await;
        };
        match tokio::time::timeout_at(deadline.into(), search).await {
            Ok(found) => found,
            Err(_) => Err(CallError::NoConnection(NoConnection::TimedOut {
                waited: deadline.saturating_duration_since(begun),
                last: self.lock().last.clone(),
            })),
        }
    }

    pub(super) async fn ready(&self) -> Result<(), CallError> {
        let mut changed = self.changed.subscribe();
        loop {
            if self.lock().pick()?.is_some() {
                return Ok(());
            }
            if changed.changed().await.is_err() {
                return Err(CallError::Closed(CloseReason::ClosedHere));
            }
        }
    }

    pub(super) fn list(&self) -> Vec<PooledConnection> {
        let state = self.lock();
        let slots = state.slots.iter().enumerate();
        slots
            .map(|(connection, slot)| PooledConnection {
                connection,
                address: Arc::clone(&slot.address),
                is_connected: slot.live().is_some(),
                in_flight: slot.live().map_or(0, Client::in_flight),
            })
            .collect()
    }

    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting
    }

    pub(super) fn events(&self) -> PoolEvents {
        PoolEvents {
            receiver: self.events.subscribe(),
        }
    }

    /// Has others be taken before this connection for a while.
    pub(super) fn rest(&self, connection: usize) {
        let until = driver::now().instant.checked_add(REST);
        if let Some(slot) = self.lock().slots.get_mut(connection) {
            slot.rests = until;
        }
    }

    /// A connection was made. False if the pool has been closed meanwhile.
    pub(super) fn connected(&self, connection: usize, address: &Arc<str>, client: &Client) -> bool {
        {
            let mut state = self.lock();
            if state.closed {
                return false;
            }
            if let Some(slot) = state.slots.get_mut(connection) {
                slot.address = Arc::clone(address);
                slot.client = Some(client.clone());
                slot.rests = None;
            }
        }
        self.tell(PoolEvent::Connected {
            connection,
            address: Arc::clone(address),
        });
        true
    }

    /// A connection was lost, or could not be made; without `retry_in` it is given up.
    pub(super) fn gone(
        &self,
        connection: usize,
        address: &Arc<str>,
        cause: Cause,
        retry_in: Option<Duration>,
    ) {
        {
            let mut state = self.lock();
            state.last = Some(cause.clone());
            if let Some(slot) = state.slots.get_mut(connection) {
                slot.client = None;
                slot.given_up = retry_in.is_none();
            }
        }
        self.tell(PoolEvent::Gone {
            connection,
            address: Arc::clone(address),
            cause,
            retry_in,
        });
    }

    /// Closes the table; returns who is to be closed.
    pub(super) fn close(&self) -> Vec<Client> {
        let clients = {
            let mut state = self.lock();
            state.closed = true;
            state
                .slots
                .iter_mut()
                .filter_map(|slot| slot.client.take())
                .collect()
        };
        self.changed.send_replace(());
        clients
    }

    fn tell(&self, event: PoolEvent) {
        crate::measure::pool_event(match &event {
            PoolEvent::Connected { .. } => "connected",
            PoolEvent::Gone { retry_in: None, .. } => "given_up",
            _ => "gone",
        });
        // Nobody need listen.
        drop(self.events.send(event));
        self.changed.send_replace(());
    }

    /// No statement under this lock leaves the state half-changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The connection with the least to do, if there is one now.
    fn pick(&mut self) -> Result<Option<(usize, Client)>, CallError> {
        if self.closed {
            return Err(CallError::Closed(CloseReason::ClosedHere));
        }
        let now = driver::now().instant;
        let count = self.slots.len();
        let turn = self.turn;
        let best = (0..count)
            .map(|offset| (turn + offset) % count)
            .filter_map(|index| {
                let slot = self.slots.get(index)?;
                let rests = slot.rests.is_some_and(|until| now < until);
                Some((index, rests, slot.live()?.in_flight()))
            })
            .min_by_key(|&(_, rests, in_flight)| (rests, in_flight));
        if let Some((index, ..)) = best {
            self.turn = index + 1;
            let client = self.slots.get(index).and_then(Slot::live).cloned();
            return Ok(client.map(|client| (index, client)));
        }
        if self.slots.iter().all(|slot| slot.given_up)
            && let Some(cause) = &self.last
        {
            return Err(NoConnection::GivenUp(cause.clone()).into());
        }
        Ok(None)
    }
}

impl Slot {
    /// Its connection, unless that is over and nobody has noticed yet.
    fn live(&self) -> Option<&Client> {
        self.client.as_ref().filter(|client| !client.is_closed())
    }
}

/// A place among those who wait for a connection.
struct Place<'a>(&'a Table);

impl<'a> Place<'a> {
    fn take(table: &'a Table) -> Option<Self> {
        let mut state = table.lock();
        if state.waiting >= table.max_waiting {
            return None;
        }
        state.waiting += 1;
        Some(Self(table))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}
