//! The one accept loop of towline.
//!
//! A [`Server`] takes bound listeners and a handler, and runs the handler once for every connection,
//! in a task of its own, after the handshake. It holds the number of connections below a limit,
//! survives failing accepts, contains handlers that panic, and ends in order: nobody new, everybody
//! told, a deadline, then the rest is cut off.
//!
//! It does not know what the bytes of a connection mean.
//!
//! ```
//! use std::time::Duration;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use towline_server::Server;
//! use towline_transport::{ConnectOptions, ListenOptions, Listener, connect};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let endpoint = "mem://greeter".parse()?;
//! let listener = Listener::bind(&endpoint, &ListenOptions::new()).await?;
//! let server = Server::builder().serve([listener], |mut connection, _stopping| async move {
//!     let greeted = connection.write_all(b"hello").await;
//!     if let Err(error) = greeted {
//!         eprintln!("{} left early: {error}", connection.peer());
//!     }
//! })?;
//!
//! let mut text = String::new();
//! connect(&endpoint, &ConnectOptions::new()).await?.read_to_string(&mut text).await?;
//! assert_eq!(text, "hello");
//! assert_eq!(server.counters().accepted, 1);
//! server.shutdown(Duration::from_secs(5)).await;
//! # Ok(())
//! # }
//! ```

mod accept;
mod accept_loop;
mod complaints;
mod counters;
mod outcome;
mod server;

pub use accept::{Accept, Handshake};
pub use counters::Counters;
pub use outcome::Outcome;
pub use server::{Builder, ConfigError, Drained, Server};
