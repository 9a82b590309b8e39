//! Command units: their files, their processes, their streams (control-protocol 3.7 to 4.5).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use worknode_tests::process;
use worknode_tests::wait::{Deadline, PATIENCE, Watch};
use worknode_tests::{Harness, Node, State};

/// A canceled unit's processes are gone within 10 s; a loaded machine gets a little more.
const CANCEL: Duration = Duration::from_secs(13);

fn start() -> Result<Node> {
    Harness::new()?.command("cat", "cat").command_with_params("sh", "sh").start()
}

fn shell(node: &Node, script: &str) -> Result<String> {
    node.submit_with("sh", &[("params", &format!("-c '{script}'"))], b"")
}

fn mode(path: &Path) -> Result<u32> {
    Ok(fs::metadata(path).with_context(|| path.display().to_string())?.permissions().mode() & 0o7777)
}

#[test]
fn files_and_modes_are_those_of_the_reference() -> Result<()> {
    let node = start()?;
    let unit = node.submit("cat", b"hello\nworld")?;
    node.wait_ended(&unit)?;
    let directory = node.unit_directory(&unit);
    for directory in [&node.data(), &node.data().join("n1"), &directory] {
        assert_eq!(mode(directory)?, 0o700, "{}", directory.display());
    }
    for file in ["status", "status.lock", "stdin", "stdout"] {
        assert_eq!(mode(&directory.join(file))?, 0o600, "{file}");
    }
    // The runner's number is taken out of the file a moment after the end is known.
    let status = Watch::new(&directory)?.until(Deadline::default(), "the final status", || {
        let status = fs::read_to_string(directory.join("status"))?;
        Ok(status.contains("\"ExtraData\":null").then_some(status))
    })?;
    // Blanks before the line feed leave room for a longer status: writing in place then never shows half of one.
    let status = status.strip_suffix('\n').context("no line feed")?.trim_end_matches(' ');
    assert_eq!(
        status,
        "{\"State\":2,\"Detail\":\"exit status 0\",\"StdoutSize\":11,\"WorkType\":\"cat\",\"ExtraData\":null}"
    );
    assert_eq!(fs::read(directory.join("stdin"))?, b"hello\nworld");
    assert_eq!(fs::read(directory.join("stdout"))?, b"hello\nworld");
    Ok(())
}

/// Go receptor truncates and writes: readers without the lock see an empty file now and then (weakness 15).
#[test]
fn the_status_file_is_never_torn() -> Result<()> {
    let node = start()?;
    let (unit, mut session) =
        node.begin("sh", &[("params", "-c 'for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.05; done'")])?;
    let path = node.unit_directory(&unit).join("status");
    let mut reads = 0_u64;
    session.half_close()?;
    let deadline = Deadline::default();
    loop {
        deadline.left("the unit's end")?;
        let text = fs::read_to_string(&path)?;
        let status: Value = serde_json::from_str(&text).with_context(|| format!("read {reads}: {text:?}"))?;
        reads += 1;
        if status.get("State").and_then(Value::as_u64) > Some(1) {
            break;
        }
    }
    ensure!(reads > 100, "only {reads} reads: that shows nothing");
    Ok(())
}

#[test]
fn payload_and_output_of_many_megabytes_are_whole_and_not_kept_in_memory() -> Result<()> {
    const SIZE: usize = 48 << 20;
    let node = start()?;
    let block: Vec<u8> = (0..=255).collect();
    let payload: Vec<u8> = block.iter().copied().cycle().take(SIZE).collect();
    let unit = node.submit("cat", &payload)?;
    assert_eq!(node.wait_ended(&unit)?.stdout_size, SIZE as u64);
    let mut expected = payload.as_slice();
    let mut same = true;
    node.open_results(&unit, 0)?.drain(|bytes| {
        same &= expected.starts_with(bytes);
        expected = expected.get(bytes.len()..).unwrap_or_default();
    })?;
    assert!(same && expected.is_empty());
    let peak = process::peak_memory(node.pid()?)?;
    assert!(peak < (SIZE / 2) as u64, "the daemon's memory was {peak} bytes at its peak");
    Ok(())
}

#[test]
fn any_number_of_readers_get_the_same() -> Result<()> {
    let node = start()?;
    let unit = shell(&node, "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; sleep 0.1; echo end")?;
    let outputs: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..12).map(|_| scope.spawn(|| node.results(&unit))).collect();
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap_or_else(|_| anyhow::bail!("panicked")))
            .collect::<Result<_>>()
    })?;
    let first = outputs.first().context("no reader")?;
    assert!(first.ends_with(b"line 1999\nend\n"));
    assert!(outputs.iter().all(|output| output == first));
    Ok(())
}

/// Go receptor does not notice, and keeps the stream of a silent unit for ever (weakness 8).
#[test]
fn a_reader_that_goes_away_is_noticed_while_the_unit_is_silent() -> Result<()> {
    let node = start()?;
    let unit = shell(&node, "echo begun; exec sleep 1000")?;
    let open = |node: &Node| -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", node.pid()?.as_raw_nonzero()))?.count())
    };
    let mut reader = node.open_results(&unit, 0)?;
    assert_eq!(reader.line()?, "begun");
    let before = open(&node)?;
    drop(reader);
    let watch = Watch::new(node.root())?;
    watch.until(Deadline::default(), "the daemon to close the stream", || Ok((open(&node)? < before).then_some(())))
}

/// The processes of a node that are neither the daemon nor the job `sleep`.
fn keepers(node: &Node) -> Result<Vec<Pid>> {
    let daemon = node.pid()?;
    let all = node.processes()?.into_iter().filter(|&pid| pid != daemon);
    Ok(all
        .filter(|&pid| process::command_line(pid).is_ok_and(|words| words.first().is_some_and(|word| word != "sleep")))
        .collect())
}

#[test]
fn cancel_ends_the_whole_process_tree() -> Result<()> {
    let node = start()?;
    // Processes that ignore polite signals, in the background and in a session of their own.
    let script = "trap \"\" INT TERM; sleep 1000 & (setsid sleep 1000 &) ; echo begun; sleep 1000; sleep 1000";
    let unit = shell(&node, script)?;
    assert_eq!(node.open_results(&unit, 0)?.line()?, "begun");
    let deadline = Deadline::after(CANCEL);
    node.cancel(&unit)?;
    node.wait_alone(deadline.left("the cancel")?)?;
    assert_eq!(node.status(&unit)?.state, State::Canceled);
    Ok(())
}

/// Go receptor's unit stays Running for ever (weakness 13).
#[test]
fn a_lost_keeper_ends_the_unit() -> Result<()> {
    let node = start()?;
    let unit = shell(&node, "echo begun; exec sleep 1000")?;
    node.wait_status(&unit, |status| status.state == State::Running && status.stdout_size > 0)?;
    let keepers = keepers(&node)?;
    ensure!(!keepers.is_empty(), "nobody keeps the job");
    for keeper in keepers {
        kill_process(keeper, Signal::KILL)?;
    }
    let status = node.wait_ended(&unit)?;
    assert_eq!(status.state, State::Failed, "{status}");
    assert!(!status.detail.is_empty());
    node.release(&unit)?;
    node.wait_alone(PATIENCE)?;
    Ok(())
}

#[test]
fn a_keeper_lost_while_the_daemon_was_away_ends_the_unit() -> Result<()> {
    let mut node = start()?;
    let unit = shell(&node, "echo begun; exec sleep 1000")?;
    node.wait_status(&unit, |status| status.state == State::Running && status.stdout_size > 0)?;
    let keepers = keepers(&node)?;
    node.kill9()?;
    for keeper in keepers {
        kill_process(keeper, Signal::KILL)?;
    }
    node.start()?;
    let status = node.wait_ended(&unit)?;
    assert_eq!(status.state, State::Failed, "{status}");
    node.release(&unit)?;
    node.wait_alone(PATIENCE)?;
    Ok(())
}

#[test]
fn a_job_survives_a_stop_and_its_end_is_known_afterwards() -> Result<()> {
    let mut node = start()?;
    let go = node.root().join("go");
    let unit =
        shell(&node, &format!("echo begun; while ! [ -e {} ]; do sleep 0.02; done; echo done; exit 7", go.display()))?;
    assert_eq!(node.open_results(&unit, 0)?.line()?, "begun");
    let status = node.stop()?;
    assert_eq!(status.code(), Some(0), "{status}");
    // The job ends while no daemon is there to see it.
    let watch = Watch::new(&node.unit_directory(&unit))?;
    fs::write(&go, "")?;
    let output = node.unit_directory(&unit).join("stdout");
    watch.until(Deadline::default(), "the job's last line", || {
        Ok(fs::read_to_string(&output)?.ends_with("done\n").then_some(()))
    })?;
    watch
        .until(Deadline::default(), "the job's processes to end", || Ok(node.processes()?.is_empty().then_some(())))?;
    node.start()?;
    let status = node.wait_ended(&unit)?;
    assert_eq!((status.state, status.detail.as_str(), status.stdout_size), (State::Failed, "exit status 7", 11));
    assert_eq!(node.results(&unit)?, b"begun\ndone\n");
    Ok(())
}

/// What a process list shows must not be what a client sent (weakness 20).
#[test]
fn parameters_are_not_in_the_keepers_command_line() -> Result<()> {
    let node = start()?;
    let unit = shell(&node, "echo begun; exec sleep 1000 # swordfish")?;
    node.wait_status(&unit, |status| status.state == State::Running)?;
    for keeper in keepers(&node)? {
        let words = process::command_line(keeper)?;
        assert!(!words.iter().any(|word| word.contains("swordfish")), "{words:?}");
    }
    node.release(&unit)
}

/// A job's standard input is a file that it may seek in, as the reference says.
#[test]
fn standard_input_is_the_payload_from_its_beginning() -> Result<()> {
    let node = start()?;
    let unit = node.submit_with("sh", &[("params", "-c 'read a; exec cat'")], b"first\nsecond\n")?;
    node.wait_ended(&unit)?;
    // A shell reads a seekable input ahead and then goes back to the end of the line.
    assert_eq!(node.results(&unit)?, b"second\n");
    Ok(())
}
