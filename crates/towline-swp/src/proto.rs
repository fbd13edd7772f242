//! The protocol without I/O.

mod checksum;
mod compact;
mod error;
mod nonce;
mod numbers;
mod other;
mod packet;
mod values;

pub use checksum::{CHECKSUM_LEN, checksum};
pub use compact::{Compact, CompactKind, compact_tag};
pub use error::DecodeError;
pub use nonce::{NONCE_LEN, session_nonce};
pub use numbers::{TcpAction, TcpEvent, TcpState};
pub use other::{BigFile, ByteAccount, SynAckAck, TerminatedError};
pub use packet::Packet;
