//! The PROXY protocol, versions 1 and 2: how a load balancer says for whom it connects.
//!
//! Nothing here guesses. Whether a connection begins with a header is decided by where it comes from
//! ([`ProxyProtocol`]); then it must, and where nobody was trusted to write one its bytes are data.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str;

use crate::network::Network;

/// The longest header of version 1, with its line end.
const V1_MAX: usize = 107;
/// The shortest of both versions: `PROXY UNKNOWN` and a line end.
const SHORTEST: usize = 15;
/// The fixed part of version 2.
const V2_FIXED: usize = 16;
/// What may follow it. The format allows 64 KiB; addresses and the usual extras are far below this.
const V2_MAX: usize = 2048;
const V1_START: &[u8] = b"PROXY ";
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Which connections begin with a PROXY header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyProtocol {
    networks: Vec<Network>,
    all: bool,
}

impl ProxyProtocol {
    /// None, the default.
    pub fn off() -> Self {
        Self::default()
    }

    /// All of them. Only where nobody but the proxy can connect: whoever connects names its own address.
    pub fn required() -> Self {
        Self {
            networks: Vec::new(),
            all: true,
        }
    }

    /// Those from these networks, and no others.
    pub fn from_networks(networks: impl IntoIterator<Item = Network>) -> Self {
        Self {
            networks: networks.into_iter().collect(),
            all: false,
        }
    }

    /// Whether a connection from there begins with a header.
    pub(crate) fn expected_from(&self, address: Option<IpAddr>) -> bool {
        self.all
            || address.is_some_and(|address| {
                self.networks
                    .iter()
                    .any(|network| network.contains(address))
            })
    }
}

/// What a proxy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyHeader {
    /// Whose connection it is; `None` if it is the proxy's own, or of a kind without such addresses.
    pub source: Option<SocketAddr>,
    /// Where that one connected to.
    pub destination: Option<SocketAddr>,
}

/// Bytes that are no PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// They begin as neither version does.
    #[error("the connection does not begin with a PROXY header")]
    NotProxy,
    /// A line of version 1 does not end within 107 bytes.
    #[error("the PROXY line is longer than 107 bytes")]
    LineTooLong,
    /// A line of version 1 does not say what it must.
    #[error("the PROXY line is malformed")]
    MalformedLine,
    /// A header of version 2 with another version, command, family or length.
    #[error("the binary PROXY header is malformed")]
    MalformedBinary,
    /// More than a proxy has to say.
    #[error("the PROXY header announces {announced} bytes, and at most 2048 are accepted")]
    TooLong {
        /// How many.
        announced: u16,
    },
}

/// How far a header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// It is whole, and takes so many bytes.
    Header(ProxyHeader, usize),
    /// At least so many more bytes belong to it: whoever reads no more takes nothing of what follows.
    More(usize),
}

impl ProxyHeader {
    const NOBODY: Self = Self {
        source: None,
        destination: None,
    };

    /// Looks for a header at the start of `input`.
    ///
    /// ```
    /// use towline_server::{Parsed, ProxyHeader};
    ///
    /// let line = b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 443\r\nGET /";
    /// let Parsed::Header(header, 42) = ProxyHeader::parse(line)? else { panic!() };
    /// assert_eq!(header.source, Some("192.0.2.7:40000".parse().unwrap()));
    /// assert_eq!(ProxyHeader::parse(&line[..20])?, Parsed::More(2));
    /// # Ok::<(), towline_server::ProxyError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ProxyError`], as soon as it is certain.
    pub fn parse(input: &[u8]) -> Result<Parsed, ProxyError> {
        let begins = |start: &[u8]| {
            let len = start.len().min(input.len());
            input[..len] == start[..len]
        };
        if input.len() < SHORTEST && (begins(V1_START) || begins(V2_START)) {
            return Ok(Parsed::More(SHORTEST - input.len()));
        }
        if begins(V2_START) {
            return parse_v2(input);
        }
        if begins(V1_START) {
            return parse_v1(input);
        }
        Err(ProxyError::NotProxy)
    }
}

fn parse_v1(input: &[u8]) -> Result<Parsed, ProxyError> {
    let within = &input[..input.len().min(V1_MAX)];
    let Some(end) = memchr::memmem::find(within, b"\r\n") else {
        // Two more at least, or one if the first half of the line end is there.
        let more = if input.last() == Some(&b'\r') { 1 } else { 2 };
        return if input.len() + more <= V1_MAX {
            Ok(Parsed::More(more))
        } else {
            Err(ProxyError::LineTooLong)
        };
    };
    let line =
        str::from_utf8(&input[V1_START.len()..end]).map_err(|_| ProxyError::MalformedLine)?;
    let mut words = line.split(' ');
    let header = match words.next() {
        // Whatever follows is to be ignored.
        Some("UNKNOWN") => ProxyHeader::NOBODY,
        Some("TCP4") => addresses::<Ipv4Addr>(words)?,
        Some("TCP6") => addresses::<Ipv6Addr>(words)?,
        _ => return Err(ProxyError::MalformedLine),
    };
    Ok(Parsed::Header(header, end + 2))
}

fn addresses<A>(words: str::Split<'_, char>) -> Result<ProxyHeader, ProxyError>
where
    A: str::FromStr + Into<IpAddr>,
{
    let words: Vec<&str> = words.collect();
    let [source, destination, from, to] = words[..] else {
        return Err(ProxyError::MalformedLine);
    };
    let address = |host: &str, port: &str| {
        let host: A = host.parse().ok()?;
        // Digits alone, and no zero in front.
        let plain = port.bytes().all(|digit| digit.is_ascii_digit());
        let plain = plain && (port == "0" || !port.starts_with('0'));
        let port = port.parse().ok().filter(|_| plain)?;
        Some(SocketAddr::new(host.into(), port))
    };
    match (address(source, from), address(destination, to)) {
        (Some(source), Some(destination)) => Ok(ProxyHeader {
            source: Some(source),
            destination: Some(destination),
        }),
        _ => Err(ProxyError::MalformedLine),
    }
}

fn parse_v2(input: &[u8]) -> Result<Parsed, ProxyError> {
    let Some(&[command, family, high, low]) = input
        .get(V2_START.len()..)
        .and_then(|rest| rest.first_chunk())
    else {
        return Ok(Parsed::More(V2_FIXED - input.len()));
    };
    let announced = u16::from_be_bytes([high, low]);
    let len = usize::from(announced);
    if len > V2_MAX {
        return Err(ProxyError::TooLong { announced });
    }
    if command & 0xf0 != 0x20 || command & 0x0f > 1 {
        return Err(ProxyError::MalformedBinary);
    }
    let whole = V2_FIXED + len;
    let Some(body) = input.get(V2_FIXED..whole) else {
        return Ok(Parsed::More(whole - input.len()));
    };
    let header = match (command & 0x0f, family) {
        // LOCAL: the proxy looks whether we live. What it says of addresses is to be ignored.
        (0, _) => ProxyHeader::NOBODY,
        (_, 0x11) => binary::<4>(body).ok_or(ProxyError::MalformedBinary)?,
        (_, 0x21) => binary::<16>(body).ok_or(ProxyError::MalformedBinary)?,
        // Unspecified, datagrams, Unix sockets: no address of a TCP peer.
        (_, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => ProxyHeader::NOBODY,
        _ => return Err(ProxyError::MalformedBinary),
    };
    Ok(Parsed::Header(header, whole))
}

/// Two addresses and two ports; what follows are extras.
fn binary<const N: usize>(body: &[u8]) -> Option<ProxyHeader>
where
    [u8; N]: Into<IpAddr>,
{
    let (source, rest) = body.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let &[a, b, c, d] = rest.first_chunk()?;
    let address = |ip: [u8; N], port| Some(SocketAddr::new(ip.into(), u16::from_be_bytes(port)));
    Some(ProxyHeader {
        source: address(*source, [a, b]),
        destination: address(*destination, [c, d]),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut header = V2_START.to_vec();
        header.extend([command, family]);
        header.extend((body.len() as u16).to_be_bytes());
        header.extend(body);
        header
    }

    /// Reads a header as a server does: never more than is said to belong to it.
    fn read(input: &[u8]) -> Result<(ProxyHeader, usize), ProxyError> {
        let mut come = 0;
        loop {
            match ProxyHeader::parse(&input[..come])? {
                Parsed::Header(header, len) => {
                    assert_eq!(len, come, "a byte behind the header was taken");
                    return Ok((header, len));
                }
                Parsed::More(more) => {
                    assert!(more > 0);
                    come += more;
                    assert!(come <= input.len(), "the header is cut short");
                }
            }
        }
    }

    fn from(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    /// docs/wire L51.
    #[test]
    fn both_versions_name_the_client() {
        let line = b"PROXY TCP6 2001:db8::7 ::1 40000 443\r\nrest";
        assert_eq!(read(line).unwrap().0.source, from("[2001:db8::7]:40000"));
        let body = [192, 0, 2, 7, 192, 0, 2, 1, 0x9c, 0x40, 1, 0xbb, 4, 0, 1, 9];
        let binary = [&v2(0x21, 0x11, &body)[..], b"rest"].concat();
        let (header, len) = read(&binary).unwrap();
        assert_eq!(header.source, from("192.0.2.7:40000"));
        assert_eq!(header.destination, from("192.0.2.1:443"));
        assert_eq!(&binary[len..], b"rest");
    }

    #[test]
    fn a_proxy_that_speaks_for_itself_names_nobody() {
        for header in [
            &b"PROXY UNKNOWN\r\n"[..],
            b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
            &v2(0x20, 0x11, &[0; 12]),
            &v2(0x20, 0, &[]),
            &v2(0x21, 0x31, &[0; 216]),
        ] {
            assert_eq!(read(header).unwrap(), (ProxyHeader::NOBODY, header.len()));
        }
    }

    /// docs/wire L51.
    #[test]
    fn malformed_headers_are_refused() {
        let long = [b"PROXY TCP4 ", &[b'1'; 100][..]].concat();
        for (header, error) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], ProxyError::NotProxy),
            (b"PROXY\tTCP4 1.1.1.1 1.1.1.1 1 1\r\n", ProxyError::NotProxy),
            (
                b"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n",
                ProxyError::MalformedLine,
            ),
            (
                b"PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n",
                ProxyError::MalformedLine,
            ),
            (
                b"PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n",
                ProxyError::MalformedLine,
            ),
            (
                b"PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n",
                ProxyError::MalformedLine,
            ),
            (b"PROXY TCP4 ::1 ::1 1 1\r\n", ProxyError::MalformedLine),
            (
                b"PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n",
                ProxyError::MalformedLine,
            ),
            (
                b"PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n",
                ProxyError::MalformedLine,
            ),
            (&long, ProxyError::LineTooLong),
            (&v2(0x11, 0x11, &[0; 12]), ProxyError::MalformedBinary),
            (&v2(0x22, 0x11, &[0; 12]), ProxyError::MalformedBinary),
            (&v2(0x21, 0x13, &[0; 12]), ProxyError::MalformedBinary),
            (&v2(0x21, 0x11, &[0; 11]), ProxyError::MalformedBinary),
            (&v2(0x21, 0x21, &[0; 35]), ProxyError::MalformedBinary),
            (
                &v2(0x21, 0x11, &[0; 2049]),
                ProxyError::TooLong { announced: 2049 },
            ),
        ] {
            assert_eq!(read(header), Err(error), "{}", header.escape_ascii());
        }
    }

    /// docs/wire L51.
    #[test]
    fn only_trusted_networks_are_believed() {
        let balancers = ProxyProtocol::from_networks(["10.0.0.0/8".parse().unwrap()]);
        assert!(balancers.expected_from(Some([10, 1, 1, 1].into())));
        assert!(!balancers.expected_from(Some([11, 1, 1, 1].into())));
        assert!(!balancers.expected_from(None));
        assert!(ProxyProtocol::required().expected_from(None));
        assert!(!ProxyProtocol::off().expected_from(Some([10, 1, 1, 1].into())));
    }

    proptest! {
        /// What is certain of a start stays so: no prefix of a header is refused, and none is a header.
        #[test]
        fn starts_of_headers_are_waited_for(body in proptest::collection::vec(any::<u8>(), 12..100)) {
            let header = v2(0x21, 0x11, &body);
            for len in 0..header.len() {
                let parsed = ProxyHeader::parse(&header[..len]);
                prop_assert!(matches!(parsed, Ok(Parsed::More(more)) if len + more <= header.len()));
            }
            prop_assert_eq!(read(&header).unwrap().1, header.len());
        }

        #[test]
        fn any_bytes_are_survived(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), start in 0..3) {
            match start {
                0 => {}
                1 => { bytes.splice(0..0, V1_START.iter().copied()); }
                _ => { bytes.splice(0..0, V2_START.iter().copied()); }
            }
            if let Ok(Parsed::Header(_, len)) = ProxyHeader::parse(&bytes) {
                prop_assert!(len <= bytes.len());
            }
        }
    }
}
