//! The towline end of `cargo xtask interop rpc25519`: what the original's program in `interop/rpc25519/original` answers and
//! plays, answered and played by towline.
//!
//! `rpc_peer serve LINK CERTS PSK COMPRESSION PART` answers until its input ends, and says where in a line;
//! `rpc_peer client LINK CERTS PSK COMPRESSION PART ADDR` plays the part and says `ok`.

mod client;
mod server;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use towline::identity::Identity;
use towline::rpc::server::ListenConfig;
use towline::rpc::{Client, Compression, proto::Limits};
use towline::transport::Endpoint;

type Failure = Box<dyn Error + Send + Sync>;

/// Keep-alives are sent after so long a silence, by both ends, in the part that is about silence.
const KEEP_ALIVE: Duration = Duration::from_millis(300);
/// A peer from whose system nothing comes for so long is gone.
const DEAD_PEER: Duration = Duration::from_secs(3);
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a download and an upload consist of.
const PARTS: usize = 20;
const PART_SIZE: usize = 100_000;

/// How the two ends are connected.
struct Link<'a> {
    scheme: &'a str,
    certs: &'a Path,
    psk: Option<&'a Path>,
    compression: Compression,
    part: &'a str,
}

impl<'a> Link<'a> {
    fn read(args: [&'a str; 5]) -> Result<Self, Failure> {
        let [link, certs, psk, compression, part] = args;
        Ok(Self {
            scheme: if link == "connect" {
                "connect+tcp"
            } else {
                link
            },
            certs: Path::new(certs),
            psk: (psk != "-").then(|| Path::new(psk)),
            compression: compression.parse()?,
            part,
        })
    }

    fn endpoint(&self, address: &str) -> Result<Endpoint, Failure> {
        let endpoint: Endpoint = format!("{}://{address}", self.scheme).parse()?;
        Ok(endpoint.with_psk(self.psk.map(Path::to_owned)))
    }

    /// A peer from which nothing comes for several keep-alives is gone.
    fn limits(&self) -> Limits {
        if self.part == "gone" {
            return Limits::default().dead_peer(Some(DEAD_PEER));
        }
        if !self.part.starts_with("idle=") {
            return Limits::default();
        }
        Limits::default()
            .keep_alive(Some(KEEP_ALIVE))
            .idle_timeout(Some(KEEP_ALIVE * 4))
    }
}

#[tokio::main]
#[expect(
    clippy::print_stdout,
    reason = "it says where it listens, and how it went"
)]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["serve", link, certs, psk, compression, part] => {
            let link = Link::read([link, certs, psk, compression, part])?;
            let server = server::services()?
                .compression(link.compression)
                .limits(link.limits())
                .build();
            let identity = Arc::new(Identity::load(link.certs, "node")?);
            let endpoint = link.endpoint("127.0.0.1:0")?.to_string();
            let config = ListenConfig::new().identity(identity);
            let listening = server.listen(&endpoint, config).await?;
            let port = listening.endpoint().port().unwrap_or(0);
            println!("listening 127.0.0.1:{port}");
            let mut input = Vec::new();
            tokio::io::stdin().read_to_end(&mut input).await?;
            listening.shutdown(KEEP_ALIVE).await;
        }
        ["client", link, certs, psk, compression, part, address] => {
            let link = Link::read([link, certs, psk, compression, part])?;
            let client = Client::builder()
                .identity(Arc::new(Identity::load(link.certs, "client")?))
                .compression(link.compression)
                .limits(link.limits())
                .call_timeout(Some(PATIENCE))
                .connect_endpoint(&link.endpoint(address)?)
                .await?;
            client::play(&client, part, link.compression).await?;
            client.close().await;
            println!("ok");
        }
        _ => return Err("rpc_peer serve|client LINK CERTS PSK COMPRESSION PART [ADDR]".into()),
    }
    Ok(())
}

/// What compresses well.
fn text(size: usize) -> Vec<u8> {
    let words = b"what goes over the wire is the same in both directions. ";
    words.iter().copied().cycle().take(size).collect()
}

/// What does not compress: xorshift64.
fn noise(size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 8);
    let mut state = size as u64;
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// FNV-1a of 64 bits, over words of eight bytes, and then over what is left.
fn sum(bytes: &[u8]) -> String {
    let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x0100_0000_01b3);
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words
        .iter()
        .map(|word| u64::from_le_bytes(*word))
        .chain(rest.iter().copied().map(u64::from))
        .fold(0xcbf2_9ce4_8422_2325, step);
    format!("{} {hash:016x}", bytes.len())
}
