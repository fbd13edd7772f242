//! The one accept loop of towline, and what a server for very many sockets needs around it.
//!
//! A [`Server`] takes bound listeners, holds the number of connections below its limits, shakes hands,
//! survives failing accepts, contains what panics, and ends in order: nobody new, everybody told, a
//! deadline, then the rest is cut off. It serves connections in one of two ways:
//!
//! * [`Builder::serve`] runs a function for every connection, in a task of its own;
//! * [`Builder::start`] hands [`Socket`]s to a [`Strategy`]: [`TaskPerConnection`] or [`WorkerPool`],
//!   with handlers of reads or packets on either, or your own. A socket has a number, counters, time
//!   limits, hooks for its end, and one queue through which everybody sends in order.
//!
//! It does not know what the bytes of a connection mean.
//!
//! ```
//! use std::time::Duration;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use towline_codec::framing::Framing;
//! use towline_server::{Packets, Server, TaskPerConnection, packet_fn};
//! use towline_transport::{ConnectOptions, ListenOptions, Listener, connect};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let lines = Framing::separator("\n")?;
//! let endpoint = "mem://greeter".parse()?;
//! let listener = Listener::bind(&endpoint, &ListenOptions::new()).await?;
//! let greeter = packet_fn(|socket, name| async move {
//!     let name = String::from_utf8_lossy(&name);
//!     if let Err(error) = socket.send(format!("hello, {name}\n")) {
//!         eprintln!("{socket:?}: {error}");
//!     }
//! });
//! let server = Server::builder().start(
//!     [listener],
//!     TaskPerConnection::reading(Packets::new(lines, 80, greeter)),
//! )?;
//!
//! let mut client = connect(&endpoint, &ConnectOptions::new()).await?;
//! client.write_all(b"world\n").await?;
//! let mut text = [0; 13];
//! client.read_exact(&mut text).await?;
//! assert_eq!(&text, b"hello, world\n");
//! assert_eq!(server.sockets()[0].total_read(), 6);
//! server.shutdown(Duration::from_secs(5)).await;
//! # Ok(())
//! # }
//! ```

mod accept;
mod accept_loop;
mod admission;
mod broadcast;
mod builder;
mod client;
mod clock;
mod complaints;
#[cfg(feature = "serde")]
mod config;
mod connection_task;
mod counters;
mod group;
mod handler;
mod metrics;
mod network;
mod outcome;
mod patience;
mod places;
mod preamble;
mod proxy;
mod registry;
mod run;
mod server;
mod socket;
mod strategy;
mod target;
mod time_limits;
mod timing;
mod turn;

pub use accept::{Accept, Handshake};
pub use broadcast::{BroadcastReport, Broadcaster, SlowConsumer};
pub use builder::{Builder, ConfigError};
pub use client::Client;
#[cfg(feature = "serde")]
pub use config::{Mode, ServerConfig, ServerConfigError, TcpConfig, TlsFiles};
pub use connection_task::ConnectionTask;
pub use counters::Counters;
pub use group::Group;
#[cfg(feature = "tower")]
pub use handler::TowerService;
pub use handler::{
    Ended, PacketFn, PacketHandler, PacketState, Packets, ReadFn, ReadHandler, packet_fn, read_fn,
};
pub use metrics::{Closed, ServerMetrics};
pub use network::{Network, ParseNetworkError};
pub use outcome::Outcome;
pub use preamble::AtLimit;
pub use proxy::{Parsed, ProxyError, ProxyHeader, ProxyProtocol};
pub use run::{RunError, run_until_signal, run_until_signal_reloading};
pub use server::{Aborted, Drained, Server, ServerHandle};
pub use socket::{CloseReason, Pushed, SendError, Socket, SocketStream, UnwrapError, WeakSocket};
pub use strategy::{PoolConfigError, Strategy, TaskPerConnection, WorkerPool};
pub use time_limits::TimeLimits;
