//! What happens to jobs when the processes around them die.

use std::{fs, os::unix::process::CommandExt, process::Command};

use rustix::process::Signal;
use worknode_protocol::unit::{CommandExtra, State, Status};

use crate::kills::parent_of;
use crate::node::{Home, SOON, disk, end, go, gone, is_alive, keeper, lines, running, signal, stdout};

/// Runs until the file `go` is in the unit's directory.
const UNTIL_GO: &str = "d=$(dirname $(readlink /proc/self/fd/2)); echo begun; while [ ! -e $d/go ]; do sleep 0.01; done; echo over; exit 7";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_outlives_its_daemon_and_its_end_is_known_to_the_next() {
    let home = Home::new();
    let node = home.node().await;
    let unit = node.sh(UNTIL_GO).await;
    let (job, keeper) = (running(&unit).await, keeper(&unit));
    node.crash().await;
    assert!(is_alive(job));
    go(&unit);
    gone(keeper).await;
    assert_eq!(disk(&unit), (3, "exit status 7".to_owned(), 11));

    let node = home.node().await;
    let status = node.unit(&unit).status();
    assert_eq!((status.state, status.detail.as_str(), status.stdout_size), (State::Failed, "exit status 7", 11));
    assert_eq!(stdout(&unit), "begun\nover\n");
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_followed_and_cancelled_by_the_next_daemon() {
    let home = Home::new();
    let node = home.node().await;
    let (followed, cancelled) = (node.sh(UNTIL_GO).await, node.sh("sleep 60 & echo $!; wait").await);
    let job = running(&followed).await;
    let left: i32 = lines(&cancelled, 1).await[0].parse().unwrap();
    running(&cancelled).await;
    node.crash().await;

    let node = home.node().await;
    let (followed, cancelled) = (node.unit(&followed), node.unit(&cancelled));
    assert_eq!(running(&followed).await, job);
    go(&followed);
    assert_eq!(end(&followed).await.detail, "exit status 7");
    cancelled.cancel().await;
    assert!(!is_alive(left));
    assert_eq!(disk(&cancelled).0, 4);
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_parent_of_keepers_costs_nothing() {
    let home = Home::new();
    let node = home.node().await;
    let unit = node.sh(UNTIL_GO).await;
    let job = running(&unit).await;
    let parent = parent_of(keeper(&unit));
    signal(parent, Signal::KILL);
    gone(parent).await;
    // Units started while the parent is dead, or dies, find another one.
    let next = node.sh("exit 9").await;
    assert_eq!(end(&next).await.detail, "exit status 9");
    assert!(is_alive(job));
    go(&unit);
    assert_eq!(end(&unit).await.detail, "exit status 7");
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parent_of_keepers_killed_in_a_burst_loses_no_unit_and_doubles_none() {
    let home = Home::new();
    let node = home.node().await;
    let first = node.sh(UNTIL_GO).await;
    running(&first).await;
    let mut units = Vec::new();
    let mut parent = parent_of(keeper(&first));
    for number in 0..120 {
        units.push(node.sh("echo started; sleep 0.02; exit 2").await);
        if number % 30 == 10 {
            signal(parent, Signal::KILL);
            gone(parent).await;
        }
        if number % 30 == 20 {
            let probe = node.sh(UNTIL_GO).await;
            running(&probe).await;
            parent = parent_of(keeper(&probe));
            go(&probe);
        }
    }
    for unit in &units {
        assert_eq!(end(unit).await.detail, "exit status 2");
        assert_eq!(stdout(unit), "started\n");
    }
    go(&first);
    end(&first).await;
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_keeper_fails_its_own_unit_and_takes_the_job_along() {
    let home = Home::new();
    let node = home.node().await;
    let other = node.sh(UNTIL_GO).await;
    let unit = node.sh("trap \"\" INT; sleep 60 & echo $!; setsid sleep 60 & echo $!; wait").await;
    let job = running(&unit).await;
    let left: Vec<i32> = lines(&unit, 2).await.iter().map(|line| line.parse().unwrap()).collect();
    signal(keeper(&unit), Signal::KILL);
    let status = end(&unit).await;
    assert_eq!((status.state, status.detail.as_str()), (State::Failed, "Runner is gone"));
    assert!(!is_alive(job) && left.iter().all(|pid| !is_alive(*pid)));
    assert!(disk(&unit).0 == 3 && status.extra_data.is_null());
    go(&other);
    assert_eq!(end(&other).await.detail, "exit status 7");
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_killed_without_a_daemon_is_missed_by_the_next() {
    let home = Home::new();
    let node = home.node().await;
    let unit = node.sh("sleep 60 & echo $!; wait").await;
    let job = running(&unit).await;
    let left: i32 = lines(&unit, 1).await[0].parse().unwrap();
    let keeper = keeper(&unit);
    node.crash().await;
    signal(keeper, Signal::KILL);
    gone(keeper).await;
    assert!(is_alive(job));

    let node = home.node().await;
    let status = end(&node.unit(&unit)).await;
    assert_eq!((status.state, status.detail.as_str()), (State::Failed, "Runner is gone"));
    assert!(!is_alive(job) && !is_alive(left));
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_of_the_machine_the_runner_is_gone_and_strangers_are_left_alone() {
    let home = Home::new();
    let node = home.node().await;
    let unit = node.sh("exec sleep 60").await;
    let (job, keeper) = (running(&unit).await, keeper(&unit));
    node.crash().await;
    // To the next daemon these are numbers of another boot.
    let record = unit.dir().file("keeper.jsonl");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let text = fs::read_to_string(&record).unwrap().replace(boot.trim(), "00000000-0000-0000-0000-000000000000");
    fs::write(&record, text).unwrap();

    let node = home.node().await;
    let next = node.unit(&unit);
    assert_eq!(end(&next).await.detail, "Runner is gone");
    assert!(is_alive(job) && is_alive(keeper));
    next.release(false).await.unwrap();
    assert!(is_alive(job) && is_alive(keeper));
    signal(keeper, Signal::TERM);
    gone(job).await;
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_that_has_the_keepers_number_is_not_touched() {
    let home = Home::new();
    let node = home.node().await;
    let unit = node.sh(UNTIL_GO).await;
    let (job, keeper) = (running(&unit).await, keeper(&unit));
    node.crash().await;
    signal(keeper, Signal::KILL);
    signal(job, Signal::KILL);
    gone(keeper).await;
    gone(job).await;
    let mut stranger = Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
    let pid = stranger.id();
    let record = unit.dir().file("keeper.jsonl");
    let text = fs::read_to_string(&record).unwrap();
    let text = text.replace(&format!("\"pid\":{keeper},"), &format!("\"pid\":{pid},"));
    let text = text.replace(&format!("\"pid\":{job},"), &format!("\"pid\":{pid},"));
    fs::write(&record, text).unwrap();

    let node = home.node().await;
    let next = node.unit(&unit);
    assert_eq!(end(&next).await.detail, "Runner is gone");
    next.cancel().await;
    next.release(true).await.unwrap();
    assert!(stranger.try_wait().unwrap().is_none());
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_whose_start_was_not_ordered_is_pending_at_restart() {
    let home = Home::new();
    let node = home.node().await;
    let unit = node.make("sh", &[("params", "-c true")], b"").await;
    node.crash().await;
    let node = home.node().await;
    assert_eq!(end(&node.unit(&unit)).await.detail, "Pending at restart");
    node.crash().await;
}

/// Puts a unit back to where its daemon died just after it had ordered the start.
fn reset(unit: &worknode_daemon::work::unit::UnitHandle) {
    let status = Status {
        state: State::Pending,
        detail: "Starting Worker".to_owned(),
        extra_data: CommandExtra::default().into(),
        ..unit.dir().read_status().unwrap()
    };
    unit.dir().write_status(&status).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_whose_keeper_came_before_the_crash_goes_on() {
    let home = Home::new();
    let node = home.node().await;
    let unit = node.sh(UNTIL_GO).await;
    let job = running(&unit).await;
    node.crash().await;
    reset(&unit);
    let node = home.node().await;
    let next = node.unit(&unit);
    assert_eq!(running(&next).await, job);
    go(&next);
    assert_eq!(end(&next).await.detail, "exit status 7");
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordered_start_may_come_a_little_late_but_not_never() {
    let home = Home::new();
    let node = home.node().await;
    let (late, never) = (node.sh(UNTIL_GO).await, node.sh("true").await);
    running(&late).await;
    end(&never).await;
    node.crash().await;
    let record = late.dir().file("keeper.jsonl");
    let text = fs::read(&record).unwrap();
    fs::remove_file(&record).unwrap();
    fs::remove_file(never.dir().file("keeper.jsonl")).unwrap();
    reset(&late);
    reset(&never);

    let node = home.node().await;
    assert_eq!(node.unit(&late).status().state, State::Pending);
    // The claim, made as a keeper makes it: with the lock held.
    late.dir()
        .update_status(|_| {
            fs::write(&record, &text).unwrap();
            None::<()>
        })
        .unwrap();
    running(&node.unit(&late)).await;
    go(&late);
    assert_eq!(end(&node.unit(&late)).await.detail, "exit status 7");
    assert_eq!(end(&node.unit(&never)).await.detail, "Pending at restart");
    assert_eq!(disk(&never).1, "Pending at restart");
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_only_the_keeper_wrote_down_counts() {
    let home = Home::new();
    let node = home.node().await;
    let unit = node.sh("exit 8").await;
    end(&unit).await;
    node.crash().await;
    // A daemon that died just after it wrote "Running" over the keeper's last word.
    let status = unit.dir().read_status().unwrap();
    let running = Status { state: State::Running, detail: "Running: PID 1".to_owned(), ..status };
    unit.dir().write_status(&running).unwrap();
    let node = home.node().await;
    assert_eq!(end(&node.unit(&unit)).await.detail, "exit status 8");
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_daemon_the_keeper_says_that_the_job_runs() {
    let home = Home::new();
    let node = home.node().await;
    let unit = node.sh(UNTIL_GO).await;
    node.crash().await;
    let deadline = tokio::time::Instant::now() + SOON;
    while disk(&unit).0 != 1 {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", disk(&unit));
        tokio::task::yield_now().await;
    }
    let status = unit.dir().read_status().unwrap();
    assert!(status.detail.starts_with("Running: PID "));
    assert!(status.extra_data["Pid"].as_i64().unwrap() > 0);
    go(&unit);
    let node = home.node().await;
    assert_eq!(end(&node.unit(&unit)).await.detail, "exit status 7");
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_begins_between_two_daemons_is_seen_to_run() {
    let home = Home::new();
    for _ in 0..10 {
        let node = home.node().await;
        let unit = node.sh(UNTIL_GO).await;
        node.crash().await;
        let node = home.node().await;
        let next = node.unit(&unit);
        running(&next).await;
        go(&next);
        assert_eq!(end(&next).await.detail, "exit status 7");
        assert!(next.status().extra_data.is_null());
        node.crash().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_job_leaves_running_is_waited_for_by_the_parent_of_keepers() {
    let home = Home::new();
    let node = home.node().await;
    let probe = node.sh(UNTIL_GO).await;
    running(&probe).await;
    let parent = parent_of(keeper(&probe));
    let unit = node.sh("setsid sleep 60 & echo $!").await;
    end(&unit).await;
    let left: i32 = lines(&unit, 1).await[0].parse().unwrap();
    let deadline = tokio::time::Instant::now() + SOON;
    while parent_of(left) != parent {
        assert!(tokio::time::Instant::now() < deadline, "its parent is {}", parent_of(left));
        tokio::task::yield_now().await;
    }
    signal(left, Signal::KILL);
    while fs::exists(format!("/proc/{left}")).unwrap() {
        assert!(tokio::time::Instant::now() < deadline, "a zombie is left");
        tokio::task::yield_now().await;
    }
    go(&probe);
    end(&probe).await;
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_the_daemon_is_held_open_by_keepers() {
    let home = Home::new();
    let node = home.node().await;
    let unit = node.sh(UNTIL_GO).await;
    running(&unit).await;
    let keeper = keeper(&unit);
    let open: Vec<String> = fs::read_dir(format!("/proc/{keeper}/fd"))
        .unwrap()
        .map(|entry| fs::read_link(entry.unwrap().path()).unwrap().display().to_string())
        .collect();
    let known = |path: &String| path == "/dev/null" || path.starts_with("socket:") || path.contains(unit.id().as_str());
    assert!(open.iter().all(known), "{open:?}");
    assert!(open.iter().filter(|path| path.starts_with("socket:")).count() <= 1, "{open:?}");
    let name = fs::read_to_string(format!("/proc/{keeper}/comm")).unwrap();
    assert_eq!(name.trim(), format!("keeper:{}", unit.id()));
    let line = fs::read_to_string(format!("/proc/{keeper}/cmdline")).unwrap();
    assert!(!line.contains("begun"), "parameters are not in the process list: {line:?}");
    go(&unit);
    end(&unit).await;
    node.crash().await;
}
