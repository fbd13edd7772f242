//! What runs for one connection: its handler, and under it what waits to be written.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use crate::socket::{CloseReason, Inner, SocketStream};

pin_project! {
    /// The future of one connection ([`SocketStream::run`]). Spawn it anywhere; dropping it ends the
    /// connection at once.
    #[must_use = "a connection does nothing unless its task is spawned or awaited"]
    pub struct ConnectionTask<F> {
        #[pin]
        handler: Option<F>,
        ending: Option<Pin<Box<Sleep>>>,
        held: Held,
    }
}

/// What a task of a connection holds until its very end. The server counts them.
struct Held {
    socket: Arc<Inner>,
}

impl SocketStream {
    /// Serves the connection by `handler`: what a custom [`Strategy`](crate::Strategy) spawns.
    ///
    /// The future drives the socket's output, contains the handler's panics, and when the handler has
    /// returned writes what waits and ends the connection. It is dropped early when the server stops and
    /// the handler does not end in time.
    pub fn run<H, F>(self, handler: H) -> ConnectionTask<F>
    where
        H: FnOnce(Self) -> F,
        F: Future<Output = ()>,
    {
        let socket = Arc::clone(&self.socket().0);
        socket.managed.store(true, Ordering::Release);
        socket.registry.task_begins();
        let held = Held { socket };
        let handler = match catch_unwind(AssertUnwindSafe(|| handler(self))) {
            Ok(handler) => Some(handler),
            Err(payload) => {
                held.socket
                    .registry
                    .panicked("a connection's handler", payload);
                held.socket.close(CloseReason::Panicked);
                None
            }
        };
        ConnectionTask {
            handler,
            ending: None,
            held,
        }
    }
}

impl<F: Future<Output = ()>> Future for ConnectionTask<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let socket = &this.held.socket;
        socket.driven_by(cx.waker());
        if let Some(handler) = this.handler.as_mut().as_pin_mut() {
            if socket.is_killed() {
                drop_handler(this.handler, socket);
                return Poll::Ready(());
            }
            // Before the handler: it may wait for exactly this.
            let _progress = socket.poll_output();
            match catch_unwind(AssertUnwindSafe(|| handler.poll(cx))) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(())) => {}
                Err(payload) => {
                    socket.registry.panicked("a connection's handler", payload);
                    socket.close(CloseReason::Panicked);
                }
            }
            drop_handler(this.handler, socket);
        }
        if socket.close_reason().is_some() || socket.is_killed() {
            return Poll::Ready(());
        }
        if socket.poll_finish().is_pending() {
            let ending = this
                .ending
                .get_or_insert_with(|| Box::pin(sleep(socket.registry.linger())));
            ready!(ending.as_mut().poll(cx));
            socket.close(socket.unfinished_reason());
        }
        socket.close(socket.natural_reason());
        Poll::Ready(())
    }
}

/// A handler's destructors may panic as it does.
fn drop_handler<F>(mut handler: Pin<&mut Option<F>>, socket: &Inner) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| handler.set(None))) {
        socket.registry.panicked("a connection's handler", payload);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Not if it ended in order: then it has ended.
        self.socket.close(CloseReason::Shutdown);
        self.socket.registry.task_ended();
    }
}
