//! Large outputs and payloads.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use worknode_tests::wait::Deadline;
use worknode_tests::{Node, State};

use super::control::megabytes;
use super::{Bench, Taken};

/// 64 MiB, in bytes.
const SIZE: u64 = 64 << 20;

/// Patience with one block of a slow stream.
const PATIENCE: Duration = Duration::from_secs(120);

/// Results of a large output, finished and while it is being written.
pub(super) fn output(bench: &Bench<'_>) -> Result<Taken> {
    let node = bench.harness()?.start()?;
    let writer = format!("-c 'head -c {SIZE} /dev/zero'");
    let unit = node.submit_with("sh", &[("params", &writer)], b"")?;
    let start = Instant::now();
    read(&node, &unit)?;
    let live = rate(start.elapsed());
    let status = node.wait_ended(&unit)?;
    ensure!(status.state == State::Succeeded && status.stdout_size == SIZE, "{status}");
    let start = Instant::now();
    read(&node, &unit)?;
    Ok(vec![("stdout-live", live), ("stdout", rate(start.elapsed()))])
}

fn read(node: &Node, unit: &str) -> Result<()> {
    let mut session = node.open_results(unit, 0)?;
    session.set_patience(PATIENCE);
    let count = session.drain(|_| ())?;
    ensure!(count == SIZE, "{count} of {SIZE} bytes");
    Ok(())
}

/// A large payload through `cat`, until its end is known.
pub(super) fn input(bench: &Bench<'_>) -> Result<Taken> {
    let node = bench.harness()?.start()?;
    let payload = vec![b'x'; usize::try_from(SIZE)?];
    let mut asking = node.connect()?;
    let start = Instant::now();
    let unit = node.submit("cat", &payload)?;
    let deadline = Deadline::after(PATIENCE);
    loop {
        let answer = asking.ask(&format!("work status {unit}"))?;
        if answer.contains("\"Succeeded\"") {
            break;
        }
        ensure!(!answer.contains("\"Failed\""), "{answer}");
        deadline.left("the end of cat")?;
    }
    Ok(vec![("stdin", rate(start.elapsed()))])
}

/// Millions of bytes a second.
fn rate(time: Duration) -> f64 {
    megabytes(SIZE) / time.as_secs_f64()
}
