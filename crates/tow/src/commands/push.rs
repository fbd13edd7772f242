//! `tow push`: files to a server.

use std::path::Path;

use serde_json::json;
use towline::{
    rpc::Client,
    sync::{Durability, PushOptions, SourceFile, push},
    transport::Endpoint,
};

use super::resuming::{Moved, Resuming};
use crate::{
    cli::Push,
    clock,
    connection::{Purpose, connect, endpoint, patience, require_secure},
    failure::{Failure, escape, failed, summarise},
    output::Output,
    progress::{Direction, Progress},
};

pub(crate) async fn run(mut args: Push, output: Output) -> Result<(), Failure> {
    let url = args.files_and_url.pop().unwrap_or_default();
    let files = args.files_and_url;
    let endpoint = endpoint(&url.to_string_lossy()).map_err(|failure| {
        failure.hint("the last argument is the server: tow push FILE... tls://HOST:PORT#DIR")
    })?;
    require_secure(&endpoint, args.server.insecure)?;
    let client = connect(&endpoint, &args.server.client, Purpose::Push).await?;
    let durability = if args.no_fsync {
        Durability::None
    } else {
        Durability::Fsync
    };
    let mut options = PushOptions::default()
        .durability(durability)
        .reply_timeout(Some(patience(&args.server.client)));
    if let Some(dir) = endpoint.fragment().filter(|dir| !dir.is_empty()) {
        options = options.dir(dir);
    }
    let resuming = Resuming::new(&args.how, args.no_fsync);
    let progress = output.progress();
    let mut failures = Vec::new();
    let mut tried = 0;
    for file in &files {
        tried += 1;
        let path = Path::new(file);
        let job = Job {
            client: &client,
            endpoint: &endpoint,
            options: &options,
            resuming: &resuming,
        };
        if let Err(failure) = job.push(path, output, &progress).await {
            if files.len() > 1 {
                output.failure(&failure);
            }
            failures.push(failure);
            if client.is_closed() {
                break;
            }
        }
    }
    client.close().await;
    summarise(failures, files.len(), files.len() - tried)
}

/// Where files go, and how.
struct Job<'a> {
    client: &'a Client,
    endpoint: &'a Endpoint,
    options: &'a PushOptions,
    resuming: &'a Resuming,
}

impl Job<'_> {
    async fn push(&self, path: &Path, output: Output, progress: &Progress) -> Result<(), Failure> {
        let path = path.to_owned();
        let source = tokio::task::spawn_blocking(move || SourceFile::open(path))
            .await
            .map_err(failed)?
            .map_err(failed)?;
        let file = source.path().to_owned();
        let start = clock::now();
        let name = source.name().to_owned();
        let mut meter = progress.file(Direction::Up, &name, Some(source.size()), start);
        let about = |failure: Failure| failure.about(&[&file, &name]);
        let remote = match self.endpoint.fragment().filter(|dir| !dir.is_empty()) {
            Some(dir) => format!("{}/{name}", dir.trim_end_matches('/')),
            None => name.clone(),
        };
        let local = (Path::new(&file), source.size());
        let moved = self.resuming.push(self.client, local, &remote, &mut meter);
        let (stored, moved, mut fields) = match moved.await.map_err(about)? {
            // Its chunks are verified by their hashes; nobody reads it again for one of the whole.
            Some(moved) => (Some(remote), moved, json!({"parts": null, "blake3": null})),
            None => {
                let pushed = push(self.client, source, self.options, |sent| {
                    meter.update(sent.bytes, sent.part, clock::now())
                })
                .await
                .map_err(|error| about(Failure::from(error)))?;
                let fields = json!({"parts": pushed.parts, "blake3": pushed.total.to_string()});
                (pushed.stored, Moved::whole(pushed.bytes), fields)
            }
        };
        let end = clock::now();
        meter.finish(end);
        let seconds = end.saturating_duration_since(start).as_secs_f64();
        if stored.is_none() && self.endpoint.fragment().is_some() {
            progress.say(&format!(
                "warning: the server did not say where it stored {name}: the original ignores #DIR and stores \
                 NAME.servergot where it runs"
            ));
        }
        fields["file"] = json!(file);
        fields["stored"] = json!(stored);
        moved.put(&mut fields, seconds);
        let line = self.line(&file, stored.as_deref().unwrap_or(&name), moved, seconds);
        output.note("pushed", fields, &line);
        Ok(())
    }

    fn line(&self, file: &str, stored: &str, moved: Moved, seconds: f64) -> String {
        let line = format!(
            "pushed {file} to {}#{stored}: {}",
            self.endpoint.without_fragment(),
            moved.tell(seconds)
        );
        escape(&line)
    }
}
