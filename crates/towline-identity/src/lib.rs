//! Who may talk to whom: Ed25519 authorities, the identities they vouch for, and the TLS
//! configurations made from both.
//!
//! An [`Authority`] is a key that signs certificates. An [`Identity`] is one program's own key, the
//! certificate the authority gave it, and the authority's certificate, by which it judges the other
//! end. Two programs whose identities come from the same authority can prove themselves to each
//! other; nobody else can.
//!
//! This crate opens no socket and knows no async runtime: it reads and writes a few small files
//! (blocking), and makes configurations that [`tls`] hands to a TLS stack. It does not revoke: an
//! authority's word ends when its certificate expires.
//!
//! Who of them may come is said by a [`Trust`], such as a file of [`KnownKeys`], and by an
//! [`Authorisation`].
//!
//! ```text
//!  private/ca.key + ca.crt ──Authority──issue──▶ certs/NAME.key + NAME.crt + ca.crt ──Identity──▶ tls::client_config
//!                                                                                            └──▶ tls::server_config
//! ```
//!
//! ```
//! use towline_identity::{Authority, AuthorityOptions, CipherSuite, LeafOptions, tls};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let authority = Authority::generate(&AuthorityOptions::new())?;
//! let server = authority.issue(&LeafOptions::new("node"))?;
//! let client = authority.issue(&LeafOptions::new("client").email("ada@example.com"))?;
//!
//! let listening = tls::server_config(&server, CipherSuite::default())?;
//! let dialling = tls::client_config(&client, CipherSuite::default())?;
//! # let _ = (listening, dialling);
//! println!("the client is {} <{}>", client.public_key(), client.emails().join(", "));
//! # Ok(())
//! # }
//! ```

mod authorise;
mod authority;
mod certificate;
mod changes;
mod cipher;
mod describe;
mod error;
mod escape;
mod files;
mod find;
mod fingerprint;
mod identity;
mod inspect;
mod key_file;
mod known_keys;
mod passphrase;
mod peer;
mod profile;
mod protected;
pub mod psk;
mod public_key;
mod reload;
mod renew;
mod save;
mod secret;
pub mod tls;
mod trust;

pub use authorise::{Authorisation, Verdict};
pub use authority::{
    Authority, AuthorityOptions, DEFAULT_AUTHORITY_DAYS, DEFAULT_LEAF_DAYS, LeafOptions,
    MAX_LEAF_BYTES,
};
pub use cipher::{CipherSuite, ParseCipherSuiteError};
pub use describe::Description;
pub use error::{CertificateError, IssueError, LoadError, ProtectionError, SaveError};
pub use escape::escape;
pub use find::{FindError, find_certs_dir};
pub use fingerprint::Fingerprint;
pub use identity::Identity;
pub use inspect::{Inspected, format_date, inspect, inspect_pem, inspect_with};
pub use key_file::KeyFile;
pub use known_keys::{
    KNOWN_CLIENT_KEYS, KNOWN_SERVER_KEYS, KnownKey, KnownKeyList, KnownKeys, KnownKeysError,
    KnownKeysPolicy, KnownKeysProblem,
};
pub use passphrase::{NoPassphrase, Passphrase, PassphraseError, PassphraseSource};
pub use peer::{FirstSeen, Peer};
pub use profile::{ParseProfileError, Profile};
pub use protected::Protection;
pub use psk::{PSK_BYTES, PreSharedKey};
pub use public_key::{ParsePublicKeyError, PublicKey};
pub use reload::LiveIdentity;
pub use renew::{RenewError, Renewed, renew_certificate, renew_key};
pub use save::SaveOptions;
pub use tls::{VerifyError, verify_certificate, verify_certificate_at};
pub use trust::Trust;
