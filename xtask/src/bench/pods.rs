//! Pods: on the simulator, and on the real cluster that `WORKNODE_KUBECONFIG` names.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use worknode_tests::{Kind, Node, State, cluster::Cluster};

use super::{Bench, Taken, control::megabytes};

/// Lines of a pod that writes short ones.
const LINES: u64 = 300_000;
/// Bytes of one of the simulator's long lines, its line feed included.
const LONG: u64 = 1024;
/// Bytes sent through `cat`.
const PAYLOAD: usize = 8 << 20;
/// Patience with one block of a stream.
const PATIENCE: Duration = Duration::from_secs(300);

/// The log of a pod on the simulator: short lines by number, long ones by size.
pub(super) fn simulated(bench: &Bench<'_>) -> Result<Taken> {
    if bench.program.kind != Kind::Worknoded {
        // Its attach is another protocol than the simulator's.
        return Ok(Taken::new());
    }
    let cluster = Cluster::podsim()?;
    let node = start(bench, &cluster)?;
    let lines = timed(&node, &script(&format!("seq 1 {LINES}")), b"")?;
    let long = format!("yes {} | head -n {LINES}", "x".repeat(usize::try_from(LONG - 1)?));
    let bytes = timed(&node, &script(&long), b"")?;
    ensure!(bytes.size == LONG * LINES, "{} bytes of long lines", bytes.size);
    Ok(vec![
        ("podsim-lines", as_f64(LINES) / lines.time.as_secs_f64()),
        ("podsim-bytes", megabytes(bytes.size) / bytes.time.as_secs_f64()),
    ])
}

/// The same, and the way of the payload, on a real cluster.
pub(super) fn real(bench: &Bench<'_>) -> Result<Taken> {
    if bench.program.kind != Kind::Worknoded {
        return Ok(Taken::new());
    }
    let Some(cluster) = Cluster::real()? else { return Ok(Taken::new()) };
    let node = start(bench, &cluster)?;
    // The first pod pays for what the node has not seen yet.
    timed(&node, &script("true"), b"")?;
    let idle = timed(&node, &script("true"), b"")?.time;
    let line = format!("{}\n", "x".repeat(1023));
    let payload = line.repeat(PAYLOAD / line.len()).into_bytes();
    let cat = timed(&node, &script("cat"), &payload)?;
    ensure!(cat.size == payload.len() as u64, "{} of {} bytes came back", cat.size, payload.len());
    let lines = timed(&node, &script(&format!("seq 1 {LINES}; sleep 1")), b"")?;
    let slept = timed(&node, &script("echo; sleep 3"), b"")?;
    let seconds = |time: Duration| time.as_secs_f64().max(f64::EPSILON);
    Ok(vec![
        ("pod-empty", idle.as_secs_f64()),
        ("pod-cat", megabytes(cat.size) / seconds(cat.flow)),
        ("pod-lines", as_f64(LINES) / seconds(lines.flow)),
        ("pod-sleep", slept.time.as_secs_f64()),
        ("pod-end", slept.end_known.as_secs_f64()),
    ])
}

/// One unit from its submission until its output has ended.
struct Timed {
    time: Duration,
    /// From the first byte of output to the last: the pod's start is not in it, nor that the kubelet tells the end late.
    flow: Duration,
    size: u64,
    /// From the end of `sleep` in the container, as far as the start of the container is known, to the end of the unit.
    end_known: Duration,
}

pub(super) fn start(bench: &Bench<'_>, cluster: &Cluster) -> Result<Node> {
    let kind = json!({
        "worktype": "pod", "authmethod": "kubeconfig", "kubeconfig": cluster.kubeconfig(),
        "allowruntimepod": true, "allowruntimeparams": true,
    });
    bench.harness()?.action("work-kubernetes", kind).start()
}

pub(super) fn script(words: &str) -> String {
    let worker = json!({"name": "worker", "image": "busybox", "command": ["sh", "-c", words]});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bench"}, "spec": {"containers": [worker]}})
        .to_string()
}

fn timed(node: &Node, pod: &str, payload: &[u8]) -> Result<Timed> {
    let begun = Instant::now();
    let unit = node.submit_with("pod", &[("secret_kube_pod", pod)], payload)?;
    let mut output = node.open_results(&unit, 0)?;
    output.set_patience(PATIENCE);
    let (mut first, mut last) = (None, begun);
    let size = output.drain(|_| {
        last = Instant::now();
        first.get_or_insert(last);
    })?;
    let ended = Instant::now();
    let status = node.wait_ended(&unit)?;
    ensure!(status.state == State::Succeeded, "{status}");
    node.release(&unit).context("the release")?;
    let wrote = first.unwrap_or(ended);
    let end_known = ended.duration_since(wrote).saturating_sub(Duration::from_secs(3));
    Ok(Timed { time: ended.duration_since(begun), flow: last.duration_since(wrote), size, end_known })
}

/// Counts of lines are far below what a float holds exactly.
fn as_f64(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
