//! With the real thing: the Go daemon that `RECEPTOR_BIN` names is killed, its runners live on, the daemon under test takes
//! over; and the other way round.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use worknode_podsim::{Effect, Matching, Trap};
use worknode_tests::cluster::Cluster;
use worknode_tests::wait::{Deadline, PATIENCE, Watch, readable};
use worknode_tests::{Harness, Program, State, process, skipped};

/// The Go daemon, or a reason printed.
pub(crate) fn receptor() -> Option<Program> {
    let receptor = Program::receptor();
    if receptor.is_none() {
        skipped("RECEPTOR_BIN names no Go daemon");
    }
    receptor
}

/// With the real thing: its daemon is killed, its runner lives on, and the daemon under test takes over.
#[test]
fn a_real_go_runner_is_followed_and_canceled() -> Result<()> {
    let Some(receptor) = receptor() else { return Ok(()) };
    let mut node = Harness::of(receptor)?.command_with_params("sh", "sh").start()?;
    let go = node.root().join("go");
    let script = format!("-c 'echo begun; while ! [ -e {} ]; do sleep 0.05; done; echo done; exit 5'", go.display());
    let followed = node.submit_with("sh", &[("params", &script)], b"")?;
    let canceled = node.submit_with("sh", &[("params", "-c 'exec sleep 1000'")], b"")?;
    for unit in [&followed, &canceled] {
        node.wait_status(unit, |status| status.state == State::Running)?;
    }
    node.kill9()?;
    node.replace_program(Program::worknoded()?)?;
    node.start()?;
    let mut results = node.open_results(&followed, 0)?;
    assert_eq!(results.line()?, "begun");
    node.cancel(&canceled)?;
    assert_eq!(node.wait_ended(&canceled)?.state, State::Canceled);
    std::fs::write(go, "")?;
    assert_eq!(results.rest()?, b"done\n");
    assert_eq!(node.wait_ended(&followed)?.detail, "exit status 5");
    node.release(&followed)?;
    node.release(&canceled)?;
    node.wait_alone(PATIENCE)
}

/// The way back: the Go daemon finds the units of the daemon under test, follows a living one and serves them all.
#[test]
fn the_go_daemon_takes_over_from_worknoded() -> Result<()> {
    let Some(receptor) = receptor() else { return Ok(()) };
    let mut node = Harness::new()?.command("cat", "cat").command_with_params("sh", "sh").start()?;
    let go = node.root().join("go");
    let script = format!("-c 'echo begun; while ! [ -e {} ]; do sleep 0.05; done; echo done; exit 5'", go.display());
    let ended = node.submit("cat", b"hello")?;
    node.wait_ended(&ended)?;
    let living = node.submit_with("sh", &[("params", &script)], b"")?;
    node.wait_status(&living, |status| status.state == State::Running && status.stdout_size > 0)?;
    node.kill9()?;
    node.replace_program(receptor)?;
    node.start()?;
    assert_eq!(node.results(&ended)?, b"hello");
    assert_eq!(node.status(&living)?.state, State::Running);
    std::fs::write(go, "")?;
    let status = node.wait_status(&living, |status| status.state.ended())?;
    assert_eq!((status.state, status.detail.as_str(), status.stdout_size), (State::Failed, "exit status 5", 11));
    assert_eq!(node.results(&living)?, b"begun\ndone\n");
    let keepers: Vec<_> =
        node.processes()?.into_iter().filter(|&pid| node.pid().is_ok_and(|daemon| daemon != pid)).collect();
    for keeper in keepers {
        // Whoever kept the job ends with it.
        readable(process::handle(keeper)?, PATIENCE)?;
    }
    Ok(())
}

/// Parameters of `sh` for a job that writes numbered lines without a pause until `gate` is there, then their number.
fn counting(gate: &Path, code: u8) -> String {
    let gate = gate.display();
    format!("-c 'cat; n=0; until [ -e {gate} ]; do n=$((n+1)); echo $n; done; echo $n lines; exit {code}'")
}

/// Checks that the output is the payload, every number in turn, and how many there were.
fn is_whole(output: &[u8], payload: &str) -> Result<()> {
    let text = str::from_utf8(output)?.strip_prefix(payload).context("the payload does not come first")?;
    let mut last = 0_u64;
    for line in text.lines() {
        if let Some(count) = line.strip_suffix(" lines") {
            ensure!(count.parse::<u64>()? == last && text.ends_with(" lines\n"), "{count} lines said, {last} seen");
            return Ok(());
        }
        ensure!(line.parse() == Ok(last + 1), "{line:?} after {last}");
        last += 1;
    }
    anyhow::bail!("the end is missing after {last} lines")
}

/// The main case: two jobs run, one is read all the while by nobody, the other from before its end to its end.
fn two_running_jobs(from: Program, to: Program) -> Result<()> {
    let mut node = Harness::of(from)?.command_with_params("sh", "sh").start()?;
    let gates = ["first", "second"].map(|name| node.root().join(name));
    let payload = "from the submitter\n";
    let mut units = Vec::new();
    for (gate, code) in gates.iter().zip([0, 3]) {
        units.push(node.submit_with("sh", &[("params", &counting(gate, code))], payload.as_bytes())?);
    }
    for unit in &units {
        node.wait_status(unit, |status| status.state == State::Running && status.stdout_size > 1000)?;
    }
    node.kill9()?;
    node.replace_program(to)?;
    node.start()?;
    let mut grown = Vec::new();
    for unit in &units {
        let status = node.status(unit)?;
        ensure!(status.state == State::Running, "{status}");
        grown.push(status.stdout_size);
    }
    let results = node.open_results(&units[0], 0)?;
    let watch = Watch::new(&node.unit_directory(&units[1]))?;
    watch.until(Deadline::default(), "more output than at the takeover", || {
        Ok((std::fs::metadata(node.unit_directory(&units[1]).join("stdout"))?.len() > grown[1] + 1000).then_some(()))
    })?;
    for gate in &gates {
        std::fs::write(gate, "")?;
    }
    let mut first = results;
    is_whole(&first.rest()?, payload)?;
    for (unit, (state, detail)) in
        units.iter().zip([(State::Succeeded, "exit status 0"), (State::Failed, "exit status 3")])
    {
        let status = node.wait_status(unit, |status| status.state.ended())?;
        ensure!((status.state, status.detail.as_str()) == (state, detail), "{status}");
        let output = node.results(unit)?;
        is_whole(&output, payload)?;
        ensure!(status.stdout_size == output.len() as u64, "{status}, {} bytes", output.len());
        node.release(unit)?;
    }
    ensure!(node.list()?.is_empty());
    Ok(())
}

#[test]
fn two_running_jobs_of_the_go_daemon_end_here() -> Result<()> {
    let Some(receptor) = receptor() else { return Ok(()) };
    two_running_jobs(receptor, Program::worknoded()?)
}

#[test]
fn two_running_jobs_of_worknoded_end_under_the_go_daemon() -> Result<()> {
    let Some(receptor) = receptor() else { return Ok(()) };
    two_running_jobs(Program::worknoded()?, receptor)
}

/// There and back again with units of every state: none is lost, none changes.
#[test]
fn ended_units_stay_as_they_are_there_and_back_again() -> Result<()> {
    let Some(receptor) = receptor() else { return Ok(()) };
    let mut node = Harness::of(receptor.clone())?.command("cat", "cat").command_with_params("sh", "sh").start()?;
    let mut expected = serde_json::Map::new();
    for program in [receptor.clone(), Program::worknoded()?, receptor, Program::worknoded()?] {
        if program.kind != node.kind() {
            node.kill9()?;
            node.replace_program(program)?;
            node.start()?;
        }
        let found = node.list()?;
        ensure!(found == expected, "{found:?} is not {expected:?}");
        let made = [
            (node.submit("cat", b"hello")?, "exit status 0"),
            (node.submit_with("sh", &[("params", "-c 'echo x; exit 4'")], b"")?, "exit status 4"),
        ];
        for (unit, detail) in made {
            ensure!(node.wait_ended(&unit)?.detail == detail);
        }
        let canceled = node.submit_with("sh", &[("params", "-c 'exec sleep 1000'")], b"")?;
        node.wait_status(&canceled, |status| status.state == State::Running)?;
        node.cancel(&canceled)?;
        node.wait_ended(&canceled)?;
        expected = node.list()?;
    }
    for unit in expected.keys() {
        node.release(unit)?;
    }
    node.wait_alone(PATIENCE)
}

/// A pod that runs while the daemons change. On podsim its script waits for a file of this machine, on a real cluster for as
/// long as the change may take.
fn a_running_pod(cluster: &Cluster, from: Program, to: Program) -> Result<()> {
    let id = format!("test-{:08x}", rand::random::<u32>());
    let mut node = Harness::of(from)?
        .id(&id)
        // The Go daemon finds the credentials of a unit in its status, where ours never writes them: then it looks here.
        .environment("KUBECONFIG", cluster.kubeconfig())
        .kubernetes("kubeit", cluster, &json!({}))
        .start()?;
    let gate = node.root().join("gate");
    let change = match cluster.simulator() {
        Some(_) => format!("until [ -e {} ]; do sleep 0.05; done", gate.display()),
        None => "sleep 15".to_owned(),
    };
    let script = format!("cat; echo begun; {change}; echo done");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "job"},
        "spec": {"containers": [{"name": "worker", "image": "busybox", "command": ["sh", "-c", script]}]},
    });
    let unit = node.submit_with("kubeit", &[("secret_kube_pod", &pod.to_string())], b"payload\n")?;
    let begun = |status: &worknode_tests::UnitStatus| status.state == State::Running && status.stdout_size == 14;
    node.wait_status(&unit, begun)?;
    node.kill9()?;
    node.replace_program(to)?;
    node.start()?;
    let status = node.status(&unit)?;
    ensure!(status.state == State::Running, "{status}");
    std::fs::write(gate, "")?;
    let status = node.wait_status(&unit, |status| status.state.ended())?;
    ensure!(status.state == State::Succeeded, "{status}");
    assert_eq!(node.results(&unit)?, b"payload\nbegun\ndone\n");
    let pod = node.status(&unit)?.extra["PodName"].as_str().context("no pod's name")?.to_owned();
    node.release(&unit)?;
    // The Go daemon leaves pods in the cluster that it has found at its start (control-protocol 5.8).
    if node.kind() == worknode_tests::Kind::Receptor { Ok(()) } else { cluster.wait_for_pod(&pod, &[]) }
}

#[test]
fn a_running_pod_of_the_go_daemon_ends_here() -> Result<()> {
    let Some(receptor) = receptor() else { return Ok(()) };
    a_running_pod(&Cluster::podsim()?, receptor, Program::worknoded()?)
}

#[test]
fn a_running_pod_of_the_go_daemon_ends_here_on_a_real_cluster() -> Result<()> {
    let (Some(receptor), Some(cluster)) = (receptor(), Cluster::real()?) else { return Ok(()) };
    a_running_pod(&cluster, receptor, Program::worknoded()?)
}

#[test]
fn a_running_pod_of_worknoded_ends_under_the_go_daemon() -> Result<()> {
    let Some(receptor) = receptor() else { return Ok(()) };
    a_running_pod(&Cluster::podsim()?, Program::worknoded()?, receptor)
}

/// The Go daemon is killed between its request for a pod and the answer: a second pod would run the job twice.
#[test]
fn a_pod_that_was_asked_for_is_not_asked_for_again() -> Result<()> {
    let Some(receptor) = receptor() else { return Ok(()) };
    let cluster = Cluster::podsim()?;
    let podsim = cluster.simulator().context("no podsim")?;
    podsim.faults().set(Trap::once(Matching::new("create", "pods"), Effect::Delay { millis: 60_000 }));
    let mut node = Harness::of(receptor)?.kubernetes("kubeit", &cluster, &json!({})).start()?;
    let parameters = [("kube_image", "busybox"), ("kube_command", "true")];
    let unit = node.submit_with("kubeit", &parameters, b"")?;
    let asked = || Ok((podsim.requests().count("create", "pods") == 1).then_some(()));
    Watch::new(node.root())?.until(Deadline::default(), "the request for a pod", asked)?;
    node.kill9()?;
    node.replace_program(Program::worknoded()?)?;
    node.start()?;
    let status = node.wait_ended(&unit)?;
    ensure!(status.state == State::Failed && status.detail.starts_with("Failed to restart: "), "{status}");
    ensure!(podsim.requests().count("create", "pods") == 1, "the pod was asked for again");
    node.release(&unit)
}
