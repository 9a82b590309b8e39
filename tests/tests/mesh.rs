//! Nodes as processes in one mesh: chains, rings, restarts, reloads. With `RECEPTOR_BIN` naming a Go daemon, the same with
//! nodes of both kinds between each other.

#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "figures for who asks for them with --nocapture")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use worknode_tests::mesh::{
    Kind::{self, Go, Ours},
    SETTLED, free_port, knows, linked, status, until,
};
use worknode_tests::wait::Deadline;
use worknode_tests::work::{answer, created, submit_line};
use worknode_tests::{Harness, Node, Session};

/// Receptor tells of a service once a minute (mesh-protocol 5).
const TOLD: Duration = Duration::from_secs(120);
/// Limits of the issue: a way is found around a dead node.
const AROUND_A_RECEPTOR: Duration = Duration::from_secs(30);
const AROUND_OURS: Duration = Duration::from_secs(3);

/// Pings until an answer comes; the time it took.
fn reaches(node: &Node, target: &str, limit: Duration) -> Result<Duration> {
    let (start, deadline) = (Instant::now(), Deadline::after(limit));
    let mut session = node.connect()?;
    session.set_patience(limit.max(Duration::from_secs(15)));
    loop {
        let pong = answer(&session.ask(&format!("ping {target}"))?)?;
        if pong["Success"] == true {
            ensure!(pong["From"] == target, "{pong}");
            return Ok(start.elapsed());
        }
        deadline.left("an answer to a ping").with_context(|| format!("{}: {pong}\n{}", node.id(), node.log_tail()))?;
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A session with the control service of another node.
fn across(node: &Node, target: &str) -> Result<Session> {
    let mut session = node.connect()?;
    let connecting = session.ask(&format!("connect {target} control"))?;
    ensure!(connecting == "Connecting", "{connecting}");
    let banner = session.line()?;
    ensure!(banner == format!("Receptor Control, node {target}"), "{banner}");
    Ok(session)
}

/// The hops that a traceroute tells.
fn hops(node: &Node, target: &str) -> Result<Vec<String>> {
    let trace = answer(&node.connect()?.ask(&format!("traceroute {target}"))?)?;
    let hops = trace.as_object().context("no map")?.values();
    Ok(hops.map(|hop| hop["From"].as_str().unwrap_or_default().to_owned()).collect())
}

fn a_chain(kinds: &[Kind]) -> Result<()> {
    let Some(nodes) = linked(kinds, false)? else { return Ok(()) };
    let (first, last) = (&nodes[0], nodes.last().context("no node")?);
    for (from, to) in [(first, last), (last, first)] {
        reaches(from, to.id(), SETTLED)?;
        let way = hops(from, to.id())?;
        ensure!(way.len() == nodes.len() && way.last().map(String::as_str) == Some(to.id()), "{way:?}");
        // Work on the far node, by its own control service.
        let mut session = across(from, to.id())?;
        let unit = created(&session.ask(&submit_line("cat", &[]))?)?;
        session.send(b"over the hills")?;
        session.half_close()?;
        ensure!(session.line()?.contains("Job Started"));
        to.wait_ended(&unit)?;
        let mut session = across(from, to.id())?;
        session.ask(&format!("work results {unit}"))?;
        ensure!(session.rest()? == b"over the hills");
        // What is not there is told at once.
        let mut session = from.connect()?;
        let start = Instant::now();
        let refused = session.ask(&format!("connect {} nosuch", to.id()))?;
        ensure!(refused == "ERROR: context canceled", "{refused}");
        ensure!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
    Ok(())
}

#[test]
fn a_chain_of_ours() -> Result<()> {
    a_chain(&[Ours, Ours, Ours, Ours])
}

/// Who asks for TLS gets it, or an error: the built-in kind, which trusts everybody, does not take its place.
#[test]
fn the_default_tls_is_not_the_built_in_one() -> Result<()> {
    let nodes = linked(&[Ours, Ours], false)?.context("ours can always be had")?;
    reaches(&nodes[0], "n2", SETTLED)?;
    let refused = nodes[0].connect()?.ask("connect n2 control default")?;
    ensure!(refused.starts_with("ERROR: ") && refused.contains("certificate"), "{refused}");
    Ok(())
}

#[test]
fn a_receptor_between_ours() -> Result<()> {
    a_chain(&[Ours, Go, Ours])
}

#[test]
fn ours_between_receptors() -> Result<()> {
    a_chain(&[Go, Ours, Go])
}

#[test]
fn both_kinds_in_turn() -> Result<()> {
    a_chain(&[Go, Ours, Ours, Go, Ours])
}

/// Kills the third of five nodes in a ring. The second had its way to the fourth over it; now that leads around.
fn a_ring_heals(kinds: &[Kind; 5], limit: Duration) -> Result<()> {
    let Some(mut nodes) = linked(kinds, true)? else { return Ok(()) };
    reaches(&nodes[1], "n4", SETTLED)?;
    ensure!(hops(&nodes[1], "n4")?.contains(&"n3".to_owned()));
    nodes[2].kill9()?;
    let start = Instant::now();
    until(&nodes[1], limit, "the way around", |status| status["RoutingTable"]["n4"] == "n1")?;
    let known = start.elapsed();
    let time = reaches(&nodes[1], "n4", limit)?;
    println!("{kinds:?}: the way around was known after {known:?}, an answer came {time:?} later");
    ensure!(hops(&nodes[1], "n4")? == ["n2", "n1", "n5", "n4"]);
    // The dead node comes back, under its old name, and is taken for what it is.
    nodes[2].start()?;
    reaches(&nodes[1], "n3", SETTLED)?;
    knows(&nodes[2], &nodes)
}

#[test]
fn a_ring_of_ours_heals() -> Result<()> {
    a_ring_heals(&[Ours; 5], AROUND_OURS)
}

#[test]
fn a_mixed_ring_heals() -> Result<()> {
    a_ring_heals(&[Ours, Ours, Go, Ours, Go], AROUND_A_RECEPTOR)?;
    a_ring_heals(&[Go, Ours, Ours, Ours, Go], AROUND_A_RECEPTOR)
}

#[test]
fn a_ring_of_two_kinds_heals_fast_where_both_neighbours_are_ours() -> Result<()> {
    a_ring_heals(&[Ours, Ours, Go, Ours, Ours], AROUND_OURS)
}

/// What all nodes must agree on: the costs of all links, and the services without the times at which they were told.
fn agreed(status: &Value) -> (Value, BTreeSet<String>) {
    let told = status["Advertisements"].as_array().into_iter().flatten().map(|told| {
        let mut told = told.clone();
        told["Time"] = Value::Null;
        told.to_string()
    });
    (status["KnownConnectionCosts"].clone(), told.collect())
}

fn statuses_agree(kinds: &[Kind]) -> Result<()> {
    let Some(nodes) = linked(kinds, false)? else { return Ok(()) };
    let complete = |status: &Value| status["Advertisements"].as_array().map(Vec::len) == Some(kinds.len());
    let mut seen = BTreeMap::new();
    for node in &nodes {
        until(node, TOLD, "the services of all nodes", complete)?;
    }
    for node in &nodes {
        let status = status(node)?;
        let keys: Vec<_> = status.as_object().context("no map")?.keys().cloned().collect();
        assert_eq!(
            keys,
            [
                "Advertisements",
                "Connections",
                "KnownConnectionCosts",
                "NodeID",
                "RoutingTable",
                "SystemCPUCount",
                "SystemMemoryMiB",
                "Version"
            ]
        );
        seen.insert(node.id().to_owned(), agreed(&status));
    }
    let first = &seen["n1"];
    for (node, agreed) in &seen {
        assert_eq!(agreed, first, "{node} and n1");
    }
    Ok(())
}

#[test]
fn statuses_of_ours_agree() -> Result<()> {
    statuses_agree(&[Ours, Ours, Ours])
}

#[test]
fn statuses_of_a_mixed_mesh_agree() -> Result<()> {
    statuses_agree(&[Go, Ours, Go, Ours])
}

/// A reload adds and removes backends; a link that stays as configured is not touched, and a bad file changes nothing.
#[test]
fn a_reload_touches_only_what_changed() -> Result<()> {
    let (one, two) = (free_port()?, free_port()?);
    let listener = |port: u16| json!({"bindaddr": "127.0.0.1", "port": port});
    let hub = Harness::new()?.id("hub").action("tcp-listener", listener(one)).start()?;
    let leaf = Harness::new()?.id("leaf").action("tcp-peer", json!(format!("127.0.0.1:{one}"))).start()?;
    let late = Harness::new()?.id("late").action("ws-peer", json!(format!("ws://127.0.0.1:{two}"))).start()?;
    reaches(&leaf, "hub", SETTLED)?;
    let before = std::fs::read_to_string(hub.config())?;
    let reload = |text: &str| -> Result<Value> {
        std::fs::write(hub.config(), text)?;
        answer(&hub.connect()?.ask("reload")?)
    };
    let taken = format!("{before}- ws-listener: {}\n", listener(one));
    let refused = reload(&taken)?;
    let words = format!("listen tcp 127.0.0.1:{one}: bind: address already in use ERRORCODE 4");
    assert_eq!(refused, json!({"Success": false, "Error": words}));
    let more = format!("{before}- ws-listener: {}\n", listener(two));
    assert_eq!(reload(&more)?, json!({"Success": true}));
    reaches(&late, "leaf", SETTLED)?;
    assert_eq!(reload(&before)?, json!({"Success": true}));
    until(&hub, SETTLED, "the end of the link", |status| status["RoutingTable"].get("late").is_none())?;
    reaches(&leaf, "hub", SETTLED)?;
    // SIGHUP says the same without an answer.
    std::fs::write(hub.config(), &more)?;
    rustix::process::kill_process(hub.pid()?, rustix::process::Signal::HUP)?;
    reaches(&late, "leaf", SETTLED)?;
    let log = hub.log();
    assert!(!log.lines().any(|line| line.contains("disconnected") && line.contains("peer=leaf")), "{log}");
    Ok(())
}
