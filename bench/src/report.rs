//! Tables for people, lines of JSON for programs, and whether the targets are met.

use serde_json::json;

use crate::samples::{Samples, Series, greatest, least, median};

/// The results of one workload.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) samples: Samples,
    pub(crate) verdicts: Vec<Verdict>,
}

/// A target and what was reached.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// What is asked for.
    pub(crate) target: String,
    /// What was measured, in words.
    pub(crate) reached: String,
    pub(crate) met: bool,
}

impl Verdict {
    /// A ratio that must be at least `target`; judged by its median.
    pub(crate) fn at_least(what: &str, target: f64, ratios: &[f64]) -> Self {
        Self {
            target: format!("{what} at least {target:.2}"),
            reached: format!(
                "{:.2} ({:.2} to {:.2})",
                median(ratios),
                least(ratios),
                greatest(ratios)
            ),
            met: median(ratios) >= target,
        }
    }

    /// A ratio that must be at most `target`; judged by its median.
    pub(crate) fn at_most(what: &str, target: f64, ratios: &[f64]) -> Self {
        Self {
            target: format!("{what} at most {target:.2}"),
            met: median(ratios) <= target,
            ..Self::at_least(what, target, ratios)
        }
    }
}

/// One table a workload: a row for each peer, a column for each metric. The first metric is shown
/// with its range and its ratio to raw.
pub(crate) fn print_tables(samples: &Samples) {
    let mut workloads: Vec<&str> = Vec::new();
    for series in &samples.series {
        if !workloads.contains(&series.workload.as_str()) {
            workloads.push(&series.workload);
        }
    }
    for workload in workloads {
        print_table(samples, workload);
    }
}

fn print_table(samples: &Samples, workload: &str) {
    let of_workload = || samples.series.iter().filter(|s| s.workload == workload);
    let mut peers: Vec<&str> = Vec::new();
    let mut metrics: Vec<&Series> = Vec::new();
    for series in of_workload() {
        if !peers.contains(&series.peer) {
            peers.push(series.peer);
        }
        if !metrics.iter().any(|m| m.metric == series.metric) {
            metrics.push(series);
        }
    }
    let mut rows = vec![vec![String::from("peer")]];
    for (at, series) in metrics.iter().enumerate() {
        let title = match series.metric.unit {
            "" => series.metric.name.to_owned(),
            unit => format!("{}, {unit}", series.metric.name),
        };
        rows[0].push(title);
        if at == 0 {
            rows[0].extend(["range".to_owned(), "of raw".to_owned()]);
        }
    }
    for peer in peers {
        let mut row = vec![peer.to_owned()];
        for (at, column) in metrics.iter().enumerate() {
            let digits = column.metric.digits;
            let series = samples.find(workload, peer, column.metric.name);
            row.push(series.map_or_else(String::new, |s| number(median(&s.values), digits)));
            if at == 0 {
                row.push(series.map_or_else(String::new, |s| {
                    let (low, high) = (least(&s.values), greatest(&s.values));
                    format!("{} to {}", number(low, digits), number(high, digits))
                }));
                let ratio = series.and_then(|s| samples.ratios_to_raw(s));
                row.push(ratio.map_or_else(|| "-".to_owned(), |r| format!("{:.2}", median(&r))));
            }
        }
        rows.push(row);
    }
    println!("\n{workload}");
    print!("{}", aligned(&rows));
}

/// Columns as wide as their widest cell: the first to the left, the others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        out.push_str("  ");
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            if column == 0 {
                out.push_str(&format!("{cell:<width$}"));
            } else {
                out.push_str(&format!("  {cell:>width$}"));
            }
        }
        out.push('\n');
    }
    out
}

/// A number with its thousands apart.
fn number(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, format!(".{fraction}")),
        None => (text.as_str(), String::new()),
    };
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) && whole.as_bytes()[at - 1] != b'-' {
            out.push(',');
        }
        out.push(digit);
    }
    out + &fraction
}

/// One object a line for every series.
pub(crate) fn json_lines(samples: &Samples) -> String {
    let mut out = String::new();
    for series in &samples.series {
        let ratio = samples.ratios_to_raw(series).map(|r| median(&r));
        let line = json!({
            "workload": series.workload,
            "peer": series.peer,
            "metric": series.metric.name,
            "value": median(&series.values),
            "unit": series.metric.unit,
            "ratio_to_raw": ratio,
            "min": least(&series.values),
            "max": greatest(&series.values),
            "rounds": series.values.len(),
        });
        out.push_str(&line.to_string());
        out.push('\n');
    }
    out
}

/// Whether the targets are met.
pub(crate) fn print_verdicts(verdicts: &[Verdict]) {
    if verdicts.is_empty() {
        return;
    }
    println!("\nTargets");
    let rows: Vec<_> = verdicts
        .iter()
        .map(|verdict| {
            let word = if verdict.met { "met" } else { "NOT MET" };
            vec![
                verdict.target.clone(),
                verdict.reached.clone(),
                word.to_owned(),
            ]
        })
        .collect();
    print!("{}", aligned(&rows));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{Metric, RAW};

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(number(1_234_567.0, 0), "1,234,567");
        assert_eq!(number(999.25, 1), "999.2");
        assert_eq!(number(-1234.5, 1), "-1,234.5");
    }

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["a".into(), "100".into()],
            vec!["bcd".into(), "1".into()],
        ];
        assert_eq!(aligned(&rows), "  a    100\n  bcd    1\n");
    }

    #[test]
    fn a_line_of_json_has_what_a_program_needs() {
        let speed = Metric {
            name: "speed",
            unit: "MiB/s",
            digits: 0,
            compared: true,
        };
        let mut samples = Samples::default();
        samples.push("push", RAW, speed, 4.0);
        samples.push("push", "towline", speed, 3.0);
        let lines = json_lines(&samples);
        let ours: serde_json::Value = serde_json::from_str(lines.lines().nth(1).unwrap()).unwrap();
        assert_eq!(ours["workload"], "push");
        assert_eq!(ours["peer"], "towline");
        assert_eq!(ours["metric"], "speed");
        assert_eq!(ours["value"], 3.0);
        assert_eq!(ours["unit"], "MiB/s");
        assert_eq!(ours["ratio_to_raw"], 0.75);
    }

    #[test]
    fn a_target_is_judged_by_the_median() {
        assert!(Verdict::at_least("x", 2.0, &[1.0, 2.0, 3.0]).met);
        assert!(!Verdict::at_least("x", 2.0, &[1.9, 1.9, 9.0]).met);
    }
}
