//! Units on another node while nodes are killed at random moments: the one here, the one between, the one that runs them.
//!
//! Each unit writes down that it runs, so that a second run shows. `WORKNODE_REMOTE_UNITS` is the number of units (few by
//! default), `WORKNODE_REMOTE_SEED` the seed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use worknode_tests::{
    Node, Session, State,
    mesh::knows,
    work::{answer, created, submit_line},
};

use super::{of_ours, payload};

const FEW: u64 = 24;
const CLIENTS: u64 = 4;
/// Everything is over within this time after the last fault.
const SETTLED: Duration = Duration::from_secs(120);

/// A unit as its client knows it.
struct Sent {
    number: u64,
    payload: Vec<u8>,
    /// Once it was named.
    id: Option<String>,
    /// The client was told that it is submitted.
    acknowledged: bool,
}

fn number(variable: &str, default: u64) -> Result<u64> {
    match std::env::var(variable) {
        Ok(text) => text.parse().with_context(|| format!("{variable}={text}")),
        Err(_) => Ok(default),
    }
}

/// One client's submission; whatever breaks ends it.
fn submit(socket: &Path, marks: &Path, sent: &mut Sent, random: &mut StdRng) -> Result<()> {
    let mut session = Session::unix(socket)?;
    session.line()?;
    let mark = marks.join(sent.number.to_string());
    let params = format!("-c \"echo run >> {}; cat; sleep 0.{}\"", mark.display(), random.random_range(0..9));
    let line = submit_line("sh", &[("node", "n3"), ("params", &params)]);
    sent.id = Some(created(&session.ask(&line)?)?);
    for part in sent.payload.chunks(40_000) {
        session.send(part)?;
        std::thread::park_timeout(Duration::from_millis(random.random_range(0..60)));
    }
    session.half_close()?;
    let reply = answer(&session.line()?)?;
    ensure!(reply["unitid"] == json!(sent.id), "{reply}");
    sent.acknowledged = true;
    Ok(())
}

/// Submits units until all are named; those that break off are kept as what they are.
fn client(socket: &Path, marks: &Path, next: &AtomicU64, count: u64, seed: u64) -> Vec<Sent> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut all = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            return all;
        }
        // A node that is down takes nothing: the next attempt is another unit's.
        let mut sent =
            Sent { number, payload: payload(random.random_range(0..200_000)), id: None, acknowledged: false };
        let deadline = Instant::now() + SETTLED;
        while sent.id.is_none() && Instant::now() < deadline {
            let _broken_off = submit(socket, marks, &mut sent, &mut random);
            std::thread::park_timeout(Duration::from_millis(10));
        }
        all.push(sent);
    }
}

/// Kills one node after the other, at random moments, and starts it again.
fn trouble(nodes: &Mutex<Vec<Node>>, done: &AtomicBool, seed: u64) -> Result<BTreeMap<String, u32>> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut kills = BTreeMap::new();
    while !done.load(Ordering::Acquire) {
        std::thread::park_timeout(Duration::from_millis(random.random_range(50..400)));
        let mut nodes = nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let place = random.random_range(0..nodes.len());
        let node = &mut nodes[place];
        *kills.entry(node.id().to_owned()).or_default() += 1;
        node.kill9()?;
        std::thread::park_timeout(Duration::from_millis(random.random_range(0..300)));
        node.start()?;
    }
    Ok(kills)
}

/// What became of a unit: in words for the table, or an error where it must not be so.
fn judge(here: &Node, marks: &Path, sent: &Sent) -> Result<String> {
    let runs = || fs::read_to_string(marks.join(sent.number.to_string())).unwrap_or_default().lines().count();
    let Some(id) = &sent.id else {
        ensure!(runs() == 0, "run without a name");
        return Ok("never named".to_owned());
    };
    if !here.list()?.contains_key(id) {
        ensure!(!sent.acknowledged, "lost");
        // Named, and not acknowledged: its directory was there before it was named.
        bail!("lost before it was acknowledged");
    }
    let deadline = Instant::now() + SETTLED;
    let status = loop {
        let status = here.status(id)?;
        if status.state.ended() {
            break status;
        }
        ensure!(Instant::now() < deadline, "frozen: {status}, {}", status.extra);
        std::thread::park_timeout(Duration::from_millis(50));
    };
    let runs = runs();
    ensure!(runs <= 1, "run {runs} times");
    if status.state == State::Succeeded {
        ensure!(runs == 1, "succeeded without a run");
        let output = here.results(id)?;
        ensure!(output == sent.payload, "{} bytes of {}", output.len(), sent.payload.len());
        return Ok("succeeded, output whole".to_owned());
    }
    let words = status.detail.split_inclusive(": ").next().unwrap_or_default();
    ensure!(status.state == State::Failed && !words.is_empty(), "{status}");
    Ok(format!("{}, failed: {words}", if sent.acknowledged { "acknowledged" } else { "not acknowledged" }))
}

#[test]
fn units_survive_the_death_of_any_node() -> Result<()> {
    let (count, seed) = (number("WORKNODE_REMOTE_UNITS", FEW)?, number("WORKNODE_REMOTE_SEED", 1)?);
    let nodes = of_ours(3)?;
    let (socket, marks) = (nodes[0].socket(), tempfile::tempdir()?);
    let (nodes, next, done) = (Mutex::new(nodes), AtomicU64::new(0), AtomicBool::new(false));
    let submitting = |seed| client(&socket, marks.path(), &next, count, seed);
    let (sent, kills) = std::thread::scope(|scope| {
        let submitting = &submitting;
        let clients: Vec<_> = (0..CLIENTS).map(|place| scope.spawn(move || submitting(seed * 1000 + place))).collect();
        let troubled = scope.spawn(|| trouble(&nodes, &done, seed));
        let sent: Vec<Sent> = clients.into_iter().flat_map(|client| client.join().unwrap_or_default()).collect();
        done.store(true, Ordering::Release);
        (sent, troubled.join())
    });
    let kills = kills.map_err(|_| anyhow::anyhow!("the killer has failed"))??;
    let nodes = nodes.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(sent.len() as u64 == count, "{} of {count}", sent.len());
    for node in &nodes {
        knows(node, &nodes)?;
    }
    let mut table = BTreeMap::<String, u32>::new();
    for sent in &sent {
        let judged = judge(&nodes[0], marks.path(), sent)
            .with_context(|| format!("seed {seed}, unit {} ({:?})", sent.number, sent.id))
            .with_context(|| format!("{}\n{}", nodes[0].log_tail(), nodes[2].log_tail()))?;
        *table.entry(judged).or_default() += 1;
    }
    // Once more when all is over: a second run may have come late.
    for sent in &sent {
        let runs = fs::read_to_string(marks.path().join(sent.number.to_string())).unwrap_or_default().lines().count();
        ensure!(runs <= 1, "seed {seed}, unit {}: run {runs} times", sent.number);
    }
    println!("seed {seed}: {count} units, kills {kills:?}: {table:#?}");
    let whole = table.get("succeeded, output whole").copied().unwrap_or_default();
    ensure!(whole > 0, "none of them succeeded: {table:?}");
    Ok(())
}
