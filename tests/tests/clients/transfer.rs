//! 64 MiB of random bytes through a unit on another node and back, by `receptorctl work submit --node`, over one hop and over
//! three, with nodes of both kinds at either end.

use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sha2::{Digest, Sha256};
use worknode_tests::console::{Client, receptorctl};
use worknode_tests::mesh::{
    Kind::{self, Go, Ours},
    SETTLED, knows, linked, linked_with,
};
use worknode_tests::wait::{Deadline, Watch};
use worknode_tests::{Harness, Node, skipped};

const LENGTH: usize = 64 << 20;

/// Random bytes in a file, and the hexadecimal digits of their hash.
fn payload(node: &Node, seed: u64) -> Result<String> {
    let mut bytes = vec![0; LENGTH];
    StdRng::seed_from_u64(seed).fill(&mut bytes[..]);
    File::create(node.root().join("payload"))?.write_all(&bytes)?;
    Ok(Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Runs a client's command line in the node's directory; what it has printed.
fn shell(client: &Client, node: &Node, line: &str) -> Result<String> {
    let output = Command::new("timeout")
        .args(["300", "bash", "-c"])
        .arg(format!("set -euo pipefail; ctl() {{ \"$CTL\" --socket \"$SOCKET\" \"$@\"; }}\n{line}"))
        .current_dir(node.root())
        .env("CTL", &client.path)
        .env("SOCKET", node.socket())
        .output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{line}: {}\n{errors}{}", output.status, node.log_tail());
    String::from_utf8(output.stdout).context("what was printed")
}

/// There and back from the first node of a chain to the last. Returns the unit.
fn there_and_back(client: &Client, nodes: &[Node], seed: u64) -> Result<String> {
    let (first, last) = (&nodes[0], nodes.last().context("no node")?);
    let sent = payload(first, seed)?;
    let begin = Instant::now();
    let submitted = shell(client, first, &format!("ctl work submit cat --node {} -p payload", last.id()))?;
    let unit = submitted.lines().find_map(|line| line.strip_prefix("Unit ID: ")).context(submitted.clone())?;
    let came = shell(client, first, &format!("ctl work results {unit} | sha256sum"))?;
    let took = begin.elapsed();
    ensure!(came.split(' ').next() == Some(sent.as_str()), "{came} is not {sent}: {}", first.status(unit)?);
    let kinds: Vec<&str> = nodes.iter().map(|node| node.kind().name()).collect();
    println!("64 MiB, {} hop(s), {}: {:.1} s", nodes.len() - 1, kinds.join(" - "), took.as_secs_f64());
    Ok(unit.to_owned())
}

/// Between nodes of these kinds in a chain, and once more after all of them have been started anew.
fn transfer(kinds: &[Kind]) -> Result<()> {
    let Some(client) = receptorctl() else { return Ok(()) };
    let Some(mut nodes) = linked(kinds, false)? else { return Ok(()) };
    let old = there_and_back(&client, &nodes, 1)?;
    for node in &mut nodes {
        node.kill9()?;
        node.start()?;
    }
    for node in &nodes {
        knows(node, &nodes)?;
    }
    let results = shell(&client, &nodes[0], &format!("ctl work results {old} | sha256sum; sha256sum payload"))?;
    let sums: Vec<&str> = results.lines().filter_map(|line| line.split(' ').next()).collect();
    ensure!(sums.len() == 2 && sums[0] == sums[1], "after the restart: {results}");
    let unit = there_and_back(&client, &nodes, 2)?;
    for unit in [&old, &unit] {
        let released = shell(&client, &nodes[0], &format!("ctl work release {unit}"))?;
        ensure!(released.contains(&format!("({unit}, released)")), "{released}");
    }
    Ok(())
}

/// The same with a job that stops half-way, while each node of the chain is killed and started again: the job is on another
/// node than the client, and outlives them all.
fn restarts_half_way(from: Kind, to: Kind) -> Result<()> {
    let Some(client) = receptorctl() else { return Ok(()) };
    let furnished = |_, harness: Harness| harness.command_with_params("sh", "sh");
    let Some(mut nodes) = linked_with(&[from, Ours, to], false, furnished)? else { return Ok(()) };
    let sent = payload(&nodes[0], 3)?;
    let gate = nodes[2].root().join("gate");
    let script = format!("head -c {} ; until [ -e {} ]; do sleep 0.1; done; cat", LENGTH / 2, gate.display());
    let line = format!("ctl work submit sh --node n3 -p payload -a params=\"-c '{script}'\"");
    let submitted = shell(&client, &nodes[0], &line)?;
    let unit = submitted.lines().find_map(|line| line.strip_prefix("Unit ID: ")).context(submitted.clone())?;
    let output = nodes[0].unit_directory(unit).join("stdout");
    for place in 0..nodes.len() {
        let size = || std::fs::metadata(&output).map_or(0, |file| file.len());
        let some = LENGTH as u64 / 8 * (place as u64 + 1);
        let watch = Watch::new(&nodes[0].unit_directory(unit))?;
        watch.until(Deadline::after(SETTLED), "some output", || Ok((size() >= some).then_some(())))?;
        nodes[place].kill9()?;
        nodes[place].start()?;
        for node in &nodes {
            knows(node, &nodes)?;
        }
    }
    std::fs::write(gate, "")?;
    let came = shell(&client, &nodes[0], &format!("ctl work results {unit} | sha256sum"))?;
    ensure!(came.split(' ').next() == Some(sent.as_str()), "{came} is not {sent}: {}", nodes[0].status(unit)?);
    nodes[0].release(unit)
}

/// The nodes in the middle are of both kinds where there is a Go daemon, for a message is none's business on its way.
fn middle() -> [Kind; 2] {
    if worknode_tests::Program::receptor().is_some() {
        [Go, Ours]
    } else {
        skipped("RECEPTOR_BIN names no Go daemon");
        [Ours, Ours]
    }
}

macro_rules! tests {
    ($($one_hop:ident, $three_hops:ident, $restarts:ident: $from:ident, $to:ident;)*) => {$(
        #[test]
        fn $one_hop() -> Result<()> {
            transfer(&[$from, $to])
        }

        #[test]
        fn $three_hops() -> Result<()> {
            let [second, third] = middle();
            transfer(&[$from, second, third, $to])
        }

        #[test]
        fn $restarts() -> Result<()> {
            restarts_half_way($from, $to)
        }
    )*};
}

tests! {
    ours_to_ours_over_one_hop, ours_to_ours_over_three_hops, ours_to_ours_with_restarts: Ours, Ours;
    ours_to_receptor_over_one_hop, ours_to_receptor_over_three_hops, ours_to_receptor_with_restarts: Ours, Go;
    receptor_to_ours_over_one_hop, receptor_to_ours_over_three_hops, receptor_to_ours_with_restarts: Go, Ours;
    receptor_to_receptor_over_one_hop, receptor_to_receptor_over_three_hops, receptor_to_receptor_with_restarts: Go, Go;
}
