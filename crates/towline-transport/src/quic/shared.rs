//! One UDP port for all the QUIC of a process.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One UDP port for a listener and any number of clients of a process: whoever is called sees where it would call
/// back, and a firewall that lets the clients out lets the listener be reached. Handles are cheap to clone; the port
/// is free again when the last handle, listener and connection are gone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use towline_identity::{Authority, AuthorityOptions, LeafOptions};
/// use towline_transport::{ConnectOptions, ListenOptions, Listener, SharedUdp, connect};
///
/// # let authority = Authority::generate(&AuthorityOptions::new())?;
/// # let node = Arc::new(authority.issue(&LeafOptions::new("node"))?);
/// # let other_end = ListenOptions::new().identity(Arc::clone(&node));
/// # let other = Listener::bind(&"quic://127.0.0.1:0".parse()?, &other_end).await?;
/// # let far = other.local_endpoint().clone();
/// # let answering = tokio::spawn(async move { other.accept().await?.handshake().await.map_err(std::io::Error::other) });
/// let port = SharedUdp::bind("127.0.0.1:0".parse()?)?;
/// let options = ListenOptions::new().identity(Arc::clone(&node)).shared_udp(&port);
/// let listener = Listener::bind(&"quic://127.0.0.1:0".parse()?, &options).await?;
/// let options = ConnectOptions::new().identity(node).shared_udp(&port);
/// let connection = connect(&far, &options).await?;
/// assert_eq!(connection.local_addr(), format!("udp://{}", port.local_addr()?));
/// assert_eq!(listener.local_endpoint().port(), Some(port.local_addr()?.port()));
/// # drop(answering);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SharedUdp {
    pub(super) endpoint: quinn::Endpoint,
    listening: Arc<AtomicBool>,
}

impl SharedUdp {
    /// Binds the port; port 0 asks for a free one. `[::]` takes IPv4 as well. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// What the system says, and that there is no runtime.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        if tokio::runtime::Handle::try_current().is_err() {
            let why = "a shared UDP port must be bound within a tokio runtime";
            return Err(io::Error::other(why));
        }
        Ok(Self {
            endpoint: super::endpoint(address, None)?,
            listening: Arc::default(),
        })
    }

    /// What it is bound to, with the real port.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// The address if a listener may stand there, too.
    pub(super) fn check(&self, address: SocketAddr) -> io::Result<()> {
        let bound = self.local_addr()?;
        let port_fits = address.port() == 0 || address.port() == bound.port();
        if port_fits && address.ip() == bound.ip() {
            return Ok(());
        }
        let why = format!("the shared UDP port is {bound}, and not {address}");
        Err(io::Error::new(io::ErrorKind::InvalidInput, why))
    }

    /// The place of the one listener.
    pub(super) fn claim(&self) -> io::Result<Claim> {
        if self.listening.swap(true, Ordering::AcqRel) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        Ok(Claim(Arc::clone(&self.listening)))
    }
}

/// That a listener uses the port; another may when it is dropped.
#[derive(Debug)]
pub(super) struct Claim(Arc<AtomicBool>);

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
