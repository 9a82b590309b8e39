//! The benchmark: one table of figures, each taken by speaking the wire protocol to a daemon of its own.
//!
//! The work is cut into stages. A stage starts a fresh daemon, takes its figures and removes everything; the stages of the
//! programs alternate, so that a change in the machine's load meets both. A figure is the median of its runs.

mod control;
mod cpu;
mod crowd;
mod figure;
mod memory;
mod pods;
mod remote;
mod streams;
mod table;

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};
use worknode_tests::{Harness, Kind, Program};

use figure::{FIGURES, Figure};

/// What to measure, and how often.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Take only these figures (their short names stand in the table's first column).
    #[arg(long, value_name = "FIGURE")]
    only: Vec<String>,
    /// Take each figure this often; the median is shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Units of the burst, and of the node whose list, memory and restart are measured.
    #[arg(long, default_value_t = 383)]
    units: u32,
    /// Measure only this program.
    #[arg(long)]
    program: Option<Chosen>,
    /// Print one JSON object in place of the table.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Chosen {
    Worknoded,
    Receptor,
}

/// Measured values by figure and program.
type Values = BTreeMap<(&'static str, &'static str), Vec<f64>>;

/// What a stage has measured: names of figures and their values.
type Taken = Vec<(&'static str, f64)>;

/// A group of figures that are taken on one fresh daemon.
struct Stage {
    name: &'static str,
    take: fn(&Bench<'_>) -> Result<Taken>,
    /// Its CPU time is part of the whole run's: both programs do it.
    counts: bool,
}

const STAGES: [Stage; 12] = [
    Stage { name: "control", take: control::latencies, counts: true },
    Stage { name: "burst", take: control::burst, counts: true },
    Stage { name: "stdout", take: streams::output, counts: true },
    Stage { name: "stdin", take: streams::input, counts: true },
    Stage { name: "jobs", take: memory::running_jobs, counts: true },
    Stage { name: "remote-1", take: remote::one_hop, counts: false },
    Stage { name: "remote-3", take: remote::three_hops, counts: false },
    Stage { name: "remote-mixed", take: remote::mixed, counts: false },
    Stage { name: "podsim", take: pods::simulated, counts: false },
    Stage { name: "pods-50", take: crowd::fifty, counts: false },
    Stage { name: "pods-500", take: crowd::five_hundred, counts: false },
    Stage { name: "cluster", take: pods::real, counts: false },
];

/// What a stage is given.
struct Bench<'a> {
    program: &'a Program,
    options: &'a Options,
}

impl Bench<'_> {
    /// A daemon to be measured, with the work types that the stages use.
    fn harness(&self) -> Result<Harness> {
        let harness = Harness::of(self.program.clone())?;
        Ok(harness.command("cat", "cat").command_with_params("sh", "sh"))
    }
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> Result<()> {
    let figures = chosen_figures(options)?;
    let programs = chosen_programs(options)?;
    let mut values = Values::new();
    for run in 0..options.runs {
        eprintln!("run {} of {}", run + 1, options.runs);
        for program in alternating(&programs, run) {
            values.entry(("cpu", program.kind.name())).or_default().push(0.0);
        }
        for stage in STAGES.iter().filter(|stage| needed(stage, &figures)) {
            for program in alternating(&programs, run) {
                measure(stage, &Bench { program, options }, &mut values)?;
            }
        }
    }
    table::print(&figures, &programs, &values, options)
}

/// Takes the figures of one stage, and adds the CPU time of all that it started to the run's.
fn measure(stage: &Stage, bench: &Bench<'_>, values: &mut Values) -> Result<()> {
    let program = bench.program.kind.name();
    eprintln!("  {}: {program}", stage.name);
    // What the stage before left to be written would be paid for by this one.
    rustix::fs::sync();
    let (taken, cpu) = cpu::of_descendants(|| (stage.take)(bench))?;
    for (figure, value) in taken {
        values.entry((figure, program)).or_default().push(value);
    }
    if stage.counts
        && let Some(total) = values.get_mut(&("cpu", program)).and_then(|runs| runs.last_mut())
    {
        *total += cpu.as_secs_f64();
    }
    Ok(())
}

fn chosen_figures(options: &Options) -> Result<Vec<&'static Figure>> {
    for name in &options.only {
        let known = || FIGURES.iter().map(|figure| figure.name).collect::<Vec<_>>().join(", ");
        ensure!(FIGURES.iter().any(|figure| figure.name == name), "no figure {name:?}; there are {}", known());
    }
    let wanted = |figure: &&Figure| options.only.is_empty() || options.only.iter().any(|name| name == figure.name);
    Ok(FIGURES.iter().filter(wanted).collect())
}

/// The CPU figure is of the whole run: it needs every stage.
fn needed(stage: &Stage, figures: &[&Figure]) -> bool {
    figures.iter().any(|figure| figure.stage == stage.name || (figure.name == "cpu" && stage.counts))
}

fn chosen_programs(options: &Options) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    if !matches!(options.program, Some(Chosen::Worknoded))
        && let Some(receptor) = Program::receptor()
    {
        programs.push(receptor);
    }
    if !matches!(options.program, Some(Chosen::Receptor)) {
        programs.push(Program::worknoded_release()?);
    }
    if programs.is_empty() {
        bail!("RECEPTOR_BIN is not set: there is no Go daemon to measure");
    }
    if !programs.iter().any(|program| program.kind == Kind::Receptor) {
        eprintln!("RECEPTOR_BIN is not set: absolute figures only, without ratios");
    }
    Ok(programs)
}

/// The programs, in the other order every other run.
fn alternating(programs: &[Program], run: u32) -> Vec<&Program> {
    let mut order: Vec<&Program> = programs.iter().collect();
    if run % 2 == 1 {
        order.reverse();
    }
    order
}
