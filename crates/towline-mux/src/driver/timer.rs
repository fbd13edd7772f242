//! When the engine is to be asked what is due.

use std::{future::Future, pin::Pin, task::Context, time::Instant};

use tokio::time::Sleep;

use super::clock::now;
use crate::proto::Engine;

/// A timer that is moved as seldom as possible.
#[derive(Debug)]
pub(super) struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// When it fires, if it does.
    set: Option<Instant>,
}

impl Timer {
    pub(super) fn new() -> Self {
        let start = tokio::time::Instant::from_std(now());
        Self {
            sleep: Box::pin(tokio::time::sleep_until(start)),
            set: None,
        }
    }

    /// The task that is woken is another one from now on.
    pub(super) const fn forget(&mut self) {
        self.set = None;
    }

    /// When it fires, if it does.
    pub(super) const fn fires(&self) -> Option<Instant> {
        self.set
    }

    /// Has the task woken at the engine's next deadline, and the engine do what is due. True if it was.
    /// `heard`: a moment after the task was woken, if one is known.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        engine: &mut Engine,
        heard: Option<Instant>,
    ) -> bool {
        while let Some(deadline) = engine.deadline() {
            // Firing early costs one look; moving the timer for every frame would cost more.
            match self.set.filter(|&set| set <= deadline) {
                // Whatever woke the task, it was not the timer.
                Some(set) if heard.is_some_and(|heard| heard < set) => return false,
                Some(_) => {}
                None => {
                    let at = tokio::time::Instant::from_std(deadline);
                    self.sleep.as_mut().reset(at);
                    self.set = Some(deadline);
                }
            }
            if self.sleep.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.set = None;
            let now = now();
            if deadline <= now {
                engine.handle_timeout(now);
                return true;
            }
        }
        false
    }
}
