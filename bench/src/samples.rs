//! What was measured, round by round.

/// A quantity and its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// Digits behind the point in a table.
    pub(crate) digits: usize,
    /// Whether a ratio to the raw peer says anything.
    pub(crate) compared: bool,
}

/// The values of one metric of one peer, one a round.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) workload: String,
    pub(crate) peer: &'static str,
    pub(crate) metric: Metric,
    pub(crate) values: Vec<f64>,
}

/// Every series, in the order in which they were first measured.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    pub(crate) series: Vec<Series>,
}

/// The peer that ratios refer to.
pub(crate) const RAW: &str = "raw";

impl Samples {
    /// Adds the value of one round.
    pub(crate) fn push(&mut self, workload: &str, peer: &'static str, metric: Metric, value: f64) {
        match self.position(workload, peer, metric.name) {
            Some(at) => self.series[at].values.push(value),
            None => self.series.push(Series {
                workload: workload.to_owned(),
                peer,
                metric,
                values: vec![value],
            }),
        }
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.series.extend(other.series);
    }

    pub(crate) fn find(&self, workload: &str, peer: &str, metric: &str) -> Option<&Series> {
        self.position(workload, peer, metric)
            .map(|at| &self.series[at])
    }

    /// The ratios of one peer to another, each within its round.
    pub(crate) fn ratios(
        &self,
        workload: &str,
        peer: &str,
        base: &str,
        metric: &str,
    ) -> Option<Vec<f64>> {
        let values = &self.find(workload, peer, metric)?.values;
        let base = &self.find(workload, base, metric)?.values;
        (values.len() == base.len()).then(|| {
            values
                .iter()
                .zip(base)
                .map(|(value, base)| value / base)
                .collect()
        })
    }

    /// The ratios of a series to the raw peer, where they say anything.
    pub(crate) fn ratios_to_raw(&self, series: &Series) -> Option<Vec<f64>> {
        if !series.metric.compared {
            return None;
        }
        self.ratios(&series.workload, series.peer, RAW, series.metric.name)
    }

    fn position(&self, workload: &str, peer: &str, metric: &str) -> Option<usize> {
        self.series.iter().position(|series| {
            series.workload == workload && series.peer == peer && series.metric.name == metric
        })
    }
}

/// The middle value; of an even number, the mean of the middle two.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[len / 2],
        len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
    }
}

pub(crate) fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

pub(crate) fn greatest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEED: Metric = Metric {
        name: "calls",
        unit: "1/s",
        digits: 0,
        compared: true,
    };

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn ratios_are_taken_within_the_round() {
        let mut samples = Samples::default();
        // The machine was twice as fast in the second round.
        for (raw, ours) in [(10.0, 5.0), (20.0, 10.0)] {
            samples.push("rpc", RAW, SPEED, raw);
            samples.push("rpc", "towline", SPEED, ours);
        }
        let ours = samples.find("rpc", "towline", "calls").unwrap();
        assert_eq!(samples.ratios_to_raw(ours), Some(vec![0.5, 0.5]));
    }

    #[test]
    fn a_peer_that_was_not_measured_gives_no_ratio() {
        let mut samples = Samples::default();
        samples.push("rpc", "towline", SPEED, 1.0);
        let ours = samples.find("rpc", "towline", "calls").unwrap();
        assert_eq!(samples.ratios_to_raw(ours), None);
    }
}
