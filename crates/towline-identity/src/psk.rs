//! The pre-shared-key layer, without I/O: keys from files, the handshake, and sealed records (docs/wire
//! R1 to R17).
//!
//! A second lock beside TLS: whoever does not have the file understands nothing, even with a stolen
//! authority. [`Layer`] is made once for each end; every connection then exchanges one [hello](Hello)
//! in each direction, which gives a [`SessionKey`], and after that records only, made by a [`Sealer`]
//! and read by an [`Opener`].
//!
//! ```
//! use std::sync::Arc;
//! use std::time::SystemTime;
//! use towline_identity::{psk, Authorisation, Authority, AuthorityOptions, LeafOptions, PreSharedKey, Trust};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("psk.binary");
//! PreSharedKey::create(&path)?;
//! let authority = Authority::generate(&AuthorityOptions::new())?;
//! let layer = |name: &str| -> Result<Arc<psk::Layer>, Box<dyn std::error::Error>> {
//!     let identity = Arc::new(authority.issue(&LeafOptions::new(name))?);
//!     let key = PreSharedKey::load(&path)?;
//!     Ok(Arc::new(psk::Layer::new(key, identity, &Trust::authority(), &Authorisation::anyone())?))
//! };
//! let (client, server) = (layer("client")?, layer("server")?);
//!
//! // In earnest the 32 bytes are random.
//! # #[expect(clippy::disallowed_methods, reason = "an example has to start somewhere")]
//! let now = SystemTime::now();
//! let (dialling, hello) = client.dial([1; 32], now)?;
//! let (accepted, reply) = server.accept("tcp://192.0.2.1:4000", &hello, [2; 32], now)?;
//! let dialled = dialling.finish("tcp://192.0.2.2:8443", &reply, now)?;
//!
//! let mut sealer = psk::Sealer::new(&dialled.key, psk::Role::Client, [3; 12]);
//! let mut opener = psk::Opener::new(&accepted.key, psk::Role::Client, psk::MAX_RECORD);
//! let mut record = vec![0; psk::BEFORE];
//! record.extend_from_slice(b"\xb3\x5d\x18\x39\xac\x8e\x1d\x00a body");
//! record.extend_from_slice(&[0; psk::BEHIND]);
//! sealer.seal(&mut record)?;
//! let (length, rest) = record.split_first_chunk_mut::<8>().ok_or("too short")?;
//! assert_eq!(opener.length(*length)?, rest.len());
//! assert_eq!(&opener.open(rest)?[8..], b"a body");
//! # Ok(())
//! # }
//! ```

mod handshake;
mod hello;
mod key;
mod nonce;
mod record;

pub use handshake::{Dialling, HandshakeError, Layer, Session};
pub use hello::{Hello, HelloError, MAX_HELLO};
pub use key::{PSK_BYTES, PreSharedKey};
pub use record::{
    BEFORE, BEHIND, MAX_RECORD, MIN_RECORD, Opener, RecordError, SealError, Sealer, SessionKey,
};

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The one that dialled, and speaks first.
    Client,
    /// The one that was dialled.
    Server,
}
