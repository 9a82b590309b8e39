//! The control service's listeners: control-protocol 2.1 to 2.3.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use worknode_tests::work::{created, submit_line};
use worknode_tests::{Harness, Session, State};

/// Time in which a daemon finds out that it cannot start.
const LIMIT: Duration = Duration::from_secs(20);

fn mode(path: &Path) -> Result<u32> {
    Ok(fs::metadata(path).with_context(|| path.display().to_string())?.permissions().mode() & 0o7777)
}

#[test]
fn socket_and_lock_file_have_their_modes() -> Result<()> {
    let node = Harness::new()?.control("permissions", json!("0660")).start()?;
    assert_eq!(mode(&node.socket())?, 0o660);
    assert_eq!(mode(&node.root().join("socket.lock"))?, 0o600);
    Ok(())
}

#[test]
fn a_second_daemon_does_not_take_the_socket() -> Result<()> {
    let first = Harness::new()?.start()?;
    let text = format!(
        "- node: {{id: n2, datadir: '@DATA@'}}\n- local-only:\n- control-service: {{filename: '{}'}}\n",
        first.socket().display()
    );
    let mut second = Harness::new()?.config_text(&text).prepare()?;
    second.spawn()?;
    assert_eq!(second.wait_for_end(LIMIT)?.code(), Some(1));
    let expected = "Error: error opening Unix socket: could not acquire lock on socket file: fslock is already locked";
    assert!(second.log().lines().any(|line| line == expected), "{}", second.log());
    first.list()?;
    Ok(())
}

#[test]
fn a_socket_left_by_a_killed_daemon_is_no_obstacle() -> Result<()> {
    let mut node = Harness::new()?.start()?;
    node.kill9()?;
    ensure!(node.socket().exists(), "the socket is gone, and there is nothing to test");
    node.start()?;
    node.list()?;
    Ok(())
}

/// Go receptor deletes what is there, with all that is below it (weakness 29).
#[test]
fn a_directory_in_the_sockets_place_is_left_alone() -> Result<()> {
    let mut node = Harness::new()?.prepare()?;
    fs::create_dir(node.socket())?;
    fs::write(node.socket().join("precious"), "data")?;
    node.spawn()?;
    assert_eq!(node.wait_for_end(LIMIT)?.code(), Some(1));
    assert_eq!(fs::read_to_string(node.socket().join("precious"))?, "data");
    assert!(node.log().contains("Error: error opening Unix socket: "), "{}", node.log());
    Ok(())
}

#[test]
fn sigterm_ends_the_daemon_and_takes_the_socket_away() -> Result<()> {
    let mut node = Harness::new()?.start()?;
    let mut session = node.connect()?;
    let status = node.stop()?;
    assert_eq!(status.code(), Some(0), "{status}\n{}", node.log_tail());
    assert!(!node.socket().exists());
    assert_eq!(session.line_or_end()?, None, "the session is closed without another word");
    Ok(())
}

#[test]
fn two_hundred_connections_at_once() -> Result<()> {
    let node = Harness::new()?.start()?;
    let mut sessions = (0..200).map(|_| node.connect()).collect::<Result<Vec<_>>>()?;
    for session in &mut sessions {
        session.send(b"work list\n")?;
    }
    for session in &mut sessions {
        assert_eq!(session.line()?, "{}");
    }
    Ok(())
}

/// Control-protocol 2.3: 300,000 bytes were accepted.
#[test]
fn a_long_command_line_is_taken_whole() -> Result<()> {
    let node = Harness::new()?.start()?;
    let mut session = node.connect()?;
    let name = "x".repeat(300_000);
    assert_eq!(session.ask(&format!("work status {name}"))?, format!("ERROR: unknown work unit {name}"));
    assert_eq!(session.ask("work list")?, "{}");
    Ok(())
}

/// Weakness 7: Go receptor's memory grows with what a stranger sends.
#[test]
fn an_endless_command_line_is_refused_and_harms_nobody() -> Result<()> {
    let node = Harness::new()?.start()?;
    let mut other = node.connect()?;
    let mut session = node.connect()?;
    let block = vec![b'x'; 1 << 20];
    // The daemon may close before it has taken all: then a send fails, which is as good an answer as a line.
    let sent = (0..40).try_for_each(|_| session.send(&block));
    if sent.is_ok() {
        session.half_close()?;
    }
    if let Ok(Some(line)) = session.line_or_end() {
        assert!(line.starts_with("ERROR: "), "{line}");
    }
    assert_eq!(other.ask("work list")?, "{}");
    Ok(())
}

#[test]
fn a_payload_cut_by_a_reset_fails_the_unit() -> Result<()> {
    let node = Harness::new()?.command_with_params("sh", "sh").tcp().start()?;
    let mut session = node.connect_tcp()?;
    let started = node.root().join("started");
    let script = format!("-c 'touch {}'", started.display());
    let unit = created(&session.ask(&submit_line("sh", &[("params", &script)]))?)?;
    session.send(b"half of it")?;
    session.reset()?;
    let status = node.wait_ended(&unit)?;
    assert_eq!(status.state, State::Failed, "{status}");
    assert!(status.detail.starts_with("Error reading input data: "), "{status}");
    assert!(status.detail.ends_with("connection reset by peer"), "{status}");
    assert!(!started.exists());
    Ok(())
}

/// Go receptor takes it for the end of the payload, and starts the unit with half of it (control-protocol 3.7).
#[test]
fn a_client_that_vanishes_before_its_half_close_starts_nothing() -> Result<()> {
    let node = Harness::new()?.command_with_params("sh", "sh").start()?;
    let started = node.root().join("started");
    let script = format!("-c 'touch {}'", started.display());
    let (unit, mut session) = node.begin("sh", &[("params", &script)])?;
    session.send(b"half of it")?;
    drop(session);
    let status = node.wait_ended(&unit)?;
    assert_eq!(status.state, State::Failed, "{status}");
    assert!(!started.exists());
    Ok(())
}

#[test]
fn tcp_speaks_the_same_protocol() -> Result<()> {
    let node = Harness::new()?.command("cat", "cat").tcp().start()?;
    let mut session = node.connect_tcp()?;
    let unit = created(&session.ask("work submit localhost cat")?)?;
    session.send(b"over tcp")?;
    session.half_close()?;
    assert!(session.line()?.contains("Job Started"));
    node.wait_ended(&unit)?;
    let mut session = node.connect_tcp()?;
    assert_eq!(session.ask(&format!("work results {unit}"))?, format!("Streaming results for work unit {unit}"));
    assert_eq!(session.rest()?, b"over tcp");
    Ok(())
}

/// What a client says before it has read the banner is not lost.
#[test]
fn a_command_sent_before_the_banner_is_read_is_answered() -> Result<()> {
    let node = Harness::new()?.start()?;
    let mut session = Session::unix(&node.socket())?;
    session.send(b"work list\n")?;
    session.half_close()?;
    assert_eq!(session.line()?, "Receptor Control, node n1");
    assert_eq!(session.line()?, "{}");
    assert_eq!(session.line_or_end()?, None);
    Ok(())
}
