//! Messages that answer no call: who listens to them, and what waits for whom.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;
use towline_codec::Text;

use super::{Client, ClientEvent};
use crate::proto::{
    CallType, Limits, Message, Now,
    inbound::{InboundQueue, cost},
    link::Link,
};

/// Names a listener of a [`Client`]. Never used twice on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerKey(u64);

/// What becomes of messages while a listener's queue is full (docs/wire C17).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// The connection is not read until some have been taken: nothing is lost, and everything on the
    /// connection waits for the listener, replies to calls too.
    #[default]
    Wait,
    /// Further messages are dropped, and the listener is told how many: the connection never waits
    /// for it.
    Drop,
}

/// What [`Client::take_heard`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The next message; a refusal that belongs to no call is one of type 14 (docs/wire E4).
    Message(Message),
    /// So many messages were dropped since the last one was taken, as [`WhenFull::Drop`] allows.
    Lost(u64),
    /// Nothing yet.
    Nothing,
    /// Nothing more will come: another listener has taken over the CallID.
    End,
}

/// Everybody who listens on one connection.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    all: FxHashMap<ListenerKey, Listener>,
    by_call_id: FxHashMap<Text, ListenerKey>,
    general: Vec<ListenerKey>,
    last: u64,
}

#[derive(Debug)]
struct Listener {
    call_id: Option<Text>,
    queue: Queue,
    announced: bool,
    replaced: bool,
}

#[derive(Debug)]
enum Queue {
    /// Counts among what the connection holds.
    Waiting(InboundQueue),
    /// Bounded by itself, so that it never holds up the connection.
    Dropping {
        messages: VecDeque<Message>,
        bytes: usize,
        lost: u64,
    },
}

impl Queue {
    fn new(when_full: WhenFull) -> Self {
        match when_full {
            WhenFull::Wait => Self::Waiting(InboundQueue::default()),
            WhenFull::Drop => Self::Dropping {
                messages: VecDeque::new(),
                bytes: 0,
                lost: 0,
            },
        }
    }

    fn push(&mut self, link: &mut Link, message: Message) {
        match self {
            Self::Waiting(queue) => link.queue_message(queue, message),
            Self::Dropping {
                messages,
                bytes,
                lost,
            } => {
                let Limits {
                    queue_parts,
                    queue_bytes,
                    ..
                } = link.limits;
                if messages.len() >= queue_parts || *bytes >= queue_bytes {
                    *lost += 1;
                } else {
                    *bytes += cost(&message);
                    messages.push_back(message);
                }
            }
        }
    }

    fn pop(&mut self, link: &mut Link, now: Now) -> Heard {
        let message = match self {
            Self::Waiting(queue) => link.take_part(now, queue),
            Self::Dropping { lost, .. } if *lost > 0 => return Heard::Lost(std::mem::take(lost)),
            Self::Dropping {
                messages, bytes, ..
            } => messages
                .pop_front()
                .inspect(|message| *bytes -= cost(message)),
        };
        message.map_or(Heard::Nothing, Heard::Message)
    }
}

impl<W> Client<W> {
    /// Listens to messages that answer no call, from now on: to those with this CallID, or to all
    /// that nobody else listens to (docs/wire C17). Of a CallID the latest listener hears; the one
    /// before it comes to its end. Each general listener hears every message.
    pub fn listen(&mut self, call_id: Option<Text>, when_full: WhenFull) -> ListenerKey {
        let listeners = &mut self.listeners;
        listeners.last += 1;
        let key = ListenerKey(listeners.last);
        match &call_id {
            None => listeners.general.push(key),
            Some(call_id) => {
                if let Some(before) = listeners.by_call_id.insert(call_id.clone(), key)
                    && let Some(listener) = listeners.all.get_mut(&before)
                {
                    listener.replaced = true;
                    announce(listener, before, &mut self.events);
                }
            }
        }
        listeners.all.insert(
            key,
            Listener {
                call_id,
                queue: Queue::new(when_full),
                announced: false,
                replaced: false,
            },
        );
        key
    }

    /// Takes the next message of a listener.
    pub fn take_heard(&mut self, now: Now, key: ListenerKey) -> Heard {
        let Some(listener) = self.listeners.all.get_mut(&key) else {
            return Heard::End;
        };
        listener.announced = false;
        match listener.queue.pop(&mut self.link, now) {
            Heard::Nothing if listener.replaced => Heard::End,
            heard => heard,
        }
    }

    /// Ends a listener. What it has not taken is dropped.
    pub fn unlisten(&mut self, key: ListenerKey) {
        let Some(listener) = self.listeners.all.remove(&key) else {
            return;
        };
        match &listener.call_id {
            None => self.listeners.general.retain(|&other| other != key),
            Some(call_id) if !listener.replaced => {
                self.listeners.by_call_id.remove(call_id);
            }
            Some(_) => {}
        }
        if let Queue::Waiting(mut queue) = listener.queue {
            self.link.discard_parts(&mut queue);
        }
    }

    /// Listeners that have not ended.
    pub fn listeners(&self) -> usize {
        self.listeners.all.len()
    }

    /// Gives a message that answers no call to whoever listens; counts it if nobody does
    /// (docs/wire C9, C17).
    pub(super) fn deliver(&mut self, message: Message) {
        if let Some(&key) = self.listeners.by_call_id.get(&message.hdr.call_id) {
            self.hand_over(key, message);
            return;
        }
        let typ = message.hdr.typ;
        // What is left of calls and streams that have ended concerns nobody but their callers.
        let is_remnant = typ == CallType::REPLY || typ.is_download_part();
        if is_remnant || self.listeners.general.is_empty() {
            self.unclaimed += 1;
            return;
        }
        for index in 0..self.listeners.general.len() {
            self.hand_over(self.listeners.general[index], message.clone());
        }
    }

    fn hand_over(&mut self, key: ListenerKey, message: Message) {
        if let Some(listener) = self.listeners.all.get_mut(&key) {
            listener.queue.push(&mut self.link, message);
            announce(listener, key, &mut self.events);
        }
    }
}

fn announce<W>(listener: &mut Listener, key: ListenerKey, events: &mut VecDeque<ClientEvent<W>>) {
    if !listener.announced {
        listener.announced = true;
        events.push_back(ClientEvent::MessageReady { listener: key });
    }
}
