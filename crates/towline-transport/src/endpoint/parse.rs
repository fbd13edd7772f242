//! Reading endpoint URLs.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use towline_identity::CipherSuite;

use super::nats::{BrokerTls, Nats, USUAL_PORT};
use super::{Address, Endpoint, EndpointProblem, MAX_SOCKET_PATH, Multiplexer};

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
    let known = Known {
        cipher: transport.starts_with("tls") || transport == "quic",
        nats: transport.ends_with("nats"),
    };
    let Settings {
        cipher,
        inbox,
        peers,
        broker,
        psk,
    } = settings(query, known)?;
    let cipher = cipher.unwrap_or_default();
    let address = match transport {
        "tcp" => {
            let (host, port) = host_port(rest)?;
            Address::Tcp { host, port }
        }
        "connect+tcp" => {
            let (host, port) = host_port(rest)?;
            Address::HttpConnect { host, port }
        }
        "tls" => {
            let (host, port) = host_port(rest)?;
            Address::Tls { host, port, cipher }
        }
        "quic" => {
            let (host, port) = host_port(rest)?;
            Address::Quic { host, port, cipher }
        }
        "udp" | "tls+udp" => {
            let (host, port) = host_port(rest)?;
            let tls = (transport == "tls+udp").then_some(cipher);
            Address::Udp { host, port, tls }
        }
        "nats" | "tls+nats" if cfg!(feature = "nats") => {
            let tls = (transport == "tls+nats").then_some(cipher);
            let tls_to_broker = broker.unwrap_or(BrokerTls::AsOffered);
            Address::Nats(Nats {
                inbox,
                peers,
                tls,
                tls_to_broker,
                ..nats(rest)?
            })
        }
        "unix" => {
            let path = socket_path(rest)?;
            Address::Unix { path }
        }
        "mem" => {
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

/// The settings that a transport has beside `?psk=`.
#[derive(Clone, Copy)]
struct Known {
    cipher: bool,
    nats: bool,
}

/// What the query says.
#[derive(Default)]
struct Settings {
    cipher: Option<CipherSuite>,
    inbox: Option<String>,
    peers: Option<String>,
    broker: Option<BrokerTls>,
    psk: Option<PathBuf>,
}

fn settings(query: &str, known: Known) -> Result<Settings, EndpointProblem> {
    let mut settings = Settings::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let is_first = match key {
            "cipher" if known.cipher => {
                let suite = decode(value)?
                    .parse()
                    .map_err(|error| EndpointProblem::BadValue(format!("{error}")))?;
                settings.cipher.replace(suite).is_none()
            }
            "cipher" => {
                return Err(EndpointProblem::UnknownKey(
                    key.to_owned(),
                    "; only TLS has cipher suites",
                ));
            }
            "inbox" if known.nats => settings.inbox.replace(subject(value)?).is_none(),
            "peers" if known.nats => settings.peers.replace(subject(value)?).is_none(),
            "broker" if known.nats => match value {
                "tls" => settings.broker.replace(BrokerTls::Required).is_none(),
                _ => {
                    return Err(EndpointProblem::BadValue(
                        "?broker= has one value: ?broker=tls".to_owned(),
                    ));
                }
            },
            "broker_ca" if known.nats => {
                let file = decode(value)?;
                if file.is_empty() {
                    return Err(EndpointProblem::BadValue(
                        "?broker_ca= names a file of authorities".to_owned(),
                    ));
                }
                let authority = BrokerTls::Authority(PathBuf::from(file));
                settings.broker.replace(authority).is_none()
            }
            "psk" => {
                let file = decode(value)?;
                if file.is_empty() {
                    return Err(EndpointProblem::Psk);
                }
                settings.psk.replace(PathBuf::from(file)).is_none()
            }
            _ => {
                let there = match (known.cipher, known.nats) {
                    (false, false) => "; there is ?psk=",
                    (true, false) => "; there are ?cipher= and ?psk=",
                    (false, true) => {
                        "; there are ?inbox=, ?peers=, ?broker=, ?broker_ca= and ?psk="
                    }
                    (true, true) => {
                        "; there are ?inbox=, ?peers=, ?cipher=, ?broker=, ?broker_ca= and ?psk="
                    }
                };
                return Err(EndpointProblem::UnknownKey(
                    key.chars().take(40).collect(),
                    there,
                ));
            }
        };
        if !is_first {
            return Err(EndpointProblem::TwiceKey(key.to_owned()));
        }
    }
    Ok(settings)
}

/// `[user[:password]@]host[:port]/SUBJECT`
fn nats(text: &str) -> Result<Nats, EndpointProblem> {
    let (broker, name) = text.split_once('/').ok_or(EndpointProblem::NoSubject)?;
    let (credentials, broker) = match broker.rsplit_once('@') {
        None => (None, broker),
        Some((login, broker)) => {
            let (user, password) = match login.split_once(':') {
                Some((user, password)) => (user, Some(decode(password)?)),
                None => (login, None),
            };
            (Some((decode(user)?, password)), broker)
        }
    };
    let behind_address = broker.rfind(']').map_or(broker, |end| &broker[end..]);
    let (host, port) = if broker.is_empty() || behind_address.contains(':') {
        host_port(broker)?
    } else {
        host_port(&format!("{broker}:{USUAL_PORT}"))?
    };
    if name.is_empty() {
        return Err(EndpointProblem::NoSubject);
    }
    Ok(Nats {
        credentials,
        host,
        port,
        subject: subject(name)?,
        inbox: None,
        peers: None,
        tls: None,
        tls_to_broker: BrokerTls::AsOffered,
    })
}

/// Words with dots between them, none of them a wildcard.
fn subject(text: &str) -> Result<String, EndpointProblem> {
    let subject = decode(text)?;
    let is_word = |word: &str| {
        !word.is_empty()
            && word != "*"
            && word != ">"
            && !word.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    if subject.split('.').all(is_word) {
        Ok(subject)
    } else {
        Err(EndpointProblem::BadSubject(subject))
    }
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
