//! What happens on a connection before its handshake: a proxy's header, or a word to whom there is no
//! room for.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use towline_transport::Remote;

use crate::accept::Handshake;
use crate::admission::{Admission, Refusal};
use crate::proxy::{Parsed, ProxyError, ProxyHeader, ProxyProtocol};

/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// How many connections are being turned away with a word at the same time; the others without.
const FAREWELLS: usize = 64;

/// What becomes of connections beyond `max_connections`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AtLimit {
    /// They are accepted and closed at once, without a byte.
    #[default]
    Close,
    /// They are told this, and closed. On a TLS port the bytes come before any handshake, where a client
    /// cannot make sense of them.
    Respond(Bytes),
    /// They are not accepted until there is room: they wait in the system's queue. Of several listeners
    /// that see the last place at the same moment, one closes its connection.
    Wait,
}

pub(crate) struct Preamble {
    manners: RwLock<Arc<Manners>>,
    farewells: Arc<Semaphore>,
}

/// What is asked of connections, and said to them, before they are served.
#[derive(Clone, Debug)]
pub(crate) struct Manners {
    pub(crate) proxy: ProxyProtocol,
    /// How long a proxy's header may take.
    pub(crate) limit: Duration,
    pub(crate) at_limit: AtLimit,
}

/// What a connection that is turned away is told.
pub(crate) struct Farewell {
    pub(crate) bytes: Bytes,
    _turn: OwnedSemaphorePermit,
}

/// Why a proxy was not believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PreambleError {
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error("the PROXY header did not come within {0:?}")]
    TimedOut(Duration),
    #[error("the connection ended within the PROXY header")]
    Ended,
    #[error("it speaks for {address}: {refusal}")]
    Refused { address: IpAddr, refusal: Refusal },
}

impl Preamble {
    pub(crate) fn new(manners: Manners) -> Self {
        Self {
            manners: RwLock::new(Arc::new(manners)),
            farewells: Arc::new(Semaphore::new(FAREWELLS)),
        }
    }

    /// Goes by others from now on.
    pub(crate) fn change(&self, manners: Manners) {
        *self.manners.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(manners);
    }

    fn manners(&self) -> Arc<Manners> {
        Arc::clone(&self.manners.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn waits_for_a_place(&self) -> bool {
        self.manners().at_limit == AtLimit::Wait
    }

    /// Whether a connection from there begins with a proxy's header.
    pub(crate) fn is_proxy(&self, address: Option<IpAddr>) -> bool {
        self.manners().proxy.expected_from(address)
    }

    pub(crate) fn said_at_limit(&self, refusal: Refusal) -> Option<Farewell> {
        match &self.manners().at_limit {
            AtLimit::Respond(bytes) if refusal == Refusal::Limit => Some(Farewell {
                bytes: bytes.clone(),
                _turn: Arc::clone(&self.farewells).try_acquire_owned().ok()?,
            }),
            _ => None,
        }
    }

    /// Reads the header and believes it; what follows it is left for the handshake.
    pub(crate) async fn read_proxy_header<I: Handshake>(
        &self,
        incoming: &mut I,
        admission: &Admission,
    ) -> Result<(), PreambleError> {
        let Some(raw) = incoming.raw() else {
            return Err(PreambleError::Ended);
        };
        let limit = self.manners().limit;
        let header = timeout(limit, read(raw))
            .await
            .map_err(|_| PreambleError::TimedOut(limit))??;
        if let Some(source) = header.source {
            let address = source.ip();
            admission
                .check_network(address)
                .map_err(|refusal| PreambleError::Refused { address, refusal })?;
            incoming.set_remote(Remote::address(source));
        }
        Ok(())
    }
}

async fn read<R>(raw: &mut R) -> Result<ProxyHeader, PreambleError>
where
    R: tokio::io::AsyncRead + Send + Unpin + ?Sized,
{
    let mut header = Vec::new();
    loop {
        match ProxyHeader::parse(&header)? {
            Parsed::Header(header, _) => return Ok(header),
            // Bounded: a header is refused when it is longer than it may be.
            Parsed::More(more) => {
                let come = header.len();
                header.resize(come + more, 0);
                raw.read_exact(&mut header[come..])
                    .await
                    .map_err(|_| PreambleError::Ended)?;
            }
        }
    }
}

/// Says why nobody is at home.
pub(crate) async fn turn_away<I: Handshake>(incoming: &mut I, said: &[u8]) {
    let Some(raw) = incoming.raw() else { return };
    let told = timeout(FAREWELL, async {
        raw.write_all(said).await?;
        raw.shutdown().await
    });
    if !matches!(told.await, Ok(Ok(()))) {
        tracing::debug!("a client did not wait for its refusal");
    }
}
