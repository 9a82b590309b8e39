//! Work on other nodes: one hop and three, of one kind and mixed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use worknode_tests::mesh::linked_programs;
use worknode_tests::wait::Deadline;
use worknode_tests::work::{answer, created, submit_line};
use worknode_tests::{Kind, Node, Program, State, process};

use super::control::megabytes;
use super::{Bench, Taken};

/// 256 MiB, in bytes.
const SIZE: u64 = 256 << 20;
/// Patience with what is slow.
const PATIENCE: Duration = Duration::from_secs(300);
/// Jobs that do nothing, one after the other.
const EMPTY: usize = 20;
/// Jobs at once.
const MANY: usize = 200;

fn chain(programs: &[Program]) -> Result<Vec<Node>> {
    linked_programs(programs, false, |_, harness| harness.command("cat", "cat").command_with_params("sh", "sh"))
}

pub(super) fn one_hop(bench: &Bench<'_>) -> Result<Taken> {
    let nodes = chain(&[bench.program.clone(), bench.program.clone()])?;
    let (near, far) = ends(&nodes)?;
    let mut taken = vec![("remote-empty", empty(near, far)?)];
    if bench.program.kind == Kind::Worknoded {
        taken.extend(many(near, far)?);
    }
    taken.extend([("remote-stdout", output(near, far)?), ("remote-stdin", input(near, far)?)]);
    Ok(taken)
}

pub(super) fn three_hops(bench: &Bench<'_>) -> Result<Taken> {
    let nodes = chain(&vec![bench.program.clone(); 4])?;
    let (near, far) = ends(&nodes)?;
    Ok(vec![("remote-3-stdout", output(near, far)?), ("remote-3-stdin", input(near, far)?)])
}

/// One node of each kind, in both directions; taken once, with worknode's figures.
pub(super) fn mixed(bench: &Bench<'_>) -> Result<Taken> {
    let Some(receptor) = Program::receptor().filter(|_| bench.program.kind == Kind::Worknoded) else {
        return Ok(Taken::new());
    };
    let nodes = chain(&[bench.program.clone(), receptor])?;
    let (ours, theirs) = ends(&nodes)?;
    Ok(vec![
        ("remote-to-stdout", output(ours, theirs)?),
        ("remote-to-stdin", input(ours, theirs)?),
        ("remote-from-stdout", output(theirs, ours)?),
        ("remote-from-stdin", input(theirs, ours)?),
    ])
}

fn ends(nodes: &[Node]) -> Result<(&Node, &Node)> {
    Ok((nodes.first().context("no node")?, nodes.last().context("no node")?))
}

/// Submits work for the far node.
fn submit(near: &Node, far: &Node, worktype: &str, params: &str, payload: &[u8]) -> Result<String> {
    let mut session = near.connect()?;
    session.set_patience(PATIENCE);
    let unit = created(&session.ask(&submit_line(worktype, &[("node", far.id()), ("params", params)]))?)?;
    session.send(payload)?;
    session.half_close()?;
    let reply = answer(&session.line()?)?;
    ensure!(reply.get("unitid").is_some_and(|id| id == unit.as_str()), "{reply}");
    Ok(unit)
}

/// Asks until a unit has ended well.
fn wait(near: &Node, unit: &str) -> Result<()> {
    let mut asking = near.connect()?;
    let deadline = Deadline::after(PATIENCE);
    loop {
        let answer = asking.ask(&format!("work status {unit}"))?;
        if answer.contains("\"Succeeded\"") {
            return Ok(());
        }
        ensure!(!answer.contains("\"Failed\""), "{answer}");
        deadline.left("the end of a job")?;
    }
}

/// The median time, in milliseconds.
fn empty(near: &Node, far: &Node) -> Result<f64> {
    let count = if near.kind() == Kind::Worknoded { EMPTY } else { 3 };
    let mut times = Vec::new();
    for _ in 0..count {
        let start = Instant::now();
        let unit = submit(near, far, "cat", "", b"")?;
        wait(near, &unit)?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().context("no times")
}

fn output(near: &Node, far: &Node) -> Result<f64> {
    let start = Instant::now();
    let unit = submit(near, far, "sh", &format!("-c 'head -c {SIZE} /dev/zero'"), b"")?;
    let mut results = near.open_results(&unit, 0)?;
    results.set_patience(PATIENCE);
    let count = results.drain(|_| ())?;
    ensure!(count == SIZE, "{count} of {SIZE} bytes");
    Ok(megabytes(SIZE) / start.elapsed().as_secs_f64())
}

fn input(near: &Node, far: &Node) -> Result<f64> {
    let payload = vec![b'x'; usize::try_from(SIZE)?];
    let start = Instant::now();
    let unit = submit(near, far, "sh", "-c 'cat > /dev/null'", &payload)?;
    wait(near, &unit)?;
    Ok(megabytes(SIZE) / start.elapsed().as_secs_f64())
}

/// Many that run at the same time.
fn many(near: &Node, far: &Node) -> Result<Taken> {
    let gate = far.root().join("gate");
    let script = format!("-c 'while [ ! -e {} ]; do sleep 0.2; done'", gate.display());
    let start = Instant::now();
    let units = (0..MANY).map(|_| submit(near, far, "sh", &script, b"")).collect::<Result<Vec<_>>>()?;
    for unit in &units {
        near.wait_status_within(unit, PATIENCE, |status| status.state == State::Running)?;
    }
    let memory = process::memory(near.pid()?)?.resident;
    std::fs::write(gate, "")?;
    for unit in &units {
        wait(near, unit)?;
    }
    Ok(vec![("remote-200-rss", megabytes(memory)), ("remote-200", start.elapsed().as_secs_f64())])
}
