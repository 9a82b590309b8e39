//! Maintenance commands of worknode. `cargo xtask --help` lists them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command talks to its terminal")]

mod bench;
mod ci;
mod demo;
mod soak;

use std::process::ExitCode;

use clap::Parser;

/// Maintenance commands of worknode.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Measure speed and memory, beside the Go daemon named by RECEPTOR_BIN where that is set.
    Bench(bench::Options),
    /// Run the main job: a node, a pod, a payload through it.
    Demo(demo::Options),
    /// Run the tests of the whole workspace.
    Test {
        /// Passed on to `cargo test --workspace`.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Run pods under random faults for a while, and count what they did to them.
    Soak(soak::Options),
    /// Run the stages of continuous integration.
    Ci(ci::Options),
}

fn main() -> ExitCode {
    let outcome = match Command::parse() {
        Command::Bench(options) => bench::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Demo(options) => demo::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Test { arguments } => ci::test(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Soak(options) => soak::run(&options),
        Command::Ci(options) => ci::run(&options),
    };
    match outcome {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
