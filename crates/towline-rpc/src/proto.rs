//! The protocol without I/O: bytes in, bytes out, time and randomness as arguments.
//!
//! A connection is made of two pure parts. A [`FrameReader`] cuts the byte stream into messages; it
//! does the expensive work of receiving (decompression, decoding) and knows nothing about calls. A
//! [`Client`] or [`Server`] keeps the tables of calls and streams and the queue of what is to be
//! written; every one of its methods is short, so that a driver may keep it behind a lock that many
//! tasks share.
//!
//! ```
//! use std::time::Instant;
//!
//! use bytes::BytesMut;
//! use towline_codec::{Text, greenpack::Timestamp};
//! use towline_rpc::proto::{
//!     Client, ClientEvent, Compression, Concurrency, FrameReader, Limits, Message, Now, Server, ServerEvent,
//! };
//!
//! # #[expect(clippy::disallowed_methods, reason = "an example has to start somewhere")]
//! let now = Now { instant: Instant::now(), wall: Timestamp::new(1_800_000_000, 0) };
//! let (here, there) = (Text::from_static("mem://a"), Text::from_static("mem://b"));
//! let mut client = Client::new(Limits::default(), Compression::S2, here.clone(), there.clone(), [1; 32], now);
//! let mut server =
//!     Server::new(Limits::default(), Concurrency::default(), Compression::S2, true, there, here, now);
//! let (mut at_client, mut at_server) = (FrameReader::new(), FrameReader::new());
//!
//! // A call goes out ...
//! let mut request = Message::request("greet", "world");
//! client.begin_call(now, &mut request, None, "the waiter");
//! client.enqueue(now, &request)?;
//! let mut wire = BytesMut::new();
//! while let Some(piece) = client.poll_transmit() {
//!     wire.extend_from_slice(&piece);
//!     client.written(piece.len());
//! }
//!
//! // ... arrives, is answered ...
//! while let Some(received) = at_server.handle_input(&mut wire)? {
//!     server.handle_message(now, received)?;
//! }
//! let Some(ServerEvent::Start { key, request, .. }) = server.poll_event() else { panic!() };
//! let answer = Message::from_body([b"hello ", &request.body[..]].concat());
//! let reply = server.reply(now, key, answer).expect("the call is open");
//! server.enqueue(now, &reply)?;
//!
//! // ... and the answer finds its waiter.
//! let mut wire = BytesMut::new();
//! while let Some(piece) = server.poll_transmit() {
//!     wire.extend_from_slice(&piece);
//! }
//! while let Some(received) = at_client.handle_input(&mut wire)? {
//!     client.handle_message(now, received)?;
//! }
//! let Some(ClientEvent::Ended { waiter, result }) = client.poll_event() else { panic!() };
//! assert_eq!((waiter, &result.expect("a reply").body[..]), ("the waiter", &b"hello world"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod alive;
mod backoff;
mod call_id;
mod call_type;
mod client;
mod compression;
mod credit;
mod frame;
mod hdr;
mod inbound;
#[cfg(feature = "json")]
mod json;
mod link;
mod message;
mod net_rpc;
mod outbox;
pub(crate) mod refusal;
mod server;
mod timeouts;
mod violation;

pub use backoff::{Backoff, ReconnectPolicy, ReconnectPolicyError};
#[cfg(feature = "tokio")]
pub(crate) use call_id::CallIds;
pub use call_type::CallType;
pub use client::{Client, ClientEvent, Failed, Heard, ListenerKey, StreamEnd, Taken, WhenFull};
pub(crate) use compression::BYTE_OFF_FOR_MESSAGE;
pub use compression::{Compression, MAX_DECOMPRESSED, UnknownCompressionName};
pub use frame::{
    EncodedFrame, FrameReader, MAX_BODY, MAX_FRAME, Received, TooLarge, USER_MAX_PAYLOAD,
};
pub use hdr::{Args, Hdr, MAX_ARGS};
pub use inbound::OutOfSync;
#[cfg(feature = "tokio")]
pub(crate) use inbound::weight;
#[cfg(feature = "json")]
pub use json::JsonError;
pub use link::{Limits, Now};
pub use message::{Message, RemoteError};
#[cfg(feature = "tokio")]
pub(crate) use net_rpc::original_words;
pub use net_rpc::{NetRpcRequest, NetRpcResponse};
pub use server::{CallKey, Concurrency, PartTaken, Server, ServerEvent, ServiceKind};
pub use violation::Violation;
