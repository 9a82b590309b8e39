//! What must hold after the crash.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use worknode_tests::wait::{Deadline, PATIENCE, Watch};
use worknode_tests::{Node, State, UnitStatus};

use crate::plan::Plan;
use crate::point::{Told, Work, output};

/// A pod reads its payload from one stream: a daemon that was killed before it knew that all had arrived cannot begin again,
/// and must say so (work-types 6).
const CUT: &str = "stdin was cut at byte ";

/// Checks the unit, releases it, and checks that nothing is left.
pub(crate) fn all(node: &Node, work: Work, plan: &Plan, told: &Told, starts: &Path) -> Result<()> {
    let listed: Vec<String> = node.list()?.keys().cloned().collect();
    if let Some(unit) = &told.created
        && told.released.is_none()
    {
        ensure!(listed.contains(unit), "unit {unit} is lost; there are {listed:?}");
    }
    ensure!(told.released != Some(true) || listed.is_empty(), "a released unit came back: {listed:?}");
    ensure!(listed.len() <= 1, "one unit was made, there are {listed:?}");
    for unit in &listed {
        one(node, work, plan, told, starts, unit).with_context(|| format!("unit {unit}"))?;
        node.release(unit)?;
    }
    let starts = std::fs::read_to_string(starts).unwrap_or_default().lines().count();
    ensure!(starts <= 1, "the job was started {starts} times");
    nothing_left(node)
}

fn one(node: &Node, work: Work, plan: &Plan, told: &Told, starts: &Path, unit: &str) -> Result<()> {
    if plan.endless() && told.canceled != Some(true) {
        // The order may have been lost with the daemon, and then the job goes on.
        node.cancel(unit)?;
    }
    let status = node.wait_ended(unit)?;
    ensure!(status.work_type == work.worktype(), "{status}");
    let results = node.results(unit)?;
    let whole = output(plan);
    ensure!(whole.starts_with(&results), "the output is not the job's: {:?}", String::from_utf8_lossy(&results));
    let counted = u64::try_from(results.len())?;
    ensure!(status.stdout_size == counted || status.state == State::Canceled, "{status}, but {counted} bytes came");
    if let Some(seen) = &told.ended {
        ensure!(*seen == whole, "the results had ended early");
    }
    if work.is_pod() && plan.payload > 0 && told.ended.is_none() && status.detail.starts_with(CUT) {
        ensure!(status.state == State::Failed, "{status}");
        return Ok(());
    }
    let complete = results == whole;
    let ran = if work == Work::RealPod { !results.is_empty() } else { starts.exists() };
    match status.state {
        State::Succeeded | State::Failed if ran => ended_by_itself(&status, work, plan, complete),
        State::Failed => {
            ensure!(!told.started, "the job had been started, but is {status}");
            ensure!(results.is_empty(), "{status}, with output");
            Ok(())
        }
        State::Canceled => {
            ensure!(plan.endless(), "nobody asked for {status}");
            Ok(())
        }
        _ => bail!("{status}, and the job was never started"),
    }
}

fn ended_by_itself(status: &UnitStatus, work: Work, plan: &Plan, complete: bool) -> Result<()> {
    ensure!(!plan.endless(), "canceled, but {status}");
    ensure!(complete, "the output is not complete: {status}");
    let state = if plan.exit == 0 { State::Succeeded } else { State::Failed };
    let detail = work.detail(plan.exit);
    ensure!(status.state == state && status.detail == detail, "expected {detail}, the unit is {status}");
    Ok(())
}

/// No unit, no directory, no process but the daemon. A release that was cut short is finished in the background.
fn nothing_left(node: &Node) -> Result<()> {
    ensure!(node.list()?.is_empty(), "units are left in the list");
    let directory = node.unit_directory("");
    let left = || -> Result<Vec<_>> {
        Ok(std::fs::read_dir(&directory)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<Result<_, _>>()?)
    };
    let gone = Watch::new(&directory)?
        .until(Deadline::default(), "the directories to go", || Ok(left()?.is_empty().then_some(())));
    gone.with_context(|| format!("left in the data directory: {:?}", left().unwrap_or_default()))?;
    node.wait_alone(PATIENCE)
}
