//! `tow push`: files to a server.

use serde_json::json;
use towline::{
    rpc::Client,
    sync::{Durability, PushOptions, SourceFile, push},
    transport::Endpoint,
};

use crate::{
    cli::Push,
    clock,
    connection::{Purpose, connect, endpoint, require_secure},
    failure::{Exit, Failure, escape, failed},
    output::Output,
    progress::{Direction, Progress, format_bytes, format_speed},
};

pub(crate) async fn run(mut args: Push, output: Output) -> Result<(), Failure> {
    let url = args.files_and_url.pop().unwrap_or_default();
    let files = args.files_and_url;
    let endpoint = endpoint(&url).map_err(|failure| {
        failure.hint("the last argument is the server: tow push FILE... tls://HOST:PORT#DIR")
    })?;
    require_secure(&endpoint, args.client.insecure)?;
    let client = connect(&endpoint, &args.client, Purpose::Push).await?;
    let durability = if args.no_fsync {
        Durability::None
    } else {
        Durability::Fsync
    };
    let progress = output.progress();
    let mut failures = Vec::new();
    for file in &files {
        if let Err(failure) =
            push_one(&client, file, &endpoint, durability, output, &progress).await
        {
            let failure = failure.of(file);
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
    summarise(failures, files.len())
}

/// One failure stands for itself; of several files, how many failed.
pub(super) fn summarise(mut failures: Vec<Failure>, files: usize) -> Result<(), Failure> {
    match (failures.len(), files) {
        (0, _) => Ok(()),
        (1, 1) => failures.pop().map_or(Ok(()), Err),
        (failed, files) => Err(Failure::new(
            Exit::SomeFiles,
            format!("{failed} of {files} files failed"),
        )),
    }
}

async fn push_one(
    client: &Client,
    file: &str,
    endpoint: &Endpoint,
    durability: Durability,
    output: Output,
    progress: &Progress,
) -> Result<(), Failure> {
    let path = std::path::PathBuf::from(file);
    let source = tokio::task::spawn_blocking(move || SourceFile::open(path))
        .await
        .map_err(failed)?
        .map_err(failed)?;
    let mut options = PushOptions::default().durability(durability);
    if let Some(dir) = endpoint.fragment().filter(|dir| !dir.is_empty()) {
        options = options.dir(dir);
    }
    let start = clock::now();
    let name = source.name().to_owned();
    let mut meter = progress.file(Direction::Up, &name, Some(source.size()), start);
    let pushed = push(client, source, &options, |sent| {
        meter.update(sent.bytes, sent.part, clock::now())
    })
    .await?;
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
        format_speed(pushed.bytes as f64 / seconds).trim()
    );
    output.note("pushed", fields, &escape(&line));
    Ok(())
}
