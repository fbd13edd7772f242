//! Heartbeats: four bytes there and the same four back, to know that the peer lives.

use std::{
    io,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{mpsc, oneshot, watch},
    task::AbortHandle,
    time::Instant,
};

use crate::{
    driver::seed,
    proto::PingError,
    session::{BeatRequests, Session},
    typed::{StreamType, TypedSession, TypedStream},
};

/// How heartbeats are sent and answered. Both ends must agree on the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatConfig {
    interval: Duration,
    tolerance: Duration,
    stream_type: StreamType,
    at_once: bool,
}

impl Default for HeartbeatConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            tolerance: Duration::from_secs(15),
            stream_type: StreamType::HEARTBEAT,
            at_once: false,
        }
    }
}

impl HeartbeatConfig {
    /// Time between two beats. Default: 10 s.
    #[must_use]
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How late an answer may be before that is told. Default: 15 s.
    #[must_use]
    pub const fn tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// The type of the streams that carry heartbeats. Default: 4,294,967,295.
    #[must_use]
    pub const fn stream_type(mut self, stream_type: StreamType) -> Self {
        self.stream_type = stream_type;
        self
    }

    /// Sends the first beat at the start and not an interval later. Default: not, as the original.
    #[must_use]
    pub const fn at_once(mut self, at_once: bool) -> Self {
        self.at_once = at_once;
        self
    }

    /// Checks the times.
    ///
    /// # Errors
    ///
    /// [`HeartbeatError::ZeroInterval`]
    pub const fn validate(&self) -> Result<(), HeartbeatError> {
        if self.interval.is_zero() {
            return Err(HeartbeatError::ZeroInterval);
        }
        Ok(())
    }
}

/// Why a heartbeat does not start, or a time is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeartbeatError {
    /// An interval of zero would send without pause.
    #[error("the interval of a heartbeat is 0; it must be longer")]
    ZeroInterval,
    /// It was started before.
    #[error("the heartbeat was started before")]
    Started,
}

/// What a heartbeat tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pulse {
    /// A beat was answered after so long.
    Alive(Duration),
    /// No answer within interval and tolerance. Told once; beats go on when an answer comes.
    TimedOut,
    /// The answer was another than the beat, or the stream has ended: there are no more beats.
    Failed,
}

/// Heartbeats on a session: answers the peer's from the beginning, and sends its own when it is
/// started (docs/wire U69 to U76). Dropping it stops its own.
///
/// ```
/// use towline_mux::muxado::{self, Heartbeat, HeartbeatConfig, Pulse, TypedSession};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (here, there) = tokio::io::duplex(1024);
/// let client = TypedSession::new(muxado::client(here, muxado::Config::default())?);
/// let server = TypedSession::new(muxado::server(there, muxado::Config::default())?);
/// let answering = Heartbeat::new(server, HeartbeatConfig::default(), |_| {})?;
///
/// let heartbeat = Heartbeat::new(client.clone(), HeartbeatConfig::default(), |pulse| {
///     if pulse == Pulse::TimedOut { println!("the peer is gone") }
/// })?;
/// heartbeat.start()?;
/// println!("{:?}", client.session().ping().await?);
/// # drop(answering);
/// # Ok(())
/// # }
/// ```
pub struct Heartbeat {
    typed: TypedSession,
    config: watch::Sender<HeartbeatConfig>,
    handler: Arc<dyn Fn(Pulse) + Send + Sync>,
    task: Mutex<Option<(AbortHandle, BeatRequests)>>,
}

impl Heartbeat {
    /// Answers the peer's heartbeats from now on; `handler` is told of this side's. It must be quick. Call
    /// it within a tokio runtime, and before streams are accepted: a heartbeat of the peer's that came
    /// earlier is a stream like any other. Of several on one session the last one says which type is
    /// answered.
    ///
    /// # Errors
    ///
    /// [`HeartbeatError::ZeroInterval`]
    pub fn new(
        typed: TypedSession,
        config: HeartbeatConfig,
        handler: impl Fn(Pulse) + Send + Sync + 'static,
    ) -> Result<Self, HeartbeatError> {
        config.validate()?;
        typed.answer(config.stream_type);
        Ok(Self {
            typed,
            config: watch::Sender::new(config),
            handler: Arc::new(handler),
            task: Mutex::new(None),
        })
    }

    /// Sends heartbeats from now on; [`Session::ping`](crate::Session::ping) then sends one, too, with the
    /// heartbeat that was started last and still runs. Call it within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`HeartbeatError::Started`]
    pub fn start(&self) -> Result<(), HeartbeatError> {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.is_some() {
            return Err(HeartbeatError::Started);
        }
        let (requests, requested) = mpsc::channel(1);
        lock(self.typed.session()).push(requests.clone());
        let beats = beats(
            self.typed.clone(),
            self.config.subscribe(),
            requested,
            Arc::clone(&self.handler),
        );
        *task = Some((tokio::spawn(beats).abort_handle(), requests));
        Ok(())
    }

    /// Sends a beat now and waits for its answer.
    ///
    /// # Errors
    ///
    /// [`PingError`]; [`Unsupported`](PingError::Unsupported) before it was started and after it has failed,
    /// [`TimedOut`](PingError::TimedOut) when [`Pulse::TimedOut`] was told, and until an answer comes.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the beat on its way.
    pub async fn beat(&self) -> Result<Duration, PingError> {
        self.typed.session().ping().await
    }

    /// Changes the time between beats; takes effect at once.
    ///
    /// # Errors
    ///
    /// [`HeartbeatError::ZeroInterval`]
    pub fn set_interval(&self, interval: Duration) -> Result<(), HeartbeatError> {
        let config = self.config.borrow().interval(interval);
        config.validate()?;
        self.config.send_replace(config);
        Ok(())
    }

    /// Changes how late an answer may be.
    pub fn set_tolerance(&self, tolerance: Duration) {
        self.config
            .send_modify(|config| config.tolerance = tolerance);
    }

    /// The session that it runs on.
    pub const fn typed(&self) -> &TypedSession {
        &self.typed
    }
}

impl std::fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heartbeat")
            .field("config", &*self.config.borrow())
            .finish_non_exhaustive()
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((task, own)) = &*task {
            task.abort();
            // Another heartbeat of the session may still run.
            lock(self.typed.session()).retain(|requests| !requests.same_channel(own));
        }
    }
}

fn lock(session: &Session) -> MutexGuard<'_, Vec<BeatRequests>> {
    let beats = &session.inner.beats;
    beats.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends beats until one fails.
async fn beats(
    typed: TypedSession,
    mut config: watch::Receiver<HeartbeatConfig>,
    mut requested: mpsc::Receiver<oneshot::Sender<Duration>>,
    handler: Arc<dyn Fn(Pulse) + Send + Sync>,
) {
    let stream_type = config.borrow().stream_type;
    let Ok(mut stream) = typed.open_typed(stream_type).await else {
        handler(Pulse::Failed);
        return;
    };
    let mut random = Beats::new();
    let mut waiter = None;
    let mut last = now();
    let mut skip_pause = config.borrow().at_once;
    loop {
        while !std::mem::take(&mut skip_pause) {
            let due = last + config.borrow_and_update().interval.min(crate::proto::NEVER);
            tokio::select! {
                biased;
                changed = config.changed() => {
                    if changed.is_err() { return }
                    continue;
                }
                request = requested.recv() => {
                    let Some(request) = request else { return };
                    waiter = Some(request);
                }
                () = tokio::time::sleep_until(due) => {}
            }
            break;
        }
        let limit = {
            let config = config.borrow();
            config.interval.min(crate::proto::NEVER) + config.tolerance.min(crate::proto::NEVER)
        };
        let beat = random.next();
        let sent = now();
        let answer = {
            let mut answer = pin!(exchange(&mut stream, beat));
            match tokio::time::timeout(limit, answer.as_mut()).await {
                Ok(answer) => answer,
                Err(_) => {
                    handler(Pulse::TimedOut);
                    // Who has asked, or asks before an answer comes, is told the same.
                    drop(waiter.take());
                    loop {
                        tokio::select! {
                            biased;
                            answer = answer.as_mut() => break answer,
                            request = requested.recv() => {
                                let Some(request) = request else { return };
                                drop(request);
                            }
                        }
                    }
                }
            }
        };
        if !answer.is_ok_and(|answer| answer == beat) {
            handler(Pulse::Failed);
            return;
        }
        last = now();
        let took = last.saturating_duration_since(sent);
        handler(Pulse::Alive(took));
        if let Some(waiter) = waiter.take()
            && waiter.send(took).is_err()
        {
            tracing::trace!("whoever asked for a beat has gone");
        }
    }
}

/// Sends a beat, and reads what comes back for it.
async fn exchange(stream: &mut TypedStream, beat: u32) -> io::Result<u32> {
    stream.write_all(&beat.to_be_bytes()).await?;
    stream.read_u32().await
}

fn now() -> Instant {
    Instant::from_std(crate::driver::now())
}

/// Numbers that an answer cannot be guessed from.
struct Beats(u64);

impl Beats {
    fn new() -> Self {
        let [a, b, c, d, e, f, g, h, ..] = seed();
        Self(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }

    /// From 0 to 2147483647, as the original's are.
    fn next(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }
}
