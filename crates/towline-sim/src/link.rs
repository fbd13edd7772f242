//! One direction of a connection.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{Conditions, Rng};

/// What arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The next bytes.
    Bytes(Vec<u8>),
    /// The link has ended; nothing comes after it.
    End,
}

/// One direction of a connection: bytes go in, and come out later, in order, in other pieces.
#[derive(Debug)]
pub struct Link {
    conditions: Conditions,
    rng: Rng,
    on_the_way: VecDeque<(Instant, Bytes)>,
    bytes_on_the_way: usize,
    sent: u64,
    /// No piece arrives before the one in front of it.
    last_arrival: Option<Instant>,
    /// When the last piece has left, on a link of limited bandwidth.
    free: Option<Instant>,
    ends: Option<Instant>,
    ended: bool,
}

impl Link {
    /// A link under the given conditions.
    pub const fn new(conditions: Conditions, rng: Rng) -> Self {
        Self {
            conditions,
            rng,
            on_the_way: VecDeque::new(),
            bytes_on_the_way: 0,
            sent: 0,
            last_arrival: None,
            free: None,
            ends: None,
            ended: false,
        }
    }

    /// True if the sender may send: the link is whole and its buffer has room.
    pub const fn has_room(&self) -> bool {
        self.ends.is_none() && self.bytes_on_the_way < self.conditions.buffer
    }

    /// Sends bytes. On a link that was cut they vanish.
    pub fn send(&mut self, now: Instant, mut bytes: Bytes) {
        if self.ends.is_some() {
            return;
        }
        let cut = match self.conditions.cut_after {
            Some(limit) if self.sent + bytes.len() as u64 >= limit => {
                bytes.truncate(usize::try_from(limit - self.sent).unwrap_or(usize::MAX));
                true
            }
            _ => false,
        };
        self.sent += bytes.len() as u64;
        self.bytes_on_the_way += bytes.len();
        while !bytes.is_empty() {
            let len = match self.conditions.chop {
                Some(largest) => (1 + self.rng.spread(largest - 1)).min(bytes.len()),
                None => bytes.len(),
            };
            let left = self.leave(now, len);
            let arrival = self.arrival(left);
            self.on_the_way.push_back((arrival, bytes.split_to(len)));
        }
        if cut {
            self.end(now);
        }
    }

    /// Ends the link: what is on its way still arrives.
    pub fn end(&mut self, now: Instant) {
        if self.ends.is_none() {
            self.ends = Some(self.arrival(now));
        }
    }

    /// Breaks the link: the end arrives next, and a random part of what is on its way is lost.
    pub fn cut(&mut self, now: Instant) {
        let kept = self.rng.below(self.on_the_way.len() + 1);
        self.on_the_way.truncate(kept);
        self.bytes_on_the_way = self.on_the_way.iter().map(|(_, bytes)| bytes.len()).sum();
        let last = self.on_the_way.back().map_or(now, |&(arrival, _)| arrival);
        self.ends = Some(last.max(now));
    }

    /// True once the link was ended or cut.
    pub const fn is_ending(&self) -> bool {
        self.ends.is_some()
    }

    /// When the link ends, if it was ended or cut.
    pub const fn ends(&self) -> Option<Instant> {
        self.ends
    }

    /// True if the link has ended by now.
    pub fn has_ended(&self, now: Instant) -> bool {
        self.ends.is_some_and(|ends| ends <= now)
    }

    /// What has arrived by now, if anything; `End` once.
    pub fn receive(&mut self, now: Instant) -> Option<Delivery> {
        let mut arrived = Vec::new();
        while let Some((arrival, _)) = self.on_the_way.front()
            && *arrival <= now
            && (arrived.is_empty() || self.rng.chance(1, 2))
            && let Some((_, bytes)) = self.on_the_way.pop_front()
        {
            self.bytes_on_the_way -= bytes.len();
            arrived.extend_from_slice(&bytes);
        }
        if !arrived.is_empty() {
            return Some(Delivery::Bytes(arrived));
        }
        if self.on_the_way.is_empty() && !self.ended && self.ends.is_some_and(|ends| ends <= now) {
            self.ended = true;
            return Some(Delivery::End);
        }
        None
    }

    /// When [`receive`](Self::receive) has something next, if ever.
    pub fn next_arrival(&self) -> Option<Instant> {
        match self.on_the_way.front() {
            Some(&(arrival, _)) => Some(arrival),
            None => self.ends.filter(|_| !self.ended),
        }
    }

    /// When a piece of this length that is sent now has left.
    fn leave(&mut self, now: Instant, len: usize) -> Instant {
        let Some(bandwidth) = self.conditions.bandwidth else {
            return now;
        };
        let nanos = u128::from(len as u64) * 1_000_000_000 / u128::from(bandwidth);
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let left = self.free.map_or(now, |free| free.max(now)) + takes;
        self.free = Some(left);
        left
    }

    fn arrival(&mut self, now: Instant) -> Instant {
        let mut arrival = now + self.conditions.delay + self.rng.duration(self.conditions.jitter);
        if let Some((pieces, longest)) = self.conditions.stall
            && self.rng.chance(1, pieces)
        {
            arrival += self.rng.duration(longest);
        }
        let arrival = self.last_arrival.map_or(arrival, |last| last.max(arrival));
        self.last_arrival = Some(arrival);
        arrival
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(
        clippy::disallowed_methods,
        reason = "only differences to this instant matter"
    )]
    fn epoch() -> Instant {
        Instant::now()
    }

    fn drain(link: &mut Link, now: &mut Instant) -> (Vec<u8>, usize, bool) {
        let (mut bytes, mut pieces) = (Vec::new(), 0);
        loop {
            match link.receive(*now) {
                Some(Delivery::Bytes(piece)) => {
                    bytes.extend_from_slice(&piece);
                    pieces += 1;
                }
                Some(Delivery::End) => return (bytes, pieces, true),
                None => match link.next_arrival() {
                    Some(arrival) => *now = arrival.max(*now),
                    None => return (bytes, pieces, false),
                },
            }
        }
    }

    #[test]
    fn bytes_arrive_whole_in_order_and_late() {
        for seed in 0..50 {
            let conditions = Conditions::default()
                .delay(Duration::from_millis(10))
                .jitter(Duration::from_millis(90))
                .chop(100)
                .stall(20, Duration::from_secs(1));
            let mut link = Link::new(conditions, Rng::from_seed(seed));
            let sent = Rng::from_seed(seed).bytes(20_000);
            let start = epoch();
            let mut now = start;
            for piece in sent.chunks(3000) {
                link.send(now, Bytes::copy_from_slice(piece));
            }
            assert_eq!(link.receive(now), None);
            let (bytes, pieces, ended) = drain(&mut link, &mut now);
            assert_eq!(bytes, sent);
            assert!(pieces > 7 && !ended);
            assert!(now >= start + Duration::from_millis(10));
        }
    }

    #[test]
    fn a_link_of_limited_bandwidth_takes_its_time() {
        let conditions = Conditions::default()
            .bandwidth(1_000_000)
            .delay(Duration::from_millis(50));
        let mut link = Link::new(conditions, Rng::from_seed(1));
        let start = epoch();
        let mut now = start;
        for _ in 0..10 {
            link.send(now, Bytes::from(vec![0; 10_000]));
        }
        assert_eq!(drain(&mut link, &mut now).0.len(), 100_000);
        assert_eq!(now - start, Duration::from_millis(150));
    }

    #[test]
    fn a_full_buffer_has_no_room_until_bytes_arrive() {
        let conditions = Conditions::default()
            .buffer(10)
            .delay(Duration::from_millis(1));
        let mut link = Link::new(conditions, Rng::from_seed(1));
        let mut now = epoch();
        link.send(now, Bytes::from_static(b"0123456789"));
        assert!(!link.has_room());
        drain(&mut link, &mut now);
        assert!(link.has_room());
    }

    #[test]
    fn a_link_that_is_cut_after_some_bytes_delivers_exactly_these() {
        let mut link = Link::new(
            Conditions::default().cut_after(7).chop(2),
            Rng::from_seed(1),
        );
        let mut now = epoch();
        link.send(now, Bytes::from_static(b"01234"));
        link.send(now, Bytes::from_static(b"56789"));
        link.send(now, Bytes::from_static(b"nothing"));
        assert_eq!(drain(&mut link, &mut now).0, b"0123456");
        assert_eq!((link.receive(now), link.has_room()), (None, false));
    }

    #[test]
    fn a_cut_loses_an_end_of_what_is_on_its_way() {
        let mut lengths = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let mut link = Link::new(Conditions::default().chop(1), Rng::from_seed(seed));
            let mut now = epoch();
            link.send(now, Bytes::from_static(b"0123456789"));
            link.cut(now);
            let (bytes, _, ended) = drain(&mut link, &mut now);
            assert!(b"0123456789".starts_with(&bytes[..]) && ended);
            lengths.insert(bytes.len());
        }
        assert!(lengths.contains(&0) && lengths.contains(&10) && lengths.len() > 5);
    }
}
