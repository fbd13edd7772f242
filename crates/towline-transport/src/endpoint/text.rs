//! Endpoints as text.

use std::fmt;

use towline_identity::CipherSuite;

use super::{Address, Endpoint};

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(multiplexer) = self.multiplexer {
            write!(f, "{multiplexer}+")?;
        }
        let scheme = self.scheme();
        let mut before = '?';
        match &self.address {
            Address::Tcp { host, port } | Address::HttpConnect { host, port } => {
                write!(f, "{scheme}://{}:{port}", Bracketed(host))?;
            }
            Address::Tls { host, port, cipher } | Address::Quic { host, port, cipher } => {
                write!(f, "{scheme}://{}:{port}", Bracketed(host))?;
                if *cipher != CipherSuite::default() {
                    write!(f, "?cipher={cipher}")?;
                    before = '&';
                }
            }
            Address::Unix { path } => write!(f, "{scheme}://{}", Encoded(&path.to_string_lossy()))?,
            Address::Mem { name } => write!(f, "{scheme}://{name}")?,
            Address::Udp { host, port, tls } => {
                let layer = if tls.is_some() { "tls+" } else { "" };
                write!(f, "{layer}{scheme}://{}:{port}", Bracketed(host))?;
                if let Some(cipher) = tls
                    && *cipher != CipherSuite::default()
                {
                    write!(f, "?cipher={cipher}")?;
                    before = '&';
                }
            }
            Address::Nats(nats) => {
                let layer = if nats.tls.is_some() { "tls+" } else { "" };
                write!(f, "{layer}{scheme}://{nats}")?;
                if nats.has_settings() {
                    before = '&';
                }
            }
        }
        if let Some(file) = &self.psk {
            write!(f, "{before}psk={}", Encoded(&file.to_string_lossy()))?;
        }
        match &self.fragment {
            Some(fragment) => write!(f, "#{}", Encoded(fragment)),
            None => Ok(()),
        }
    }
}

/// An IPv6 address in the brackets a URL needs, anything else as it is.
pub(super) struct Bracketed<'a>(pub(super) &'a str);

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
pub(super) struct Encoded<'a>(pub(super) &'a str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control()
                || c.is_whitespace()
                || matches!(c, '%' | '#' | '?' | '&' | '"' | '<' | '>' | '\\' | '`')
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
