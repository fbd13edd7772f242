//! Credit for the parts of streams, between two towlines (docs/wire C21, S20).

use std::collections::BTreeSet;

use towline_codec::Text;

use super::{
    CallType, Hdr, Limits, Message, Now,
    alive::{KEY, items},
    inbound::{InboundQueue, PART_OVERHEAD},
    link::Link,
};

/// A stream begins with this much, so that many streams fit into what a connection may hold; it
/// doubles while the application keeps taking.
const FIRST_WINDOW: usize = 64 << 10;

/// An amount of parts: how many, and what they cost together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Credit {
    pub(crate) bytes: u64,
    pub(crate) parts: u64,
}

impl Credit {
    /// True if one more part may be sent by who has sent so much and was given `limit`. The last one
    /// may be as large as it likes: a part that is larger than the whole window must get through.
    pub(crate) const fn is_below(self, limit: Self) -> bool {
        self.bytes < limit.bytes && self.parts < limit.parts
    }

    pub(crate) const fn add_part(&mut self, body: usize) {
        let cost = body.saturating_add(PART_OVERHEAD) as u64;
        self.bytes = self.bytes.saturating_add(cost);
        self.parts = self.parts.saturating_add(1);
    }

    const fn remove_part(&mut self, body: usize) {
        let cost = body.saturating_add(PART_OVERHEAD) as u64;
        self.bytes = self.bytes.saturating_sub(cost);
        self.parts = self.parts.saturating_sub(1);
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            parts: self.parts.saturating_add(other.parts),
        }
    }

    /// What a stream may have sent before the first word about it.
    fn first(limits: &Limits) -> Self {
        Self::of_window(FIRST_WINDOW.min(limits.queue_bytes), limits)
    }

    const fn of_window(window: usize, limits: &Limits) -> Self {
        Self {
            bytes: window as u64,
            parts: limits.queue_parts as u64,
        }
    }

    fn read(text: &str) -> Option<Self> {
        let (bytes, parts) = text.split_once(',')?;
        Some(Self {
            bytes: bytes.parse().ok()?,
            parts: parts.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Credit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},{}", self.bytes, self.parts)
    }
}

/// What the connection's ends have said about credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Terms {
    /// Nothing yet: the peer is taken for the original.
    #[default]
    Unknown,
    /// Both understand it. Every stream may be sent so much at first.
    Agreed(Credit),
    /// The peer has answered a stream without a word of it: it is the original.
    Declined,
}

/// The sending half of a stream.
#[derive(Debug, Default)]
pub(super) struct Spending {
    limit: Option<Credit>,
    spent: Credit,
}

impl Spending {
    pub(super) const fn new(terms: Terms) -> Self {
        let limit = match terms {
            Terms::Agreed(first) => Some(first),
            Terms::Unknown | Terms::Declined => None,
        };
        Self {
            limit,
            spent: Credit { bytes: 0, parts: 0 },
        }
    }

    /// False while the receiver has no room for another part.
    pub(super) fn may_send(&self) -> bool {
        self.limit.is_none_or(|limit| self.spent.is_below(limit))
    }

    pub(super) const fn spend(&mut self, part: &Message) {
        self.spent.add_part(part.body.len());
    }

    /// Takes back what the last part, which was not sent, has spent.
    pub(super) const fn take_back(&mut self, part: &Message) {
        self.spent.remove_part(part.body.len());
    }

    /// Takes the receiver's word. True if that ends a wait.
    pub(super) fn raise(&mut self, to: Credit) -> bool {
        let waited = !self.may_send();
        let limit = self.limit.unwrap_or_default();
        self.limit = Some(Credit {
            bytes: limit.bytes.max(to.bytes),
            parts: limit.parts.max(to.parts),
        });
        waited && self.may_send()
    }
}

/// The receiving half of a stream: what its sender was told.
#[derive(Debug)]
pub(super) struct Granting {
    /// Bytes that may be on their way or wait to be taken.
    window: usize,
    granted: Credit,
}

impl Granting {
    pub(super) fn first(limits: &Limits) -> Self {
        Self {
            window: FIRST_WINDOW.min(limits.queue_bytes),
            granted: Credit::first(limits),
        }
    }

    pub(super) const fn window(&self) -> usize {
        self.window
    }

    /// True if a part behind `came` is one that its sender may send.
    pub(super) const fn covers(&self, came: Credit) -> bool {
        came.is_below(self.granted)
    }

    /// What to tell the sender when the application has taken so much: something when half of the window
    /// has been taken. `spare` is how much the window may grow.
    pub(super) fn due(
        &mut self,
        taken: Credit,
        spare: usize,
        limits: &Limits,
    ) -> Option<(Credit, usize)> {
        let window = Credit::of_window(self.window, limits);
        let left = taken.plus(window);
        let due = |now: u64, told: u64, window: u64| {
            now.saturating_sub(told) >= window.div_ceil(2).max(1)
        };
        if !due(left.bytes, self.granted.bytes, window.bytes)
            && !due(left.parts, self.granted.parts, window.parts)
        {
            return None;
        }
        let growth = self
            .window
            .min(limits.queue_bytes.saturating_sub(self.window))
            .min(spare);
        self.window += growth;
        self.granted = taken.plus(Credit::of_window(self.window, limits));
        Some((self.granted, growth))
    }
}

/// Streams whose senders are to be told something as soon as there is room for it.
#[derive(Debug)]
pub(super) struct Owed<K>(BTreeSet<K>);

impl<K> Default for Owed<K> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<K: Ord + Copy> Owed<K> {
    /// Tells a stream's sender what it may send now that parts have been taken.
    pub(super) fn grant(
        &mut self,
        link: &mut Link,
        now: Now,
        key: K,
        stream: (u64, &Text),
        queue: &mut InboundQueue,
    ) {
        if !queue.gives_credit() {
            return;
        }
        if !link.has_room() {
            // A peer that sends and never reads must not fill the memory with what we tell it.
            self.0.insert(key);
        } else if let Some(credit) = link.due_credit(queue) {
            let queued = link.enqueue(now, &message(stream.0, stream.1, credit));
            debug_assert!(queued.is_ok(), "a CallID fitted into a frame before");
        }
    }

    pub(super) fn pop(&mut self) -> Option<K> {
        self.0.pop_first()
    }

    pub(super) fn forget(&mut self, key: K) {
        self.0.remove(&key);
    }
}

/// Says how much of a stream may have been sent; without a stream, of any.
pub(super) fn message(seqno: u64, call_id: &Text, credit: Credit) -> Message {
    // docs/wire S20: a peer that does not know it takes it for a keep-alive.
    let mut message = Message::keep_alive();
    message.hdr.seqno = seqno;
    message.hdr.call_id = call_id.clone();
    let text = Text::from(format!("credit={credit}"));
    message.hdr.args.insert(Text::from(KEY), text);
    message
}

/// Reads what [`message`] says.
pub(super) fn told(hdr: &Hdr) -> Option<Credit> {
    debug_assert_eq!(hdr.typ, CallType::KEEP_ALIVE);
    let text = hdr.args.get(KEY)?.to_str().ok()?;
    items(text).find_map(|item| Credit::read(item.strip_prefix("credit=")?))
}

impl Link {
    /// As [`Owed::grant`], behind what has just been written.
    pub(super) fn grant_behind(&mut self, seqno: u64, call_id: &Text, queue: &mut InboundQueue) {
        if let Some(credit) = self.due_credit(queue) {
            self.enqueue_behind(&message(seqno, call_id, credit));
        }
    }

    /// Client: what the request of a stream says, until it is known what the server is.
    pub(super) fn offer_of_credit(&self) -> Option<String> {
        (self.limits.credit && self.terms == Terms::Unknown)
            .then(|| format!("credit?{}", Credit::first(&self.limits)))
    }

    /// Server: takes the offer that is among `items`. The answer is to be sent at once, if there is one.
    pub(super) fn take_offer_of_credit(&mut self, text: &str) -> Option<Message> {
        if !self.limits.credit || self.terms != Terms::Unknown {
            return None;
        }
        let credit = items(text).find_map(|item| Credit::read(item.strip_prefix("credit?")?))?;
        self.terms = Terms::Agreed(credit);
        Some(message(0, &Text::EMPTY, Credit::first(&self.limits)))
    }
}
