//! What was played with whom, and how it ended.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::peer::{PEERS, Peer};
use super::{End, Play};

/// How one play with one peer ended.
#[derive(Clone)]
pub(super) enum Cell {
    Passed,
    Failed,
    /// The peer lacks the operation; why.
    NotApplicable(&'static str),
    /// The peer's program could not be had; why.
    NotRun(String),
}

/// One line a peer and role, one column a play.
pub(in super::super) struct Matrix {
    plays: Vec<Play>,
    cells: BTreeMap<(&'static str, bool, &'static str), Cell>,
}

impl Matrix {
    pub(super) fn new(plays: &[Play]) -> Self {
        Self {
            plays: plays.to_vec(),
            cells: BTreeMap::new(),
        }
    }

    pub(super) fn set(&mut self, peer: &Peer, end: End, play: Play, cell: Cell) {
        self.cells
            .insert((peer.name, end == End::Connects, play.name()), cell);
    }

    /// The table, and below it why what was not played was not.
    pub(in super::super) fn table(&self) -> String {
        let mut text = format!("{:<31} {:<7}", "towline against", "as");
        for play in &self.plays {
            write!(text, " {}", play.name()).ok();
        }
        text.push('\n');
        let mut reasons: Vec<String> = Vec::new();
        for peer in &PEERS {
            for (connects, role) in [(true, "client"), (false, "server")] {
                write!(text, "{:<31} {role:<7}", peer.name).ok();
                for play in &self.plays {
                    let cell = self.cells.get(&(peer.name, connects, play.name()));
                    let shown = match cell {
                        Some(Cell::Passed) => "ok".to_owned(),
                        Some(Cell::Failed) => "FAIL".to_owned(),
                        Some(Cell::NotApplicable(why)) => {
                            format!("n/a {}", numbered(&mut reasons, why))
                        }
                        Some(Cell::NotRun(why)) => {
                            format!("NOT RUN {}", numbered(&mut reasons, why))
                        }
                        None => "-".to_owned(),
                    };
                    write!(text, " {shown:<width$}", width = play.name().len()).ok();
                }
                let end = text.trim_end().len();
                text.truncate(end);
                text.push('\n');
            }
        }
        for (at, why) in reasons.iter().enumerate() {
            writeln!(text, "  {}: {why}", at + 1).ok();
        }
        text
    }
}

/// The number under which this reason stands.
fn numbered(reasons: &mut Vec<String>, why: &str) -> usize {
    let at = reasons.iter().position(|known| known == why);
    at.unwrap_or_else(|| {
        reasons.push(why.to_owned());
        reasons.len() - 1
    }) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_absence_has_a_numbered_reason() {
        let mut matrix = Matrix::new(&[Play::Echo, Play::Ping]);
        let [first, second, ..] = &PEERS;
        matrix.set(first, End::Connects, Play::Echo, Cell::Passed);
        matrix.set(
            first,
            End::Connects,
            Play::Ping,
            Cell::NotApplicable("no such thing"),
        );
        matrix.set(
            second,
            End::Listens,
            Play::Echo,
            Cell::NotRun("403".to_owned()),
        );
        matrix.set(
            second,
            End::Listens,
            Play::Ping,
            Cell::NotApplicable("no such thing"),
        );
        let table = matrix.table();
        let line = |peer: &Peer, role: &str| {
            let start = format!("{:<31} {role:<7} ", peer.name);
            table
                .lines()
                .find_map(|line| line.strip_prefix(&start))
                .map(str::to_owned)
        };
        assert_eq!(line(first, "client").as_deref(), Some("ok   n/a 1"));
        assert_eq!(line(second, "server").as_deref(), Some("NOT RUN 2 n/a 1"));
        assert!(table.ends_with("  1: no such thing\n  2: 403\n"), "{table}");
    }
}
