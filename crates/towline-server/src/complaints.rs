//! Warnings that strangers can cause: shown at most once a second, counted in between.

use std::collections::{BTreeSet, VecDeque};
use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use towline_transport::PublicKey;

use crate::clock::now;

/// A log that a flood of connections fills hides what matters, and fills the disk.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many keys of refused peers are told in a second.
const KEYS: usize = 32;
/// After how long a key that comes again is told again.
const RETELL: Duration = Duration::from_secs(60);
/// How many keys are remembered for it: as many as can be told meanwhile.
const REMEMBERED: usize = 60 * KEYS;

/// Complaints by kind: what strangers cause must not hide whom an administrator could admit.
pub(crate) struct Journal {
    pub(crate) failed_handshakes: Complaints,
    pub(crate) refused_peers: Refusals,
    pub(crate) refused_at_limit: Complaints,
    pub(crate) ended_badly: Complaints,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self {
            failed_handshakes: Complaints::new("failed handshakes"),
            refused_peers: Refusals::new(),
            refused_at_limit: Complaints::new("refused connections"),
            ended_badly: Complaints::new("connections that ended badly"),
        }
    }

    fn all(&mut self) -> [&mut Complaints; 4] {
        [
            &mut self.failed_handshakes,
            &mut self.refused_peers.more,
            &mut self.refused_at_limit,
            &mut self.ended_badly,
        ]
    }

    /// Ready when [`flush_due`](Self::flush_due) has something to show.
    pub(crate) async fn due(&mut self) {
        let refused = self.refused_peers.due();
        let held = self.all().into_iter().filter(|kind| kind.held > 0);
        match held.filter_map(|kind| kind.next).chain(refused).min() {
            Some(next) => sleep_until(next).await,
            None => pending().await,
        }
    }

    /// Shows what was counted for a second.
    pub(crate) fn flush_due(&mut self) {
        let now = now();
        if self.refused_peers.due().is_some_and(|next| now >= next) {
            self.refused_peers.flush();
        }
        for kind in self.all() {
            kind.flush_if_due();
        }
    }

    /// Shows all that was counted.
    pub(crate) fn flush(&mut self) {
        self.refused_peers.flush();
        self.all().into_iter().for_each(Complaints::flush);
    }
}

/// Peers that were refused with a key that could be admitted: the line about each key says how, so
/// however many come, each of them gets its line.
///
/// A key that was told is only counted for a minute, so that those that come often leave room for the
/// others. Of more keys than can be told in a second the rest is counted too, until they come again.
pub(crate) struct Refusals {
    waiting: Vec<(PublicKey, String)>,
    next: Option<Instant>,
    told: BTreeSet<PublicKey>,
    /// The same, in the order in which they were told.
    told_at: VecDeque<(Instant, PublicKey)>,
    /// Everything that gets no line of its own.
    more: Complaints,
}

impl Refusals {
    fn new() -> Self {
        Self {
            waiting: Vec::new(),
            next: None,
            told: BTreeSet::new(),
            told_at: VecDeque::new(),
            more: Complaints::new("refused peers"),
        }
    }

    /// Shows the text, or keeps it until the second is over, or counts it.
    pub(crate) fn note(&mut self, key: Option<PublicKey>, text: String) {
        let now = now();
        self.forget(now);
        let key = match key {
            Some(key) if !self.told.contains(&key) => key,
            _ => return self.more.note(text),
        };
        if self.waiting.iter().any(|(waits, _)| *waits == key) || self.waiting.len() >= KEYS {
            self.more.note(text);
        } else {
            self.waiting.push((key, text));
            if self.next.is_none_or(|next| now >= next) {
                self.flush();
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        self.next.filter(|_| !self.waiting.is_empty())
    }

    fn flush(&mut self) {
        let now = now();
        for (key, text) in self.waiting.drain(..) {
            tracing::warn!("{text}");
            self.told.insert(key);
            self.told_at.push_back((now, key));
        }
        self.next = Some(now + INTERVAL);
        // Those that were just told are no news. What is counted already does not wait longer for it.
        if self.more.held == 0 {
            self.more.next = self.next;
        }
        self.forget(now);
    }

    /// Who was told long ago is told again; and there is an end to what is remembered.
    fn forget(&mut self, now: Instant) {
        while let Some((at, key)) = self.told_at.front()
            && (now.duration_since(*at) >= RETELL || self.told_at.len() > REMEMBERED)
        {
            self.told.remove(key);
            self.told_at.pop_front();
        }
    }
}

/// Complaints of one kind.
pub(crate) struct Complaints {
    /// What is counted, for a sentence.
    what: &'static str,
    /// When the next line may be shown.
    next: Option<Instant>,
    held: u64,
    last: String,
}

impl Complaints {
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            next: None,
            held: 0,
            last: String::new(),
        }
    }

    /// Shows the text, or counts it if a line was shown less than a second ago.
    pub(crate) fn note(&mut self, text: String) {
        let now = now();
        if self.held == 0 && self.next.is_none_or(|next| now >= next) {
            tracing::warn!("{text}");
            self.next = Some(now + INTERVAL);
        } else {
            self.held += 1;
            self.last = text;
        }
    }

    /// Shows what was counted, unless a line was shown less than a second ago.
    pub(crate) fn flush_if_due(&mut self) {
        if self.next.is_none_or(|next| now() >= next) {
            self.flush();
        }
    }

    /// Shows what was counted, if anything was.
    pub(crate) fn flush(&mut self) {
        match std::mem::take(&mut self.held) {
            0 => return,
            1 => tracing::warn!("{}", self.last),
            count => tracing::warn!(count, "{count} more {}, the last: {}", self.what, self.last),
        }
        self.next = Some(now() + INTERVAL);
    }
}
