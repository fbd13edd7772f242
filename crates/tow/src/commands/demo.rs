//! `tow demo`: the whole tour, on this machine, with nothing to set up.

mod calls;
mod sample;
mod server;
mod sessions;
mod table;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Map, json};
use towline::{
    identity::{Authority, AuthorityOptions, Identity, LeafOptions},
    rpc::{CallError, Client, Message},
    sync::{Durability, PullOptions, PushOptions, Root, SourceFile, pull, push},
};

use self::{server::ServerProcess, table::Table};
use super::{interrupted, serve::stop_signal};
use crate::{
    cli::Demo,
    clock,
    failure::{Exit, Failure, failed},
    output::Output,
    progress::{Direction, format_bytes, format_speed, rate},
};

pub(crate) async fn run(args: Demo, output: Output) -> Result<(), Failure> {
    let stop = stop_signal(false).map_err(failed)?;
    if let Some(file) = &args.file {
        // Before anything is shown: the likeliest mistake.
        let file = file.clone();
        tokio::task::spawn_blocking(move || SourceFile::open(file))
            .await
            .map_err(failed)?
            .map_err(failed)?;
    }
    let place = tempfile::Builder::new()
        .prefix("tow-demo-")
        .tempdir()
        .map_err(failed)?;
    output.note(
        "step",
        json!({ "step": "keys" }),
        "1. Keys: an authority, a server, a client; and a stranger's.",
    );
    let keys = DemoKeys::make(place.path()).await?;
    let mut server = None;
    let result = tokio::select! {
        biased;
        () = stop => Err(interrupted("")),
        result = tour(&args, place.path(), &keys, &mut server, output) => result,
    };
    if let Some(server) = server {
        // It must not write there any more.
        server.kill().await;
    }
    tokio::task::spawn_blocking(move || remove(place))
        .await
        .map_err(failed)?;
    let table = result?;
    output.result(
        "demo",
        table.to_json(),
        &format!("\n{table}\nAll of it held."),
    );
    Ok(())
}

/// Removes the temporary directory, also while a thread that was interrupted still adds to it.
fn remove(place: tempfile::TempDir) {
    for _ in 0..100 {
        match std::fs::remove_dir_all(place.path()) {
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => {}
            _ => break,
        }
    }
    if let Err(error) = place.close()
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "the temporary directory of the demo stays");
    }
}

/// All steps behind the keys. Leaves a server that still runs in `server`.
async fn tour(
    args: &Demo,
    place: &Path,
    keys: &DemoKeys,
    server: &mut Option<ServerProcess>,
    output: Output,
) -> Result<Table, Failure> {
    let mut table = Table::default();
    let (ours, theirs) = (keys.server.public_key(), keys.client.public_key());
    table.row("server", ours, json!({ "server": ours.to_string() }));
    table.row("client", theirs, json!({ "client": theirs.to_string() }));
    output.note(
        "step",
        json!({ "step": "server" }),
        "2. A server in a process of its own, mutual TLS 1.3.",
    );
    let served = place.join("served");
    tokio::fs::create_dir(&served).await.map_err(failed)?;
    let running = server.insert(ServerProcess::spawn(
        &served,
        &keys.server_dir,
        "tls://127.0.0.1:0",
    )?);
    let url = running.url().await?;
    table.row("endpoint", &url, json!({ "endpoint": url }));
    let client = Client::builder()
        .identity(Arc::clone(&keys.client))
        .connect(&url)
        .await?;

    let file = move_file(args, place, &served, &client, output, &mut table).await?;
    make_calls(args, &client, output, &mut table).await?;
    client.close().await;
    refuse_stranger(keys, &url, output, &mut table).await?;
    if let Some(server) = server.take() {
        server.stop().await?;
    }
    sessions::lossy(&file, output, &mut table).await?;
    #[cfg(feature = "nats")]
    sessions::through_broker(file, place, keys, output, &mut table).await?;
    Ok(table)
}

/// Pushes a file, pulls it back, and compares what arrived with what was sent. Says which file.
async fn move_file(
    args: &Demo,
    place: &Path,
    served: &Path,
    client: &Client,
    output: Output,
    table: &mut Table,
) -> Result<PathBuf, Failure> {
    let file = match &args.file {
        Some(file) => file.clone(),
        None => {
            let file = place.join("sample.bin");
            let made = file.clone();
            tokio::task::spawn_blocking(move || sample::make(&made))
                .await
                .map_err(failed)?
                .map_err(failed)?;
            file
        }
    };
    let shown = args.file.as_ref().map_or_else(
        || "the sample".to_owned(),
        |file| file.display().to_string(),
    );
    output.note(
        "step",
        json!({ "step": "file" }),
        &format!("3. {shown} goes there and comes back."),
    );
    let before = hash_file(file.clone()).await?;

    let opened = file.clone();
    let source = tokio::task::spawn_blocking(move || SourceFile::open(opened))
        .await
        .map_err(failed)?
        .map_err(failed)?;
    let name = source.name().to_owned();
    let progress = output.progress();
    let start = clock::now();
    let mut meter = progress.file(Direction::Up, &name, Some(source.size()), start);
    let pushed = push(client, source, &PushOptions::default(), |sent| {
        meter.update(sent.bytes, sent.part, clock::now());
    })
    .await?;
    let up = clock::now().saturating_duration_since(start);
    meter.finish(clock::now());

    let back = place.join("back");
    tokio::fs::create_dir(&back).await.map_err(failed)?;
    let root = Root::open(&back).map_err(failed)?;
    let target = root.target(&name, None, None).map_err(failed)?;
    let options = PullOptions::default().durability(Durability::Fsync);
    let start = clock::now();
    let mut meter = progress.file(Direction::Down, &name, Some(pushed.bytes), start);
    pull(client, &name, &root, &target, &options, |come| {
        meter.update(come.bytes, come.part, clock::now())
    })
    .await?;
    let down = clock::now().saturating_duration_since(start);
    meter.finish(clock::now());

    let (there, after) = (
        hash_file(served.join(&name)).await?,
        hash_file(back.join(&name)).await?,
    );
    if before != after || before != there {
        return Err(Failure::new(
            Exit::Verification,
            format!(
                "the file differs: BLAKE3 {before} was sent, {there} is stored, {after} came back"
            ),
        ));
    }
    let bytes = pushed.bytes;
    for (name, key, time) in [("pushed", "push", up), ("pulled back", "pull", down)] {
        let seconds = time.as_secs_f64();
        let speed = rate(bytes, seconds);
        let text = format!(
            "{} in {seconds:.3} s, {}",
            format_bytes(bytes).trim(),
            format_speed(speed).trim()
        );
        let fields = [("seconds", seconds), ("bytes_per_second", speed)];
        let fields: Map<_, _> = fields
            .into_iter()
            .map(|(field, number)| (format!("{key}_{field}"), number.into()))
            .collect();
        table.row(name, text, fields.into());
    }
    table.row(
        "parts",
        pushed.parts,
        json!({ "bytes": bytes, "parts": pushed.parts }),
    );
    table.row(
        "BLAKE3, three times the same",
        before,
        json!({ "blake3": before.to_string() }),
    );
    Ok(file)
}

async fn make_calls(
    args: &Demo,
    client: &Client,
    output: Output,
    table: &mut Table,
) -> Result<(), Failure> {
    let (count, in_flight) = (args.calls, args.in_flight);
    output.note(
        "step",
        json!({ "step": "calls" }),
        &format!("4. {count} calls over the same connection, {in_flight} in flight."),
    );
    let made = calls::run(client, count, in_flight).await?;
    let per_second = rate(count.into(), made.seconds);
    table.row(
        "calls",
        format!("{count} in {:.3} s, {per_second:.0} a second", made.seconds),
        json!({
            "calls": count, "calls_in_flight": in_flight, "calls_seconds": made.seconds,
            "calls_per_second": per_second,
        }),
    );
    let (text, fields) = made.percentiles();
    table.row("a call took", text, fields);
    Ok(())
}

/// A client whose key another authority made must not be served.
async fn refuse_stranger(
    keys: &DemoKeys,
    url: &str,
    output: Output,
    table: &mut Table,
) -> Result<(), Failure> {
    output.note(
        "step",
        json!({ "step": "stranger" }),
        "5. A stranger with a certificate of its own tries.",
    );
    // It would accept our server; it is the server that has to refuse.
    let refusal = match Client::builder()
        .identity(Arc::clone(&keys.stranger))
        .connect(url)
        .await
    {
        Err(error) => error.to_string(),
        Ok(client) => match client
            .call(Message::request("customEcho", "let me in"))
            .await
        {
            Err(CallError::Closed(reason)) if reason.is_refused_certificate() => reason.to_string(),
            Err(error) => {
                return Err(failed(format_args!(
                    "the stranger failed for another reason: {error}"
                )));
            }
            Ok(_) => {
                return Err(Failure::new(
                    Exit::Verification,
                    "the server answered a stranger's call",
                ));
            }
        },
    };
    let fields = json!({ "stranger_refusal": refusal });
    table.row("the stranger", refusal, fields);
    Ok(())
}

async fn hash_file(path: PathBuf) -> Result<blake3::Hash, Failure> {
    tokio::task::spawn_blocking(move || {
        let mut hasher = blake3::Hasher::new();
        std::fs::File::open(&path)
            .and_then(|file| hasher.update_reader(file).map(|hasher| hasher.finalize()))
    })
    .await
    .map_err(failed)?
    .map_err(failed)
}

/// The throw-away keys.
struct DemoKeys {
    server_dir: PathBuf,
    server: Arc<Identity>,
    client: Arc<Identity>,
    stranger: Arc<Identity>,
}

impl DemoKeys {
    async fn make(place: &Path) -> Result<Self, Failure> {
        let place = place.to_owned();
        tokio::task::spawn_blocking(move || Self::make_blocking(&place))
            .await
            .map_err(failed)?
    }

    fn make_blocking(place: &Path) -> Result<Self, Failure> {
        let server_dir = place.join("certs");
        let authority = Authority::generate(&AuthorityOptions::new().days(1)).map_err(failed)?;
        let leaf = |authority: &Authority, name: &str| {
            let options = LeafOptions::new(name)
                .email(format!("{name}@demo.example"))
                .days(1);
            authority.issue(&options).map_err(failed)
        };
        let server = leaf(&authority, "node")?;
        server.save(&server_dir, "node", false).map_err(failed)?;
        let client = leaf(&authority, "client")?;
        // The stranger trusts our server: its directory holds our authority's certificate beside that of
        // its own.
        let foreign = Authority::generate(&AuthorityOptions::new().days(1)).map_err(failed)?;
        let stranger_dir = place.join("stranger");
        leaf(&foreign, "client")?
            .save(&stranger_dir, "client", false)
            .map_err(failed)?;
        let roots = stranger_dir.join("ca.crt");
        let mut text = std::fs::read(&roots).map_err(failed)?;
        text.extend(std::fs::read(server_dir.join("ca.crt")).map_err(failed)?);
        std::fs::write(&roots, text).map_err(failed)?;
        let stranger = Identity::load(&stranger_dir, "client").map_err(failed)?;
        Ok(Self {
            server_dir,
            server: Arc::new(server),
            client: Arc::new(client),
            stranger: Arc::new(stranger),
        })
    }
}
