//! Faults in each phase of a unit, and what the unit then says: the table in docs/kubernetes.md. Each row is run on podsim and,
//! where a real cluster can be made to do it, on that of `WORKNODE_KUBECONFIG`, which must be nobody else's. What a run said is
//! printed as a line of a table. An API server that is away is in `outages.rs`.
#![allow(clippy::indexing_slicing, reason = "a missing member fails the test, as it should")]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use worknode_podsim::{Effect, Fault, Matching, Trap, Which};
use worknode_tests::cluster::Cluster;
use worknode_tests::{Harness, Node, UnitStatus};

/// A real cluster's kubelet pulls, backs off and kills at its leisure.
const LIMIT: Duration = Duration::from_secs(240);
const NAMESPACE: &str = "default";

/// A fault in a phase: brings it about and gives the unit, or nothing where this cluster cannot be made to do it.
struct Row {
    fault: &'static str,
    phase: &'static str,
    run: fn(&mut Node, &Cluster) -> Result<Option<String>>,
    /// What the unit says: state and begin of the detail.
    says: &'static str,
    /// Somewhere in it.
    with: &'static str,
}

const fn row(
    fault: &'static str,
    phase: &'static str,
    run: fn(&mut Node, &Cluster) -> Result<Option<String>>,
    says: &'static str,
    with: &'static str,
) -> Row {
    Row { fault, phase, run, says, with }
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("daemon killed", "create", killed_creating, "2 Finished", ""),
    row("daemon killed", "wait", killed_waiting, "2 Finished", ""),
    row("daemon killed", "payload", killed_sending, "3 stdin was cut at byte ", " of 67108864"),
    row("daemon killed", "running", killed_running, "2 Finished", ""),
    row("410 Gone", "wait", gone_waiting, "2 Finished", ""),
    row("410 Gone", "running", gone_running, "2 Finished", ""),
    row("429", "create, attach, log, delete", throttled, "2 Finished", ""),
    row("403", "create", |node, cluster| denied(node, cluster, "create", "pods"), "3 Error creating pod: ", "is forbidden"),
    row("403", "attach", |node, cluster| denied(node, cluster, "get", "pods/attach"), "2 Finished", ""),
    row("403", "attach, both ways", denied_attach, "3 Error streaming stdin to pod ", "add to the role in the namespace"),
    row("403", "log", |node, cluster| denied(node, cluster, "get", "pods/log"), "3 Error opening log stream for pod ", "is forbidden"),
    row("403", "watch", denied_watch, "3 Error getting pod ", "is forbidden"),
    row("rotation while nobody reads", "running", rotated, "2 Output may be incomplete: log rotated between ", ""),
    row("pod deleted", "wait", deleted_waiting, "3 Error creating pod: pods ", "not found"),
    row("pod deleted", "payload", deleted_sending, "3 ", ""),
    row("pod deleted", "running", deleted_running, "3 Error getting pod ", "not found"),
    row("pod evicted", "running", evicted, "3 Pod ", "evicted: "),
    row("quota", "create", quota, "3 Error creating pod: pods ", "exceeded quota: "),
    row("image not there", "wait", no_image, "3 Error creating pod: container failed to start, ImagePullBackOff", ""),
    row("image name not valid", "wait", bad_image, "3 Error creating pod: container failed to start, InvalidImageName", ""),
    row("no node fits", "wait", no_node, "3 Error creating pod: timed out waiting for the condition", ""),
    row("out of memory", "running", out_of_memory, "3 exit status 137 (OOMKilled)", ""),
];

#[test]
fn podsim() -> Result<()> {
    table(&Cluster::podsim()?, "podsim")
}

#[test]
fn cluster() -> Result<()> {
    Cluster::real_with_faults()?.map_or(Ok(()), |cluster| table(&cluster, "cluster"))
}

#[allow(clippy::print_stderr, reason = "the table is what this is for")]
fn table(cluster: &Cluster, name: &str) -> Result<()> {
    let id = format!("test-{:08x}", rand::random::<u32>());
    let mut node = Harness::new()?.id(&id).kubernetes("kubeit", cluster, &json!({})).start()?;
    let mut wrong = Vec::new();
    for Row { fault, phase, run, says, with } in ROWS {
        let said = one(&mut node, cluster, *run).with_context(|| format!("{fault}, {phase}\n{}", node.log_tail()))?;
        let Some(said) = said else { continue };
        eprintln!("| {fault} | {phase} | {name} | `{said}` |");
        if !said.starts_with(says) || !said.contains(with) {
            wrong.push(format!("{fault}, {phase}: {said:?} is not {says:?} with {with:?}"));
        }
    }
    cluster.wait_without_pods_of(node.id())?;
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn one(
    node: &mut Node,
    cluster: &Cluster,
    run: fn(&mut Node, &Cluster) -> Result<Option<String>>,
) -> Result<Option<String>> {
    let Some(unit) = run(node, cluster)? else { return Ok(None) };
    let status = node.wait_ended_within(&unit, LIMIT)?;
    if let Some(simulator) = cluster.simulator() {
        simulator.faults().clear();
    }
    node.release(&unit)?;
    cluster.wait_without_pods_of(node.id())?;
    Ok(Some(format!("{} {}", number(&status), status.detail)))
}

fn number(status: &UnitStatus) -> u8 {
    status.state as u8
}

fn definition(script: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "fault-"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "worker", "image": "busybox", "command": ["sh", "-c", script]}],
        },
    })
}

fn submit(node: &Node, definition: &Value, payload: &[u8]) -> Result<String> {
    node.submit_with("kubeit", &[("secret_kube_pod", &definition.to_string())], payload)
}

fn trap(cluster: &Cluster, times: u64, on: Matching, effect: Effect) -> bool {
    let Some(simulator) = cluster.simulator() else { return false };
    simulator.faults().set(Trap::times(times, on, effect));
    true
}

/// A worker that starts seconds after its pod was made.
fn slow_to_start() -> Value {
    let mut definition = definition("cat; sleep 1");
    definition["spec"]["initContainers"] = json!([{"name": "first", "image": "busybox", "command": ["sleep", "5"]}]);
    definition
}

fn waiting(node: &Node) -> Result<String> {
    let unit = submit(node, &slow_to_start(), b"payload\n")?;
    node.wait_status_within(&unit, LIMIT, |status| status.detail == "Pod created")?;
    Ok(unit)
}

fn sending(node: &Node) -> Result<String> {
    let unit = submit(node, &definition("sleep 5; cat | wc -c"), &vec![b'x'; 64 * 1024 * 1024])?;
    node.wait_status_within(&unit, LIMIT, |status| status.detail == "Sending stdin to pod")?;
    Ok(unit)
}

/// A worker that goes on for a while after its first line.
fn running(node: &Node) -> Result<String> {
    let unit = submit(node, &definition("cat; echo on; sleep 8; echo off; sleep 1"), b"")?;
    let mut results = node.open_results(&unit, 0)?;
    results.set_patience(LIMIT);
    results.line()?;
    node.wait_status(&unit, |status| status.detail == "Pod Running")?;
    Ok(unit)
}

fn pod_of(node: &Node, unit: &str) -> Result<String> {
    let status = node.wait_status(unit, |status| status.extra["PodName"] != "")?;
    Ok(status.extra["PodName"].as_str().context("no pod")?.to_owned())
}

fn killed_creating(node: &mut Node, cluster: &Cluster) -> Result<Option<String>> {
    trap(cluster, 1, Matching::new("create", "pods"), Effect::LoseAnswer);
    let unit = submit(node, &definition("cat"), b"payload\n")?;
    node.crash_and_restart()?;
    Ok(Some(unit))
}

fn killed_waiting(node: &mut Node, _: &Cluster) -> Result<Option<String>> {
    let unit = waiting(node)?;
    node.crash_and_restart()?;
    Ok(Some(unit))
}

fn killed_sending(node: &mut Node, _: &Cluster) -> Result<Option<String>> {
    let unit = sending(node)?;
    node.crash_and_restart()?;
    Ok(Some(unit))
}

fn killed_running(node: &mut Node, _: &Cluster) -> Result<Option<String>> {
    let unit = running(node)?;
    node.crash_and_restart()?;
    Ok(Some(unit))
}

/// Forgets what was, and says so to those who watch.
fn forget(cluster: &Cluster) -> Result<bool> {
    let Some(simulator) = cluster.simulator() else { return Ok(false) };
    simulator.faults().inject(Fault::ForgetHistory)?;
    simulator.faults().inject(Fault::ExpireWatches)?;
    Ok(true)
}

fn gone_waiting(node: &mut Node, cluster: &Cluster) -> Result<Option<String>> {
    let unit = waiting(node)?;
    if forget(cluster)? { Ok(Some(unit)) } else { node.release(&unit).map(|()| None) }
}

fn gone_running(node: &mut Node, cluster: &Cluster) -> Result<Option<String>> {
    let unit = running(node)?;
    if forget(cluster)? { Ok(Some(unit)) } else { node.release(&unit).map(|()| None) }
}

fn throttled(node: &mut Node, cluster: &Cluster) -> Result<Option<String>> {
    let all = [("create", "pods"), ("get", "pods/attach"), ("get", "pods/log"), ("delete", "pods")];
    for (verb, resource) in all {
        if !trap(cluster, 2, Matching::new(verb, resource), Effect::TooManyRequests { retry_after: 1 }) {
            return Ok(None);
        }
    }
    Ok(Some(submit(node, &definition("cat; sleep 1"), b"payload\n")?))
}

fn denied(node: &Node, cluster: &Cluster, verb: &str, resource: &str) -> Result<Option<String>> {
    let Some(simulator) = cluster.simulator() else { return Ok(None) };
    simulator.faults().set(Trap::always(Matching::new(verb, resource), Effect::Deny));
    Ok(Some(submit(node, &definition("cat; sleep 1"), b"payload\n")?))
}

/// Nor may it ask for the pod by name.
fn denied_watch(node: &mut Node, cluster: &Cluster) -> Result<Option<String>> {
    let Some(simulator) = cluster.simulator() else { return Ok(None) };
    let unit = running(node)?;
    for verb in ["watch", "list", "get"] {
        simulator.faults().set(Trap::always(Matching::new(verb, "pods"), Effect::Deny));
    }
    simulator.faults().inject(Fault::Cut(Which::of(worknode_podsim::Use::Watch)))?;
    Ok(Some(unit))
}

fn denied_attach(node: &mut Node, cluster: &Cluster) -> Result<Option<String>> {
    let Some(simulator) = cluster.simulator() else { return Ok(None) };
    for verb in ["get", "create"] {
        simulator.faults().set(Trap::always(Matching::new(verb, "pods/attach"), Effect::Deny));
    }
    Ok(Some(submit(node, &definition("cat"), b"payload\n")?))
}

/// On a real cluster `rotation.rs` does it.
fn rotated(node: &mut Node, cluster: &Cluster) -> Result<Option<String>> {
    let Some(simulator) = cluster.simulator() else { return Ok(None) };
    let unit = submit(node, &definition("cat; seq 1 1000; sleep 3; seq 1001 2000; sleep 1; echo end"), b"")?;
    node.open_results(&unit, 3000)?.bytes(1)?;
    let away = simulator.faults().set(Trap::always(Matching::new("get", "pods/log"), Effect::LoseRequest));
    simulator.faults().inject(Fault::Cut(Which::of(worknode_podsim::Use::Log)))?;
    pause(Duration::from_millis(4000));
    simulator.faults().inject(Fault::RotateLogs { namespace: NAMESPACE.into(), pod: pod_of(node, &unit)? })?;
    simulator.faults().remove(away);
    Ok(Some(unit))
}

#[allow(clippy::disallowed_methods, reason = "the worker is to write while nobody reads")]
fn pause(length: Duration) {
    std::thread::sleep(length);
}

fn deleted_waiting(node: &mut Node, cluster: &Cluster) -> Result<Option<String>> {
    let unit = waiting(node)?;
    cluster.delete_pod(&pod_of(node, &unit)?)?;
    Ok(Some(unit))
}

fn deleted_sending(node: &mut Node, cluster: &Cluster) -> Result<Option<String>> {
    let unit = sending(node)?;
    cluster.delete_pod(&pod_of(node, &unit)?)?;
    Ok(Some(unit))
}

fn deleted_running(node: &mut Node, cluster: &Cluster) -> Result<Option<String>> {
    let unit = running(node)?;
    cluster.delete_pod(&pod_of(node, &unit)?)?;
    Ok(Some(unit))
}

fn evicted(node: &mut Node, cluster: &Cluster) -> Result<Option<String>> {
    let unit = running(node)?;
    cluster.evict_pod(&pod_of(node, &unit)?)?;
    Ok(Some(unit))
}

fn quota(node: &mut Node, cluster: &Cluster) -> Result<Option<String>> {
    let namespace = format!("full-{:08x}", rand::random::<u32>());
    cluster.make_full_namespace(&namespace)?;
    let mut definition = definition("cat");
    definition["metadata"]["namespace"] = namespace.into();
    submit(node, &definition, b"").map(Some)
}

fn with_image(node: &Node, image: &str) -> Result<Option<String>> {
    let mut definition = definition("cat");
    definition["spec"]["containers"][0]["image"] = image.into();
    submit(node, &definition, b"").map(Some)
}

fn no_image(node: &mut Node, _: &Cluster) -> Result<Option<String>> {
    with_image(node, "nosuch.example/missing:1")
}

fn bad_image(node: &mut Node, _: &Cluster) -> Result<Option<String>> {
    with_image(node, "Not A Name")
}

fn no_node(node: &mut Node, _: &Cluster) -> Result<Option<String>> {
    let mut definition = definition("cat");
    definition["spec"]["nodeSelector"] = json!({"nosuch": "label"});
    let parameters = [("secret_kube_pod", definition.to_string()), ("pod_pending_timeout", "5s".to_owned())];
    let parameters = parameters.each_ref().map(|(name, value)| (*name, value.as_str()));
    let unit = node.submit_with("kubeit", &parameters, b"")?;
    node.wait_status(&unit, |status| {
        status.detail.starts_with("Pod created: Unschedulable: 0/1 nodes are available: ")
    })?;
    Ok(Some(unit))
}

fn out_of_memory(node: &mut Node, cluster: &Cluster) -> Result<Option<String>> {
    if let Some(simulator) = cluster.simulator() {
        let unit = running(node)?;
        let (namespace, container) = (NAMESPACE.to_owned(), "worker".to_owned());
        simulator.faults().inject(Fault::OutOfMemory { namespace, pod: pod_of(node, &unit)?, container })?;
        return Ok(Some(unit));
    }
    let mut definition = definition("cat; tail /dev/zero");
    definition["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": "16Mi"}});
    submit(node, &definition, b"").map(Some)
}
