//! Jobs of a Go daemon, in a data directory that was taken over.

use std::{fs, os::unix::process::CommandExt, process::Command, time::Duration};

use worknode_protocol::unit::State;

use crate::node::{Home, SOON, disk, end, go, gone, is_alive, lines, until};

/// A stand-in for a runner of Go receptor, with its command line and its way of stopping.
fn receptor_runner(dir: &std::path::Path, script: &str) -> std::process::Child {
    let stdout = fs::OpenOptions::new().write(true).open(dir.join("stdout")).unwrap();
    // Who runs the tests may ignore interrupts, and a shell cannot trap what was ignored when it began.
    let runner = Command::new("env")
        .args(["--default-signal=INT", "bash", "-c", r#"exec -a receptor bash -c "$@""#, "bash", script])
        .args(["--node", "id=worker", "--log-level", "info", "--command-runner", "command=sleep", "params=60"])
        .arg(format!("unitdir={}", dir.display()))
        .stdout(stdout)
        .process_group(0)
        .spawn()
        .unwrap();
    // By its command line a runner is known; it shows a moment later.
    let deadline = std::time::Instant::now() + SOON;
    while !fs::read(format!("/proc/{}/cmdline", runner.id())).unwrap().starts_with(b"receptor\0") {
        assert!(std::time::Instant::now() < deadline, "no command line");
        std::thread::yield_now();
    }
    runner
}

const SLEEPING: &str =
    r#"{"State":1,"Detail":"Running: PID 1","StdoutSize":0,"WorkType":"sh","ExtraData":{"Pid":PID,"Params":"60"}}"#;

/// A unit directory as Go receptor leaves it, with its runner alive.
fn receptor_unit(dir: &std::path::Path, id: &str, script: &str) -> std::process::Child {
    let dir = dir.join("node").join(id);
    fs::create_dir_all(&dir).unwrap();
    for name in ["stdin", "stdout", "status.lock", "status"] {
        fs::write(dir.join(name), "").unwrap();
    }
    let runner = receptor_runner(&dir, script);
    fs::write(dir.join("status"), SLEEPING.replace("PID", &runner.id().to_string()) + "\n").unwrap();
    runner
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_of_go_receptor_are_followed_cancelled_and_missed() {
    let home = Home::new();
    let final_status = r#"{"State":3,"Detail":"exit status 4","StdoutSize":0,"WorkType":"sh","ExtraData":null}"#;
    let ending = format!(
        "d=${{!#}}; d=${{d#unitdir=}}; while [ ! -e $d/go ]; do sleep 0.01; done; \
         exec 9>$d/status.lock; flock 9; echo '{final_status}' >$d/status"
    );
    let mut ends = receptor_unit(home.path(), "ENDS0001", &ending);
    // Its job is its child and gets the interrupt from it. No `wait`: a signal that comes just before it blocks is not seen.
    let stopping = "sleep 60 & job=$!; setsid sleep 60 & trap 'kill -2 $job; exit 255' INT; echo $job; \
                    while :; do sleep 0.01; done";
    let mut stops = receptor_unit(home.path(), "STOP0001", stopping);
    let mut dies = receptor_unit(home.path(), "DIES0001", "sleep 60 & echo $!; wait");

    let node = home.node().await;
    let unit = |id: &str| node.units.get(id).unwrap();
    assert_eq!(unit("ENDS0001").status().state, State::Running);
    go(&unit("ENDS0001"));
    // The daemon waits for orphans that became its children, so these may have been waited for already.
    let _ = ends.wait();
    assert_eq!(end(&unit("ENDS0001")).await.detail, "exit status 4");

    let job: i32 = lines(&unit("STOP0001"), 1).await[0].parse().unwrap();
    tokio::time::timeout(Duration::from_secs(8), unit("STOP0001").cancel()).await.unwrap();
    let _ = stops.wait();
    assert!(!is_alive(job));
    assert_eq!(disk(&unit("STOP0001")).0, 4);

    let job: i32 = lines(&unit("DIES0001"), 1).await[0].parse().unwrap();
    dies.kill().unwrap();
    let _ = dies.wait();
    assert_eq!(end(&unit("DIES0001")).await.detail, "Runner is gone");
    gone(job).await;
    until(&unit("DIES0001"), |status| status.extra_data.is_null()).await;
    node.crash().await;
}
