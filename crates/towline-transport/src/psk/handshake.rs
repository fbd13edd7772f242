//! Both sides of the handshake, each in its connection's own task (docs/wire R17).

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::task::spawn_blocking;
use towline_identity::psk::{HandshakeError, Hello, HelloError, Layer, RecordError, Role, Session};
use towline_identity::tls::{Refusal, TlsConfigError};
use towline_identity::{Authorisation, Identity, LoadError, Peer, PreSharedKey, Trust};

use super::incoming::Fault;
use super::stream::Unconfirmed;
use super::{DIFFERENT_KEYS, Records, Sealed};
use crate::tls::{self};

/// Why there is no sealed connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error(transparent)]
    Config(#[from] TlsConfigError),
    #[error("{0}")]
    Refused(Refusal),
    #[error(
        "the other end hung up in the pre-shared-key handshake: it refuses our certificate, or uses no pre-shared key"
    )]
    HungUp,
    #[error("the pre-shared-key handshake failed: {0}")]
    Io(io::Error),
    #[error("{DIFFERENT_KEYS}")]
    DifferentKeys,
    #[error("{0}")]
    Record(Fault),
    #[error("this program is stopping")]
    Stopping,
}

impl From<Unconfirmed> for Problem {
    fn from(error: Unconfirmed) -> Self {
        match error {
            Unconfirmed::Fault(Fault::Record(RecordError::WrongKey)) => Self::DifferentKeys,
            Unconfirmed::Fault(fault) => Self::Record(fault),
            Unconfirmed::Io(error) => Self::from(error),
        }
    }
}

impl From<tls::HandshakeError> for Problem {
    fn from(error: tls::HandshakeError) -> Self {
        match error {
            tls::HandshakeError::Config(error) => Self::Config(error),
            tls::HandshakeError::Refused(refusal) => Self::Refused(refusal),
            tls::HandshakeError::Io(error) => Self::from(error),
            tls::HandshakeError::Stopping => Self::Stopping,
        }
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        if crate::is_hung_up(&error) {
            Self::HungUp
        } else {
            Self::Io(error)
        }
    }
}

impl From<HelloError> for Problem {
    fn from(error: HelloError) -> Self {
        Self::Handshake(error.into())
    }
}

/// Reads and derives a key file, off the runtime's threads.
pub(crate) async fn load(path: &Path) -> Result<Arc<PreSharedKey>, LoadError> {
    let path = path.to_owned();
    let shown = path.clone();
    spawn_blocking(move || PreSharedKey::load(path))
        .await
        .unwrap_or_else(|_| {
            Err(LoadError::Read {
                path: shown,
                source: io::Error::other("this program is stopping"),
            })
        })
        .map(Arc::new)
}

/// What both sides need to know.
pub(crate) struct Settings<'a> {
    pub(crate) key: Arc<PreSharedKey>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) trust: &'a Trust,
    pub(crate) authorisation: Authorisation,
    pub(crate) records: Records,
}

impl Settings<'_> {
    /// A peer that TLS knows already has to be the same one here (docs/wire R20); whether it is
    /// trusted and authorised has been asked there.
    fn layer(self, beneath: &Peer) -> Result<Arc<Layer>, Problem> {
        let layer = match beneath.public_key() {
            Some(key) => {
                let (pinned, anyone) = (Trust::keys([key]), Authorisation::anyone());
                Layer::new(self.key, self.identity, &pinned, &anyone)
            }
            None => Layer::new(self.key, self.identity, self.trust, &self.authorisation),
        };
        Ok(Arc::new(layer?.confirming()))
    }
}

/// The dialling side. `beneath` is who the transport says is there.
pub(crate) async fn dial<IO>(
    mut io: IO,
    settings: Settings<'_>,
    beneath: &Peer,
) -> Result<(Sealed<IO>, Peer), Problem>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let records = settings.records;
    let layer = settings.layer(beneath)?;
    let (dialling, hello) = layer.dial(random()?, now())?;
    io.write_all(&hello).await?;
    io.flush().await?;
    let hello = read(&mut io).await?;
    let address = beneath.address().to_owned();
    let session = off_runtime(layer.reads_files(), move || {
        dialling.finish(&address, &hello, now())
    })
    .await?;
    finish(io, session, Role::Client, records, beneath).await
}

/// The side that was dialled.
pub(crate) async fn serve<IO>(
    mut io: IO,
    settings: Settings<'_>,
    beneath: &Peer,
) -> Result<(Sealed<IO>, Peer), Problem>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let records = settings.records;
    let layer = settings.layer(beneath)?;
    let hello = read(&mut io).await?;
    let address = beneath.address().to_owned();
    let random = random()?;
    let (session, reply) = off_runtime(layer.reads_files(), move || {
        layer.accept(&address, &hello, random, now())
    })
    .await?;
    io.write_all(&reply).await?;
    io.flush().await?;
    finish(io, session, Role::Server, records, beneath).await
}

async fn finish<IO>(
    io: IO,
    session: Session,
    role: Role,
    records: Records,
    beneath: &Peer,
) -> Result<(Sealed<IO>, Peer), Problem>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut sealed = Sealed::new(io, &session.key, role, random()?, records);
    if session.confirms {
        sealed.confirm().await?;
    }
    // Only now: who has another pre-shared key is not recorded.
    let peer = tls::admit(session.attempt).await?;
    // TLS may know more, such as when the key was first seen.
    let peer = if beneath.is_authenticated() {
        beneath.clone()
    } else {
        peer
    };
    Ok((sealed, peer))
}

async fn read<IO: AsyncRead + Unpin>(io: &mut IO) -> Result<Vec<u8>, Problem> {
    let mut field = [0; 8];
    io.read_exact(&mut field).await?;
    let mut hello = vec![0; 8 + Hello::length(field)?];
    hello[..8].copy_from_slice(&field);
    io.read_exact(&mut hello[8..]).await?;
    Ok(hello)
}

async fn off_runtime<T: Send + 'static>(
    blocks: bool,
    work: impl FnOnce() -> Result<T, HandshakeError> + Send + 'static,
) -> Result<T, Problem> {
    let result = if blocks {
        spawn_blocking(work).await.map_err(|_| Problem::Stopping)?
    } else {
        work()
    };
    result.map_err(|error| match error {
        HandshakeError::Refused(refusal) => Problem::Refused(refusal),
        error => Problem::Handshake(error),
    })
}

fn random<const N: usize>() -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    #[expect(
        clippy::disallowed_methods,
        reason = "a driver: this is where its randomness comes from"
    )]
    getrandom::fill(&mut bytes)
        .map_err(|_| Problem::Io(io::Error::other("the system has no randomness")))?;
    Ok(bytes)
}

fn now() -> SystemTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates are judged by the wall clock"
    )]
    SystemTime::now()
}
