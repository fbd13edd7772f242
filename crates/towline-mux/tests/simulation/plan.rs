//! What a run is made of, drawn from its seed.

use std::time::Duration;

use towline_mux::proto::{Dialect, muxado, yamux};
use towline_sim::{Conditions, Rng};

/// Links may stall for minutes in all.
const SLOWEST: Duration = Duration::from_secs(3600);

/// What the sender of a direction does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Sends all of it, and ends.
    Whole,
    /// Resets after so many bytes.
    Reset(usize),
    /// Lets go of the stream after so many bytes.
    Dropped(usize),
}

/// How a receiver reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Appetite {
    Eager,
    /// Now and then, a little.
    Slow,
    /// Never; lets go of the stream at last.
    Dead,
}

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) dialect: Dialect,
    /// Streams that each end opens.
    pub(crate) streams: [usize; 2],
    pub(crate) conditions: [Conditions; 2],
    pub(crate) may_be_cut: bool,
    pub(crate) window: u32,
    pub(crate) backlog: usize,
    pub(crate) send_budget: usize,
    pub(crate) payload: u32,
    pub(crate) overcommit: Option<u64>,
    largest: usize,
    salt: u64,
}

impl Plan {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let dialect = if rng.chance(1, 2) {
            Dialect::Yamux
        } else {
            Dialect::Muxado
        };
        let may_be_cut = rng.chance(1, 6);
        let mut conditions = || {
            let mut conditions = Conditions::default().buffer(rng.between(1, 300_000));
            if rng.chance(1, 2) {
                conditions = conditions.delay(Duration::from_millis(rng.spread(200) as u64));
            }
            if rng.chance(1, 3) {
                conditions = conditions.jitter(Duration::from_millis(rng.spread(100) as u64));
            }
            if rng.chance(1, 3) {
                conditions = conditions.bandwidth(rng.between(50_000, 50_000_000) as u64);
            }
            if rng.chance(1, 2) {
                conditions = conditions.chop(rng.between(1, 3000));
            }
            if rng.chance(1, 4) {
                conditions = conditions.stall(50, Duration::from_millis(500));
            }
            if may_be_cut && rng.chance(2, 3) {
                conditions = conditions.cut_after(rng.spread(200_000) as u64);
            }
            conditions
        };
        let conditions = [conditions(), conditions()];
        let window = match dialect {
            Dialect::Yamux => 256 << 10,
            Dialect::Muxado => 1 + rng.spread(300_000) as u32,
        };
        Self {
            dialect,
            streams: [rng.spread(12), rng.spread(12)],
            conditions,
            may_be_cut,
            window,
            backlog: rng.between(1, 20),
            send_budget: rng.between(1024, 200_000),
            payload: 1012 + rng.spread(64_000) as u32,
            overcommit: rng
                .chance(1, 5)
                .then(|| u64::from(window) + rng.spread(400_000) as u64),
            // A window of a byte carries a byte in a round trip.
            largest: rng.spread((window as usize * 500).min(400_000)),
            salt: rng.any(),
        }
    }

    pub(crate) fn yamux(&self) -> yamux::Config {
        let config = yamux::Config::default()
            .accept_backlog(self.backlog)
            .send_budget(self.send_budget)
            .max_message_size(self.payload + 12)
            .linger(Duration::from_secs(5))
            .connection_write_timeout(SLOWEST)
            .close_timeout(SLOWEST);
        match self.overcommit {
            Some(budget) => config.overcommit(true).receive_budget(budget),
            None => config,
        }
    }

    pub(crate) fn muxado(&self) -> muxado::Config {
        let config = muxado::Config::default()
            .max_window_size(self.window)
            .send_budget(self.send_budget)
            .max_frame_payload(self.payload)
            .linger(Duration::from_secs(5))
            .connection_write_timeout(SLOWEST)
            .close_timeout(SLOWEST);
        match self.overcommit {
            Some(budget) => config.overcommit(true).receive_budget(budget),
            None => config,
        }
    }

    /// What is drawn for one direction of a stream: both ends know it without telling.
    fn of(&self, id: u32, by_opener: bool) -> Rng {
        Rng::from_seed(self.salt ^ u64::from(id) << 1 ^ u64::from(by_opener))
    }

    /// How many bytes the direction carries, and what becomes of it.
    pub(crate) fn direction(&self, id: u32, by_opener: bool) -> (usize, Fate) {
        let mut rng = self.of(id, by_opener);
        let len = rng.spread(self.largest);
        let fate = match rng.below(10) {
            0 => Fate::Reset(rng.below(len + 1)),
            1 => Fate::Dropped(rng.below(len + 1)),
            _ => Fate::Whole,
        };
        (len, fate)
    }

    pub(crate) fn appetite(&self, id: u32, by_opener: bool) -> Appetite {
        match self.of(id ^ 0x5555_0000, by_opener).below(12) {
            0 => Appetite::Dead,
            1..=3 => Appetite::Slow,
            _ => Appetite::Eager,
        }
    }
}

/// The byte at an offset of a direction.
pub(crate) fn byte(id: u32, by_opener: bool, at: usize) -> u8 {
    (at ^ (at >> 7) ^ (id as usize * 37)) as u8 ^ u8::from(by_opener)
}
