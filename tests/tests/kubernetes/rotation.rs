//! Logs that the kubelet rotates while they are followed, on a real cluster. `WORKNODE_FAULT_CLUSTER` names the program that
//! does something to the cluster of `WORKNODE_KUBECONFIG`: its verbs are `stop-api`, `start-api` and `pause-api SECONDS`. That cluster must be
//! nobody else's. To be of use its logs must rotate early: 64 KiB, looked at every three seconds.

use std::ffi::OsString;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use worknode_tests::cluster::Cluster;
use worknode_tests::{Node, State, skipped};

use crate::world::{clean, node, submit};

/// The program that orders a cluster about.
const FAULTS: &str = "WORKNODE_FAULT_CLUSTER";

/// Longest time that a pod of these tests takes.
const LONG: Duration = Duration::from_secs(300);

/// A script that writes `chunks` times `lines` numbered lines, each with the second in which it was written, and waits
/// between the chunks.
fn numbered(chunks: u32, lines: u32, pause: &str) -> String {
    // A process that writes much and exits at once loses its last bytes in the container runtime, before any log.
    format!(
        "i=0; while [ $i -lt {chunks} ]; do awk -v i=$i 'BEGIN {{ for (n = i * {lines} + 1; n <= (i + 1) * {lines}; n++) \
         print n, systime() }}'; i=$((i+1)); sleep {pause}; done; sleep 1"
    )
}

/// One numbered line: its number, and the second in which it was written.
type Line = (u64, i64);

fn lines(output: &[u8]) -> Result<Vec<Line>> {
    let text = std::str::from_utf8(output)?;
    let line = |line: &str| {
        let (number, second) = line.split_once(' ').with_context(|| format!("{line:?}"))?;
        Ok((number.parse()?, second.parse()?))
    };
    text.lines().map(line).collect()
}

/// What a unit says that it lacks, and what it lacks.
#[derive(Debug, Default)]
struct Account {
    lines: usize,
    missing: u64,
    /// Places where lines are missing.
    real: usize,
    /// Declared gaps in which none is.
    false_alarms: usize,
}

/// Seconds of a log's time stamp, which is kept in nanoseconds.
fn second(stamp: &serde_json::Value) -> Option<i64> {
    stamp.as_i64().map(|nanos| nanos.div_euclid(1_000_000_000))
}

/// Checks that every line from 1 to `total` is there once and in order, but for those in gaps that the unit has declared.
fn account(node: &Node, unit: &str, total: u64) -> Result<Account> {
    let output = node.results(unit)?;
    // A gap may begin in the middle of a line: what is left of it is no line.
    let read = lines(&output)?;
    let record = std::fs::read(node.unit_directory(unit).join("worknode.json"))?;
    let record: serde_json::Value = serde_json::from_slice(&record)?;
    let mut gaps = record["gaps"].as_array().cloned().unwrap_or_default();
    let declared = gaps.len();
    let mut account = Account { lines: read.len(), ..Account::default() };
    let mut before: Line = (0, 0);
    let end = [(total + 1, i64::MAX)];
    for line in read.iter().chain(&end) {
        ensure!(line.0 > before.0, "line {} after line {}", line.0, before.0);
        if line.0 > before.0 + 1 {
            account.missing += line.0 - before.0 - 1;
            account.real += 1;
            // A stamp is taken a moment after the line was written.
            let near = |stamp: &serde_json::Value, time: i64| {
                second(stamp).is_none_or(|second| (time..=time.saturating_add(2)).contains(&second))
            };
            let names = |gap: &serde_json::Value| {
                near(&gap["after"], before.1) && (gap["before"].is_null() || near(&gap["before"], line.1))
            };
            let index = gaps.iter().position(names);
            let index = index.with_context(|| {
                format!("lines {} to {} are missing, and {gaps:?} say nothing of it", before.0 + 1, line.0 - 1)
            })?;
            gaps.remove(index);
        }
        before = *line;
    }
    account.false_alarms = declared - account.real;
    let detail = node.status(unit)?.detail;
    ensure!(
        detail.starts_with("Output may be incomplete: log rotated between ") == (declared > 0),
        "{declared} gaps, and the unit says {detail:?}"
    );
    Ok(account)
}

fn order(program: &OsString, words: &[&str]) -> Result<()> {
    let done = Command::new(program).args(words).status()?;
    ensure!(done.success(), "{words:?}: {done}");
    Ok(())
}

/// The real cluster and its program, if both are named.
fn faulty_cluster() -> Result<Option<(Cluster, OsString)>> {
    let Some(program) = std::env::var_os(FAULTS) else {
        skipped(format_args!("{FAULTS} names no program that stops and starts the cluster's API server"));
        return Ok(None);
    };
    Ok(Cluster::real()?.map(|cluster| (cluster, program)))
}

/// While nothing breaks, a log that rotates every three seconds is delivered whole, and nothing is called in doubt.
#[test]
fn rotation_takes_nothing_from_a_log_that_is_followed() -> Result<()> {
    let Some((cluster, _)) = faulty_cluster()? else { return Ok(()) };
    let node = node(&cluster)?;
    let unit = submit(&node, &numbered(120, 1000, "0.1"), b"")?;
    let status = node.wait_ended_within(&unit, LONG)?;
    let account = account(&node, &unit, 120_000)?;
    println!("120,000 lines: {account:?}; {status}");
    assert_eq!((account.lines, account.real, account.false_alarms), (120_000, 0, 0));
    assert_eq!((status.state, status.detail.as_str()), (State::Succeeded, "Finished"));
    clean(&node, &cluster, &[&unit])
}

/// Rotation of the last output, after which the pod is silent, leaves an empty log behind.
#[test]
fn rotation_while_the_pod_is_silent_is_no_gap() -> Result<()> {
    let Some((cluster, _)) = faulty_cluster()? else { return Ok(()) };
    let node = node(&cluster)?;
    let unit = submit(&node, &format!("{}; sleep 12", numbered(1, 20_000, "0")), b"")?;
    let status = node.wait_ended_within(&unit, LONG)?;
    let account = account(&node, &unit, 20_000)?;
    println!("20,000 lines and silence: {account:?}; {status}");
    assert_eq!((account.lines, status.detail.as_str()), (20_000, "Finished"));
    clean(&node, &cluster, &[&unit])
}

/// As fast as it can, with an API server that goes and a daemon that is killed: what is missing is declared.
#[test]
fn a_million_lines_are_there_or_declared_missing() -> Result<()> {
    const TOTAL: u64 = 1_000_000;
    let Some((cluster, program)) = faulty_cluster()? else { return Ok(()) };
    let mut node = node(&cluster)?;
    let begin = Instant::now();
    let unit = submit(&node, &numbered(100, 10_000, "0.25"), b"")?;
    node.open_results(&unit, 3_000_000)?.bytes(1)?;
    println!("{:?}: the API server is killed", begin.elapsed());
    order(&program, &["stop-api"])?;
    order(&program, &["start-api"])?;
    node.open_results(&unit, 8_000_000)?.bytes(1)?;
    println!("{:?}: the daemon is killed", begin.elapsed());
    node.crash_and_restart()?;
    let status = node.wait_ended_within(&unit, LONG)?;
    let account = account(&node, &unit, TOTAL)?;
    println!("{:?}: {TOTAL} lines: {account:?}; {status}", begin.elapsed());
    assert_eq!(status.state, State::Succeeded, "{status}");
    assert_eq!(u64::try_from(account.lines)? + account.missing, TOTAL);
    clean(&node, &cluster, &[&unit])
}

/// Faster than any follower: whole files of the log are put aside before anybody reads them.
#[test]
fn a_flood_is_there_or_declared_missing() -> Result<()> {
    let Some((cluster, _)) = faulty_cluster()? else { return Ok(()) };
    let node = node(&cluster)?;
    let unit = submit(&node, &numbered(6, 300_000, "4"), b"")?;
    let status = node.wait_ended_within(&unit, LONG)?;
    let account = account(&node, &unit, 1_800_000)?;
    println!("1,800,000 lines in floods: {account:?}; {status}");
    assert_eq!(status.state, State::Succeeded, "{status}");
    clean(&node, &cluster, &[&unit])
}

/// With `outputguard: fail` a gap fails the unit, whatever its exit code.
#[test]
fn a_guarded_unit_fails_on_a_gap() -> Result<()> {
    let Some((cluster, program)) = faulty_cluster()? else { return Ok(()) };
    let id = format!("test-{:08x}", rand::random::<u32>());
    let guard = serde_json::json!({"outputguard": "fail"});
    let node = worknode_tests::Harness::new()?.id(&id).kubernetes("kubeit", &cluster, &guard).start()?;
    let unit = submit(&node, &numbered(60, 5000, "0.25"), b"")?;
    node.open_results(&unit, 500_000)?.bytes(1)?;
    // Two looks of the kubelet at the sizes of its logs.
    order(&program, &["pause-api", "7"])?;
    let status = node.wait_ended_within(&unit, LONG)?;
    let account = account(&node, &unit, 300_000)?;
    println!("300,000 lines, guarded: {account:?}; {status}");
    assert!(account.real > 0, "{account:?}");
    assert_eq!(status.state, State::Failed, "{status}");
    clean(&node, &cluster, &[&unit])
}
