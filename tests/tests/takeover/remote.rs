//! Units on other nodes (control-protocol 4.1, 4.2, 4.6), as the Go daemon leaves them on disk in each state; and live ones of
//! the Go daemon that `RECEPTOR_BIN` names.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use worknode_tests::mesh::{
    Kind::{Go, Ours},
    SETTLED, knows, linked_with, until,
};
use worknode_tests::wait::{Deadline, Watch};
use worknode_tests::work::{answer, created, submit_line};
use worknode_tests::{Node, Program, State};

const NEVER: &str = "0001-01-01T00:00:00Z";

/// Two nodes; the first one's units are about to be taken over, the second runs what they stand for.
struct Scene {
    here: Node,
    there: Node,
    gate: PathBuf,
}

impl Scene {
    /// Both nodes know each other; the first is down.
    fn new() -> Result<Self> {
        let nodes = linked_with(&[Ours, Ours], false, |_, harness| {
            harness.command("cat", "cat").command_with_params("sh", "sh")
        })?;
        let mut nodes = nodes.context("ours can always be had")?.into_iter();
        let (mut here, there) = (nodes.next().context("no node")?, nodes.next().context("no node")?);
        here.kill9()?;
        let gate = there.root().join("gate");
        Ok(Self { here, there, gate })
    }

    /// A job on the other node, of which the first line is out.
    fn job(&self) -> Result<String> {
        let script = format!("-c 'cat; until [ -e {} ]; do sleep 0.05; done; echo done; exit 3'", self.gate.display());
        let unit = self.there.submit_with("sh", &[("params", &script)], b"begun\n")?;
        self.there.wait_status(&unit, |status| status.state == State::Running && status.stdout_size == 6)?;
        Ok(unit)
    }

    /// Writes a unit as the Go daemon does; `extra` overrides what is usual for one that has started.
    fn unit(&self, id: &str, status: &Value, extra: &Value, stdin: &str, stdout: Option<&str>) -> Result<()> {
        let directory = self.here.unit_directory(id);
        fs::create_dir_all(&directory)?;
        let mut whole = json!({
            "RemoteNode": self.there.id(), "RemoteWorkType": "sh", "RemoteParams": {"params": "", "secret_word": "psst"},
            "RemoteUnitID": "", "RemoteStarted": true, "LocalCancelled": false, "LocalReleased": false,
            "SignWork": false, "TLSClient": "", "Expiration": NEVER,
        });
        for (name, value) in extra.as_object().context("no map")? {
            whole[name] = value.clone();
        }
        let status = json!({
            "State": status[0], "Detail": status[1], "StdoutSize": stdout.map_or(0, str::len), "WorkType": "remote",
            "ExtraData": whole,
        });
        fs::write(directory.join("status"), format!("{status}\n"))?;
        fs::write(directory.join("status.lock"), "")?;
        fs::write(directory.join("stdin"), stdin)?;
        stdout.map_or(Ok(()), |text| fs::write(directory.join("stdout"), text))?;
        Ok(())
    }

    fn start(&mut self) -> Result<()> {
        self.here.start()?;
        knows(&self.here, std::slice::from_ref(&self.there))
    }

    /// Waits until a node lists exactly these units.
    fn lists(node: &Node, units: &[&str]) -> Result<()> {
        let watch = Watch::new(node.root())?;
        watch.until(Deadline::after(SETTLED), &format!("{units:?} alone in the list"), || {
            let list = node.list()?;
            Ok((list.len() == units.len() && units.iter().all(|unit| list.contains_key(*unit))).then_some(()))
        })
    }
}

#[test]
fn a_running_unit_is_followed_without_loss_or_repetition() -> Result<()> {
    let mut scene = Scene::new()?;
    let there = scene.job()?;
    let running = json!([1, "Running: PID 4711"]);
    scene.unit("running1", &running, &json!({"RemoteUnitID": there}), "", Some("beg"))?;
    scene.start()?;
    let mut results = scene.here.open_results("running1", 0)?;
    ensure!(results.line()? == "begun");
    let status = scene.here.status("running1")?;
    ensure!(status.state == State::Running, "{status}");
    ensure!(status.extra["RemoteParams"] == json!({"params": ""}), "{}", status.extra);
    fs::write(&scene.gate, "")?;
    ensure!(results.rest()? == b"done\n");
    let status = scene.here.wait_ended("running1")?;
    ensure!(
        (status.state, status.detail.as_str(), status.stdout_size) == (State::Failed, "exit status 3", 11),
        "{status}"
    );
    scene.here.release("running1")?;
    Scene::lists(&scene.there, &[])
}

#[test]
fn a_unit_that_has_ended_or_gone_meanwhile_ends_here() -> Result<()> {
    let mut scene = Scene::new()?;
    let there = scene.there.submit("cat", b"all of it")?;
    scene.there.wait_ended(&there)?;
    let running = json!([1, "Running: PID 4711"]);
    scene.unit("ended111", &running, &json!({"RemoteUnitID": there}), "", None)?;
    scene.unit("gone1111", &running, &json!({"RemoteUnitID": "nosuch11"}), "", Some("what came"))?;
    scene.start()?;
    let status = scene.here.wait_ended("ended111")?;
    ensure!((status.state, status.detail.as_str()) == (State::Succeeded, "exit status 0"), "{status}");
    ensure!(scene.here.results("ended111")? == b"all of it");
    let status = scene.here.wait_ended("gone1111")?;
    ensure!((status.state, status.detail.as_str()) == (State::Failed, "Remote work unit is gone"), "{status}");
    ensure!(scene.here.results("gone1111")? == b"what came");
    Ok(())
}

#[test]
fn an_ended_unit_stays_and_its_release_reaches_the_other_node() -> Result<()> {
    let mut scene = Scene::new()?;
    let there = scene.there.submit("cat", b"all of it")?;
    scene.there.wait_ended(&there)?;
    scene.unit("ended111", &json!([2, "exit status 0"]), &json!({"RemoteUnitID": there}), "", Some("all of it"))?;
    scene.start()?;
    let status = scene.here.status("ended111")?;
    ensure!(
        (status.state, status.detail.as_str(), status.stdout_size) == (State::Succeeded, "exit status 0", 9),
        "{status}"
    );
    ensure!(scene.here.results("ended111")? == b"all of it");
    scene.here.release("ended111")?;
    Scene::lists(&scene.here, &[])?;
    Scene::lists(&scene.there, &[])
}

/// The Go daemon gives such units up when it is started again, whatever their ttl.
#[test]
fn a_unit_that_had_not_started_is_started_once_unless_it_has_expired() -> Result<()> {
    let mut scene = Scene::new()?;
    let fresh = json!({"RemoteWorkType": "cat", "RemoteParams": {}, "RemoteStarted": false});
    scene.unit("waiting1", &json!([0, "Starting Worker"]), &fresh, "its payload", None)?;
    let old = json!({
        "RemoteWorkType": "cat", "RemoteParams": {}, "RemoteStarted": false,
        "Expiration": "2024-11-21T01:31:17.5+01:00",
    });
    scene.unit("expired1", &json!([0, "Starting Worker"]), &old, "its payload", None)?;
    let cut = json!({"RemoteWorkType": "cat", "RemoteParams": {}, "RemoteStarted": false});
    scene.unit("halfsent", &json!([0, "Waiting for Input Data"]), &cut, "its pay", None)?;
    scene.start()?;
    let status = scene.here.wait_ended("waiting1")?;
    ensure!((status.state, status.detail.as_str()) == (State::Succeeded, "exit status 0"), "{status}");
    ensure!(scene.here.results("waiting1")? == b"its payload");
    let status = scene.here.wait_ended("expired1")?;
    ensure!(status.state == State::Failed && status.detail.starts_with("Work unit expired on "), "{status}");
    let status = scene.here.wait_ended("halfsent")?;
    ensure!(status.state == State::Failed, "{status}");
    ensure!(scene.there.list()?.len() == 1, "{:?}", scene.there.list()?);
    for unit in ["waiting1", "expired1", "halfsent"] {
        scene.here.release(unit)?;
    }
    Scene::lists(&scene.there, &[])
}

/// The Go daemon was killed between the end of the payload and the answer to it.
#[test]
fn a_unit_that_may_have_started_is_found_and_not_started_again() -> Result<()> {
    let mut scene = Scene::new()?;
    let there = scene.job()?;
    let extra = json!({"RemoteUnitID": there, "RemoteStarted": false});
    scene.unit("perhaps1", &json!([0, "Starting Worker"]), &extra, "begun\n", None)?;
    scene.start()?;
    fs::write(&scene.gate, "")?;
    let status = scene.here.wait_ended("perhaps1")?;
    ensure!((status.state, status.detail.as_str()) == (State::Failed, "exit status 3"), "{status}");
    ensure!(scene.here.results("perhaps1")? == b"begun\ndone\n");
    Scene::lists(&scene.there, &[&there])
}

#[test]
fn orders_that_were_pending_are_carried_out() -> Result<()> {
    let mut scene = Scene::new()?;
    let (cancelled, released) = (scene.job()?, scene.job()?);
    let running = json!([1, "Running: PID 4711"]);
    let order = |unit: &str, order: &str| json!({"RemoteUnitID": unit, order: true});
    scene.unit("cancel11", &running, &order(&cancelled, "LocalCancelled"), "", Some("begun\n"))?;
    scene.unit("release1", &running, &order(&released, "LocalReleased"), "", Some("begun\n"))?;
    scene.start()?;
    let status = scene.here.wait_ended("cancel11")?;
    ensure!((status.state, status.detail.as_str()) == (State::Canceled, "Canceled"), "{status}");
    Scene::lists(&scene.here, &["cancel11"])?;
    Scene::lists(&scene.there, &[&cancelled])
}

/// Two jobs on another node run on while the daemon of this node changes; of a third the release is pending.
fn live(from: Program, to: Program) -> Result<()> {
    let kind = match from.kind {
        worknode_tests::Kind::Receptor => Go,
        worknode_tests::Kind::Worknoded => Ours,
    };
    let furnished = |_, harness: worknode_tests::Harness| harness.command_with_params("sh", "sh");
    let Some(nodes) = linked_with(&[kind, Ours], false, furnished)? else { return Ok(()) };
    let mut nodes = nodes.into_iter();
    let (mut here, mut there) = (nodes.next().context("no node")?, nodes.next().context("no node")?);
    let gate = there.root().join("gate");
    let script = |code: u8| {
        let gate = gate.display();
        format!(
            "-c 'cat; n=0; until [ -e {gate} ]; do n=$((n+1)); echo $n; sleep 0.01; done; echo over $n; exit {code}'"
        )
    };
    let mut units = Vec::new();
    for code in [0, 3, 4] {
        let mut session = here.connect()?;
        let line = submit_line("sh", &[("node", there.id()), ("params", &script(code))]);
        let unit = created(&session.ask(&line)?)?;
        session.send(b"begun\n")?;
        session.half_close()?;
        ensure!(answer(&session.line()?)?["result"] == "Job Started");
        here.wait_status(&unit, |status| status.state == State::Running && status.stdout_size > 20)?;
        units.push(unit);
    }
    there.kill9()?;
    until(&here, SETTLED, "the loss of the other node", |status| status["RoutingTable"].get("n2").is_none())?;
    let released = units.pop().context("no unit")?;
    ensure!(
        here.connect()?.ask(&format!("work release {released}"))? == json!({"release pending": released}).to_string()
    );
    here.kill9()?;
    here.replace_program(to)?;
    here.start()?;
    there.start()?;
    knows(&here, std::slice::from_ref(&there))?;
    let left: Vec<&str> = units.iter().map(String::as_str).collect();
    Scene::lists(&here, &left)?;
    fs::write(&gate, "")?;
    for (unit, (state, detail)) in
        units.iter().zip([(State::Succeeded, "exit status 0"), (State::Failed, "exit status 3")])
    {
        let status = here.wait_status_within(unit, SETTLED, |status| status.state.ended())?;
        ensure!((status.state, status.detail.as_str()) == (state, detail), "{status}");
        let text = String::from_utf8(here.results(unit)?)?;
        let last = text.lines().last().and_then(|line| line.strip_prefix("over ")).context("no end")?.parse::<u64>()?;
        let expected: String = (1..=last).map(|n| format!("{n}\n")).collect();
        ensure!(text == format!("begun\n{expected}over {last}\n"), "{} bytes are not whole", text.len());
        here.release(unit)?;
    }
    Scene::lists(&here, &[])?;
    Scene::lists(&there, &[])
}

#[test]
fn remote_jobs_of_the_go_daemon_end_here() -> Result<()> {
    let Some(receptor) = crate::live::receptor() else { return Ok(()) };
    live(receptor, Program::worknoded()?)
}

#[test]
fn remote_jobs_of_worknoded_end_under_the_go_daemon() -> Result<()> {
    let Some(receptor) = crate::live::receptor() else { return Ok(()) };
    live(Program::worknoded()?, receptor)
}
