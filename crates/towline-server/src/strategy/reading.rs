//! The loop that reads for a handler, with a buffer only while there is something to read.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use bytes::BytesMut;
use tokio::sync::{Mutex as Group, Semaphore, SemaphorePermit};
use tokio::task::yield_now;
use tokio_util::io::poll_read_buf;

use crate::handler::{Ended, ReadHandler};
use crate::registry::Reading;
use crate::socket::{CloseReason, SocketStream};

/// What all connections of a strategy share: buffers, and how long one may go on.
pub(super) struct Limits {
    buffer_size: usize,
    /// Bytes after which others get their turn.
    budget: usize,
    /// Buffers that may be in use at once.
    handlers: Semaphore,
    spare: Mutex<Vec<BytesMut>>,
    max_spare: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self::new(16 * 1024, 64 * 1024, Semaphore::MAX_PERMITS)
    }
}

impl Limits {
    /// Buffers that are kept for the next reader, at most.
    const SPARE: usize = 64;

    pub(super) fn new(buffer_size: usize, budget: usize, handlers: usize) -> Self {
        Self {
            buffer_size,
            budget,
            handlers: Semaphore::new(handlers),
            spare: Mutex::default(),
            max_spare: handlers.min(Self::SPARE),
        }
    }

    fn take(&self) -> BytesMut {
        self.spare
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
            .unwrap_or_else(|| BytesMut::with_capacity(self.buffer_size))
    }

    fn give_back(&self, mut buffer: BytesMut) {
        buffer.clear();
        // Full size again, or let it go: reads never become smaller.
        if buffer.try_reclaim(self.buffer_size) {
            let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
            if spare.len() < self.max_spare {
                spare.push(buffer);
            }
        }
    }
}

/// What a read came to.
enum Read<'a> {
    Bytes(BytesMut, SemaphorePermit<'a>),
    End(Ended),
}

/// Reads until the connection ends or the server stops, and hands what comes to `handler`. With a
/// `group`, no two connections of it are handled at the same time.
pub(super) async fn read_loop<H: ReadHandler>(
    mut stream: SocketStream,
    handler: Arc<H>,
    limits: Arc<Limits>,
    group: Option<Arc<Group<()>>>,
) {
    let socket = stream.socket().clone();
    let reading = &socket.0.registry.reading;
    let mut state = handler.on_accept(&socket).await;
    let mut since_pause = 0;
    let ended = loop {
        let (read, waited) = read(&mut stream, &limits).await;
        let (buffer, permit) = match read {
            Read::Bytes(buffer, permit) => (buffer, permit),
            Read::End(ended) => break ended,
        };
        since_pause = if waited { 0 } else { since_pause };
        since_pause += buffer.len();
        Reading::add(&reading.reads, 1);
        {
            // Given back however the handler ends.
            let _permit = permit;
            let _counted = Counted::new(&socket);
            let _turn = match &group {
                Some(group) => Some(group.lock().await),
                None => None,
            };
            handler.on_read(&mut state, &socket, &buffer).await;
        }
        limits.give_back(buffer);
        if since_pause >= limits.budget {
            since_pause = 0;
            Reading::add(&reading.yields, 1);
            yield_now().await;
        }
    };
    handler.on_end(state, &socket, ended).await;
}

/// The next bytes, and whether they had to be waited for.
async fn read<'a>(stream: &mut SocketStream, limits: &'a Limits) -> (Read<'a>, bool) {
    let mut waited = false;
    // A permit before a buffer: those who wait for their turn hold nothing.
    let mut permit = None;
    loop {
        let read = poll_fn(|cx| {
            if let Some(ended) = over(stream) {
                return Poll::Ready(Some(Read::End(ended)));
            }
            let Some(held) = permit.take().or_else(|| limits.handlers.try_acquire().ok()) else {
                return Poll::Ready(None);
            };
            let mut buffer = limits.take();
            match poll_read_buf(Pin::new(&mut *stream), cx, &mut buffer) {
                Poll::Ready(Ok(1..)) => Poll::Ready(Some(Read::Bytes(buffer, held))),
                Poll::Ready(Ok(0)) => {
                    limits.give_back(buffer);
                    Poll::Ready(Some(Read::End(Ended::ByPeer)))
                }
                Poll::Ready(Err(error)) => {
                    limits.give_back(buffer);
                    Poll::Ready(Some(Read::End(failed(stream, error))))
                }
                Poll::Pending => {
                    waited = true;
                    limits.give_back(buffer);
                    Poll::Pending
                }
            }
        })
        .await;
        match read {
            Some(read) => return (read, waited),
            // All handlers are at work. Never closed, so there will be one.
            None => permit = limits.handlers.acquire().await.ok(),
        }
    }
}

/// Why nothing more is to be read, if that is so.
fn over(stream: &SocketStream) -> Option<Ended> {
    let inner = &stream.socket().0;
    if let Some(reason) = inner.close_reason() {
        return Some(Ended::Closed(reason));
    }
    // Whoever is in the middle of a packet gets the time to finish it.
    (inner.registry.is_stopping() && inner.packet_under_way() == 0).then_some(Ended::Stopping)
}

fn failed(stream: &SocketStream, error: io::Error) -> Ended {
    match stream.close_reason() {
        Some(CloseReason::Client | CloseReason::Error) | None => Ended::Failed(error),
        Some(reason) => Ended::Closed(reason),
    }
}

/// A buffer in use.
struct Counted<'a>(&'a crate::socket::Socket);

impl<'a> Counted<'a> {
    fn new(socket: &'a crate::socket::Socket) -> Self {
        socket
            .0
            .registry
            .reading
            .buffers
            .fetch_add(1, Ordering::Relaxed);
        Self(socket)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let reading = &self.0.0.registry.reading;
        reading.buffers.fetch_sub(1, Ordering::Relaxed);
    }
}
