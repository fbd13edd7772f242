//! What is handed to the transport, and in which order.
//!
//! Answers to pings first, then pings, resets and credit: they are short, and others wait for them.
//! Then data, a frame at a time from each stream in turn; a stream that had nothing to send before is
//! served before those that send without pause, so that a short message overtakes a long transfer.

use std::time::Instant;

use bytes::Bytes;

use super::{
    Dialect, Engine, StreamKey, Transmit,
    close::Phase,
    flow::Window,
    frame::Outbound,
    inbound::Stalled,
    muxado,
    stream::{Bits, Stream},
    yamux,
};

/// Bytes that one stream may have waiting to be written: enough for a few frames ahead.
const STREAM_AHEAD: usize = 256 << 10;
/// A stream's turn while others have data as well. A long frame would hold them up.
const TURN: u32 = 16 << 10;
/// Streams served out of turn before one in turn.
const FRESH_RUN: u32 = 8;
/// Frames of one direct write.
const DIRECT_FRAMES: usize = 5;

/// Frame heads for bytes that the caller writes itself, behind what was transmitted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Direct {
    heads: [([u8; 12], u8, u32); DIRECT_FRAMES],
    used: usize,
    total: usize,
}

impl Direct {
    /// Payload bytes of all frames: the caller writes the first so many of what it had.
    pub const fn total(&self) -> usize {
        self.total
    }

    /// Head and payload length of each frame, in order.
    pub fn frames(&self) -> impl Iterator<Item = (&[u8], usize)> {
        self.heads[..self.used]
            .iter()
            .map(|(head, len, body)| (&head[..usize::from(*len)], *body as usize))
    }
}

impl Engine {
    /// Puts what is to be written next behind what waits in `out`, until that holds `limit` bytes or
    /// nothing is left.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut Transmit, limit: usize) {
        let resets = self.resets.len();
        match self.phase {
            Phase::Running | Phase::Draining { .. } => {
                self.transmit_control(now, out, limit);
                while out.len() < limit
                    && let Some(slot) = self.next_ready()
                {
                    self.emit_data(slot, out);
                }
                self.share_room();
                if !self.has_output() {
                    self.go_on_closing(now);
                    self.transmit_control(now, out, limit);
                }
            }
            Phase::Final { .. } | Phase::Shut { .. } | Phase::Over => {}
        }
        // The last frame comes last, whatever led to it.
        if matches!(self.phase, Phase::Final { .. })
            && let Some((code, debug)) = self.go_away.take()
        {
            self.emit_go_away(out, code, debug);
        }
        if self.stalled != Stalled::No {
            let taken = self.resets.is_empty() || self.resets.len() < resets;
            self.stalled = if taken {
                Stalled::UntilTransmitted
            } else {
                Stalled::InVain
            };
        }
    }

    /// True if [`poll_transmit`](Self::poll_transmit) has something.
    pub fn has_output(&self) -> bool {
        match self.phase {
            Phase::Running | Phase::Draining { .. } => {
                !self.pongs.is_empty()
                    || self.pings.has_unsent()
                    || !self.resets.is_empty()
                    || !self.control.is_empty()
                    || self.queued > 0
                    || self.go_away.is_some()
            }
            Phase::Final { .. } => self.go_away.is_some(),
            Phase::Shut { .. } | Phase::Over => false,
        }
    }

    /// True if what [`poll_transmit`](Self::poll_transmit) does next depends on the time; else any time
    /// will do.
    pub fn transmits_by_the_clock(&self) -> bool {
        self.pings.has_unsent() || !self.control.is_empty() || !matches!(self.phase, Phase::Running)
    }

    /// Bytes that wait in streams.
    pub const fn queued(&self) -> usize {
        self.queued
    }

    /// Frames up to `len` bytes that the caller has, for a transport that is free: what else is to be
    /// sent is put into `out`, and the caller writes the frames right behind it. Nothing if other
    /// streams have their turn first, or the stream cannot send now.
    pub fn write_direct(
        &mut self,
        now: Instant,
        key: StreamKey,
        len: usize,
        out: &mut Transmit,
    ) -> Direct {
        let mut direct = Direct::default();
        let ready = matches!(self.phase, Phase::Running)
            && self.queued == 0
            && self
                .stream(key.0)
                .is_some_and(|stream| stream.is_writable() && stream.send_credit > 0);
        if !ready {
            return direct;
        }
        self.transmit_control(now, out, usize::MAX);
        let Some(stream) = self.streams.get_mut(key.0 as usize) else {
            return direct;
        };
        let id = stream.id;
        let mut left = u32::try_from(len)
            .unwrap_or(u32::MAX)
            .min(stream.send_credit);
        let muxado = self.settings.dialect == Dialect::Muxado;
        let mut syn = muxado && stream.bits.take(Bits::SYN_DUE);
        let acked = stream.bits.has(Bits::ACK_DUE);
        if acked {
            self.emit_greeting(key.0, out);
        }
        while left > 0 && direct.used < DIRECT_FRAMES {
            let body = left.min(self.settings.max_payload);
            let frame = Outbound::Data {
                id,
                syn: std::mem::take(&mut syn),
                fin: false,
                len: body,
            };
            let (head, head_len) = &mut (&mut direct.heads[direct.used].0, 0);
            match self.settings.dialect {
                Dialect::Yamux => {
                    **head = yamux::Header::from_outbound(frame).encode();
                    *head_len = yamux::HEADER_LEN;
                }
                Dialect::Muxado => {
                    let mut bytes = [0; 16];
                    let encoded = muxado::encode(frame, &mut bytes);
                    *head_len = encoded.len();
                    head[..encoded.len()].copy_from_slice(encoded);
                }
            }
            let head_len = *head_len;
            direct.heads[direct.used].1 = head_len as u8;
            direct.heads[direct.used].2 = body;
            direct.used += 1;
            direct.total += body as usize;
            left -= body;
            self.stats.bytes_sent += (head_len + body as usize) as u64;
            self.note_sent(frame);
        }
        if let Some(stream) = self.streams.get_mut(key.0 as usize) {
            stream.send_credit -= direct.total as u32;
        }
        direct
    }

    fn transmit_control(&mut self, now: Instant, out: &mut Transmit, limit: usize) {
        while out.len() < limit
            && let Some(value) = self.pongs.pop_front()
        {
            self.emit(out, Outbound::Pong { value });
        }
        while out.len() < limit
            && self.pings.has_unsent()
            && let Some(value) = self.pings.next_unsent(now)
        {
            self.emit(out, Outbound::Ping { value });
        }
        // docs/wire Y74: a stream's SYN goes before its reset; a reset stream has no other greeting.
        while out.len() < limit
            && let Some((id, code)) = self.resets.pop_front()
        {
            self.emit(out, Outbound::Reset { id, code });
            self.owed = self.owed.saturating_sub(1);
        }
        if self.resets.is_empty() {
            self.owed = 0;
        }
        while out.len() < limit
            && let Some(slot) = self.control.pop_front()
        {
            self.emit_control(now, slot, out);
        }
        if out.len() < limit
            && !matches!(self.phase, Phase::Final { .. })
            && let Some((code, debug)) = self.go_away.take()
        {
            self.emit_go_away(out, code, debug);
            if self.settings.dialect == Dialect::Muxado {
                // docs/wire U58.
                out.push_inline(&muxado::PAD);
            }
        }
    }

    fn emit_go_away(&mut self, out: &mut Transmit, code: u32, debug: Bytes) {
        let last = self.last_remote & muxado::MAX_STREAM;
        let muxado = self.settings.dialect == Dialect::Muxado;
        let debug = if muxado { debug } else { Bytes::new() };
        self.emit(
            out,
            Outbound::GoAway {
                last,
                code,
                debug: debug.len() as u32,
            },
        );
        self.stats.bytes_sent += debug.len() as u64;
        out.push(debug);
    }

    /// What a stream has to say beside data.
    fn emit_control(&mut self, now: Instant, slot: u32, out: &mut Transmit) {
        let Some(stream) = self.streams.get_mut(slot as usize) else {
            return;
        };
        stream.bits.clear(Bits::IN_CONTROL);
        if !stream.bits.has(Bits::LIVE) {
            return;
        }
        if stream.bits.has(Bits::GREETING_DUE) {
            self.emit_greeting(slot, out);
        }
        if let Some(stream) = self.streams.get_mut(slot as usize)
            && stream.bits.take(Bits::CREDIT_DUE)
        {
            self.emit_credit(now, slot, out);
        }
        if let Some(stream) = self.stream(slot)
            && stream.bits.has(Bits::FIN_DUE)
            && stream.queued == 0
        {
            self.emit_fin(slot, out);
        }
    }

    /// SYN or ACK, if they have not left.
    fn emit_greeting(&mut self, slot: u32, out: &mut Transmit) {
        let initial = self.settings.initial_window;
        let yamux = self.settings.dialect == Dialect::Yamux;
        let Some(stream) = self.streams.get_mut(slot as usize) else {
            return;
        };
        stream.bits.clear(Bits::GREETING_DUE);
        let id = stream.id;
        // docs/wire Y7: a first window above 256 KiB is announced here.
        let credit = initial.saturating_sub(yamux::FIRST_WINDOW);
        if stream.bits.take(Bits::SYN_DUE) {
            let frame = if yamux {
                Outbound::Open { id, credit }
            } else {
                Outbound::Data {
                    id,
                    syn: true,
                    fin: false,
                    len: 0,
                }
            };
            let flushed = stream.queued == 0;
            self.emit(out, frame);
            if flushed {
                self.wake_writer(slot);
            }
        } else if stream.bits.take(Bits::ACK_DUE) {
            // docs/wire Y11: a peer that has ended its data needs no credit.
            let credit = if stream.is_receiving() { credit } else { 0 };
            stream.recv_credit = stream.recv_credit.saturating_add(credit);
            self.emit(out, Outbound::Acknowledge { id, credit });
        }
    }

    /// Gives back what the application has read, and lets the window grow.
    fn emit_credit(&mut self, now: Instant, slot: u32, out: &mut Transmit) {
        let micros = self.micros(now);
        let (dialect, initial) = (self.settings.dialect, self.settings.initial_window);
        let after_fin = dialect == Dialect::Muxado;
        let gives = |stream: &Stream| {
            stream.end.is_none() && (after_fin || !stream.bits.has(Bits::FIN_RECEIVED))
        };
        // The acknowledgement goes first, and gives credit of its own.
        if self
            .stream(slot)
            .is_some_and(|stream| gives(stream) && stream.bits.has(Bits::ACK_DUE))
        {
            self.emit_greeting(slot, out);
        }
        let Some(stream) = self.streams.get_mut(slot as usize) else {
            return;
        };
        if !gives(stream) {
            return;
        }
        let window = Window {
            size: stream.window,
            credit: stream.recv_credit,
            unread: stream.unread,
        };
        if !window.is_due(dialect, initial) {
            return;
        }
        // docs/wire Y44.
        if let Some(rtt) = self.pings.base()
            && let Some(size) = window.grown(
                micros.wrapping_sub(stream.credited),
                u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX),
                self.settings.growth_factor,
                self.settings.max_window,
            )
        {
            let more = size - window.size;
            if self.grown + u64::from(more) <= self.settings.growth_pool()
                && stream
                    .memory
                    .as_mut()
                    .is_none_or(|memory| memory.grow(more as usize))
            {
                self.grown += u64::from(more);
                self.stats.windows_grown += 1;
                stream.window = size;
            }
        }
        let credit = Window {
            size: stream.window,
            ..window
        }
        .missing();
        stream.recv_credit += credit;
        stream.credited = micros;
        let id = stream.id;
        self.emit(out, Outbound::Credit { id, credit });
    }

    fn emit_fin(&mut self, slot: u32, out: &mut Transmit) {
        let Some(stream) = self.streams.get_mut(slot as usize) else {
            return;
        };
        let id = stream.id;
        stream.bits.clear(Bits::FIN_DUE);
        stream.bits.set(Bits::FIN_SENT);
        // docs/wire U41, U43: SYN and FIN in one frame let some acceptors no longer answer; right
        // only where nobody waits for an answer.
        let at_once = self.settings.dialect == Dialect::Muxado
            && !stream.bits.has(Bits::HANDLE)
            && stream.bits.take(Bits::SYN_DUE);
        if at_once {
            stream.bits.clear(Bits::GREETING_DUE);
            self.emit(
                out,
                Outbound::Data {
                    id,
                    syn: true,
                    fin: true,
                    len: 0,
                },
            );
        } else {
            self.emit_greeting(slot, out);
            self.emit(out, Outbound::Fin { id });
        }
        self.wake_writer(slot);
        self.leave_if_done(slot);
    }

    /// The stream whose turn it is.
    fn next_ready(&mut self) -> Option<u32> {
        if (self.fresh_run < FRESH_RUN || self.ready.is_empty())
            && let Some(slot) = self.fresh.pop_front()
        {
            self.fresh_run += 1;
            return Some(slot);
        }
        self.fresh_run = 0;
        self.ready.pop_front()
    }

    /// One frame of a stream's data.
    fn emit_data(&mut self, slot: u32, out: &mut Transmit) {
        let alone = self.ready.is_empty() && self.fresh.is_empty();
        let Some(stream) = self.streams.get_mut(slot as usize) else {
            return;
        };
        stream.bits.clear(Bits::IN_READY);
        if stream.queued == 0 || !stream.bits.has(Bits::LIVE) {
            return;
        }
        let turn = if alone { u32::MAX } else { TURN };
        let len = stream.queued.min(self.settings.max_payload).min(turn);
        let id = stream.id;
        let syn = self.settings.dialect == Dialect::Muxado && stream.bits.take(Bits::SYN_DUE);
        if stream.bits.has(Bits::SYN_DUE | Bits::ACK_DUE) {
            self.emit_greeting(slot, out);
        }
        self.emit(
            out,
            Outbound::Data {
                id,
                syn,
                fin: false,
                len,
            },
        );
        self.stats.bytes_sent += u64::from(len);
        self.queued -= len as usize;
        let Some(stream) = self.streams.get_mut(slot as usize) else {
            return;
        };
        stream.queued -= len;
        let mut left = len as usize;
        while left > 0
            && let Some(chunk) = stream.outbox.take(left)
        {
            left -= chunk.len();
            out.push(chunk);
        }
        if stream.queued > 0 {
            stream.bits.set(Bits::IN_READY);
            self.ready.push_back(slot);
        } else if stream.bits.has(Bits::FIN_DUE) {
            self.emit_fin(slot, out);
            return;
        }
        // Waking for every frame would have the writer refill one frame at a time.
        let half = self.stream_ahead() / 2;
        if let Some(stream) = self.stream(slot)
            && stream.queued as usize <= half
            && !stream.bits.has(Bits::BUDGET_WAIT)
            && (stream.send_credit > 0 || stream.queued == 0)
        {
            self.wake_writer(slot);
        }
    }

    /// Lets those who waited for room in the send budget have it, first come first served.
    fn share_room(&mut self) {
        if self.budget_waiters.is_empty() {
            return;
        }
        let room = self.settings.send_budget.saturating_sub(self.queued);
        // An empty queue wakes everybody: nothing else would come to wake them.
        let mut turns = if self.queued == 0 {
            usize::MAX
        } else if room < self.settings.send_budget / 4 {
            0
        } else {
            room / TURN as usize + 1
        };
        while turns > 0
            && let Some(slot) = self.budget_waiters.pop_front()
        {
            turns -= 1;
            if let Some(stream) = self.stream_mut(slot) {
                stream.bits.clear(Bits::BUDGET_WAIT);
            }
            self.wake_writer(slot);
        }
    }

    /// How much one stream may have waiting.
    pub(crate) fn stream_ahead(&self) -> usize {
        STREAM_AHEAD.min(self.settings.send_budget / 2)
    }
}
