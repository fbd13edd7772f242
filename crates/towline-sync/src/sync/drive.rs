//! An engine, a tree and a stream, run in one task and a few threads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use towline_rpc::Message as RpcMessage;
use towline_rpc::client::{BistreamReceiver, BistreamSender};
use towline_rpc::server::{DownloadSink, UploadParts};

use super::{SyncError, SyncEvent};
use crate::engine::{Done, Engine, Event, Job, Output};
use crate::fs::{Disk, DiskCache, Worker};
use crate::wire::{Message, Totals};

/// Messages are gathered into parts of at least so many bytes, if there are as many.
const GATHER: usize = 256 << 10;
/// Most bytes of a part: a file's largest piece and its header.
const PART: usize = (1 << 20) + 1024;
/// Parts that wait in either direction.
const PARTS: usize = 4;
/// Time after which a file that somebody else holds is tried again.
const AGAIN: Duration = Duration::from_millis(250);
/// Threads for files at most.
const THREADS: usize = 8;

/// The half of a stream that sends.
#[derive(Debug)]
pub(super) enum Tx {
    Client(BistreamSender),
    Server(DownloadSink),
}

/// The half of a stream that receives.
#[derive(Debug)]
pub(super) enum Rx {
    Client(BistreamReceiver),
    Server(UploadParts),
}

impl Tx {
    pub(super) async fn send(&mut self, body: Bytes) -> Result<(), SyncError> {
        let part = RpcMessage::from_body(body);
        Ok(match self {
            Self::Client(sender) => sender.send(part).await,
            Self::Server(sink) => sink.send(part).await,
        }?)
    }
}

impl Rx {
    /// The next part; `None` when the other end has sent its last.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, SyncError> {
        match self {
            Self::Client(receiver) => Ok(receiver.next().await.map(|part| part.body)),
            Self::Server(parts) => Ok(parts.next().await?.map(|part| part.body)),
        }
    }
}

/// Runs a sync to its end. `input` is what came before.
pub(super) async fn drive(
    engine: Engine,
    (disk, cache): (Disk, Option<DiskCache>),
    input: Bytes,
    (tx, rx): (&mut Tx, &mut Rx),
    on_event: &mut (dyn FnMut(SyncEvent) + Send),
) -> Result<Totals, SyncError> {
    let (out, mut to_send) = mpsc::channel::<Bytes>(PARTS);
    let (came, parts) = mpsc::channel::<Bytes>(PARTS);
    let writing = async {
        while let Some(body) = to_send.recv().await {
            tx.send(body).await?;
        }
        Ok::<_, SyncError>(())
    };
    let reading = async {
        while let Some(body) = rx.next().await? {
            if came.send(body).await.is_err() {
                break;
            }
        }
        drop(came);
        Ok::<_, SyncError>(())
    };
    let mut worker = Worker::new(disk, seed()).keep_root(engine.keeps_root());
    if let Some(cache) = cache {
        worker = worker.cache(Box::new(cache));
    }
    let mut running = Running {
        engine,
        worker: Arc::new(worker),
        input: VecDeque::from([input]),
        jobs: JoinSet::new(),
        later: VecDeque::new(),
        told: Totals::default(),
    };
    let work = running.run(out, parts, on_event);
    tokio::pin!(writing, reading, work);
    let (mut written, mut read) = (false, false);
    let totals = loop {
        tokio::select! {
            biased;
            totals = &mut work => break totals?,
            result = &mut writing, if !written => { result?; written = true; }
            // The end of what comes is seen by who works with it.
            result = &mut reading, if !read => { result?; read = true; }
        }
    };
    if !written {
        writing.await?;
    }
    Ok(totals)
}

/// A number of this run: names of temporary files differ from those of others.
fn seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};

    RandomState::new().hash_one(std::process::id())
}

struct Running {
    engine: Engine,
    worker: Arc<Worker<Disk>>,
    input: VecDeque<Bytes>,
    jobs: JoinSet<Done>,
    /// Jobs that are not to be done yet.
    later: VecDeque<(Instant, Job)>,
    told: Totals,
}

impl Running {
    async fn run(
        &mut self,
        out: mpsc::Sender<Bytes>,
        mut parts: mpsc::Receiver<Bytes>,
        on_event: &mut (dyn FnMut(SyncEvent) + Send),
    ) -> Result<Totals, SyncError> {
        let threads = std::thread::available_parallelism()
            .map_or(2, std::num::NonZero::get)
            .clamp(2, THREADS);
        let mut over = false;
        loop {
            self.take_in()?;
            self.hand_out(threads);
            let mut wait = None;
            if let Ok(permit) = out.try_reserve()
                && let Some(body) = self.gather(&mut wait)?
            {
                permit.send(body);
                self.tell(on_event);
                continue;
            }
            if self.tell(on_event) {
                // What waited for this goes on.
                continue;
            }
            if self.engine.is_finished() {
                return Ok(self.engine.totals());
            }
            let wants = self.input.is_empty() && self.engine.wants_input();
            if over && self.input.is_empty() && self.jobs.is_empty() {
                return Err(SyncError::Stream(towline_rpc::StreamError::Ended));
            }
            let next = self.next_due(threads);
            tokio::select! {
                biased;
                Some(done) = self.jobs.join_next() => self.done(done)?,
                part = parts.recv(), if wants && !over => match part {
                    Some(part) => self.input.push_back(part),
                    None => over = true,
                },
                // Room for another part, if there is something to put into it.
                Ok(permit) = out.reserve(), if out.capacity() == 0 => drop(permit),
                () = sleep_until(next.unwrap_or_else(far)), if next.is_some() => {}
                () = sleep_until(wait.unwrap_or_else(far)), if wait.is_some() => {}
            }
            // Whatever else has come in the meantime.
            while let Some(done) = self.jobs.try_join_next() {
                self.done(done)?;
            }
        }
    }

    fn done(&mut self, done: Result<Done, tokio::task::JoinError>) -> Result<(), SyncError> {
        let done = done.map_err(|error| SyncError::Internal(error.to_string()))?;
        Ok(self.engine.handle_done(done)?)
    }

    /// Hands messages to the engine, as long as it takes them.
    fn take_in(&mut self) -> Result<(), SyncError> {
        while self.engine.wants_input() {
            let Some(body) = self.input.front_mut() else {
                return Ok(());
            };
            if body.is_empty() {
                self.input.pop_front();
                continue;
            }
            match Message::decode(body)? {
                Message::Abort { text } => {
                    let refused = false;
                    return Err(SyncError::Remote { text, refused });
                }
                message => self.engine.handle_message(message)?,
            }
        }
        Ok(())
    }

    /// When a job is due that waits. With no thread free for it, it would be due again and again.
    fn next_due(&self, threads: usize) -> Option<Instant> {
        let (then, _) = self.later.front().filter(|_| self.jobs.len() < threads)?;
        Some(*then)
    }

    /// Gives work to free threads.
    fn hand_out(&mut self, threads: usize) {
        while self.jobs.len() < threads {
            let due = self
                .later
                .front()
                .is_some_and(|(then, _)| *then <= now().into());
            let ready = due.then(|| self.later.pop_front()).flatten();
            let job = match ready {
                Some((_, job)) => job,
                None => match self.engine.poll_job() {
                    Some(job @ Job::BeginPart { again: true, .. }) => {
                        self.later.push_back((Instant::from(now()) + AGAIN, job));
                        continue;
                    }
                    Some(job) => job,
                    None => return,
                },
            };
            let worker = Arc::clone(&self.worker);
            self.jobs.spawn_blocking(move || worker.run(job));
        }
    }

    /// The next part to send, of as many messages as fit.
    fn gather(&mut self, wait: &mut Option<Instant>) -> Result<Option<Bytes>, SyncError> {
        let mut body = BytesMut::new();
        while body.len() < GATHER {
            match self.engine.poll_message(now()) {
                Output::Message(message) => {
                    let length = message.payload() + 256;
                    // Small files come one behind the other: room for all of them at once.
                    let room = match (body.is_empty(), message.payload()) {
                        (true, 1..GATHER) => GATHER + length,
                        _ => length,
                    };
                    body.reserve(room);
                    message.encode(&mut body);
                }
                Output::Wait(then) => {
                    *wait = Some(then.into());
                    break;
                }
                Output::Idle => break,
                Output::Broken(violation) => return Err(violation.into()),
            }
        }
        debug_assert!(body.len() < PART + GATHER);
        Ok((!body.is_empty()).then(|| body.freeze()))
    }

    /// False if there was nothing to tell.
    fn tell(&mut self, on_event: &mut (dyn FnMut(SyncEvent) + Send)) -> bool {
        let mut told = false;
        while let Some(event) = self.engine.poll_event() {
            told = true;
            if let Event::Item(item) = event {
                on_event(SyncEvent::Item(item));
            }
        }
        let totals = self.engine.totals();
        if totals != self.told {
            self.told = totals;
            on_event(SyncEvent::Progress(totals));
        }
        told
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where a sync reads the clock"
)]
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

fn far() -> Instant {
    Instant::from_std(now()) + Duration::from_secs(3600)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Filter, Options, Sender};

    /// docs/wire D20: a job that is due while all threads are busy waits for one of them, and for no clock.
    #[tokio::test(start_paused = true)]
    async fn a_job_that_is_due_waits_for_a_thread() {
        let sender = Sender::new(&Options::default(), Filter::default(), None);
        let mut running = Running {
            engine: Engine::Sender(Box::new(sender)),
            worker: Arc::new(Worker::new(Disk::missing(), 1)),
            input: VecDeque::new(),
            jobs: JoinSet::new(),
            later: VecDeque::new(),
            told: Totals::default(),
        };
        let due = Instant::from_std(now());
        running.later.push_back((due, Job::Close { key: 1 }));
        assert_eq!(running.next_due(2), Some(due));
        running.jobs.spawn(std::future::pending());
        assert_eq!(running.next_due(2), Some(due));
        running.jobs.spawn(std::future::pending());
        assert_eq!(running.next_due(2), None);
    }
}
