//! Vectors, and streams that behave badly.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use towline_codec::framing::{FramingError, FramingProtocol, PacketCodec, Received};

pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) bytes: Bytes,
    pub(crate) decoded: Value,
}

pub(crate) fn load(name: &str) -> Vec<Vector> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(name);
    let entries: Vec<Value> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    entries
        .iter()
        .map(|entry| Vector {
            name: text(&entry["name"]).to_owned(),
            bytes: hex(text(&entry["hex"])),
            decoded: entry["decoded"].clone(),
        })
        .collect()
}

/// A text; absent is empty.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(crate) fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).unwrap() as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// What comes out of a stream that arrives in these reads: packets, and why it stopped.
pub(crate) fn receive<P: FramingProtocol>(
    mut codec: PacketCodec<P>,
    reads: &[Bytes],
) -> (Vec<Bytes>, Result<(), FramingError>) {
    let (mut buffer, mut packets) = (BytesMut::new(), Vec::new());
    for read in reads {
        buffer.extend_from_slice(read);
        loop {
            match codec.next_packet(&mut buffer) {
                Ok(Some(Received::Packet(packet))) => packets.push(packet.freeze()),
                Ok(Some(Received::Oversized { .. })) => {}
                Ok(None) => break,
                Err(error) => return (packets, Err(error)),
            }
        }
    }
    (packets, Ok(()))
}

/// Brings one byte at a time, and is not ready before each.
pub(crate) struct Dribble {
    bytes: Bytes,
    len: usize,
    ready: bool,
}

impl Dribble {
    pub(crate) fn new(bytes: Bytes) -> Self {
        let len = bytes.len();
        Self {
            bytes,
            len,
            ready: false,
        }
    }

    pub(crate) fn taken(&self) -> usize {
        self.len - self.bytes.len()
    }
}

impl AsyncRead for Dribble {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.ready = !self.ready;
        if self.ready {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if buf.remaining() > 0 && self.bytes.has_remaining() {
            buf.put_slice(&[self.bytes.get_u8()]);
        }
        Poll::Ready(Ok(()))
    }
}

/// Takes everything, and counts the writes.
#[derive(Default)]
pub(crate) struct Sink {
    pub(crate) bytes: BytesMut,
    pub(crate) writes: usize,
}

impl AsyncWrite for Sink {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes += 1;
        self.bytes.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
