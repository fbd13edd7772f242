//! Many bytes one way, from memory to memory over TLS: as a stream of towline, and as a plain copy.

use std::{path::Path, time::Instant};

use anyhow::{Context as _, ensure};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{
    ClientArgs, Figures, Load, Peer,
    peers::{tls, towline},
};
use crate::{process::cpu_seconds, role::say_ready};

/// What one run moves.
pub(super) const BYTES: usize = 512 << 20;
/// What the plain copy writes and reads at a time.
const BLOCK: usize = 64 << 10;
const UPLOAD: u8 = 1;
const DOWNLOAD: u8 = 2;
const ARRIVED: u8 = 3;

/// Bytes that do not compress.
pub(super) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// MiB a second, and the processor time of both ends for a GiB.
pub(super) async fn client(args: &ClientArgs) -> anyhow::Result<Figures> {
    let cpu = || anyhow::Ok(cpu_seconds(std::process::id())? + cpu_seconds(args.server_pid)?);
    let (start, before);
    match (args.peer, args.load) {
        (Peer::Towline, load) => {
            let towline = towline::connect(args.address.clone(), args.certs.clone()).await?;
            (start, before) = (Instant::now(), cpu()?);
            match load {
                Load::Upload => towline.upload().await?,
                _ => towline.download().await?,
            }
        }
        (_, load) => {
            let mut stream = tls::connect(&args.address, &args.certs).await?;
            (start, before) = (Instant::now(), cpu()?);
            match load {
                Load::Upload => {
                    stream.write_u8(UPLOAD).await?;
                    send(&mut stream).await?;
                    ensure!(stream.read_u8().await? == ARRIVED, "not all bytes came");
                }
                _ => {
                    stream.write_u8(DOWNLOAD).await?;
                    stream.flush().await?;
                    receive(&mut stream).await?;
                }
            }
        }
    }
    let (elapsed, used) = (start.elapsed(), cpu()? - before);
    let gib = BYTES as f64 / f64::from(1 << 30);
    Ok(Figures(vec![
        gib * 1024.0 / elapsed.as_secs_f64(),
        used / gib,
    ]))
}

/// The plain copy's server.
pub(super) async fn serve(certs: &Path) -> anyhow::Result<()> {
    let acceptor = tls::acceptor(certs)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    say_ready(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let mut stream = acceptor.accept(stream).await?;
        tokio::spawn(async move {
            match stream.read_u8().await? {
                UPLOAD => {
                    receive(&mut stream).await?;
                    stream.write_u8(ARRIVED).await?;
                    stream.flush().await?;
                }
                _ => send(&mut stream).await?,
            }
            anyhow::Ok(())
        });
    }
}

async fn send(stream: &mut (impl AsyncWrite + Unpin)) -> anyhow::Result<()> {
    let block = noise(BLOCK);
    for _ in 0..BYTES / BLOCK {
        stream.write_all(&block).await?;
    }
    Ok(stream.flush().await?)
}

async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<()> {
    let mut block = vec![0; BLOCK];
    let mut left = BYTES;
    while left > 0 {
        let count = stream.read(&mut block).await?;
        ensure!(count > 0, "the other end hung up");
        left = left.checked_sub(count).context("too many bytes came")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_as_long_as_asked_for() {
        assert_eq!(noise(13).len(), 13);
        assert_eq!(noise(BLOCK)[..13], noise(13)[..]);
    }
}
