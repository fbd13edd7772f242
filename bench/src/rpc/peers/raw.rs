//! The limit: length-prefixed echo with perfect batching. One task writes a whole window of
//! requests with one system call, the server answers all it has read with one, and nobody keeps a
//! table of calls.

use std::time::Instant;

use anyhow::ensure;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    role::say_ready,
    rpc::{
        ClientArgs, Figures,
        load::{self, Latencies, nanos},
    },
};

const BUFFER: usize = 256 << 10;

pub(in crate::rpc) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    say_ready(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(echo(stream));
    }
}

async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER];
    let mut filled = 0;
    loop {
        let count = stream.read(&mut buffer[filled..]).await?;
        if count == 0 {
            return Ok(());
        }
        filled += count;
        let whole = whole_frames(&buffer[..filled]);
        stream.write_all(&buffer[..whole]).await?;
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
    }
}

/// How many bytes at the front are whole frames.
fn whole_frames(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some((prefix, _)) = bytes[at..].split_first_chunk::<4>() {
        let end = at + 4 + u32::from_be_bytes(*prefix) as usize;
        if end > bytes.len() {
            break;
        }
        at = end;
    }
    at
}

pub(in crate::rpc) async fn client(args: &ClientArgs) -> anyhow::Result<Figures> {
    let address = args.address.clone();
    let (in_flight, size) = (args.in_flight, args.size);
    load::measure(args, 1, |phase| {
        let address = address.clone();
        async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            // A length of four bytes, then the body.
            let mut frame = vec![0x5a; 4 + size];
            frame[..4].copy_from_slice(&(size as u32).to_be_bytes());
            let window = frame.repeat(in_flight);
            let mut replies = vec![0; window.len()];
            let mut latencies = Latencies::new();
            while !phase.is_over() {
                let start = Instant::now();
                stream.write_all(&window).await?;
                stream.read_exact(&mut replies).await?;
                ensure!(replies == window, super::DIFFERS);
                if phase.is_counting() {
                    let latency = nanos(start.elapsed());
                    latencies.extend(std::iter::repeat_n(latency, in_flight));
                }
            }
            Ok(latencies)
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_frames_are_answered() {
        let mut bytes = vec![0, 0, 0, 2, 7, 7, 0, 0, 0, 1];
        assert_eq!(whole_frames(&bytes), 6);
        bytes.push(9);
        assert_eq!(whole_frames(&bytes), 11);
        assert_eq!(whole_frames(&bytes[..3]), 0);
    }
}
