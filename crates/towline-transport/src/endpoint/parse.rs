//! Reading endpoint URLs.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use towline_identity::CipherSuite;

use super::{Address, Endpoint, EndpointProblem, MAX_SOCKET_PATH, Multiplexer, Scheme};

/// Longer texts are no endpoints; nothing of them is kept.
const MAX_CHARS: usize = 8192;
/// The longest DNS name.
const MAX_HOST: usize = 253;

pub(super) fn parse(text: &str) -> Result<Endpoint, EndpointProblem> {
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
    let (multiplexer, transport) = match scheme.split_once('+') {
        Some(("yamux", transport)) => (Some(Multiplexer::Yamux), transport),
        Some(("muxado", transport)) => (Some(Multiplexer::Muxado), transport),
        _ => (None, scheme.as_str()),
    };
    let (address, psk) = match transport {
        "tcp" => {
            let (_, psk) = settings(query, Scheme::Tcp)?;
            let (host, port) = host_port(rest)?;
            (Address::Tcp { host, port }, psk)
        }
        "tls" => {
            let (cipher, psk) = settings(query, Scheme::Tls)?;
            let (host, port) = host_port(rest)?;
            (Address::Tls { host, port, cipher }, psk)
        }
        "unix" => {
            let (_, psk) = settings(query, Scheme::Unix)?;
            let path = socket_path(rest)?;
            (Address::Unix { path }, psk)
        }
        "mem" => {
            let (_, psk) = settings(query, Scheme::Mem)?;
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if rest.is_empty() || !rest.chars().all(plain) {
                return Err(EndpointProblem::BadMemName);
            }
            let name = rest.to_owned();
            (Address::Mem { name }, psk)
        }
        _ => return Err(unsupported(scheme)),
    };
    Ok(Endpoint {
        multiplexer,
        address,
        psk,
        fragment,
    })
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

/// Reads the query: the suite, which only `tls` has, and the file of the pre-shared key.
fn settings(
    query: &str,
    scheme: Scheme,
) -> Result<(CipherSuite, Option<PathBuf>), EndpointProblem> {
    let (mut cipher, mut psk) = (None, None);
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
            "psk" => {
                let file = decode(value)?;
                if file.is_empty() {
                    return Err(EndpointProblem::Psk);
                }
                if psk.replace(PathBuf::from(file)).is_some() {
                    return Err(EndpointProblem::TwiceKey(key.to_owned()));
                }
            }
            _ => {
                let known = if scheme == Scheme::Tls {
                    "; there are ?cipher= and ?psk="
                } else {
                    "; there is ?psk="
                };
                return Err(EndpointProblem::UnknownKey(
                    key.chars().take(40).collect(),
                    known,
                ));
            }
        }
    }
    Ok((cipher.unwrap_or_default(), psk))
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
    String::from_utf8(bytes).map_err(|_| EndpointProblem::NotText)
}
