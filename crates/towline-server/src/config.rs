//! Settings from a file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use towline_transport::{Endpoint, ListenOptions, ParseEndpointError, TlsConfig, TlsFilesError};

use crate::builder::{Builder, ConfigError};
use crate::network::{Network, ParseNetworkError};
use crate::preamble::AtLimit;
use crate::proxy::ProxyProtocol;
use crate::server::Server;

/// The settings of a server as they stand in a configuration file, in any format that serde reads.
///
/// Everything may be left out, and then is what [`Builder`] says. A key that does not exist is an error:
/// a misspelt limit must not be no limit. Times are in seconds, sizes in bytes, networks as
/// [`Network`] reads them.
///
/// ```
/// use towline_server::ServerConfig;
///
/// let config: ServerConfig = serde_json::from_str(
///     r#"{ "address": "tls://[::]:7000", "max_connections": 100, "idle_timeout": 300, "deny": ["192.0.2.0/24"] }"#,
/// )?;
/// assert_eq!(config.endpoint()?.to_string(), "tls://[::]:7000");
/// let builder = config.builder()?;
/// # drop(builder);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ServerConfig {
    /// An endpoint such as `tls://[::]:7000`, or `host:port` for plain TCP. As the original's unless
    /// told otherwise: port 7000 of every address.
    pub address: Option<String>,
    /// The original's form of the same, `tcp.address`; it counts if there is no `address`.
    pub tcp: TcpConfig,
    /// Which IP versions the address is for, when it is `host:port`.
    pub mode: Mode,
    /// A certificate and its key, from files: TLS for clients that have no keys of towline's.
    pub tls: TlsFiles,
    /// [`Builder::max_connections`]; the original's `max_clients` is the same.
    #[serde(alias = "max_clients")]
    pub max_connections: Option<usize>,
    /// [`Builder::max_handshakes`].
    pub max_handshakes: Option<usize>,
    /// [`ListenOptions::handshake_timeout`]. It belongs to the listener: for one that is bound it stays.
    pub handshake_timeout: Option<u64>,
    /// What connections beyond `max_connections` are told ([`AtLimit::Respond`]).
    pub busy: Option<String>,
    /// [`Builder::max_per_address`].
    pub max_per_address: Option<usize>,
    /// [`Builder::accept_rate`]: connections a second.
    pub accept_rate: Option<u32>,
    /// How many of them at once; as many as in a second unless told otherwise.
    pub accept_burst: Option<u32>,
    /// [`Builder::accept_rate_per_address`]: connections a second.
    pub accept_rate_per_address: Option<u32>,
    /// How many of them at once; as many as in a second unless told otherwise.
    pub accept_burst_per_address: Option<u32>,
    /// [`Builder::allow`].
    pub allow: Vec<String>,
    /// [`Builder::deny`].
    pub deny: Vec<String>,
    /// Networks whose connections begin with a PROXY header ([`ProxyProtocol::from_networks`]).
    pub proxy_from: Vec<String>,
    /// [`Builder::proxy_timeout`].
    pub proxy_timeout: Option<u64>,
    /// [`Builder::max_queued`].
    pub max_queued: Option<usize>,
    /// [`Builder::water_marks`], the low one and the high one.
    pub water_marks: Option<(usize, usize)>,
    /// [`Builder::first_byte_timeout`]; 0 for never.
    pub first_byte_timeout: Option<u64>,
    /// [`Builder::idle_timeout`]; 0 for never.
    pub idle_timeout: Option<u64>,
    /// [`Builder::packet_timeout`]; 0 for never.
    pub packet_timeout: Option<u64>,
    /// [`Builder::write_timeout`]; 0 for never.
    pub write_timeout: Option<u64>,
    /// [`Builder::linger`].
    pub linger: Option<u64>,
    /// [`Builder::drain_deadline`].
    pub drain_deadline: Option<u64>,
}

/// The section `tcp` of the original.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TcpConfig {
    /// `host:port`.
    pub address: Option<String>,
}

/// Where a certificate and its key lie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TlsFiles {
    /// The certificate and its chain, in PEM.
    pub cert: Option<PathBuf>,
    /// Its key, in PEM.
    pub key: Option<PathBuf>,
}

/// IP versions, as the original names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mode {
    /// Both: `0.0.0.0` takes IPv6 as well, as in the original.
    #[default]
    Both,
    /// IPv4 alone.
    Ipv4Only,
    /// IPv6 alone; the address must be one.
    Ipv6Only,
}

/// Settings that are texts and mean nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerConfigError {
    /// The address is no endpoint.
    #[error("address {address:?}: {source}")]
    Address {
        /// What was set.
        address: String,
        /// Why not.
        source: ParseEndpointError,
    },
    /// A certificate without a key, or the reverse: never plain text instead.
    #[error("tls.{0} is missing: a certificate and its key come together or not at all")]
    HalfTls(&'static str),
    /// A certificate for an endpoint that does not use it.
    #[error(
        "address {address:?} is not tls, and there is a certificate: make it tls:// or HOST:PORT, or leave tls out"
    )]
    NotTls {
        /// What was set.
        address: String,
    },
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsFilesError),
    /// The address is of another IP version than the mode.
    #[error("address {address:?} is not of the IP version that mode {mode:?} is for")]
    Mode {
        /// What was set.
        address: String,
        /// And this.
        mode: Mode,
    },
    /// An entry of a list is no network.
    #[error("{list}: {source}")]
    Network {
        /// Which list.
        list: &'static str,
        /// Why not.
        source: ParseNetworkError,
    },
    /// A limit cannot be served with.
    #[error(transparent)]
    Limits(#[from] ConfigError),
}

/// What the original listens on unless told otherwise.
const DEFAULT_ADDRESS: &str = "0.0.0.0:7000";

impl ServerConfig {
    /// Where to listen.
    ///
    /// # Errors
    ///
    /// [`ServerConfigError::Address`], [`ServerConfigError::Mode`], [`ServerConfigError::HalfTls`] and
    /// [`ServerConfigError::NotTls`].
    pub fn endpoint(&self) -> Result<Endpoint, ServerConfigError> {
        let address = self
            .address
            .as_deref()
            .or(self.tcp.address.as_deref())
            .unwrap_or(DEFAULT_ADDRESS);
        let certified = self.tls_files()?.is_some();
        let text = match address.split_once("://") {
            Some((scheme, _)) if certified && scheme != "tls" => {
                return Err(ServerConfigError::NotTls {
                    address: address.to_owned(),
                });
            }
            Some(_) => address.to_owned(),
            None if certified => format!("tls://{}", self.with_mode(address)?),
            None => format!("tcp://{}", self.with_mode(address)?),
        };
        text.parse().map_err(|source| ServerConfigError::Address {
            address: address.to_owned(),
            source,
        })
    }

    /// How to listen there: `options`, and what the mode, the certificate and the time limit for handshakes say. To exchange the certificate
    /// later, keep the [`TlsConfig`](Self::tls_config) instead and give it its files again.
    ///
    /// # Errors
    ///
    /// As [`tls_config`](Self::tls_config), and [`ServerConfigError::Limits`] for a `handshake_timeout` of 0.
    pub fn listen_options(
        &self,
        options: ListenOptions,
    ) -> Result<ListenOptions, ServerConfigError> {
        let mut options = options.ipv6_only(self.mode == Mode::Ipv6Only);
        if let Some(limit) = self.handshake_limit()? {
            options = options.handshake_timeout(limit);
        }
        Ok(match self.tls_config()? {
            Some(tls) => options.tls_config(tls),
            None => options,
        })
    }

    /// What the certificate and its key make, if there are any.
    ///
    /// # Errors
    ///
    /// [`ServerConfigError::HalfTls`] and [`ServerConfigError::Tls`].
    pub fn tls_config(&self) -> Result<Option<TlsConfig>, ServerConfigError> {
        let Some((cert, key)) = self.tls_files()? else {
            return Ok(None);
        };
        Ok(Some(TlsConfig::from_pem_files(cert, key)?))
    }

    /// How long a handshake may take, if that is said.
    fn handshake_limit(&self) -> Result<Option<Duration>, ConfigError> {
        match self.handshake_timeout {
            Some(0) => Err(ConfigError::Zero {
                setting: "handshake_timeout",
            }),
            limit => Ok(limit.map(Duration::from_secs)),
        }
    }

    fn tls_files(&self) -> Result<Option<(&Path, &Path)>, ServerConfigError> {
        match (&self.tls.cert, &self.tls.key) {
            (Some(cert), Some(key)) => Ok(Some((cert, key))),
            (None, None) => Ok(None),
            (Some(_), None) => Err(ServerConfigError::HalfTls("key")),
            (None, Some(_)) => Err(ServerConfigError::HalfTls("cert")),
        }
    }

    /// Everything else.
    ///
    /// # Errors
    ///
    /// [`ServerConfigError::Network`] and [`ServerConfigError::Limits`].
    pub fn builder(&self) -> Result<Builder, ServerConfigError> {
        let mut builder = Server::builder()
            .allow(networks("allow", &self.allow)?)
            .deny(networks("deny", &self.deny)?)
            .proxy_protocol(ProxyProtocol::from_networks(networks(
                "proxy_from",
                &self.proxy_from,
            )?));
        self.handshake_limit()?;
        let seconds = Duration::from_secs;
        if let Some(most) = self.max_connections {
            builder = builder.max_connections(most);
        }
        if let Some(busy) = &self.busy {
            builder = builder.at_limit(AtLimit::Respond(busy.clone().into()));
        }
        if let Some(most) = self.max_per_address {
            builder = builder.max_per_address(most);
        }
        if let Some(rate) = self.accept_rate {
            builder = builder.accept_rate(rate, self.accept_burst.unwrap_or(rate));
        }
        if let Some(rate) = self.accept_rate_per_address {
            let burst = self.accept_burst_per_address.unwrap_or(rate);
            builder = builder.accept_rate_per_address(rate, burst);
        }
        if let Some(most) = self.max_handshakes {
            builder = builder.max_handshakes(most);
        }
        if let Some(bytes) = self.max_queued {
            builder = builder.max_queued(bytes);
        }
        if let Some((low, high)) = self.water_marks {
            builder = builder.water_marks(low, high);
        }
        if let Some(limit @ 1..) = self.first_byte_timeout {
            builder = builder.first_byte_timeout(seconds(limit));
        }
        if let Some(limit @ 1..) = self.idle_timeout {
            builder = builder.idle_timeout(seconds(limit));
        }
        if let Some(limit) = self.packet_timeout {
            builder = builder.packet_timeout((limit > 0).then(|| seconds(limit)));
        }
        if let Some(limit) = self.write_timeout {
            builder = builder.write_timeout((limit > 0).then(|| seconds(limit)));
        }
        if let Some(limit) = self.proxy_timeout {
            builder = builder.proxy_timeout(seconds(limit));
        }
        if let Some(limit) = self.linger {
            builder = builder.linger(seconds(limit));
        }
        if let Some(limit) = self.drain_deadline {
            builder = builder.drain_deadline(seconds(limit));
        }
        builder.validate()?;
        Ok(builder)
    }

    /// The original's wildcard of IPv4 means both versions unless the mode says otherwise.
    fn with_mode(&self, address: &str) -> Result<String, ServerConfigError> {
        let parsed: Option<SocketAddr> = address.parse().ok();
        let wrong = || ServerConfigError::Mode {
            address: address.to_owned(),
            mode: self.mode,
        };
        match (self.mode, parsed) {
            (Mode::Both, Some(SocketAddr::V4(v4))) if v4.ip().is_unspecified() => {
                Ok(format!("[::]:{}", v4.port()))
            }
            (Mode::Ipv4Only, Some(SocketAddr::V6(_))) => Err(wrong()),
            (Mode::Ipv6Only, Some(SocketAddr::V4(_))) => Err(wrong()),
            _ => Ok(address.to_owned()),
        }
    }
}

fn networks(list: &'static str, texts: &[String]) -> Result<Vec<Network>, ServerConfigError> {
    texts
        .iter()
        .map(|text| {
            text.parse()
                .map_err(|source| ServerConfigError::Network { list, source })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> ServerConfig {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_originals_address_is_read_where_it_stands() {
        for (text, endpoint) in [
            ("{}", "tcp://[::]:7000"),
            (
                r#"{"tcp": {"address": "127.0.0.1:9000"}}"#,
                "tcp://127.0.0.1:9000",
            ),
            (
                r#"{"tcp": {"address": "0.0.0.0:9000"}, "mode": "ipv4_only"}"#,
                "tcp://0.0.0.0:9000",
            ),
            (
                r#"{"address": "unix:///run/app", "tcp": {"address": "x:1"}}"#,
                "unix:///run/app",
            ),
            (
                r#"{"address": "[::1]:5", "mode": "ipv6_only"}"#,
                "tcp://[::1]:5",
            ),
        ] {
            assert_eq!(config(text).endpoint().unwrap().to_string(), endpoint);
        }
        for text in [
            r#"{"address": "[::1]:5", "mode": "ipv4_only"}"#,
            r#"{"address": "127.0.0.1:5", "mode": "ipv6_only"}"#,
            r#"{"address": "0.0.0.0:5", "mode": "ipv6_only"}"#,
        ] {
            let error = config(text).endpoint().unwrap_err();
            assert!(matches!(error, ServerConfigError::Mode { .. }), "{error}");
        }
    }

    #[test]
    fn settings_that_mean_nothing_are_named() {
        for (text, part) in [
            (r#"{"deny": ["10.0.0.0/40"]}"#, "deny: \"10.0.0.0/40\""),
            (r#"{"proxy_from": ["all"]}"#, "proxy_from: \"all\""),
            (r#"{"max_connections": 0}"#, "max_connections is 0"),
            (r#"{"accept_rate": 5, "accept_burst": 0}"#, "burst"),
            (
                r#"{"accept_rate_per_address": 0}"#,
                "accept_rate_per_address is 0",
            ),
            (r#"{"max_handshakes": 0}"#, "max_handshakes is 0"),
            (r#"{"handshake_timeout": 0}"#, "handshake_timeout is 0"),
            (r#"{"proxy_timeout": 0}"#, "proxy_timeout is 0"),
            (r#"{"water_marks": [9, 3]}"#, "water_marks are 9 and 3"),
        ] {
            let error = config(text).builder().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let misspelt = serde_json::from_str::<ServerConfig>(r#"{"max_conections": 5}"#);
        assert!(misspelt.unwrap_err().to_string().contains("max_conections"));
    }

    /// docs/wire L37: the original speaks plain text then.
    #[test]
    fn half_a_certificate_is_an_error_and_never_plain_text() {
        for (text, part) in [
            (r#"{"tls": {"cert": "a.crt"}}"#, "tls.key is missing"),
            (r#"{"tls": {"key": "a.key"}}"#, "tls.cert is missing"),
            (
                r#"{"address": "tcp://[::]:1", "tls": {"cert": "a", "key": "b"}}"#,
                "is not tls",
            ),
        ] {
            let error = config(text).endpoint().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let both =
            config(r#"{"address": "[::]:1", "tls": {"cert": "none.crt", "key": "none.key"}}"#);
        assert_eq!(both.endpoint().unwrap().to_string(), "tls://[::]:1");
        let error = both.listen_options(ListenOptions::new()).unwrap_err();
        assert!(error.to_string().contains("none.crt"), "{error}");
    }

    #[test]
    fn a_time_limit_of_0_is_none() {
        let text = r#"{ "first_byte_timeout": 0, "idle_timeout": 0, "packet_timeout": 0, "write_timeout": 0 }"#;
        let limits = crate::TimeLimits::none();
        let by_hand = config("{}").builder().unwrap().time_limits(limits);
        let built = config(text).builder().unwrap();
        assert_eq!(format!("{built:?}"), format!("{by_hand:?}"));
    }

    #[test]
    fn every_setting_reaches_the_builder() {
        let text = r#"{ "max_clients": 7, "max_handshakes": 8, "accept_rate_per_address": 2,
            "accept_burst_per_address": 6, "water_marks": [100, 200], "busy": "later", "max_per_address": 3, "accept_rate": 5,
            "allow": ["10.0.0.0/8"], "deny": ["10.1.0.0/16"], "proxy_from": ["10.2.0.1"],
            "max_queued": 1000, "first_byte_timeout": 1, "idle_timeout": 2, "packet_timeout": 0,
            "write_timeout": 4, "drain_deadline": 5, "linger": 6, "proxy_timeout": 7, "handshake_timeout": 8 }"#;
        let built = config(text).builder().unwrap();
        let second = Duration::from_secs(1);
        let network = |text: &str| text.parse::<Network>().unwrap();
        let by_hand = Server::builder()
            .max_connections(7)
            .max_handshakes(8)
            .accept_rate_per_address(2, 6)
            .water_marks(100, 200)
            .at_limit(AtLimit::Respond("later".into()))
            .max_per_address(3)
            .accept_rate(5, 5)
            .allow([network("10.0.0.0/8")])
            .deny([network("10.1.0.0/16")])
            .proxy_protocol(ProxyProtocol::from_networks([network("10.2.0.1")]))
            .max_queued(1000)
            .first_byte_timeout(second)
            .idle_timeout(2 * second)
            .packet_timeout(None)
            .write_timeout(4 * second)
            .drain_deadline(5 * second)
            .linger(6 * second)
            .proxy_timeout(7 * second);
        assert_eq!(format!("{built:?}"), format!("{by_hand:?}"));
        let again: ServerConfig =
            serde_json::from_str(&serde_json::to_string(&config(text)).unwrap()).unwrap();
        assert_eq!(again, config(text));
    }
}
