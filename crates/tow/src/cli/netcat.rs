//! `tow listen` and `tow connect`.

use std::time::Duration;

use clap::{Args, ValueHint};
use towline::identity::PublicKey;

use super::{KeyArgs, parse_duration};

/// What stands behind each stream, instead of standard input and output.
#[derive(Debug, Args)]
pub(crate) struct Behind {
    /// Send back what comes
    #[arg(long, conflicts_with = "forward")]
    pub(crate) echo: bool,

    /// Join each stream to a new TCP connection to this address
    #[arg(long, value_name = "HOST:PORT", value_hint = ValueHint::Hostname)]
    pub(crate) forward: Option<String>,

    /// Tell at the end, on stderr, how much went each way and how fast
    #[arg(long)]
    pub(crate) stats: bool,
}

#[derive(Debug, Args)]
#[command(long_about = "Wait for connections: a netcat for every endpoint

With --echo or --forward every stream of every client is served until an interrupt. Without them the first \
client is joined to standard input and output, and the program ends with it. An end of input is passed on \
while the other direction goes on, both ways.")]
pub(crate) struct Listen {
    /// Where: tcp://HOST:PORT, tls://…, quic://…, udp://…, nats://BROKER/SUBJECT, tls+nats://…, unix:///PATH, connect+tcp://…, or with yamux+ or muxado+ in front for many
    /// streams on each connection, which quic has without; port 0 lets the system choose
    #[arg(value_hint = ValueHint::Url)]
    pub(crate) url: String,

    /// Listen on the sockets this process was started with, as by systemd's socket activation; the URL says
    /// what is spoken on them
    #[arg(long)]
    pub(crate) inherited: bool,

    #[command(flatten)]
    pub(crate) behind: Behind,

    /// Take standard output from this many streams, and deal standard input to them, in blocks of
    /// 64 KiB; the other end does the same
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000), conflicts_with_all = ["echo", "forward"])]
    pub(crate) streams: u16,

    /// Most connections at once
    #[arg(long, default_value_t = 1024, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: u32,

    #[command(flatten)]
    pub(crate) keys: KeyArgs,

    /// Let only clients with this public key in, on tls; again for more [default: all who are trusted]
    #[arg(long, value_name = "KEY")]
    pub(crate) allow: Vec<PublicKey>,

    /// Warn when an unknown key comes from the address of another key of the list, as clients always do
    #[arg(long)]
    pub(crate) warn_on_address_reuse: bool,
}

#[derive(Debug, Args)]
#[command(
    long_about = "Connect and join the connection to standard input and output: a netcat for every endpoint

An end of input is passed on while the other direction goes on; the program ends when both have ended."
)]
pub(crate) struct Connect {
    /// Where to: tcp://HOST:PORT, tls://…, quic://…, udp://…, nats://BROKER/SUBJECT, tls+nats://…, unix:///PATH, connect+tcp://…, or with yamux+ or muxado+ in front for many
    /// streams on one connection, which quic has without; on quic this end speaks first
    #[arg(value_hint = ValueHint::Url)]
    pub(crate) url: String,

    #[command(flatten)]
    pub(crate) behind: Behind,

    /// Open this many streams: standard input is dealt to them in blocks of 64 KiB and standard output
    /// taken from them likewise, which an echo and a `tow listen --streams N` put together again
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) streams: u16,

    /// Time limit for connecting
    #[arg(long, default_value = "10s", value_parser = parse_duration, value_name = "TIME")]
    pub(crate) timeout: Duration,

    #[command(flatten)]
    pub(crate) keys: KeyArgs,

    /// Trust the server that proves this public key, and no other; no authority is asked
    #[arg(long, value_name = "KEY", conflicts_with = "known")]
    pub(crate) server_key: Vec<PublicKey>,
}
