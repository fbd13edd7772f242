//! Several addresses for one name: the first that answers wins (RFC 8305, happy eyeballs).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

/// How long an address may take before the next one is tried beside it.
const STAGGER: Duration = Duration::from_millis(250);

/// Dials the addresses in turn, each a little after the one before or as soon as one has failed, and
/// returns the first that answers; else the last failure. The families take turns, beginning with that
/// of the first address.
///
/// Dropping the future ends all attempts.
pub(crate) async fn race<T, F>(
    addresses: &[SocketAddr],
    dial: impl Fn(SocketAddr) -> F,
) -> Result<T, Option<io::Error>>
where
    T: Send + 'static,
    F: Future<Output = io::Result<T>> + Send + 'static,
{
    let mut attempts = JoinSet::new();
    let mut left = in_turns(addresses).into_iter();
    let mut last = None;
    loop {
        match left.next() {
            Some(address) => {
                let attempt = dial(address);
                attempts.spawn(async move { (address, attempt.await) });
            }
            None if attempts.is_empty() => return Err(last),
            None => {}
        }
        tokio::select! {
            biased;
            Some(ended) = attempts.join_next() => match ended {
                Ok((_, Ok(stream))) => return Ok(stream),
                Ok((address, Err(error))) => {
                    tracing::debug!(%address, %error, "an address did not answer");
                    last = Some(error);
                }
                Err(error) => last = Some(io::Error::other(error)),
            },
            () = sleep(STAGGER), if left.len() > 0 => {}
        }
    }
}

fn in_turns(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (one, other): (Vec<SocketAddr>, Vec<SocketAddr>) = addresses
        .iter()
        .partition(|address| address.is_ipv6() == first);
    let mut turns = Vec::with_capacity(addresses.len());
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    while turns.len() < addresses.len() {
        turns.extend(one.next());
        turns.extend(other.next());
    }
    turns
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::{Arc, Mutex};

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns() {
        let given = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"]);
        let turns = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]);
        assert_eq!(in_turns(&given), turns);
        assert_eq!(in_turns(&[]), []);
    }

    /// docs/wire L49: an address that swallows packets costs a quarter of a second, one that refuses nothing.
    #[tokio::test(start_paused = true)]
    async fn addresses_that_are_slow_are_not_waited_for() {
        let given = addresses(&["[::1]:1", "1.1.1.1:1", "1.1.1.2:1"]);
        let dialled: Arc<Mutex<Vec<SocketAddr>>> = Arc::default();
        let seen = Arc::clone(&dialled);
        let won = race(&given, move |address| {
            seen.lock().unwrap().push(address);
            async move {
                match address.ip().to_string().as_str() {
                    "::1" => pending().await,
                    "1.1.1.1" => Err(io::ErrorKind::ConnectionRefused.into()),
                    _ => Ok(address),
                }
            }
        });
        let won = tokio::time::timeout(STAGGER + Duration::from_millis(1), won).await;
        assert_eq!(won.unwrap().unwrap(), given[2]);
        assert_eq!(*dialled.lock().unwrap(), given);
    }

    /// docs/wire L49.
    #[tokio::test(start_paused = true)]
    async fn the_slow_one_may_still_win() {
        let given = addresses(&["[::1]:1", "1.1.1.1:1"]);
        let won = race(&given, |address| async move {
            if address.is_ipv4() {
                return pending().await;
            }
            sleep(STAGGER * 4).await;
            Ok(address)
        });
        assert_eq!(won.await.unwrap(), given[0]);
        let lost = race(&given, |_| async {
            Err::<(), _>(io::Error::from(io::ErrorKind::ConnectionRefused))
        });
        let error = lost.await.unwrap_err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
