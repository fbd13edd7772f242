//! The lists of streams that wait for their turn or their time. A stream that dies stays in them, since
//! searching for it would cost more than to pass it by; what is kept of the dead is kept in proportion to
//! the living, whatever peer and application do while the transport takes nothing.

use std::collections::VecDeque;

use super::{Engine, stream::Bits};

/// Entries that are not looked through for dead ones.
const FEW: usize = 64;

impl Engine {
    /// A stream has data to send, and had none before.
    pub(crate) fn queue_fresh(&mut self, slot: u32) {
        if self.is_long(self.fresh.len()) {
            // Both lists share a mark: those in turn come first, and keep their places.
            let lists = [
                std::mem::take(&mut self.ready),
                std::mem::take(&mut self.fresh),
            ];
            [self.ready, self.fresh] = self.without_dead(lists, Bits::IN_READY);
        }
        if self.enters(slot, Bits::IN_READY) {
            self.fresh.push_back(slot);
        }
    }

    /// Has a stream's turn come for what it has to say beside data.
    pub(crate) fn queue_control(&mut self, slot: u32) {
        if self.is_long(self.control.len()) {
            let lists = [std::mem::take(&mut self.control)];
            [self.control] = self.without_dead(lists, Bits::IN_CONTROL);
        }
        if self.enters(slot, Bits::IN_CONTROL) {
            self.control.push_back(slot);
        }
    }

    /// A stream waits for room in the send budget.
    pub(crate) fn queue_for_budget(&mut self, slot: u32) {
        if self.is_long(self.budget_waiters.len()) {
            let lists = [std::mem::take(&mut self.budget_waiters)];
            [self.budget_waiters] = self.without_dead(lists, Bits::BUDGET_WAIT);
        }
        if self.enters(slot, Bits::BUDGET_WAIT) {
            self.budget_waiters.push_back(slot);
        }
    }

    /// Marks a stream as one in a list; false if it is in it already.
    fn enters(&mut self, slot: u32, mark: Bits) -> bool {
        match self.stream_mut(slot) {
            Some(stream) if !stream.bits.has(mark) => {
                stream.bits.set(mark);
                true
            }
            _ => false,
        }
    }

    fn is_long(&self, len: usize) -> bool {
        len > FEW + 2 * self.streams.len()
    }

    /// The lists with each stream that has the mark and lives, once, in its first place. A place of a dead
    /// stream may by now name another one.
    fn without_dead<const N: usize>(
        &mut self,
        lists: [VecDeque<u32>; N],
        mark: Bits,
    ) -> [VecDeque<u32>; N] {
        let lists = lists.map(|list| {
            list.into_iter()
                .filter(|&slot| {
                    self.stream_mut(slot)
                        .is_some_and(|stream| stream.bits.has(Bits::LIVE) && stream.bits.take(mark))
                })
                .collect::<VecDeque<_>>()
        });
        for &slot in lists.iter().flatten() {
            if let Some(stream) = self.stream_mut(slot) {
                stream.bits.set(mark);
            }
        }
        lists
    }

    pub(crate) fn lingers(&self, slot: u32, id: u32) -> bool {
        self.stream(slot).is_some_and(|stream| {
            stream.id == id && stream.bits.has(Bits::LIVE) && !stream.bits.has(Bits::HANDLE)
        })
    }

    /// Keeps the list of streams that wait to be acknowledged in proportion to those that do.
    pub(crate) fn compact_opening(&mut self) {
        if self.opening.len() > 64 + 2 * self.unacked {
            let opening = std::mem::take(&mut self.opening);
            self.opening = opening
                .into_iter()
                .filter(|&(_, slot, id)| self.waits_for_ack(slot, id))
                .collect();
        }
    }

    pub(crate) fn waits_for_ack(&self, slot: u32, id: u32) -> bool {
        self.stream(slot)
            .is_some_and(|stream| stream.id == id && stream.bits.has(Bits::UNACKED))
    }

    /// Keeps the list of lingering streams in proportion to the streams that linger.
    pub(crate) fn compact_lingering(&mut self) {
        if self.lingering.len() > 64 + 2 * self.streams.len() {
            let lingering = std::mem::take(&mut self.lingering);
            self.lingering = lingering
                .into_iter()
                .filter(|&(_, slot, id)| self.lingers(slot, id))
                .collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::{Bytes, BytesMut};

    use super::*;
    use crate::proto::{Accepting, Opening, Role, StreamKey, muxado, yamux};

    #[expect(
        clippy::disallowed_methods,
        reason = "only that time passes in order matters"
    )]
    fn server(config: &muxado::Config) -> (Engine, Instant) {
        let now = Instant::now();
        let engine = Engine::muxado(Role::Server, config, [1; 32], now).unwrap();
        (engine, now)
    }

    /// A muxado frame.
    fn frame(kind: u8, flags: u8, id: u32, body: &[u8]) -> BytesMut {
        let mut bytes = BytesMut::from(&(body.len() as u32).to_be_bytes()[1..]);
        bytes.extend_from_slice(&[kind << 4 | flags]);
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    fn accept(engine: &mut Engine, now: Instant, id: u32) -> StreamKey {
        engine.handle_input(now, &mut frame(1, 2, id, &[])).unwrap();
        match engine.accept(now) {
            Accepting::Stream(key) => key,
            other => panic!("{other:?}"),
        }
    }

    /// docs/wire U78: greeted and reset by the peer, over and over, while nothing can be written.
    #[test]
    fn streams_that_died_with_something_to_send_leave_nothing() {
        let (mut engine, now) = server(&muxado::Config::default());
        for number in 0..10_000 {
            let id = 3 + 2 * number;
            let key = accept(&mut engine, now, id);
            engine.write(key, Bytes::from_static(b"greeting")).unwrap();
            engine
                .handle_input(now, &mut frame(0, 0, id, &[0; 4]))
                .unwrap();
            engine.release(now, key);
            while engine.poll_event().is_some() {}
            assert!(engine.fresh.len() <= 70, "{}", engine.fresh.len());
        }
    }

    #[test]
    fn streams_that_died_while_they_waited_for_the_budget_leave_nothing() {
        let (mut engine, now) = server(&muxado::Config::default().send_budget(1024));
        let full = accept(&mut engine, now, 3);
        let more = accept(&mut engine, now, 5);
        engine.write(full, Bytes::from_static(&[0; 512])).unwrap();
        engine.write(more, Bytes::from_static(&[0; 512])).unwrap();
        let last = accept(&mut engine, now, 7);
        engine.write(last, Bytes::from_static(&[0; 256])).unwrap();
        for number in 0..10_000 {
            let id = 9 + 2 * number;
            let key = accept(&mut engine, now, id);
            assert_eq!(engine.write_room(key).unwrap(), 0);
            engine
                .handle_input(now, &mut frame(0, 0, id, &[0; 4]))
                .unwrap();
            engine.release(now, key);
            while engine.poll_event().is_some() {}
            let waiting = engine.budget_waiters.len();
            assert!((1..=80).contains(&waiting), "{waiting}");
        }
    }

    /// Opened and dropped over and over, while nothing can be written.
    #[test]
    fn streams_that_died_before_they_were_announced_leave_nothing() {
        let (_, now) = server(&muxado::Config::default());
        let config = yamux::Config::default();
        let mut engine = Engine::yamux(Role::Client, &config, [1; 32], now).unwrap();
        for _ in 0..10_000 {
            let Opening::Stream(key) = engine.open(now).unwrap() else {
                panic!("blocked");
            };
            engine.release(now, key);
            assert!(engine.control.len() <= 70, "{}", engine.control.len());
        }
        assert_eq!(engine.resets.len(), 0);
    }

    /// Those who live keep their turns, in order.
    #[test]
    fn the_living_keep_their_places() {
        let (mut engine, now) = server(&muxado::Config::default());
        let mut living = Vec::new();
        for number in 0..1000_u32 {
            let id = 3 + 2 * number;
            let key = accept(&mut engine, now, id);
            engine.write(key, Bytes::from_static(b"x")).unwrap();
            if number % 100 == 0 {
                living.push(key.0);
            } else {
                engine
                    .handle_input(now, &mut frame(0, 0, id, &[0; 4]))
                    .unwrap();
                engine.release(now, key);
            }
        }
        let kept: Vec<u32> = engine
            .fresh
            .iter()
            .copied()
            .filter(|&slot| living.contains(&slot))
            .collect();
        assert!(engine.fresh.len() < 200);
        assert_eq!(kept, living);
    }
}
