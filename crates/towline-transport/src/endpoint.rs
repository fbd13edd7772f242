//! Endpoint URLs: what stands at the other end, or where to listen.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use towline_identity::CipherSuite;

/// Longer texts are no endpoints; nothing of them is kept.
const MAX_CHARS: usize = 8192;
/// What the address of a Unix socket can hold on the smallest system, without the final zero.
const MAX_SOCKET_PATH: usize = 103;
/// The longest DNS name.
const MAX_HOST: usize = 253;

/// The transport an endpoint names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// Plain TCP: neither encrypted nor authenticated.
    Tcp,
    /// TLS 1.3 over TCP, both sides proving themselves.
    Tls,
    /// A socket in the file system, open to its owner.
    Unix,
    /// A pipe within this process.
    Mem,
}

impl Scheme {
    /// The name in URLs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Unix => "unix",
            Self::Mem => "mem",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A parsed endpoint URL: the same text in code and on the command line.
///
/// `tcp://host:port`, `tls://host:port?cipher=aes-128-gcm`, `unix:///path/to/socket`, `mem://name`.
/// The fragment is a path at the other end, percent-decoded: `tls://host:8443#dir/file`. There is no
/// default port.
///
/// ```
/// use towline_transport::Endpoint;
///
/// let endpoint: Endpoint = "tls://[::1]:8443#dir/a%20b".parse()?;
/// assert_eq!(endpoint.host(), Some("::1"));
/// assert_eq!(endpoint.fragment(), Some("dir/a b"));
/// assert_eq!(endpoint.without_fragment().to_string(), "tls://[::1]:8443");
/// # Ok::<(), towline_transport::ParseEndpointError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub(crate) address: Address,
    fragment: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    Tcp {
        host: String,
        port: u16,
    },
    Tls {
        host: String,
        port: u16,
        cipher: CipherSuite,
    },
    Unix {
        path: PathBuf,
    },
    Mem {
        name: String,
    },
}

impl Endpoint {
    /// The transport.
    pub fn scheme(&self) -> Scheme {
        match self.address {
            Address::Tcp { .. } => Scheme::Tcp,
            Address::Tls { .. } => Scheme::Tls,
            Address::Unix { .. } => Scheme::Unix,
            Address::Mem { .. } => Scheme::Mem,
        }
    }

    /// Whether whoever is at the other end has been let in by a key, by the file system or by being
    /// this process: true for `tls`, `unix` and `mem`.
    pub fn is_authenticated(&self) -> bool {
        self.scheme() != Scheme::Tcp
    }

    /// The host of `tcp` and `tls`: a name or an address, IPv6 without brackets.
    pub fn host(&self) -> Option<&str> {
        match &self.address {
            Address::Tcp { host, .. } | Address::Tls { host, .. } => Some(host),
            _ => None,
        }
    }

    /// The port of `tcp` and `tls`; 0 asks a listener for a free one.
    pub fn port(&self) -> Option<u16> {
        match self.address {
            Address::Tcp { port, .. } | Address::Tls { port, .. } => Some(port),
            _ => None,
        }
    }

    /// The same endpoint at another port; unchanged if it has none.
    pub fn with_port(mut self, new: u16) -> Self {
        if let Address::Tcp { port, .. } | Address::Tls { port, .. } = &mut self.address {
            *port = new;
        }
        self
    }

    /// The path of a `unix` socket.
    pub fn socket_path(&self) -> Option<&Path> {
        match &self.address {
            Address::Unix { path } => Some(path),
            _ => None,
        }
    }

    /// The cipher suite of `tls`: `?cipher=`, or the default.
    pub fn cipher(&self) -> Option<CipherSuite> {
        match self.address {
            Address::Tls { cipher, .. } => Some(cipher),
            _ => None,
        }
    }

    /// The path at the other end, percent-decoded.
    pub fn fragment(&self) -> Option<&str> {
        self.fragment.as_deref()
    }

    /// The same endpoint without a fragment.
    pub fn without_fragment(&self) -> Self {
        Self {
            address: self.address.clone(),
            fragment: None,
        }
    }

    /// The same endpoint with this path at the other end.
    pub fn with_fragment(mut self, fragment: impl Into<String>) -> Self {
        self.fragment = Some(fragment.into());
        self
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme();
        match &self.address {
            Address::Tcp { host, port } => write!(f, "{scheme}://{}:{port}", Bracketed(host))?,
            Address::Tls { host, port, cipher } => {
                write!(f, "{scheme}://{}:{port}", Bracketed(host))?;
                if *cipher != CipherSuite::default() {
                    write!(f, "?cipher={cipher}")?;
                }
            }
            Address::Unix { path } => write!(f, "{scheme}://{}", Encoded(&path.to_string_lossy()))?,
            Address::Mem { name } => write!(f, "{scheme}://{name}")?,
        }
        match &self.fragment {
            Some(fragment) => write!(f, "#{}", Encoded(fragment)),
            None => Ok(()),
        }
    }
}

/// Why a text is not an endpoint URL that this build understands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} is not an endpoint: {why}")]
pub struct ParseEndpointError {
    url: String,
    why: EndpointProblem,
}

impl ParseEndpointError {
    /// What is wrong with it.
    pub fn problem(&self) -> &EndpointProblem {
        &self.why
    }
}

/// What can be wrong with an endpoint URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointProblem {
    /// No `scheme://`.
    #[error(
        "it does not begin with a scheme; write tls://host:port, tcp://host:port, unix:///path or mem://name"
    )]
    NoScheme,
    /// A scheme nobody knows.
    #[error("the scheme {0:?} is unknown; use tls, tcp, unix or mem")]
    UnknownScheme(String),
    /// A scheme of towline's that this build lacks.
    #[error("the scheme {0:?} is not supported by this build; use tls, tcp, unix or mem")]
    UnsupportedScheme(String),
    /// More than 8,192 characters.
    #[error("it is too long")]
    TooLong,
    /// No host in front of the port.
    #[error("the host is missing; to listen everywhere write [::]:port or 0.0.0.0:port")]
    NoHost,
    /// A host that is neither a name nor an address.
    #[error(
        "{0:?} is neither a host name nor an address (an IPv6 address stands in brackets: [::1]:port)"
    )]
    BadHost(String),
    /// No port.
    #[error("the port is missing, and there is no usual one; write host:port")]
    NoPort,
    /// A port that is no number from 0 to 65535.
    #[error("{0:?} is not a port (0 to 65535)")]
    BadPort(String),
    /// User and password.
    #[error("it names a user; towline knows its peers by keys, leave out everything up to the @")]
    User,
    /// A path behind host and port.
    #[error("a path follows the port; a path at the other end goes behind a #: host:port#{0}")]
    Path(String),
    /// A socket path that is not absolute.
    #[error("a Unix socket needs an absolute path: unix:///path/to/socket")]
    RelativeSocket,
    /// A socket path the system cannot hold.
    #[error(
        "the socket path has {0} bytes, more than the system's limit of {MAX_SOCKET_PATH}; use a shorter one"
    )]
    SocketTooLong(usize),
    /// A `mem` name with other characters than letters, digits, `.`, `_` and `-`.
    #[error("a mem name consists of letters, digits, dots, dashes and underscores")]
    BadMemName,
    /// `?psk=`.
    #[error("?psk= is not supported yet; use tls:// with keys")]
    Psk,
    /// Another key in the query.
    #[error("the setting ?{0}= is unknown here{1}")]
    UnknownKey(String, &'static str),
    /// The same key twice.
    #[error("the setting ?{0}= is given twice")]
    TwiceKey(String),
    /// A value that the setting does not have.
    #[error("{0}")]
    BadValue(String),
    /// A `%` without two hexadecimal digits, or bytes that are not UTF-8.
    #[error(
        "a % must be followed by two hexadecimal digits that give UTF-8 text; write %25 for a percent sign"
    )]
    BadPercent,
    /// A zero byte in a path.
    #[error("a path cannot contain a zero byte")]
    Zero,
}

impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(|why| ParseEndpointError {
            url: text.chars().take(200).collect(),
            why,
        })
    }
}

fn parse(text: &str) -> Result<Endpoint, EndpointProblem> {
    if text.len() > MAX_CHARS {
        return Err(EndpointProblem::TooLong);
    }
    let (text, fragment) = match text.split_once('#') {
        Some((text, fragment)) => (text, Some(decode(fragment)?)),
        None => (text, None),
    };
    let (scheme, rest) = text.split_once("://").ok_or(EndpointProblem::NoScheme)?;
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, query),
        None => (rest, ""),
    };
    let scheme = scheme.to_ascii_lowercase();
    let address = match scheme.as_str() {
        "tcp" => {
            settings(query, Scheme::Tcp)?;
            let (host, port) = host_port(rest)?;
            Address::Tcp { host, port }
        }
        "tls" => {
            let cipher = settings(query, Scheme::Tls)?;
            let (host, port) = host_port(rest)?;
            Address::Tls { host, port, cipher }
        }
        "unix" => {
            settings(query, Scheme::Unix)?;
            Address::Unix {
                path: socket_path(rest)?,
            }
        }
        "mem" => {
            settings(query, Scheme::Mem)?;
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if rest.is_empty() || !rest.chars().all(plain) {
                return Err(EndpointProblem::BadMemName);
            }
            Address::Mem {
                name: rest.to_owned(),
            }
        }
        _ => return Err(unsupported(scheme)),
    };
    Ok(Endpoint { address, fragment })
}

/// Schemes of towline's design that this build lacks are told apart from typing errors.
fn unsupported(scheme: String) -> EndpointProblem {
    const LAYERS: [&str; 9] = [
        "tcp", "tls", "unix", "mem", "quic", "nats", "udp", "yamux", "muxado",
    ];
    let known = scheme
        .split('+')
        .all(|layer| LAYERS.contains(&layer) || layer == "connect");
    if known {
        EndpointProblem::UnsupportedScheme(scheme)
    } else {
        EndpointProblem::UnknownScheme(scheme)
    }
}

/// Reads the query; the suite is the only setting yet, and only of `tls`.
fn settings(query: &str, scheme: Scheme) -> Result<CipherSuite, EndpointProblem> {
    let mut cipher = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        match key {
            "cipher" if scheme == Scheme::Tls => {
                let suite = decode(value)?
                    .parse()
                    .map_err(|error| EndpointProblem::BadValue(format!("{error}")))?;
                if cipher.replace(suite).is_some() {
                    return Err(EndpointProblem::TwiceKey(key.to_owned()));
                }
            }
            "cipher" => {
                return Err(EndpointProblem::UnknownKey(
                    key.to_owned(),
                    "; only tls:// has cipher suites",
                ));
            }
            "psk" => return Err(EndpointProblem::Psk),
            _ => {
                let known = if scheme == Scheme::Tls {
                    "; there is ?cipher="
                } else {
                    "; there are none"
                };
                return Err(EndpointProblem::UnknownKey(
                    key.chars().take(40).collect(),
                    known,
                ));
            }
        }
    }
    Ok(cipher.unwrap_or_default())
}

fn host_port(text: &str) -> Result<(String, u16), EndpointProblem> {
    if text.contains('@') {
        return Err(EndpointProblem::User);
    }
    let text = match text.split_once('/') {
        None | Some((_, "")) => text.trim_end_matches('/'),
        Some((_, path)) => return Err(EndpointProblem::Path(path.to_owned())),
    };
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest
                .split_once(']')
                .ok_or_else(|| EndpointProblem::BadHost(text.to_owned()))?;
            let (address, zone) = match host.split_once('%') {
                Some((address, zone)) => (address, Some(zone)),
                None => (host, None),
            };
            if address.parse::<Ipv6Addr>().is_err()
                || zone.is_some_and(|zone| zone.is_empty() || !is_name(zone))
            {
                return Err(EndpointProblem::BadHost(host.to_owned()));
            }
            match rest.strip_prefix(':') {
                Some(port) => (host, port),
                None if rest.is_empty() => return Err(EndpointProblem::NoPort),
                None => return Err(EndpointProblem::BadPort(rest.to_owned())),
            }
        }
        None => {
            let Some((host, port)) = text.rsplit_once(':') else {
                return Err(if text.is_empty() {
                    EndpointProblem::NoHost
                } else {
                    EndpointProblem::NoPort
                });
            };
            if host.is_empty() {
                return Err(EndpointProblem::NoHost);
            }
            if !is_name(host) {
                return Err(EndpointProblem::BadHost(host.to_owned()));
            }
            (host, port)
        }
    };
    if port.is_empty() {
        return Err(EndpointProblem::NoPort);
    }
    if !port.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(EndpointProblem::BadPort(port.to_owned()));
    }
    let port = port
        .parse()
        .map_err(|_| EndpointProblem::BadPort(port.to_owned()))?;
    Ok((host.to_owned(), port))
}

fn is_name(host: &str) -> bool {
    host.len() <= MAX_HOST
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
        && !host.starts_with(['.', '-'])
        && !host.contains("..")
}

fn socket_path(text: &str) -> Result<PathBuf, EndpointProblem> {
    let path = decode(text)?;
    if !path.starts_with('/') || path.ends_with('/') {
        return Err(EndpointProblem::RelativeSocket);
    }
    if path.len() > MAX_SOCKET_PATH {
        return Err(EndpointProblem::SocketTooLong(path.len()));
    }
    Ok(PathBuf::from(path))
}

fn decode(text: &str) -> Result<String, EndpointProblem> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = after;
            continue;
        }
        let digit = |at: usize| after.get(at).and_then(|&b| char::from(b).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err(EndpointProblem::BadPercent);
        };
        bytes.push((high * 16 + low) as u8);
        rest = &after[2..];
    }
    if bytes.contains(&0) {
        return Err(EndpointProblem::Zero);
    }
    String::from_utf8(bytes).map_err(|_| EndpointProblem::BadPercent)
}

/// An IPv6 address in the brackets a URL needs, anything else as it is.
struct Bracketed<'a>(&'a str);

impl fmt::Display for Bracketed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') {
            write!(f, "[{}]", self.0)
        } else {
            f.write_str(self.0)
        }
    }
}

/// Percent-encodes what would end a part of the URL or not survive being copied; other letters stay
/// readable.
struct Encoded<'a>(&'a str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control()
                || c.is_whitespace()
                || matches!(c, '%' | '#' | '?' | '"' | '<' | '>' | '\\' | '`')
            {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    write!(f, "%{byte:02X}")?;
                }
            } else {
                fmt::Write::write_char(f, c)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problem(text: &str) -> EndpointProblem {
        let error = text.parse::<Endpoint>().expect_err(text);
        assert!(error.to_string().contains("is not an endpoint"));
        error.problem().clone()
    }

    #[test]
    fn each_scheme_is_read_and_written_back() {
        for text in [
            "tcp://127.0.0.1:80",
            "tcp://[::]:0",
            "tcp://[fe80::1%eth0]:1",
            "tls://db.internal:8443",
            "tls://db.internal:8443?cipher=aes-128-gcm#dir/file",
            "tls://h:1#",
            "tls://h:1#gr%C3%B6%C3%9Fe%20%23",
            "unix:///run/tow.sock",
            "unix:///run/a%20b%3Fc.sock#x",
            "mem://demo",
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            let again = endpoint.to_string();
            assert_eq!(again.parse(), Ok(endpoint), "{text} became {again}");
        }
        let endpoint: Endpoint = "TLS://h:1/?cipher=chacha20-poly1305".parse().unwrap();
        assert_eq!(endpoint.to_string(), "tls://h:1");
        assert_eq!(endpoint.cipher(), Some(CipherSuite::ChaCha20Poly1305));
    }

    #[test]
    fn only_tcp_is_open_to_everybody() {
        for (text, expected) in [
            ("tcp://h:1", false),
            ("tls://h:1", true),
            ("unix:///s", true),
            ("mem://m", true),
        ] {
            assert_eq!(
                text.parse::<Endpoint>().unwrap().is_authenticated(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn the_fragment_is_decoded_and_can_be_left_out() {
        let endpoint: Endpoint = "tls://h:1#a%2Fb%20gr%C3%B6%C3%9Fe".parse().unwrap();
        assert_eq!(endpoint.fragment(), Some("a/b größe"));
        assert_eq!(endpoint.without_fragment().to_string(), "tls://h:1");
        assert_eq!("tls://h:1".parse::<Endpoint>().unwrap().fragment(), None);
        assert_eq!(
            "tls://h:1#".parse::<Endpoint>().unwrap().fragment(),
            Some("")
        );
    }

    #[test]
    fn schemes_of_other_builds_are_named() {
        for scheme in [
            "quic",
            "nats",
            "udp",
            "yamux+tls",
            "muxado+tcp",
            "connect+tcp",
            "tls+nats",
            "yamux+nats",
        ] {
            let found = problem(&format!("{scheme}://h:1"));
            assert_eq!(found, EndpointProblem::UnsupportedScheme(scheme.to_owned()));
            assert!(found.to_string().contains("not supported by this build"));
        }
        assert_eq!(
            problem("http://h:1"),
            EndpointProblem::UnknownScheme("http".to_owned())
        );
        assert_eq!(
            problem("yamux+http://h:1"),
            EndpointProblem::UnknownScheme("yamux+http".to_owned())
        );
    }

    #[test]
    fn errors_name_what_is_wrong() {
        use EndpointProblem as P;
        assert_eq!(problem(""), P::NoScheme);
        assert_eq!(problem("localhost:80"), P::NoScheme);
        assert_eq!(problem("tls://localhost"), P::NoPort);
        assert_eq!(problem("tls://localhost:"), P::NoPort);
        assert_eq!(problem("tls://[::1]"), P::NoPort);
        assert_eq!(problem("tls://:80"), P::NoHost);
        assert_eq!(problem("tls://"), P::NoHost);
        assert_eq!(problem("tls://::1:80"), P::BadHost("::1".to_owned()));
        assert_eq!(problem("tls://[::1:80"), P::BadHost("[::1:80".to_owned()));
        assert_eq!(
            problem("tls://[example]:80"),
            P::BadHost("example".to_owned())
        );
        assert_eq!(problem("tls://a b:80"), P::BadHost("a b".to_owned()));
        assert_eq!(problem("tls://h:65536"), P::BadPort("65536".to_owned()));
        assert_eq!(problem("tls://h:+1"), P::BadPort("+1".to_owned()));
        assert_eq!(problem("tls://me:secret@h:1"), P::User);
        assert_eq!(
            problem("tls://h:1/dir/file"),
            P::Path("dir/file".to_owned())
        );
        assert_eq!(problem("unix://run/x"), P::RelativeSocket);
        assert_eq!(
            problem(&format!("unix:///{}", "x".repeat(200))),
            P::SocketTooLong(201)
        );
        assert_eq!(problem("unix:///a%00b"), P::Zero);
        assert_eq!(problem("mem://"), P::BadMemName);
        assert_eq!(problem("mem://a/b"), P::BadMemName);
        assert_eq!(problem("tls://h:1?psk=file"), P::Psk);
        assert_eq!(
            problem("tls://h:1?cipher=aes-128-gcm&cipher=aes-128-gcm"),
            P::TwiceKey("cipher".to_owned())
        );
        assert!(matches!(problem("tls://h:1?cypher=x"), P::UnknownKey(key, _) if key == "cypher"));
        assert!(matches!(
            problem("tcp://h:1?cipher=aes-128-gcm"),
            P::UnknownKey(..)
        ));
        assert!(
            matches!(problem("tls://h:1?cipher=rc4"), P::BadValue(text) if text.contains("rc4"))
        );
        assert_eq!(problem("tls://h:1#%"), P::BadPercent);
        assert_eq!(problem("tls://h:1#%g0"), P::BadPercent);
        assert_eq!(problem("tls://h:1#%ff"), P::BadPercent);
        assert_eq!(
            problem(&format!("tls://h:1#{}", "x".repeat(9000))),
            P::TooLong
        );
    }

    fn hosts() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
            any::<Ipv6Addr>().prop_map(|address| address.to_string()),
            "[a-z][a-z0-9_-]{0,20}(\\.[a-z0-9]{1,10}){0,3}",
        ]
    }

    fn addresses() -> impl Strategy<Value = Address> {
        let suites = proptest::sample::select(CipherSuite::ALL.to_vec());
        prop_oneof![
            (hosts(), any::<u16>()).prop_map(|(host, port)| Address::Tcp { host, port }),
            (hosts(), any::<u16>(), suites).prop_map(|(host, port, cipher)| Address::Tls {
                host,
                port,
                cipher
            }),
            "/[^\\x00/]{1,20}".prop_map(|path| Address::Unix { path: path.into() }),
            "[A-Za-z0-9._-]{1,30}".prop_map(|name| Address::Mem { name }),
        ]
    }

    proptest! {
        #[test]
        fn every_endpoint_survives_its_text(address in addresses(), fragment in proptest::option::of("[^\\x00]{0,40}")) {
            let endpoint = Endpoint { address, fragment };
            let text = endpoint.to_string();
            prop_assert_eq!(text.parse::<Endpoint>(), Ok(endpoint), "{}", text);
        }

        #[test]
        fn any_text_is_read_without_panic(text in "(tcp|tls|unix|mem)?(://)?\\PC{0,60}") {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse::<Endpoint>(), Ok(endpoint));
            }
        }
    }
}
