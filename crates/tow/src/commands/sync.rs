//! `tow sync` and `tow check`: trees and files, one here and one at a server.

mod ended;
mod follow;
mod line;
mod watch;

use std::path::PathBuf;

use serde_json::json;
use towline::{
    rpc::Client,
    sync::{
        SyncError, SyncEvent, SyncOptions, pull_tree, push_tree,
        wire::{Item, Outcome, Totals},
    },
    transport::Endpoint,
};

pub(super) use self::ended::failure;
use self::{
    ended::{Ended, Remedy, wait},
    line::Line,
    watch::Watch,
};
use crate::{
    cli::{Check, Ends, FileServerArgs, Sync},
    clock,
    connection::{Purpose, connect, endpoint, require_secure},
    failure::{Exit, Failure, escape, failed},
    output::Output,
    progress::{format_bytes, format_speed, rate},
};

/// Which end is where.
#[derive(Debug, Clone)]
enum Way {
    Push { local: PathBuf, remote: Endpoint },
    Pull { remote: Endpoint, local: PathBuf },
}

impl Way {
    fn new(ends: &Ends) -> Result<Self, Failure> {
        let is_url = |text: &str| text.contains("://");
        match (is_url(&ends.source), is_url(&ends.target)) {
            (false, true) => Ok(Self::Push {
                local: PathBuf::from(&ends.source),
                remote: endpoint(&ends.target)?,
            }),
            (true, false) => Ok(Self::Pull {
                remote: endpoint(&ends.source)?,
                local: PathBuf::from(&ends.target),
            }),
            (both, _) => {
                let text = if both {
                    "both ends are at a server: one of them must be here"
                } else {
                    "both ends are here: one of them must be at a server"
                };
                Err(Failure::new(Exit::Usage, text)
                    .hint("tow sync DIR tls://HOST:PORT#DIR, or the other way round"))
            }
        }
    }

    const fn remote(&self) -> &Endpoint {
        match self {
            Self::Push { remote, .. } | Self::Pull { remote, .. } => remote,
        }
    }
}

/// A sync from the command line.
struct Job<'a> {
    way: Way,
    options: SyncOptions,
    server: &'a FileServerArgs,
    retries: u32,
    output: Output,
    checksum: bool,
    /// Print every entry, as a plan or a comparison does.
    list: bool,
}

pub(crate) async fn run(args: Sync, output: Output) -> Result<(), Failure> {
    let way = Way::new(&args.ends)?;
    let options = exclude(SyncOptions::default(), &args.ends)?
        .delete(args.delete)
        .max_delete(args.max_delete)
        .dry_run(args.dry_run)
        .checksum(args.checksum)
        .no_fsync(args.no_fsync)
        .limit(args.limit);
    let watch = match (&way, args.watch) {
        (_, false) => None,
        (Way::Push { local, .. }, true) => Some(Watch::new(local)?),
        (Way::Pull { .. }, true) => {
            return Err(Failure::new(
                Exit::Usage,
                "--watch needs a SRC that is here",
            ));
        }
    };
    let job = Job {
        way,
        options,
        server: &args.server,
        retries: args.retries,
        output,
        checksum: args.checksum,
        list: args.dry_run,
    };
    match watch {
        None => verdict(&job.run().await?),
        Some(watch) => job.follow(watch).await,
    }
}

pub(crate) async fn check(args: Check, output: Output) -> Result<(), Failure> {
    let options = exclude(SyncOptions::default(), &args.ends)?
        .delete(!args.ignore_extra)
        .dry_run(true)
        .checksum(!args.quick);
    let job = Job {
        way: Way::new(&args.ends)?,
        options,
        server: &args.server,
        retries: 5,
        output,
        checksum: !args.quick,
        list: true,
    };
    let mut differences = 0_u64;
    let mut count = |item: &Item| {
        differences += u64::from(!matches!(
            item.outcome,
            Outcome::Skipped | Outcome::Failed | Outcome::Waiting
        ));
    };
    let totals = job.once_connected(&mut count).await?;
    verdict(&totals)?;
    let fields = json!({ "entries": totals.entries, "differences": differences });
    if differences == 0 {
        let line = format!("{}, no difference", entries(totals.entries));
        output.note("checked", fields, &line);
        return Ok(());
    }
    // What is at one end only, and the directory itself, are differences and no entries.
    let s = if differences == 1 { "" } else { "s" };
    let text = format!("{}, {differences} difference{s}", entries(totals.entries));
    Err(Failure::new(Exit::Verification, text))
}

fn exclude(mut options: SyncOptions, ends: &Ends) -> Result<SyncOptions, Failure> {
    for file in &ends.exclude_from {
        let text = std::fs::read_to_string(file)
            .map_err(|error| failed(format_args!("`{}`: {error}", file.display())))?;
        for line in text.lines() {
            options = options.exclude(line);
        }
    }
    for pattern in &ends.exclude {
        options = options.exclude(pattern);
    }
    Ok(options
        .ignore_file(ends.ignore_file.clone())
        .owner(ends.owner)
        .xattrs(ends.xattrs)
        .cache_dir(cache_dir()))
}

/// Where manifests are kept.
pub(super) fn cache_dir() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute())
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(base.join("towline/manifests"))
}

/// Files that failed make the whole fail.
fn verdict(totals: &Totals) -> Result<(), Failure> {
    if totals.failed == 0 {
        return Ok(());
    }
    let text = match totals.failed {
        1 => "1 entry failed".to_owned(),
        many => format!("{many} entries failed"),
    };
    Err(Failure::new(Exit::SomeFiles, text)
        .hint("each is named above; the same command tries again"))
}

impl Job<'_> {
    async fn run(&self) -> Result<Totals, Ended> {
        let start = clock::now();
        let totals = self.once_connected(&mut |_| {}).await?;
        let seconds = clock::now().saturating_duration_since(start).as_secs_f64();
        self.summary(&totals, seconds);
        Ok(totals)
    }

    /// Syncs; connects again when the connection is lost, and goes on.
    async fn once_connected(
        &self,
        on_item: &mut (dyn FnMut(&Item) + Send),
    ) -> Result<Totals, Ended> {
        require_secure(self.way.remote(), self.server.insecure)?;
        let mut line = Line::new(self.output);
        let mut lost = 0;
        loop {
            let before = line.literal();
            let result = match connect(self.way.remote(), &self.server.client, Purpose::Calls).await
            {
                Ok(client) => {
                    let result = self.sync(&client, &mut line, on_item).await;
                    client.close().await;
                    result.map_err(Ended::from)
                }
                // The first connection must come about; a server may be away for a while later.
                Err(failure) => Err(Ended::connecting(failure, lost > 0)),
            };
            let ended = match result {
                Ok(totals) => {
                    line.finish();
                    return Ok(totals);
                }
                Err(ended) => ended,
            };
            if line.literal() > before {
                lost = 0;
            }
            lost += 1;
            if ended.remedy != Remedy::Reconnect || lost > self.retries {
                line.finish();
                return Err(ended);
            }
            let wait = wait(lost);
            let when = format!("trying again in {:.1} s", wait.as_secs_f64());
            line.retrying(&ended.failure, &when);
            line.lost();
            tokio::time::sleep(wait).await;
        }
    }

    async fn sync(
        &self,
        client: &Client,
        line: &mut Line,
        on_item: &mut (dyn FnMut(&Item) + Send),
    ) -> Result<Totals, SyncError> {
        let (output, list) = (self.output, self.list);
        let on_event = |event: SyncEvent| match event {
            SyncEvent::Item(item) => {
                on_item(&item);
                tell(&item, output, list, line);
            }
            SyncEvent::Progress(totals) => line.update(&totals, clock::now()),
            _ => {}
        };
        let path = |remote: &Endpoint| remote.fragment().unwrap_or("").to_owned();
        match &self.way {
            Way::Push { local, remote } => {
                push_tree(client, local, &path(remote), &self.options, on_event).await
            }
            Way::Pull { remote, local } => {
                pull_tree(client, &path(remote), local, &self.options, on_event).await
            }
        }
    }

    /// What was done, and what was saved.
    fn summary(&self, totals: &Totals, seconds: f64) {
        let saved = totals.reused.saturating_add(totals.unchanged);
        let fields = json!({
            "entries": totals.entries, "files": totals.files, "files_done": totals.files_done,
            "bytes": totals.bytes, "literal": totals.literal, "reused": totals.reused,
            "zeros": totals.zeros, "unchanged": totals.unchanged, "deleted": totals.deleted, "failed": totals.failed,
            "seconds": seconds,
        });
        // Where contents are compared, nobody counts those that were equal.
        let done = if self.checksum { "compared" } else { "written" };
        let line = if self.list {
            format!(
                "{}: {} with {} would be written, {} deleted",
                entries(totals.entries),
                files(totals.files),
                format_bytes(totals.bytes).trim(),
                entries(totals.deleted)
            )
        } else {
            format!(
                "synced {} in {seconds:.3} s: {} {done}, {} sent ({}), {} were there already, {} deleted",
                entries(totals.entries),
                files(totals.files_done),
                format_bytes(totals.literal).trim(),
                format_speed(rate(totals.literal, seconds)).trim(),
                format_bytes(saved).trim(),
                totals.deleted
            )
        };
        self.output.note("synced", fields, &line);
    }
}

fn entries(count: u64) -> String {
    format!("{count} {}", if count == 1 { "entry" } else { "entries" })
}

fn files(count: u64) -> String {
    format!("{count} {}", if count == 1 { "file" } else { "files" })
}

/// One entry: a line of a plan, an event, or an error.
fn tell(item: &Item, output: Output, list: bool, line: &Line) {
    let path = item.path.to_string();
    let (name, sign) = match item.outcome {
        Outcome::Created => ("created", "+"),
        Outcome::Updated => ("updated", "*"),
        Outcome::Touched => ("touched", "."),
        Outcome::Deleted => ("deleted", "-"),
        Outcome::Skipped => ("skipped", "?"),
        Outcome::Waiting => ("waiting", "?"),
        _ => ("failed", "!"),
    };
    if output.is_json() {
        let fields = json!({
            "outcome": name, "path": path, "size": item.size, "text": item.text,
        });
        return output.result("item", fields, "");
    }
    match item.outcome {
        Outcome::Failed => line.say(&escape(&format!("failed: {}", item.text))),
        Outcome::Waiting => line.say(&escape(&item.text)),
        Outcome::Skipped => line.say(&escape(&format!("skipped: `{path}`: {}", item.text))),
        _ if list => output.result(name, (), &escape(&format!("{sign} {path}"))),
        _ => {}
    }
}
