//! How fast a stream is, and who is held up by whom, in virtual time.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use towline_mux::proto::{
    Accepting, Engine, Opening, Reading, Role, StreamKey, Transmit, muxado, yamux,
};
use towline_sim::{Conditions, Node, Pair, Rng};

/// A gigabit, in bytes a second.
const GIGABIT: u64 = 125_000_000;

struct End {
    engine: Engine,
    input: BytesMut,
    out: Transmit,
    streams: Vec<StreamKey>,
    /// What each stream still sends.
    left: Vec<usize>,
    got: Vec<u64>,
    /// The stream that is not read.
    dead: Option<usize>,
    piece: Bytes,
    ended: usize,
}

impl End {
    fn new(engine: Engine) -> Self {
        Self {
            engine,
            input: BytesMut::new(),
            out: Transmit::new(),
            streams: Vec::new(),
            left: Vec::new(),
            got: Vec::new(),
            dead: None,
            piece: Bytes::from(vec![7; 64 << 10]),
            ended: 0,
        }
    }

    fn open(&mut self, now: Instant, bytes: usize) {
        let Opening::Stream(key) = self.engine.open(now).unwrap() else {
            panic!("opening is blocked");
        };
        self.streams.push(key);
        self.left.push(bytes);
        self.got.push(0);
    }

    fn act(&mut self, now: Instant) {
        while let Accepting::Stream(key) = self.engine.accept(now) {
            self.streams.push(key);
            self.left.push(0);
            self.got.push(0);
        }
        for (at, &key) in self.streams.iter().enumerate() {
            while self.left[at] > 0 {
                let room = self.engine.write_room(key).unwrap();
                let count = room.min(self.left[at]).min(self.piece.len());
                if count == 0 {
                    break;
                }
                self.engine.write(key, self.piece.slice(..count)).unwrap();
                self.left[at] -= count;
                if self.left[at] == 0 {
                    self.engine.shutdown(key).unwrap();
                }
            }
            if self.dead == Some(at) {
                continue;
            }
            loop {
                match self.engine.read(key, usize::MAX).unwrap() {
                    Reading::Chunk(chunk) => self.got[at] += chunk.len() as u64,
                    Reading::End => {
                        self.ended += usize::from(self.got[at] > 0);
                        break;
                    }
                    Reading::Blocked => break,
                }
            }
        }
        while self.engine.poll_event().is_some() {}
    }
}

impl Node for End {
    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.engine.handle_input(now, &mut self.input).unwrap();
        self.act(now);
    }

    fn handle_end(&mut self, _: Instant) {}

    fn poll_bytes(&mut self, now: Instant) -> Option<Bytes> {
        self.act(now);
        self.engine.poll_transmit(now, &mut self.out, 64 << 10);
        (!self.out.is_empty()).then(|| self.out.take().into())
    }

    fn deadline(&self) -> Option<Instant> {
        self.engine.deadline()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.engine.handle_timeout(now);
    }
}

/// What one stream carries between two moments over a gigabit and 100 ms, as a share of the link.
fn share_of_the_link(client: Engine, server: Engine, now: Instant, from: u64, until: u64) -> f64 {
    let conditions = Conditions::default()
        .delay(Duration::from_millis(50))
        .bandwidth(GIGABIT)
        .buffer(64 << 20);
    let mut client = End::new(client);
    client.open(now, usize::MAX);
    let mut pair = Pair::new(
        client,
        End::new(server),
        &conditions,
        Rng::from_seed(1),
        now,
    );
    let mut at = |until: u64| {
        pair.drive(10_000_000, |pair| {
            pair.elapsed() < Duration::from_millis(until)
        })
        .unwrap();
        pair.b.got.iter().sum::<u64>()
    };
    let (before, after) = (at(from), at(until));
    (after - before) as f64 / (GIGABIT as f64 * (until - from) as f64 / 1000.0)
}

/// docs/wire Y44: with default settings, a window grows to what the link needs.
#[test]
fn simulated_yamux_fills_a_long_fast_link_within_three_seconds() {
    let now = Instant::now();
    let engine = |role| Engine::yamux(role, &yamux::Config::default(), [1; 32], now).unwrap();
    let share = share_of_the_link(engine(Role::Client), engine(Role::Server), now, 2500, 3000);
    assert!(share >= 0.9, "{share:.3} of the link");
}

/// With the window set alike on both sides.
#[test]
fn simulated_muxado_fills_a_long_fast_link_within_three_seconds() {
    let now = Instant::now();
    let config = muxado::Config::default().max_window_size(32 << 20);
    let engine = |role| Engine::muxado(role, &config, [1; 32], now).unwrap();
    let share = share_of_the_link(engine(Role::Client), engine(Role::Server), now, 2500, 3000);
    assert!(share >= 0.9, "{share:.3} of the link");
}

/// docs/wire Y71, U37: of 500 streams one is never read; the others lose nothing and are not held up.
#[test]
fn simulated_dead_reader_among_five_hundred_holds_up_nobody() {
    let now = Instant::now();
    let yamux = yamux::Config::default().accept_backlog(500);
    let muxado = muxado::Config::default().accept_backlog(500);
    let engines: [&dyn Fn(Role) -> Engine; 2] = [
        &|role| Engine::yamux(role, &yamux, [1; 32], now).unwrap(),
        &|role| Engine::muxado(role, &muxado, [1; 32], now).unwrap(),
    ];
    for engine in engines {
        let mut client = End::new(engine(Role::Client));
        for _ in 0..500 {
            client.open(now, 300_000);
        }
        let mut server = End::new(engine(Role::Server));
        server.dead = Some(250);
        let conditions = Conditions::default()
            .delay(Duration::from_millis(5))
            .bandwidth(GIGABIT);
        let mut pair = Pair::new(client, server, &conditions, Rng::from_seed(2), now);
        let whole =
            |pair: &Pair<End, End>| pair.b.got.iter().filter(|&&got| got == 300_000).count();
        pair.drive(10_000_000, |pair| whole(pair) < 499).unwrap();
        assert_eq!(whole(&pair), 499);
        // A hundred and fifty megabytes pass in 1.2 s.
        assert!(
            pair.elapsed() < Duration::from_secs(3),
            "{:?}",
            pair.elapsed()
        );
        assert!(pair.b.ended >= 499);
        let held = pair.b.engine.stats().bytes_held;
        assert_eq!(held, 262_144, "the dead one's window");
    }
}
