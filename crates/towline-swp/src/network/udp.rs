//! UDP: an inbox is a socket's address, `127.0.0.1:9000`.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use tokio::{net::UdpSocket, task::JoinHandle};
use towline_codec::Text;

use super::{Inbox, InboxLimits, Network, Pending};
use crate::proto::{Compact, Packet};

/// What passes through any network without being cut up.
const MAX_PACKET: usize = 1200;

/// One UDP socket as a network: it hears on its own address alone, and sends to any.
///
/// A packet that does not come from the address that it names as its sender's is dropped, and counted in
/// [`InboxReport::refused`](super::InboxReport): the answer would go to somebody who has sent nothing
/// (docs/wire W18). An inbox is an address and no name: names are to be resolved before.
///
/// ```no_run
/// use std::sync::Arc;
/// use towline_swp::{Session, network::udp::UdpNetwork, proto::Config};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let network = UdpNetwork::bind("127.0.0.1:0".parse()?).await?;
/// let config = Config::new(network.inbox(), "127.0.0.1:9000");
/// let session = Session::connect(Arc::new(network), config).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct UdpNetwork {
    socket: Arc<UdpSocket>,
    address: SocketAddr,
}

impl UdpNetwork {
    /// Binds a socket.
    ///
    /// # Errors
    ///
    /// The system's.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(Self {
            socket: Arc::new(socket),
            address,
        })
    }

    /// Binds a socket at the address of this machine from which datagrams go to `remote`.
    ///
    /// # Errors
    ///
    /// The system's: no way leads there. `InvalidInput` if `remote` is nobody's address, as `0.0.0.0` is.
    pub async fn towards(remote: SocketAddr) -> io::Result<Self> {
        can_be_sent_to(remote)?;
        let any: SocketAddr = match remote {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        // Connecting sends nothing; the system chooses the address.
        let scout = UdpSocket::bind(any).await?;
        scout.connect(remote).await?;
        let mut local = scout.local_addr()?;
        local.set_port(0);
        Self::bind(local).await
    }

    /// The address of this socket.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The inbox of this socket: its address, which peers must be able to send to.
    pub fn inbox(&self) -> Text {
        Text::from(self.address.to_string())
    }
}

impl Network for UdpNetwork {
    fn listen<'a>(&'a self, inbox: &'a Text, limits: InboxLimits) -> Pending<'a, Inbox> {
        Box::pin(async move {
            if *inbox != self.inbox() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("this socket hears on {} and on nothing else", self.address),
                ));
            }
            let socket = Arc::clone(&self.socket);
            let (delivery, inbox) = Inbox::new(limits);
            let task = tokio::spawn(async move {
                let mut buffer = BytesMut::new();
                loop {
                    buffer.reserve(64 << 10);
                    let received = tokio::select! {
                        biased;
                        () = delivery.closed() => return,
                        received = socket.recv_buf_from(&mut buffer) => received,
                    };
                    // An error is of an earlier packet that came back; the socket goes on.
                    let packet = buffer.split().freeze();
                    let Ok((_, source)) = received else {
                        continue;
                    };
                    if !is_from(source, &packet) {
                        delivery.refuse();
                    } else if !delivery.deliver(packet) {
                        return;
                    }
                }
            });
            Ok(inbox.with_hearing(Box::new(Pump(task))))
        })
    }

    fn send<'a>(&'a self, dest: &'a Text, packet: Bytes) -> Pending<'a, ()> {
        Box::pin(async move {
            let address = self.remote(dest)?;
            let sent = self.socket.send_to(&packet, address).await;
            sent.map(|_| ()).map_err(|error| {
                let own = self.address;
                io::Error::new(error.kind(), format!("from {own} to {address}: {error}"))
            })
        })
    }

    fn max_packet(&self) -> usize {
        MAX_PACKET
    }
}

impl UdpNetwork {
    /// The address that an inbox stands for, if datagrams can go there from this socket.
    fn remote(&self, dest: &Text) -> io::Result<SocketAddr> {
        let address = dest.to_str().ok().and_then(|text| text.parse().ok());
        let address: SocketAddr = address.ok_or_else(|| {
            never(format!(
                "{dest} is no address of a UDP socket: write an IP address and a port, 127.0.0.1:9000; \
                 names are resolved before a session is opened"
            ))
        })?;
        can_be_sent_to(address)?;
        if address.is_ipv4() != self.address.is_ipv4() {
            return Err(never(format!(
                "the socket at {} does not reach {address}: one is IPv4, the other IPv6",
                self.address
            )));
        }
        Ok(address)
    }
}

/// The system takes `0.0.0.0` for this machine, whose answer comes from another address.
fn can_be_sent_to(address: SocketAddr) -> io::Result<()> {
    if address.ip().is_unspecified() || address.port() == 0 {
        return Err(never(format!(
            "{address} is nobody's address: name the address and the port at which the peer hears"
        )));
    }
    Ok(())
}

/// What no repetition will change.
fn never(problem: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, problem)
}

/// True unless the packet names another sender. Frames of the extension name nobody, and what cannot
/// be read is for the session to count.
fn is_from(source: SocketAddr, packet: &[u8]) -> bool {
    if Compact::is_compact(packet) {
        return true;
    }
    Packet::peek_from(packet).map_or(true, |from| {
        from.to_str()
            .ok()
            .and_then(|text| text.parse::<SocketAddr>().ok())
            .is_some_and(|named| named.ip() == source.ip() && named.port() == source.port())
    })
}

/// A task that ends with its inbox.
#[derive(Debug)]
struct Pump(JoinHandle<()>);

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}
