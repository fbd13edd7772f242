//! Seeded links in virtual time, for testing protocols without I/O.
//!
//! A protocol core that takes time and randomness as arguments can be run a thousand times a second
//! over a network that delays, cuts up, stalls and breaks, and every run can be repeated from one
//! number. This crate is that network. It knows bytes and nothing else: no protocol, no socket, no
//! clock. It is not a mock of TCP's interior: what a byte stream guarantees (order, no loss before
//! its end) a [`Link`] guarantees too. A [`PacketNet`] guarantees nothing: it loses, delays, reorders,
//! duplicates and damages whole packets between any number of addresses.
//!
//! The two types to know are [`Node`], what a test writes around its core, and [`Pair`], which runs
//! two of them:
//!
//! ```text
//!             poll_bytes                      handle_bytes
//!  ┌────────┐ ─────────> ┌─────────────────┐ ─────────────> ┌────────┐
//!  │ Node A │            │ Link: delay,    │                │ Node B │
//!  │        │ <───────── │ jitter, chop,   │ <───────────── │        │
//!  └────────┘            │ stall, cut      │                └────────┘
//!       │                └─────────────────┘                     │
//!       └──────── deadline ──> now jumps to the next event <─────┘
//! ```
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use bytes::Bytes;
//! use towline_sim::{Conditions, Node, Pair, Rng};
//!
//! /// Says its lines, hears the other's.
//! struct Speaker { to_say: Vec<&'static str>, heard: Vec<u8>, over: bool }
//!
//! impl Node for Speaker {
//!     fn poll_bytes(&mut self, _now: Instant) -> Option<Bytes> {
//!         self.to_say.pop().map(Bytes::from)
//!     }
//!     fn handle_bytes(&mut self, _now: Instant, bytes: &[u8]) {
//!         self.heard.extend_from_slice(bytes);
//!     }
//!     fn handle_end(&mut self, _now: Instant) { self.over = true; }
//! }
//!
//! let speaker = |to_say| Speaker { to_say, heard: Vec::new(), over: false };
//! # #[expect(clippy::disallowed_methods, reason = "an example has to start somewhere")]
//! let epoch = Instant::now();
//! let conditions = Conditions::default().delay(Duration::from_millis(40)).chop(3);
//! let mut pair = Pair::new(
//!     speaker(vec!["world", "hello "]), speaker(vec![]), &conditions, Rng::from_seed(1), epoch,
//! );
//! pair.drive_bounded(1000)?;
//! assert_eq!(pair.b.heard, b"hello world");
//! assert!(pair.elapsed() >= Duration::from_millis(40));
//! # Ok::<(), towline_sim::Livelock>(())
//! ```
//!
//! The run depends on the seed and on the nodes alone: [`Pair::transcript`] of two runs of one seed
//! is equal, and a test that compares them finds a node that is not deterministic.
//!
//! [`Seeds`] runs a simulation under as many seeds as the environment asks for, and names the one that failed.
//!
//! What is driven by tokio, whole clients and servers, runs over a `StreamNet` (feature `tokio`): byte streams
//! under the same conditions, in the time of the runtime, which is virtual when it is paused.

mod conditions;
mod link;
mod packets;
mod pair;
mod rng;
mod seeds;
#[cfg(feature = "tokio")]
mod streams;

pub use conditions::Conditions;
pub use link::{Delivery, Link};
pub use packets::{Counters, PacketConditions, PacketNet, Passage};
pub use pair::{Livelock, Node, Pair};
pub use rng::Rng;
pub use seeds::Seeds;
#[cfg(feature = "tokio")]
pub use streams::{SimStream, StreamListener, StreamNet};
