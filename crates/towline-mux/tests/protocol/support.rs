//! One end of a session, driven by hand.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use towline_mux::proto::{
    Accepting, Engine, Event, Opening, ReadError, Reading, Role, StreamKey, Transmit, Violation,
    WriteError, muxado, yamux,
};

pub(crate) struct Side {
    pub(crate) engine: Engine,
    pub(crate) now: Instant,
    input: BytesMut,
    out: Transmit,
}

impl Side {
    pub(crate) fn yamux(role: Role, config: yamux::Config) -> Self {
        let now = Instant::now();
        Self::new(Engine::yamux(role, &config, [9; 32], now).unwrap(), now)
    }

    pub(crate) fn muxado(role: Role, config: muxado::Config) -> Self {
        let now = Instant::now();
        Self::new(Engine::muxado(role, &config, [9; 32], now).unwrap(), now)
    }

    fn new(engine: Engine, now: Instant) -> Self {
        Self {
            engine,
            now,
            input: BytesMut::new(),
            out: Transmit::new(),
        }
    }

    /// A yamux server that does not measure round trips, so that it says only what it is made to.
    pub(crate) fn server() -> Self {
        Self::yamux(Role::Server, quiet())
    }

    /// As [`server`](Self::server).
    pub(crate) fn client() -> Self {
        Self::yamux(Role::Client, quiet())
    }

    pub(crate) fn hear(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        self.input.extend_from_slice(bytes);
        self.engine.handle_input(self.now, &mut self.input)
    }

    /// Takes what it has heard and left, until its answers have left.
    pub(crate) fn go_on(&mut self) -> Result<(), Violation> {
        self.engine.handle_input(self.now, &mut self.input)
    }

    /// Hears hexadecimal text, blanks ignored.
    pub(crate) fn hear_hex(&mut self, text: &str) -> Result<(), Violation> {
        self.hear(&hex(text))
    }

    /// The transport has ended.
    pub(crate) fn hear_end(&mut self) {
        let rest = std::mem::take(&mut self.input);
        self.engine.handle_end(self.now, &rest);
    }

    /// Everything that it says now.
    pub(crate) fn said(&mut self) -> Vec<u8> {
        let mut said = Vec::new();
        loop {
            self.engine
                .poll_transmit(self.now, &mut self.out, usize::MAX);
            if self.out.is_empty() {
                return said;
            }
            said.append(&mut self.out.take());
        }
    }

    pub(crate) fn said_hex(&mut self) -> String {
        to_hex(&self.said())
    }

    /// What it says, frame by frame, as the recordings tell it.
    pub(crate) fn said_yamux(&mut self) -> Vec<String> {
        describe(&self.said())
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.engine.poll_event()).collect()
    }

    pub(crate) fn open(&mut self) -> StreamKey {
        match self.engine.open(self.now).unwrap() {
            Opening::Stream(key) => key,
            Opening::Blocked => panic!("opening is blocked"),
        }
    }

    pub(crate) fn accept(&mut self) -> StreamKey {
        match self.engine.accept(self.now) {
            Accepting::Stream(key) => key,
            other => panic!("no stream: {other:?}"),
        }
    }

    pub(crate) fn accept_all(&mut self) -> Vec<StreamKey> {
        std::iter::from_fn(|| match self.engine.accept(self.now) {
            Accepting::Stream(key) => Some(key),
            _ => None,
        })
        .collect()
    }

    pub(crate) fn read(&mut self, key: StreamKey, max: usize) -> Result<Reading, ReadError> {
        self.engine.read(key, max)
    }

    /// Reads until nothing is there: the bytes, and what came instead of more.
    pub(crate) fn read_all(&mut self, key: StreamKey) -> (Vec<u8>, Result<Reading, ReadError>) {
        let mut all = Vec::new();
        loop {
            match self.read(key, usize::MAX) {
                Ok(Reading::Chunk(chunk)) => all.extend_from_slice(&chunk),
                other => return (all, other),
            }
        }
    }

    /// Reads and forgets what is there.
    pub(crate) fn drain(&mut self, key: StreamKey) {
        while let Ok(Reading::Chunk(_)) = self.read(key, usize::MAX) {}
    }

    /// Writes as much as is taken; returns how much that was.
    pub(crate) fn write(&mut self, key: StreamKey, bytes: &[u8]) -> Result<usize, WriteError> {
        let mut written = 0;
        while written < bytes.len() {
            let room = self.engine.write_room(key)?;
            if room == 0 {
                break;
            }
            let until = bytes.len().min(written + room);
            let piece = Bytes::copy_from_slice(&bytes[written..until]);
            self.engine.write(key, piece)?;
            written = until;
        }
        Ok(written)
    }

    /// Has its first pings answered, each after this time: the round trip that it then knows.
    pub(crate) fn measure(&mut self, round_trip: Duration) {
        for number in 0..3 {
            assert_eq!(self.said_hex(), format!("0002000100000000{number:08x}"));
            self.wait(round_trip);
            self.hear_hex(&format!("0002000200000000{number:08x}"))
                .unwrap();
        }
        assert!(self.said().is_empty());
    }

    /// Lets time pass, and what is due happen.
    pub(crate) fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(deadline) = self.engine.deadline()
            && deadline <= until
        {
            self.now = self.now.max(deadline);
            self.engine.handle_timeout(self.now);
            self.engine
                .poll_transmit(self.now, &mut self.out, usize::MAX);
        }
        self.now = until;
    }
}

/// Carries what both ends say to the other until both are silent.
pub(crate) fn talk(a: &mut Side, b: &mut Side) {
    loop {
        let (from_a, from_b) = (a.said(), b.said());
        if from_a.is_empty() && from_b.is_empty() {
            return;
        }
        a.hear(&from_b).unwrap();
        b.hear(&from_a).unwrap();
    }
}

pub(crate) fn quiet() -> yamux::Config {
    yamux::Config::default().rtt_interval(None).keep_alive(None)
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// yamux frames in words: `WU[ACK] sid=1 len=0`.
pub(crate) fn describe(mut bytes: &[u8]) -> Vec<String> {
    let mut frames = Vec::new();
    while let Some((header, rest)) = bytes.split_first_chunk() {
        let header = yamux::Header::decode(header).unwrap();
        let kind = match header.kind {
            yamux::Kind::Data => "DATA",
            yamux::Kind::WindowUpdate => "WU",
            yamux::Kind::Ping => "PING",
            yamux::Kind::GoAway => "GOAWAY",
        };
        let flags: Vec<_> = ["SYN", "ACK", "FIN", "RST"]
            .into_iter()
            .enumerate()
            .filter(|(bit, _)| header.flags.0 & (1 << bit) != 0)
            .map(|(_, name)| name)
            .collect();
        frames.push(format!(
            "{kind}[{}] sid={} len={}",
            flags.join(","),
            header.stream,
            header.length
        ));
        let body = if header.kind == yamux::Kind::Data {
            header.length as usize
        } else {
            0
        };
        bytes = &rest[body..];
    }
    assert!(bytes.is_empty(), "half a header was said");
    frames
}

/// The entries of a file of recordings.
pub(crate) fn vectors(file: &str) -> Vec<Value> {
    let path = format!("{}/tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let Value::Array(entries) = serde_json::from_str(&text).unwrap() else {
        panic!("{file} is not a list");
    };
    entries
}

pub(crate) fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
    entry[field].as_str().unwrap_or_default()
}

pub(crate) fn number(entry: &Value, field: &str) -> u32 {
    u32::try_from(entry[field].as_u64().unwrap_or_default()).unwrap()
}
