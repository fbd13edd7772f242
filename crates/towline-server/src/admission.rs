//! Who is let in: by network, by number, by rate.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::clock::now;
use crate::counters::{Active, Shared};
use crate::network::Network;

/// What a server asks of connections before it listens to them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) allow: Vec<Network>,
    pub(crate) deny: Vec<Network>,
    pub(crate) max_per_address: Option<usize>,
    pub(crate) accept_rate: Option<AcceptRate>,
}

/// So many connections a second, after a burst of at most as many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AcceptRate {
    pub(crate) per_second: u32,
    pub(crate) burst: u32,
}

/// The gate of all listeners of a server.
pub(crate) struct Admission {
    rules: Rules,
    pub(crate) places: Arc<Semaphore>,
    addresses: Arc<Addresses>,
    bucket: Mutex<Option<Bucket>>,
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
    #[error("its network is not allowed here")]
    Network,
}

/// The places that a connection holds below the limits, until this is dropped.
pub(crate) struct Admitted {
    _address: Option<AddressPlace>,
    _active: Active,
    _place: OwnedSemaphorePermit,
}

impl Admission {
    pub(crate) fn new(rules: Rules, max_connections: usize, counters: Arc<Shared>) -> Self {
        Self {
            rules,
            places: Arc::new(Semaphore::new(max_connections)),
            addresses: Arc::default(),
            bucket: Mutex::default(),
            counters,
        }
    }

    /// Takes a connection in, or says and counts why not.
    pub(crate) fn admit(&self, address: Option<IpAddr>) -> Result<Admitted, Refusal> {
        let admitted = self.check(address);
        if let Err(refusal) = &admitted {
            self.counters.refused(*refusal);
        }
        admitted
    }

    fn check(&self, address: Option<IpAddr>) -> Result<Admitted, Refusal> {
        if let Some(address) = address {
            self.check_network(address)?;
        }
        if !self.within_rate() {
            return Err(Refusal::Rate);
        }
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| Refusal::Limit)?;
        let held = match (address, self.rules.max_per_address) {
            (Some(address), Some(most)) => Some(
                self.addresses
                    .enter(address, most)
                    .ok_or(Refusal::AddressLimit)?,
            ),
            _ => None,
        };
        Ok(Admitted {
            _address: held,
            _active: self.counters.enter(),
            _place: place,
        })
    }

    /// The same for the address that a proxy names.
    pub(crate) fn check_network(&self, address: IpAddr) -> Result<(), Refusal> {
        let on = |list: &[Network]| list.iter().any(|network| network.contains(address));
        let Rules { allow, deny, .. } = &self.rules;
        if on(deny) || !(allow.is_empty() || on(allow)) {
            return Err(Refusal::Network);
        }
        Ok(())
    }

    fn within_rate(&self) -> bool {
        let Some(rate) = self.rules.accept_rate else {
            return true;
        };
        let mut bucket = lock(&self.bucket);
        bucket
            .get_or_insert_with(|| Bucket::full(rate, now()))
            .take(rate, now())
    }
}

/// Connections a second, evened out.
struct Bucket {
    /// When it would be full, were nobody to come. The further off, the emptier it is.
    full_at: Instant,
}

impl Bucket {
    const fn full(_: AcceptRate, now: Instant) -> Self {
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
    use super::*;

    fn admission(rules: Rules) -> Admission {
        Admission::new(rules, 10, Arc::default())
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
}
