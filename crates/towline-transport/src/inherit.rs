//! Listening on sockets that somebody else has bound: a supervisor, or this program's predecessor.

use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

use crate::endpoint::{Address, Endpoint};
use crate::listen::{ListenError, ListenOptions, Listener};

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
        if !matches!(endpoint.address, Address::Tcp { .. } | Address::Tls { .. }) {
            let kind = io::Error::new(
                io::ErrorKind::InvalidInput,
                "a TCP socket was inherited for it: name it tcp:// or tls://",
            );
            return Err(failed(kind));
        }
        let local: SocketAddr = socket.local_addr().map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let bound = tokio::net::TcpListener::from_std(socket).map_err(failed)?;
        let named = endpoint.clone().with_address(local);
        Self::with_socket(&named, options, Some(bound)).await
    }

    /// Listens on all TCP sockets that this process was started with, in their order: those of systemd's
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
            let socket = sockets
                .take_tcp_listener(number)
                .map_err(|source| ListenError::Bind {
                    endpoint: endpoint.to_string(),
                    source,
                })?;
            if let Some(socket) = socket {
                listeners.push(Self::adopt(socket, endpoint, options).await?);
            }
        }
        Ok(listeners)
    }
}
