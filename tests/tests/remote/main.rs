//! Work on other nodes (control-protocol 4.6), through nodes that are processes. With `RECEPTOR_BIN` naming a Go daemon, with
//! nodes of both kinds between each other.

#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "figures for who asks for them with --nocapture")]

mod faults;
mod pods;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use worknode_tests::{
    Harness, Node, State,
    mesh::{
        Kind::{self, Go, Ours},
        SETTLED, knows, linked_with,
    },
    work::{answer, created, submit_line},
};

/// A unit ends that does nothing for long.
const SOON: Duration = Duration::from_secs(30);

fn furnished(_: usize, harness: Harness) -> Harness {
    harness.command("cat", "cat").command_with_params("sh", "sh")
}

fn chain(kinds: &[Kind]) -> Result<Option<Vec<Node>>> {
    linked_with(kinds, false, furnished)
}

fn of_ours(count: usize) -> Result<Vec<Node>> {
    chain(&vec![Ours; count])?.context("ours can always be had")
}

/// Submits work for another node; the answer and the unit here.
fn submit(from: &Node, to: &str, worktype: &str, params: &str, payload: &[u8]) -> Result<(String, String)> {
    let mut session = from.connect()?;
    let id = created(&session.ask(&submit_line(worktype, &[("node", to), ("params", params)]))?)?;
    session.set_patience(SOON);
    session.send(payload)?;
    session.half_close()?;
    Ok((id, session.line()?))
}

fn started(from: &Node, to: &str, worktype: &str, params: &str, payload: &[u8]) -> Result<String> {
    let (id, reply) = submit(from, to, worktype, params, payload)?;
    ensure!(answer(&reply)? == json!({"result": "Job Started", "unitid": id}), "{reply}");
    Ok(id)
}

fn payload(bytes: usize) -> Vec<u8> {
    // Not the same twice in any block.
    (0_u64..).flat_map(|word| word.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes()).take(bytes).collect()
}

fn ends_well(from: &Node, id: &str, expected: &[u8]) -> Result<()> {
    let output = from.open_results(id, 0)?.rest()?;
    ensure!(output == expected, "{} bytes of {}: {}", output.len(), expected.len(), from.status(id)?);
    let status = from.wait_status_within(id, SOON, |status| status.state.ended())?;
    ensure!(status.state == State::Succeeded, "{status}");
    ensure!(status.detail == "exit status 0" && status.stdout_size == expected.len() as u64, "{status}");
    Ok(())
}

fn there_and_back(kinds: &[Kind]) -> Result<()> {
    let Some(nodes) = chain(kinds)? else { return Ok(()) };
    let (first, last) = (&nodes[0], nodes.last().context("no node")?);
    let sent = payload(3_000_000);
    for (from, to) in [(first, last), (last, first)] {
        let id = started(from, to.id(), "cat", "", &sent)?;
        ends_well(from, &id, &sent)?;
        let extra = from.status(&id)?.extra;
        let there = extra["RemoteUnitID"].as_str().context("no remote unit")?.to_owned();
        ensure!(extra["RemoteNode"] == to.id() && extra["RemoteStarted"] == true, "{extra}");
        ensure!(to.list()?.contains_key(&there), "{there}");
        ensure!(from.connect()?.ask(&format!("work release {id}"))? == json!({"released": id}).to_string());
        let gone = |node: &Node, unit: &str| node.list().is_ok_and(|units| !units.contains_key(unit));
        let start = Instant::now();
        while !(gone(from, &id) && gone(to, &there)) {
            ensure!(start.elapsed() < SOON, "not released");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
    Ok(())
}

#[test]
fn work_goes_to_a_neighbour_and_back() -> Result<()> {
    there_and_back(&[Ours, Ours])
}

#[test]
fn work_goes_over_three_hops() -> Result<()> {
    there_and_back(&[Ours, Ours, Ours, Ours])
}

#[test]
fn work_goes_between_ours_and_receptors() -> Result<()> {
    there_and_back(&[Ours, Go])?;
    there_and_back(&[Ours, Go, Ours])?;
    there_and_back(&[Go, Ours, Go])
}

/// Submit to finished known, of an empty `cat` over one hop: receptor takes 2.5 s.
#[test]
fn an_empty_job_is_over_in_no_time() -> Result<()> {
    let nodes = of_ours(2)?;
    let mut times = Vec::new();
    for _ in 0..10 {
        let start = Instant::now();
        let id = started(&nodes[0], "n2", "cat", "", b"")?;
        ends_well(&nodes[0], &id, b"")?;
        times.push(start.elapsed());
    }
    times.sort();
    println!("empty cat over one hop: {:?}", times);
    ensure!(times[5] < Duration::from_secs(1), "{times:?}");
    Ok(())
}

#[test]
fn output_comes_while_it_is_written_and_ends_are_true() -> Result<()> {
    let nodes = of_ours(2)?;
    let gate = nodes[1].root().join("gate");
    let script = format!("-c \"echo one; while [ ! -e {} ]; do sleep 0.05; done; echo two; exit 3\"", gate.display());
    let id = started(&nodes[0], "n2", "sh", &script, b"")?;
    let mut results = nodes[0].open_results(&id, 0)?;
    ensure!(results.line()? == "one");
    nodes[0].wait_status(&id, |status| status.state == State::Running)?;
    std::fs::write(gate, "")?;
    ensure!(results.rest()? == b"two\n");
    let status = nodes[0].wait_ended(&id)?;
    ensure!(status.state == State::Failed && status.detail == "exit status 3" && status.stdout_size == 8, "{status}");
    Ok(())
}

#[test]
fn a_running_unit_is_cancelled() -> Result<()> {
    let nodes = of_ours(2)?;
    let id = started(&nodes[0], "n2", "sh", "-c \"exec sleep 1000\"", b"")?;
    nodes[0].wait_status(&id, |status| status.state == State::Running)?;
    ensure!(nodes[0].connect()?.ask(&format!("work cancel {id}"))? == json!({"cancelled": id}).to_string());
    let status = nodes[0].wait_ended(&id)?;
    ensure!(status.state == State::Canceled && status.detail == "Canceled", "{status}");
    ensure!(status.extra["LocalCancelled"] == true, "{}", status.extra);
    nodes[1].wait_alone(SOON)
}

#[test]
fn what_the_other_node_refuses_is_answered() -> Result<()> {
    let nodes = of_ours(2)?;
    let (id, reply) = submit(&nodes[0], "n2", "zzz", "", b"some")?;
    ensure!(reply == "ERROR: could not parse response: ERROR: unknown work type zzz", "{reply}");
    let status = nodes[0].wait_ended(&id)?;
    ensure!(status.state == State::Failed, "{status}");
    ensure!(
        status.detail == "Error starting worker: could not parse response: ERROR: unknown work type zzz",
        "{status}"
    );
    Ok(())
}

#[test]
fn work_waits_for_a_node_that_is_not_there() -> Result<()> {
    let mut nodes = of_ours(2)?;
    nodes[1].stop()?;
    let (id, reply) = submit(&nodes[0], "n2", "cat", "", b"patience")?;
    ensure!(answer(&reply)? == json!({"result": "Job Submitted", "unitid": id}), "{reply}");
    let (cancelled, _) = submit(&nodes[0], "n2", "cat", "", b"never")?;
    ensure!(
        nodes[0].connect()?.ask(&format!("work cancel {cancelled}"))? == json!({"cancelled": cancelled}).to_string()
    );
    ensure!(nodes[0].status(&cancelled)?.detail == "Locally Cancelled");
    // It is still to be done after a crash here.
    nodes[0].crash_and_restart()?;
    nodes[1].start()?;
    knows(&nodes[0], &nodes)?;
    ends_well(&nodes[0], &id, b"patience")?;
    ensure!(nodes[1].list()?.len() == 1, "{:?}", nodes[1].list()?);
    Ok(())
}

#[test]
fn a_unit_expires_if_its_node_does_not_come() -> Result<()> {
    let node = Harness::new()?.start()?;
    let mut session = node.connect()?;
    let id = created(&session.ask(&submit_line("cat", &[("node", "nowhere"), ("ttl", "500ms")]))?)?;
    session.half_close()?;
    ensure!(answer(&session.line()?)?["result"] == "Job Submitted");
    let status = node.wait_ended(&id)?;
    ensure!(status.state == State::Failed && status.detail.starts_with("Work unit expired on "), "{status}");
    Ok(())
}

#[test]
fn orders_are_kept_for_a_node_that_is_away() -> Result<()> {
    let mut nodes = of_ours(2)?;
    let unit = || started(&nodes[0], "n2", "sh", "-c \"exec sleep 1000\"", b"");
    let (cancelled, released) = (unit()?, unit()?);
    for id in [&cancelled, &released] {
        nodes[0].wait_status(id, |status| status.state == State::Running)?;
    }
    nodes[1].kill9()?;
    knows_not(&nodes[0], "n2")?;
    let order = |node: &Node, order: &str, id: &str| node.connect()?.ask(&format!("work {order} {id}"));
    ensure!(order(&nodes[0], "cancel", &cancelled)? == json!({"cancel pending": cancelled}).to_string());
    ensure!(order(&nodes[0], "release", &released)? == json!({"release pending": released}).to_string());
    ensure!(nodes[0].status(&released)?.extra["LocalReleased"] == true);
    nodes[0].crash_and_restart()?;
    ensure!(nodes[0].list()?.contains_key(&released));
    nodes[1].start()?;
    knows(&nodes[0], &nodes)?;
    let status = nodes[0].wait_ended_within(&cancelled, SETTLED)?;
    ensure!(status.state == State::Canceled, "{status}");
    let start = Instant::now();
    while nodes[0].list()?.contains_key(&released) || nodes[1].list()?.len() > 1 {
        ensure!(start.elapsed() < SETTLED, "{:?}", nodes[0].list()?);
        std::thread::park_timeout(Duration::from_millis(50));
    }
    nodes[1].wait_alone(SOON)
}

fn knows_not(node: &Node, other: &str) -> Result<()> {
    let unknown = |status: &Value| status["RoutingTable"].get(other).is_none();
    worknode_tests::mesh::until(node, SETTLED, "the loss of a node", unknown).map(drop)
}

#[test]
fn a_payload_that_breaks_off_starts_nothing() -> Result<()> {
    let nodes = of_ours(2)?;
    let mut session = nodes[0].connect()?;
    let id = created(&session.ask(&submit_line("cat", &[("node", "n2")]))?)?;
    session.send(b"half of it")?;
    // It is on its way already.
    let start = Instant::now();
    while nodes[1].list()?.is_empty() {
        ensure!(start.elapsed() < SOON, "the unit was not made early");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    drop(session);
    let status = nodes[0].wait_ended(&id)?;
    ensure!(status.state == State::Failed && status.detail.starts_with("Error reading input data: "), "{status}");
    let start = Instant::now();
    while nodes[1].list()?.values().any(|unit| unit["State"] == 2 || unit["State"] == 1) || !nodes[1].list()?.is_empty()
    {
        ensure!(start.elapsed() < SOON, "{:?}", nodes[1].list()?);
        std::thread::park_timeout(Duration::from_millis(10));
    }
    Ok(())
}
