//! The command line: options, their defaults and help. Completions and man page come from here.

mod bench;
pub(crate) mod keys;
mod netcat;
mod sync;

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueHint};
use towline::{identity::PublicKey, rpc::Compression};

pub(crate) use self::{
    bench::Bench,
    netcat::{Behind, Connect, Listen},
    sync::{Check, Chunker, Chunks, Ends, Sync},
};

const EXIT_CODES_AND_ENVIRONMENT: &str = "Exit codes:
  0  ok
  1  failed
  2  wrong usage, or settings that can never work
  3  cannot connect, or the other end speaks something else: TLS, plain text
  4  some files failed, or all of several for different reasons
  5  verification failed: what arrived is not what was sent, or a certificate
     is not good
  6  refused: no trust, or no permission, at either end

Environment:
  TOW_CERTS               the directory with the keys, as --certs
  TOW_KEY                 the name of our own key, as --key
  TOW_KNOWN               the file of known keys, as --known and --file
  TOW_PASSPHRASE_FILE     a file with the passphrase of our own key, as
                          --passphrase-file, which wins
  TOW_PASSPHRASE          the passphrase itself, if no file is named
  TOW_CA_PASSPHRASE_FILE  a file with the passphrase of the authority's key, as
                          --ca-passphrase-file, which wins
  TOW_CA_PASSPHRASE       the passphrase itself, if no file is named
  TOW_NEW_PASSPHRASE_FILE, TOW_NEW_PASSPHRASE
                          the same for the new one of `tow keys passphrase`
  TOW_LOG                 what is logged to stderr: error, warn (the default),
                          info, debug or trace, or part by part:
                          `warn,towline_rpc=debug`; it wins over -v
  NO_COLOR                set to anything: no colours";

/// Move files and make calls over connections authenticated by Ed25519 keys.
#[derive(Debug, Parser)]
#[command(name = "tow", version, after_help = EXIT_CODES_AND_ENVIRONMENT)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Print one JSON object a line instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Print results and errors only
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,

    /// Log more to stderr; again for still more
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what towline does, on this machine, with nothing to set up
    Demo(Demo),
    /// Make, show, check and renew keys and certificates
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Serve the files of a directory: read-only unless --allow-write
    Serve(Serve),
    /// Send files to a server
    Push(Push),
    /// Fetch files from a server
    Pull(Pull),
    /// Make a directory or file like another: send what changed, and nothing else
    Sync(Box<Sync>),
    /// Compare a directory or file with another, and change nothing
    Check(Box<Check>),
    /// Print the hash of every chunk of a file, for a text diff of binaries
    Chunks(Chunks),
    /// Call a service and print its reply
    Call(Call),
    /// Measure how fast a server answers: calls, streams, bulk and connecting, for every compression
    Bench(Box<Bench>),
    /// Wait for connections: a netcat for every endpoint
    Listen(Listen),
    /// Connect, and join the connection to standard input and output: a netcat for every endpoint
    Connect(Connect),
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page of the program, or of a command
    Man {
        /// The command, such as `keys new`
        command: Vec<String>,
    },
}

/// Which keys to use.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// Directory with ca.crt, NAME.crt and NAME.key [default: certs here, then ~/.config/towline/certs,
    /// then ~/.config/rpc25519/certs]
    #[arg(long, value_name = "DIR", env = "TOW_CERTS", value_hint = ValueHint::DirPath)]
    pub(crate) certs: Option<PathBuf>,

    /// Name of our own key [default: node to serve, client otherwise]
    #[arg(long, value_name = "NAME", env = "TOW_KEY")]
    pub(crate) key: Option<String>,

    /// File of known keys, which decides beside the authority [default: known_client_keys here to
    /// serve, known_server_keys here otherwise, if there is one]
    #[arg(long, value_name = "FILE", env = "TOW_KNOWN", value_hint = ValueHint::FilePath)]
    pub(crate) known: Option<PathBuf>,

    /// First line of this file is the passphrase of our key, if it has one [else that of the file
    /// TOW_PASSPHRASE_FILE, else TOW_PASSPHRASE, else the terminal is asked]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// How to reach a server.
#[derive(Debug, Args)]
pub(crate) struct ClientArgs {
    #[command(flatten)]
    pub(crate) keys: KeyArgs,

    /// Trust the server that proves this public key, and no other; no authority is asked
    #[arg(long, value_name = "KEY", conflicts_with = "known")]
    pub(crate) server_key: Vec<PublicKey>,

    /// Compression of what is sent: none, s2, lz4, zstd:01, zstd:03, zstd:07 or zstd:11
    #[arg(long, visible_alias = "press", default_value_t, value_name = "NAME")]
    pub(crate) compress: Compression,

    /// Time limit for connecting and for each call
    #[arg(long, default_value = "10s", value_parser = parse_duration, value_name = "TIME")]
    pub(crate) timeout: Duration,
}

/// How to reach a server of files.
#[derive(Debug, Args)]
#[command(mut_arg("timeout", |timeout| timeout.help(FILE_TIMEOUT)))]
pub(crate) struct FileServerArgs {
    #[command(flatten)]
    pub(crate) client: ClientArgs,

    /// Move files even if the connection is neither encrypted nor authenticated
    #[arg(long)]
    pub(crate) insecure: bool,
}

const FILE_TIMEOUT: &str = "Time limit for connecting; a file of which the server takes or sends nothing more fails \
    after six to twelve times as long, and when it has all of it and does not say so, after six times as long and a \
    second for each MiB";

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// The file to move [default: 256 MiB made on the spot, half text, half noise]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,

    /// How many calls to make
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) calls: u32,

    /// How many of them at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) in_flight: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The directory; nothing outside it can be reached
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,

    /// Where to listen; port 0 lets the system choose
    #[arg(long, short, default_value = "tls://0.0.0.0:8443", value_name = "URL")]
    pub(crate) listen: String,

    /// Serve on the sockets this process was started with, as by systemd's socket activation; --listen says
    /// what is spoken on them, tls, tcp or unix
    #[arg(long)]
    pub(crate) inherited: bool,

    /// Let clients store files, also over existing ones
    #[arg(long)]
    pub(crate) allow_write: bool,

    /// Append .SUFFIX to the names of stored files; the original uses `servergot`
    #[arg(long, value_name = "SUFFIX")]
    pub(crate) suffix: Option<String>,

    /// Do not wait for the disk before a file counts as stored
    #[arg(long)]
    pub(crate) no_fsync: bool,

    /// Largest file that is taken, in bytes [default: no limit]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_file: Option<u64>,

    /// Largest message that is taken, in bytes; files go in parts of 1 MiB
    #[arg(long, value_name = "BYTES", default_value_t = 8 << 20, value_parser = clap::value_parser!(u32).range(4096..=64 << 20))]
    pub(crate) max_message: u32,

    #[command(flatten)]
    pub(crate) keys: KeyArgs,

    /// Serve only the holder of this public key; may be given several times [default: whoever is
    /// trusted]
    #[arg(long, value_name = "KEY")]
    pub(crate) allow: Vec<PublicKey>,

    /// Warn when an unknown key comes from the address of another key of the list, as clients always do
    #[arg(long)]
    pub(crate) warn_on_address_reuse: bool,

    /// Compression until a client has shown its own: none, s2, lz4, zstd:01, zstd:03, zstd:07 or zstd:11
    #[arg(long, visible_alias = "press", default_value_t, value_name = "NAME")]
    pub(crate) compress: Compression,

    /// Compress as --compress says whatever the client does, instead of answering each in its own form
    #[arg(long)]
    pub(crate) no_mirror: bool,

    /// Most connections at once
    #[arg(long, default_value_t = 10_240, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: u32,

    /// Limits for connections, as JSON: max_per_address, accept_rate, accept_rate_per_address, max_handshakes,
    /// allow, deny, proxy_from, busy, idle_timeout and others; read again on SIGHUP, which leaves connections
    /// alone
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) limits: Option<PathBuf>,

    /// Show what the server does at http://ADDR/: a page with plots, and /metrics for Prometheus, /healthz
    /// and /sessions; to whoever reaches the address, which must be of this machine unless --insecure
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<SocketAddr>,

    /// Serve files even if the connection is neither encrypted nor authenticated
    #[arg(long)]
    pub(crate) insecure: bool,

    /// Stop when standard input ends: for programs that start a server of their own
    #[arg(long, hide = true)]
    pub(crate) until_stdin_ends: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Push {
    /// Files to send, then the server: tls://HOST:PORT or tls+nats://BROKER/SUBJECT, with #DIR for a directory beneath its root, made if it is missing
    #[arg(required = true, num_args = 2.., value_names = ["FILE", "URL"], value_hint = ValueHint::FilePath)]
    pub(crate) files_and_url: Vec<OsString>,

    /// Do not wait for the server's disk; a towline server then counts the file as stored sooner
    #[arg(long)]
    pub(crate) no_fsync: bool,

    #[command(flatten)]
    pub(crate) how: How,

    #[command(flatten)]
    pub(crate) server: FileServerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// What to fetch: tls://HOST:PORT#PATH or tls+nats://BROKER/SUBJECT#PATH
    #[arg(required = true, value_name = "URL#PATH", value_hint = ValueHint::Url)]
    pub(crate) urls: Vec<String>,

    /// The directory to store in; it is made if it is not there
    #[arg(long, short, default_value = ".", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) out: PathBuf,

    /// Do not wait for the disk before a file counts as stored
    #[arg(long)]
    pub(crate) no_fsync: bool,

    #[command(flatten)]
    pub(crate) how: How,

    #[command(flatten)]
    pub(crate) server: FileServerArgs,
}

/// How files travel.
#[derive(Debug, Clone, Args)]
pub(crate) struct How {
    /// Send all of a file, as the original does; else large files send only what the other end lacks, and go on where an
    /// attempt before them ended
    #[arg(long)]
    pub(crate) whole: bool,

    /// Bytes of files a second, such as 500KiB or 5MiB, between two towlines
    #[arg(long, value_name = "RATE", value_parser = sync::parse_bytes, conflicts_with = "whole")]
    pub(crate) limit: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct Call {
    /// The server: tls://HOST:PORT
    #[arg(value_hint = ValueHint::Url)]
    pub(crate) url: String,

    /// The service, or the method of a typed service: SERVICE.METHOD
    #[arg(required_unless_present = "list")]
    pub(crate) name: Option<String>,

    /// The body of the request; `-` reads it from standard input. For a method of a typed service JSON: of one argument
    /// its value, of several an array. What a method takes as a stream comes from standard input, a line each
    #[arg(default_value = "")]
    pub(crate) body: String,

    /// Show the typed services that the server has
    #[arg(long, conflicts_with_all = ["name", "body"])]
    pub(crate) list: bool,

    #[command(flatten)]
    pub(crate) client: ClientArgs,
}

/// A time such as `300ms`, `10s` or `2m`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("`{unit}` is not a unit of time: use ms, s, m or h")),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("`{text}` is not a time: try 10s or 300ms"))?;
    Duration::try_from_secs_f64(number * seconds)
        .ok()
        .filter(|time| !time.is_zero())
        .ok_or_else(|| format!("`{text}` is not a time above zero"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_are_read_with_their_units() {
        assert_eq!(parse_duration("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("1.5m"), Ok(Duration::from_secs(90)));
        assert!(parse_duration("10 parsecs").is_err());
        assert!(parse_duration("0s").is_err());
        assert!(parse_duration("").is_err());
    }
}
