//! Large files of `tow push` and `tow pull`, by the engine of `tow sync`: only what the other end
//! lacks is sent, and a transfer that was cut goes on where it was (docs/wire T33).

use std::path::Path;

use serde_json::{Value, json};
use towline::{
    rpc::{CallError, Client, CloseReason},
    sync::{
        SyncError, SyncEvent, SyncOptions, offers_sync, pull_file, push_tree,
        wire::{Item, Outcome, Totals},
    },
};

use super::sync::{cache_dir, failure};
use crate::{
    cli::How,
    clock,
    failure::{Exit, Failure, escape},
    progress::{FileProgress, format_bytes, format_speed, rate},
};

/// From this size on a file is pushed so. Sending less again costs less than asking first.
const LEAST: u64 = 4 << 20;

/// What one file took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved {
    /// Its size.
    pub(super) bytes: u64,
    /// Bytes that went over the connection.
    pub(super) sent: u64,
}

impl Moved {
    /// All of it was sent.
    pub(super) const fn whole(bytes: u64) -> Self {
        Self { bytes, sent: bytes }
    }

    /// Adds it to the fields of an event.
    pub(super) fn put(self, fields: &mut Value, seconds: f64) {
        fields["bytes"] = json!(self.bytes);
        fields["sent"] = json!(self.sent);
        fields["seconds"] = json!(seconds);
    }

    /// How much, in what time, and what of it was there already.
    pub(super) fn tell(self, seconds: f64) -> String {
        let mut line = format!(
            "{} in {seconds:.3} s, {}",
            format_bytes(self.bytes).trim(),
            format_speed(rate(self.bytes, seconds)).trim()
        );
        if self.sent < self.bytes {
            let there = self.bytes - self.sent;
            line.push_str(&format!(
                ", {} of it were there already",
                format_bytes(there).trim()
            ));
        }
        line
    }
}

/// How large files are moved, as the command line says it.
#[derive(Debug)]
pub(super) struct Resuming {
    options: SyncOptions,
    least: Option<u64>,
    limited: bool,
}

impl Resuming {
    pub(super) fn new(how: &How, no_fsync: bool) -> Self {
        Self {
            options: SyncOptions::default()
                .no_fsync(no_fsync)
                // Whoever pushes a file means its content, whatever size and time say.
                .checksum(true)
                .limit(how.limit)
                .cache_dir(cache_dir()),
            least: match (how.whole, how.limit) {
                (true, _) => None,
                (false, Some(_)) => Some(0),
                (false, None) => Some(LEAST),
            },
            limited: how.limit.is_some(),
        }
    }

    /// Pushes a file of so many bytes to `remote`. Nothing if it is to go whole, or the server takes files
    /// only whole, or not at all: pushing it whole then says why.
    pub(super) async fn push(
        &self,
        client: &Client,
        (local, size): (&Path, u64),
        remote: &str,
        meter: &mut FileProgress,
    ) -> Result<Option<Moved>, Failure> {
        if self.least.is_none_or(|least| size < least) || !self.is_offered(client).await? {
            return Ok(None);
        }
        let mut watch = Watch::new(meter);
        let on_event = |event| watch.take(event);
        let result = push_tree(client, local, remote, &self.options, on_event).await;
        self.end(watch, result)
    }

    /// Pulls a file to `local`. Nothing if it is to come whole, or the server gives files only whole, or
    /// not at all.
    pub(super) async fn pull(
        &self,
        client: &Client,
        remote: &str,
        local: &Path,
        meter: &mut FileProgress,
    ) -> Result<Option<Moved>, Failure> {
        if self.least.is_none() || !self.is_offered(client).await? {
            return Ok(None);
        }
        let mut watch = Watch::new(meter);
        let on_event = |event| watch.take(event);
        let result = pull_file(client, remote, local, &self.options, on_event).await;
        self.end(watch, result)
    }

    /// Whether the other end is asked for more than whole files.
    async fn is_offered(&self, client: &Client) -> Result<bool, Failure> {
        match offers_sync(client).await {
            // Who does not answer a call may still move files.
            Err(CallError::TimedOut(_)) | Ok(false) if !self.limited => Ok(false),
            Err(CallError::TimedOut(_)) | Ok(false) => {
                let text = "the other end takes and gives files only whole: no rate can be kept";
                Err(Failure::new(Exit::Failed, text).hint("leave --limit out"))
            }
            Ok(true) => Ok(true),
            Err(error) => Err(Failure::from(error)),
        }
    }

    fn end(
        &self,
        watch: Watch<'_>,
        result: Result<Totals, SyncError>,
    ) -> Result<Option<Moved>, Failure> {
        let totals = match result {
            Ok(totals) => totals,
            Err(error) if watch.totals.literal == 0 && may_go_whole(&error) => {
                if !self.limited {
                    return Ok(None);
                }
                // A whole file goes as fast as it can: whoever wants a rate must not be surprised.
                return Err(failure(error).hint("only a sync keeps a rate: leave --limit out"));
            }
            Err(error) => {
                let lost = error.close_reason().is_some_and(CloseReason::is_lost);
                let failure = failure(error);
                return Err(if lost {
                    failure.hint("the same command goes on where this one was")
                } else {
                    failure
                });
            }
        };
        match watch.item {
            Some(Item {
                outcome: Outcome::Failed | Outcome::Skipped,
                text,
                ..
            }) => Err(Failure::new(Exit::Failed, text)),
            _ => Ok(Some(Moved {
                bytes: totals.bytes.saturating_add(totals.unchanged),
                sent: totals.literal,
            })),
        }
    }
}

/// Whether the other end only refuses to sync the file, and may still move it whole, or say better why not.
const fn may_go_whole(error: &SyncError) -> bool {
    matches!(
        error,
        SyncError::Unsupported(_) | SyncError::Directory(_) | SyncError::Remote { .. }
    )
}

/// Shows how far one file is, and keeps what became of it.
struct Watch<'a> {
    meter: &'a mut FileProgress,
    totals: Totals,
    item: Option<Item>,
}

impl<'a> Watch<'a> {
    fn new(meter: &'a mut FileProgress) -> Self {
        Self {
            meter,
            totals: Totals::default(),
            item: None,
        }
    }

    fn take(&mut self, event: SyncEvent) {
        match event {
            SyncEvent::Progress(totals) => {
                self.totals = totals;
                // The other end's numbers may be any.
                let done = totals
                    .literal
                    .saturating_add(totals.reused)
                    .saturating_add(totals.zeros);
                if totals.bytes > 0 {
                    self.meter.set_total(totals.bytes);
                    // Parts of 1 MiB, as if it went whole.
                    self.meter
                        .update(done.min(totals.bytes), done >> 20, clock::now());
                }
            }
            SyncEvent::Item(item) if item.outcome == Outcome::Waiting => {
                self.meter.say(&escape(&item.text));
            }
            SyncEvent::Item(item) => self.item = Some(item),
            _ => {}
        }
    }
}
