//! One stream of a session.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use quinn::{RecvStream, SendStream, VarInt};
use tokio::io::ReadBuf;
use towline_mux::native::NativeStream;
use towline_mux::{ReadError, SessionEnd, StreamEnd, WriteError};

use super::{Arrived, CLOSED, Shared, code};

/// One stream. Each direction has a lock of its own.
pub(super) struct QuicStream {
    id: u32,
    shared: Arc<Shared>,
    sending: Mutex<Sending>,
    receiving: Mutex<Receiving>,
}

struct Sending {
    send: SendStream,
    ended: bool,
    reset: Option<u32>,
}

struct Receiving {
    receive: RecvStream,
    /// Why nothing is read any more, if this side has given up.
    given_up: Option<GivenUp>,
}

#[derive(Debug, Clone, Copy)]
enum GivenUp {
    Reading,
    Stream(u32),
}

impl From<GivenUp> for ReadError {
    fn from(given_up: GivenUp) -> Self {
        match given_up {
            GivenUp::Reading => Self::Closed,
            GivenUp::Stream(code) => Self::Ended(StreamEnd::ResetHere(code)),
        }
    }
}

impl QuicStream {
    pub(super) fn new(shared: Arc<Shared>, send: SendStream, receive: RecvStream) -> Self {
        Self {
            id: u64::from(VarInt::from(send.id()))
                .try_into()
                .unwrap_or(u32::MAX),
            shared,
            sending: Mutex::new(Sending {
                send,
                ended: false,
                reset: None,
            }),
            receiving: Mutex::new(Receiving {
                receive,
                given_up: None,
            }),
        }
    }

    fn sending(&self) -> MutexGuard<'_, Sending> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn receiving(&self) -> MutexGuard<'_, Receiving> {
        self.receiving
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The receiving half, if something can still be read: to quinn what was given up has ended.
    fn readable(&self) -> Result<MutexGuard<'_, Receiving>, ReadError> {
        let receiving = self.receiving();
        match receiving.given_up {
            Some(given_up) => Err(given_up.into()),
            None => Ok(receiving),
        }
    }

    fn read_error(&self, error: quinn::ReadError) -> ReadError {
        match error {
            quinn::ReadError::Reset(by) => ReadError::Ended(StreamEnd::ResetByPeer(code(by))),
            quinn::ReadError::ConnectionLost(error) => {
                ReadError::Session(self.shared.end_of(error))
            }
            quinn::ReadError::ClosedStream => ReadError::Closed,
            error => ReadError::Session(SessionEnd::Io(Arc::new(io::Error::from(error)))),
        }
    }

    fn write_error(&self, error: quinn::WriteError) -> WriteError {
        match error {
            quinn::WriteError::Stopped(by) => WriteError::Ended(StreamEnd::ResetByPeer(code(by))),
            quinn::WriteError::ConnectionLost(error) => {
                WriteError::Session(self.shared.end_of(error))
            }
            quinn::WriteError::ClosedStream => WriteError::Closed,
            error => WriteError::Session(SessionEnd::Io(Arc::new(io::Error::from(error)))),
        }
    }

    /// The sending half, if something can still be written.
    fn writable(&self) -> Result<MutexGuard<'_, Sending>, WriteError> {
        let sending = self.sending();
        if let Some(code) = sending.reset {
            return Err(WriteError::Ended(StreamEnd::ResetHere(code)));
        }
        if sending.ended {
            return Err(WriteError::Closed);
        }
        match self.shared.closed() {
            Some(end) => Err(WriteError::Session(end)),
            None => Ok(sending),
        }
    }
}

impl NativeStream for QuicStream {
    fn id(&self) -> u32 {
        self.id
    }

    fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), ReadError>> {
        let mut receiving = self.readable()?;
        receiving
            .receive
            .poll_read_buf(cx, buf)
            .map_err(|error| self.read_error(error))
    }

    fn poll_read_chunk(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, ReadError>> {
        let mut receiving = self.readable()?;
        // What it waits for is kept in the stream, not in the future.
        let polled = pin!(receiving.receive.read_chunk(usize::MAX, true)).poll(cx);
        polled
            .map_ok(|chunk| chunk.map(|chunk| chunk.bytes))
            .map_err(|error| self.read_error(error))
    }

    fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize, WriteError>> {
        let mut sending = self.writable()?;
        pin!(sending.send.write(buf))
            .poll(cx)
            .map_err(|error| self.write_error(error))
    }

    fn poll_write_chunk(
        &self,
        cx: &mut Context<'_>,
        chunk: &mut Bytes,
    ) -> Poll<Result<(), WriteError>> {
        let mut sending = self.writable()?;
        let chunks = std::slice::from_mut(chunk);
        pin!(sending.send.write_chunks(chunks))
            .poll(cx)
            .map_ok(drop)
            .map_err(|error| self.write_error(error))
    }

    fn shutdown(&self) -> Result<(), WriteError> {
        if self.sending().ended {
            return Ok(());
        }
        let mut sending = self.writable()?;
        sending.ended = true;
        if sending.send.finish().is_err() {
            return Err(WriteError::Closed);
        }
        let stopped = sending.send.stopped();
        let arrival = async move { Arrived(stopped.await.is_ok()) };
        // An error says that the session is over.
        let _over = self.shared.ended.send(Box::pin(arrival));
        Ok(())
    }

    fn close_read(&self) {
        let mut receiving = self.receiving();
        receiving.given_up.get_or_insert(GivenUp::Reading);
        // An error says that all was read.
        let _over = receiving.receive.stop(CLOSED);
    }

    fn reset(&self, code: u32) {
        {
            let mut sending = self.sending();
            sending.reset.get_or_insert(code);
            // Errors say that the stream is over already.
            let _over = sending.send.reset(VarInt::from_u32(code));
        }
        let mut receiving = self.receiving();
        receiving.given_up.get_or_insert(GivenUp::Stream(code));
        let _over = receiving.receive.stop(VarInt::from_u32(code));
    }
}

impl Drop for QuicStream {
    /// Who did not end its data has not: without this, quinn would say that it has.
    fn drop(&mut self) {
        let sending = self
            .sending
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if !sending.ended {
            // An error says that it is over already.
            let _over = sending.send.reset(CLOSED);
        }
    }
}
