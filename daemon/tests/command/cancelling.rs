//! Ending jobs by order.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use worknode_protocol::{config::model::CommandType, unit::State};

use crate::node::{Node, command_type, disk, end, gone, is_alive, keeper, lines, running, signal, until};

/// The shell, with a grace period short enough for tests of jobs that use it up.
fn sh(grace: Duration) -> CommandType {
    CommandType { grace_period: grace, ..command_type("sh", "sh") }
}

const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_obeys_is_gone_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), [sh(LONG), command_type("sleep", "sleep")]).await;
    let unit = node.submit("sleep", &[("params", "60")], b"").await;
    let (job, keeper) = (running(&unit).await, keeper(&unit));
    let asked = Instant::now();
    unit.cancel().await;
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert!(!is_alive(job));
    gone(keeper).await;
    assert_eq!(disk(&unit), (4, "Canceled".to_owned(), 0));
    assert!(unit.status().extra_data.is_null());
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_interrupt_is_the_jobs_and_its_last_words_count() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), [sh(LONG)]).await;
    let unit = node.sh("trap \"echo bye; exit 0\" INT; echo ready; while :; do sleep 0.01; done").await;
    lines(&unit, 1).await;
    unit.cancel().await;
    assert_eq!(disk(&unit), (4, "Canceled".to_owned(), 10));
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_does_not_obey_is_killed_within_its_grace_period() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), [sh(SHORT)]).await;
    let unit = node.sh("trap \"\" INT TERM HUP; echo ready; while :; do sleep 0.01; done").await;
    lines(&unit, 1).await;
    let job = running(&unit).await;
    let asked = Instant::now();
    unit.cancel().await;
    let took = asked.elapsed();
    assert!(took >= SHORT.mul_f32(0.9) && took < SHORT + Duration::from_secs(2), "{took:?}");
    assert!(!is_alive(job));
    assert_eq!(unit.status().state, State::Canceled);
    node.crash().await;
}

/// Leaves behind: a child, a child in another session, a daemon forked twice, and one that closed all files.
const TREE: &str = "trap \"\" INT; sleep 60 & echo $!; setsid sleep 60 & echo $!; \
    (setsid sh -c \"trap \\\"\\\" INT; sleep 60 & echo \\$!\" &); \
    (setsid sh -c \"echo \\$\\$; exec sleep 60 <&- >&- 2>&-\" &); ";

async fn tree(unit: &worknode_daemon::work::unit::UnitHandle) -> Vec<i32> {
    let pids: Vec<i32> = lines(unit, 4).await.iter().map(|line| line.parse().unwrap()).collect();
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    pids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_tree_goes_with_a_job_that_ignores_the_interrupt() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), [sh(SHORT)]).await;
    let unit = node.sh(&format!("{TREE} while :; do sleep 0.01; done")).await;
    let tree = tree(&unit).await;
    running(&unit).await;
    unit.cancel().await;
    assert!(tree.iter().all(|pid| !is_alive(*pid)), "when cancel answers, all are gone");
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_tree_goes_with_a_job_that_ends_on_the_interrupt() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), [sh(LONG)]).await;
    let unit = node.sh(&format!("{TREE} trap \"exit 0\" INT; while :; do sleep 0.01; done")).await;
    let tree = tree(&unit).await;
    running(&unit).await;
    let asked = Instant::now();
    unit.cancel().await;
    assert!(asked.elapsed() < Duration::from_secs(5));
    assert!(tree.iter().all(|pid| !is_alive(*pid)));
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_killtree_the_rest_of_the_tree_is_let_live() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), [CommandType { kill_tree: false, ..sh(LONG) }]).await;
    let unit = node.sh("sleep 60 & echo $!; trap \"exit 0\" INT; while :; do sleep 0.01; done").await;
    let left: i32 = lines(&unit, 1).await[0].parse().unwrap();
    running(&unit).await;
    unit.cancel().await;
    assert_eq!(unit.status().state, State::Canceled);
    assert!(is_alive(left));
    signal(left, Signal::KILL);
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tree_that_keeps_forking_is_caught() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), [sh(SHORT)]).await;
    // Each generation starts the next in a session of its own and ends.
    let script = dir.path().join("hydra");
    std::fs::write(&script, "trap '' INT\necho $$ >>$1\nsetsid sh $0 $1 &\nsetsid sh $0.slow $1 &\n").unwrap();
    std::fs::write(dir.path().join("hydra.slow"), "sleep 0.2\necho $$ >>$1\n").unwrap();
    let log = dir.path().join("log");
    let line = format!("sh {} {}; while :; do sleep 0.01; done", script.display(), log.display());
    let unit = node.sh(&line).await;
    let deadline = Instant::now() + crate::node::SOON;
    while std::fs::read_to_string(&log).unwrap_or_default().lines().count() < 10 {
        assert!(Instant::now() < deadline, "it does not keep forking");
        tokio::task::yield_now().await;
    }
    unit.cancel().await;
    assert_eq!(unit.status().state, State::Canceled);
    // No generation is left, not even one that has not written its number yet.
    let name = script.display().to_string();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        assert!(!line.contains(&name), "{line:?}");
    }
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_job_and_a_stopped_keeper_are_ended_too() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), [sh(LONG), command_type("sleep", "sleep")]).await;
    for stop_keeper in [false, true] {
        let unit = node.submit("sleep", &[("params", "60")], b"").await;
        let job = running(&unit).await;
        signal(if stop_keeper { keeper(&unit) } else { job }, Signal::STOP);
        let asked = Instant::now();
        unit.cancel().await;
        assert!(asked.elapsed() < Duration::from_secs(5), "{stop_keeper}");
        assert!(!is_alive(job));
        assert_eq!(disk(&unit).0, 4);
    }
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_right_after_the_start_ends_the_job_or_prevents_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), [command_type("sh", "sh")]).await;
    for _ in 0..50 {
        let unit = node.sh("echo $$; exec sleep 60").await;
        unit.cancel().await;
        assert_eq!(end(&unit).await.state, State::Canceled);
        assert_eq!(disk(&unit).0, 4);
        if let Some(job) = crate::node::stdout(&unit).lines().next() {
            assert!(!is_alive(job.parse().unwrap()));
        }
    }
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_has_ended_stays_as_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), [command_type("sh", "sh")]).await;
    let unit = node.sh("exit 3").await;
    end(&unit).await;
    unit.cancel().await;
    assert_eq!(disk(&unit), (3, "exit status 3".to_owned(), 0));
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_from_outside_is_a_cancel_too() {
    // A Go receptor that took the data directory over cancels in this way (control-protocol 4.5).
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), [command_type("sleep", "sleep")]).await;
    let unit = node.submit("sleep", &[("params", "60")], b"").await;
    let job = running(&unit).await;
    signal(keeper(&unit), Signal::INT);
    let status = until(&unit, |status| status.state.is_final()).await;
    assert_eq!((status.state, status.detail.as_str()), (State::Canceled, "Canceled"));
    assert!(!is_alive(job));
    node.crash().await;
}
