//! `tow`: move files and make calls over connections authenticated by Ed25519 keys.

mod cli;
mod clock;
mod commands;
mod connection;
mod failure;
mod output;
mod progress;

use std::process::ExitCode;

use clap::Parser as _;

use self::{cli::Cli, output::Output};

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(cli.verbose);
    let output = Output::new(cli.json, cli.quiet);
    match commands::run(cli, &output) {
        // An answer that nobody got is no success.
        Ok(()) if Output::was_lost() => failure::Exit::Failed.into(),
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            failure.exit().into()
        }
    }
}

/// Logs go to stderr: warnings unless asked for more, or what `TOW_LOG` says.
fn start_log(verbose: u8) {
    use tracing_subscriber::EnvFilter;

    let level = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("TOW_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .init();
}
