//! Who is let in: by network, by number, by rate.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::now;
use crate::counters::Shared;
use crate::network::Network;
use crate::places::Places;

/// Addresses whose rate is watched at once; of more than that only the rate of all is.
const WATCHED: usize = 64 * 1024;

/// What a server asks of connections before it listens to them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) allow: Vec<Network>,
    pub(crate) deny: Vec<Network>,
    pub(crate) max_per_address: Option<usize>,
    pub(crate) accept_rate: Option<AcceptRate>,
    pub(crate) address_rate: Option<AcceptRate>,
}

/// So many connections a second, after a burst of at most as many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AcceptRate {
    pub(crate) per_second: u32,
    pub(crate) burst: u32,
}

/// The gate of all listeners of a server.
pub(crate) struct Admission {
    rules: RwLock<Arc<Rules>>,
    pub(crate) places: Places,
    addresses: Arc<Addresses>,
    bucket: Mutex<Option<Bucket>>,
    address_buckets: Mutex<Buckets>,
    counters: Arc<Shared>,
}

/// Why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("max_connections is reached")]
    Limit,
    #[error("max_per_address is reached for it")]
    AddressLimit,
    #[error("too many connections come at once (accept_rate)")]
    Rate,
    #[error("too many connections come from it at once (accept_rate_per_address)")]
    AddressRate,
    #[error("its network is not allowed here")]
    Network,
}

/// The places that a connection holds below the limits, until this is dropped.
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    /// Boxed: without a limit for addresses there is none.
    address: Option<Box<AddressPlace>>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        drop(self.address.take());
        self.admission.counters.leave();
        self.admission.places.give_back();
    }
}

impl Admission {
    pub(crate) fn new(rules: Rules, max_connections: usize, counters: Arc<Shared>) -> Self {
        Self {
            rules: RwLock::new(Arc::new(rules)),
            places: Places::new(max_connections),
            addresses: Arc::default(),
            bucket: Mutex::default(),
            address_buckets: Mutex::default(),
            counters,
        }
    }

    /// Admits by other rules from now on. Who is in stays.
    pub(crate) fn change(&self, rules: Rules, max_connections: usize) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        self.places.set_most(max_connections);
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a connection in, or says and counts why not.
    pub(crate) fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Admitted, Refusal> {
        let admitted = self.check(address);
        if let Err(refusal) = &admitted {
            self.counters.refused(*refusal);
        }
        admitted
    }

    fn check(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Admitted, Refusal> {
        let rules = self.rules();
        if let Some(address) = address {
            rules.check_network(address)?;
        }
        let place = self.places.take().ok_or(Refusal::Limit)?;
        let held = match (address, rules.max_per_address) {
            (Some(address), Some(most)) => Some(
                self.addresses
                    .enter(address, most)
                    .ok_or(Refusal::AddressLimit)?,
            ),
            _ => None,
        };
        // Behind the places, and the rate of all last: who is not let in takes nothing from those who are.
        if let (Some(address), Some(rate)) = (address, rules.address_rate)
            && !lock(&self.address_buckets).take(site(address), rate, now())
        {
            return Err(Refusal::AddressRate);
        }
        if let Some(rate) = rules.accept_rate
            && !self.within(rate)
        {
            return Err(Refusal::Rate);
        }
        place.keep();
        self.counters.enter();
        Ok(Admitted {
            admission: Arc::clone(self),
            address: held.map(Box::new),
        })
    }

    /// The same for the address that a proxy names.
    pub(crate) fn check_network(&self, address: IpAddr) -> Result<(), Refusal> {
        self.rules().check_network(address)
    }

    fn within(&self, rate: AcceptRate) -> bool {
        let mut bucket = lock(&self.bucket);
        bucket
            .get_or_insert_with(|| Bucket::full(now()))
            .take(rate, now())
    }
}

impl Rules {
    fn check_network(&self, address: IpAddr) -> Result<(), Refusal> {
        let on = |list: &[Network]| list.iter().any(|network| network.contains(address));
        if on(&self.deny) || !(self.allow.is_empty() || on(&self.allow)) {
            return Err(Refusal::Network);
        }
        Ok(())
    }
}

/// Connections a second by address, as long as they matter: one whose bucket is full again is forgotten
/// when the table has doubled.
#[derive(Default)]
struct Buckets {
    of: HashMap<IpAddr, Bucket>,
    /// How many there were when those that do not matter had last been forgotten.
    kept: usize,
}

impl Buckets {
    fn take(&mut self, address: IpAddr, rate: AcceptRate, now: Instant) -> bool {
        if self.of.len() >= (2 * self.kept).clamp(64, WATCHED) {
            self.of.retain(|_, bucket| bucket.full_at > now);
            self.kept = self.of.len();
        }
        if let Some(bucket) = self.of.get_mut(&address) {
            return bucket.take(rate, now);
        }
        // With so many at once an address is not what can be judged by.
        if self.of.len() >= WATCHED {
            return true;
        }
        let mut bucket = Bucket::full(now);
        let taken = bucket.take(rate, now);
        self.of.insert(address, bucket);
        taken
    }
}

/// Connections a second, evened out.
struct Bucket {
    /// When it would be full, were nobody to come. The further off, the emptier it is.
    full_at: Instant,
}

impl Bucket {
    const fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    fn take(&mut self, rate: AcceptRate, now: Instant) -> bool {
        let each = Duration::from_secs(1) / rate.per_second;
        let next = self.full_at.max(now) + each;
        if next > now + each * rate.burst {
            return false;
        }
        self.full_at = next;
        true
    }
}

/// Connections by address; never more entries than connections.
#[derive(Default)]
struct Addresses(Mutex<HashMap<IpAddr, usize>>);

impl Addresses {
    fn enter(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<AddressPlace> {
        let key = site(address);
        match lock(&self.0).entry(key) {
            Entry::Occupied(entry) if *entry.get() >= most => return None,
            Entry::Occupied(mut entry) => *entry.get_mut() += 1,
            Entry::Vacant(_) if most == 0 => return None,
            Entry::Vacant(entry) => {
                entry.insert(1);
            }
        }
        Some(AddressPlace {
            key,
            addresses: Arc::clone(self),
        })
    }
}

/// One of the places of an address.
struct AddressPlace {
    key: IpAddr,
    addresses: Arc<Addresses>,
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = lock(&self.addresses.0).entry(self.key) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// What counts as one address: an IPv6 site has 2^64 of them.
fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn admission(rules: Rules) -> Arc<Admission> {
        Arc::new(Admission::new(rules, 10, Arc::default()))
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    /// docs/wire L34.
    #[test]
    fn lists_of_networks_decide_first_and_denying_wins() {
        let gate = admission(Rules {
            allow: vec!["10.0.0.0/8".parse().unwrap()],
            deny: vec!["10.6.0.0/16".parse().unwrap()],
            ..Rules::default()
        });
        assert!(gate.admit(address("10.1.2.3")).is_ok());
        for refused in ["10.6.2.3", "11.1.2.3", "::1"] {
            assert_eq!(gate.admit(address(refused)).err(), Some(Refusal::Network));
        }
        // A peer without an address is not of any network.
        assert!(gate.admit(None).is_ok());
    }

    /// docs/wire L34.
    #[test]
    fn an_address_has_its_places_and_ipv6_sites_count_as_one() {
        let gate = admission(Rules {
            max_per_address: Some(1),
            ..Rules::default()
        });
        let first = gate.admit(address("2001:db8::1")).unwrap();
        assert_eq!(
            gate.admit(address("2001:db8::2")).err(),
            Some(Refusal::AddressLimit)
        );
        assert!(gate.admit(address("2001:db8:0:1::2")).is_ok());
        drop(first);
        assert!(gate.admit(address("2001:db8::2")).is_ok());
        assert!(lock(&gate.addresses.0).is_empty());
    }

    /// docs/wire L34.
    #[tokio::test(start_paused = true)]
    async fn a_burst_is_let_in_and_then_so_many_a_second() {
        let gate = admission(Rules {
            accept_rate: Some(AcceptRate {
                per_second: 10,
                burst: 3,
            }),
            ..Rules::default()
        });
        let admitted = || gate.admit(None).map(drop);
        assert_eq!(
            [(); 4].map(|()| admitted().is_ok()),
            [true, true, true, false]
        );
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!([(); 2].map(|()| admitted()), [Ok(()), Err(Refusal::Rate)]);
    }

    /// docs/wire L34.
    #[tokio::test(start_paused = true)]
    async fn an_address_has_a_rate_of_its_own_and_is_forgotten_in_time() {
        let gate = admission(Rules {
            address_rate: Some(AcceptRate {
                per_second: 1,
                burst: 2,
            }),
            ..Rules::default()
        });
        let from = |text: &str| gate.admit(address(text)).map(drop);
        let refused = Err(Refusal::AddressRate);
        assert_eq!(
            [(); 3].map(|()| from("192.0.2.1")),
            [Ok(()), Ok(()), refused]
        );
        assert_eq!(from("192.0.2.2"), Ok(()));
        // A site of IPv6 is one address.
        for (text, expected) in [
            ("2001:db8::1", Ok(())),
            ("2001:db8::2", Ok(())),
            ("2001:db8::3", refused),
        ] {
            assert_eq!(from(text), expected);
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!([(); 2].map(|()| from("192.0.2.1")), [Ok(()), refused]);
        // However many come, those whose time is over are forgotten.
        for round in 0..10_u8 {
            tokio::time::advance(Duration::from_secs(10)).await;
            for last in 0..200_u8 {
                assert_eq!(from(&format!("10.0.{round}.{last}")), Ok(()));
            }
        }
        assert!(lock(&gate.address_buckets).of.len() <= 400);
    }

    /// docs/wire L34.
    #[test]
    fn an_address_is_watched_as_long_as_there_is_room() {
        let (mut buckets, now) = (Buckets::default(), now());
        let rate = AcceptRate {
            per_second: 1,
            burst: 1,
        };
        for number in 0..WATCHED as u32 + 100 {
            assert!(buckets.take(Ipv4Addr::from_bits(number).into(), rate, now));
        }
        assert_eq!(buckets.of.len(), WATCHED);
        assert!(!buckets.take(Ipv4Addr::from_bits(0).into(), rate, now));
    }

    /// docs/wire L34.
    #[tokio::test(start_paused = true)]
    async fn those_who_are_refused_a_place_take_nothing_from_the_rate_of_all() {
        let gate = admission(Rules {
            max_per_address: Some(1),
            accept_rate: Some(AcceptRate {
                per_second: 1,
                burst: 2,
            }),
            ..Rules::default()
        });
        let _held = gate.admit(address("10.0.0.1")).unwrap();
        for _ in 0..10 {
            let refused = gate.admit(address("10.0.0.1")).err();
            assert_eq!(refused, Some(Refusal::AddressLimit));
        }
        assert!(gate.admit(address("10.0.0.2")).is_ok());
        assert_eq!(gate.admit(address("10.0.0.3")).err(), Some(Refusal::Rate));
        // Nor does one beyond the rate keep a place.
        assert_eq!(lock(&gate.addresses.0).len(), 1);
    }

    /// docs/wire L53.
    #[test]
    fn rules_can_be_exchanged() {
        let gate = admission(Rules::default());
        let held = gate.admit(address("10.0.0.1")).unwrap();
        let rules = Rules {
            deny: vec!["10.0.0.0/8".parse().unwrap()],
            ..Rules::default()
        };
        gate.change(rules, 1);
        assert_eq!(
            gate.admit(address("10.0.0.1")).err(),
            Some(Refusal::Network)
        );
        assert_eq!(gate.admit(address("11.0.0.1")).err(), Some(Refusal::Limit));
        drop(held);
        assert!(gate.admit(address("11.0.0.1")).is_ok());
    }
}
