//! Streams, calls and files over connections that know each other by their Ed25519 keys.
//!
//! towline is a toolkit: each layer is a crate of its own and stands here under one roof.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`rpc`] | calls, uploads and downloads in the wire format of rpc25519 v1.6.8 |
//! | [`swp`] | reliable, ordered sessions over a message bus or datagrams |
//! | `sync` | files over [`rpc`]: verified, atomic, beneath one directory |
//! | [`mux`] | many streams on one connection: yamux and muxado |
//! | `server` | the accept loop: limits, back-off, drain |
//! | `sim` | seeded networks in virtual time, to test on |
//! | `transport` | endpoint URLs (`tls://host:8443`) and the connections they name |
//! | `identity` | authorities, certificates and keys |
//! | [`codec`] | greenpack, the encoding of the wire |
//!
//! ```no_run
//! use std::sync::Arc;
//! use towline::{identity::Identity, rpc::{Client, Message}};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let identity = Arc::new(Identity::load("certs", "client")?);
//! let client = Client::builder().identity(identity).connect("tls://127.0.0.1:8443").await?;
//! let reply = client.call(Message::request("customEcho", "hello")).await?.into_result()?;
//! println!("{}", String::from_utf8_lossy(&reply.body));
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! * `aws-lc-rs`: TLS by AWS-LC in place of ring, with post-quantum key agreement (X25519MLKEM768) towards
//!   peers that have it too.
//! * `json` (default): messages, headers and values of [`Greenpack`] types as JSON.
//! * `macros` (default): `#[derive(Greenpack)]` and `#[towline::service]`.
//! * `metrics`: numbers of calls and servers for the recorder of the `metrics` facade.
//! * `nats`: sessions through a NATS broker, `nats://` and `tls+nats://`; `broker` starts one, for tests and
//!   demonstrations; `sim` has seeded networks in virtual
//!   time.
//! * `serde`: settings of servers from a file.
//! * `tower`: middleware around calls as services and layers of `tower`.
//! * `tokio` (default): everything that does I/O. Without it the pure protocol cores remain:
//!   [`codec`], `mux::proto`, `rpc::proto` and `swp::proto`.

pub use towline_codec as codec;
/// The trait, and the derive macro of the same name for who depends on this crate alone.
pub use towline_codec::greenpack::derive::Greenpack;
#[cfg(feature = "macros")]
pub use towline_codec_macros::GreenpackOfTowline as Greenpack;
#[cfg(feature = "tokio")]
pub use towline_identity as identity;
pub use towline_mux as mux;
pub use towline_rpc as rpc;
#[cfg(feature = "macros")]
pub use towline_rpc_macros::service_of_towline as service;
#[cfg(feature = "tokio")]
pub use towline_server as server;
#[cfg(feature = "sim")]
pub use towline_sim as sim;
pub use towline_swp as swp;
pub use towline_sync as sync;
#[cfg(feature = "tokio")]
pub use towline_transport as transport;

/// The programs in the README compile.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
