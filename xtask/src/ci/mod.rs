//! What has to hold before a change is taken: the stages that `.ci/run` goes through, each of which can be run alone.

mod cluster;
mod stage;

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use worknode_tests::binaries::workspace;

use stage::{Ended, STAGES, Stage};

/// Which stages to run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Run only these stages.
    stages: Vec<String>,
    /// List the stages.
    #[arg(long)]
    list: bool,
}

/// What became of a stage.
struct Line {
    stage: &'static Stage,
    time: Duration,
    outcome: Result<Ended>,
}

/// Runs the stages in order until one fails, and prints what each took, what was skipped and why.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let stages = chosen(&options.stages)?;
    if options.list {
        for stage in stages {
            println!("{:12} {}", stage.name, stage.what);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut context = stage::Context::new();
    if stages.iter().any(|stage| stage.name == cluster::NAME) {
        context.cluster = Some(cluster::Preparation::begin()?);
    }
    let mut lines = Vec::new();
    for stage in stages {
        eprintln!("\n== {}: {}", stage.name, stage.what);
        let start = Instant::now();
        let outcome = (stage.run)(&mut context);
        let failed = outcome.is_err();
        lines.push(Line { stage, time: start.elapsed(), outcome });
        if failed {
            break;
        }
    }
    Ok(report(&lines))
}

fn chosen(names: &[String]) -> Result<Vec<&'static Stage>> {
    for name in names {
        ensure!(STAGES.iter().any(|stage| stage.name == name), "no stage {name:?}; see --list");
    }
    Ok(STAGES.iter().filter(|stage| names.is_empty() || names.iter().any(|name| name == stage.name)).collect())
}

fn report(lines: &[Line]) -> ExitCode {
    println!();
    let mut exit = ExitCode::SUCCESS;
    for Line { stage, time, outcome } in lines {
        let words = match outcome {
            Ok(Ended::Passed) => "passed".to_owned(),
            Ok(Ended::Skipped(reason)) => format!("SKIPPED: {reason}"),
            Err(error) => {
                exit = ExitCode::FAILURE;
                format!("FAILED: {error:#}")
            }
        };
        println!("{:12} {:7.1} s  {words}", stage.name, time.as_secs_f64());
    }
    let total: Duration = lines.iter().map(|line| line.time).sum();
    println!("{:12} {:7.1} s", "in all", total.as_secs_f64());
    exit
}

/// Runs the tests as the README says: the programs are built once, in the same build as the tests.
pub(crate) fn test(arguments: &[String]) -> Result<()> {
    let binaries = test_binaries()?;
    let mut cargo = cargo(&["test", "--workspace"]);
    cargo.args(arguments);
    for (variable, path) in &binaries {
        cargo.env(variable, path);
    }
    succeed(&mut cargo)
}

/// `worknoded` and `ctl` as the build of the tests makes them.
fn test_binaries() -> Result<Vec<(&'static str, std::path::PathBuf)>> {
    // Building them apart from the tests would compile half of the dependencies twice: with and without the features that
    // only tests switch on.
    let mut build = cargo(&["test", "--workspace", "--no-run", "--quiet", "--message-format=json-render-diagnostics"]);
    let output = build.stderr(std::process::Stdio::inherit()).output().context("cargo test --no-run")?;
    ensure!(output.status.success(), "the build of the tests: {}", output.status);
    let built = worknode_tests::binaries::executables(&output.stdout);
    let found = |variable, name: &str| {
        let path = built.iter().find(|path| path.file_name().is_some_and(|file| file == name))?;
        Some((variable, path.clone()))
    };
    // What such a build does not make, the tests build for themselves.
    Ok([found("WORKNODED_BIN", "worknoded"), found("CTL_BIN", "ctl")].into_iter().flatten().collect())
}

/// A cargo command in the workspace.
fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace()).args(arguments);
    // Set by the cargo that runs this very program, and wrong for the other one.
    for variable in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
        cargo.env_remove(variable);
    }
    cargo
}

/// Runs a command with the terminal's streams.
fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{}: {status}", command.get_program().to_string_lossy());
    Ok(())
}
