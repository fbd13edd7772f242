//! The layer on connections that are there already.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use towline_identity::{Authorisation, LiveIdentity, LoadError, PreSharedKey, Trust};

use super::Records;
use super::handshake::{Problem, Settings, dial, load, serve};
use super::stream::Sealed;
use crate::connect::ConnectError;
use crate::connection::{BoxIo, Connection};
use crate::listen::AcceptError;

/// The pre-shared-key layer for connections that are there already: any stream of bytes, one of a multiplexed
/// session, one that an HTTP server has handed over. Endpoints with `?psk=` do this by themselves.
///
/// Both ends need the same key file, and an identity of the same authority on any transport.
///
/// ```
/// use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
/// use towline_identity::{Authority, AuthorityOptions, LeafOptions, PreSharedKey};
/// use towline_transport::{Connection, Peer, PskLayer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let file = dir.path().join("psk.binary");
/// PreSharedKey::create(&file)?;
/// let authority = Authority::generate(&AuthorityOptions::new())?;
/// let layer = async |name: &str| -> Result<PskLayer, Box<dyn std::error::Error>> {
///     let identity = std::sync::Arc::new(authority.issue(&LeafOptions::new(name))?);
///     Ok(PskLayer::load(&file, identity).await?)
/// };
/// let (client, server) = (layer("client").await?, layer("server").await?);
/// let (here, there) = duplex(1024);
/// let over = |io| Connection::new(Box::new(io), Peer::unauthenticated("mem://x"), "mem://x", "mem://x");
///
/// let (dialled, accepted) = tokio::join!(client.dial(over(here)), server.accept(over(there)));
/// let (mut dialled, mut accepted) = (dialled?, accepted?);
/// assert!(accepted.peer().is_authenticated());
/// dialled.write_all(b"hello").await?;
/// dialled.flush().await?;
/// let mut text = [0; 5];
/// accepted.read_exact(&mut text).await?;
/// assert_eq!(&text, b"hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PskLayer {
    key: Arc<PreSharedKey>,
    identity: LiveIdentity,
    trust: Trust,
    authorisation: Authorisation,
    records: Records,
    handshake_timeout: Duration,
}

impl PskLayer {
    /// With this key, for an end that proves itself with `identity`. It trusts everybody to whom the identity's
    /// authority has given a certificate, seals bytes, and gives a handshake 10 seconds.
    pub fn new(key: impl Into<Arc<PreSharedKey>>, identity: impl Into<LiveIdentity>) -> Self {
        Self {
            key: key.into(),
            identity: identity.into(),
            trust: Trust::default(),
            authorisation: Authorisation::default(),
            records: Records::default(),
            handshake_timeout: Duration::from_secs(10),
        }
    }

    /// The same with the key in a file, which is read off the runtime's threads.
    ///
    /// # Errors
    ///
    /// [`LoadError`]: the file is missing, too short, or readable by others.
    pub async fn load(
        file: impl AsRef<Path>,
        identity: impl Into<LiveIdentity>,
    ) -> Result<Self, LoadError> {
        Ok(Self::new(load(file.as_ref()).await?, identity))
    }

    /// Whom this end trusts.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// Who of those it trusts may connect. Of a peer that the transport beneath has proven already, it was asked there.
    pub fn authorise(mut self, authorisation: Authorisation) -> Self {
        self.authorisation = authorisation;
        self
    }

    /// What its records hold; both ends have to agree.
    pub fn records(mut self, records: Records) -> Self {
        self.records = records;
        self
    }

    /// How long the handshake may take.
    pub fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.handshake_timeout = limit;
        self
    }

    /// Puts the layer on the end that speaks first.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] names the other end by its address; [`DifferentKeys`](ConnectError::DifferentKeys) if it has
    /// another key.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn dial(
        &self,
        connection: impl Into<Connection>,
    ) -> Result<Connection, ConnectError> {
        let beneath = connection.into();
        let endpoint = beneath.remote.clone();
        let limit = self.handshake_timeout;
        match timeout(limit, self.seal_dialled(beneath)).await {
            Ok(sealed) => sealed.map_err(|problem| ConnectError::from_sealing(endpoint, problem)),
            Err(_) => Err(ConnectError::TimedOut {
                endpoint,
                limit,
                during: DURING,
            }),
        }
    }

    /// Puts the layer on the end that was dialled.
    ///
    /// # Errors
    ///
    /// [`AcceptError`]; [`DifferentKeys`](AcceptError::DifferentKeys) if the other end has another key.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn accept(
        &self,
        connection: impl Into<Connection>,
    ) -> Result<Connection, AcceptError> {
        let Connection {
            io,
            peer,
            local,
            remote,
        } = connection.into();
        let limit = self.handshake_timeout;
        match timeout(limit, serve(io, self.settings(), &peer)).await {
            Ok(Ok((io, peer))) => Ok(sealed(io, peer, local, remote)),
            Ok(Err(Problem::Refused(refusal))) => Err(AcceptError::NotAdmitted { remote, refusal }),
            Ok(Err(Problem::DifferentKeys)) => Err(AcceptError::DifferentKeys { remote }),
            Ok(Err(problem)) => {
                let why = problem.to_string();
                Err(AcceptError::Sealing { remote, why })
            }
            Err(_) => Err(AcceptError::TimedOut { remote, limit }),
        }
    }

    /// As [`dial`](Self::dial), without a time limit of its own.
    pub(crate) async fn seal_dialled(&self, beneath: Connection) -> Result<Connection, Problem> {
        let Connection {
            io,
            peer,
            local,
            remote,
        } = beneath;
        let (io, peer) = dial(io, self.settings(), &peer).await?;
        Ok(sealed(io, peer, local, remote))
    }

    fn settings(&self) -> Settings<'_> {
        Settings {
            key: Arc::clone(&self.key),
            identity: self.identity.current(),
            trust: &self.trust,
            authorisation: self.authorisation.clone(),
            records: self.records,
        }
    }
}

/// What a client waits for.
pub(crate) const DURING: &str = "pre-shared-key handshake";

fn sealed(
    io: Sealed<BoxIo>,
    peer: towline_identity::Peer,
    local: String,
    remote: String,
) -> Connection {
    Connection::new(Box::new(io), peer, local, remote)
}
