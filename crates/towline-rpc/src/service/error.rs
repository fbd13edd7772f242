//! How typed calls fail.

use std::{convert::Infallible, fmt};

use bytes::BytesMut;
use towline_codec::{
    Text,
    greenpack::{DecodeError, Form, Greenpack, Reader},
};

use super::Encoding;
use crate::{
    error::{CallError, SendError, StreamError},
    proto::Message,
};

/// How a typed call fails; `E` is the error type of the method.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ServiceError<E> {
    /// The method returned this error.
    Failed(E),
    /// The server answered with a text that is not one of the method's errors: it refused the call (too many
    /// calls, not authorised, shutting down), the method panicked, or the server is a Go program.
    Remote(Text),
    /// The server has no such method, the time was up, or the connection ended.
    Call(CallError),
    /// As `Call`, of a method with streams.
    Stream(StreamError),
    /// An answer is of another type than the method's.
    Decode(DecodeError),
}

impl<E: fmt::Display> fmt::Display for ServiceError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Remote(text) => text.fmt(f),
            Self::Call(error) => error.fmt(f),
            Self::Stream(error) => error.fmt(f),
            Self::Decode(error) => {
                write!(
                    f,
                    "the answer cannot be read: {error}; compare the types at both ends"
                )
            }
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for ServiceError<E> {}

impl<E> From<CallError> for ServiceError<E> {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl<E> From<StreamError> for ServiceError<E> {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}

impl<E> From<SendError> for ServiceError<E> {
    fn from(error: SendError) -> Self {
        Self::Stream(error.into())
    }
}

impl<E: Greenpack> ServiceError<E> {
    /// What a reply says (docs/wire V3): its body, or the error.
    pub(super) fn of_reply(reply: Message, encoding: Encoding) -> Result<Message, Self> {
        if reply.error.is_empty() {
            return Ok(reply);
        }
        // Without a body it is the server itself that speaks, or a program that sends no more than a text.
        if !reply.body.is_empty()
            && let Ok(error) = encoding.read(&reply.body, E::decode)
        {
            return Err(Self::Failed(error));
        }
        Err(Self::Remote(reply.error))
    }
}

/// The error of methods that cannot fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoError(Infallible);

impl fmt::Display for NoError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}

impl std::error::Error for NoError {}

impl Greenpack for NoError {
    fn encode_as(&self, _: Form, _: &mut BytesMut) {
        match self.0 {}
    }

    fn decode(_: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Err(DecodeError::UnknownVariant)
    }
}
