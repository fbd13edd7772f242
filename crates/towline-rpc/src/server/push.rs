//! What a server sends without being asked.

use bytes::Bytes;
use towline_codec::Text;

use crate::{
    error::PushError,
    proto::{CallType, Message},
};

/// A message from the server to a client that answers nothing (docs/wire C16).
///
/// ```
/// use towline_rpc::server::Push;
///
/// let push = Push::new("price", "42").call_id("subscription 7");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    pub(super) message: Message,
    pub(super) as_it_is: bool,
}

impl Push {
    /// A push as the original's `SendMessage` makes it: clients see the subject in the service name,
    /// `srv.SendMessage('SUBJECT')`.
    pub fn new(subject: impl Into<Text>, body: impl Into<Bytes>) -> Self {
        Self {
            message: Message::from_body(body).with_subject(subject),
            as_it_is: false,
        }
    }

    /// A push as the original's `SendOneWayMessage` makes it: the header stays as it is but for the
    /// sender's address, and for the receiver's and the type if they are not set. The type must be 10
    /// or greater.
    pub const fn forward(message: Message) -> Self {
        Self {
            message,
            as_it_is: true,
        }
    }

    /// By which CallID listeners find it. Default: of [`new`](Self::new) a fresh one, of
    /// [`forward`](Self::forward) that of its message.
    #[must_use]
    pub fn call_id(mut self, call_id: impl Into<Text>) -> Self {
        self.message.hdr.call_id = call_id.into();
        self
    }

    /// Its sequence number. Default: 0, or that of the message. A client of the original that waits
    /// for the reply to a call with this number takes the push for it.
    #[must_use]
    pub fn seqno(mut self, seqno: u64) -> Self {
        self.message.hdr.seqno = seqno;
        self
    }

    /// Adds a small parameter; a second one of the same name replaces the first.
    #[must_use]
    pub fn arg(mut self, name: impl Into<Text>, value: impl Into<Text>) -> Self {
        self.message = self.message.with_arg(name, value);
        self
    }

    pub(super) fn validate(&self) -> Result<(), PushError> {
        let typ = self.message.hdr.typ;
        if self.as_it_is && typ != CallType::NONE && typ < CallType::ONE_WAY {
            return Err(PushError::WrongType(typ));
        }
        Ok(())
    }
}
