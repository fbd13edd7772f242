//! `tow`: move files and make calls over connections authenticated by Ed25519 keys.

mod admin;
mod cli;
mod clock;
mod commands;
mod connection;
mod failure;
mod output;
mod passphrase;
mod progress;
mod reload;

use std::process::ExitCode;

use clap::Parser as _;

use self::{
    cli::Cli,
    failure::{Exit, Failure},
    output::Output,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.json, cli.quiet);
    let result = start_log(cli.verbose).and_then(|()| commands::run(cli, &output));
    match result {
        // An answer that nobody got is no success.
        Ok(()) if Output::was_lost() => Exit::Failed.into(),
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            failure.exit().into()
        }
    }
}

/// Logs go to stderr: warnings unless asked for more, or what `TOW_LOG` says.
fn start_log(verbose: u8) -> Result<(), Failure> {
    use tracing_subscriber::EnvFilter;

    let level = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let asked = std::env::var_os("TOW_LOG").filter(|text| !text.is_empty());
    let filter = match asked.as_deref().map(|text| text.to_string_lossy()) {
        None => EnvFilter::new(level),
        Some(text) => EnvFilter::try_new(&text).map_err(|error| {
            Failure::new(Exit::Usage, format!("TOW_LOG is `{text}`: {error}"))
                .hint("say error, warn, info, debug or trace")
        })?,
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .init();
    Ok(())
}
