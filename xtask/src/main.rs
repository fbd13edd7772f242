//! towline's development tasks: `cargo xtask TASK`.

#![expect(
    clippy::print_stdout,
    reason = "a task's result is what it prints for the person who ran it"
)]

mod fuzz;
mod interop;
mod nightly;
mod process;
mod pure_core;
mod sim;
mod soak;
mod test;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "towline's development tasks")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run every test: unit, property, vectors, simulations, doctests.
    Test,
    /// Run towline against Go programs, the originals and our own, in both roles.
    Interop(interop::Options),
    /// Run the simulations in release mode, over many seeds or one.
    Sim(sim::Options),
    /// Run a server under load, with hostile clients among the others.
    Soak(soak::Options),
    /// Fuzz one target for a number of seconds.
    Fuzz(fuzz::Options),
    /// Check that the protocol cores build without a runtime and name none.
    PureCore,
    /// Run the checks that are too slow for every change.
    Nightly(nightly::Options),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Test => test::run(),
        Task::Interop(options) => interop::run(&options),
        Task::Sim(options) => sim::run(&options),
        Task::Soak(options) => soak::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::PureCore => pure_core::run(),
        Task::Nightly(options) => nightly::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
