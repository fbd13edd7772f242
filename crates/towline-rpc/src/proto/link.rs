//! What both roles do alike: stamping, queueing and timing what is sent.

use std::time::{Duration, Instant};

use bytes::Bytes;
use towline_codec::{Text, greenpack::Timestamp};

use super::{
    Compression, EncodedFrame, MAX_DECOMPRESSED, Message, TooLarge, Violation, alive,
    credit::{Credit, Terms},
    frame::{self},
    inbound::{InboundQueue, Inflow, OutOfSync},
    outbox::Outbox,
};

/// The present, as the caller knows it: protocol cores read no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For measuring: never goes back.
    pub instant: Instant,
    /// Wall time, for what the wire carries.
    pub wall: Timestamp,
}

/// What a connection allows itself and its peer. The defaults suit a link between two hosts of one
/// site and of the internet alike; each setter says what its number costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) frame_timeout: Duration,
    pub(crate) outbox_bytes: usize,
    pub(crate) queue_bytes: usize,
    pub(crate) queue_parts: usize,
    pub(crate) connection_bytes: usize,
    pub(crate) write_timeout: Option<Duration>,
    pub(crate) max_message: usize,
    pub(crate) stray_parts: u32,
    pub(crate) dead_peer: Option<Duration>,
    pub(crate) credit: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            keep_alive: None,
            idle_timeout: None,
            frame_timeout: Duration::from_secs(30),
            outbox_bytes: 2 << 20,
            queue_bytes: 16 << 20,
            queue_parts: 1024,
            connection_bytes: 64 << 20,
            write_timeout: None,
            max_message: MAX_DECOMPRESSED,
            stray_parts: 10_000,
            dead_peer: None,
            credit: true,
        }
    }
}

impl Limits {
    /// Sends a keep-alive when nothing was sent for this long (docs/wire K2). Default: never. Costs
    /// 47 bytes an interval; keeps firewalls and the peer's idle limit away.
    #[must_use]
    pub const fn keep_alive(mut self, interval: Option<Duration>) -> Self {
        self.keep_alive = interval;
        self
    }

    /// Closes the connection when nothing came for this long (docs/wire K4). Default: never. Too
    /// short for a peer that sends no keep-alives, it cuts healthy idle connections.
    #[must_use]
    pub const fn idle_timeout(mut self, limit: Option<Duration>) -> Self {
        self.idle_timeout = limit;
        self
    }

    /// Notices within this time that the other end is gone. Default: never. 1 s to an hour.
    ///
    /// A client has both ends do so if the server is towline, too (docs/wire K5): each sends a keep-alive when it has sent
    /// nothing for a third of the time. Whatever the other end is, connections that towline has dialled or accepted itself
    /// notice when its system says nothing any more (docs/wire K6); on Linux a peer that takes nothing for so long is given
    /// up then, too, even if it is only slow.
    #[must_use]
    pub const fn dead_peer(mut self, limit: Option<Duration>) -> Self {
        self.dead_peer = limit;
        self
    }

    /// Whether streams agree with a peer that is towline, too, on credit for each of them, so that one
    /// that is taken slowly holds up itself alone (docs/wire C21, S20). Default: true. Of the original's
    /// bytes it changes a parameter of the first streams' requests, which the original does not look at.
    #[must_use]
    pub const fn credit(mut self, agree: bool) -> Self {
        self.credit = agree;
        self
    }

    /// Closes the connection when the rest of a frame does not come for this long (docs/wire F23).
    /// Default: 30 s.
    #[must_use]
    pub const fn frame_timeout(mut self, limit: Duration) -> Self {
        self.frame_timeout = limit;
        self
    }

    /// Bytes that may wait to be written before senders wait and a server stops reading. Default:
    /// 2 MiB. More costs memory on every connection whose peer reads slowly; below the size of a
    /// stream part, one part at a time is in memory.
    #[must_use]
    pub const fn outbox_bytes(mut self, limit: usize) -> Self {
        self.outbox_bytes = limit;
        self
    }

    /// Bytes of received stream parts that may wait for a slow handler or caller, per stream
    /// (docs/wire S13). Default: 16 MiB. When it is full the peer sends no more of this stream, or, if it
    /// is the original, the connection stops reading (docs/wire S14, S20).
    #[must_use]
    pub const fn queue_bytes(mut self, limit: usize) -> Self {
        self.queue_bytes = limit;
        self
    }

    /// As [`queue_bytes`](Self::queue_bytes), in parts. Default: 1024.
    #[must_use]
    pub const fn queue_parts(mut self, limit: usize) -> Self {
        self.queue_parts = limit;
        self
    }
}

impl Limits {
    /// As [`queue_bytes`](Self::queue_bytes), over all streams of the connection. Default: 64 MiB.
    /// Too small for the number of streams, one slow handler holds up the others sooner: with a peer that
    /// keeps to credit, a stream begins with 64 KiB of it and grows up to `queue_bytes` while all together
    /// have half of this number.
    #[must_use]
    pub const fn connection_bytes(mut self, limit: usize) -> Self {
        self.connection_bytes = limit;
        self
    }

    /// Largest message that is taken, decompressed. Default: 64 MiB, the wire's own limit. A
    /// compressed message of a kilobyte may expand to all of it, on every connection, and its answer
    /// again: a server for clients it does not trust sets no more than its services need.
    #[must_use]
    pub const fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Closes the connection when the peer takes nothing of what waits to be written for this long,
    /// and at the latest for twice as long (docs/wire F25). Default: never, as a peer may be slow by intent; without it, or TCP noticing,
    /// a vanished peer holds its place while bytes wait for it.
    #[must_use]
    pub const fn write_timeout(mut self, limit: Option<Duration>) -> Self {
        self.write_timeout = limit;
        self
    }
}

/// The sending half and the clocks of one connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) limits: Limits,
    pub(crate) local: Text,
    pub(crate) remote: Text,
    compression: Compression,
    outbox: Outbox,
    serial: i64,
    inflow: Inflow,
    last_sent: Instant,
    /// When bytes began to wait for the transport, or the clock was last looked at after some
    /// had reached it.
    last_written: Instant,
    /// Bytes have reached the transport since then.
    wrote: bool,
    last_received: Instant,
    inside_frame: bool,
    /// Our own back-pressure has stopped reading since `last_received`.
    paused: bool,
    stray_parts: u32,
    /// A client's offer, until the first answer has come (docs/wire C21).
    pub(super) offered: Option<Duration>,
    /// A server has taken an offer.
    pub(super) agreed: bool,
    /// What its next answer says of it.
    pub(super) acceptance: Option<Text>,
    /// A client has made an offer, of whatever.
    pub(super) has_offered: bool,
    pub(super) terms: Terms,
}

impl Link {
    pub(crate) fn new(
        limits: Limits,
        compression: Compression,
        local: Text,
        remote: Text,
        now: Now,
    ) -> Self {
        Self {
            offered: limits.dead_peer.map(alive::within_bounds),
            agreed: false,
            acceptance: None,
            has_offered: false,
            terms: Terms::default(),
            limits,
            local,
            remote,
            compression,
            outbox: Outbox::default(),
            serial: 0,
            inflow: Inflow::default(),
            last_sent: now.instant,
            last_written: now.instant,
            wrote: false,
            last_received: now.instant,
            inside_frame: false,
            paused: false,
            stray_parts: 0,
        }
    }

    /// The next serial number (docs/wire M8).
    pub(crate) const fn next_serial(&mut self) -> i64 {
        self.serial += 1;
        self.serial
    }

    pub(crate) const fn compression(&self) -> Compression {
        self.compression
    }

    pub(crate) const fn set_compression(&mut self, compression: Compression) {
        self.compression = compression;
    }

    /// Queues a message. Compresses on the spot if it must: see [`Link::enqueue_encoded`].
    pub(crate) fn enqueue(&mut self, now: Now, message: &Message) -> Result<(), TooLarge> {
        self.begin_waiting(now);
        self.push(message)?;
        self.enqueued(now);
        Ok(())
    }

    fn push(&mut self, message: &Message) -> Result<(), TooLarge> {
        let byte = frame::compression_byte(message, self.compression);
        if Compression::from_byte(byte) == Ok(Compression::None) {
            self.outbox.push_plain(message, byte)
        } else {
            let frame = EncodedFrame::new(message, self.compression)?;
            self.outbox.push_encoded(frame);
            Ok(())
        }
    }

    pub(crate) fn enqueue_encoded(&mut self, now: Now, frame: EncodedFrame) {
        self.begin_waiting(now);
        self.outbox.push_encoded(frame);
        self.enqueued(now);
    }

    fn enqueued(&mut self, now: Now) {
        self.last_sent = now.instant;
        if !self.has_room() {
            self.pause_reading();
        }
    }

    pub(crate) fn pop_transmit(&mut self) -> Option<Bytes> {
        self.outbox.pop()
    }

    pub(crate) fn written(&mut self, len: usize) {
        self.outbox.written(len);
        self.wrote = true;
    }

    /// The clock of writing runs from the moment something waits.
    const fn begin_waiting(&mut self, now: Now) {
        if self.unsent() == 0 {
            self.last_written = now.instant;
            self.wrote = false;
        }
    }

    pub(crate) const fn unsent(&self) -> usize {
        self.outbox.unsent()
    }

    pub(crate) const fn has_room(&self) -> bool {
        self.outbox.unsent() < self.limits.outbox_bytes
    }

    /// Notes that bytes came, and whether they end inside a frame.
    pub(crate) const fn received(&mut self, now: Now, inside_frame: bool) {
        self.last_received = now.instant;
        self.inside_frame = inside_frame;
    }

    /// Counts a part of a stream that does not exist, in a row of such parts (docs/wire S10).
    pub(crate) fn stray_part(&mut self) -> Result<(), Violation> {
        self.stray_parts += 1;
        if self.stray_parts > self.limits.stray_parts {
            return Err(Violation::StrayParts(self.stray_parts));
        }
        Ok(())
    }

    /// Something else than a part of a stream that does not exist came.
    pub(crate) const fn end_stray_parts(&mut self) {
        self.stray_parts = 0;
    }

    /// When [`Link::handle_timeout`] has something to do, if ever. While reading is paused by our
    /// own back-pressure, silence is not the peer's fault.
    pub(crate) fn deadline(&self, reading: bool) -> Option<Instant> {
        // What lies beyond the clock's range never comes.
        [
            self.limits
                .keep_alive
                .and_then(|interval| self.last_sent.checked_add(interval)),
            self.limits
                .idle_timeout
                .filter(|_| reading)
                .and_then(|limit| self.last_received.checked_add(limit)),
            self.last_received
                .checked_add(self.limits.frame_timeout)
                .filter(|_| self.inside_frame && reading),
            self.limits
                .write_timeout
                .filter(|_| self.unsent() > 0)
                .and_then(|limit| self.last_written.checked_add(limit)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Now, reading: bool) -> Result<(), Violation> {
        // What came during the pause lies unread in the transport.
        if reading && std::mem::take(&mut self.paused) {
            self.resume_reading(now);
        }
        let silent = now.instant.saturating_duration_since(self.last_received);
        if reading && self.inside_frame && silent >= self.limits.frame_timeout {
            return Err(Violation::FrameTimeout);
        }
        if reading
            && self
                .limits
                .idle_timeout
                .is_some_and(|limit| silent >= limit)
        {
            return Err(Violation::IdleTimeout);
        }
        if std::mem::take(&mut self.wrote) {
            self.last_written = now.instant;
        }
        let stuck = now.instant.saturating_duration_since(self.last_written);
        if self.unsent() > 0
            && self
                .limits
                .write_timeout
                .is_some_and(|limit| stuck >= limit)
        {
            return Err(Violation::WriteTimeout);
        }
        let unsaid = now.instant.saturating_duration_since(self.last_sent);
        if self
            .limits
            .keep_alive
            .is_some_and(|interval| unsaid >= interval)
        {
            // With bytes still waiting, the peer will hear from us anyway.
            if self.unsent() > 0 {
                self.last_sent = now.instant;
            } else if self.enqueue(now, &Message::keep_alive()).is_err() {
                debug_assert!(false, "a keep-alive is 47 bytes");
            }
        }
        Ok(())
    }

    /// True while the queues of streams have room.
    pub(crate) const fn takes_parts(&self) -> bool {
        self.inflow.is_open(&self.limits)
    }

    /// Puts a part that came into its stream's queue.
    pub(crate) fn queue_part(
        &mut self,
        queue: &mut InboundQueue,
        part: Message,
    ) -> Result<(), OutOfSync> {
        self.inflow.push(queue, part, &self.limits)?;
        if !self.takes_parts() {
            self.pause_reading();
        }
        Ok(())
    }

    /// Puts a message that belongs to no stream into a listener's queue.
    pub(crate) fn queue_message(&mut self, queue: &mut InboundQueue, message: Message) {
        self.inflow.add(queue, message, &self.limits);
        if !self.takes_parts() {
            self.pause_reading();
        }
    }

    /// Takes the next part out of a stream's queue.
    pub(crate) fn take_part(&mut self, now: Now, queue: &mut InboundQueue) -> Option<Message> {
        let was_open = self.takes_parts();
        let part = self.inflow.pop(queue, &self.limits);
        if !was_open && self.takes_parts() {
            self.resume_reading(now);
        }
        part
    }

    /// Drops what a stream's queue holds.
    pub(crate) fn discard_parts(&mut self, queue: &mut InboundQueue) {
        self.inflow.discard(queue);
    }

    /// From now on the sender of this queue's parts keeps to what it is told (docs/wire S20).
    pub(super) fn begin_granting(&mut self, queue: &mut InboundQueue) {
        self.inflow.begin_granting(queue, &self.limits);
    }

    /// What a stream's sender is to be told now that parts have been taken.
    pub(super) fn due_credit(&mut self, queue: &mut InboundQueue) -> Option<Credit> {
        self.inflow.due(queue, &self.limits)
    }

    /// Queues a message behind others that have just been written: no clock has to be set.
    pub(super) fn enqueue_behind(&mut self, message: &Message) {
        let queued = self.push(message);
        debug_assert!(queued.is_ok(), "only small messages are queued so");
    }

    /// Notes that our own back-pressure stops reading.
    pub(crate) const fn pause_reading(&mut self) {
        self.paused = true;
    }

    /// Starts the clock of reading anew, after a pause of our own making.
    pub(crate) const fn resume_reading(&mut self, now: Now) {
        self.last_received = now.instant;
    }
}
