//! NATS: an inbox is a subject.

mod config;
mod heap;
mod permission;
mod tls;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{Client, Event, PublishError, PublishErrorKind, Subscriber, connection::State};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::{
    sync::broadcast::{self, error::RecvError},
    task::JoinHandle,
    time::timeout,
};
use towline_codec::Text;

pub use self::{
    config::{NatsConfig, NatsError},
    tls::{NatsTls, NatsTlsError},
};
use super::{Delivery, Inbox, InboxLimits, Network, Pending};

/// After this a confirmation is asked for again: the first request may have gone with a connection.
const CONFIRM_AGAIN: Duration = Duration::from_secs(1);
/// So often; then the broker does not answer.
const CONFIRM_TIMES: usize = 10;
/// How long sending waits for a broker that takes nothing; then the packet is lost.
const SEND_LIMIT: Duration = Duration::from_secs(1);
/// Events that wait for who listens to them.
const EVENTS: usize = 64;
/// Packets taken from the client before another task has its turn.
const BATCH: usize = 128;

/// A connection to a NATS broker, or to a cluster of them, as a network. Clones are the same connection.
///
/// The connection is made again by itself when it breaks; what is sent meanwhile is lost, and the
/// sessions send it again. What the client drops because it is not taken in time is lost as well
/// ([`NatsReport::slow_consumers`]).
///
/// ```no_run
/// use std::sync::Arc;
/// use towline_swp::{Session, network::nats::NatsNetwork, proto::Config};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let network = NatsNetwork::connect("nats://127.0.0.1:4222").await?;
/// let session = Session::connect(Arc::new(network), Config::new("my.inbox", "their.inbox")).await?;
/// session.push("hello").await?;
/// session.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct NatsNetwork {
    client: Client,
    capacity: usize,
    events: Arc<Events>,
}

/// What happened to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NatsEvent {
    /// It was made, or made again.
    Connected,
    /// It broke; it is being made again.
    Disconnected,
    /// The client dropped packets that were not taken in time.
    SlowConsumer,
    /// The broker, or the client, says that something is wrong.
    Error(String),
    /// It is closed for good.
    Closed,
}

/// What was counted of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct NatsReport {
    /// How often it was made.
    pub connected: u64,
    /// How often it broke.
    pub disconnected: u64,
    /// How often the client dropped packets that were not taken in time.
    pub slow_consumers: u64,
    /// What the broker or the client said was wrong.
    pub errors: u64,
}

#[derive(Debug)]
struct Events {
    connected: AtomicU64,
    disconnected: AtomicU64,
    slow_consumers: AtomicU64,
    errors: AtomicU64,
    listeners: broadcast::Sender<NatsEvent>,
}

impl NatsNetwork {
    /// Connects to a broker with default settings: `nats://host:4222`, `nats://user:password@host`.
    ///
    /// # Errors
    ///
    /// [`NatsError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes what was opened.
    pub async fn connect(server: &str) -> Result<Self, NatsError> {
        NatsConfig::new(server).connect().await
    }

    /// A network on a connection that was made elsewhere. `capacity` is the subscription capacity that
    /// it was made with (65,536 unless told otherwise). Its events go where it was told to send them, so
    /// [`events`](Self::events) and [`report`](Self::report) stay silent. It must echo: a subscription is
    /// confirmed by a message to oneself.
    pub fn from_client(client: Client, capacity: usize) -> Self {
        Self::new(client, capacity, Arc::new(Events::new()))
    }

    fn new(client: Client, capacity: usize, events: Arc<Events>) -> Self {
        Self {
            client,
            capacity,
            events,
        }
    }

    /// The connection itself.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What happens from now on. Who is 64 events behind misses the oldest.
    pub fn events(&self) -> broadcast::Receiver<NatsEvent> {
        self.events.listeners.subscribe()
    }

    /// What was counted so far.
    pub fn report(&self) -> NatsReport {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        NatsReport {
            connected: count(&self.events.connected),
            disconnected: count(&self.events.disconnected),
            slow_consumers: count(&self.events.slow_consumers),
            errors: count(&self.events.errors),
        }
    }

    /// docs/wire W1: waits until the broker has worked through what was sent to it. It does that in
    /// order, so a message to oneself that comes back shows that the subscription before it is active.
    async fn confirm(
        &self,
        inbox: &str,
        events: &mut broadcast::Receiver<NatsEvent>,
    ) -> io::Result<()> {
        let probe = self.client.new_inbox();
        let mut echo = self.client.subscribe(probe.clone()).await.map_err(other)?;
        for _ in 0..CONFIRM_TIMES {
            let asking = async {
                let asked = self.client.publish(probe.clone(), Bytes::new()).await;
                asked.map_err(other)?;
                tokio::select! {
                    biased;
                    refused = refusal(events, inbox, &probe) => Err(refused),
                    echo = echo.next() => Ok(echo.is_some()),
                }
            };
            if let Ok(asked) = timeout(CONFIRM_AGAIN, asking).await
                && asked?
            {
                return Ok(());
            }
        }
        Err(permission::silence_error(inbox, &probe))
    }
}

impl Network for NatsNetwork {
    fn listen<'a>(&'a self, inbox: &'a Text, limits: InboxLimits) -> Pending<'a, Inbox> {
        Box::pin(async move {
            let subject = subject(inbox)?;
            let mut events = self.events();
            let subscriber = self
                .client
                .subscribe(subject.to_owned())
                .await
                .map_err(other)?;
            self.confirm(subject, &mut events).await?;
            // Said before the confirmation, if it was said.
            while let Ok(event) = events.try_recv() {
                if let NatsEvent::Error(text) = event
                    && permission::refused(&text, subject).is_some()
                {
                    return Err(permission::inbox_error(subject, &text));
                }
            }
            let (delivery, inbox) = Inbox::new(limits);
            let task = tokio::spawn(pump(subscriber, delivery));
            Ok(inbox.with_hearing(Box::new(Pump(task))))
        })
    }

    fn send<'a>(&'a self, dest: &'a Text, packet: Bytes) -> Pending<'a, ()> {
        Box::pin(async move {
            if self.client.connection_state() != State::Connected {
                return Err(io::Error::new(
                    io::ErrorKind::NotConnected,
                    "there is no connection to the broker; it is being made again",
                ));
            }
            let publish = self.client.publish(subject(dest)?.to_owned(), packet);
            match timeout(SEND_LIMIT, publish).await {
                Ok(published) => published.map_err(not_published),
                Err(_) => Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the broker takes nothing",
                )),
            }
        })
    }

    fn flush(&self) -> Pending<'_, ()> {
        Box::pin(async move { self.client.flush().await.map_err(other) })
    }

    fn max_packet(&self) -> usize {
        self.client.max_payload()
    }

    fn capacity(&self) -> Option<usize> {
        Some(self.capacity)
    }
}

/// Takes packets from the client at once, so that it never drops any while the inbox has room.
async fn pump(mut subscriber: Subscriber, delivery: Delivery) {
    loop {
        let message = tokio::select! {
            biased;
            () = delivery.closed() => return,
            message = subscriber.next() => message,
        };
        let Some(message) = message else {
            return;
        };
        if !delivery.deliver(message.payload) {
            return;
        }
        let mut taken = 1;
        while let Some(Some(message)) = futures_util::FutureExt::now_or_never(subscriber.next()) {
            if !delivery.deliver(message.payload) {
                return;
            }
            taken += 1;
            if taken >= BATCH {
                tokio::task::yield_now().await;
                taken = 0;
            }
        }
    }
}

/// A task that ends with its inbox, and with it the subscription.
#[derive(Debug)]
struct Pump(JoinHandle<()>);

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Events {
    fn new() -> Self {
        Self {
            connected: AtomicU64::new(0),
            disconnected: AtomicU64::new(0),
            slow_consumers: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            listeners: broadcast::Sender::new(EVENTS),
        }
    }

    fn note(&self, event: Event) {
        let event = match event {
            Event::Connected => NatsEvent::Connected,
            Event::Disconnected => NatsEvent::Disconnected,
            Event::SlowConsumer(_) => NatsEvent::SlowConsumer,
            Event::Closed => NatsEvent::Closed,
            Event::ServerError(error) => NatsEvent::Error(error.to_string()),
            Event::ClientError(error) => NatsEvent::Error(error.to_string()),
            Event::LameDuckMode | Event::Draining => return,
        };
        let counter = match event {
            NatsEvent::Connected => Some(&self.connected),
            NatsEvent::Disconnected => Some(&self.disconnected),
            NatsEvent::SlowConsumer => Some(&self.slow_consumers),
            NatsEvent::Error(_) => Some(&self.errors),
            NatsEvent::Closed => None,
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        tracing::debug!(?event, "nats");
        // Nobody may be listening.
        self.listeners.send(event).ok();
    }
}

/// Waits until the broker says that one of the two is not allowed.
async fn refusal(
    events: &mut broadcast::Receiver<NatsEvent>,
    inbox: &str,
    probe: &str,
) -> io::Error {
    loop {
        match events.recv().await {
            Ok(NatsEvent::Error(text)) => {
                if permission::refused(&text, inbox).is_some() {
                    return permission::inbox_error(inbox, &text);
                }
                if let Some(right) = permission::refused(&text, probe) {
                    return permission::probe_error(probe, right, &text);
                }
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// What the client refuses to send it will refuse again.
fn not_published(error: PublishError) -> io::Error {
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded | PublishErrorKind::InvalidSubject => {
            io::Error::new(io::ErrorKind::InvalidInput, error)
        }
        PublishErrorKind::Send => other(error),
    }
}

/// An inbox as a subject: text without spaces, wildcards and empty parts, and none of the broker's own,
/// which begin with a dollar sign: a stranger could name them as its inbox.
fn subject(inbox: &Text) -> io::Result<&str> {
    let is_plain = |part: &str| {
        !part.is_empty()
            && part != "*"
            && part != ">"
            && !part.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    match inbox.to_str() {
        Ok(text) if text.split('.').all(is_plain) && !text.starts_with('$') => Ok(text),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "{inbox} is no subject for a session: write words with dots between them, without \
                 wildcards, the first one without a dollar sign"
            ),
        )),
    }
}

fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/wire W1
    #[test]
    fn subjects_are_words_with_dots_between_them() {
        for good in ["A", "my.inbox", "_INBOX.x9", "a-b.c$d"] {
            assert!(subject(&Text::from(good)).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a b",
            "a.*",
            "a.>",
            ">",
            "a\r\nPUB b 0",
            "$JS.API.STREAM.DELETE.x",
        ] {
            assert!(subject(&Text::from(bad)).is_err(), "{bad:?}");
        }
    }
}
