//! Progress of files on their way: bars on a terminal, one plain line per file otherwise.
//!
//! Everything goes to stderr, so that stdout stays for results. With `--json` or `--quiet` nothing
//! is shown at all.

mod format;
mod meter;

use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

pub(crate) use self::format::{format_bytes, format_duration, format_speed, rate};
pub(crate) use self::meter::Direction;

use self::meter::Meter;

/// Redrawing more often than this costs the transfer and helps no reader.
const REDRAW: Duration = Duration::from_millis(50);

/// The bar takes what the terminal has left between the name and the numbers: 30 cells, as many as
/// the original's, on one of 103 columns.
const TEMPLATE: &str = "{prefix} [{wide_bar}] {msg}";

/// Steps of a bar, finer than the cells of any terminal.
const STEPS: u64 = 10_000;

/// Where the progress of files is shown. Cloning gives the same place.
#[derive(Clone)]
pub(crate) struct Progress {
    place: Place,
}

#[derive(Clone)]
enum Place {
    Bars(MultiProgress),
    Lines(Arc<Mutex<dyn Write + Send>>),
    Nowhere,
}

impl Progress {
    /// On stderr: bars if it is a terminal, else a line at the end of each file. Nothing if
    /// `silent`, for `--json` and `--quiet`.
    pub(crate) fn stderr(silent: bool) -> Self {
        let place = if silent {
            Place::Nowhere
        } else if io::stderr().is_terminal() {
            Place::Bars(MultiProgress::with_draw_target(
                ProgressDrawTarget::stderr_with_hz(20),
            ))
        } else {
            Place::Lines(Arc::new(Mutex::new(io::stderr())))
        };
        Self { place }
    }

    /// Begins a file of `total` bytes (`None` if that is not known yet) at the time `now`.
    pub(crate) fn file(
        &self,
        direction: Direction,
        name: &str,
        total: Option<u64>,
        now: Instant,
    ) -> FileProgress {
        let bar = match &self.place {
            Place::Bars(bars) => {
                let bar = bars.add(ProgressBar::new(STEPS));
                if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
                    bar.set_style(style.progress_chars("=> "));
                }
                Some(bar)
            }
            Place::Lines(_) | Place::Nowhere => None,
        };
        let mut file = FileProgress {
            place: self.place.clone(),
            meter: Meter::new(direction, name, total, now),
            bar,
            drawn: now,
        };
        file.draw(now);
        file
    }

    /// Prints a line without disturbing the bars; nothing if silent.
    pub(crate) fn say(&self, line: &str) {
        match &self.place {
            // An error here means that stderr is gone; the transfer goes on.
            Place::Bars(bars) => drop(bars.println(line)),
            Place::Lines(out) => {
                let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
                drop(writeln!(out, "{line}"));
            }
            Place::Nowhere => {}
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.place {
            Place::Bars(_) => "Progress(bars)",
            Place::Lines(_) => "Progress(lines)",
            Place::Nowhere => "Progress(nowhere)",
        })
    }
}

/// The progress of one file. Dropped before [`FileProgress::finish`], its bar disappears.
pub(crate) struct FileProgress {
    place: Place,
    meter: Meter,
    bar: Option<ProgressBar>,
    drawn: Instant,
}

impl FileProgress {
    /// Learns the size once it is known.
    pub(crate) fn set_total(&mut self, total: u64) {
        self.meter.set_total(total);
    }

    /// `bytes` have passed in all, the latest of them in part number `part`. Cheap: it draws at
    /// most every 50 ms.
    pub(crate) fn update(&mut self, bytes: u64, part: u64, now: Instant) {
        self.meter.update(bytes, part);
        if self.bar.is_some() && now.saturating_duration_since(self.drawn) >= REDRAW {
            self.draw(now);
        }
    }

    /// Prints a line without disturbing the bar; nothing if silent.
    pub(crate) fn say(&self, line: &str) {
        let place = self.place.clone();
        Progress { place }.say(line);
    }

    /// The file is complete: leaves its bar with 100%, or prints its line.
    pub(crate) fn finish(mut self, now: Instant) {
        self.meter.finish(now);
        self.draw(now);
        match self.bar.take() {
            Some(bar) => {
                bar.abandon();
                // The result that follows gets a line of its own. If stderr is gone, nobody looks.
                drop(writeln!(io::stderr()));
            }
            None => Progress {
                place: self.place.clone(),
            }
            .say(&self.meter.summary()),
        }
    }

    fn draw(&mut self, now: Instant) {
        self.drawn = now;
        if let Some(bar) = &self.bar {
            let display = self.meter.display(now);
            bar.set_prefix(display.name);
            bar.set_message(display.numbers);
            bar.set_position((display.fraction * STEPS as f64) as u64);
            bar.tick();
        }
    }
}

impl Drop for FileProgress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use indicatif::TermLike;

    use super::*;

    fn instant() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "any starting point will do")]
        Instant::now()
    }

    fn lines() -> (Progress, Arc<Mutex<Vec<u8>>>) {
        let out = Arc::new(Mutex::new(Vec::new()));
        let progress = Progress {
            place: Place::Lines(Arc::<Mutex<Vec<u8>>>::clone(&out)),
        };
        (progress, out)
    }

    fn text(out: &Mutex<Vec<u8>>) -> String {
        String::from_utf8(out.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn without_a_terminal_a_file_is_one_plain_line_at_its_end() {
        let (progress, out) = lines();
        let start = instant();
        let mut file = progress.file(Direction::Up, "big.bin", Some(3_145_733), start);
        for part in 0..4 {
            file.update(part * 1_000_000, part, start + Duration::from_secs(part));
        }
        assert_eq!(text(&out), "");
        file.update(3_145_733, 4, start + Duration::from_secs(3));
        file.finish(start + Duration::from_secs(3));
        assert_eq!(
            text(&out),
            "[up]big.bin: 3_145_733 bytes in 3.000 s, 1.0 MB/s\n"
        );
    }

    #[test]
    fn a_file_that_fails_leaves_no_line() {
        let (progress, out) = lines();
        drop(progress.file(Direction::Down, "f", None, instant()));
        assert_eq!(text(&out), "");
    }

    #[test]
    fn silence_is_silent() {
        let progress = Progress::stderr(true);
        assert!(matches!(progress.place, Place::Nowhere));
        let file = progress.file(Direction::Up, "f", Some(0), instant());
        assert!(file.bar.is_none());
        file.finish(instant());
    }

    /// A terminal that remembers the last line drawn.
    #[derive(Debug, Clone)]
    struct Terminal {
        columns: u16,
        line: Arc<Mutex<String>>,
    }

    impl TermLike for Terminal {
        fn width(&self) -> u16 {
            self.columns
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            // Padding to the edge and empty writes move the cursor only.
            if !text.trim().is_empty() {
                text.trim_end().clone_into(&mut self.line.lock().unwrap());
            }
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn terminal(columns: u16) -> (Progress, Arc<Mutex<String>>) {
        let line = Arc::new(Mutex::new(String::new()));
        let terminal = Terminal {
            columns,
            line: Arc::clone(&line),
        };
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(terminal), 255);
        let place = Place::Bars(MultiProgress::with_draw_target(target));
        (Progress { place }, line)
    }

    #[test]
    fn a_bar_is_drawn_while_the_file_moves_and_stays_with_100_percent() {
        let (progress, line) = terminal(103);
        let start = instant();
        let mut file = progress.file(Direction::Down, "f", None, start);
        file.set_total(10);
        file.update(5, 0, start + Duration::from_millis(10));
        let bar = file.bar.clone().unwrap();
        assert!(bar.message().contains("  ?%"), "{}", bar.message());
        file.update(5, 0, start + Duration::from_millis(60));
        assert!(bar.message().contains(" 50%"), "{}", bar.message());
        file.update(10, 1, start + Duration::from_millis(70));
        file.finish(start + Duration::from_millis(70));
        assert!(bar.is_finished());
        let line = line.lock().unwrap();
        assert!(line.starts_with("[dn]f(001)"), "{line}");
        assert!(
            line.contains("100%") && line.ends_with("00:00 ETA"),
            "{line}"
        );
    }

    #[test]
    fn the_bar_shrinks_to_the_width_of_the_terminal() {
        for (columns, cells) in [(103, 30), (80, 7)] {
            let (progress, line) = terminal(columns);
            let start = instant();
            let mut file = progress.file(Direction::Up, "big.bin", Some(10), start);
            file.update(10, 3, start + Duration::from_secs(1));
            file.finish(start + Duration::from_secs(1));
            let line = line.lock().unwrap();
            let bar = format!("[{}]", "=".repeat(cells));
            assert!(line.contains(&bar), "{columns}: {line}");
            assert!(line.len() <= usize::from(columns), "{columns}: {line}");
        }
    }
}
