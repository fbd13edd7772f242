//! TCP sockets: how they are opened, bound and set up.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

/// How much not yet sent data the kernel holds before a writer waits, in bytes.
///
/// Large enough that a fast link never runs dry between two wake-ups, small enough that a small
/// message does not queue behind megabytes of a file in the kernel, where nothing can overtake.
#[cfg(any(target_os = "linux", target_os = "android"))]
const NOTSENT_LOWAT: u32 = 128 * 1024;
/// A silent peer is asked for a sign of life after this time, as the original does.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
/// And again after each of these, until a minute and a quarter has passed.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
#[cfg(not(windows))]
const KEEPALIVE_RETRIES: u32 = 4;
/// Questions within the time after which a peer is given up.
const SIGNS: u32 = 3;
/// What the system takes for the interval of its questions.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
    if found.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        ));
    }
    Ok(found)
}

pub(crate) async fn dial(
    address: SocketAddr,
    dead_peer: Option<Duration>,
) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    set_up(&stream, dead_peer)?;
    Ok(stream)
}

/// The options of every connection, dialled or accepted. A peer whose system says nothing for `dead_peer` is gone.
pub(crate) fn set_up(stream: &TcpStream, dead_peer: Option<Duration>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let interval = dead_peer.map(|limit| (limit / SIGNS).max(SHORTEST_INTERVAL));
    let keepalive = TcpKeepalive::new()
        .with_time(interval.unwrap_or(KEEPALIVE_IDLE))
        .with_interval(interval.unwrap_or(KEEPALIVE_INTERVAL));
    #[cfg(not(windows))]
    let keepalive = keepalive.with_retries(match dead_peer {
        Some(_) => SIGNS - 1,
        None => KEEPALIVE_RETRIES,
    });
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        socket.set_tcp_notsent_lowat(NOTSENT_LOWAT)?;
        // Questions are asked of silent peers only: this is for one that owes an acknowledgement.
        if dead_peer.is_some() {
            socket.set_tcp_user_timeout(dead_peer)?;
        }
    }
    Ok(())
}

/// How a listening socket differs from others.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sharing {
    /// `[::]` is for IPv6 alone.
    pub(crate) ipv6_only: bool,
    /// Other sockets may be bound to the same port.
    pub(crate) reuse_port: bool,
}

/// Listens on one address; `[::]` accepts IPv4 as well, unless told otherwise.
pub(crate) fn listen(address: SocketAddr, sharing: Sharing) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(sharing.ipv6_only || !address.ip().is_unspecified())?;
    }
    // On Windows this option would let another program take the port over.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if sharing.reuse_port {
        reuse_port(&socket)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    // The kernel cuts this to its own maximum.
    socket.listen(i32::MAX)?;
    TcpListener::from_std(socket.into())
}

#[cfg(unix)]
fn reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(unix))]
fn reuse_port(_: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// `tcp://127.0.0.1:59705`; an IPv4 peer of a dual-stack listener in its IPv4 form.
pub(crate) fn text(address: SocketAddr) -> String {
    format!(
        "tcp://{}",
        SocketAddr::new(address.ip().to_canonical(), address.port())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_original_writes_them() {
        for (address, expected) in [
            ("127.0.0.1:59705", "tcp://127.0.0.1:59705"),
            ("[::1]:80", "tcp://[::1]:80"),
            ("[::ffff:10.0.0.1]:80", "tcp://10.0.0.1:80"),
        ] {
            assert_eq!(text(address.parse().unwrap()), expected);
        }
    }

    #[tokio::test]
    async fn both_ends_have_their_options_set() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), Sharing::default()).unwrap();
        let address = listener.local_addr().unwrap();
        let (dialled, accepted) = tokio::join!(dial(address, None), listener.accept());
        let (dialled, (accepted, _)) = (dialled.unwrap(), accepted.unwrap());
        set_up(&accepted, None).unwrap();
        for stream in [&dialled, &accepted] {
            let socket = SockRef::from(stream);
            assert!(socket.tcp_nodelay().unwrap());
            assert!(socket.keepalive().unwrap());
            #[cfg(target_os = "linux")]
            {
                assert_eq!(socket.tcp_notsent_lowat().unwrap(), NOTSENT_LOWAT);
                assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
            }
        }
    }

    /// docs/wire K6
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_dead_peer_is_asked_for_and_waited_for_so_long() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), Sharing::default()).unwrap();
        let address = listener.local_addr().unwrap();
        let limit = Duration::from_secs(6);
        let (dialled, accepted) = tokio::join!(dial(address, Some(limit)), listener.accept());
        let (dialled, (accepted, _)) = (dialled.unwrap(), accepted.unwrap());
        set_up(&accepted, Some(limit)).unwrap();
        for stream in [&dialled, &accepted] {
            let socket = SockRef::from(stream);
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(limit));
            assert_eq!(socket.tcp_keepalive_time().unwrap(), limit / 3);
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), limit / 3);
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), 2);
        }
    }

    /// docs/wire K6: what is written to who never takes it is owed, and so is what nobody acknowledges.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up() {
        use tokio::io::AsyncWriteExt as _;

        let listener = listen("127.0.0.1:0".parse().unwrap(), Sharing::default()).unwrap();
        let address = listener.local_addr().unwrap();
        let limit = Some(Duration::from_secs(1));
        let (dialled, accepted) = tokio::join!(dial(address, limit), listener.accept());
        let (mut dialled, _silent) = (dialled.unwrap(), accepted.unwrap());
        let error = loop {
            if let Err(error) = dialled.write_all(&[0; 65_536]).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
