//! `ctl`: the command line client of worknode, and of anything else that speaks the control protocol.
//!
//! A command line goes through two forms: [`cli`] is what was typed, checked only for itself; [`job`] is what it means
//! once settings, environment and files have been looked at. [`commands`] carries a job out over a [`connect`]ion and
//! writes through [`output`]; [`mesh`] reads what a node knows of the others. Data goes to stdout, everything else to stderr; [`exit`] lists the ways to end.

mod cli;
mod commands;
mod connect;
mod environment;
mod exit;
mod failure;
mod job;
mod mesh;
mod output;
mod settings;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Cli;
use crate::environment::Environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Printer;

fn main() -> ExitCode {
    let environment = Environment::of_process();
    // Help, version and wrong usage end here: clap prints them and exits with 0 or 2.
    let cli = Cli::parse_from(cli::join_bool_values(std::env::args_os()));
    let mut printer = Printer::new(cli.output_options(), &environment);
    let exit = run(cli, &environment, &mut printer).unwrap_or_else(|failure| {
        if failure.is_closed_pipe() {
            return Exit::Done;
        }
        printer.failure(&failure);
        failure.exit()
    });
    exit.into()
}

fn run(cli: Cli, environment: &Environment, printer: &mut Printer) -> Result<Exit, Failure> {
    if let Some(text) = cli::generated(&cli.verb)? {
        printer.data(&text)?;
        return Ok(Exit::Done);
    }
    let job = job::Job::resolve(cli, environment, printer)?;
    commands::run(job, printer)
}
