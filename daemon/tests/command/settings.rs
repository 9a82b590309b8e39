//! What a work type and a submission can set (work-types 3).

use std::{fs, time::Duration};

use worknode_daemon::runner::{Params, PlanError};
use worknode_protocol::{
    config::model::{CommandType, command::CommandStderr},
    unit::State,
};

use crate::node::{Node, command_type, disk, end, gone, is_alive, lines, running, stdout, until};

/// A type that allows everything.
fn open(name: &str, command: &str) -> CommandType {
    CommandType {
        allow_runtime_env: true,
        allow_runtime_working_dir: true,
        allow_runtime_user: true,
        ..command_type(name, command)
    }
}

async fn refusal(node: &Node, kind: &str, params: &[(&str, &str)]) -> String {
    let params: Params = params.iter().copied().collect();
    let refused: Result<_, PlanError> = node.units.kind(kind).unwrap().plan(&params);
    refused.map(|_| ()).unwrap_err().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_allowed_or_malformed_is_refused_before_anything_exists() {
    let dir = tempfile::tempdir().unwrap();
    let closed = CommandType { allow_runtime_params: false, ..command_type("closed", "true") };
    let limited = CommandType { timeout: Some(Duration::from_secs(60)), ..open("open", "true") };
    let node = Node::start(dir.path(), [closed, limited]).await;
    for (kind, name, value, text) in [
        ("closed", "params", "x", "extra params provided but not allowed"),
        ("closed", "cmd_env", "A=b", "cmd_env provided but not allowed"),
        ("closed", "secret_cmd_env", "A=b", "secret_cmd_env provided but not allowed"),
        ("closed", "cmd_working_dir", "/", "cmd_working_dir provided but not allowed"),
        ("closed", "cmd_user", "root", "cmd_user provided but not allowed"),
        ("closed", "cmd_stderr", "merged", "cmd_stderr provided but not allowed"),
        ("open", "cmd_env", "A", "error setting value for cmd_env: expected KEY=VALUE, got \"A\""),
        ("open", "cmd_env", "A=b,=c", "error setting value for cmd_env: expected KEY=VALUE, got \"\""),
        ("open", "cmd_env", "{", "error setting value for cmd_env: expected KEY=VALUE, got \"{\""),
        ("open", "secret_cmd_env", "hush", "error setting value for secret_cmd_env: expected KEY=VALUE"),
        ("open", "cmd_timeout", "5", "error setting value for cmd_timeout: time: missing unit in duration \"5\""),
        ("open", "cmd_timeout", "-1s", "error setting value for cmd_timeout: time: invalid duration \"-1s\""),
        ("open", "cmd_timeout", "61s", "cmd_timeout exceeds the configured timeout"),
        ("open", "cmd_stderr", "x", "error setting value for cmd_stderr: \"x\" is not one of merged, separate"),
    ] {
        assert_eq!(refusal(&node, kind, &[(name, value)]).await, text);
    }
    // The order of the reference: permission before value, params first.
    let both = [("cmd_env", "A"), ("params", "x")];
    assert_eq!(refusal(&node, "closed", &both).await, "extra params provided but not allowed");
    assert_eq!(node.units.all().len(), 0);
    assert_eq!(fs::read_dir(node.dir()).unwrap().count(), 0);
    // An empty value is none.
    node.units.kind("closed").unwrap().plan(&Params::from_iter([("params", ""), ("cmd_env", "")])).unwrap();
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_come_from_the_config_and_the_submission() {
    let dir = tempfile::tempdir().unwrap();
    let mut env = open("env", "env");
    env.env = [("A", "config"), ("B", "config")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let clean = CommandType { clean_env: true, work_type: "clean".to_owned(), ..env.clone() };
    let node = Node::start(dir.path(), [env, clean]).await;
    let given = [("cmd_env", "B=given,C=x=y"), ("secret_cmd_env", r#"{"D":"hush, quiet","C":"secret"}"#)];
    let unit = node.submit("env", &given, b"").await;
    assert_eq!(end(&unit).await.detail, "exit status 0");
    let text = stdout(&unit);
    for line in ["A=config", "B=given", "C=secret", "D=hush, quiet"] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(text.lines().count() > 5, "the daemon's own variables are there too");
    let secrets = unit.dir().file("secrets.json");
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(secrets).unwrap()) & 0o777, 0o600);
    for file in ["status", "keeper.jsonl"] {
        assert!(!fs::read_to_string(unit.dir().file(file)).unwrap().contains("hush"));
    }

    let unit = node.submit("clean", &[("cmd_env", "PATH=/nowhere")], b"").await;
    assert_eq!(end(&unit).await.detail, "exec: \"env\": executable file not found in $PATH");
    let unit = node.submit("clean", &[], b"").await;
    end(&unit).await;
    let text = stdout(&unit);
    let mut names: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.retain(|name| !["PATH", "HOME", "USER", "LANG"].contains(name));
    assert_eq!(names, ["A", "B"]);
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_working_directory_can_be_the_units_own() {
    let dir = tempfile::tempdir().unwrap();
    let unit_dir = CommandType { working_dir: Some("{unitdir}".to_owned()), ..open("pwd", "pwd") };
    let node = Node::start(dir.path(), [unit_dir]).await;
    let unit = node.submit("pwd", &[], b"").await;
    end(&unit).await;
    assert_eq!(stdout(&unit).trim(), unit.dir().path().canonicalize().unwrap().to_str().unwrap());
    let unit = node.submit("pwd", &[("cmd_working_dir", "/")], b"").await;
    end(&unit).await;
    assert_eq!(stdout(&unit), "/\n");
    for (dir, detail) in [
        ("/nonexistent", "chdir /nonexistent: no such file or directory"),
        ("/etc/passwd", "chdir /etc/passwd: not a directory"),
    ] {
        let unit = node.submit("pwd", &[("cmd_working_dir", dir)], b"").await;
        assert_eq!(end(&unit).await.detail, detail);
    }
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_is_run_as_the_user_that_was_named() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), [open("sh", "sh"), CommandType { nice: Some(7), ..open("nice", "sh") }]).await;
    // `ps` is not on every machine, so the kernel's own line is read (proc_pid_stat(5)): session 6, group 5, pid 1, nice 19.
    let script = "-c 'id -u; id -g; grep SigBlk /proc/self/status; set -- $(cat /proc/$$/stat); echo $6 $5 $1'";
    let root = rustix::process::geteuid().is_root();
    let unit = node.submit("sh", &[("params", script), ("cmd_user", "65534:65533")], b"").await;
    let status = end(&unit).await;
    if root {
        let text = stdout(&unit);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(&lines[..3], ["65534", "65533", "SigBlk:\t0000000000000000"]);
        let ids: Vec<&str> = lines[3].split_whitespace().collect();
        assert!(ids[1] == ids[2] && ids[0] != ids[1], "{ids:?}");
    } else {
        assert!(status.detail.ends_with(": operation not permitted"), "{}", status.detail);
    }
    let unit = node.submit("sh", &[("params", "-c id"), ("cmd_user", "nosuchuser")], b"").await;
    assert_eq!(end(&unit).await.detail, "invalid user: unknown user nosuchuser");
    let unit = node.submit("nice", &[("params", "-c 'set -- $(cat /proc/$$/stat); echo ${19}'")], b"").await;
    end(&unit).await;
    assert_eq!(stdout(&unit).trim(), "7");
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_takes_too_long_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let hour = CommandType { timeout: Some(Duration::from_secs(3600)), ..open("sh", "sh") };
    let node = Node::start(dir.path(), [hour]).await;
    let script = "-c 'trap \"exit 0\" INT; sleep 60 & echo $!; while :; do sleep 0.01; done'";
    let unit = node.submit("sh", &[("params", script), ("cmd_timeout", "300ms")], b"").await;
    let left: i32 = lines(&unit, 1).await[0].parse().unwrap();
    let status = end(&unit).await;
    assert_eq!((status.state, status.detail.as_str()), (State::Failed, "Timed out after 300ms"));
    assert!(!is_alive(left));
    let unit = node.submit("sh", &[("params", "-c 'exit 1'"), ("cmd_timeout", "1h")], b"").await;
    assert_eq!(end(&unit).await.detail, "exit status 1");
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_limit_holds_without_the_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let types = || [CommandType { timeout: Some(Duration::from_millis(600)), ..open("sleep", "sleep") }];
    let node = Node::start(dir.path(), types()).await;
    let unit = node.submit("sleep", &[("params", "60")], b"").await;
    let job = running(&unit).await;
    node.crash().await;
    gone(job).await;
    let node = Node::start(dir.path(), types()).await;
    assert_eq!(end(&node.unit(&unit)).await.detail, "Timed out after 600ms");
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_can_go_into_a_file_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let separate = CommandType { stderr: CommandStderr::Separate, ..open("sh", "sh") };
    let node = Node::start(dir.path(), [separate]).await;
    let unit = node.sh("echo out; echo err >&2").await;
    assert_eq!(end(&unit).await.stdout_size, 4);
    assert_eq!(stdout(&unit), "out\n");
    assert_eq!(fs::read_to_string(unit.dir().file("stderr")).unwrap(), "err\n");
    let unit = node.submit("sh", &[("params", "-c 'echo err >&2'"), ("cmd_stderr", "Merged")], b"").await;
    end(&unit).await;
    assert_eq!(stdout(&unit), "err\n");
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_units_than_places_wait_for_their_turn_also_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let types = || [CommandType { max_concurrent: 1, ..open("sh", "sh") }];
    let node = Node::start(dir.path(), types()).await;
    let first = node.sh("d=$(dirname $(readlink /proc/self/fd/2)); while [ ! -e $d/go ]; do sleep 0.01; done").await;
    running(&first).await;
    let given = [("params", "-c 'echo $A; exit 5'"), ("cmd_env", "A=kept")];
    let second = node.submit("sh", &given, b"").await;
    let third = node.submit("sh", &given, b"").await;
    for unit in [&second, &third] {
        let status = until(unit, |status| status.detail == "Queued").await;
        assert_eq!(status.state, State::Pending);
    }
    third.cancel().await;
    assert_eq!(disk(&third).1, "Canceled");
    node.crash().await;

    let node = Node::start(dir.path(), types()).await;
    let second = node.unit(&second);
    until(&second, |status| status.detail == "Queued").await;
    fs::write(first.dir().file("go"), "").unwrap();
    assert_eq!(end(&node.unit(&first)).await.detail, "exit status 0");
    assert_eq!(end(&second).await.detail, "exit status 5");
    assert_eq!(stdout(&second), "kept\n");
    assert_eq!(disk(&third).1, "Canceled");
    node.crash().await;
}
