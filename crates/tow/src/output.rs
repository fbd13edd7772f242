//! What a command prints: results on stdout, everything else on stderr.

use std::{
    io::Write,
    sync::atomic::{AtomicBool, Ordering},
};

use anstream::{AutoStream, stream::RawStream};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{failure::Failure, progress::Progress};

/// Version of the JSON events; it grows when a reader of the old ones would misread the new.
const EVENT_VERSION: u32 = 1;

/// Where a command's results go, and in which form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
}

impl Output {
    pub(crate) const fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    pub(crate) const fn is_quiet(self) -> bool {
        self.quiet
    }

    /// Progress of transfers, in keeping with the form of the results.
    pub(crate) fn progress(self) -> Progress {
        Progress::stderr(self.json || self.quiet)
    }

    /// A result: as a line of text, or as an event of this name with these fields.
    pub(crate) fn result(self, event: &str, fields: impl Serialize, line: &str) {
        if self.json {
            self.event(event, fields);
        } else {
            print_line(anstream::stdout(), line);
        }
    }

    /// As [`result`](Self::result), but not worth a line with `--quiet`.
    pub(crate) fn note(self, event: &str, fields: impl Serialize, line: &str) {
        if self.json || !self.quiet {
            self.result(event, fields, line);
        }
    }

    /// As [`note`](Self::note), but on stderr: for commands whose standard output is somebody's bytes.
    pub(crate) fn aside(self, event: &str, fields: impl Serialize, line: &str) {
        if self.json {
            print_line(anstream::stderr(), &event_line(event, fields));
        } else if !self.quiet {
            print_line(anstream::stderr(), line);
        }
    }

    /// True if a result could not be printed.
    pub(crate) fn was_lost() -> bool {
        LOST.load(Ordering::Relaxed)
    }

    /// Bytes as they are.
    pub(crate) fn raw(self, bytes: &[u8]) {
        let mut out = std::io::stdout().lock();
        give_up_if_gone(out.write_all(bytes).and_then(|()| out.flush()));
    }

    /// What went wrong: with a hint on stderr, or as an event.
    pub(crate) fn failure(self, failure: &Failure) {
        if self.json {
            let fields = json!({
                "code": failure.exit() as u8,
                "message": failure.message(),
                "hint": failure.hint_text(),
            });
            self.event("error", fields);
            return;
        }
        let (red, bold, reset) = ("\u{1b}[1;31m", "\u{1b}[1m", "\u{1b}[0m");
        print_line(
            anstream::stderr(),
            &format!("{red}error:{reset} {}", failure.message()),
        );
        if let Some(hint) = failure.hint_text() {
            print_line(anstream::stderr(), &format!("{bold}hint:{reset} {hint}"));
        }
    }

    fn event(self, event: &str, fields: impl Serialize) {
        print_line(anstream::stdout(), &event_line(event, fields));
    }
}

fn event_line(event: &str, fields: impl Serialize) -> String {
    let mut line = json!({ "v": EVENT_VERSION, "event": event });
    if let (Value::Object(line), Ok(Value::Object(fields))) =
        (&mut line, serde_json::to_value(fields))
    {
        line.extend(fields);
    }
    line.to_string()
}

fn print_line<S: RawStream>(mut out: AutoStream<S>, line: &str)
where
    AutoStream<S>: Write,
{
    give_up_if_gone(writeln!(out, "{line}").and_then(|()| out.flush()));
}

/// Something that had to be printed was not.
static LOST: AtomicBool = AtomicBool::new(false);

/// Whoever read our output may have seen enough; that is no failure of ours. Anything else is.
fn give_up_if_gone(result: std::io::Result<()>) {
    if let Err(error) = result
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        LOST.store(true, Ordering::Relaxed);
        tracing::warn!(%error, "cannot print");
    }
}
