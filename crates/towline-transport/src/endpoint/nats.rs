//! What an endpoint says about a NATS broker.

use std::fmt;
use std::path::PathBuf;

use towline_identity::CipherSuite;

use super::text::Bracketed;

/// The port of a broker that names none.
pub(super) const USUAL_PORT: u16 = 4222;

/// A subject of a broker, and how to come there.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Nats {
    /// A user and a password, or a token alone.
    pub(crate) credentials: Option<(String, Option<String>)>,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Where a listener hears, and a client opens its session to.
    pub(crate) subject: String,
    /// Where the client hears; a random subject without it.
    pub(crate) inbox: Option<String>,
    /// Below which words a listener answers clients too that hear there.
    pub(crate) peers: Option<String>,
    /// TLS over the session, from end to end.
    pub(crate) tls: Option<CipherSuite>,
    pub(crate) tls_to_broker: BrokerTls,
}

/// TLS on the way to the broker, which sees what is not encrypted from end to end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum BrokerTls {
    /// If it insists; the system's authorities vouch for it.
    AsOffered,
    /// The system's authorities vouch for it.
    Required,
    /// The authorities in this file vouch for it.
    Authority(PathBuf),
}

impl Nats {
    /// Host and port.
    pub(crate) fn broker(&self) -> String {
        format!("{}:{}", Bracketed(&self.host), self.port)
    }

    /// Whether its text has a query.
    pub(super) fn has_settings(&self) -> bool {
        self.inbox.is_some()
            || self.peers.is_some()
            || self
                .tls
                .is_some_and(|suite| suite != CipherSuite::default())
            || self.tls_to_broker != BrokerTls::AsOffered
    }
}

/// Without the password: it is read, and never shown.
impl fmt::Display for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.credentials {
            None => {}
            Some((user, Some(_))) => write!(f, "{}:***@", Strict(user))?,
            Some((_token, None)) => f.write_str("***@")?,
        }
        write!(f, "{}/{}", self.broker(), Strict(&self.subject))?;
        let mut mark = '?';
        let mut setting = |f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>| {
            let written = write!(f, "{mark}{text}");
            mark = '&';
            written
        };
        if let Some(inbox) = &self.inbox {
            setting(f, format_args!("inbox={}", Strict(inbox)))?;
        }
        if let Some(peers) = &self.peers {
            setting(f, format_args!("peers={}", Strict(peers)))?;
        }
        if let Some(cipher) = self.tls
            && cipher != CipherSuite::default()
        {
            setting(f, format_args!("cipher={cipher}"))?;
        }
        match &self.tls_to_broker {
            BrokerTls::AsOffered => Ok(()),
            BrokerTls::Required => setting(f, format_args!("broker=tls")),
            BrokerTls::Authority(file) => setting(
                f,
                format_args!("broker_ca={}", Strict(&file.to_string_lossy())),
            ),
        }
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nats({self})")
    }
}

/// Percent-encodes everything that could mean something in this part of a URL.
struct Strict<'a>(&'a str);

impl fmt::Display for Strict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            match byte {
                b'-' | b'.' | b'_' | b'~' | b'$' | b'/' => write!(f, "{}", char::from(byte))?,
                byte if byte.is_ascii_alphanumeric() => write!(f, "{}", char::from(byte))?,
                byte => write!(f, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}
