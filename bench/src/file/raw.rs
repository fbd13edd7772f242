//! The limit: a plain copy over tokio-rustls, file to file, in blocks of 64 KiB, without a hash.
//!
//! The client says which way with one byte. Then eight bytes of length and the file go one way;
//! the receiver of a push answers with one byte when all of it is in its file.

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, ensure};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use towline::identity::{Identity, tls};

use super::{RawArgs, SOURCE};
use crate::role::say_ready;

const BLOCK: usize = 64 << 10;
const PUSH: u8 = 1;
const PULL: u8 = 2;
const STORED: u8 = 3;

pub(crate) async fn serve(args: RawArgs) -> anyhow::Result<()> {
    let identity = Identity::load(&args.certs, "node")?;
    let acceptor = TlsAcceptor::from(tls::server_config(&identity, args.suite)?);
    let dir = args.dir.context("a server needs a directory")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    say_ready(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let stream = acceptor.accept(stream).await?;
        let path = dir.join(SOURCE);
        tokio::spawn(async move {
            if let Err(error) = answer(stream, &path, args.blocking).await {
                eprintln!("error: {error:#}");
            }
        });
    }
}

async fn answer(
    mut stream: server::TlsStream<TcpStream>,
    path: &Path,
    blocking: bool,
) -> anyhow::Result<()> {
    match stream.read_u8().await? {
        PUSH => {
            receive(&mut stream, path, blocking).await?;
            stream.write_u8(STORED).await?;
        }
        PULL => send(&mut stream, path, blocking).await?,
        other => anyhow::bail!("{other} is no direction"),
    }
    stream.shutdown().await?;
    Ok(())
}

pub(crate) async fn push(address: SocketAddr, path: PathBuf, args: RawArgs) -> anyhow::Result<()> {
    let mut stream = connect(address, &args).await?;
    stream.write_u8(PUSH).await?;
    send(&mut stream, &path, args.blocking).await?;
    let answer = stream.read_u8().await?;
    ensure!(answer == STORED, "the server did not store the file");
    stream.shutdown().await?;
    Ok(())
}

pub(crate) async fn pull(address: SocketAddr, path: PathBuf, args: RawArgs) -> anyhow::Result<()> {
    let mut stream = connect(address, &args).await?;
    stream.write_u8(PULL).await?;
    stream.flush().await?;
    receive(&mut stream, &path, args.blocking).await?;
    stream.shutdown().await?;
    Ok(())
}

async fn connect(
    address: SocketAddr,
    args: &RawArgs,
) -> anyhow::Result<client::TlsStream<TcpStream>> {
    let identity = Identity::load(&args.certs, "client")?;
    let connector = TlsConnector::from(Arc::clone(&tls::client_config(&identity, args.suite)?));
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(tls::SERVER_NAME)?;
    Ok(connector.connect(name, stream).await?)
}

async fn send<S>(stream: &mut S, path: &Path, blocking: bool) -> anyhow::Result<()>
where
    S: AsyncWrite + Unpin,
{
    let mut block = vec![0; BLOCK];
    if blocking {
        let mut file = std::fs::File::open(path)?;
        stream.write_u64(file.metadata()?.len()).await?;
        loop {
            match file.read(&mut block)? {
                0 => break,
                count => stream.write_all(&block[..count]).await?,
            }
        }
    } else {
        let mut file = tokio::fs::File::open(path).await?;
        stream.write_u64(file.metadata().await?.len()).await?;
        loop {
            match file.read(&mut block).await? {
                0 => break,
                count => stream.write_all(&block[..count]).await?,
            }
        }
    }
    stream.flush().await?;
    Ok(())
}

async fn receive<S>(stream: &mut S, path: &Path, blocking: bool) -> anyhow::Result<()>
where
    S: AsyncRead + Unpin,
{
    let mut left = stream.read_u64().await?;
    let mut block = vec![0; BLOCK];
    if blocking {
        let mut file = std::fs::File::create(path)?;
        while left > 0 {
            let count = fill(stream, &mut block, left).await?;
            file.write_all(&block[..count])?;
            left -= count as u64;
        }
    } else {
        let mut file = tokio::fs::File::create(path).await?;
        while left > 0 {
            let count = fill(stream, &mut block, left).await?;
            file.write_all(&block[..count]).await?;
            left -= count as u64;
        }
        file.flush().await?;
    }
    Ok(())
}

/// Reads a whole block, or what is left.
async fn fill<S>(stream: &mut S, block: &mut [u8], left: u64) -> io::Result<usize>
where
    S: AsyncRead + Unpin,
{
    let count = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
    stream.read_exact(&mut block[..count]).await
}
