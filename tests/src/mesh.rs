//! Meshes of nodes that are processes.

#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::wait::Deadline;
use crate::work::answer;
use crate::{Harness, Node, Program, skipped};

/// Time in which nodes that have just started know each other. Receptor tries a lost peer again after 5 to 20 s.
pub const SETTLED: Duration = Duration::from_secs(60);

/// The kinds of nodes, in the order in which they are linked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Of worknode.
    Ours,
    /// Of receptor.
    Go,
}

fn program(kind: Kind) -> Result<Option<Program>> {
    match kind {
        Kind::Ours => Program::worknoded().map(Some),
        Kind::Go => Ok(Program::receptor()),
    }
}

/// A port that nobody listens on now.
///
/// # Errors
/// The system has none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Starts nodes `n1`, `n2`, ... of these kinds. Each dials the one before it; in a ring the first dials the last, too. None,
/// and a word about it, where there is no Go daemon.
///
/// # Errors
/// A node does not start, or not all come to know each other in time.
pub fn linked(kinds: &[Kind], ring: bool) -> Result<Option<Vec<Node>>> {
    linked_with(kinds, ring, |_, harness| harness.command("cat", "cat"))
}

/// The same, with nodes that `more` has furnished: it is told the place, from 0.
///
/// # Errors
/// As [`linked`].
pub fn linked_with(
    kinds: &[Kind],
    ring: bool,
    more: impl FnMut(usize, Harness) -> Harness,
) -> Result<Option<Vec<Node>>> {
    let programs = kinds.iter().map(|kind| program(*kind)).collect::<Result<Option<Vec<_>>>>()?;
    match programs {
        Some(programs) => linked_programs(&programs, ring, more).map(Some),
        None => {
            skipped("RECEPTOR_BIN names no Go daemon");
            Ok(None)
        }
    }
}

/// The same, with these programs.
///
/// # Errors
/// As [`linked`].
pub fn linked_programs(
    programs: &[Program],
    ring: bool,
    mut more: impl FnMut(usize, Harness) -> Harness,
) -> Result<Vec<Node>> {
    let ports = programs.iter().map(|_| free_port()).collect::<Result<Vec<_>>>()?;
    let mut nodes = Vec::new();
    for (place, program) in programs.iter().enumerate() {
        let listener = json!({"bindaddr": "127.0.0.1", "port": ports[place]});
        let mut harness = more(place, Harness::of(program.clone())?.id(&format!("n{}", place + 1)));
        harness = harness.action("tcp-listener", listener);
        let before = if place > 0 { Some(place - 1) } else { ring.then(|| programs.len() - 1) };
        if let Some(before) = before {
            harness = harness.action("tcp-peer", json!({"address": format!("127.0.0.1:{}", ports[before])}));
        }
        nodes.push(harness.start()?);
    }
    for (place, node) in nodes.iter().enumerate() {
        knows(node, &nodes)?;
        let links = if ring || (place > 0 && place + 1 < nodes.len()) { 2 } else { 1 };
        let linked = |status: &Value| status["Connections"].as_array().map(Vec::len) == Some(links);
        until(node, SETTLED, "its links", linked)?;
    }
    Ok(nodes)
}

/// The whole status of a node.
///
/// # Errors
/// It does not answer.
pub fn status(node: &Node) -> Result<Value> {
    answer(&node.connect()?.ask("status")?)
}

/// Asks until the status is as wanted.
///
/// # Errors
/// It is not so in time.
pub fn until(node: &Node, limit: Duration, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let deadline = Deadline::after(limit);
    let mut session = node.connect()?;
    loop {
        let status = answer(&session.ask("status")?)?;
        if wanted(&status) {
            return Ok(status);
        }
        deadline.left(what).with_context(|| format!("{}: {status}\n{}", node.id(), node.log_tail()))?;
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Waits until a node has ways to all the others.
///
/// # Errors
/// It has not in time.
pub fn knows(node: &Node, all: &[Node]) -> Result<()> {
    let others: Vec<&str> = all.iter().map(Node::id).filter(|id| *id != node.id()).collect();
    let has_ways = |status: &Value| others.iter().all(|other| status["RoutingTable"].get(other).is_some());
    until(node, SETTLED, "ways to all nodes", has_ways).map(drop)
}
