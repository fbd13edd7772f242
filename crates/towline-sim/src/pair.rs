//! Two nodes, two links, one clock.

use std::{
    hash::{DefaultHasher, Hasher as _},
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{Conditions, Delivery, Link, Rng};

/// One end of a connection under test: a protocol core and whoever uses it.
///
/// [`Pair`] calls the methods in this order whenever something is due: what has arrived, the
/// deadline, then what is to be sent, until nothing is left for this moment.
pub trait Node {
    /// Bytes arrived. They may end anywhere.
    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]);

    /// The link to this node has ended, or, while it does not read, the link from it was cut, as a
    /// failed write would show. Nothing arrives any more. Called once.
    fn handle_end(&mut self, now: Instant);

    /// False while the node does not read: bytes stay in the link, and its buffer fills. Default: it
    /// always reads.
    fn wants_bytes(&self) -> bool {
        true
    }

    /// The next bytes to send, asked for only while the link has room.
    fn poll_bytes(&mut self, now: Instant) -> Option<Bytes>;

    /// When [`handle_timeout`](Self::handle_timeout) is due, if ever. Default: never.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Does what is due.
    fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// True if the node has closed its side: its link ends behind what was sent. Default: never.
    fn is_closed(&self) -> bool {
        false
    }
}

/// A run did not come to rest within its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Livelock {
    /// How many steps were made.
    pub steps: usize,
    /// How far virtual time had come.
    pub elapsed: Duration,
}

impl std::fmt::Display for Livelock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { steps, elapsed } = self;
        write!(
            f,
            "no rest after {steps} steps and {elapsed:?} of virtual time: something goes round in circles"
        )
    }
}

impl std::error::Error for Livelock {}

/// Two nodes and the links between them, in virtual time.
#[derive(Debug)]
pub struct Pair<A, B> {
    /// The first node.
    pub a: A,
    /// The second node.
    pub b: B,
    from_a: Link,
    from_b: Link,
    told: [bool; 2],
    epoch: Instant,
    now: Instant,
    transcript: DefaultHasher,
}

impl<A: Node, B: Node> Pair<A, B> {
    /// Two nodes on a connection with the same conditions in both directions. Time starts at `epoch`.
    pub fn new(a: A, b: B, conditions: &Conditions, rng: Rng, epoch: Instant) -> Self {
        Self::with(a, b, [conditions.clone(), conditions.clone()], rng, epoch)
    }

    /// As [`new`](Self::new), with conditions for each direction: from `a`, and from `b`.
    pub fn with(a: A, b: B, conditions: [Conditions; 2], mut rng: Rng, epoch: Instant) -> Self {
        let [from_a, from_b] = conditions;
        Self {
            a,
            b,
            from_a: Link::new(from_a, rng.fork()),
            from_b: Link::new(from_b, rng.fork()),
            told: [false; 2],
            epoch,
            now: epoch,
            transcript: DefaultHasher::new(),
        }
    }

    /// The present.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// How far time has come.
    pub fn elapsed(&self) -> Duration {
        self.now.saturating_duration_since(self.epoch)
    }

    /// Breaks the connection, both directions at once; part of what is on its way is lost.
    pub fn cut(&mut self) {
        self.from_a.cut(self.now);
        self.from_b.cut(self.now);
    }

    /// A number that stands for all that has arrived, where, when and in which pieces: equal for
    /// equal seeds and deterministic nodes, within one build.
    pub fn transcript(&self) -> u64 {
        self.transcript.finish()
    }

    /// Does all that is due at this moment; if nothing was, lets time jump to the next moment at which
    /// something is. False when there is none: the run has come to rest.
    pub fn step(&mut self) -> bool {
        if self.work() {
            return true;
        }
        let moments = [
            next_arrival(&self.from_b, &self.from_a, &self.a, self.told[0]),
            next_arrival(&self.from_a, &self.from_b, &self.b, self.told[1]),
            self.a.deadline(),
            self.b.deadline(),
        ];
        let next = moments.into_iter().flatten().min();
        match next {
            Some(next) => {
                self.now = self.now.max(next);
                true
            }
            None => false,
        }
    }

    /// Steps until the run has come to rest.
    ///
    /// # Errors
    ///
    /// [`Livelock`] if it has not after `steps` steps, so that a run that never ends is a failed test
    /// and not a hung one.
    pub fn drive_bounded(&mut self, steps: usize) -> Result<(), Livelock> {
        self.drive(steps, |_| true)
    }

    /// As [`drive_bounded`](Self::drive_bounded), and calls `check` after every step; stops when it
    /// returns false.
    ///
    /// # Errors
    ///
    /// [`Livelock`]
    pub fn drive(
        &mut self,
        steps: usize,
        mut check: impl FnMut(&mut Self) -> bool,
    ) -> Result<(), Livelock> {
        for _ in 0..steps {
            if !self.step() || !check(self) {
                return Ok(());
            }
        }
        Err(Livelock {
            steps,
            elapsed: self.elapsed(),
        })
    }

    fn work(&mut self) -> bool {
        let Self {
            a,
            b,
            from_a,
            from_b,
            told: [told_a, told_b],
            epoch,
            now,
            transcript,
        } = self;
        let mut note = |direction: u8, bytes: &[u8]| {
            transcript.write_u128(now.saturating_duration_since(*epoch).as_nanos());
            transcript.write_u8(direction);
            transcript.write_usize(bytes.len());
            transcript.write(bytes);
        };
        let mut worked = arrive(from_b, from_a, a, told_a, *now, |bytes| note(1, bytes));
        worked |= arrive(from_a, from_b, b, told_b, *now, |bytes| note(0, bytes));
        worked |= time_out(a, *now);
        worked |= time_out(b, *now);
        worked |= leave(a, from_a, *now);
        worked |= leave(b, from_b, *now);
        // A connection whose one direction has ended unasked is dead in both.
        if from_a.is_ending() && !a.is_closed() && !from_b.is_ending() {
            from_b.cut(*now);
        }
        if from_b.is_ending() && !b.is_closed() && !from_a.is_ending() {
            from_a.cut(*now);
        }
        worked
    }
}

fn arrive(
    link: &mut Link,
    other: &Link,
    node: &mut impl Node,
    told: &mut bool,
    now: Instant,
    mut note: impl FnMut(&[u8]),
) -> bool {
    if *told {
        return false;
    }
    let delivery = if node.wants_bytes() {
        link.receive(now)
    } else {
        (other.has_ended(now) && !node.is_closed()).then_some(Delivery::End)
    };
    match delivery {
        Some(Delivery::Bytes(bytes)) => {
            note(&bytes);
            node.handle_bytes(now, &bytes);
            true
        }
        Some(Delivery::End) => {
            note(&[]);
            *told = true;
            node.handle_end(now);
            true
        }
        None => false,
    }
}

/// When [`arrive`] has something next, with the same links.
fn next_arrival(link: &Link, other: &Link, node: &impl Node, told: bool) -> Option<Instant> {
    if told {
        None
    } else if node.wants_bytes() {
        link.next_arrival()
    } else {
        other.ends().filter(|_| !node.is_closed())
    }
}

fn time_out(node: &mut impl Node, now: Instant) -> bool {
    let due = node.deadline().is_some_and(|deadline| deadline <= now);
    if due {
        node.handle_timeout(now);
    }
    due
}

fn leave(node: &mut impl Node, link: &mut Link, now: Instant) -> bool {
    let mut worked = false;
    while link.has_room()
        && let Some(bytes) = node.poll_bytes(now)
    {
        link.send(now, bytes);
        worked = true;
    }
    if node.is_closed() && !link.is_ending() {
        link.end(now);
        worked = true;
    }
    worked
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Sends each byte back that it gets, until it has had enough; reads only now and then.
    #[derive(Default)]
    struct Player {
        returns: usize,
        got: usize,
        waiting: Vec<u8>,
        pause_until: Option<Instant>,
        over: bool,
    }

    impl Node for Player {
        fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
            assert!(self.pause_until.is_none(), "it did not want any");
            self.got += bytes.len();
            self.waiting.extend_from_slice(bytes);
            self.pause_until = Some(now + Duration::from_millis(5));
        }

        fn handle_end(&mut self, _now: Instant) {
            self.over = true;
        }

        fn wants_bytes(&self) -> bool {
            self.pause_until.is_none()
        }

        fn poll_bytes(&mut self, _now: Instant) -> Option<Bytes> {
            if self.returns == 0 {
                return None;
            }
            let bytes = std::mem::take(&mut self.waiting);
            self.returns -= usize::from(!bytes.is_empty());
            (!bytes.is_empty()).then(|| bytes.into())
        }

        fn deadline(&self) -> Option<Instant> {
            self.pause_until
        }

        fn handle_timeout(&mut self, _now: Instant) {
            self.pause_until = None;
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "only differences to this instant matter"
    )]
    fn epoch() -> Instant {
        Instant::now()
    }

    fn players(seed: u64, returns: usize, conditions: &Conditions) -> Pair<Player, Player> {
        let a = Player {
            returns,
            waiting: vec![0; 1000],
            ..Player::default()
        };
        let b = Player {
            returns,
            ..Player::default()
        };
        Pair::new(a, b, conditions, Rng::from_seed(seed), epoch())
    }

    #[test]
    fn equal_seeds_give_equal_transcripts_and_others_do_not() {
        let conditions = Conditions::default()
            .chop(20)
            .jitter(Duration::from_millis(30));
        let run = |seed| {
            let mut pair = players(seed, 30, &conditions);
            pair.drive_bounded(100_000).expect("it comes to rest");
            assert!(pair.a.got > 0 && pair.b.got > 0);
            pair.transcript()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn a_run_without_an_end_is_a_livelock() {
        let mut pair = players(1, usize::MAX, &Conditions::default());
        let livelock = pair.drive_bounded(1000).unwrap_err();
        assert_eq!(livelock.steps, 1000);
    }

    #[test]
    fn a_cut_reaches_both_ends() {
        let mut pair = players(
            1,
            usize::MAX,
            &Conditions::default().delay(Duration::from_millis(3)),
        );
        pair.drive(100_000, |pair| pair.elapsed() < Duration::from_secs(1))
            .expect("stopped by time");
        pair.cut();
        pair.drive_bounded(1000).expect("nothing can move any more");
        assert!(pair.a.over && pair.b.over);
        // One direction that breaks takes the other with it.
        let mut pair = players(1, usize::MAX, &Conditions::default().cut_after(5000));
        pair.drive_bounded(100_000)
            .expect("nothing can move any more");
        assert!(pair.a.over && pair.b.over);
    }
}
