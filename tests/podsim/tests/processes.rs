//! The processes in the place of containers, and the program `podsim`: nothing is left behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // A test's way to fail.
#![allow(missing_docs)]

mod raw;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use raw::client::Client;
use raw::cluster::{Cluster, PODS, Pod, V5, pod_object, script, script_with_stdin};
use raw::kubeconfig::Access;
use raw::websocket::STDIN;
use serde_json::json;
use worknode_podsim::{Options, PodSim, Timing};

/// For what happens at once, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Whether a process with this number runs; one that has ended and waits for its parent does not.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[track_caller]
fn assert_gone(pid: &str) {
    let begun = Instant::now();
    while runs(pid) {
        assert!(begun.elapsed() < LIMIT, "process {pid} is left");
        std::thread::yield_now();
    }
}

/// The first line of the log, once it is there.
fn first_line(pod: &Pod<'_>) -> String {
    pod.until_running();
    pod.first_line()
}

#[test]
fn the_end_of_the_first_process_is_the_end_of_all() {
    let cluster = Cluster::podsim();
    let pod = cluster.pod(script_with_stdin("sleep 1000 & echo $!; read x; exit 2"));
    let child = first_line(&pod);
    assert!(runs(&child));
    pod.attach("stdin=true", V5).send(STDIN, b"go\n");
    pod.until_over();
    assert_gone(&child);
}

#[test]
fn a_dropped_simulator_leaves_nothing() {
    let cluster = Cluster::podsim();
    let plain = cluster.pod(script("echo $$$$; exec sleep 1000"));
    let deaf = cluster.pod(script("trap '' TERM; echo $$$$; while :; do sleep 1; done"));
    let escaped = cluster.pod(script("setsid sleep 1000 & echo $!; exec sleep 1000"));
    let pids = [&plain, &deaf, &escaped].map(first_line);
    assert!(pids.iter().all(|pid| runs(pid)), "{pids:?}");
    let directory = cluster.sim().directory().to_owned();
    for pod in [plain, deaf, escaped] {
        // The simulator is to find them running.
        pod.leave();
    }
    drop(cluster);
    pids.iter().for_each(|pid| assert_gone(pid));
    assert!(!directory.exists());
}

#[test]
fn a_deleted_pod_leaves_no_files() {
    let cluster = Cluster::podsim();
    let pod = cluster.pod(script("echo hi > file; pwd; exec sleep 1000"));
    let directory = PathBuf::from(first_line(&pod));
    assert!(directory.join("file").exists());
    pod.delete("gracePeriodSeconds=0");
    let begun = Instant::now();
    while directory.exists() {
        assert!(begun.elapsed() < LIMIT);
        std::thread::yield_now();
    }
}

#[test]
fn with_a_cluster_s_times_a_short_run_is_never_seen() {
    let timing = Timing {
        create: Duration::from_millis(50),
        observe: LIMIT,
        phase: Duration::from_millis(50),
        ..Timing::default()
    };
    let cluster = Cluster::podsim_with(Options { timing, ..Options::default() });
    let pod = cluster.pod(script("exit 3"));
    let events = pod.events_until(|event| event.phase() == "Failed");
    let steps: Vec<_> = events.iter().map(|event| (event.phase(), event.state("worker"))).collect();
    assert!(steps.contains(&("Pending", "terminated 3 Error".to_owned())), "{steps:?}");
    assert!(!steps.iter().any(|(_, state)| state == "running"), "{steps:?}");
}

struct Program {
    child: Child,
    kubeconfig: PathBuf,
    directory: PathBuf,
}

impl Program {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_podsim"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut value = |name: &str| {
            let line = lines.next().unwrap().unwrap();
            PathBuf::from(line.strip_prefix(name).unwrap_or_else(|| panic!("{line}")))
        };
        let kubeconfig = value("KUBECONFIG=");
        value("RESTRICTED_KUBECONFIG=");
        let directory = value("PODSIM_DIR=");
        Self { child, kubeconfig, directory }
    }

    fn client(&self) -> Client {
        Client::new(Access::load(&self.kubeconfig))
    }

    fn command(&self, verb: &str, more: &[&str]) -> String {
        let output =
            Command::new(env!("CARGO_BIN_EXE_podsim")).arg(verb).arg(&self.directory).args(more).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn running_pod(&self, name: &str) -> String {
        let client = self.client();
        let pod = pod_object(json!({"name": name}), script("echo $$$$; exec sleep 1000"));
        assert_eq!(client.post(PODS, &pod).code(), 201);
        let begun = Instant::now();
        loop {
            let log = client.get(&format!("{PODS}/{name}/log"));
            if log.code() == 200 && log.text().ends_with('\n') {
                return log.text().trim().to_owned();
            }
            assert!(begun.elapsed() < LIMIT, "{}", log.text());
        }
    }
}

#[test]
fn the_program_cleans_up_on_sigterm() {
    let mut program = Program::start(&[]);
    let pid = program.running_pod("a");
    rustix::process::kill_process(rustix::process::Pid::from_child(&program.child), rustix::process::Signal::TERM)
        .unwrap();
    assert!(program.child.wait().unwrap().success());
    assert_gone(&pid);
    assert!(!program.directory.exists());
}

#[test]
fn the_program_ends_with_its_stdin() {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept");
    let mut program = Program::start(&["--until-eof", "--dir", kept.to_str().unwrap()]);
    let pid = program.running_pod("a");
    drop(program.child.stdin.take());
    assert!(program.child.wait().unwrap().success());
    assert_gone(&pid);
    assert!(Path::new(&program.kubeconfig).exists());
}

#[test]
fn faults_from_the_command_line() {
    let mut program = Program::start(&["--until-eof", "--image", "quay.io/some/image:1"]);
    let client = program.client();
    let trap = r#"{"on": {"verb": "list", "resource": "pods"}, "effect": {"refuse": {"code": 500}}}"#;
    assert_eq!(program.command("trap", &[trap]).trim(), r#"{"trap":0}"#);
    assert_eq!(client.get(PODS).code(), 500);
    program.command("clear", &[]);
    assert_eq!(client.get(PODS).code(), 200);
    program.running_pod("a");
    assert!(program.command("pods", &[]).contains("\"name\":\"a\""));
    let requests: serde_json::Value = serde_json::from_str(&program.command("requests", &[])).unwrap();
    assert_eq!(requests["counts"]["list pods"], 2);
    program.command("fault", &[r#"{"stop_api": {}}"#]);
    assert!(std::net::TcpStream::connect(address(&program)).is_err());
    program.command("fault", &["start_api"]);
    assert_eq!(client.get(PODS).code(), 200);
    drop(program.child.stdin.take());
    program.child.wait().unwrap();
}

fn address(program: &Program) -> (String, u16) {
    let access = Access::load(&program.kubeconfig);
    (access.host, access.port)
}

#[test]
fn two_at_once_do_not_meet() {
    let [one, two] = [(); 2].map(|()| PodSim::start(Options::default()).unwrap());
    assert_ne!((one.address(), one.directory()), (two.address(), two.directory()));
    let client = Client::new(Access::load(one.kubeconfig_path()));
    assert_eq!(client.post(PODS, &pod_object(json!({"name": "a"}), script("true"))).code(), 201);
    assert!(two.pods().list().is_empty());
}

#[test]
fn a_port_that_is_taken() {
    let one = PodSim::start(Options::default()).unwrap();
    let port = one.address().port();
    let error = PodSim::start(Options { port, ..Options::default() }).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot serve on 127.0.0.1:{port}: ")), "{error}");
}
