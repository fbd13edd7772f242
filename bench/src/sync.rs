//! Delta sync beside an rsync daemon: both ends on this machine, all files in memory.

mod daemon;
mod data;
mod relay;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use towline::{
    identity::CipherSuite,
    sync::{
        fs::{Disk, Manifest, Store as _},
        wire::{Chunking, RelPath},
    },
};

use self::{daemon::Daemon, relay::Relay};
use crate::{
    Options,
    file::{keys, memory_file_system, raw_client, raw_server, tow},
    process::{Finished, Server, run_client},
    report::{Measured, Verdict},
    samples::{Metric, RAW, Samples, greatest},
};

const MIB: u64 = 1 << 20;
/// Small files of the trees.
const FILES: usize = 100_000;
/// A file younger than this is in no cache of manifests.
const SETTLED: Duration = Duration::from_millis(3_100);
const SUITE: CipherSuite = CipherSuite::ChaCha20Poly1305;

const DELTA: &str = "sync, changed file";
const UNCHANGED: &str = "sync, unchanged tree";
const FRESH_TREE: &str = "sync, fresh tree";
const FRESH_FILE: &str = "sync, fresh file";
const CUT: &str = "sync, chunking on one core";

const TOWLINE: &str = "towline";
const WARM: &str = "towline, warm caches";
const RSYNC: &str = "rsync";

const TIME: Metric = Metric {
    name: "time",
    unit: "s",
    digits: 2,
    compared: true,
};
const WIRE: Metric = Metric {
    name: "on the wire",
    unit: "MiB",
    digits: 2,
    compared: false,
};
const SPEED: Metric = Metric {
    name: "speed",
    unit: "MiB/s",
    digits: 0,
    compared: true,
};
const CPU: Metric = Metric {
    name: "CPU",
    unit: "s",
    digits: 2,
    compared: false,
};
const CLIENT_MEMORY: Metric = Metric {
    name: "client's peak",
    unit: "MiB",
    digits: 1,
    compared: false,
};
const SERVER_MEMORY: Metric = Metric {
    name: "server's peak",
    unit: "MiB",
    digits: 1,
    compared: false,
};

/// Where everything lies.
struct Place {
    dir: PathBuf,
    certs: PathBuf,
    tow: PathBuf,
}

impl Place {
    fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A new, empty directory of this name.
    fn fresh(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.at(name);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir(&path)?;
        Ok(path)
    }
}

pub(crate) fn measure(options: &Options) -> anyhow::Result<Measured> {
    let tow = match &options.tow {
        Some(path) => path.clone(),
        None => tow::build()?,
    };
    println!("tow: {} ({})", tow::version(&tow)?, tow.display());
    println!("{}", daemon::version()?);
    let bytes = options.file_size * MIB;
    let dir = memory_file_system(4 * bytes)?;
    let place = Place {
        dir: dir.path().to_owned(),
        certs: dir.path().join("certs"),
        tow,
    };
    keys::make(&place.certs)?;
    let mut samples = Samples::default();
    if options.wants_load("changed-file") {
        changed_file(options, &place, bytes, &mut samples)?;
    }
    if options.wants_load("fresh-file") {
        fresh_file(options, &place, bytes, &mut samples)?;
    }
    if options.wants_load("chunking") {
        chunking(options, &place, bytes, &mut samples)?;
    }
    if options.wants_load("unchanged-tree") || options.wants_load("fresh-tree") {
        trees(options, &place, &mut samples)?;
    }
    let verdicts = verdicts(&samples);
    Ok(Measured { samples, verdicts })
}

/// A file with a hundred edits and one insertion, its older version at the server.
fn changed_file(
    options: &Options,
    place: &Place,
    bytes: u64,
    samples: &mut Samples,
) -> anyhow::Result<()> {
    let old = place.at("old.bin");
    let sources = place.fresh("sources")?;
    let source = sources.join("file.bin");
    data::noise(&old, bytes, 7)?;
    data::edited(&old, &source)?;
    let older = |at: &Path| -> anyhow::Result<()> {
        fs::copy(&old, at.join("file.bin"))?;
        Ok(())
    };
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}: {DELTA}", options.rounds);
        let start = Instant::now();
        ensure!(
            Command::new("cp")
                .arg(&source)
                .arg(place.at("copy"))
                .status()?
                .success()
        );
        samples.push(DELTA, RAW, TIME, start.elapsed().as_secs_f64());
        fs::remove_file(place.at("copy"))?;

        let served = place.fresh("served")?;
        older(&served)?;
        let run = rsync(&served, &source, None)?;
        push(samples, DELTA, RSYNC, &run);
        data::same(&source, &served.join("file.bin"))?;

        for (peer, warm) in [(TOWLINE, false), (WARM, true)] {
            let served = place.fresh("served")?;
            let caches = place.fresh("caches")?;
            older(&served)?;
            if warm {
                std::thread::sleep(SETTLED);
                towline(
                    place,
                    &served,
                    &caches,
                    &source,
                    None,
                    &["-n", "--checksum"],
                )?;
            }
            let run = towline(place, &served, &caches, &source, None, &[])?;
            push(samples, DELTA, peer, &run);
            data::same(&source, &served.join("file.bin"))?;
        }
        // What goes over the wire is counted apart: the relay would cost time.
        for peer in [RSYNC, TOWLINE] {
            let served = place.fresh("served")?;
            older(&served)?;
            let mut relay = Relay::start()?;
            if peer == RSYNC {
                rsync(&served, &source, Some(&mut relay))?;
            } else {
                let caches = place.fresh("caches")?;
                towline(place, &served, &caches, &source, Some(&mut relay), &[])?;
            }
            samples.push(DELTA, peer, WIRE, relay.carried() as f64 / MIB as f64);
        }
    }
    fs::remove_file(&old)?;
    Ok(())
}

/// A file that the server does not have, beside a plain copy over the same suite.
fn fresh_file(
    options: &Options,
    place: &Place,
    bytes: u64,
    samples: &mut Samples,
) -> anyhow::Result<()> {
    let sources = place.fresh("sources")?;
    let source = sources.join(crate::file::SOURCE);
    data::noise(&source, bytes, 9)?;
    let mib = (bytes / MIB) as f64;
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}: {FRESH_FILE}", options.rounds);
        let served = place.fresh("served")?;
        let server = Server::start(raw_server(&place.certs, SUITE, &served)?)?;
        let client = run_client(raw_client(&place.certs, SUITE, &server.ready, &source)?)?;
        server.finish()?;
        let speed = mib / client.elapsed.as_secs_f64();
        samples.push(FRESH_FILE, RAW, SPEED, speed);

        let served = place.fresh("served")?;
        let run = rsync(&served, &source, None)?;
        let speed = mib / run.client.elapsed.as_secs_f64();
        samples.push(FRESH_FILE, "rsync, not encrypted", SPEED, speed);

        let served = place.fresh("served")?;
        let caches = place.fresh("caches")?;
        let run = towline(place, &served, &caches, &source, None, &[])?;
        let speed = mib / run.client.elapsed.as_secs_f64();
        samples.push(FRESH_FILE, TOWLINE, SPEED, speed);
        samples.push(
            FRESH_FILE,
            TOWLINE,
            CLIENT_MEMORY,
            run.client.usage.peak_mib,
        );
        if let Some(peak) = run.server_peak {
            samples.push(FRESH_FILE, TOWLINE, SERVER_MEMORY, peak);
        }
        data::same(&source, &served.join(crate::file::SOURCE))?;
    }
    Ok(())
}

/// Cutting and hashing, in one thread.
fn chunking(
    options: &Options,
    place: &Place,
    bytes: u64,
    samples: &mut Samples,
) -> anyhow::Result<()> {
    let sources = place.fresh("sources")?;
    data::noise(&sources.join("file.bin"), bytes, 11)?;
    let disk = Disk::open_root(&sources)?;
    let (file, stat) = disk.open(&RelPath::root().join(b"file.bin"))?;
    for _ in 0..options.rounds {
        let start = Instant::now();
        let manifest = Manifest::of(&disk, &file, &stat, Chunking::Content)?;
        let speed = (bytes / MIB) as f64 / start.elapsed().as_secs_f64();
        ensure!(!manifest.spans.is_empty(), "no chunks");
        samples.push(CUT, TOWLINE, SPEED, speed);
    }
    Ok(())
}

/// Very many small files: all of them new, then none.
fn trees(options: &Options, place: &Place, samples: &mut Samples) -> anyhow::Result<()> {
    let sources = place.fresh("sources")?.join("tree");
    data::tree(&sources, FILES)?;
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}: {FRESH_TREE}", options.rounds);
        let served = place.fresh("served")?;
        let run = rsync(&served, &sources, None)?;
        push(samples, FRESH_TREE, RSYNC, &run);
        let run = rsync(&served, &sources, None)?;
        push(samples, UNCHANGED, RSYNC, &run);

        let served = place.fresh("served")?;
        let caches = place.fresh("caches")?;
        let run = towline(place, &served, &caches, &sources, None, &[])?;
        push(samples, FRESH_TREE, TOWLINE, &run);
        data::same_trees(&sources, &served.join("tree"))?;
        let run = towline(place, &served, &caches, &sources, None, &[])?;
        push(samples, UNCHANGED, TOWLINE, &run);
    }
    Ok(())
}

/// A client that has ended, and what its server has used.
struct Run {
    client: Finished,
    server_cpu: f64,
    /// Where it is known.
    server_peak: Option<f64>,
}

fn push(samples: &mut Samples, load: &str, peer: &'static str, run: &Run) {
    let cpu = run.client.usage.cpu + run.server_cpu;
    samples.push(load, peer, TIME, run.client.elapsed.as_secs_f64());
    samples.push(load, peer, CPU, cpu);
    samples.push(load, peer, CLIENT_MEMORY, run.client.usage.peak_mib);
    if let Some(peak) = run.server_peak {
        samples.push(load, peer, SERVER_MEMORY, peak);
    }
}

/// Sends a file or a tree to a daemon of its own.
fn rsync(served: &Path, source: &Path, relay: Option<&mut Relay>) -> anyhow::Result<Run> {
    let daemon = Daemon::start(served)?;
    let address = match relay {
        Some(relay) => relay.to(&daemon.address)?,
        None => daemon.address.clone(),
    };
    let mut client = Command::new("rsync");
    client.arg("--archive").arg(source);
    client.arg(format!("rsync://{address}/served/"));
    let client = run_client(client)?;
    Ok(Run {
        client,
        server_cpu: daemon.finish()?,
        server_peak: None,
    })
}

/// Sends a file or a tree to a server of its own.
fn towline(
    place: &Place,
    served: &Path,
    caches: &Path,
    source: &Path,
    relay: Option<&mut Relay>,
    more: &[&str],
) -> anyhow::Result<Run> {
    let mut server = Command::new(&place.tow);
    server.arg("serve").arg(served);
    server.args(["--allow-write", "--no-fsync", "--compress", "none"]);
    server.args(["--until-stdin-ends", "--json", "--certs"]);
    server.arg(&place.certs);
    server.args(["--listen", &format!("tls://127.0.0.1:0?cipher={SUITE}")]);
    server.env("XDG_CACHE_HOME", caches.join("server"));
    let server = Server::start(server)?;
    let ready: serde_json::Value = serde_json::from_str(&server.ready)?;
    let url = ready["url"]
        .as_str()
        .context("tow does not say where it listens")?;
    let mut url = url.to_owned();
    if let Some(relay) = relay {
        let rest = url.strip_prefix("tls://").context("not a tls:// URL")?;
        let end = rest.find(['?', '#', '/']).unwrap_or(rest.len());
        url = format!("tls://{}{}", relay.to(&rest[..end])?, &rest[end..]);
    }
    let name = source.file_name().context("a source without a name")?;
    let mut client = Command::new(&place.tow);
    client.arg("sync").arg(source);
    client.arg(format!("{url}#{}", name.to_string_lossy()));
    client.args(["--no-fsync", "--compress", "none", "--quiet", "--certs"]);
    client.arg(&place.certs).args(more).stderr(Stdio::inherit());
    client.env("XDG_CACHE_HOME", caches.join("client"));
    let client = run_client(client)?;
    let server = server.finish()?;
    Ok(Run {
        client,
        server_cpu: server.cpu,
        server_peak: Some(server.peak_mib),
    })
}

fn verdicts(samples: &Samples) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let mut at_most = |what: &str, target: f64, load: &str, peer: &str, base: &str| {
        if let Some(ratios) = samples.ratios(load, peer, base, TIME.name) {
            verdicts.push(Verdict::at_most(what, target, &ratios));
        }
    };
    at_most("changed file: time to cp's", 3.0, DELTA, TOWLINE, RAW);
    at_most(
        "changed file, warm caches: time to cp's",
        2.2,
        DELTA,
        WARM,
        RAW,
    );
    at_most(
        "unchanged tree: time to rsync's",
        0.7,
        UNCHANGED,
        TOWLINE,
        RSYNC,
    );
    at_most(
        "fresh tree: time to rsync's",
        0.5,
        FRESH_TREE,
        TOWLINE,
        RSYNC,
    );
    if let Some(wire) = samples.find(DELTA, TOWLINE, WIRE.name) {
        let what = "changed file: MiB on the wire";
        verdicts.push(Verdict::at_most(what, 2.6, &wire.values));
    }
    if let Some(ratios) = samples.ratios(FRESH_FILE, TOWLINE, RAW, SPEED.name) {
        let what = "fresh file: speed to a plain copy's";
        verdicts.push(Verdict::at_least(what, 0.90, &ratios));
    }
    if let Some(speed) = samples.find(CUT, TOWLINE, SPEED.name) {
        let gib: Vec<f64> = speed.values.iter().map(|mib| mib / 1024.0).collect();
        verdicts.push(Verdict::at_least("chunking: GiB/s on a core", 1.2, &gib));
    }
    let mut peak: f64 = 0.0;
    for series in &samples.series {
        let ours = [TOWLINE, WARM].contains(&series.peer);
        if ours && [CLIENT_MEMORY, SERVER_MEMORY].contains(&series.metric) {
            peak = peak.max(greatest(&series.values));
        }
    }
    if peak > 0.0 {
        verdicts.push(Verdict {
            target: "memory of each process at most 128 MiB".to_owned(),
            reached: format!("{peak:.1} MiB at most"),
            met: peak <= 128.0,
        });
    }
    verdicts
}
