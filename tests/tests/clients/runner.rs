//! ansible-runner from PyPI, unchanged: `transmit`, a submit, `worker` as the work, results, `process`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use worknode_tests::console::receptorctl;
use worknode_tests::mesh::{
    Kind::{self, Go, Ours},
    linked_with,
};
use worknode_tests::python::{ANSIBLE_RUNNER, Environment, environment};
use worknode_tests::{Harness, Node, State};

use crate::controller::with_work_types;

const PLAYBOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/clients/playbook");

/// A way from a directory with a playbook to one with what has come of it.
struct Round<'a> {
    runner: &'a Environment,
    client: &'a Path,
    /// Whose control socket is spoken to.
    node: &'a Node,
    /// Options of the submit.
    options: &'a str,
}

/// What `ansible-runner process` has written down.
struct Artifacts {
    unit: String,
    status: String,
    exit_code: String,
    output: String,
    events: usize,
}

/// A node that runs ansible-runner's `worker`, at a place that playbooks can tell.
fn place(harness: Harness, runner: &Environment, path: &str, name: &str) -> Harness {
    with_work_types(harness.environment("PLACE", name), runner)
        .environment("PATH", path)
        .environment("LC_ALL", "C.UTF-8")
}

/// The programs of the environment before all others: ansible-runner calls `ansible-playbook` by its name.
fn path(runner: &Environment) -> Result<String> {
    let all = std::env::var("PATH").context("PATH")?;
    Ok(format!("{}:{all}", runner.programs().display()))
}

impl Round<'_> {
    /// Runs the playbook, one task of which fails if that is wanted.
    fn trip(&self, fails: bool) -> Result<Artifacts> {
        let root = tempfile::tempdir()?;
        let (there, back) = (root.path().join("there"), root.path().join("back"));
        ensure!(Command::new("cp").arg("-r").arg(PLAYBOOK).arg(&there).status()?.success(), "cp");
        std::fs::write(there.join("env/extravars"), format!("fails: {fails}\n"))?;
        let submit = "\"$RUNNER\" transmit \"$THERE\" --playbook site.yml | \
                      \"$CLIENT\" --socket \"$SOCKET\" work submit ansible-runner -p - $OPTIONS";
        let submitted = self.shell(submit, root.path(), &there, "")?;
        let unit = submitted.lines().find_map(|line| line.strip_prefix("Unit ID: ")).context(submitted.clone())?;
        // Both ends fail where the playbook has failed: what counts is what they have written.
        let results = "{ \"$CLIENT\" --socket \"$SOCKET\" work results \"$UNIT\" || true; } | \
                       { \"$RUNNER\" process \"$BACK\" || true; }";
        let shown = self.shell(results, root.path(), &back, unit)?;
        let read = |name: &str| std::fs::read_to_string(back.join("artifacts").join(name)).context(shown.clone());
        Ok(Artifacts {
            unit: unit.to_owned(),
            status: read("status")?,
            exit_code: read("rc")?,
            output: read("stdout")?,
            events: std::fs::read_dir(back.join("artifacts/job_events"))?.count(),
        })
    }

    fn shell(&self, line: &str, home: &Path, directory: &Path, unit: &str) -> Result<String> {
        let output = Command::new("timeout")
            .args(["120", "bash", "-c"])
            .arg(format!("set -euo pipefail; {line}"))
            .env("PATH", path(self.runner)?)
            .env("HOME", home)
            .env("LC_ALL", "C.UTF-8")
            .env("RUNNER", self.runner.program("ansible-runner"))
            .env("CLIENT", self.client)
            .env("SOCKET", self.node.socket())
            .env("OPTIONS", self.options)
            .env("UNIT", unit)
            .env("THERE", directory)
            .env("BACK", directory)
            .output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{line}: {}\n{errors}{}", output.status, self.node.log_tail());
        String::from_utf8(output.stdout).context("what was printed")
    }
}

/// Both playbooks there and back.
fn there_and_back(round: &Round<'_>, place: &str) -> Result<()> {
    let good = round.trip(false)?;
    assert_eq!((good.status.as_str(), good.exit_code.as_str()), ("successful", "0"), "{}", good.output);
    ensure!(good.output.contains(&format!("there on {place}")), "{}", good.output);
    ensure!(good.output.contains("failed=0"), "{}", good.output);
    ensure!(good.events > 10, "{} events", good.events);
    let ended = |unit: &str| round.node.wait_status(unit, |status| status.state.ended());
    assert_eq!(ended(&good.unit)?.state, State::Succeeded);
    let bad = round.trip(true)?;
    assert_eq!((bad.status.as_str(), bad.exit_code.as_str()), ("failed", "2"), "{}", bad.output);
    ensure!(bad.output.contains("as was wanted"), "{}", bad.output);
    assert_eq!(ended(&bad.unit)?.state, State::Failed);
    for unit in [good.unit, bad.unit] {
        round.node.release(&unit)?;
    }
    Ok(())
}

/// What a test of ansible-runner needs: it, and a client.
fn programs() -> Option<(Environment, PathBuf)> {
    Some((environment(ANSIBLE_RUNNER)?, receptorctl()?.path))
}

#[test]
fn a_playbook_there_and_back_on_the_own_node() -> Result<()> {
    let Some((runner, client)) = programs() else { return Ok(()) };
    let node = place(Harness::new()?, &runner, &path(&runner)?, "the own node").start()?;
    let round = Round { runner: &runner, client: &client, node: &node, options: "" };
    there_and_back(&round, "the own node")
}

/// From the first node of a chain to the last, by signed requests, as AWX sends them.
fn there_and_back_through(kinds: &[Kind]) -> Result<()> {
    let Some((runner, client)) = programs() else { return Ok(()) };
    let path = path(&runner)?;
    let furnished = |at: usize, harness: Harness| place(harness, &runner, &path, &format!("node {}", at + 1));
    let Some(nodes) = linked_with(kinds, false, furnished)? else { return Ok(()) };
    let options = format!("--node {} --signwork", nodes.last().context("no node")?.id());
    let round = Round { runner: &runner, client: &client, node: &nodes[0], options: &options };
    there_and_back(&round, &format!("node {}", nodes.len()))
}

#[test]
fn a_playbook_there_and_back_on_another_node() -> Result<()> {
    there_and_back_through(&[Ours, Ours, Ours])
}

#[test]
fn a_playbook_there_and_back_on_a_receptor() -> Result<()> {
    there_and_back_through(&[Ours, Go])
}

#[test]
fn a_playbook_there_and_back_from_a_receptor() -> Result<()> {
    there_and_back_through(&[Go, Ours])
}
