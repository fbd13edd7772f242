//! Calls and streams in the wire format of rpc25519 v1.6.8.
//!
//! A [`Client`] calls services by name; a [`Server`] runs a handler for each request. Either end can
//! be the Go original. Messages are opaque bytes with a small header; any number of calls, uploads
//! and downloads share one connection, over `tls://`, `tcp://`, `unix://`, `mem://` or any byte
//! stream.
//!
//! ```text
//!  Client ──call──▶ proto::Client ──frames──▶ transport ──▶ proto::Server ──▶ your handler
//!         ◀─reply── (tables, pure)            (any bytes)   (tables, pure)
//! ```
//!
//! The two types to know are [`Client`] and [`Server`]; [`Message`] is what they exchange. A server
//! pushes through [`Connections`](server::Connections), a client hears it through a
//! [`Listener`](client::Listener). Above messages are typed services: see [`service`](mod@service).
//!
#![cfg_attr(feature = "tokio", doc = "```")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! use std::convert::Infallible;
//!
//! use tokio_util::sync::CancellationToken;
//! use towline_identity::Peer;
//! use towline_rpc::{Client, Context, Message, Server};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::builder()
//!     .call("echo", |_: Context, request: Message| async move {
//!         Ok::<_, Infallible>(Message::from_body(request.body))
//!     })
//!     .build();
//!
//! let (here, there) = tokio::io::duplex(64 << 10);
//! let peer = Peer::unauthenticated("mem://example");
//! let serving = tokio::spawn({
//!     let peer = peer.clone();
//!     async move { server.serve_io(there, peer, "mem://b", "mem://a", CancellationToken::new()).await }
//! });
//! let client = Client::builder().from_io(here, peer, "mem://a", "mem://b");
//! let reply = client.call(Message::request("echo", "hello")).await?.into_result()?;
//! assert_eq!(reply.body, "hello");
//! client.close().await;
//! serving.await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! * `json` (default): messages, headers and the bodies of typed calls as JSON.
//! * `macros` (default): `#[service]`, for typed services.
//! * `metrics`: numbers for the recorder of the `metrics` facade, see below.
//! * `tower`: middleware as `tower` services and layers, see the module `layers`.
//! * `tokio` (default): clients and servers. Without it only [`proto`] is built, which does no I/O.
//!
//! # Metrics
//!
//! With the feature `metrics`. Times are in seconds. A service is what the caller named; at a server only names that it has.
//!
//! | name | kind | labels |
//! | --- | --- | --- |
//! | `towline_rpc_client_calls_total` | counter | `service`; `outcome`: `ok`, `failed` (by the function), `refused`, `not_begun`, `timed_out`, `closed`, `cancelled`, `other` |
//! | `towline_rpc_client_call_seconds` | histogram | `service` |
//! | `towline_rpc_client_in_flight` | gauge | |
//! | `towline_rpc_server_calls_total` | counter | `service`; `outcome`: `ok`, `failed`, `panicked`, `timed_out`, `cancelled` |
//! | `towline_rpc_server_call_seconds` | histogram | `service` |
//! | `towline_rpc_server_running` | gauge | |
//! | `towline_rpc_server_refused_total` | counter | `reason`: `unknown`, `not_authorised`, `busy` |
//! | `towline_rpc_pool_events_total` | counter | `event`: `connected`, `gone`, `given_up` |
//!
//! Streams count at the server as calls do, from their beginning to their reply; at the client only calls are counted. Each attempt
//! of a pool is a call.

pub mod proto;

#[cfg(feature = "tokio")]
pub mod client;
#[cfg(feature = "tokio")]
mod close;
#[cfg(feature = "tokio")]
mod driver;
#[cfg(feature = "tokio")]
mod error;
#[cfg(feature = "tower")]
pub mod layers;
#[cfg(feature = "tokio")]
mod measure;
#[cfg(feature = "tokio")]
pub mod pool;
#[cfg(feature = "tokio")]
pub mod server;
#[cfg(feature = "tokio")]
pub mod service;
#[cfg(feature = "tokio")]
mod trace;

#[cfg(feature = "tokio")]
pub use self::{
    client::Client,
    close::CloseReason,
    driver::VirtualWallClock,
    error::{
        CallError, ConnectError, ListenerError, NetRpcError, NoSuchService, PushError, SendError,
        StreamError,
    },
    pool::Pool,
    server::{Context, Server},
    trace::{NoTraceContext, TraceContext},
};
pub use proto::{Compression, Message, RemoteError};
#[cfg(feature = "macros")]
pub use towline_rpc_macros::service;
