//! What a server logs while strangers do their worst, in virtual time.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose case cannot be set up has failed"
)]

use std::future::pending;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;
use towline_identity::{Authorisation, Authority, AuthorityOptions, LeafOptions, Peer};
use towline_server::{Accept, Handshake, Outcome, Server};
use towline_transport::{AcceptError, Connection};
use tracing::subscriber::DefaultGuard;

const MS: Duration = Duration::from_millis(1);

/// A stranger with a number, and what he does.
struct Stranger(u32, Does);

enum Does {
    /// Something else than a handshake.
    NoHandshake,
    /// Holds his place.
    Nothing,
    /// Shakes hands, and then breaks rules.
    Misbehaves,
    /// Proves the key of this certificate.
    ShowsKey(Vec<u8>),
}

impl Handshake for Stranger {
    fn remote(&self) -> String {
        format!("stranger {}", self.0)
    }

    async fn handshake(self) -> Result<Connection, AcceptError> {
        let remote = self.remote();
        match self.1 {
            Does::NoHandshake => Err(AcceptError::NotTls { remote }),
            Does::Nothing => pending().await,
            Does::Misbehaves => {
                let (io, _) = tokio::io::duplex(1);
                let peer = Peer::unauthenticated(remote.as_str());
                Ok(Connection::new(Box::new(io), peer, "door", remote))
            }
            Does::ShowsKey(leaf) => {
                let (io, _) = tokio::io::duplex(1);
                let peer = Peer::from_verified_certificate(&leaf, remote.as_str()).unwrap();
                Ok(Connection::new(Box::new(io), peer, "door", remote))
            }
        }
    }
}

struct Door(mpsc::UnboundedReceiver<Stranger>);

impl Accept for Door {
    type Incoming = Stranger;

    async fn accept(&mut self) -> io::Result<Stranger> {
        match self.0.recv().await {
            Some(stranger) => Ok(stranger),
            None => pending().await,
        }
    }

    fn local(&self) -> String {
        "door".to_owned()
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Collects the warnings of this thread, which runs the whole test.
    fn collect(&self) -> DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn serve(most: usize) -> (Server, mpsc::UnboundedSender<Stranger>) {
    let (knock, door) = mpsc::unbounded_channel();
    let server = Server::builder()
        .max_connections(most)
        .serve([Door(door)], |connection, _| async move {
            Outcome::Failed(format!("{} broke a rule", connection.peer()))
        })
        .unwrap();
    (server, knock)
}

#[tokio::test(start_paused = true)]
async fn failed_handshakes_are_told_once_a_second_and_all_counted() {
    let log = Log::default();
    let _collecting = log.collect();
    let (server, knock) = serve(10);
    // 1,000 in ten seconds.
    for number in 0..1000 {
        assert!(knock.send(Stranger(number, Does::NoHandshake)).is_ok());
        sleep(10 * MS).await;
    }
    sleep(1500 * MS).await;
    assert_eq!(server.counters().handshake_failures, 1000);
    let lines = log.lines();
    assert!(lines.len() <= 12, "{lines:#?}");
    assert!(
        lines[0].contains("stranger 0 does not speak TLS"),
        "{lines:#?}"
    );
    assert!(
        lines[1].contains("more failed handshakes, the last: stranger"),
        "{lines:#?}"
    );
    assert_eq!(told(&lines), 1000, "{lines:#?}");

    // After a silence the next one is told at once, in full.
    knock.send(Stranger(5000, Does::NoHandshake)).ok().unwrap();
    sleep(MS).await;
    assert!(log.lines().last().unwrap().contains("stranger 5000 does"));
    // What is still held back is told in the end.
    knock.send(Stranger(5001, Does::NoHandshake)).ok().unwrap();
    sleep(MS).await;
    assert!(log.lines().last().unwrap().contains("stranger 5000 does"));
    server.shutdown(Duration::ZERO).await;
    assert!(log.lines().last().unwrap().contains("stranger 5001 does"));
}

#[tokio::test(start_paused = true)]
async fn refusals_for_want_of_room_are_told_once_a_second() {
    let log = Log::default();
    let _collecting = log.collect();
    let (server, knock) = serve(1);
    for number in 0..500 {
        assert!(knock.send(Stranger(number, Does::Nothing)).is_ok());
        sleep(10 * MS).await;
    }
    sleep(1500 * MS).await;
    assert_eq!(server.counters().refused_at_limit, 499);
    let lines = log.lines();
    assert!(lines.len() <= 7, "{lines:#?}");
    assert!(
        lines[0].contains("stranger 1: max_connections"),
        "{lines:#?}"
    );
    assert_eq!(told(&lines), 499, "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn connections_that_end_badly_are_told_once_a_second() {
    let log = Log::default();
    let _collecting = log.collect();
    let (server, knock) = serve(10);
    for number in 0..500 {
        assert!(knock.send(Stranger(number, Does::Misbehaves)).is_ok());
        sleep(10 * MS).await;
    }
    // Another kind does not wait for them.
    assert!(knock.send(Stranger(7000, Does::NoHandshake)).is_ok());
    sleep(MS).await;
    assert!(log.lines().last().unwrap().contains("stranger 7000 does"));
    sleep(1500 * MS).await;
    assert_eq!(server.counters().accepted, 501);
    let mut lines = log.lines();
    lines.retain(|line| !line.contains("7000"));
    assert!(lines.len() <= 7, "{lines:#?}");
    assert!(lines[0].contains("stranger 0 broke a rule"), "{lines:#?}");
    assert_eq!(told(&lines), 500, "{lines:#?}");
}

/// docs/wire I46: the line about a key says how to admit it, so a crowd hides no one.
#[tokio::test(start_paused = true)]
async fn each_refused_key_is_told_however_many_others_come() {
    let log = Log::default();
    let _collecting = log.collect();
    let (knock, door) = mpsc::unbounded_channel();
    let server = Server::builder()
        .authorise(Authorisation::keys([]))
        .serve([Door(door)], |_, _| async {})
        .unwrap();
    let authority = Authority::generate(&AuthorityOptions::new()).unwrap();
    let leaf = |number: u32| {
        authority
            .issue(&LeafOptions::new(format!("n{number}")))
            .unwrap()
    };
    let strangers: Vec<_> = (0..100).map(leaf).collect();
    let keys: Vec<_> = strangers
        .iter()
        .map(|one| one.public_key().to_string())
        .collect();
    let send = |number: usize| {
        let leaf = strangers[number].certificate_der().to_vec();
        assert!(
            knock
                .send(Stranger(number as u32, Does::ShowsKey(leaf)))
                .is_ok()
        );
    };
    let is_told = |lines: &[String], number: usize| {
        let about = |line: &&String| line.contains(&keys[number]) && !line.contains("more refused");
        lines.iter().any(|line| about(&line))
    };
    // Twenty in the same second, one of them again and again.
    for number in 0..20 {
        send(number);
        send(0);
        sleep(MS).await;
    }
    sleep(1500 * MS).await;
    let lines = log.lines();
    assert!((0..20).all(|number| is_told(&lines, number)), "{lines:#?}");
    assert!(lines.len() < 24, "{lines:#?}");
    assert!(
        lines
            .iter()
            .all(|line| !line.contains("n0@") || line.contains("fingerprint"))
    );
    assert_eq!(told(&lines), 40, "{lines:#?}");

    // More than fit into a second: all that come again are told, one after the other.
    for _ in 0..10 {
        (20..100).for_each(send);
        sleep(1001 * MS).await;
    }
    let lines = log.lines();
    assert!((0..100).all(|number| is_told(&lines, number)), "{lines:#?}");
    assert!(lines.len() < 130, "{lines:#?}");
    sleep(1500 * MS).await;
    assert_eq!(told(&log.lines()), 840);

    // After a minute a key is told anew.
    sleep(60_000 * MS).await;
    send(5);
    sleep(MS).await;
    assert!(log.lines().last().unwrap().contains(&keys[5]));
    server.shutdown(Duration::ZERO).await;
}

/// How many complaints the lines stand for.
fn told(lines: &[String]) -> u64 {
    lines
        .iter()
        .map(|line| {
            let count = line.rsplit_once("count=").map(|(_, count)| count);
            count.map_or(1, |count| count.parse::<u64>().unwrap())
        })
        .sum()
}
