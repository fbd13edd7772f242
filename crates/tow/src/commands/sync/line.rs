//! The one line that says how far a sync is.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use towline::sync::wire::Totals;

use crate::{
    failure::Failure,
    output::Output,
    progress::{format_bytes, format_duration, format_speed},
};

/// Redrawing more often than this costs the sync and helps no reader.
const REDRAW: Duration = Duration::from_millis(100);
/// How much of the newest rate counts.
const WEIGHT: f64 = 0.2;

/// Bytes done, of these reused, left, rate and time: on a terminal, and nowhere else.
pub(super) struct Line {
    bar: Option<ProgressBar>,
    output: Output,
    totals: Totals,
    /// Bytes that came before the connection was lost.
    earlier: u64,
    drawn: Option<(Instant, u64)>,
    speed: f64,
}

impl Line {
    pub(super) fn new(output: Output) -> Self {
        let silent = output.is_json() || output.is_quiet();
        let bar = (!silent && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            if let Ok(style) = ProgressStyle::with_template("{msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self {
            bar,
            output,
            totals: Totals::default(),
            earlier: 0,
            drawn: None,
            speed: 0.0,
        }
    }

    /// Bytes that came over the connection, over all connections.
    pub(super) const fn literal(&self) -> u64 {
        self.earlier + self.totals.literal
    }

    pub(super) fn update(&mut self, totals: &Totals, now: Instant) {
        self.totals = *totals;
        let Some(bar) = &self.bar else {
            return;
        };
        let (then, before) = *self.drawn.get_or_insert((now, totals.literal));
        let since = now.saturating_duration_since(then);
        if since < REDRAW {
            return;
        }
        // What was reused came at once and says nothing of what is to come.
        let rate = totals.literal.saturating_sub(before) as f64 / since.as_secs_f64();
        self.speed = if self.speed == 0.0 {
            rate
        } else {
            WEIGHT.mul_add(rate - self.speed, self.speed)
        };
        self.drawn = Some((now, totals.literal));
        bar.set_message(text(totals, self.speed));
        bar.tick();
    }

    /// The next totals begin anew.
    pub(super) fn lost(&mut self) {
        self.earlier += self.totals.literal;
        self.totals = Totals::default();
        self.drawn = None;
    }

    /// Prints a line above; nothing with `--json` or `--quiet`.
    pub(super) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None if self.output.is_json() || self.output.is_quiet() => {}
            None => {
                use std::io::Write as _;

                // If stderr is gone, nobody looks.
                drop(writeln!(anstream::stderr(), "{text}"));
            }
        }
    }

    /// Says why a sync is tried again, and when; with `--json` as an event.
    pub(super) fn retrying(&self, failure: &Failure, when: &str) {
        if self.output.is_json() {
            let fields = json!({ "code": failure.exit() as u8, "message": failure.message() });
            return self.output.result("retrying", fields, "");
        }
        self.say(&format!("{}; {when}", failure.message()));
    }

    pub(super) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn text(totals: &Totals, speed: f64) -> String {
    let done = totals
        .literal
        .saturating_add(totals.reused)
        .saturating_add(totals.zeros)
        .min(totals.bytes);
    let left = totals.bytes - done;
    let bytes = |bytes: u64| format_bytes(bytes).trim().to_owned();
    let percent = match totals.bytes {
        0 => 100.0,
        all => done as f64 * 100.0 / all as f64,
    };
    let eta = match speed {
        speed if speed >= 1.0 => format_duration(left as f64 / speed),
        _ => "--:--".to_owned(),
    };
    let more = if totals.listed { "" } else { "+" };
    format!(
        "{percent:3.0}%  {}/{}{more} files  {} done ({} reused), {}{more} left  {}  {eta} ETA",
        totals.files_done,
        totals.files,
        bytes(done),
        bytes(totals.reused),
        bytes(left),
        format_speed(speed).trim(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_after_a_resume_the_line_tells_what_is_left() {
        let totals = Totals {
            files: 1,
            bytes: 100 << 20,
            reused: 90 << 20,
            listed: true,
            ..Totals::default()
        };
        let shown = text(&totals, 0.0);
        assert!(
            shown.starts_with(" 90%  0/1 files  90.0 MB done (90.0 MB reused), 10.0 MB left"),
            "{shown}"
        );
        assert!(shown.ends_with("--:-- ETA"), "{shown}");
        assert!(text(&totals, (5 << 20) as f64).ends_with("00:02 ETA"));
    }
}
