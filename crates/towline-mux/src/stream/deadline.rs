//! A point in time after which a call fails, that costs nothing until it is set.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep};

#[derive(Debug, Default)]
pub(crate) struct Deadline(Option<Box<Set>>);

#[derive(Debug)]
struct Set {
    at: Instant,
    /// Made when it is first waited for, which is in a runtime.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    pub(crate) fn set(&mut self, deadline: Option<Instant>) {
        self.0 = deadline.map(|at| Box::new(Set { at, sleep: None }));
    }

    /// True if it has passed; else the task is woken when it does.
    pub(crate) fn poll_expired(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(set) = &mut self.0 else {
            return false;
        };
        let at = set.at;
        let sleep = set
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        match sleep.as_mut().poll(cx) {
            Poll::Pending => false,
            Poll::Ready(()) => {
                // A finished timer may not be asked again; a new one says the same.
                set.sleep = None;
                true
            }
        }
    }
}
