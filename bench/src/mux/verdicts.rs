//! What towline's streams are to reach.

use super::{
    Load, MEDIAN, OPENER_BYTES, OPENER_MEMORY, P99, PER_SECOND, RATE, SERVER_BYTES, SERVER_MEMORY,
};
use crate::{
    report::Verdict,
    samples::{Metric, RAW, Samples},
};

/// A limit of a ratio to raw, or of the value itself.
#[derive(Clone, Copy)]
enum Goal {
    AtLeast(f64),
    AtMost(f64),
    ValueAtLeast(f64),
    ValueAtMost(f64),
}

pub(super) fn of(samples: &Samples) -> Vec<Verdict> {
    let goals: [(Load, Metric, Goal); 12] = [
        (Load::Bulk, RATE, Goal::AtLeast(0.8)),
        (Load::BulkOneThread, RATE, Goal::AtLeast(0.9)),
        (Load::Many, RATE, Goal::AtLeast(0.6)),
        (Load::Many, OPENER_MEMORY, Goal::ValueAtMost(32.0)),
        (Load::Many, SERVER_MEMORY, Goal::ValueAtMost(32.0)),
        (Load::Open, MEDIAN, Goal::AtMost(1.8)),
        (Load::Burst, PER_SECOND, Goal::AtLeast(10.0)),
        (Load::PingPong, MEDIAN, Goal::AtMost(1.1)),
        (Load::Idle, OPENER_BYTES, Goal::ValueAtMost(350.0)),
        (Load::Idle, SERVER_BYTES, Goal::ValueAtMost(750.0)),
        (Load::Idle, PER_SECOND, Goal::ValueAtLeast(120_000.0)),
        (Load::Interactive, P99, Goal::AtMost(3.0)),
    ];
    let mut verdicts = Vec::new();
    for (load, metric, goal) in goals {
        for peer in ["towline-yamux", "towline-muxado"] {
            let what = format!("{}: {peer}'s {}", load.title(), metric.name);
            let ratios = samples.ratios(load.title(), peer, RAW, metric.name);
            let values = samples.find(load.title(), peer, metric.name);
            let verdict = match (goal, ratios, values) {
                (Goal::AtLeast(limit), Some(ratios), _) => {
                    Verdict::at_least(&format!("{what}, of raw"), limit, &ratios)
                }
                (Goal::AtMost(limit), Some(ratios), _) => {
                    Verdict::at_most(&format!("{what}, of raw"), limit, &ratios)
                }
                (Goal::ValueAtLeast(limit), _, Some(series)) => {
                    Verdict::at_least(&what, limit, &series.values)
                }
                (Goal::ValueAtMost(limit), _, Some(series)) => {
                    Verdict::at_most(&what, limit, &series.values)
                }
                _ => continue,
            };
            verdicts.push(verdict);
        }
    }
    verdicts
}
