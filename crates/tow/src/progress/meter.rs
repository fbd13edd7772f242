//! The meter of one file: how far it is, how fast, how long it will take.

use std::time::Instant;

use super::format::{format_bytes, format_duration, format_speed, format_under, name_column};

/// Weight of the newest sample in the moving average of the speed.
const WEIGHT: f64 = 0.1;

/// Shown where nothing is known of the time that is left.
const UNKNOWN_ETA: &str = "--:--";

/// One moment of a meter; the bar stands between the name and the numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Display {
    /// The name column.
    pub(crate) name: String,
    /// Done of all, from 0 to 1; 0 while the size is not known.
    pub(crate) fraction: f64,
    /// Percent, bytes, speed and time left.
    pub(crate) numbers: String,
}

/// Which way a file goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To the other end.
    Up,
    /// From the other end.
    Down,
}

/// Measures one file. It reads no clock: times are given to it.
#[derive(Debug)]
pub(crate) struct Meter {
    label: String,
    total: Option<u64>,
    bytes: u64,
    part: u64,
    started: Instant,
    finished: Option<Instant>,
    /// Time and bytes of the last sample, which is taken at each display.
    sampled: (Instant, u64),
    speed: Option<f64>,
}

impl Meter {
    /// A file of `total` bytes that begins at `now`.
    pub(crate) fn new(direction: Direction, name: &str, total: Option<u64>, now: Instant) -> Self {
        let tag = match direction {
            Direction::Up => "[up]",
            Direction::Down => "[dn]",
        };
        // A name may hold anything, but must not be able to steer the terminal.
        let name: String = name
            .chars()
            .map(|c| if c.is_control() { '?' } else { c })
            .collect();
        Self {
            label: format!("{tag}{name}"),
            total,
            bytes: 0,
            part: 0,
            started: now,
            finished: None,
            sampled: (now, 0),
            speed: None,
        }
    }

    /// Learns the size.
    pub(crate) fn set_total(&mut self, total: u64) {
        self.total = Some(total);
    }

    /// `bytes` in all have passed, the latest in part number `part`. Neither goes backwards.
    pub(crate) fn update(&mut self, bytes: u64, part: u64) {
        self.bytes = self.bytes.max(bytes);
        self.part = self.part.max(part);
    }

    /// The file is complete.
    pub(crate) fn finish(&mut self, now: Instant) {
        self.finished = Some(now);
    }

    /// What to show at `now`. Every call takes a sample of the speed.
    pub(crate) fn display(&mut self, now: Instant) -> Display {
        let speed = self.sample(now);
        let name = name_column(&format!("{}({:03})", self.label, self.part));
        let fraction = self.fraction();
        let (percent, eta) = match fraction {
            Some(fraction) => (format!("{:3.0}%", fraction * 100.0), self.eta()),
            None => ("  ?%".to_owned(), UNKNOWN_ETA.to_owned()),
        };
        let numbers = format!(
            "{percent}  {}  {speed}  {eta} ETA",
            format_bytes(self.bytes)
        );
        Display {
            name,
            fraction: fraction.unwrap_or(0.0),
            numbers,
        }
    }

    /// The line that stays when the file is complete and there is no terminal.
    pub(crate) fn summary(&self) -> String {
        let elapsed = self.finished.map_or(0.0, |end| seconds(self.started, end));
        let bytes = format_under(self.bytes.into());
        let name = &self.label;
        if elapsed > 0.0 {
            let speed = format_speed(self.bytes as f64 / elapsed);
            format!("{name}: {bytes} bytes in {elapsed:.3} s, {}", speed.trim())
        } else {
            format!("{name}: {bytes} bytes")
        }
    }

    /// Done of all, from 0 to 1; an empty file is done. `None` while the size is not known.
    fn fraction(&self) -> Option<f64> {
        if self.finished.is_some() {
            return Some(1.0);
        }
        match self.total? {
            0 => Some(1.0),
            total => Some((self.bytes as f64 / total as f64).min(1.0)),
        }
    }

    fn eta(&self) -> String {
        let left = match self.total {
            Some(total) if self.finished.is_none() => total.saturating_sub(self.bytes),
            _ => 0,
        };
        match self.speed {
            _ if left == 0 => format_duration(0.0),
            Some(speed) if speed > 0.0 => format_duration(left as f64 / speed),
            _ => UNKNOWN_ETA.to_owned(),
        }
    }

    /// Takes a sample and gives the text of the speed.
    fn sample(&mut self, now: Instant) -> String {
        let (then, before) = self.sampled;
        let elapsed = seconds(then, now);
        // Two looks at one moment measure nothing.
        if elapsed > 0.0 {
            let newest = (self.bytes - before) as f64 / elapsed;
            self.speed = Some(match self.speed {
                Some(speed) => speed * (1.0 - WEIGHT) + newest * WEIGHT,
                None => newest,
            });
            self.sampled = (now, self.bytes);
            if self.bytes == before && self.fraction() != Some(1.0) {
                return format!("{:12}", "-stalled-");
            }
        }
        format_speed(self.speed.unwrap_or(0.0))
    }
}

fn seconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MB: f64 = 1024.0 * 1024.0;

    fn start() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "any starting point will do")]
        Instant::now()
    }

    #[test]
    fn the_line_looks_like_the_originals() {
        let start = start();
        let total = (665.5 * MB) as u64;
        let mut meter = Meter::new(Direction::Up, "big.bin", Some(total), start);
        meter.update((156.0 * MB) as u64, 155);
        let now = start + Duration::from_secs_f64(156.0 / 151.9);
        let display = meter.display(now);
        assert_eq!(display.name, "[up]big.bin(155)              ");
        assert_eq!((display.fraction * 30.0) as u32, 7);
        assert_eq!(display.numbers, " 23%  156.0 MB    151.9 MB/s   00:03 ETA");
    }

    #[test]
    fn the_speed_is_a_moving_average_of_the_displays() {
        let start = start();
        let mut meter = Meter::new(Direction::Down, "f", Some(1 << 30), start);
        let mut expected = 1000.0;
        let mut bytes = 0;
        for (second, sample) in [(1, 1000), (2, 2000), (3, 500)] {
            bytes += sample;
            meter.update(bytes, 0);
            meter.display(start + Duration::from_secs(second));
            if second > 1 {
                expected = expected * 0.9 + f64::from(u32::try_from(sample).unwrap()) * 0.1;
            }
            assert!((meter.speed.unwrap() - expected).abs() < 1e-6);
        }
        // Another look at the same moment is no sample.
        let line = meter.display(start + Duration::from_secs(3)).numbers;
        assert!((meter.speed.unwrap() - expected).abs() < 1e-6);
        assert!(!line.contains("-stalled-"));
    }

    #[test]
    fn a_stall_is_shown_until_something_moves_or_all_is_done() {
        let start = start();
        let at = |second| start + Duration::from_secs(second);
        let mut meter = Meter::new(Direction::Down, "f", Some(10), start);
        meter.update(5, 0);
        assert!(!meter.display(at(1)).numbers.contains("-stalled-"));
        let stalled = meter.display(at(2)).numbers;
        assert!(stalled.contains("5.0 B  -stalled-     "), "{stalled}");
        meter.update(6, 0);
        assert!(!meter.display(at(3)).numbers.contains("-stalled-"));
        meter.update(10, 1);
        meter.display(at(4));
        assert!(!meter.display(at(5)).numbers.contains("-stalled-"));
    }

    #[test]
    fn an_empty_file_is_done_at_once() {
        let start = start();
        let mut meter = Meter::new(Direction::Down, "empty", Some(0), start);
        let line = meter.display(start + Duration::from_secs(1)).numbers;
        assert!(line == "100%    0.0 B      0.0 B/s    00:00 ETA", "{line}");
        assert_eq!(meter.display(start).fraction, 1.0);
        meter.finish(start);
        assert_eq!(meter.summary(), "[dn]empty: 0 bytes");
    }

    #[test]
    fn a_file_of_unknown_or_wrong_size_has_a_line() {
        let start = start();
        let mut meter = Meter::new(Direction::Down, "f", None, start);
        meter.update(100, 0);
        let line = meter.display(start + Duration::from_secs(1)).numbers;
        assert!(
            line.contains("  ?%  100.0 B") && line.ends_with("--:-- ETA"),
            "{line}"
        );
        meter.set_total(50);
        let line = meter.display(start + Duration::from_secs(2)).numbers;
        assert!(
            line.contains("100%") && line.ends_with("00:00 ETA"),
            "{line}"
        );
    }

    #[test]
    fn nothing_moving_has_no_time_of_arrival() {
        let start = start();
        let mut meter = Meter::new(Direction::Down, "f", Some(10), start);
        assert!(meter.display(start).numbers.ends_with("--:-- ETA"));
        assert!(
            meter
                .display(start + Duration::from_secs(1))
                .numbers
                .ends_with("--:-- ETA")
        );
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        let mut meter = Meter::new(Direction::Up, "a\r\n\x1b[2Jb", Some(1), start());
        assert!(meter.display(start()).name.starts_with("[up]a???[2Jb(000)"));
        assert!(!meter.summary().contains('\x1b'));
    }
}
