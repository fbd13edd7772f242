//! Messages: each is one packet.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;

use super::{Session, nothing_to_read};
use crate::{
    error::{PushError, ReadError},
    proto::{Payload, SendError},
};

impl Session {
    /// Sends one message; completes when it is accepted, which may wait for room. Its number counts
    /// from 0.
    ///
    /// # Errors
    ///
    /// [`SendError::TooLarge`], or that the session takes no more.
    ///
    /// # Cancel safety
    ///
    /// The message is accepted whole or not at all.
    pub async fn send(&self, message: impl Into<Bytes>) -> Result<u64, SendError> {
        let payload = self.payload(message.into());
        self.shared
            .wait(|engine, now| match engine.send(now, payload.clone()) {
                Err(SendError::Full) => Poll::Pending,
                result => Poll::Ready(result),
            })
            .await
    }

    /// Sends one message and waits until the peer has acknowledged it: that it arrived, or, if the
    /// peer acknowledges on consumption, that its application has taken it (docs/wire W37).
    ///
    /// # Errors
    ///
    /// [`PushError::Unacknowledged`] if the session ended first.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the message may have been accepted.
    pub async fn push(&self, message: impl Into<Bytes>) -> Result<(), PushError> {
        let seq = self.send(message).await?;
        self.acknowledged(seq).await
    }

    /// Waits until the peer has acknowledged the message with this number.
    ///
    /// # Errors
    ///
    /// [`PushError::Unacknowledged`] if the session ended first.
    ///
    /// # Cancel safety
    ///
    /// Can be called again.
    pub async fn acknowledged(&self, seq: u64) -> Result<(), PushError> {
        self.shared
            .wait(|engine, _| {
                if engine.acknowledged() > seq {
                    Poll::Ready(Ok(()))
                } else if let Some(reason) = engine.close_reason() {
                    Poll::Ready(Err(PushError::Unacknowledged(reason)))
                } else {
                    Poll::Pending
                }
            })
            .await
    }

    /// The next message of the peer; `None` at the end.
    ///
    /// # Errors
    ///
    /// That what the peer sent does not come whole.
    ///
    /// # Cancel safety
    ///
    /// No message is lost if the future is dropped.
    pub async fn recv(&self) -> Result<Option<Bytes>, ReadError> {
        self.shared
            .wait(|engine, now| match engine.recv(now) {
                Some(data) => Poll::Ready(Ok(Some(data))),
                None => nothing_to_read(engine.read_state()).map_ok(|()| None),
            })
            .await
    }

    /// Sends one message if there is room for it now, and returns its number.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`] if there is no room, and what [`send`](Self::send) fails with.
    pub fn try_send(&self, message: impl Into<Bytes>) -> Result<u64, SendError> {
        let payload = self.payload(message.into());
        self.shared.call(|engine, now| engine.send(now, payload))
    }

    /// Waits until the peer has acknowledged everything that was sent so far.
    ///
    /// # Errors
    ///
    /// [`PushError::Unacknowledged`] if the session ended first.
    ///
    /// # Cancel safety
    ///
    /// Can be called again.
    pub async fn all_acknowledged(&self) -> Result<(), PushError> {
        let last = self.shared.lock().engine.accepted().checked_sub(1);
        match last {
            Some(last) => self.acknowledged(last).await,
            None => Ok(()),
        }
    }

    /// All messages that are here, in order, at most `most`; waits for the first. Empty at the end.
    ///
    /// # Errors
    ///
    /// That what the peer sent does not come whole.
    ///
    /// # Cancel safety
    ///
    /// No message is lost if the future is dropped.
    pub async fn recv_batch(&self, most: usize) -> Result<Vec<Bytes>, ReadError> {
        let most = most.max(1);
        self.shared
            .wait(|engine, now| {
                let mut batch = Vec::new();
                while batch.len() < most
                    && let Some(data) = engine.recv(now)
                {
                    batch.push(data);
                }
                if batch.is_empty() {
                    nothing_to_read(engine.read_state()).map_ok(|()| batch)
                } else {
                    Poll::Ready(Ok(batch))
                }
            })
            .await
    }

    /// The messages as a stream.
    pub fn messages(&self) -> Messages<'_> {
        Messages { session: self }
    }

    /// Takes all messages until the end and forgets them; says how many there were.
    ///
    /// # Errors
    ///
    /// That what the peer sent does not come whole.
    ///
    /// # Cancel safety
    ///
    /// Messages taken so far are gone if the future is dropped.
    pub async fn drain(&self) -> Result<u64, ReadError> {
        let mut taken = 0;
        loop {
            match self.recv_batch(1024).await?.len() {
                0 => return Ok(taken),
                more => taken += more as u64,
            }
        }
    }

    /// Calculates the checksum here, if it is needed, where no lock is held.
    fn payload(&self, data: Bytes) -> Payload {
        let payload = Payload::from(data);
        if self.shared.lock().engine.wants_checksums() {
            payload.with_checksum()
        } else {
            payload
        }
    }
}

/// The messages of a session, until its end: see [`Session::messages`].
#[derive(Debug)]
pub struct Messages<'a> {
    session: &'a Session,
}

impl Stream for Messages<'_> {
    type Item = Result<Bytes, ReadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self
            .session
            .shared
            .poll(cx, |engine, now| match engine.recv(now) {
                Some(data) => Poll::Ready(Ok(Some(data))),
                None => nothing_to_read(engine.read_state()).map_ok(|()| None),
            });
        polled.map(Result::transpose)
    }
}
