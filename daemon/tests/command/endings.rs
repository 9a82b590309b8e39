//! How jobs end by themselves, and what they are given.

use std::{fs, io::Write};

use sha2::{Digest, Sha256};
use worknode_protocol::unit::State;

use crate::node::{Node, OPEN_FILES, command_type, disk, end, gone, is_alive, lines, running, stdout, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_gets_its_payload_and_gives_its_output() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), [command_type("cat", "cat")]).await;
    let unit = node.submit("cat", &[], b"hello\nworld").await;
    let status = end(&unit).await;
    assert_eq!((status.state.number(), status.detail.as_str(), status.stdout_size), (2, "exit status 0", 11));
    assert_eq!(stdout(&unit), "hello\nworld");
    assert_eq!(disk(&unit), (2, "exit status 0".to_owned(), 11));
    assert!(status.extra_data.is_null());
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_is_told_in_the_words_of_the_reference() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("noformat"), "no program").unwrap();
    fs::set_permissions(dir.path().join("noformat"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let no_format = dir.path().join("noformat").display().to_string();
    let types = [
        command_type("sh", "sh"),
        command_type("nopath", "/no/such/binary"),
        command_type("noname", "no-such-binary"),
        command_type("directory", "/tmp"),
        command_type("noformat", &no_format),
    ];
    let node = Node::start(dir.path(), types).await;
    let no_format = format!("fork/exec {no_format}: exec format error");
    for (kind, params, state, detail) in [
        ("sh", "-c 'exit 0'", 2, "exit status 0"),
        ("sh", "-c 'exit 3'", 3, "exit status 3"),
        ("sh", "-c 'kill -9 $$'", 3, "signal: killed"),
        ("sh", "-c 'kill -15 $$'", 3, "signal: terminated"),
        ("sh", "-c 'kill -2 $$'", 3, "signal: interrupt"),
        ("nopath", "", 3, "fork/exec /no/such/binary: no such file or directory"),
        ("noname", "", 3, "exec: \"no-such-binary\": executable file not found in $PATH"),
        ("directory", "", 3, "fork/exec /tmp: permission denied"),
        ("noformat", "", 3, &no_format),
        ("sh", "'", 3, "EOF found when expecting closing quote"),
        ("sh", "\\", 3, "EOF found after escape character"),
    ] {
        // All of these come after the start was answered with success.
        let unit = node.submit(kind, &[("params", params)], b"").await;
        let status = end(&unit).await;
        assert_eq!((status.state.number(), status.detail.as_str()), (state, detail), "{kind} {params}");
        assert!(status.extra_data.is_null(), "{kind} {params}");
        assert_eq!(disk(&unit), (state, detail.to_owned(), 0));
    }
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_takes_its_time_is_seen_to_run() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), [command_type("sh", "sh")]).await;
    let params = "-c 'd=$(dirname $(readlink /proc/self/fd/2)); while [ ! -e $d/go ]; do sleep 0.01; done; exit 4'";
    let unit = node.submit("sh", &[("params", params)], b"").await;
    let job = running(&unit).await;
    let extra = unit.status().extra_data;
    assert!(is_alive(job));
    assert_eq!(extra["Params"], params);
    assert_ne!(extra["Pid"], job);
    fs::write(unit.dir().file("go"), "").unwrap();
    assert_eq!(end(&unit).await.detail, "exit status 4");
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configured_and_given_parameters_are_joined_by_a_blank() {
    let dir = tempfile::tempdir().unwrap();
    let mut printf = command_type("printf", "printf");
    printf.params = "%s|".to_owned();
    let node = Node::start(dir.path(), [printf]).await;
    let unit = node.submit("printf", &[("params", "'a b' c\\ d \"e'f\" '' # rest")], b"").await;
    end(&unit).await;
    assert_eq!(stdout(&unit), "a b|c d|e'f||");
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_started_as_if_from_a_fresh_shell() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), [command_type("sh", "sh"), command_type("env", "env")]).await;
    // Signals: none blocked, none ignored; files: the standard three and the one that ls opens.
    let unit = node
        .sh("grep -E \"^Sig(Blk|Ign)\" /proc/self/status; ls /proc/self/fd | wc -l; pwd; set -- $(cat /proc/$$/stat); echo $6 $5 $1; ulimit -Sn")
        .await;
    assert_eq!(end(&unit).await.detail, "exit status 0");
    let text = stdout(&unit);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "SigBlk:\t0000000000000000");
    // The two that glibc keeps for itself are no concern of programs.
    assert_eq!(u64::from_str_radix(&lines[1]["SigIgn:\t".len()..], 16).unwrap() & !0x1_8000_0000, 0);
    assert_eq!(lines[2].trim(), "4");
    assert_eq!(lines[3], std::env::current_dir().unwrap().to_str().unwrap());
    let ids: Vec<&str> = lines[4].split_whitespace().collect();
    assert_eq!(ids[1], ids[2], "the job leads a group of its own");
    assert_ne!(ids[0], ids[2], "its session is the keeper's");

    assert_eq!(lines[5], OPEN_FILES.to_string());

    let unit = node.submit("env", &[], b"").await;
    end(&unit).await;
    let text = stdout(&unit);
    let mut given: Vec<&str> = text.lines().collect();
    let own: Vec<String> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
    let mut own: Vec<&str> = own.iter().flat_map(|line| line.lines()).collect();
    given.sort_unstable();
    own.sort_unstable();
    assert_eq!(given, own);
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stdin_is_the_file_and_can_be_read_twice() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), [command_type("sh", "sh")]).await;
    let unit = node
        .submit("sh", &[("params", "-c 'cat; cat /proc/self/fd/0; echo x >/proc/self/fd/0 || true'")], b"abc")
        .await;
    end(&unit).await;
    assert!(stdout(&unit).starts_with("abcabc"), "{}", stdout(&unit));
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_and_errors_are_in_one_file_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), [command_type("sh", "sh")]).await;
    let unit = node.sh("echo 1; echo 2 >&2; echo 3; echo 4 | tee -a /dev/stderr; echo 5").await;
    end(&unit).await;
    assert_eq!(stdout(&unit), "1\n2\n3\n4\n4\n5\n");
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_mebibytes_come_out_as_they_went_in() {
    const SIZE: usize = 64 << 20;
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), [command_type("cat", "cat")]).await;
    let payload: Vec<u8> = (0..SIZE / 8).flat_map(|n: usize| n.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    let unit = node.submit("cat", &[], &payload).await;
    let status = end(&unit).await;
    assert_eq!((status.state, status.stdout_size), (State::Succeeded, SIZE as u64));
    let output = fs::read(unit.dir().stdout()).unwrap();
    assert_eq!(Sha256::digest(&output), Sha256::digest(&payload));
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_job_leaves_running_is_let_live_when_the_job_ends_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), [command_type("sh", "sh")]).await;
    let unit = node.sh("setsid sleep 60 & echo $!; exit 5").await;
    let status = end(&unit).await;
    let left: i32 = lines(&unit, 1).await[0].parse().unwrap();
    assert_eq!(status.detail, "exit status 5");
    assert!(is_alive(left));
    unit.release(false).await.unwrap();
    assert!(is_alive(left));
    crate::node::signal(left, rustix::process::Signal::KILL);
    gone(left).await;
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_whose_name_is_gone_is_counted_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), [command_type("sh", "sh")]).await;
    let unit = node.sh("p=$(readlink /proc/self/fd/2); while [ -e $p ]; do sleep 0.01; done; printf 12345").await;
    running(&unit).await;
    fs::remove_file(unit.dir().stdout()).unwrap();
    let status = end(&unit).await;
    assert_eq!((status.detail.as_str(), status.state), ("exit status 0", State::Succeeded));
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_units_at_once_all_end_right() {
    const UNITS: usize = 200;
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), [command_type("sh", "sh")]).await;
    let mut units = Vec::new();
    for number in 0..UNITS {
        units.push((number, node.sh(&format!("echo {number}; exit {}", number % 7)).await));
    }
    for (number, unit) in units {
        let status = end(&unit).await;
        assert_eq!(status.detail, format!("exit status {}", number % 7));
        assert_eq!(stdout(&unit), format!("{number}\n"));
    }
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_too_long_for_the_system_are_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), [command_type("true", "/bin/true")]).await;
    let unit = node.submit("true", &[("params", &"x".repeat(1 << 20))], b"").await;
    assert_eq!(end(&unit).await.detail, "fork/exec /bin/true: argument list too long");
    let unit = node.submit("true", &[("params", "a\0b")], b"").await;
    assert_eq!(end(&unit).await.detail, "fork/exec /bin/true: invalid argument");
    node.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_output_but_not_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mounted) = SmallDisk::mount(dir.path()) else {
        writeln!(std::io::stderr(), "skipped: mounting a small disk takes root").unwrap();
        return;
    };
    let node = Node::start(dir.path(), [command_type("sh", "sh")]).await;
    let unit = node.sh("while [ ! -s /proc/self/fd/0 ]; do sleep 0.01; done; cat /dev/zero; exit 6").await;
    running(&unit).await;
    fs::write(unit.dir().stdin(), "go").unwrap();
    let status = end(&unit).await;
    assert_eq!(status.detail, "exit status 6");
    assert!(status.stdout_size > 0);
    assert_eq!(disk(&unit).1, "exit status 6");
    until(&unit, |status| status.state == State::Failed).await;
    node.crash().await;
}

/// A file system of 256 KiB over a directory, for as long as this lives.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: &std::path::Path) -> Option<Self> {
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "none"])
            .arg(at)
            .stderr(std::process::Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
