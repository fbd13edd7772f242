//! The handshake: states as types, each of them good for one step (docs/wire R3 to R8).

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hkdf::Hkdf;
use ring::signature::{ED25519, UnparsedPublicKey};
use sha2::Sha256;
use towline_codec::greenpack::Timestamp;
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};
use zeroize::Zeroizing;

use super::hello::{Hello, HelloError};
use super::key::PreSharedKey;
use super::record::SessionKey;
use crate::authorise::Authorisation;
use crate::identity::Identity;
use crate::public_key::PublicKey;
use crate::tls::{Attempt, Judge, Refusal, TlsConfigError, Unvouched};
use crate::trust::Trust;

/// Why a handshake failed. Close the connection: the other end learns nothing else.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// What came is not a hello.
    #[error(transparent)]
    Hello(#[from] HelloError),
    /// The certificate is not one of our authorities'.
    #[error("the pre-shared-key handshake failed: {0}")]
    Certificate(#[from] Unvouched),
    /// The certificate's key did not sign the key of this connection.
    #[error("the other end does not hold the key of the certificate that it sent")]
    Signature,
    /// The other end's key makes a secret that everybody knows.
    #[error("the other end sent a key that gives no secret")]
    WeakKey,
    /// Key, certificate and authority are in order, and still we refuse it.
    #[error("the other end is refused: {0}")]
    Refused(Refusal),
    /// The known-keys file cannot be read.
    #[error(transparent)]
    Trust(#[from] TlsConfigError),
    /// Our own key could not be used.
    #[error("our own key cannot sign")]
    OwnKey,
}

/// What one end needs for the handshakes of all its connections.
pub struct Layer {
    key: Arc<PreSharedKey>,
    identity: Arc<Identity>,
    judge: Judge,
    confirms: bool,
}

impl Layer {
    /// For an end that proves itself with `identity`. An authority is asked whatever `trust` says,
    /// unless it pins keys (docs/wire R6).
    ///
    /// # Errors
    ///
    /// [`TlsConfigError`].
    pub fn new(
        key: impl Into<Arc<PreSharedKey>>,
        identity: Arc<Identity>,
        trust: &Trust,
        authorisation: &Authorisation,
    ) -> Result<Self, TlsConfigError> {
        Ok(Self {
            judge: Judge::new(&identity, trust, authorisation)?,
            key: key.into(),
            identity,
            confirms: false,
        })
    }

    /// Offers to begin with a record that proves this end's key, and to wait for the other end's: then different
    /// keys show at once, and for certain. The original knows nothing of it, and passes it over (docs/wire R21).
    #[must_use]
    pub fn confirming(mut self) -> Self {
        self.confirms = true;
        self
    }

    /// Whether finishing a handshake reads a file.
    pub fn reads_files(&self) -> bool {
        self.judge.reads_files()
    }

    /// The client's first step: what to send. `random` is 32 bytes that nobody can foresee and that
    /// are used for nothing else.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::OwnKey`].
    pub fn dial(
        self: &Arc<Self>,
        random: [u8; 32],
        now: SystemTime,
    ) -> Result<(Dialling, Vec<u8>), HandshakeError> {
        let ephemeral = Ephemeral::new(random);
        let hello = self.hello(&ephemeral, now, self.confirms)?;
        Ok((
            Dialling {
                layer: Arc::clone(self),
                ephemeral,
            },
            hello,
        ))
    }

    /// The server's only step: judges the client's whole hello and makes the answer, which is to be
    /// sent. `address` is where the client is, as in [`Peer`](crate::Peer). Blocks on the disk if it
    /// [reads files](Self::reads_files).
    ///
    /// # Errors
    ///
    /// [`HandshakeError`]: send nothing and close.
    pub fn accept(
        &self,
        address: &str,
        hello: &[u8],
        random: [u8; 32],
        now: SystemTime,
    ) -> Result<(Session, Vec<u8>), HandshakeError> {
        let ephemeral = Ephemeral::new(random);
        let session = self.judge(address, hello, &ephemeral, now)?;
        let hello = self.hello(&ephemeral, now, session.confirms)?;
        Ok((session, hello))
    }

    fn hello(
        &self,
        ephemeral: &Ephemeral,
        now: SystemTime,
        confirms: bool,
    ) -> Result<Vec<u8>, HandshakeError> {
        let signature = self
            .identity
            .key()
            .sign(&ephemeral.public)
            .and_then(|signature| signature.try_into().ok())
            .ok_or(HandshakeError::OwnKey)?;
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        Ok(Hello {
            public_key: ephemeral.public,
            signature,
            certificate: self.identity.certificate_der().to_vec(),
            sent_at: Timestamp::new(seconds, i64::from(since.subsec_nanos())),
            confirms,
        }
        .encode())
    }

    fn judge(
        &self,
        address: &str,
        hello: &[u8],
        ephemeral: &Ephemeral,
        now: SystemTime,
    ) -> Result<Session, HandshakeError> {
        let hello = Hello::decode(hello)?;
        let attempt = self.judge.begin(address)?;
        let signer = self.judge.vouch(&attempt, &hello.certificate, now)?;
        verify(signer, &hello)?;
        // Possession is proven: only now may the key be looked up, and recorded.
        self.judge
            .decide(&attempt, &hello.certificate)
            .map_err(HandshakeError::Refused)?;
        let key = ephemeral.agree(&hello.public_key, &self.key)?;
        Ok(Session {
            key,
            attempt,
            confirms: self.confirms && hello.confirms,
        })
    }
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// A client that has said hello and waits for the server's.
pub struct Dialling {
    layer: Arc<Layer>,
    ephemeral: Ephemeral,
}

impl Dialling {
    /// Judges the server's whole hello. Blocks on the disk if the layer
    /// [reads files](Layer::reads_files).
    ///
    /// # Errors
    ///
    /// [`HandshakeError`]: close the connection.
    pub fn finish(
        self,
        address: &str,
        hello: &[u8],
        now: SystemTime,
    ) -> Result<Session, HandshakeError> {
        self.layer.judge(address, hello, &self.ephemeral, now)
    }
}

impl fmt::Debug for Dialling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialling").finish_non_exhaustive()
    }
}

/// A handshake that succeeded. Whether both ends have the same pre-shared key shows with the first
/// record.
#[derive(Debug)]
pub struct Session {
    /// What the records of both directions are sealed with.
    pub key: SessionKey,
    /// Who is there: ask [`Attempt::admit`] once the first record of the other end could be opened,
    /// or before.
    pub attempt: Attempt,
    /// Whether both ends now send, and wait for, a record that proves the key (docs/wire R21).
    pub confirms: bool,
}

/// One connection's own X25519 key.
struct Ephemeral {
    private: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl Ephemeral {
    fn new(random: [u8; 32]) -> Self {
        Self {
            private: Zeroizing::new(random),
            public: x25519(random, X25519_BASEPOINT_BYTES),
        }
    }

    /// docs/wire R8: the key of the session, from both fresh keys and the shared one.
    fn agree(&self, other: &[u8; 32], shared: &PreSharedKey) -> Result<SessionKey, HandshakeError> {
        let secret = Zeroizing::new(x25519(*self.private, *other));
        // docs/wire R7: a point of low order.
        if secret.iter().fold(0, |all, byte| all | byte) == 0 {
            return Err(HandshakeError::WeakKey);
        }
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(shared.as_bytes()), &secret[..])
            .expand(&[], &mut key[..])
            .map_err(|_| HandshakeError::OwnKey)?;
        Ok(SessionKey::new(key))
    }
}

fn verify(signer: PublicKey, hello: &Hello) -> Result<(), HandshakeError> {
    UnparsedPublicKey::new(&ED25519, signer.as_bytes())
        .verify(&hello.public_key, &hello.signature)
        .map_err(|_| HandshakeError::Signature)
}
