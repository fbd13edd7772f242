//! `tow push`: files to a server.

use std::path::Path;

use serde_json::json;
use towline::{
    rpc::Client,
    sync::{Durability, PushOptions, SourceFile, push},
    transport::Endpoint,
};

use crate::{
    cli::Push,
    clock,
    connection::{Purpose, connect, endpoint, patience, require_secure},
    failure::{Failure, escape, failed, summarise},
    output::Output,
    progress::{Direction, Progress, format_bytes, format_speed, rate},
};

pub(crate) async fn run(mut args: Push, output: Output) -> Result<(), Failure> {
    let url = args.files_and_url.pop().unwrap_or_default();
    let files = args.files_and_url;
    let endpoint = endpoint(&url.to_string_lossy()).map_err(|failure| {
        failure.hint("the last argument is the server: tow push FILE... tls://HOST:PORT#DIR")
    })?;
    require_secure(&endpoint, args.client.insecure)?;
    let client = connect(&endpoint, &args.client, Purpose::Push).await?;
    let durability = if args.no_fsync {
        Durability::None
    } else {
        Durability::Fsync
    };
    let mut options = PushOptions::default()
        .durability(durability)
        .reply_timeout(Some(patience(&args.client)));
    if let Some(dir) = endpoint.fragment().filter(|dir| !dir.is_empty()) {
        options = options.dir(dir);
    }
    let progress = output.progress();
    let mut failures = Vec::new();
    let mut tried = 0;
    for file in &files {
        tried += 1;
        let path = Path::new(file);
        if let Err(failure) = push_one(&client, path, &endpoint, &options, output, &progress).await
        {
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

async fn push_one(
    client: &Client,
    path: &Path,
    endpoint: &Endpoint,
    options: &PushOptions,
    output: Output,
    progress: &Progress,
) -> Result<(), Failure> {
    let path = path.to_owned();
    let source = tokio::task::spawn_blocking(move || SourceFile::open(path))
        .await
        .map_err(failed)?
        .map_err(failed)?;
    let file = source.path().to_owned();
    let start = clock::now();
    let name = source.name().to_owned();
    let mut meter = progress.file(Direction::Up, &name, Some(source.size()), start);
    let pushed = push(client, source, options, |sent| {
        meter.update(sent.bytes, sent.part, clock::now())
    })
    .await
    .map_err(|error| Failure::from(error).about(&[&file, &name]))?;
    let end = clock::now();
    meter.finish(end);
    let seconds = end.saturating_duration_since(start).as_secs_f64();
    if pushed.stored.is_none() && endpoint.fragment().is_some() {
        progress.say(&format!(
            "warning: the server did not say where it stored {name}: the original ignores #DIR and stores \
             NAME.servergot where it runs"
        ));
    }
    let stored = pushed.stored.clone().unwrap_or_else(|| name.clone());
    let fields = json!({
        "file": file, "stored": pushed.stored, "bytes": pushed.bytes, "parts": pushed.parts,
        "seconds": seconds, "blake3": pushed.total.to_string(),
    });
    let line = format!(
        "pushed {file} to {}#{stored}: {} in {seconds:.3} s, {}",
        endpoint.without_fragment(),
        format_bytes(pushed.bytes).trim(),
        format_speed(rate(pushed.bytes, seconds)).trim()
    );
    output.note("pushed", fields, &escape(&line));
    Ok(())
}
