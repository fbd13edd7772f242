//! Hearing what a server sends without being asked.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use towline_codec::Text;

use super::{Inner, Waits};
use crate::{
    driver,
    error::ListenerError,
    proto::{CallType, Heard, ListenerKey, Message, WhenFull},
};

/// Messages that answer no call, in the order in which they came: pushes of the server, and refusals
/// of one-way messages (docs/wire C16, C17).
///
/// Also a `futures` stream. They wait in a queue of 1,024 messages and 16 MiB
/// ([`Limits::queue_parts`](crate::proto::Limits::queue_parts)). When it is full, then as
/// [`WhenFull`] says: the connection is not read, so that nothing is lost, or what comes is dropped
/// and counted. Either way no message is lost without a word. Who waits for a reply on the same
/// connection while a [`WhenFull::Wait`] listener is full and nobody takes from it waits until the
/// call's time limit.
///
/// It keeps the connection open, as every handle of the client does. Dropping it ends the listening.
#[derive(Debug)]
pub struct Listener {
    inner: Arc<Inner>,
    key: ListenerKey,
}

impl Listener {
    pub(super) fn begin(inner: Arc<Inner>, call_id: Option<Text>, when_full: WhenFull) -> Self {
        let key = inner.shared.lock().core.listen(call_id, when_full);
        Self { inner, key }
    }

    /// The next message; `None` when the connection is over and all that came has been taken, or
    /// another listener has taken over the CallID.
    ///
    /// # Errors
    ///
    /// [`ListenerError`] tells of messages that were dropped and of messages of this client that the
    /// server refused. The next call goes on.
    ///
    /// # Cancel safety
    ///
    /// Safe: no message is lost.
    pub async fn next(&mut self) -> Option<Result<Message, ListenerError>> {
        poll_fn(|cx| self.poll_heard(cx)).await
    }

    fn poll_heard(&self, cx: &Context<'_>) -> Poll<Option<Result<Message, ListenerError>>> {
        let shared = &self.inner.shared;
        let mut state = shared.lock();
        Poll::Ready(match state.core.take_heard(driver::now(), self.key) {
            Heard::Message(message) => {
                if state.may_resume() {
                    shared.wake_driver(state);
                }
                Some(if message.hdr.typ == CallType::ERROR {
                    let hdr = *message.hdr;
                    Err(ListenerError::Refused {
                        call_id: hdr.call_id,
                        text: hdr.subject,
                    })
                } else {
                    Ok(message)
                })
            }
            Heard::Lost(messages) => Some(Err(ListenerError::Lost(messages))),
            Heard::End => None,
            Heard::Nothing if state.closed.is_some() => None,
            Heard::Nothing => {
                state.wait_for_part(Waits::Listener(self.key), cx);
                return Poll::Pending;
            }
        })
    }
}

impl Stream for Listener {
    type Item = Result<Message, ListenerError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_heard(cx)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let shared = &self.inner.shared;
        let mut state = shared.lock();
        state.forget_stream(Waits::Listener(self.key));
        state.core.unlisten(self.key);
        // What it held may have stopped the reading.
        if state.may_resume() {
            shared.wake_driver(state);
        }
    }
}
