//! Typed services: a trait, and from it a server, a client and a mock.
//!
//! [`service`](macro@crate::service) is written on a trait. Its methods take and return types that have a
//! form in greenpack ([`Greenpack`](towline_codec::greenpack::Greenpack), derived for one's own), one value
//! or streams of them, in either direction. What is on the wire is ordinary: calls, uploads, downloads and
//! bistreams named `Trait.method` (docs/wire V1 to V8), so that a Go program can call it, and be called.
//!
#![cfg_attr(feature = "macros", doc = "```")]
#![cfg_attr(not(feature = "macros"), doc = "```ignore")]
//! use futures_util::{Stream, StreamExt as _, stream};
//! use towline_rpc::{Context, Server, service::{Incoming, ServiceError}};
//!
//! #[towline_rpc::service]
//! trait Arithmetic {
//!     /// One number by another.
//!     async fn divide(&self, cx: &Context, a: i64, b: i64) -> Result<i64, String>;
//!     /// The numbers from 1.
//!     fn count(&self, cx: &Context, to: u64) -> impl Stream<Item = u64>;
//!     /// Their sum.
//!     async fn sum(&self, cx: &Context, numbers: Incoming<i64>) -> Result<i64, String>;
//!     /// Each of them, squared.
//!     fn square(&self, cx: &Context, numbers: Incoming<i64>) -> impl Stream<Item = i64>;
//! }
//!
//! struct Abacus;
//!
//! impl Arithmetic for Abacus {
//!     async fn divide(&self, _: &Context, a: i64, b: i64) -> Result<i64, String> {
//!         a.checked_div(b).ok_or_else(|| "division by zero".to_owned())
//!     }
//!
//!     fn count(&self, _: &Context, to: u64) -> impl Stream<Item = u64> {
//!         stream::iter(1..=to)
//!     }
//!
//!     async fn sum(&self, _: &Context, mut numbers: Incoming<i64>) -> Result<i64, String> {
//!         let mut sum = 0;
//!         while let Some(number) = numbers.next().await {
//!             sum += number.map_err(|error| error.to_string())?;
//!         }
//!         Ok(sum)
//!     }
//!
//!     fn square(&self, _: &Context, numbers: Incoming<i64>) -> impl Stream<Item = i64> {
//!         numbers.filter_map(|number| async { number.ok().map(|number| number * number) })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::builder().service(ArithmeticServer::new(Abacus))?.build();
//! let client = ArithmeticClient::new(server.connect_here());
//!
//! assert_eq!(client.divide(6, 3).await?, 2);
//! let failed = client.divide(1, 0).await;
//! assert!(matches!(failed, Err(ServiceError::Failed(text)) if text == "division by zero"));
//! let counted: Vec<_> = client.count(3).await?.map(Result::unwrap).collect().await;
//! assert_eq!(counted, [1, 2, 3]);
//! assert_eq!(client.sum(stream::iter([1, 2, 3])).await?, 6);
//! let mut squares = client.square(stream::iter([2, 3])).await?;
//! assert_eq!(squares.next().await.transpose()?, Some(4));
//! # Ok(())
//! # }
//! ```

mod arguments;
mod caller;
mod encoding;
mod error;
mod listing;
mod opened;
mod registry;
mod streams;

pub use self::{
    arguments::Arguments,
    caller::Caller,
    encoding::Encoding,
    error::{NoError, ServiceError},
    listing::{LISTING, MethodInfo, MethodKind, ServiceInfo},
    registry::{Registry, TypedService},
    streams::{Incoming, IncomingError, Items, Outgoing},
};

pub(crate) use self::opened::{Opened, Watched};

/// What generated code uses.
#[doc(hidden)]
pub mod generated {
    pub use std::sync::Arc;

    pub use futures_core::Stream;
    pub use futures_util::{StreamExt, future::BoxFuture, stream::BoxStream};
}
