//! What all clones of a socket share.

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::task::AtomicWaker;
use once_cell::race::OnceBox;
use tokio::sync::Notify;
use towline_identity::Peer;
use towline_transport::Remote;

use super::closing::{CloseReason, Hook, Hooks};
use super::output::Output;
use super::stream::Reader;
use super::traffic::{Traffic, Watch};
use super::writer::Writer;
use super::{Socket, WeakSocket};
use crate::admission::Admitted;
use crate::registry::Registry;
use crate::time_limits::TimeLimits;

/// An idle connection costs little more than this and its registration: what few connections need is boxed, and
/// made when it is needed.
pub(crate) struct Inner {
    pub(super) id: u64,
    /// In ns since 1970.
    connected_at: u64,
    from: Whence,
    pub(crate) traffic: Traffic,
    pub(super) out: Mutex<Output>,
    /// Whether the output has something to do; a look at it costs no lock.
    pub(super) work: AtomicBool,
    /// The transport has said that it takes bytes again.
    pub(super) writable: AtomicBool,
    /// Why it has ended; 0 while it lives.
    reason: AtomicU8,
    /// The connection's task: it drives the output, and the handler within it.
    pub(super) task: AtomicWaker,
    /// In half the room of a `OnceLock`.
    waiters: OnceBox<Waiters>,
    /// The peer has ended its side.
    pub(super) peer_ended: AtomicBool,
    /// It did so without saying goodbye, over TLS.
    pub(super) truncated: AtomicBool,
    /// The handler is to be dropped.
    killed: AtomicBool,
    /// A [`ConnectionTask`](crate::connection_task::ConnectionTask) ends the connection in order.
    pub(crate) managed: AtomicBool,
    /// Bytes are counted below a wrapper.
    pub(super) counted_below: AtomicBool,
    /// The number of the packet that has begun and not ended; 0 for none.
    pub(crate) packet: AtomicU32,
    pub(crate) watch: Mutex<Watch>,
    pub(crate) registry: Arc<Registry>,
}

/// Where a connection comes from, and who has proven to be there, in a fraction of the room for most.
enum Whence {
    /// Somebody unknown.
    Ipv4(SocketAddrV4),
    Other(Box<(Remote, Option<Box<Peer>>)>),
}

/// Who waits for something but the connection's task.
#[derive(Default)]
pub(super) struct Waiters {
    /// For the end.
    end: Notify,
    /// For room in the queue.
    pub(super) room: Notify,
    /// For bytes.
    reader: AtomicWaker,
    /// To be called at the end.
    hooks: Hooks,
}

impl Inner {
    pub(super) fn new(
        registry: Arc<Registry>,
        connected_at: SystemTime,
        remote: Remote,
        proven: Option<Box<Peer>>,
        writer: Writer,
        admitted: Option<Admitted>,
    ) -> Arc<Self> {
        let inner = Arc::new(Self {
            id: registry.next_id(),
            connected_at: connected_at
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_nanos() as u64),
            from: match (remote, proven) {
                (Remote::Address(SocketAddr::V4(address)), None) => Whence::Ipv4(address),
                other => Whence::Other(Box::new(other)),
            },
            traffic: Traffic::default(),
            out: Mutex::new(Output::new(writer, admitted)),
            work: AtomicBool::new(false),
            writable: AtomicBool::new(false),
            reason: AtomicU8::new(0),
            task: AtomicWaker::new(),
            waiters: OnceBox::new(),
            peer_ended: AtomicBool::new(false),
            truncated: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            managed: AtomicBool::new(false),
            counted_below: AtomicBool::new(false),
            packet: AtomicU32::new(0),
            watch: Mutex::default(),
            registry,
        });
        inner
            .registry
            .enter(inner.id, WeakSocket(Arc::downgrade(&inner)));
        inner
    }

    pub(super) fn peer(&self) -> Peer {
        let proven = match &self.from {
            Whence::Ipv4(_) => None,
            Whence::Other(known) => known.1.as_deref(),
        };
        proven
            .cloned()
            .unwrap_or_else(|| Peer::unauthenticated(self.remote().to_string()))
    }

    pub(super) fn connected_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.connected_at)
    }

    pub(super) fn remote(&self) -> Remote {
        match &self.from {
            Whence::Ipv4(address) => Remote::Address((*address).into()),
            Whence::Other(known) => known.0.clone(),
        }
    }

    pub(super) fn queued(&self) -> usize {
        self.out().queued()
    }

    /// Behind this, all that had left before is counted: bytes are counted under the lock under which they leave.
    pub(crate) fn settle(&self) {
        drop(self.out());
    }

    /// Ends the connection; false if it had ended.
    pub(crate) fn close(self: &Arc<Self>, reason: CloseReason) -> bool {
        if !self.note_end(reason) {
            return false;
        }
        let (writer, left, admitted, was_said) = {
            let mut out = self.out();
            let (writer, left) = out.end();
            let was_said = out.has_said_goodbye();
            (writer, left, out.admitted.take(), was_said)
        };
        // Counted before the peer can know, and its place free.
        drop(admitted);
        self.registry.left(reason);
        match writer {
            Some(writer) if reason == CloseReason::Shutdown => writer.reset(),
            Some(writer) => writer.close(was_said),
            None => {}
        }
        drop(left);
        self.work.store(false, Ordering::Release);
        self.task.wake();
        // Behind the lock above, as whoever makes them knows.
        if let Some(waiters) = self.waiters.get() {
            waiters.reader.wake();
            waiters.room.notify_waiters();
            waiters.end.notify_waiters();
            waiters.hooks.run(&Socket(Arc::clone(self)), reason);
        }
        true
    }

    /// Ends the connection and drops its handler.
    pub(crate) fn kill(self: &Arc<Self>) {
        self.killed.store(true, Ordering::Release);
        self.close(CloseReason::Shutdown);
        self.task.wake();
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire) || self.registry.is_dead()
    }

    /// Has the task look around: the server is stopping.
    pub(crate) fn nudge(&self) {
        self.task.wake();
        if let Some(waiters) = self.waiters.get() {
            waiters.reader.wake();
        }
    }

    pub(crate) fn close_reason(&self) -> Option<CloseReason> {
        CloseReason::from_number(self.reason.load(Ordering::Acquire))
    }

    /// Notes the reason; false if there was one already.
    fn note_end(&self, reason: CloseReason) -> bool {
        self.reason
            .compare_exchange(0, reason as u8, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Whoever waits for a change here makes them first, then looks whether it has happened under the lock of
    /// the queue, or behind it; whoever changes something does it under that lock, or before it, and then looks
    /// for them. So either sees the other.
    pub(super) fn waiters(&self) -> &Waiters {
        self.waiters.get().unwrap_or_else(|| {
            let made = self.waiters.get_or_init(Box::default);
            drop(self.out());
            made
        })
    }

    pub(super) fn tell_room(&self) {
        if let Some(waiters) = self.waiters.get() {
            waiters.room.notify_waiters();
        }
    }

    /// Whoever waits for bytes: a close wakes it. The stream has one owner, which makes the waiters once.
    pub(super) fn read_by(&self, waker: &Waker) {
        self.waiters().reader.register(waker);
    }

    /// Why a connection ends whose handler has returned.
    pub(crate) fn natural_reason(&self) -> CloseReason {
        if self.peer_ended.load(Ordering::Acquire) {
            CloseReason::Client
        } else {
            CloseReason::Server
        }
    }

    pub(super) async fn closed(&self) -> CloseReason {
        let waiters = self.waiters();
        loop {
            let told = waiters.end.notified();
            drop(self.out());
            if let Some(reason) = self.close_reason() {
                return reason;
            }
            told.await;
        }
    }

    pub(super) fn on_close(self: &Arc<Self>, hook: Hook) {
        let waiters = self.waiters();
        waiters.hooks.add(hook);
        self.run_hooks();
    }

    /// Sets the hook that `key` stands for; [`run_hooks`](Self::run_hooks) is to follow.
    pub(crate) fn set_hook(&self, key: usize, hook: Hook) {
        self.waiters().hooks.set(key, hook);
    }

    pub(crate) fn unset_hook(&self, key: usize) {
        if let Some(waiters) = self.waiters.get() {
            waiters.hooks.unset(key);
        }
    }

    /// Runs what is left of the hooks, if the connection has ended.
    pub(crate) fn run_hooks(self: &Arc<Self>) {
        let waiters = self.waiters();
        drop(self.out());
        // Each is run by whoever takes it.
        if let Some(reason) = self.close_reason() {
            waiters.hooks.run(&Socket(Arc::clone(self)), reason);
        }
    }

    /// The transport failed: the connection ends with a reason that says who is to blame.
    pub(super) fn fail(self: &Arc<Self>, error: &io::Error) {
        let reason = if towline_transport::is_hung_up(error) {
            CloseReason::Client
        } else {
            CloseReason::Error
        };
        self.close(reason);
    }

    /// Whether little enough waits that more may be sent.
    pub(super) fn is_writable(&self) -> bool {
        let out = self.out();
        out.writer.is_some() && !out.is_clogged()
    }

    /// Limits of its own, if it has any.
    pub(crate) fn own_limits(&self) -> Option<TimeLimits> {
        self.watch().limits.as_deref().copied()
    }

    pub(super) fn set_limits(&self, limits: TimeLimits) {
        self.watch().limits = Some(Box::new(limits));
        self.forget_silence();
        self.registry.has_limits(limits.shortest());
    }

    /// Time limits begin to count now.
    pub(crate) fn forget_silence(&self) {
        // With the next look at it.
        self.watch().moved_at = 0;
        self.out().forget_silence();
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the packet that has begun and not ended; 0 for none.
    pub(crate) fn packet_under_way(&self) -> u32 {
        self.packet.load(Ordering::Relaxed)
    }

    /// Whether something may wait to be written.
    pub(crate) fn has_output(&self) -> bool {
        self.work.load(Ordering::Acquire)
    }

    /// Since when what waits to be written makes no progress.
    pub(crate) fn stuck_since(&self) -> Option<tokio::time::Instant> {
        self.out().stuck_since()
    }

    /// The task that drives the output from now on.
    pub(crate) fn driven_by(&self, waker: &Waker) {
        self.task.register(waker);
    }

    /// Why a connection ends that has not finished in time.
    pub(crate) fn unfinished_reason(&self) -> CloseReason {
        if self.out().has_said_goodbye() {
            self.natural_reason()
        } else {
            CloseReason::WriteTimeout
        }
    }

    /// Takes back what the handler has left unread.
    pub(super) fn leave(&self, reader: Reader) {
        let _refused = self.out().leave(reader);
    }

    pub(super) fn count_read(&self, count: usize) {
        if !self.counted_below.load(Ordering::Relaxed) {
            self.traffic.add_read(count);
        }
    }

    pub(super) fn count_written(&self, count: usize) {
        if !self.counted_below.load(Ordering::Relaxed) {
            self.traffic.add_written(count);
        }
    }

    /// Takes the writer out, if nothing waits for it; what is sent meanwhile waits.
    pub(super) fn borrow_writer(&self) -> Option<Writer> {
        let mut out = self.out();
        if out.owes() {
            return None;
        }
        out.writer
            .as_mut()
            .map(|writer| std::mem::replace(writer, Writer::Away))
    }

    /// Puts a writer in; false if the connection has ended meanwhile.
    pub(super) fn put_writer(&self, writer: Writer) -> bool {
        let mut out = self.out();
        let Some(place) = &mut out.writer else {
            return false;
        };
        *place = writer;
        self.work.store(out.has_work(), Ordering::Release);
        drop(out);
        self.task.wake();
        true
    }

    pub(super) fn out(&self) -> MutexGuard<'_, Output> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.note_end(CloseReason::Server) {
            self.registry.left(CloseReason::Server);
        }
        self.registry.depart(self.id, &self.traffic);
    }
}
