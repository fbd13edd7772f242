//! One file a command.

mod call;
mod demo;
mod keys;
pub(crate) mod known;
mod pull;
mod push;
mod serve;

use std::{future::Future, time::Duration};

use clap::CommandFactory as _;

use crate::{
    cli::{Cli, Command},
    failure::{Exit, Failure, failed},
    output::Output,
};

/// Runs what the command line asks for.
pub(crate) fn run(cli: Cli, output: &Output) -> Result<(), Failure> {
    match cli.command {
        Command::Demo(args) => block_on_own(demo::run(args, *output)),
        Command::Keys(command) => keys::run(command, *output),
        Command::Serve(args) => block_on_own(serve::run(args, *output)),
        Command::Push(args) => block_on(push::run(args, *output)),
        Command::Pull(args) => block_on(pull::run(args, *output)),
        Command::Call(args) => block_on(call::run(args, *output)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tow", &mut script);
            output.raw(&script);
            Ok(())
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command())
                .render(&mut page)
                .map_err(failed)?;
            output.raw(&page);
            Ok(())
        }
    }
}

/// Runs a command on a runtime of its own, in a task: a task wakes faster than the thread that
/// waits for it. An interrupt ends the command in order, with its temporary files gone.
fn block_on<F>(command: F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let result = runtime.block_on(async {
        let stop = serve::stop_signal(false).map_err(failed)?;
        let mut command = tokio::spawn(command);
        tokio::select! {
            biased;
            ended = &mut command => match ended {
                Ok(result) => result,
                Err(error) => Err(failed(format_args!("an internal error: {error}"))),
            },
            () = stop => {
                command.abort();
                // Cancelled, or just done: either is an end.
                drop(command.await);
                Err(interrupted())
            }
        }
    });
    // Threads that remove a temporary file get their time; those that wait for a terminal do not.
    runtime.shutdown_timeout(Duration::from_secs(2));
    result
}

/// How a command ends that was told to stop.
fn interrupted() -> Failure {
    Failure::new(
        Exit::Failed,
        "interrupted; nothing half-done is left behind",
    )
}

/// Runs a command that handles interrupts itself.
fn block_on_own<F>(command: F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let result = runtime.block_on(runtime.spawn(command));
    runtime.shutdown_timeout(Duration::from_secs(2));
    match result {
        Ok(result) => result,
        Err(error) => Err(failed(format_args!("an internal error: {error}"))),
    }
}
