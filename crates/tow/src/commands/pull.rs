//! `tow pull`: files from a server.

use std::path::{Path, PathBuf};

use serde_json::json;
use towline::{
    rpc::Client,
    sync::{Durability, PullOptions, Root, RootError, pull},
    transport::Endpoint,
};

use super::resuming::{Moved, Resuming};
use crate::{
    cli::Pull,
    clock,
    connection::{Purpose, connect, endpoint, require_secure},
    failure::{Exit, Failure, escape, failed, summarise},
    output::Output,
    progress::{Direction, Progress},
};

pub(crate) async fn run(args: Pull, output: Output) -> Result<(), Failure> {
    let endpoints = args
        .urls
        .iter()
        .map(|url| remote_file(url))
        .collect::<Result<Vec<_>, _>>()?;
    for (endpoint, _) in &endpoints {
        require_secure(endpoint, args.server.insecure)?;
    }
    let out = args.out.clone();
    let root = tokio::task::spawn_blocking(move || {
        // If it cannot be made, opening it says why.
        std::fs::create_dir_all(&out).ok();
        let root = Root::open(out)?;
        if let Err(error) = root.sweep_top() {
            tracing::debug!(%error, "what killed processes may have left stays");
        }
        Ok::<_, RootError>(root)
    })
    .await
    .map_err(failed)?
    .map_err(failed)?;
    let durability = if args.no_fsync {
        Durability::None
    } else {
        Durability::Fsync
    };
    let options = PullOptions::default().durability(durability);
    let resuming = Resuming::new(&args.how, args.no_fsync);
    let progress = output.progress();
    let mut failures = Vec::new();
    let mut connected: Option<(Endpoint, Client)> = None;
    let several = endpoints.len() > 1;
    for (endpoint, path) in &endpoints {
        let server = endpoint.without_fragment();
        let client = match &connected {
            Some((to, client)) if *to == server && !client.is_closed() => Ok(client.clone()),
            _ => connect(endpoint, &args.server.client, Purpose::Pull).await,
        };
        let result = match client {
            Ok(client) => {
                connected = Some((server.clone(), client.clone()));
                pull_one(
                    &client,
                    path,
                    (&root, &args.out),
                    (&options, &resuming),
                    output,
                    &progress,
                )
                .await
            }
            Err(failure) => Err(failure),
        };
        if let Err(failure) = result {
            // Of several, the same path may be meant at different servers.
            let (url, server) = (endpoint.to_string(), server.to_string());
            let failure = failure.about(&[&url, &server, path, last_component(path)]);
            let failure = if several {
                failure.about(&[&server])
            } else {
                failure
            };
            if several {
                output.failure(&failure);
            }
            failures.push(failure);
        }
    }
    if let Some((_, client)) = connected {
        client.close().await;
    }
    summarise(failures, endpoints.len(), 0)
}

fn last_component(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A URL with a path behind `#`.
fn remote_file(url: &str) -> Result<(Endpoint, String), Failure> {
    let endpoint = endpoint(url)?;
    match endpoint.fragment().filter(|path| !path.is_empty()) {
        Some(path) if last_component(path).is_empty() => Err(Failure::new(
            Exit::Usage,
            format!("{url} names a directory, and only files can be pulled"),
        )
        .hint("put the path of a file behind #: tow pull tls://HOST:PORT#dir/file")),
        Some(path) => {
            let path = path.to_owned();
            Ok((endpoint, path))
        }
        None => Err(
            Failure::new(Exit::Usage, format!("{url} does not say which file"))
                .hint("put the path behind #: tow pull tls://HOST:PORT#dir/file"),
        ),
    }
}

async fn pull_one(
    client: &Client,
    path: &str,
    (root, out): (&Root, &Path),
    (options, resuming): (&PullOptions, &Resuming),
    output: Output,
    progress: &Progress,
) -> Result<(), Failure> {
    let name = last_component(path);
    let target = root
        .target(name, None, None)
        .map_err(|error| Failure::new(Exit::Refused, error.to_string()))?;
    let start = clock::now();
    let mut meter = progress.file(Direction::Down, name, None, start);
    let at: PathBuf = out.join(name);
    let moved = resuming.pull(client, path, &at, &mut meter).await?;
    let (moved, mut fields) = match moved {
        Some(moved) => (moved, json!({"blake3": null})),
        None => {
            let stored = pull(client, path, root, &target, options, |come| {
                if let Some(total) = come.total {
                    meter.set_total(total);
                }
                meter.update(come.bytes, come.part, clock::now());
            })
            .await?;
            let fields = json!({"blake3": stored.total.to_string()});
            (Moved::whole(stored.bytes), fields)
        }
    };
    let end = clock::now();
    meter.finish(end);
    let seconds = end.saturating_duration_since(start).as_secs_f64();
    fields["path"] = json!(path);
    fields["file"] = json!(at.display().to_string());
    moved.put(&mut fields, seconds);
    output.note("pulled", fields, &line(path, &at, moved, seconds));
    Ok(())
}

fn line(path: &str, at: &Path, moved: Moved, seconds: f64) -> String {
    let line = format!("pulled {path} to {}: {}", at.display(), moved.tell(seconds));
    escape(&line)
}
