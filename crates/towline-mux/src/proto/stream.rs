//! One stream: what is known of it, in as few bytes as will hold it.
//!
//! ```text
//!   open / SYN ──▶ both halves open ──FIN sent──▶ half closed (here) ──FIN received──▶ gone
//!                         │                                                             ▲
//!                         ├──FIN received──▶ half closed (there) ──FIN sent─────────────┤
//!                         └──RST, either way──▶ reset ──────────────────────────────────┘
//! ```
//!
//! *Gone* means gone from the table of ids: frames for it are frames for an unknown stream. The entry
//! itself stays while a handle holds it, for what was received and not yet read.

use super::{StreamEnd, chunks::Chunks, memory::Reservation};

/// A set of facts about a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Bits(u32);

impl Bits {
    /// This side opened it.
    pub(crate) const OUTBOUND: Self = Self(1);
    /// The application holds it.
    pub(crate) const HANDLE: Self = Self(1 << 1);
    /// It is in the table of ids.
    pub(crate) const LIVE: Self = Self(1 << 2);
    /// Nothing of it has been sent: the first frame opens it.
    pub(crate) const SYN_DUE: Self = Self(1 << 3);
    /// The peer has not acknowledged it.
    pub(crate) const UNACKED: Self = Self(1 << 4);
    /// This side has not acknowledged it.
    pub(crate) const ACK_DUE: Self = Self(1 << 5);
    /// It waits for the application to accept it.
    pub(crate) const BACKLOG: Self = Self(1 << 6);
    pub(crate) const FIN_RECEIVED: Self = Self(1 << 7);
    /// The application has ended its data; the FIN follows what is queued.
    pub(crate) const FIN_DUE: Self = Self(1 << 8);
    pub(crate) const FIN_SENT: Self = Self(1 << 9);
    /// Nobody will read: data is counted and thrown away.
    pub(crate) const DISCARDS: Self = Self(1 << 10);
    /// Credit is to be sent.
    pub(crate) const CREDIT_DUE: Self = Self(1 << 11);
    /// SYN or ACK is to be sent without waiting for data.
    pub(crate) const GREETING_DUE: Self = Self(1 << 12);
    /// It is in the queue of streams that have something to say beside data.
    pub(crate) const IN_CONTROL: Self = Self(1 << 13);
    /// It is in the queue of streams that have data to send.
    pub(crate) const IN_READY: Self = Self(1 << 14);
    /// Somebody waits to be told that it can be read ...
    pub(crate) const READ_WAIT: Self = Self(1 << 15);
    /// ... or written, or is flushed.
    pub(crate) const WRITE_WAIT: Self = Self(1 << 16);
    /// It waits for room in the session's send budget.
    pub(crate) const BUDGET_WAIT: Self = Self(1 << 17);
    /// It counts against the limit of streams.
    pub(crate) const COUNTED: Self = Self(1 << 18);

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn set(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(crate) fn clear(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    /// Clears and says whether it was set.
    pub(crate) fn take(&mut self, other: Self) -> bool {
        let had = self.has(other);
        self.clear(other);
        had
    }
}

impl std::ops::BitOr for Bits {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) id: u32,
    pub(crate) bits: Bits,
    /// What may still be sent beyond what is queued.
    pub(crate) send_credit: u32,
    /// Bytes in `outbox`.
    pub(crate) queued: u32,
    /// What the peer may still send.
    pub(crate) recv_credit: u32,
    /// Bytes in `inbox`.
    pub(crate) unread: u32,
    /// The receive window: credit and unread bytes come to no more.
    pub(crate) window: u32,
    /// When credit was sent last, in microseconds of the session.
    pub(crate) credited: u32,
    /// Why it is dead, if it died before its time.
    pub(crate) end: Option<StreamEnd>,
    pub(crate) inbox: Chunks,
    pub(crate) outbox: Chunks,
    pub(crate) memory: Option<Box<Reservation>>,
}

impl Stream {
    pub(crate) const fn is_writable(&self) -> bool {
        self.end.is_none() && !self.bits.has(Bits(Bits::FIN_DUE.0 | Bits::FIN_SENT.0))
    }

    /// True if the peer may still send on it.
    pub(crate) const fn is_receiving(&self) -> bool {
        self.end.is_none() && !self.bits.has(Bits::FIN_RECEIVED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_small() {
        assert!(size_of::<Stream>() <= 128, "{}", size_of::<Stream>());
    }
}
