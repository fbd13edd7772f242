//! The table of streams: who is in it, who leaves it, and who is told.

use super::{
    Dialect, Engine, Event, StreamEnd, StreamKey,
    chunks::Chunks,
    memory::Reservation,
    receive::Body,
    stream::{Bits, Stream},
    yamux,
};

impl Engine {
    pub(crate) fn stream(&self, slot: u32) -> Option<&Stream> {
        self.streams.get(slot as usize)
    }

    pub(crate) fn stream_mut(&mut self, slot: u32) -> Option<&mut Stream> {
        self.streams.get_mut(slot as usize)
    }

    pub(crate) fn lookup(&mut self, id: u32) -> Option<u32> {
        if self.last_hit.0 == id && self.last_hit.1 != u32::MAX {
            return Some(self.last_hit.1);
        }
        let slot = *self.ids.get(&id)?;
        self.last_hit = (id, slot);
        Some(slot)
    }

    /// Puts a new stream into the table.
    pub(crate) fn insert(&mut self, id: u32, bits: Bits, memory: Option<Box<Reservation>>) -> u32 {
        let (send_credit, recv_credit) = match self.settings.dialect {
            // docs/wire Y37: both sides start with 256 KiB; this side's SYN or ACK adds the rest.
            Dialect::Yamux if bits.has(Bits::OUTBOUND) => {
                (yamux::FIRST_WINDOW, self.settings.initial_window)
            }
            Dialect::Yamux => (yamux::FIRST_WINDOW, yamux::FIRST_WINDOW),
            Dialect::Muxado => (self.settings.initial_window, self.settings.initial_window),
        };
        if bits.has(Bits::OUTBOUND) {
            self.outbound += 1;
        } else {
            self.inbound += 1;
        }
        let slot = self.streams.insert(Stream {
            id,
            bits: bits | Bits::LIVE | Bits::COUNTED,
            send_credit,
            queued: 0,
            recv_credit,
            unread: 0,
            window: self.settings.initial_window,
            credited: 0,
            end: None,
            inbox: Chunks::default(),
            outbox: Chunks::default(),
            memory,
        }) as u32;
        self.ids.insert(id, slot);
        slot
    }

    /// Ends a stream before its time.
    pub(crate) fn kill(&mut self, slot: u32, end: StreamEnd) {
        let Some(stream) = self.stream_mut(slot) else {
            return;
        };
        if stream.end.is_some() {
            return;
        }
        stream.end = Some(end);
        self.stats.streams_reset += 1;
        self.leave_table(slot);
    }

    /// Forgets a stream whose both directions have ended, on the wire: frames for its id are then
    /// frames for an unknown stream.
    pub(crate) fn leave_table(&mut self, slot: u32) {
        let Some(stream) = self.streams.get_mut(slot as usize) else {
            return;
        };
        if stream.bits.take(Bits::LIVE) {
            self.queued -= stream.queued as usize;
            stream.queued = 0;
            stream.outbox.clear();
            self.ids.remove(&stream.id);
            if self.last_hit.1 == slot {
                self.last_hit = (0, u32::MAX);
            }
            if stream.bits.take(Bits::UNACKED) {
                self.unacked -= 1;
                self.note_openable();
            }
            if let Body::Data { slot: of, left, .. } = self.body
                && of == slot
            {
                self.body = Body::Skip { left };
            }
        }
        // docs/wire Y31, Y65: what had ended before it was reset is whole.
        if let Some(stream) = self.stream(slot)
            && stream.bits.has(Bits::BACKLOG)
            && stream.end.is_some()
            && !stream.bits.has(Bits::FIN_RECEIVED | Bits::DISCARDS)
        {
            self.drop_from_backlog(slot);
        }
        self.wake_reader(slot);
        self.wake_writer(slot);
        self.settle(slot);
    }

    /// Gives back what an ended stream holds, as far as nothing is left to read, and its place when
    /// nobody holds it.
    pub(crate) fn settle(&mut self, slot: u32) {
        let Some(stream) = self.streams.get_mut(slot as usize) else {
            return;
        };
        if stream.bits.has(Bits::LIVE) {
            return;
        }
        let held = stream.bits.has(Bits::HANDLE | Bits::BACKLOG);
        if !held || stream.bits.has(Bits::DISCARDS) {
            self.held -= u64::from(stream.unread);
            stream.unread = 0;
            stream.inbox.clear();
        }
        if stream.unread == 0 && stream.bits.take(Bits::COUNTED) {
            stream.memory = None;
            self.grown -= u64::from(stream.window.saturating_sub(self.settings.initial_window));
            if stream.bits.has(Bits::OUTBOUND) {
                self.outbound -= 1;
                self.note_openable();
            } else {
                self.inbound -= 1;
            }
        }
        if !held {
            self.streams.remove(slot as usize);
        }
    }

    /// A stream in the backlog has died: nobody will be given it.
    fn drop_from_backlog(&mut self, slot: u32) {
        let Some(stream) = self.stream_mut(slot) else {
            return;
        };
        // Marked only: searching the queue for each would make a peer's resets expensive.
        stream.bits.set(Bits::DISCARDS);
        self.backlog_dead += 1;
        if self.backlog_dead > 64 + self.backlog.len() / 2 {
            let backlog = std::mem::take(&mut self.backlog);
            for slot in backlog {
                let dead = self
                    .stream(slot)
                    .is_none_or(|stream| stream.end.is_some() && stream.bits.has(Bits::DISCARDS));
                if dead {
                    self.forget_backlog_entry(slot);
                } else {
                    self.backlog.push_back(slot);
                }
            }
        }
    }

    /// A dead entry was taken out of the backlog.
    pub(crate) fn forget_backlog_entry(&mut self, slot: u32) {
        self.backlog_dead = self.backlog_dead.saturating_sub(1);
        if let Some(stream) = self.stream_mut(slot) {
            stream.bits.clear(Bits::BACKLOG);
        }
        self.settle(slot);
    }

    pub(crate) fn note_openable(&mut self) {
        if std::mem::take(&mut self.open_wait) {
            self.events.push_back(Event::Openable);
        }
    }

    pub(crate) fn wake_reader(&mut self, slot: u32) {
        if let Some(stream) = self.streams.get_mut(slot as usize)
            && stream.bits.take(Bits::READ_WAIT)
        {
            self.events.push_back(Event::Readable(StreamKey(slot)));
        }
    }

    pub(crate) fn wake_writer(&mut self, slot: u32) {
        if let Some(stream) = self.streams.get_mut(slot as usize)
            && stream.bits.take(Bits::WRITE_WAIT)
        {
            self.events.push_back(Event::Writable(StreamKey(slot)));
        }
    }
}
