//! One file a command.

mod bench;
mod call;
mod chunks;
mod connect;
mod demo;
mod keys;
pub(crate) mod known;
mod listen;
mod netcat;
mod pull;
mod push;
mod resuming;
mod serve;
mod sync;

use std::{future::Future, time::Duration};

use clap::CommandFactory as _;

use crate::{
    cli::{Cli, Command},
    failure::{Exit, Failure, failed},
    output::Output,
};

/// What to do after an interrupt of a command that keeps what it has moved.
const GOES_ON: &str = "; the same command does the rest";

/// Runs what the command line asks for.
pub(crate) fn run(cli: Cli, output: &Output) -> Result<(), Failure> {
    match cli.command {
        Command::Demo(args) => block_on_own(demo::run(args, *output)),
        Command::Keys(command) => keys::run(command, *output),
        Command::Serve(args) => block_on_own(serve::run(args, *output)),
        Command::Push(args) => block_on(push::run(args, *output), GOES_ON),
        Command::Pull(args) => block_on(pull::run(args, *output), GOES_ON),
        Command::Sync(args) => block_on(sync::run(*args, *output), GOES_ON),
        Command::Check(args) => block_on(sync::check(*args, *output), ""),
        Command::Chunks(args) => chunks::run(&args, *output),
        Command::Call(args) => block_on(call::run(args, *output), ""),
        Command::Bench(args) => block_on(bench::run(*args, *output), ""),
        Command::Listen(args) => block_on_own(listen::run(args, *output)),
        Command::Connect(args) => block_on(connect::run(args, *output), ""),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tow", &mut script);
            output.raw(&script);
            Ok(())
        }
        Command::Man { command } => {
            output.raw(&manual(&command)?);
            Ok(())
        }
    }
}

/// The manual page of the program, or of the command with this name.
fn manual(names: &[String]) -> Result<Vec<u8>, Failure> {
    let mut command = Cli::command();
    command.build();
    for name in names {
        let found = command.find_subcommand(name).cloned();
        command = found.ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                format!("there is no command `{}`", names.join(" ")),
            )
            .hint("`tow help` lists them")
        })?;
    }
    // The page of `tow keys new` is called tow-keys-new, as those of other programs are.
    let title = command.get_bin_name().unwrap_or("tow").replace(' ', "-");
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .title(title)
        .render(&mut page)
        .map_err(failed)?;
    Ok(page)
}

/// Runs a command on a runtime of its own, in a task: a task wakes faster than the thread that
/// waits for it. An interrupt ends the command in order, with its temporary files gone.
/// `afterwards` is the advice for whoever interrupted it, if there is any.
fn block_on<F>(command: F, afterwards: &str) -> Result<(), Failure>
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
                Err(interrupted(afterwards))
            }
        }
    });
    // Threads that remove a temporary file get their time; those that wait for a terminal do not.
    runtime.shutdown_timeout(Duration::from_secs(2));
    result
}

/// How a command ends that was told to stop.
fn interrupted(afterwards: &str) -> Failure {
    Failure::new(Exit::Failed, format!("interrupted{afterwards}"))
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
