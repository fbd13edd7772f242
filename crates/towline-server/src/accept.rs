//! Where connections come from: listeners of towline-transport, and whatever else yields them.

use std::io;
use std::net::IpAddr;

use towline_transport::{AcceptError, Connection, Established, Incoming, Io, Listener, Remote};

/// A source of connections. [`Listener`] is one; protocols with listeners of their own, and tests,
/// can be others.
pub trait Accept: Send + 'static {
    /// A connection whose handshake is not done.
    type Incoming: Handshake;

    /// Waits for the next connection.
    ///
    /// # Errors
    ///
    /// Errors of one connection (aborted, reset, refused, interrupted) are passed over. After any
    /// other the loop waits a little and goes on.
    ///
    /// # Cancel safety
    ///
    /// Must be cancel safe: the future is dropped and made again at any time.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Incoming>> + Send;

    /// Where this listens, for logs.
    fn local(&self) -> String;
}

/// A connection that was accepted and has not shaken hands.
pub trait Handshake: Send + 'static {
    /// Where it comes from, for logs.
    fn remote(&self) -> String;

    /// The address it comes from, for limits and lists; without one they do not apply.
    fn address(&self) -> Option<IpAddr> {
        None
    }

    /// The bytes below the handshake, where a proxy may write for whom it connects; `None` if there are
    /// no such bytes.
    fn raw(&mut self) -> Option<&mut dyn Io> {
        None
    }

    /// Says where it really comes from, as a proxy has told.
    fn set_remote(&mut self, _remote: Remote) {}

    /// Whether the handshake is done as soon as it is asked for.
    fn is_immediate(&self) -> bool {
        false
    }

    /// Waits until the other end has begun its handshake, if that can be seen without taking anything; it
    /// is responsible for its own time limit. A connection waits for its turn to shake hands
    /// ([`Builder::max_handshakes`](crate::Builder::max_handshakes)) when it has begun, so that silent ones
    /// have no turn.
    ///
    /// # Errors
    ///
    /// As [`handshake`](Self::handshake).
    ///
    /// # Cancel safety
    ///
    /// Must be cancel safe.
    fn begun(&mut self) -> impl Future<Output = Result<(), AcceptError>> + Send {
        async { Ok(()) }
    }

    /// Finishes the handshake; it is responsible for its own time limit.
    ///
    /// # Errors
    ///
    /// Why there is no connection; it is logged and counted.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future must close the connection.
    fn handshake(self) -> impl Future<Output = Result<Connection, AcceptError>> + Send;

    /// As [`handshake`](Self::handshake), with the socket in the open where there is one.
    ///
    /// # Errors
    ///
    /// As [`handshake`](Self::handshake).
    ///
    /// # Cancel safety
    ///
    /// As [`handshake`](Self::handshake).
    fn establish(self) -> impl Future<Output = Result<Established, AcceptError>> + Send
    where
        Self: Sized,
    {
        async { self.handshake().await.map(Established::from) }
    }
}

impl Accept for Listener {
    type Incoming = Incoming;

    fn accept(&mut self) -> impl Future<Output = io::Result<Incoming>> + Send {
        Self::accept(self)
    }

    fn local(&self) -> String {
        self.local_endpoint().to_string()
    }
}

impl Handshake for Incoming {
    fn remote(&self) -> String {
        Self::remote(self).to_string()
    }

    fn address(&self) -> Option<IpAddr> {
        Some(Self::remote(self).socket_addr()?.ip())
    }

    fn raw(&mut self) -> Option<&mut dyn Io> {
        self.raw_mut()
    }

    fn set_remote(&mut self, remote: Remote) {
        Self::set_remote(self, remote);
    }

    fn is_immediate(&self) -> bool {
        !self.shakes_hands()
    }

    fn begun(&mut self) -> impl Future<Output = Result<(), AcceptError>> + Send {
        Self::begun(self)
    }

    fn handshake(self) -> impl Future<Output = Result<Connection, AcceptError>> + Send {
        Self::handshake(self)
    }

    fn establish(self) -> impl Future<Output = Result<Established, AcceptError>> + Send {
        Self::establish(self)
    }
}
