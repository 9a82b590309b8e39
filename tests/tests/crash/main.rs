//! The daemon is killed (`kill -9`) at random moments of running units and started again: no unit may be lost, none may
//! have a wrong state, every output must be complete, and nothing may be left after the release.
//!
//! `WORKNODE_CRASH_POINTS` is the number of moments (few by default), `WORKNODE_CRASH_SEED` the first seed; a failure names
//! the seed that repeats it.
#![allow(clippy::indexing_slicing, reason = "an index out of range fails the test, as it should")]

mod check;
mod plan;
mod point;

use anyhow::{Context, Result};
use serde_json::json;
use worknode_tests::cluster::Cluster;
use worknode_tests::{Harness, Node, Program};

use plan::Plan;

/// Moments in an ordinary test run, and where each takes seconds.
const FEW: u64 = 24;
const VERY_FEW: u64 = 6;

fn number(variable: &str, default: u64) -> Result<u64> {
    match std::env::var(variable) {
        Ok(text) => text.parse().with_context(|| format!("{variable}={text}")),
        Err(_) => Ok(default),
    }
}

/// Crashes one node again and again.
fn crash(node: &mut Node, work: point::Work, points: u64) -> Result<()> {
    let first = number("WORKNODE_CRASH_SEED", 1)?;
    for seed in first..first + number("WORKNODE_CRASH_POINTS", points)? {
        let plan = Plan::of(seed);
        point::run(node, work, &plan).with_context(|| format!("{plan:?}\n{}", node.log_tail()))?;
    }
    Ok(())
}

#[test]
fn command_units_survive() -> Result<()> {
    let program = match Program::receptor() {
        Some(receptor) if std::env::var_os("WORKNODE_CRASH_RECEPTOR").is_some() => receptor,
        _ => Program::worknoded()?,
    };
    let mut node = Harness::of(program)?.command_with_params("sh", "sh").start()?;
    crash(&mut node, point::Work::Command, FEW)
}

#[test]
fn pods_survive() -> Result<()> {
    let cluster = Cluster::podsim()?;
    let mut node = Harness::new()?.id("crashed").kubernetes("kubeit", &cluster, &json!({})).start()?;
    crash(&mut node, point::Work::Pod, FEW)?;
    cluster.wait_without_pods_of("crashed")
}

#[test]
fn pods_of_a_real_cluster_survive() -> Result<()> {
    let Some(cluster) = Cluster::real()? else { return Ok(()) };
    // What ignores its end, as a container's first process does, is not waited for.
    let settings = json!({"graceperiod": "1s"});
    let mut node = Harness::new()?.id("crashed-for-real").kubernetes("kubeit", &cluster, &settings).start()?;
    crash(&mut node, point::Work::RealPod, VERY_FEW)?;
    cluster.wait_without_pods_of("crashed-for-real")
}
