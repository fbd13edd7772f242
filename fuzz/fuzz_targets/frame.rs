//! Any bytes, in any pieces: frames are cut, decompressed and decoded, or refused, and never panic.

#![no_main]

use std::time::Instant;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use towline_codec::{Text, greenpack::Timestamp};
use towline_rpc::proto::{
    Client, Compression, Concurrency, EncodedFrame, FrameReader, Limits, Message, Now, PartTaken,
    Received, Server, ServerEvent, Violation,
};

/// The start of every frame; a fuzzer seldom guesses seven bytes.
const MAGIC: [u8; 7] = [0xb3, 0x5d, 0x18, 0x39, 0xac, 0x8e, 0x1d];

fuzz_target!(|data: &[u8]| {
    let [mode, piece, rest @ ..] = data else {
        return;
    };
    let stream = match mode {
        // Half of the inputs are a stream as it comes; the others a frame around the bytes.
        0..=127 => rest.to_vec(),
        _ => framed(mode % 9, rest),
    };
    let whole = read(&stream, stream.len().max(1));
    let pieces = read(&stream, usize::from(*piece).max(1));
    assert_eq!(whole, pieces);
    for received in &whole.0 {
        expect_rewritten(received);
    }
    both_roles_take(whole.0);
});

fn framed(compression: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = MAGIC.to_vec();
    frame.push(compression);
    frame.extend_from_slice(&(body.len() as u64).to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

/// Feeds the stream in pieces; what came out, and why it stopped.
fn read(stream: &[u8], piece: usize) -> (Vec<Received>, Option<Violation>) {
    let mut reader = FrameReader::new();
    let mut input = BytesMut::new();
    let mut out = Vec::new();
    for piece in stream.chunks(piece) {
        reader.make_room(&mut input, piece.len());
        input.extend_from_slice(piece);
        loop {
            match reader.handle_input(&mut input) {
                Ok(Some(received)) => out.push(received),
                Ok(None) => break,
                Err(violation) => return (out, Some(violation)),
            }
        }
    }
    let violation = reader.violation_at_end(&input);
    (out, violation)
}

/// What was understood of a message survives being sent on.
fn expect_rewritten(received: &Received) {
    let Ok(frame) = EncodedFrame::new(&received.message, Compression::S2) else {
        return;
    };
    let (again, violation) = read(frame.bytes(), frame.bytes().len());
    assert_eq!(violation, None);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].message, received.message);
}

/// Whatever the messages say: no panic, and no more state than they can have opened.
fn both_roles_take(messages: Vec<Received>) {
    // Only differences to this instant matter.
    let now = Now {
        instant: Instant::now(),
        wall: Timestamp::new(1_800_000_000, 0),
    };
    let (here, there) = (Text::from_static("mem://a"), Text::from_static("mem://b"));
    let mut server = Server::new(
        Limits::default(),
        Concurrency::default().running(2).waiting(2),
        Compression::None,
        true,
        here.clone(),
        there.clone(),
        now,
    );
    let mut client = Client::new(
        Limits::default(),
        Compression::None,
        here,
        there,
        [0; 32],
        now,
    );
    // Open under the CallIDs and sequence numbers that the dictionary leads to.
    let mut call = Message::request("work", "");
    call.hdr.call_id = Text::from_static("a");
    client.begin_call(now, &mut call, None, ());
    let mut request = call.clone();
    let download = client.begin_download(now, &mut request);
    let mut upload = call.clone();
    client.begin_upload(now, &mut upload);
    let mut served = Vec::new();
    for received in messages {
        if client.handle_message(now, received.clone()).is_ok() {
            while client.poll_event().is_some() {}
            client.take_part(now, download);
            assert!(client.in_flight() <= 3);
        }
        if server.handle_message(now, received).is_err() {
            break;
        }
        while let Some(event) = server.poll_event() {
            match event {
                ServerEvent::Start { key, .. } => served.push(key),
                ServerEvent::PartReady { key } | ServerEvent::Cancelled { key } => {
                    while let PartTaken::Part(..) = server.take_part(now, key) {}
                }
                ServerEvent::MaySend { key } => assert!(server.may_send(key)),
            }
        }
        assert!(served.len() <= 2 && server.in_flight() <= 4);
        if served.len() == 2 {
            let reply = server.reply(now, served.remove(0), Message::new());
            server
                .enqueue(now, &reply.expect("it runs"))
                .expect("small");
        }
    }
    // What a server writes, its client can read.
    let mut written = Vec::new();
    while let Some(piece) = server.poll_transmit() {
        written.extend_from_slice(&piece);
    }
    assert_eq!(read(&written, written.len().max(1)).1, None);
}
