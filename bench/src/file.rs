//! Push and pull of a file over mutually authenticated TLS, both ends on this machine.

pub(crate) mod keys;
pub(crate) mod raw;
pub(crate) mod tow;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use towline::identity::CipherSuite;

use crate::{
    Options,
    process::{Server, run_client, this_program},
    report::{Measured, Verdict},
    role::parse_suite,
    samples::{Metric, RAW, Samples, greatest},
};

const MIB: u64 = 1 << 20;
/// The target: speed as a share of the raw copy's.
const TARGET: f64 = 0.85;
/// The target: memory of each process, in MiB.
const MEMORY_TARGET: f64 = 64.0;
/// The suite that the targets are about, and the one shown beside it.
const SUITES: [CipherSuite; 2] = [CipherSuite::ChaCha20Poly1305, CipherSuite::Aes128Gcm];
/// The file that is moved, and what it is called on arrival.
pub(crate) const SOURCE: &str = "source.bin";

const SPEED: Metric = Metric {
    name: "speed",
    unit: "MiB/s",
    digits: 0,
    compared: true,
};
const CPU: Metric = Metric {
    name: "CPU a GiB",
    unit: "s",
    digits: 2,
    compared: true,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Direction {
    /// From client to server
    Push,
    /// From server to client
    Pull,
}

impl Direction {
    const fn name(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Pull => "pull",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// A plain tokio-rustls copy that reads and writes its file with `tokio::fs`
    Raw,
    /// The same, with the file read and written in place
    RawBlocking,
    Towline,
}

impl Peer {
    const ALL: [Self; 3] = [Self::Raw, Self::RawBlocking, Self::Towline];

    const fn name(self) -> &'static str {
        match self {
            Self::Raw => RAW,
            Self::RawBlocking => "raw-blocking",
            Self::Towline => "towline",
        }
    }
}

/// What both sides of the raw copy are told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RawArgs {
    /// Keys of both sides
    #[arg(long)]
    certs: PathBuf,
    /// The cipher suite
    #[arg(long, value_parser = parse_suite)]
    suite: CipherSuite,
    /// What a server serves and where it stores
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Read and write files in place instead of with `tokio::fs`
    #[arg(long)]
    blocking: bool,
}

/// Where everything lies. The server's directory holds the source too; a client stores elsewhere.
struct Place {
    certs: PathBuf,
    served: PathBuf,
    fetched: PathBuf,
    source: PathBuf,
    hash: blake3::Hash,
    bytes: u64,
    tow: PathBuf,
}

pub(crate) fn measure(options: &Options) -> anyhow::Result<Measured> {
    let tow = match &options.tow {
        Some(path) => path.clone(),
        None => tow::build()?,
    };
    println!("tow: {} ({})", tow::version(&tow)?, tow.display());
    let bytes = options.file_size * MIB;
    let dir = memory_file_system(bytes)?;
    let place = Place::make(dir.path(), bytes, tow)?;
    let mut samples = Samples::default();
    for round in 1..=options.rounds {
        for suite in SUITES {
            for direction in [Direction::Push, Direction::Pull] {
                for peer in Peer::ALL {
                    if options.wants(peer.name()) {
                        let (way, name) = (direction.name(), peer.name());
                        eprintln!(
                            "round {round} of {}: {way}, {suite}, {name}",
                            options.rounds
                        );
                        run(peer, direction, suite, &place, &mut samples)
                            .with_context(|| format!("{way}, {suite}, {name}"))?;
                    }
                }
            }
        }
    }
    let verdicts = verdicts(&samples);
    Ok(Measured { samples, verdicts })
}

fn workload(direction: Direction, suite: CipherSuite) -> String {
    format!("file, {}, {suite}", direction.name())
}

fn verdicts(samples: &Samples) -> Vec<Verdict> {
    let ours = Peer::Towline.name();
    let mut verdicts = Vec::new();
    let mut peak: f64 = 0.0;
    for direction in [Direction::Push, Direction::Pull] {
        let workload = workload(direction, CipherSuite::default());
        if let Some(ratios) = samples.ratios(&workload, ours, RAW, SPEED.name) {
            let what = format!("{}: towline to raw", direction.name());
            verdicts.push(Verdict::at_least(&what, TARGET, &ratios));
        }
    }
    for series in &samples.series {
        if series.peer == ours && [CLIENT_MEMORY, SERVER_MEMORY].contains(&series.metric) {
            peak = peak.max(greatest(&series.values));
        }
    }
    if peak > 0.0 {
        verdicts.push(Verdict {
            target: format!("files: memory of each process below {MEMORY_TARGET} MiB"),
            reached: format!("{peak:.1} MiB at most"),
            met: peak < MEMORY_TARGET,
        });
    }
    verdicts
}

fn run(
    peer: Peer,
    direction: Direction,
    suite: CipherSuite,
    place: &Place,
    samples: &mut Samples,
) -> anyhow::Result<()> {
    // A server of its own for every run, so that its peak is that of this run.
    let (server, client) = match peer {
        Peer::Raw | Peer::RawBlocking => raw_commands(peer, direction, suite, place)?,
        Peer::Towline => tow::commands(direction, suite, place)?,
    };
    let server = Server::start(server)?;
    let client = run_client(client(&server.ready)?)?;
    let server = server.finish()?;
    let arrived = match direction {
        Direction::Push => place.served.join(SOURCE),
        Direction::Pull => place.fetched.join(SOURCE),
    };
    let same = hash(&arrived)? == place.hash;
    ensure!(same, "what arrived differs from what was sent");
    // The next run begins with the same free memory.
    fs::remove_file(&arrived)?;
    let workload = workload(direction, suite);
    let mib = (place.bytes / MIB) as f64;
    for (metric, value) in [
        (SPEED, mib / client.elapsed.as_secs_f64()),
        (CPU, (client.usage.cpu + server.cpu) / mib * 1024.0),
        (CLIENT_MEMORY, client.usage.peak_mib),
        (SERVER_MEMORY, server.peak_mib),
    ] {
        samples.push(&workload, peer.name(), metric, value);
    }
    Ok(())
}

/// A plain server that stores in this directory.
pub(crate) fn raw_server(certs: &Path, suite: CipherSuite, dir: &Path) -> anyhow::Result<Command> {
    let mut server = this_program()?;
    server.args(["file-server", "--dir"]).arg(dir);
    server.arg("--certs").arg(certs);
    server.args(["--suite", suite.as_str()]);
    Ok(server)
}

/// A plain client that sends this file.
pub(crate) fn raw_client(
    certs: &Path,
    suite: CipherSuite,
    address: &str,
    source: &Path,
) -> anyhow::Result<Command> {
    let mut client = this_program()?;
    client.args(["file-client", Direction::Push.name(), address]);
    client.arg(source).arg("--certs").arg(certs);
    client.args(["--suite", suite.as_str()]);
    Ok(client)
}

/// A server's command, and the client's once the server has told where it listens.
type Commands<'a> = (
    Command,
    Box<dyn FnOnce(&str) -> anyhow::Result<Command> + 'a>,
);

fn raw_commands(
    peer: Peer,
    direction: Direction,
    suite: CipherSuite,
    place: &Place,
) -> anyhow::Result<Commands<'_>> {
    let common = move |command: &mut Command| {
        command.arg("--certs").arg(&place.certs);
        command.args(["--suite", suite.as_str()]);
        if peer == Peer::RawBlocking {
            command.arg("--blocking");
        }
    };
    let mut server = this_program()?;
    server.args(["file-server", "--dir"]);
    server.arg(place.served_for(direction));
    common(&mut server);
    let client = move |address: &str| {
        let mut client = this_program()?;
        client.args(["file-client", direction.name(), address]);
        client.arg(match direction {
            Direction::Push => place.source.clone(),
            Direction::Pull => place.fetched.join(SOURCE),
        });
        common(&mut client);
        Ok(client)
    };
    Ok((server, Box::new(client)))
}

impl Place {
    fn make(dir: &Path, bytes: u64, tow: PathBuf) -> anyhow::Result<Self> {
        let [certs, served, fetched, sources] =
            ["certs", "served", "fetched", "sources"].map(|name| dir.join(name));
        for dir in [&served, &fetched, &sources] {
            fs::create_dir(dir)?;
        }
        keys::make(&certs)?;
        let source = sources.join(SOURCE);
        let hash = make_noise(&source, bytes)?;
        Ok(Self {
            certs,
            served,
            fetched,
            source,
            hash,
            bytes,
            tow,
        })
    }

    /// The directory a server is given: an empty one to store in, or that of the source.
    fn served_for(&self, direction: Direction) -> PathBuf {
        match direction {
            Direction::Push => self.served.clone(),
            Direction::Pull => self.source.with_file_name(""),
        }
    }
}

/// A directory in memory if there is room, else among the temporary files: source and copy.
pub(crate) fn memory_file_system(bytes: u64) -> anyhow::Result<tempfile::TempDir> {
    let shared = Path::new("/dev/shm");
    let needed = 2 * bytes + 256 * MIB;
    let room = rustix::fs::statvfs(shared).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
    let dir = if room >= needed {
        tempfile::Builder::new().prefix("bench-").tempdir_in(shared)
    } else {
        println!("/dev/shm has no room for {needed} bytes: the files lie on the disk");
        tempfile::Builder::new().prefix("bench-").tempdir()
    };
    dir.context("cannot make a directory for the files")
}

/// Random bytes, and their hash. They differ from run to run only by their place in memory: the
/// stream comes from a fixed key.
fn make_noise(path: &Path, bytes: u64) -> anyhow::Result<blake3::Hash> {
    let mut noise = blake3::Hasher::new_keyed(&[7; 32]).finalize_xof();
    let mut hasher = blake3::Hasher::new();
    let mut file = fs::File::create(path)?;
    let mut block = vec![0; MIB as usize];
    for _ in 0..bytes / MIB {
        noise.fill(&mut block);
        hasher.update(&block);
        file.write_all(&block)?;
    }
    Ok(hasher.finalize())
}

fn hash(path: &Path) -> anyhow::Result<blake3::Hash> {
    let file = fs::File::open(path).with_context(|| format!("{} is missing", path.display()))?;
    Ok(blake3::Hasher::new().update_reader(file)?.finalize())
}
