//! Where connections come from: listeners of towline-transport, and whatever else yields them.

use std::io;

use towline_transport::{AcceptError, Connection, Incoming, Listener};

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
        self.remote_addr().to_owned()
    }

    fn handshake(self) -> impl Future<Output = Result<Connection, AcceptError>> + Send {
        Self::handshake(self)
    }
}
