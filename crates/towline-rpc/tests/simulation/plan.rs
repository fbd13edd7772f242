//! What one seed does: the network, the limits and the work.

use std::time::Duration;

use bytes::Bytes;
use towline_rpc::proto::{Compression, Concurrency, Limits};
use towline_sim::{Conditions, Rng};

use crate::pushes::PushPlan;

/// Everything that a seed decides before the run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) conditions: [Conditions; 2],
    pub(crate) may_be_cut: bool,
    pub(crate) client_limits: Limits,
    pub(crate) server_limits: Limits,
    pub(crate) outbox_bytes: [usize; 2],
    pub(crate) queue_parts: [usize; 2],
    pub(crate) concurrency: Concurrency,
    pub(crate) compressions: [Compression; 2],
    pub(crate) mirror: bool,
    pub(crate) operations: Vec<Operation>,
    pub(crate) pushes: PushPlan,
    pub(crate) largest: usize,
}

/// One thing that the application of the client does.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) begins: Duration,
    pub(crate) kind: Kind,
    pub(crate) service: &'static str,
    /// Of the body, of each part.
    pub(crate) sizes: Vec<usize>,
    pub(crate) timeout: Option<Duration>,
    /// When the caller leaves, after the beginning; at once is directly behind the request.
    pub(crate) leaves: Option<Duration>,
    /// Between two parts.
    pub(crate) pace: Duration,
    pub(crate) uncompressed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Call,
    OneWay,
    Upload,
    Download,
    NetRpc,
}

impl Plan {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let chop = [usize::MAX, 64 << 10, 8 << 10, 1 << 10, 40][rng.below(5)];
        // Bodies that match the pieces: a megabyte in pieces of twenty bytes shows nothing new.
        let largest = if chop < 1 << 10 { 2000 } else { 200_000 };
        let may_be_cut = rng.chance(1, 4);
        let cut_direction = rng.below(2);
        let conditions = [0, 1].map(|direction| {
            let mut conditions = Conditions::default()
                .delay(rng.duration(Duration::from_millis(200)))
                .buffer(rng.between(1, 300_000));
            if rng.chance(1, 2) {
                conditions = conditions.jitter(rng.duration(Duration::from_millis(100)));
            }
            if chop != usize::MAX {
                conditions = conditions.chop(chop);
            }
            if rng.chance(1, 3) {
                conditions = conditions.stall(rng.between(50, 1000), Duration::from_secs(5));
            }
            if may_be_cut && direction == cut_direction {
                conditions = conditions.cut_after(rng.spread(largest * 4) as u64);
            }
            conditions
        });
        let outbox_bytes = [0, 1].map(|_| rng.between(500, 500_000));
        let queue_parts = [0, 1].map(|_| rng.between(1, 20));
        let mut limits = |side: usize| {
            Limits::default()
                .outbox_bytes(outbox_bytes[side])
                .queue_parts(queue_parts[side])
                .queue_bytes(rng.between(1000, 1_000_000))
                .credit(rng.chance(3, 4))
                .keep_alive(
                    rng.chance(1, 2)
                        .then(|| Duration::from_secs(1) + rng.duration(Duration::from_secs(20))),
                )
        };
        let (client_limits, server_limits) = (limits(0), limits(1));
        let concurrency = Concurrency::default()
            .running(rng.between(1, 20))
            .waiting(rng.between(0, 60))
            .waiting_bytes(rng.between(0, largest * 10));
        let compressions = [0, 1].map(|_| {
            if rng.chance(1, 2) {
                Compression::S2
            } else {
                Compression::None
            }
        });
        let mirror = rng.chance(3, 4);
        let operations = (0..rng.between(1, 40))
            .map(|_| Operation::new(rng, largest))
            .collect();
        let pushes = PushPlan::new(rng, largest);
        Self {
            conditions,
            may_be_cut,
            client_limits,
            server_limits,
            outbox_bytes,
            queue_parts,
            concurrency,
            compressions,
            mirror,
            operations,
            pushes,
            largest,
        }
    }
}

impl Operation {
    fn new(rng: &mut Rng, largest: usize) -> Self {
        use Kind::{Call, Download, NetRpc, OneWay, Upload};
        let (kind, service) = [
            (Call, "echo"),
            (Call, "echo"),
            (Call, "echo"),
            (Call, "fail"),
            (Call, "nosuch"),
            (OneWay, "note"),
            (OneWay, "nosuch"),
            (Upload, "sum"),
            (Upload, "sum"),
            (Upload, "early"),
            (Upload, "nosuch"),
            (Download, "feed"),
            (Download, "feed"),
            (Download, "nosuch"),
            (NetRpc, "S.echo"),
            (NetRpc, "S.echo"),
            (NetRpc, "S.fail"),
        ][rng.below(17)];
        let parts = match kind {
            Call | OneWay | NetRpc => 1,
            Upload => rng.between(2, 30),
            Download => rng.below(30),
        };
        let largest = if parts > 5 { largest / 10 } else { largest };
        Self {
            begins: rng.duration(Duration::from_secs(2)),
            kind,
            service,
            sizes: (0..parts).map(|_| rng.spread(largest)).collect(),
            timeout: (kind != OneWay && rng.chance(1, 4))
                .then(|| rng.duration(Duration::from_secs(3))),
            leaves: match rng.below(8) {
                0 => Some(Duration::ZERO),
                1 => Some(rng.duration(Duration::from_secs(2))),
                _ => None,
            },
            pace: if rng.chance(1, 2) {
                Duration::ZERO
            } else {
                rng.duration(Duration::from_millis(50))
            },
            uncompressed: rng.chance(1, 8),
        }
    }
}

/// The body of a part: known to both ends without being sent.
pub(crate) fn content(operation: usize, part: usize, len: usize) -> Bytes {
    if operation.is_multiple_of(2) {
        let line = format!("operation {operation}, part {part}. ");
        line.into_bytes().into_iter().cycle().take(len).collect()
    } else {
        Rng::from_seed((operation * 1000 + part) as u64)
            .bytes(len)
            .into()
    }
}
