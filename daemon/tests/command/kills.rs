//! Keepers and their parent killed at seeded moments: no unit is lost, none is started twice, no process stays.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use rustix::process::Signal;
use worknode_daemon::work::unit::UnitHandle;

use crate::node::{Node, command_type, disk, end, gone, is_alive, running, signal, stdout};

/// Lets a random time pass that is too short for a timer.
async fn pass(random: &mut StdRng, at_most: Duration) {
    let until = Instant::now() + at_most.mul_f64(random.random());
    while Instant::now() < until {
        tokio::task::yield_now().await;
    }
}

/// The keeper by the unit's record, if it has one yet.
fn keeper(unit: &UnitHandle) -> Option<i32> {
    let record = std::fs::read_to_string(unit.dir().file("keeper.jsonl")).ok()?;
    record.split_once("\"pid\":")?.1.split(',').next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_may_be_killed_at_any_moment() {
    const SEEDS: u64 = 150;
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), [command_type("sh", "sh")]).await;
    let mut lost = 0;
    for seed in 0..SEEDS {
        let mut random = StdRng::seed_from_u64(seed);
        // Its children write to the output, one of them from a session of its own, and outlive it by a second.
        let unit = node.sh("echo $$; sleep 1 & echo $!; setsid sleep 1 & echo $!; sleep 0.005; exit 2").await;
        pass(&mut random, Duration::from_millis(20)).await;
        let Some(keeper) = keeper(&unit) else { continue };
        let Some(pid) = rustix::process::Pid::from_raw(keeper) else { continue };
        // It may have ended by itself.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
        let status = end(&unit).await;
        assert_eq!(disk(&unit).1, status.detail, "seed {seed}");
        match status.detail.as_str() {
            "exit status 2" => {}
            "Runner is gone" => {
                lost += 1;
                let left = stdout(&unit);
                assert!(left.lines().all(|pid| !is_alive(pid.parse().unwrap())), "seed {seed}: {left}");
            }
            other => panic!("seed {seed}: {other}"),
        }
        assert!(status.extra_data.is_null(), "seed {seed}");
    }
    assert!(lost > 0, "no keeper was killed in time");
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_parent_of_keepers_may_be_killed_at_any_moment() {
    const SEEDS: u64 = 60;
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), [command_type("sh", "sh")]).await;
    for seed in 0..SEEDS {
        let mut random = StdRng::seed_from_u64(seed);
        // A unit that is seen to run shows who the parent is.
        let probe = node.sh("exec sleep 60").await;
        running(&probe).await;
        let parent = parent_of(crate::node::keeper(&probe));
        let mut units = Vec::new();
        for _ in 0..3 {
            units.push(node.sh("echo started; sleep 0.003; exit 2").await);
        }
        pass(&mut random, Duration::from_millis(4)).await;
        signal(parent, Signal::KILL);
        for _ in 0..2 {
            units.push(node.sh("echo started; exit 2").await);
        }
        for unit in &units {
            assert_eq!(end(unit).await.detail, "exit status 2", "seed {seed}");
            assert_eq!(stdout(unit), "started\n", "seed {seed}");
        }
        gone(parent).await;
        probe.cancel().await;
        assert_eq!(disk(&probe).0, 4, "seed {seed}");
    }
    node.crash().await;
}

pub fn parent_of(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    rest.split_whitespace().nth(1).unwrap().parse().unwrap()
}
