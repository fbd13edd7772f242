//! The two halves of a stream.

use std::{fmt, sync::Arc};

use tokio::time::Instant;

use super::{
    StreamCore,
    deadline::Deadline,
    io::{reading, writing},
};
use crate::session::Session;

/// The reading half of a stream, borrowed from it; made by [`Stream::split`](crate::Stream::split).
pub struct ReadHalf<'a> {
    core: &'a StreamCore,
    deadline: &'a mut Deadline,
}

/// The writing half of a stream, borrowed from it; made by [`Stream::split`](crate::Stream::split).
pub struct WriteHalf<'a> {
    core: &'a StreamCore,
    deadline: &'a mut Deadline,
}

/// The reading half of a stream; made by [`Stream::into_split`](crate::Stream::into_split). Dropping it
/// gives up reading, and, with the other half, lets go of the stream.
pub struct OwnedReadHalf {
    core: Arc<StreamCore>,
    deadline: Deadline,
}

/// The writing half of a stream; made by [`Stream::into_split`](crate::Stream::into_split). Dropping it
/// ends nothing by itself: shut it down first, or the stream is reset when the other half is dropped.
pub struct OwnedWriteHalf {
    core: Arc<StreamCore>,
    deadline: Deadline,
}

reading!(ReadHalf<'_>, |this| (this.core, this.deadline));
writing!(WriteHalf<'_>, |this| (this.core, this.deadline));
reading!(OwnedReadHalf, |this| (this.core, &mut this.deadline));
writing!(OwnedWriteHalf, |this| (this.core, &mut this.deadline));

/// What all halves have alike.
macro_rules! half {
    ($type:ty, $name:literal) => {
        impl $type {
            /// Its id on the wire: odd if the session's client opened it.
            pub fn id(&self) -> u32 {
                self.core.id()
            }

            /// The session it belongs to.
            pub fn session(&self) -> Session {
                self.core.session()
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct($name)
                    .field("id", &self.core.id())
                    .finish_non_exhaustive()
            }
        }
    };
}

half!(ReadHalf<'_>, "ReadHalf");
half!(WriteHalf<'_>, "WriteHalf");
half!(OwnedReadHalf, "OwnedReadHalf");
half!(OwnedWriteHalf, "OwnedWriteHalf");

impl<'a> ReadHalf<'a> {
    pub(super) const fn new(core: &'a StreamCore, deadline: &'a mut Deadline) -> Self {
        Self { core, deadline }
    }
}

impl<'a> WriteHalf<'a> {
    pub(super) const fn new(core: &'a StreamCore, deadline: &'a mut Deadline) -> Self {
        Self { core, deadline }
    }
}

impl OwnedReadHalf {
    pub(super) const fn new(core: Arc<StreamCore>, deadline: Deadline) -> Self {
        Self { core, deadline }
    }

    /// As [`Stream::set_read_deadline`](crate::Stream::set_read_deadline).
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline.set(deadline);
    }
}

impl OwnedWriteHalf {
    pub(super) const fn new(core: Arc<StreamCore>, deadline: Deadline) -> Self {
        Self { core, deadline }
    }

    /// As [`Stream::set_write_deadline`](crate::Stream::set_write_deadline).
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline.set(deadline);
    }
}

impl Drop for OwnedReadHalf {
    /// Nobody reads any more: the peer should not wait for credit that never comes.
    fn drop(&mut self) {
        self.core.close_read();
    }
}
