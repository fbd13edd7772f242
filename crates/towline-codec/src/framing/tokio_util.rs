//! Packets through tokio-util's `Framed`.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use super::codec::{PacketCodec, Received};
use super::protocol::FramingProtocol;

/// Packets that are passed over are counted ([`PacketCodec::skipped`]) and not told. What is left at the
/// end of the stream is dropped and counted; it is no error (docs/wire L25).
impl<P: FramingProtocol> Decoder for PacketCodec<P> {
    type Item = BytesMut;
    type Error = io::Error;

    fn decode(&mut self, input: &mut BytesMut) -> io::Result<Option<BytesMut>> {
        loop {
            match self.next_packet(input)? {
                Some(Received::Packet(packet)) => return Ok(Some(packet)),
                Some(Received::Oversized { .. }) => {}
                None => return Ok(None),
            }
        }
    }

    fn decode_eof(&mut self, input: &mut BytesMut) -> io::Result<Option<BytesMut>> {
        let packet = self.decode(input)?;
        if packet.is_none() {
            self.finish(input);
        }
        Ok(packet)
    }
}

impl<P: FramingProtocol> Encoder<Bytes> for PacketCodec<P> {
    type Error = io::Error;

    fn encode(&mut self, payload: Bytes, out: &mut BytesMut) -> io::Result<()> {
        Ok(self.encode_packet(&payload, out)?)
    }
}

impl<P: FramingProtocol> Encoder<&[u8]> for PacketCodec<P> {
    type Error = io::Error;

    fn encode(&mut self, payload: &[u8], out: &mut BytesMut) -> io::Result<()> {
        Ok(self.encode_packet(payload, out)?)
    }
}
