//! Pushes in a simulated run: the server's plan of them, and the client's ledger.

use std::time::{Duration, Instant};

use bytes::Bytes;
use towline_rpc::proto::{CallType, Client, Heard, ListenerKey, Message, Now, Server, WhenFull};
use towline_sim::Rng;

use crate::{plan::content, support::start};

/// What a seed decides about pushes.
#[derive(Debug, Clone)]
pub(crate) struct PushPlan {
    /// When each leaves, and its size.
    pushes: Vec<(Duration, usize)>,
    when_full: WhenFull,
    by_call_id: bool,
    /// Between two that the listener takes.
    pace: Duration,
}

impl PushPlan {
    pub(crate) fn new(rng: &mut Rng, largest: usize) -> Self {
        let many = if rng.chance(1, 2) { rng.below(60) } else { 0 };
        let mut pushes: Vec<_> = (0..many)
            .map(|_| {
                (
                    rng.duration(Duration::from_secs(3)),
                    rng.spread(largest / 10),
                )
            })
            .collect();
        pushes.sort_unstable();
        let waits = rng.chance(2, 3);
        Self {
            pushes,
            when_full: if waits {
                WhenFull::Wait
            } else {
                WhenFull::Drop
            },
            // General listeners hear refusals, too: how many of them one lost nobody could tell.
            by_call_id: !waits || rng.chance(1, 2),
            pace: if rng.chance(1, 2) {
                Duration::ZERO
            } else {
                rng.duration(Duration::from_millis(200))
            },
        }
    }
}

/// Of other bodies than those of the operations.
fn body(index: usize, size: usize) -> Bytes {
    content(1_000_000 + index, 0, size)
}

/// The server's half.
pub(crate) struct Pusher {
    plan: PushPlan,
    pub(crate) sent: usize,
}

impl Pusher {
    pub(crate) const fn new(plan: PushPlan) -> Self {
        Self { plan, sent: 0 }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let (after, _) = self.plan.pushes.get(self.sent)?;
        Some(start().instant + *after)
    }

    /// Sends what is due, as far as there is room.
    pub(crate) fn run(&mut self, now: Now, core: &mut Server) {
        while let Some(&(after, size)) = self.plan.pushes.get(self.sent)
            && start().instant + after <= now.instant
            && core.has_room()
        {
            let mut push = Message::from_body(body(self.sent, size)).with_subject("push");
            push = push.with_arg("number", self.sent.to_string());
            push.hdr.call_id = "pushes".into();
            core.stamp_push(now, &mut push);
            core.enqueue(now, &push).expect("small enough");
            self.sent += 1;
        }
    }
}

/// The client's half.
pub(crate) struct Hearer {
    plan: PushPlan,
    listener: ListenerKey,
    pub(crate) heard: usize,
    pub(crate) lost: usize,
    next: usize,
    wakes: Option<Instant>,
}

impl Hearer {
    pub(crate) fn new(plan: PushPlan, core: &mut Client<usize>) -> Self {
        let call_id = plan.by_call_id.then(|| "pushes".into());
        Self {
            listener: core.listen(call_id, plan.when_full),
            plan,
            heard: 0,
            lost: 0,
            next: 0,
            wakes: None,
        }
    }

    /// Whether every push was heard or is known to be lost.
    pub(crate) fn is_done(&self) -> bool {
        self.heard + self.lost == self.plan.pushes.len()
    }

    pub(crate) fn is_ready(&mut self, now: Instant, listener: ListenerKey) {
        assert_eq!(listener, self.listener);
        self.wakes.get_or_insert(now + self.plan.pace);
    }

    pub(crate) const fn deadline(&self) -> Option<Instant> {
        self.wakes
    }

    /// Takes one message, if it is time.
    pub(crate) fn run(&mut self, now: Now, core: &mut Client<usize>) {
        if self.wakes.is_some_and(|wakes| wakes <= now.instant) {
            self.wakes = None;
            if self.take(now, core) {
                self.wakes = Some(now.instant + self.plan.pace);
            }
        }
    }

    /// Takes all that has come.
    pub(crate) fn drain(&mut self, now: Now, core: &mut Client<usize>) {
        self.wakes = None;
        while self.take(now, core) {}
    }

    fn take(&mut self, now: Now, core: &mut Client<usize>) -> bool {
        match core.take_heard(now, self.listener) {
            Heard::Message(refusal) if refusal.hdr.typ == CallType::ERROR => {
                assert!(!self.plan.by_call_id, "a refusal of another CallID");
                assert_eq!(refusal.hdr.service_name, "nosuch");
                true
            }
            Heard::Message(push) => {
                let number: usize = push.arg("number").expect("a number").parse().expect("one");
                assert_eq!(push.hdr.service_name, "srv.SendMessage('push')");
                assert_eq!(push.body, body(number, self.plan.pushes[number].1));
                assert!(number >= self.next, "push {number} came late or twice");
                if self.plan.when_full == WhenFull::Wait {
                    assert_eq!(number, self.next, "a push is missing");
                }
                self.next = number + 1;
                self.heard += 1;
                true
            }
            Heard::Lost(lost) => {
                assert_eq!(self.plan.when_full, WhenFull::Drop);
                self.lost += usize::try_from(lost).expect("few");
                true
            }
            Heard::Nothing => false,
            Heard::End => panic!("nobody else listens"),
        }
    }
}
