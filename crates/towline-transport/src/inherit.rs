//! Listening on sockets that somebody else has bound: a supervisor, or this program's predecessor.

use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

use crate::endpoint::{Address, Endpoint};
use crate::listen::{Bound, ListenError, ListenOptions, Listener};

impl Listener {
    /// Listens on a TCP socket that is bound already. The endpoint says what is spoken on it, `tcp` or
    /// `tls`; its host and port are replaced by the socket's.
    ///
    /// # Errors
    ///
    /// [`ListenError`]; [`ListenError::Bind`] if the endpoint is neither, or the socket cannot be used.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the socket.
    pub async fn adopt(
        socket: TcpListener,
        endpoint: &Endpoint,
        options: &ListenOptions,
    ) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Bind {
            endpoint: endpoint.to_string(),
            source,
        };
        if !matches!(
            endpoint.address,
            Address::Tcp { .. } | Address::HttpConnect { .. } | Address::Tls { .. }
        ) {
            let kind = io::Error::new(
                io::ErrorKind::InvalidInput,
                "a TCP socket was inherited for it: name it tcp://, connect+tcp:// or tls://",
            );
            return Err(failed(kind));
        }
        let local: SocketAddr = socket.local_addr().map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let bound = tokio::net::TcpListener::from_std(socket).map_err(failed)?;
        let named = endpoint.clone().with_address(local);
        Self::with_socket(&named, options, Some(Bound::Tcp(bound))).await
    }

    /// As [`adopt`](Self::adopt), on a Unix socket. The endpoint is `unix://`, with the socket's path, which
    /// replaces the endpoint's if the system tells it. The file belongs to whoever bound the socket: it is
    /// not removed, and its mode not changed.
    ///
    /// # Errors
    ///
    /// As [`adopt`](Self::adopt).
    ///
    /// # Cancel safety
    ///
    /// As [`adopt`](Self::adopt).
    #[cfg(unix)]
    pub async fn adopt_unix(
        socket: std::os::unix::net::UnixListener,
        endpoint: &Endpoint,
        options: &ListenOptions,
    ) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Bind {
            endpoint: endpoint.to_string(),
            source,
        };
        if !matches!(endpoint.address, Address::Unix { .. }) {
            let kind = io::Error::new(
                io::ErrorKind::InvalidInput,
                "a Unix socket was inherited for it: name it unix://",
            );
            return Err(failed(kind));
        }
        let mut named = endpoint.clone();
        let bound_to = socket.local_addr().map_err(failed)?;
        if let (Address::Unix { path }, Some(there)) = (&mut named.address, bound_to.as_pathname())
        {
            *path = there.to_owned();
        }
        socket.set_nonblocking(true).map_err(failed)?;
        let bound = tokio::net::UnixListener::from_std(socket).map_err(failed)?;
        Self::with_socket(&named, options, Some(Bound::Unix(bound))).await
    }

    /// Listens on all sockets of the endpoint's kind that this process was started with, in their order: of
    /// TCP for `tcp` and `tls`, Unix sockets for `unix`. Others are left alone. They are those of systemd's
    /// socket activation and of programs that do the same (`LISTEN_FDS` and `LISTEN_PID`). None if it was
    /// started without. A supervisor that keeps the sockets lets a server be exchanged without refusing
    /// anybody: the old one drains while the new one accepts.
    ///
    /// # Errors
    ///
    /// As [`adopt`](Self::adopt).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the sockets.
    pub async fn inherited(
        endpoint: &Endpoint,
        options: &ListenOptions,
    ) -> Result<Vec<Self>, ListenError> {
        let mut sockets = ListenFd::from_env();
        let mut listeners = Vec::new();
        for number in 0..sockets.len() {
            // One of another kind stays where it is, for somebody else.
            #[cfg(unix)]
            if matches!(endpoint.address, Address::Unix { .. }) {
                if let Ok(Some(socket)) = sockets.take_unix_listener(number) {
                    listeners.push(Self::adopt_unix(socket, endpoint, options).await?);
                }
                continue;
            }
            if let Ok(Some(socket)) = sockets.take_tcp_listener(number) {
                listeners.push(Self::adopt(socket, endpoint, options).await?);
            }
        }
        Ok(listeners)
    }
}
