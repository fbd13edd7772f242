//! The clients of every peer: one thread, epoll, and nothing that differs from peer to peer.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use socket2::{Domain, Socket, Type};

use super::epoll::Poll;
use super::{broadcast, echo, idle};

fn dial(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Round trips a second, and the 99th percentile of their times in microseconds.
pub(super) fn echo(address: SocketAddr, seconds: f64) -> anyhow::Result<Vec<f64>> {
    let mut poll = Poll::new()?;
    let mut streams = Vec::new();
    for number in 0..echo::CONNECTIONS {
        let stream = dial(address)?;
        stream.set_nonblocking(true)?;
        poll.add(&stream, number)?;
        streams.push((stream, Instant::now(), 0));
    }
    for (stream, sent_at, _) in &mut streams {
        *sent_at = Instant::now();
        stream.write_all(&[7; echo::SIZE])?;
    }
    let warm = Instant::now() + Duration::from_millis(500);
    let end = warm + Duration::from_secs_f64(seconds);
    let mut times = Vec::new();
    let mut buffer = [0; echo::SIZE];
    loop {
        let ready = poll.wait()?;
        for number in ready {
            let (stream, sent_at, come) = &mut streams[number];
            let count = stream.read(&mut buffer[*come..])?;
            ensure!(count > 0, "the server hung up");
            *come += count;
            if *come < echo::SIZE {
                continue;
            }
            let now = Instant::now();
            if now > warm {
                times.push((now - *sent_at).as_nanos() as u64);
            }
            (*sent_at, *come) = (now, 0);
            stream.write_all(&[7; echo::SIZE])?;
        }
        if Instant::now() > end {
            break;
        }
    }
    times.sort_unstable();
    let p99 = times[times.len() * 99 / 100] as f64 / 1e3;
    Ok(vec![times.len() as f64 / seconds, p99])
}

/// What one connection costs the server, in bytes.
pub(super) fn idle(
    address: SocketAddr,
    resident: impl Fn() -> anyhow::Result<u64>,
) -> anyhow::Result<Vec<f64>> {
    let mut streams = Vec::new();
    let mut line = |count| -> anyhow::Result<()> {
        let from = streams.len();
        for _ in 0..count {
            streams.push(dial(address)?);
        }
        // All of them have had a packet there and back.
        for stream in &mut streams[from..] {
            stream.write_all(idle::LINE)?;
        }
        for stream in &mut streams[from..] {
            let mut back = [0; idle::LINE.len()];
            stream.read_exact(&mut back)?;
            ensure!(back == *idle::LINE, "not an echo");
        }
        Ok(())
    };
    // What the first ones need is not theirs.
    line(200)?;
    let before = resident()?;
    line(idle::CONNECTIONS)?;
    std::thread::sleep(Duration::from_millis(1500));
    let after = resident()?;
    Ok(vec![
        (after.saturating_sub(before)) as f64 / idle::CONNECTIONS as f64,
    ])
}

/// Milliseconds from the word to the last byte at the last connection that reads; the median of several.
pub(super) fn broadcast(address: SocketAddr) -> anyhow::Result<Vec<f64>> {
    let enrol = |stream: &mut TcpStream, role: u8| -> anyhow::Result<()> {
        stream.write_all(&[role])?;
        let mut known = [0];
        stream.read_exact(&mut known)?;
        Ok(())
    };
    let mut control = dial(address)?;
    enrol(&mut control, broadcast::CONTROL)?;
    let mut poll = Poll::new()?;
    let mut stalled = Vec::new();
    let mut streams = Vec::new();
    for number in 0..broadcast::TARGETS {
        // Spread among the others.
        if number % (broadcast::TARGETS / broadcast::STALLED) == 0 {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_recv_buffer_size(4096)?;
            socket.connect(&address.into())?;
            let mut stream = TcpStream::from(socket);
            enrol(&mut stream, broadcast::TARGET_STALLED)?;
            stalled.push(stream);
            continue;
        }
        let mut stream = dial(address)?;
        enrol(&mut stream, broadcast::TARGET)?;
        stream.set_nonblocking(true)?;
        poll.add(&stream, streams.len())?;
        streams.push((stream, 0_usize));
    }
    let mut reply = [0];
    control.write_all(&[broadcast::FILL])?;
    control.read_exact(&mut reply)?;

    let mut times = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    for round in 1..=broadcast::ROUNDS {
        let start = Instant::now();
        control.write_all(&[broadcast::SEND])?;
        let mut left = streams.len();
        while left > 0 {
            for number in poll.wait()? {
                let (stream, come) = &mut streams[number];
                let count = match stream.read(&mut buffer) {
                    Ok(count) => count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(error).context("a connection that reads"),
                };
                ensure!(count > 0, "the server hung up on a connection that reads");
                ensure!(
                    buffer[..count].iter().all(|byte| *byte == round),
                    "messages out of order"
                );
                *come += count;
                if *come == broadcast::SIZE {
                    *come = 0;
                    left -= 1;
                }
            }
        }
        times.push(start.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(Duration::from_millis(100));
    }
    // The first one finds cold caches at every peer.
    Ok(vec![crate::samples::median(&times[1..])])
}
