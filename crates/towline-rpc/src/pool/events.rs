//! What becomes of a pool's connections.

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::broadcast;

use crate::{close::CloseReason, error::ConnectError};

/// Events that wait for a slow taker before the oldest are dropped.
pub(super) const EVENTS: usize = 1024;

/// Why there is no connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Cause {
    /// It could not be made.
    Connect(Arc<ConnectError>),
    /// It was there and ended.
    Ended(CloseReason),
    /// The server has refused a call, and closes the connection 3 s later, as the original does. What runs on it goes on;
    /// what comes later gets another connection (docs/wire X9).
    ServerLeaves,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Ended(reason) => reason.fmt(f),
            Self::ServerLeaves => {
                f.write_str("the server has refused a call, and closes the connection after that, as the original does")
            }
        }
    }
}

/// Something that became of a connection of a pool.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PoolEvent {
    /// It was made.
    Connected {
        /// Which connection of the pool, counted from 0.
        connection: usize,
        /// What was dialled.
        address: Arc<str>,
    },
    /// It was lost, or could not be made.
    Gone {
        /// Which connection of the pool, counted from 0.
        connection: usize,
        /// What had been dialled.
        address: Arc<str>,
        /// Why.
        cause: Cause,
        /// When it is tried again; `None` if it was given up: the cause will not go away by itself, or the attempts are
        /// used up.
        retry_in: Option<Duration>,
    },
    /// So many older events were dropped because nobody took them.
    Missed(u64),
}

/// The events of a pool.
///
/// ```
/// use towline_rpc::{Pool, pool::PoolEvent};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::builder().address("mem://nobody-listens-here").build()?;
/// let mut events = pool.events();
/// let Some(PoolEvent::Gone { cause, retry_in, .. }) = events.next().await else { panic!() };
/// assert_eq!(cause.to_string(), "nobody listens at mem://nobody-listens-here");
/// assert!(retry_in.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PoolEvents {
    pub(super) receiver: broadcast::Receiver<PoolEvent>,
}

impl PoolEvents {
    /// The next event; `None` when the pool is gone.
    ///
    /// # Cancel safety
    ///
    /// Safe: no event is lost.
    pub async fn next(&mut self) -> Option<PoolEvent> {
        match self.receiver.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(PoolEvent::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
