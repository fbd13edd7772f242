//! What towline's calls and streams are to reach.

use super::{CALLS, FAILED, LATE, Load, MEDIAN, Metric, P99, Peer, RATE, SIZES};
use crate::{report::Verdict, samples::Samples};

/// A limit of towline's ratio to a peer.
#[derive(Clone, Copy)]
enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

pub(super) fn of(samples: &Samples) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let mut judge = |title: &str, metric: Metric, peer: Peer, limit: Limit| {
        let ratios = samples.ratios(title, Peer::Towline.name(), peer.name(), metric.name);
        if let Some(ratios) = ratios {
            let what = format!("{title}: {} to {}", metric.name, peer.name());
            verdicts.push(match limit {
                Limit::AtLeast(limit) => Verdict::at_least(&what, limit, &ratios),
                Limit::AtMost(limit) => Verdict::at_most(&what, limit, &ratios),
            });
        }
    };
    for size in SIZES {
        for in_flight in [64, 512] {
            let title = Load::Tcp.title(size, in_flight);
            judge(&title, CALLS, Peer::Tarpc, Limit::AtLeast(3.0));
            judge(&title, CALLS, Peer::Tonic, Limit::AtLeast(6.0));
            if in_flight == 64 {
                judge(&title, P99, Peer::Handwritten, Limit::AtMost(2.0));
            }
            let title = Load::Tls.title(size, in_flight);
            judge(&title, CALLS, Peer::Tonic, Limit::AtLeast(4.5));
        }
        let title = Load::Single.title(size, 1);
        judge(&title, MEDIAN, Peer::Raw, Limit::AtMost(1.15));
    }
    for load in [Load::Upload, Load::Download] {
        judge(&load.title(0, 1), RATE, Peer::Raw, Limit::AtLeast(0.90));
    }
    let title = Load::Connections.title(0, 1);
    for metric in [LATE, FAILED] {
        if let Some(series) = samples.find(&title, Peer::Towline.name(), metric.name) {
            let what = format!("{title}: {}", metric.name);
            verdicts.push(Verdict::at_most(&what, 0.0, &series.values));
        }
    }
    verdicts
}
