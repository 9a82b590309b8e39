//! Command units (control-protocol 4.1 to 4.5), with stand-ins for the Go daemon's runners.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use worknode_tests::wait::{Deadline, PATIENCE, Watch};
use worknode_tests::{Harness, Node, State};

/// A node of the daemon under test that is about to take over; its units' directory is there.
fn prepared() -> Result<(Node, std::path::PathBuf)> {
    let harness = Harness::new()?.command("cat", "cat").command_with_params("sh", "sh");
    let units = harness.units();
    fs::create_dir_all(&units)?;
    Ok((harness.prepare()?, units))
}

/// Copies the unit directories that a Go daemon has left.
fn copy_units(to: &Path) -> Result<()> {
    for unit in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/data/units/receptor"))? {
        let unit = unit?;
        let target = to.join(unit.file_name());
        fs::create_dir(&target)?;
        for file in fs::read_dir(unit.path())? {
            let file = file?;
            fs::copy(file.path(), target.join(file.file_name()))?;
        }
    }
    Ok(())
}

#[test]
fn stored_units_are_taken_over() -> Result<()> {
    let (mut node, units) = prepared()?;
    copy_units(&units)?;
    fs::create_dir(units.join("nostatus"))?;
    fs::write(units.join("plain"), "not a unit")?;
    node.start()?;
    let list = node.list()?;
    let unit = |state: u8, name: &str, detail: &str, size: u64, work_type: &str, extra: Value| {
        json!({
            "State": state, "StateName": name, "Detail": detail, "StdoutSize": size, "WorkType": work_type, "ExtraData": extra,
        })
    };
    let expected = [
        ("succeed1", unit(2, "Succeeded", "exit status 0", 11, "cat", Value::Null)),
        ("failed11", unit(3, "Failed", "exit status 4", 7, "sh", Value::Null)),
        ("canceld1", unit(4, "Canceled", "Canceled", 8, "sh", Value::Null)),
        ("kept1111", unit(2, "Succeeded", "exit status 0", 5, "cat", json!({"Pid": 24031, "Params": "1000"}))),
        ("unknown1", unit(2, "Succeeded", "exit status 0", 3, "gone", json!("Unknown WorkType"))),
        ("garbled1", unit(0, "Pending", "Unit Created", 0, "", json!("Unknown WorkType"))),
    ];
    for (id, expected) in &expected {
        assert_eq!(list.get(*id), Some(expected), "{id}");
    }
    for id in ["waiting1", "notyet11", "running1"] {
        assert_eq!(node.wait_ended(id)?.state, State::Failed, "{id}");
    }
    assert_eq!(list["waiting1"]["Detail"], "Pending at restart");
    assert!(list.contains_key("emptied1"));
    Ok(())
}

#[test]
fn output_of_stored_units_is_served_and_they_can_be_released() -> Result<()> {
    let (mut node, units) = prepared()?;
    copy_units(&units)?;
    node.start()?;
    assert_eq!(node.results("succeed1")?, b"hello\nworld");
    assert_eq!(node.results("failed11")?, b"before\n");
    assert_eq!(node.results("canceld1")?, b"started\n");
    assert_eq!(node.results("running1")?, b"started\n");
    assert_eq!(node.results("unknown1")?, b"abc");
    for id in node.list()?.keys() {
        node.release(id).with_context(|| id.clone())?;
    }
    assert!(node.list()?.is_empty());
    let left: Vec<_> = fs::read_dir(units)?.collect();
    assert!(left.is_empty(), "{left:?}");
    Ok(())
}

/// A second look must find what the first has written.
#[test]
fn taking_over_twice_changes_nothing() -> Result<()> {
    let (mut node, units) = prepared()?;
    copy_units(&units)?;
    node.start()?;
    for id in ["waiting1", "notyet11", "running1"] {
        node.wait_ended(id)?;
    }
    let first = node.list()?;
    node.crash_and_restart()?;
    assert_eq!(node.list()?, first);
    Ok(())
}

/// A unit directory as a Go daemon leaves it, and a runner that works in it.
struct GoUnit {
    id: &'static str,
    runner: Child,
}

impl GoUnit {
    /// Starts `script` under a stand-in for the Go daemon's runner, and waits until the status says that it runs.
    fn start(node: &Node, id: &'static str, script: &str) -> Result<Self> {
        let directory = node.unit_directory(id);
        fs::create_dir(&directory)?;
        fs::write(directory.join("stdin"), "payload\n")?;
        let status = |pid: u32| {
            let extra = json!({"Pid": pid, "Params": ""});
            format!(
                "{{\"State\":0,\"Detail\":\"Not started yet\",\"StdoutSize\":0,\"WorkType\":\"sh\",\"ExtraData\":{extra}}}\n"
            )
        };
        fs::write(directory.join("status"), status(0))?;
        let runner = Command::new(env!("CARGO_BIN_EXE_go-runner"))
            .arg0("receptor")
            .args(["--node", "id=worker", "--log-level", "info", "--command-runner", "command=sh"])
            .arg(format!("params=-c '{script}'"))
            .arg(format!("unitdir={}", directory.display()))
            .stdin(Stdio::null())
            .env("WORKNODE_TEST_NODE", node.root())
            .spawn()?;
        fs::write(directory.join("status"), status(runner.id()))?;
        let watch = Watch::new(&directory)?;
        watch.until(Deadline::default(), "the runner's status", || {
            Ok(fs::read_to_string(directory.join("status"))?.contains("Running: PID").then_some(()))
        })?;
        Ok(Self { id, runner })
    }
}

#[test]
fn a_living_go_runner_is_followed_to_its_end() -> Result<()> {
    let (mut node, units) = prepared()?;
    let script =
        format!("cat; echo begun; while ! [ -e {}/../go ]; do sleep 0.05; done; echo done; exit 5", units.display());
    let mut unit = GoUnit::start(&node, "gorunner", &script)?;
    node.start()?;
    let status = node.status(unit.id)?;
    assert_eq!(status.state, State::Running, "{status}");
    let mut results = node.open_results(unit.id, 0)?;
    assert_eq!(results.line()?, "payload");
    assert_eq!(results.line()?, "begun");
    fs::write(units.join("../go"), "")?;
    assert_eq!(results.line()?, "done");
    assert_eq!(results.line_or_end()?, None);
    let status = node.status(unit.id)?;
    assert_eq!((status.state, status.detail.as_str(), status.stdout_size), (State::Failed, "exit status 5", 19));
    unit.runner.wait()?;
    node.release(unit.id)
}

#[test]
fn a_living_go_runner_is_canceled_with_its_job() -> Result<()> {
    let (mut node, _units) = prepared()?;
    let mut unit = GoUnit::start(&node, "gorunner", "exec sleep 1000")?;
    node.start()?;
    node.cancel(unit.id)?;
    let status = node.status(unit.id)?;
    assert_eq!(status.state, State::Canceled, "{status}");
    unit.runner.wait()?;
    node.wait_alone(PATIENCE)?;
    node.crash_and_restart()?;
    assert_eq!(node.status(unit.id)?.state, State::Canceled, "memory and disk agree");
    node.release(unit.id)
}

/// The runner's number in the status may belong to somebody else by now (weakness 14).
#[test]
fn a_stranger_with_the_runners_number_is_not_touched() -> Result<()> {
    let (mut node, units) = prepared()?;
    let mut stranger = Command::new("sleep").arg("1000").spawn()?;
    let directory = units.join("stranger");
    fs::create_dir(&directory)?;
    let extra = json!({"Pid": stranger.id(), "Params": ""});
    let status = format!(
        "{{\"State\":1,\"Detail\":\"Running: PID 1\",\"StdoutSize\":0,\"WorkType\":\"sh\",\"ExtraData\":{extra}}}\n"
    );
    fs::write(directory.join("status"), status)?;
    node.start()?;
    let found = node.wait_ended("stranger")?;
    node.cancel("stranger")?;
    node.release("stranger")?;
    let alive = stranger.try_wait()?.is_none();
    stranger.kill()?;
    stranger.wait()?;
    assert!(alive, "a stranger was killed");
    assert_eq!(found.state, State::Failed, "{found}");
    Ok(())
}
