//! Handshakes, so many at a time.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;
use towline_transport::{AcceptError, Connection, Established, Io, Remote};

use crate::accept::Handshake;

/// At most so many handshakes at a time, a number that can be changed meanwhile.
pub(crate) struct Turns {
    free: Semaphore,
    count: Mutex<Count>,
}

struct Count {
    /// [`Semaphore::MAX_PERMITS`] if there is no limit.
    most: usize,
    /// Turns that end with those who have them, because there are fewer now.
    surplus: usize,
}

/// One of them, until it is dropped.
struct OneTurn<'a>(&'a Turns);

impl Turns {
    pub(crate) fn new(most: Option<usize>) -> Self {
        let most = number(most);
        Self {
            free: Semaphore::new(most),
            count: Mutex::new(Count { most, surplus: 0 }),
        }
    }

    /// Changes how many there are. Who has one keeps it.
    pub(crate) fn set_most(&self, most: Option<usize>) {
        let most = number(most);
        let mut count = self.count();
        if most >= count.most {
            let more = most - count.most;
            let kept = more.min(count.surplus);
            count.surplus -= kept;
            self.free.add_permits(more - kept);
        } else {
            let fewer = count.most - most;
            count.surplus += fewer - self.free.forget_permits(fewer);
        }
        count.most = most;
    }

    fn is_limited(&self) -> bool {
        self.count().most < Semaphore::MAX_PERMITS
    }

    async fn take(&self) -> OneTurn<'_> {
        // Never closed, so there will be one: those who have theirs have a time limit.
        if let Ok(permit) = self.free.acquire().await {
            permit.forget();
        }
        OneTurn(self)
    }

    fn count(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OneTurn<'_> {
    fn drop(&mut self) {
        let mut count = self.0.count();
        if count.surplus > 0 {
            count.surplus -= 1;
        } else {
            self.0.free.add_permits(1);
        }
    }
}

fn number(most: Option<usize>) -> usize {
    most.map_or(Semaphore::MAX_PERMITS, |most| {
        most.min(Semaphore::MAX_PERMITS)
    })
}

/// A connection that shakes hands when it has begun to and it is its turn.
pub(crate) struct InTurn<I> {
    incoming: I,
    /// `None` if it need not wait.
    turns: Option<Arc<Turns>>,
}

impl<I: Handshake> InTurn<I> {
    pub(crate) fn new(incoming: I, turns: &Arc<Turns>) -> Self {
        let waits = !incoming.is_immediate() && turns.is_limited();
        Self {
            incoming,
            turns: waits.then(|| Arc::clone(turns)),
        }
    }
}

impl<I: Handshake> Handshake for InTurn<I> {
    fn remote(&self) -> String {
        self.incoming.remote()
    }

    fn address(&self) -> Option<IpAddr> {
        self.incoming.address()
    }

    fn raw(&mut self) -> Option<&mut dyn Io> {
        self.incoming.raw()
    }

    fn set_remote(&mut self, remote: Remote) {
        self.incoming.set_remote(remote);
    }

    fn is_immediate(&self) -> bool {
        self.incoming.is_immediate()
    }

    async fn handshake(mut self) -> Result<Connection, AcceptError> {
        let Some(turns) = self.turns else {
            return self.incoming.handshake().await;
        };
        self.incoming.begun().await?;
        let _turn = turns.take().await;
        self.incoming.handshake().await
    }

    async fn establish(mut self) -> Result<Established, AcceptError> {
        let Some(turns) = self.turns else {
            return self.incoming.establish().await;
        };
        self.incoming.begun().await?;
        let _turn = turns.take().await;
        self.incoming.establish().await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// docs/wire L53, L54: in both directions, while some are taken.
    #[test]
    fn the_number_of_turns_can_be_changed_while_they_are_taken() {
        let turns = Turns::new(Some(3));
        let take = || turns.take().now_or_never();
        let mut taken: Vec<_> = (0..3).map_while(|_| take()).collect();
        assert!(taken.len() == 3 && take().is_none());
        turns.set_most(Some(1));
        taken.truncate(1);
        assert!(take().is_none());
        turns.set_most(Some(2));
        taken.extend(take());
        assert!(taken.len() == 2 && take().is_none());
        turns.set_most(Some(1));
        turns.set_most(None);
        taken.extend((0..100).map_while(|_| take()));
        assert!(taken.len() == 102 && !turns.is_limited());
        turns.set_most(Some(4));
        assert!(take().is_none() && turns.is_limited());
        taken.clear();
        taken.extend((0..100).map_while(|_| take()));
        assert_eq!(taken.len(), 4);
    }
}
