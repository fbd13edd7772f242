//! The protocol without I/O: packets in, packets out, time and randomness as arguments.
//!
//! [`Engine`] is one end of a session. [`Incoming::decode`] reads a packet and compares its checksum:
//! the expensive half of receiving, which needs no engine and so no lock. [`Packet`] and [`Compact`]
//! are the two formats: the original's, and the short one of two towlines (docs/wire W2, W48).

mod checksum;
mod compact;
mod config;
mod engine;
mod error;
mod file_decoder;
mod nonce;
mod numbers;
mod other;
mod packet;
mod rate;
mod receiver;
mod rtt;
mod sender;
mod termination;
mod timers;
mod value_header;
mod values;

pub use checksum::{CHECKSUM_LEN, checksum};
pub use compact::{Compact, CompactKind, compact_tag};
pub use config::{AckMode, Config, ConfigError};
pub use engine::{
    CloseReason, Dropped, Engine, EngineEvent, Incoming, Now, OpenError, ReadState, SendError,
    Stats, Transmit,
};
pub use error::{DecodeError, FileMismatch};
pub use file_decoder::{FileDecoder, FileProgress};
pub use nonce::{NONCE_LEN, session_nonce};
pub use numbers::{TcpAction, TcpEvent, TcpState};
pub use other::{BigFile, ByteAccount, SynAckAck, TerminatedError};
pub use packet::Packet;
pub use rtt::{PeerRtt, RttEstimator, RttModel};
pub use sender::Payload;
