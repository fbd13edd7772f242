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
        stage: Stage<F>,
        held: Held,
    }
}

pin_project! {
    #[project = StageNow]
    enum Stage<F> {
        Handling {
            #[pin]
            handler: F,
        },
        // What waits is written, and the peer gets so much time to take it and to end its side.
        Ending {
            limit: Option<Pin<Box<Sleep>>>,
        },
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
        let stage = match catch_unwind(AssertUnwindSafe(|| handler(self))) {
            Ok(handler) => Stage::Handling { handler },
            Err(payload) => {
                held.socket
                    .registry
                    .panicked("a connection's handler", payload);
                held.socket.close(CloseReason::Panicked);
                Stage::Ending { limit: None }
            }
        };
        ConnectionTask { stage, held }
    }
}

impl<F> ConnectionTask<F> {
    /// Drops the handler; what is left is to write what waits, and to end the connection.
    pub(crate) fn end_handler(self: Pin<&mut Self>) {
        let this = self.project();
        drop_handler(this.stage, &this.held.socket);
    }
}

impl<F: Future<Output = ()>> Future for ConnectionTask<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let socket = &this.held.socket;
        socket.driven_by(cx.waker());
        if let StageNow::Handling { handler } = this.stage.as_mut().project() {
            if socket.is_killed() {
                drop_handler(this.stage, socket);
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
            drop_handler(this.stage.as_mut(), socket);
        }
        if socket.close_reason().is_some() || socket.is_killed() {
            return Poll::Ready(());
        }
        if let StageNow::Ending { limit } = this.stage.project()
            && socket.poll_finish().is_pending()
        {
            let limit = limit.get_or_insert_with(|| Box::pin(sleep(socket.registry.linger())));
            ready!(limit.as_mut().poll(cx));
            socket.close(socket.unfinished_reason());
        }
        socket.close(socket.natural_reason());
        Poll::Ready(())
    }
}

/// A handler's destructors may panic as it does.
fn drop_handler<F>(mut stage: Pin<&mut Stage<F>>, socket: &Inner) {
    let dropped = AssertUnwindSafe(|| stage.set(Stage::Ending { limit: None }));
    if let Err(payload) = catch_unwind(dropped) {
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
