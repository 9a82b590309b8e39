//! The API server is away in each phase of a unit, and comes back: on podsim, and on a real cluster whose program
//! `WORKNODE_FAULT_CLUSTER` names (`stop-api` and `start-api` are its words). That cluster must be nobody else's: the phases
//! follow one another, in a test program of their own.
#![allow(clippy::indexing_slicing, reason = "a missing member fails the test, as it should")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use worknode_tests::cluster::Cluster;
use worknode_tests::{Harness, Node, State, UnitStatus};

/// How long the API server is away at least: longer than what a client that does not try again would bear.
const AWAY: Duration = Duration::from_secs(3);

/// How long a cluster may take until its scheduler and kubelet work again after their API server was away.
const RECOVERY: Duration = Duration::from_secs(180);

#[test]
fn podsim() -> Result<()> {
    all_phases(&Cluster::podsim()?)
}

#[test]
fn cluster() -> Result<()> {
    Cluster::real_with_faults()?.map_or(Ok(()), |cluster| all_phases(&cluster))
}

/// A phase: what happens in it is the function's affair.
type Phase = fn(&Node, &Cluster) -> Result<()>;

#[allow(clippy::print_stderr, reason = "how long each phase took is worth a look")]
fn all_phases(cluster: &Cluster) -> Result<()> {
    let id = format!("test-{:08x}", rand::random::<u32>());
    let node = Harness::new()?.id(&id).kubernetes("kubeit", cluster, &json!({})).start()?;
    let phases: [(&str, Phase); 8] = [
        ("create", create),
        ("wait", wait),
        ("stdin not begun", stdin),
        ("payload", payload),
        ("running", running),
        ("ending", ending),
        ("cancel", cancel),
        ("release", release),
    ];
    for (name, phase) in phases {
        recovered(&node).with_context(|| format!("before phase {name}\n{}", node.log_tail()))?;
        let begin = Instant::now();
        phase(&node, cluster).with_context(|| format!("phase {name}\n{}", node.log_tail()))?;
        eprintln!("{name}: survived, {:.1} s", begin.elapsed().as_secs_f64());
    }
    cluster.wait_without_pods_of(node.id())
}

fn definition(script: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "outage-"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "worker", "image": "busybox", "command": ["sh", "-c", script]}],
        },
    })
}

fn submit(node: &Node, definition: &Value, payload: &[u8]) -> Result<String> {
    node.submit_with("kubeit", &[("secret_kube_pod", &definition.to_string())], payload)
}

/// The cluster runs pods again: what a phase waits for is the node's doing then, not the scheduler's.
fn recovered(node: &Node) -> Result<()> {
    let unit = submit(node, &definition("true"), b"")?;
    node.wait_ended_within(&unit, RECOVERY)?;
    node.release(&unit)
}

/// The node keeps answering and the unit stays as it is for a while.
fn stays(node: &Node, unit: &str, as_it_is: impl Fn(&UnitStatus) -> bool) -> Result<()> {
    let begin = Instant::now();
    while begin.elapsed() < AWAY {
        let status = node.status(unit)?;
        anyhow::ensure!(as_it_is(&status), "while the API server is away: {status}");
    }
    Ok(())
}

fn succeeds(node: &Node, unit: &str, output: &str) -> Result<()> {
    let status = node.wait_ended_within(unit, RECOVERY)?;
    anyhow::ensure!(status.state == State::Succeeded && status.detail == "Finished", "{status}");
    assert_eq!(String::from_utf8(node.results(unit)?)?, output);
    Ok(())
}

fn create(node: &Node, cluster: &Cluster) -> Result<()> {
    cluster.stop_api()?;
    let unit = submit(node, &definition("cat"), b"payload\n")?;
    stays(node, &unit, |status| status.detail == "Connecting to Kubernetes")?;
    cluster.start_api()?;
    succeeds(node, &unit, "payload\n")?;
    assert_eq!(cluster.pods_of(node.id())?.len(), 1, "one pod, not two");
    node.release(&unit)
}

/// A pod whose worker starts after another container has ended.
fn slow_to_start(seconds: u32) -> Value {
    let mut definition = definition("cat; sleep 1");
    let first = json!([{"name": "first", "image": "busybox", "command": ["sleep", seconds.to_string()]}]);
    definition["spec"]["initContainers"] = first;
    definition
}

fn wait(node: &Node, cluster: &Cluster) -> Result<()> {
    let unit = submit(node, &slow_to_start(8), b"payload\n")?;
    node.wait_status(&unit, |status| status.detail == "Pod created")?;
    cluster.stop_api()?;
    stays(node, &unit, |status| status.detail == "Pod created")?;
    cluster.start_api()?;
    succeeds(node, &unit, "payload\n")?;
    node.release(&unit)
}

/// The worker starts, and waits for its payload, while the API server is away.
fn stdin(node: &Node, cluster: &Cluster) -> Result<()> {
    let unit = submit(node, &slow_to_start(1), b"payload\n")?;
    node.wait_status(&unit, |status| status.detail == "Pod created")?;
    cluster.wait_for_node_of(node.id())?;
    cluster.stop_api()?;
    stays(node, &unit, |status| status.state == State::Pending)?;
    cluster.start_api()?;
    succeeds(node, &unit, "payload\n")?;
    node.release(&unit)
}

/// The API server is killed while 64 MiB of payload are on their way, at random points: all of them arrive, or the unit has
/// failed and says where they were cut. `WORKNODE_STDIN_CUTS` says how often.
#[allow(clippy::print_stderr, reason = "where each was cut is worth a look")]
fn payload(node: &Node, cluster: &Cluster) -> Result<()> {
    let times: u32 = std::env::var("WORKNODE_STDIN_CUTS").map_or(Ok(1), |times| times.parse())?;
    let payload = vec![b'x'; 64 * 1024 * 1024];
    let whole = format!("{}\n", payload.len());
    for number in 1..=times {
        let unit = submit(node, &definition("cat | wc -c; sleep 1"), &payload)?;
        node.wait_status_within(&unit, RECOVERY, |status| {
            status.detail == "Sending stdin to pod" || status.state.ended()
        })?;
        pause(Duration::from_millis(rand::random_range(0..1500)));
        cluster.stop_api()?;
        cluster.start_api()?;
        let status = node.wait_ended_within(&unit, RECOVERY)?;
        let output = String::from_utf8(node.results(&unit)?)?;
        eprintln!("payload {number} of {times}: {status}, the pod counted {output:?}");
        match status.state {
            State::Succeeded => anyhow::ensure!(output == whole, "{status}, with {output:?}"),
            _ => anyhow::ensure!(status.detail.starts_with("stdin was cut at byte "), "{status}"),
        }
        node.release(&unit)?;
    }
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "the API server is to go at a random moment")]
fn pause(length: Duration) {
    std::thread::sleep(length);
}

fn running(node: &Node, cluster: &Cluster) -> Result<()> {
    let script = "cat; i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo $i; sleep 0.1; done; sleep 1";
    let unit = submit(node, &definition(script), b"")?;
    node.open_results(&unit, 20)?.bytes(1)?;
    node.wait_status(&unit, |status| status.state == State::Running)?;
    cluster.stop_api()?;
    stays(node, &unit, |status| status.state == State::Running)?;
    cluster.start_api()?;
    succeeds(node, &unit, &(1..=100).map(|number| format!("{number}\n")).collect::<String>())?;
    node.release(&unit)
}

/// The worker ends while the API server is away.
fn ending(node: &Node, cluster: &Cluster) -> Result<()> {
    let unit = submit(node, &definition("cat; echo begun; sleep 4; echo last; sleep 1; exit 3"), b"")?;
    assert_eq!(node.open_results(&unit, 0)?.line()?, "begun");
    node.wait_status(&unit, |status| status.state == State::Running)?;
    cluster.stop_api()?;
    for _ in 0..3 {
        stays(node, &unit, |status| status.state == State::Running)?;
    }
    cluster.start_api()?;
    let status = node.wait_ended_within(&unit, RECOVERY)?;
    assert_eq!((status.state, status.detail.as_str()), (State::Failed, "exit status 3"));
    assert_eq!(node.results(&unit)?, b"begun\nlast\n");
    node.release(&unit)
}

fn begun(node: &Node) -> Result<String> {
    let unit = submit(node, &definition("echo begun; exec sleep 1000"), b"")?;
    assert_eq!(node.open_results(&unit, 0)?.line()?, "begun");
    Ok(unit)
}

fn cancel(node: &Node, cluster: &Cluster) -> Result<()> {
    let unit = begun(node)?;
    cluster.stop_api()?;
    let begin = Instant::now();
    node.cancel(&unit)?;
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    stays(node, &unit, |status| status.state == State::Canceled)?;
    cluster.start_api()?;
    cluster.wait_without_pods_of(node.id())?;
    node.release(&unit)
}

/// The pod goes when the API server is back, also for a unit that is not there any more.
fn release(node: &Node, cluster: &Cluster) -> Result<()> {
    let unit = begun(node)?;
    cluster.stop_api()?;
    node.release(&unit)?;
    assert!(!node.list()?.contains_key(&unit));
    cluster.start_api()?;
    cluster.wait_without_pods_of(node.id())
}
