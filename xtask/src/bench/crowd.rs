//! Many pods at once, on the simulator: memory, requests and lines of all of them together.
//!
//! The pods wait for a lock that the benchmark holds, so that all of them run before the first one writes.

use std::fs::File;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::fs::{FlockOperation, flock};
use worknode_podsim::{Options, Timing};
use worknode_tests::wait::Deadline;
use worknode_tests::{Kind, Node, cluster::Cluster, process};

use super::control::megabytes;
use super::pods::{script, start};
use super::{Bench, Taken};

/// Connections that submit and release.
const CONNECTIONS: u32 = 8;
/// Lines of all pods together: of seven digits and a line feed.
const SHORT_LINES: u32 = 3_000_000;
/// Lines of all pods together: of 1 KiB, their line feed included.
const LONG_LINES: u32 = 300_000;
/// A bound on each step, on a machine that may be slow.
const PATIENCE: Duration = Duration::from_secs(300);

/// The figures' names for one number of pods.
struct Names {
    memory: &'static str,
    requests: &'static str,
    small: &'static str,
    lines: &'static str,
    bytes: &'static str,
}

/// 50 pods at once.
pub(super) fn fifty(bench: &Bench<'_>) -> Result<Taken> {
    let (memory, lines, bytes) = ("pods-50-rss", "pods-50-lines", "pods-50-bytes");
    let (requests, small) = ("pods-50-requests", "pods-50-requests-small");
    take(bench, 50, &Names { memory, requests, small, lines, bytes })
}

/// 500 pods at once.
pub(super) fn five_hundred(bench: &Bench<'_>) -> Result<Taken> {
    let (memory, lines, bytes) = ("pods-500-rss", "pods-500-lines", "pods-500-bytes");
    let (requests, small) = ("pods-500-requests", "pods-500-requests-small");
    take(bench, 500, &Names { memory, requests, small, lines, bytes })
}

fn take(bench: &Bench<'_>, pods: u32, names: &Names) -> Result<Taken> {
    if bench.program.kind != Kind::Worknoded {
        return Ok(Taken::new());
    }
    // `seq` of numbers of one length, so that the bytes of a line are known.
    let each = SHORT_LINES / pods;
    let short = at_once(bench, pods, &format!("seq 1000001 {}", 1_000_000 + each), u64::from(each) * 8)?;
    let each = LONG_LINES / pods;
    let long = format!("yes {} | head -n {each}", "x".repeat(1023));
    let long = at_once(bench, pods, &long, u64::from(each) * 1024)?;
    let small = at_once(bench, pods, "echo done", 5)?;
    Ok(vec![
        (names.memory, megabytes(short.peak.max(long.peak))),
        (names.small, small.requests),
        (names.requests, short.requests.max(long.requests)),
        (names.lines, f64::from(SHORT_LINES) / short.time.as_secs_f64()),
        (names.bytes, f64::from(LONG_LINES) * 1024.0 / 1e6 / long.time.as_secs_f64()),
    ])
}

/// What a crowd cost.
struct Crowd {
    /// The daemon's largest resident memory, in bytes.
    peak: u64,
    /// Requests to the API for each pod, from its creation to its deletion.
    requests: f64,
    /// From the first byte that a pod may write until the last unit has ended.
    time: Duration,
}

/// Runs so many pods at once, each with these words after the lock, which write so many bytes.
fn at_once(bench: &Bench<'_>, pods: u32, words: &str, bytes: u64) -> Result<Crowd> {
    // As a real kubelet: a followed log ends a second after its container.
    let timing = Timing { log_end: Duration::from_secs(1), ..Timing::default() };
    let cluster = Cluster::podsim_with(Options { timing, ..Options::default() })?;
    let simulator = cluster.simulator().context("no simulator")?;
    let node = start(bench, &cluster)?;
    let gate = node.root().join("gate");
    let closed = File::create(&gate)?;
    flock(&closed, FlockOperation::LockExclusive)?;
    let pod = script(&format!("cat; flock -s {} true; {words}", gate.display()));

    by_many(pods, |_| node.submit_with("pod", &[("secret_kube_pod", &pod)], b"").map(drop))?;
    wait_for(&node, "all pods to run", |list| list.matches("\"Running\"").count() == pods as usize)?;
    let begin = Instant::now();
    drop(closed);
    wait_for(&node, "all units to end", |list| !list.contains("\"Pending\"") && !list.contains("\"Running\""))?;
    let time = begin.elapsed();

    let units = node.list()?;
    for (unit, status) in &units {
        let (state, size) = (status.get("StateName"), status.get("StdoutSize").and_then(serde_json::Value::as_u64));
        ensure!(state.is_some_and(|state| state == "Succeeded") && size == Some(bytes), "{unit}: {status}");
    }
    let units: Vec<_> = units.keys().collect();
    by_many(pods, |index| node.release(units.get(index as usize).context("too few units")?))?;
    cluster.wait_without_pods_of(node.id())?;
    let peak = process::peak_memory(node.pid()?)?;
    // Those of the benchmark itself name no label in this way, or come under another account's name.
    let asked = simulator.requests().recent().iter().filter(|request| !is_ours(request)).count();
    Ok(Crowd { peak, requests: f64::from(u32::try_from(asked)?) / f64::from(pods), time })
}

/// True for what `wait_without_pods_of` asks.
fn is_ours(request: &worknode_podsim::Request) -> bool {
    matches!(request.verb.as_str(), "list" | "watch")
        && !request.target.contains("limit=")
        && !request.target.contains("allowWatchBookmarks")
}

/// Does something `count` times, over several threads.
fn by_many(count: u32, once: impl Fn(u32) -> Result<()> + Sync) -> Result<()> {
    let taken = AtomicU32::new(0);
    std::thread::scope(|scope| {
        let work = || -> Result<()> {
            loop {
                let index = taken.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return Ok(());
                }
                once(index)?;
            }
        };
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
    })
}

fn wait_for(node: &Node, what: &str, wanted: impl Fn(&str) -> bool) -> Result<()> {
    let mut session = node.connect()?;
    let deadline = Deadline::after(PATIENCE);
    while !wanted(&session.ask("work list")?) {
        deadline.left(what).with_context(|| node.log_tail())?;
        pause();
    }
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "the list of many units is told by asking only")]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}
