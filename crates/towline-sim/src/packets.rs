//! A network that carries packets, or does not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::Rng;

/// Chances are given in millionths.
const MILLION: usize = 1_000_000;

/// What a network does to packets. The default is a perfect network: every packet arrives at once, in
/// the order of sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketConditions {
    delay: Duration,
    jitter: Duration,
    loss: usize,
    duplicate: usize,
    reorder: usize,
    reorder_by: Duration,
    corrupt: usize,
    rate: Option<u64>,
    queue: usize,
}

impl Default for PacketConditions {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0,
            duplicate: 0,
            reorder: 0,
            reorder_by: Duration::ZERO,
            corrupt: 0,
            rate: None,
            queue: usize::MAX,
        }
    }
}

impl PacketConditions {
    /// How long a packet travels at least. Default: no time.
    #[must_use]
    pub const fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// How much longer a packet may travel; packets overtake each other by it. Default: not.
    #[must_use]
    pub const fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// The share of packets that is lost, in millionths. Default: none.
    #[must_use]
    pub const fn loss(mut self, millionths: usize) -> Self {
        self.loss = millionths;
        self
    }

    /// The share of packets that arrives twice, in millionths. Default: none.
    #[must_use]
    pub const fn duplicate(mut self, millionths: usize) -> Self {
        self.duplicate = millionths;
        self
    }

    /// The share of packets, in millionths, that travels up to `by` longer than the others. Default:
    /// none.
    #[must_use]
    pub const fn reorder(mut self, millionths: usize, by: Duration) -> Self {
        self.reorder = millionths;
        self.reorder_by = by;
        self
    }

    /// The share of packets in which one bit is flipped, in millionths. Default: none.
    #[must_use]
    pub const fn corrupt(mut self, millionths: usize) -> Self {
        self.corrupt = millionths;
        self
    }

    /// Bytes a second that each direction between two addresses carries, and bytes that wait for it
    /// before packets are lost. Default: no limit.
    #[must_use]
    pub const fn rate(mut self, bytes_a_second: u64, queue: usize) -> Self {
        self.rate = Some(if bytes_a_second == 0 {
            1
        } else {
            bytes_a_second
        });
        self.queue = queue;
        self
    }
}

/// What becomes of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Passage {
    /// What the conditions make of it.
    #[default]
    Normal,
    /// It is lost.
    Drop,
    /// It arrives, and arrives again.
    Duplicate,
    /// It arrives behind the next packet to the same address.
    Swap,
}

/// What a network counts, of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Packets that left the address.
    pub sent: u64,
    /// Packets that arrived at it.
    pub received: u64,
    /// Packets from it that were lost.
    pub lost: u64,
    /// Packets to it of which nobody hears.
    pub unheard: u64,
}

type Filter<A> = Box<dyn FnMut(&A, &A, &[u8]) -> Passage + Send>;

/// A network that carries packets between addresses in virtual time: seeded, so that every run can be
/// repeated.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use bytes::Bytes;
/// use towline_sim::{PacketConditions, PacketNet, Rng};
///
/// # #[expect(clippy::disallowed_methods, reason = "an example has to start somewhere")]
/// let now = Instant::now();
/// let conditions = PacketConditions::default().delay(Duration::from_millis(40));
/// let mut net = PacketNet::new(conditions, Rng::from_seed(1));
/// net.listen("b");
/// net.send(now, &"a", &"b", Bytes::from_static(b"hello"));
/// let arrival = net.next_arrival().expect("it is on its way");
/// assert_eq!(arrival, now + Duration::from_millis(40));
/// assert_eq!(net.receive(arrival), Some(("b", Bytes::from_static(b"hello"))));
/// ```
pub struct PacketNet<A> {
    conditions: PacketConditions,
    rng: Rng,
    /// By arrival, then by the order of sending.
    on_the_way: BTreeMap<(Instant, u64), (A, Bytes)>,
    serial: u64,
    /// When the last packet of a direction has left its queue.
    busy_until: BTreeMap<(A, A), Instant>,
    /// Packets that wait to be overtaken.
    swapped: BTreeMap<A, Bytes>,
    listening: BTreeSet<A>,
    parted: BTreeSet<(A, A)>,
    filter: Option<Filter<A>>,
    counters: BTreeMap<A, Counters>,
}

impl<A: Ord + Clone> PacketNet<A> {
    /// A network under the given conditions, with nobody in it.
    pub fn new(conditions: PacketConditions, rng: Rng) -> Self {
        Self {
            conditions,
            rng,
            on_the_way: BTreeMap::new(),
            serial: 0,
            busy_until: BTreeMap::new(),
            swapped: BTreeMap::new(),
            listening: BTreeSet::new(),
            parted: BTreeSet::new(),
            filter: None,
            counters: BTreeMap::new(),
        }
    }

    /// Changes the conditions for packets that are sent from now on.
    pub fn set_conditions(&mut self, conditions: PacketConditions) {
        self.conditions = conditions;
    }

    /// Decides the fate of each packet before the conditions do: by who sends it, to whom, and what
    /// it holds.
    pub fn set_filter(&mut self, filter: impl FnMut(&A, &A, &[u8]) -> Passage + Send + 'static) {
        self.filter = Some(Box::new(filter));
    }

    /// Packets to an address arrive from now on; before, they vanish and are counted.
    pub fn listen(&mut self, address: A) {
        self.listening.insert(address);
    }

    /// Packets to an address vanish again.
    pub fn forget(&mut self, address: &A) {
        self.listening.remove(address);
    }

    /// True if somebody hears on the address.
    pub fn is_heard(&self, address: &A) -> bool {
        self.listening.contains(address)
    }

    /// Parts two addresses: what either sends the other is lost.
    pub fn part(&mut self, a: &A, b: &A) {
        self.parted.insert((a.clone(), b.clone()));
        self.parted.insert((b.clone(), a.clone()));
    }

    /// Ends every partition.
    pub fn heal(&mut self) {
        self.parted.clear();
    }

    /// What was counted of an address.
    pub fn counters(&self, address: &A) -> Counters {
        self.counters.get(address).copied().unwrap_or_default()
    }

    /// Sends a packet.
    pub fn send(&mut self, now: Instant, from: &A, to: &A, packet: Bytes) {
        self.count(from).sent += 1;
        let passage = match &mut self.filter {
            Some(filter) => filter(from, to, &packet),
            None => Passage::Normal,
        };
        let pair = (from.clone(), to.clone());
        if passage == Passage::Drop || self.parted.contains(&pair) {
            self.count(from).lost += 1;
            return;
        }
        let Some(leaves) = self.leave(now, &pair, packet.len()) else {
            self.count(from).lost += 1;
            return;
        };
        if self.rng.chance(self.conditions.loss, MILLION) {
            self.count(from).lost += 1;
            return;
        }
        if passage == Passage::Swap {
            self.swapped.insert(to.clone(), packet);
            return;
        }
        let twice =
            passage == Passage::Duplicate || self.rng.chance(self.conditions.duplicate, MILLION);
        if twice {
            self.put(leaves, to, packet.clone());
        }
        self.put(leaves, to, packet);
        if let Some(overtaken) = self.swapped.remove(to) {
            self.put(leaves, to, overtaken);
        }
    }

    /// What has arrived by now, if anything: to whom, and the packet.
    pub fn receive(&mut self, now: Instant) -> Option<(A, Bytes)> {
        loop {
            let entry = self.on_the_way.first_entry()?;
            if entry.key().0 > now {
                return None;
            }
            let (to, packet) = entry.remove();
            if self.listening.contains(&to) {
                self.count(&to).received += 1;
                return Some((to, packet));
            }
            self.count(&to).unheard += 1;
        }
    }

    /// When [`receive`](Self::receive) may have something next, if ever.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.on_the_way.first_key_value().map(|(&(at, _), _)| at)
    }

    /// When a packet has passed the queue of its direction; `None` if there is no room in it.
    fn leave(&mut self, now: Instant, pair: &(A, A), len: usize) -> Option<Instant> {
        let Some(rate) = self.conditions.rate else {
            return Some(now);
        };
        let free = self.busy_until.get(pair).map_or(now, |&busy| busy.max(now));
        let waiting = free.saturating_duration_since(now).as_secs_f64() * rate as f64;
        if waiting as usize > self.conditions.queue {
            return None;
        }
        let leaves = free + Duration::from_secs_f64(len as f64 / rate as f64);
        self.busy_until.insert(pair.clone(), leaves);
        Some(leaves)
    }

    fn put(&mut self, leaves: Instant, to: &A, packet: Bytes) {
        let mut arrives = leaves + self.conditions.delay;
        arrives += self.rng.duration(self.conditions.jitter);
        if self.rng.chance(self.conditions.reorder, MILLION) {
            arrives += self.rng.duration(self.conditions.reorder_by);
        }
        let packet = if self.rng.chance(self.conditions.corrupt, MILLION) && !packet.is_empty() {
            let mut damaged = packet.to_vec();
            let bit = self.rng.below(damaged.len() * 8);
            damaged[bit / 8] ^= 1 << (bit % 8);
            damaged.into()
        } else {
            packet
        };
        self.serial += 1;
        self.on_the_way
            .insert((arrives, self.serial), (to.clone(), packet));
    }

    fn count(&mut self, address: &A) -> &mut Counters {
        self.counters.entry(address.clone()).or_default()
    }
}

impl<A: fmt::Debug> fmt::Debug for PacketNet<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketNet")
            .field("conditions", &self.conditions)
            .field("on_the_way", &self.on_the_way.len())
            .field("listening", &self.listening)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "only differences to it matter")]
    fn epoch() -> Instant {
        Instant::now()
    }

    fn run(conditions: PacketConditions, packets: u32, seed: u64) -> Vec<(Duration, u32)> {
        let start = epoch();
        let mut net = PacketNet::new(conditions, Rng::from_seed(seed));
        net.listen('b');
        for number in 0..packets {
            let packet = Bytes::copy_from_slice(&number.to_be_bytes());
            net.send(start, &'a', &'b', packet);
        }
        let mut arrived = Vec::new();
        while let Some(at) = net.next_arrival() {
            while let Some((to, packet)) = net.receive(at) {
                assert_eq!(to, 'b');
                let number = u32::from_be_bytes(packet[..].try_into().expect("four bytes"));
                arrived.push((at - start, number));
            }
        }
        arrived
    }

    #[test]
    fn a_perfect_network_delivers_all_in_order_at_once() {
        let arrived = run(PacketConditions::default(), 100, 1);
        assert!(arrived.iter().map(|&(_, number)| number).eq(0..100));
        assert!(arrived.iter().all(|&(at, _)| at.is_zero()));
    }

    #[test]
    fn loss_of_none_of_all_and_of_some() {
        let lossy = |loss| run(PacketConditions::default().loss(loss), 10_000, 1).len();
        assert_eq!((lossy(0), lossy(MILLION)), (10_000, 0));
        assert!((7800..8200).contains(&lossy(200_000)));
    }

    #[test]
    fn a_rate_spreads_packets_and_its_queue_ends() {
        let conditions = PacketConditions::default().rate(4000, 40);
        let arrived = run(conditions, 100, 1);
        // 40 bytes wait, and one packet more that the check lets in.
        assert_eq!(arrived.len(), 11);
        assert!(arrived.windows(2).all(|pair| {
            (pair[1].0 - pair[0].0).abs_diff(Duration::from_millis(1)) < Duration::from_micros(1)
        }));
    }

    #[test]
    fn packets_are_duplicated_reordered_and_damaged() {
        let twice = PacketConditions::default().duplicate(MILLION);
        assert_eq!(run(twice, 10, 1).len(), 20);
        let late = PacketConditions::default().reorder(500_000, Duration::from_millis(10));
        let arrived = run(late, 100, 1);
        assert!(!arrived.iter().map(|&(_, number)| number).is_sorted());
        let damaged = run(PacketConditions::default().corrupt(MILLION), 100, 1);
        assert!(
            damaged
                .iter()
                .enumerate()
                .all(|(at, &(_, number))| { (number ^ at as u32).count_ones() == 1 })
        );
    }

    #[test]
    fn equal_seeds_give_equal_runs() {
        let conditions = PacketConditions::default()
            .loss(100_000)
            .jitter(Duration::from_millis(5));
        let first = run(conditions.clone(), 1000, 7);
        assert_eq!(first, run(conditions.clone(), 1000, 7));
        assert_ne!(first, run(conditions, 1000, 8));
    }

    #[test]
    fn a_filter_decides_first_and_a_swapped_packet_goes_to_its_own_address() {
        let now = epoch();
        let mut net = PacketNet::new(PacketConditions::default(), Rng::from_seed(1));
        net.listen('b');
        net.listen('c');
        net.set_filter(|_, _, packet| match packet {
            b"drop" => Passage::Drop,
            b"twice" => Passage::Duplicate,
            b"swap" => Passage::Swap,
            _ => Passage::Normal,
        });
        let sent: [(char, &'static [u8]); 6] = [
            ('b', b"drop"),
            ('b', b"swap"),
            ('c', b"for c"),
            ('b', b"next"),
            ('b', b"twice"),
            ('d', b"nobody"),
        ];
        for (to, packet) in sent {
            net.send(now, &'a', &to, Bytes::from_static(packet));
        }
        let arrived: Vec<(char, Bytes)> = std::iter::from_fn(|| net.receive(now)).collect();
        let expected: [(char, &'static [u8]); 5] = [
            ('c', b"for c"),
            ('b', b"next"),
            ('b', b"swap"),
            ('b', b"twice"),
            ('b', b"twice"),
        ];
        assert_eq!(
            arrived,
            expected.map(|(to, packet)| (to, Bytes::from_static(packet)))
        );
        assert_eq!(
            net.counters(&'a'),
            Counters {
                sent: 6,
                lost: 1,
                ..Counters::default()
            }
        );
        assert_eq!(net.counters(&'b').received, 4);
        assert_eq!(net.counters(&'d').unheard, 1);
    }

    #[test]
    fn a_partition_loses_both_ways_until_it_heals() {
        let now = epoch();
        let mut net = PacketNet::new(PacketConditions::default(), Rng::from_seed(1));
        net.listen('a');
        net.listen('b');
        net.part(&'a', &'b');
        net.send(now, &'a', &'b', Bytes::from_static(b"1"));
        net.send(now, &'b', &'a', Bytes::from_static(b"2"));
        assert_eq!(net.receive(now), None);
        net.heal();
        net.send(now, &'a', &'b', Bytes::from_static(b"3"));
        assert_eq!(net.receive(now), Some(('b', Bytes::from_static(b"3"))));
    }
}
