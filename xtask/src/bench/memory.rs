//! Memory that running jobs cost, beside the jobs themselves.

use anyhow::Result;
use worknode_tests::process::{self, Memory};
use worknode_tests::{Node, State};

use super::control::megabytes;
use super::{Bench, Taken};

/// Jobs that run at the same time.
const JOBS: u32 = 20;

/// What the daemon and the keepers of jobs use more than the daemon alone, per job.
pub(super) fn running_jobs(bench: &Bench<'_>) -> Result<Taken> {
    let node = bench.harness()?.start()?;
    let before = without_jobs(&node)?;
    for _ in 0..JOBS {
        let unit = node.submit_with("sh", &[("params", "-c 'exec sleep 600'")], b"")?;
        node.wait_status(&unit, |status| status.state == State::Running)?;
    }
    let after = without_jobs(&node)?;
    let per_job = |before: u64, after: u64| megabytes(after.saturating_sub(before)) / f64::from(JOBS);
    Ok(vec![
        ("job-pss", per_job(before.proportional, after.proportional)),
        ("job-rss", per_job(before.resident, after.resident)),
    ])
}

/// Memory of the node's processes, the jobs left out.
fn without_jobs(node: &Node) -> Result<Memory> {
    let mut sum = Memory::default();
    for pid in node.processes()? {
        if process::command_line(pid)?.first().is_some_and(|program| program == "sleep" || program == "sh") {
            continue;
        }
        let memory = process::memory(pid)?;
        sum.resident += memory.resident;
        sum.proportional += memory.proportional;
    }
    Ok(sum)
}
