//! The calls of AWX's controller, made again by a script of ours through receptorctl's library (control-protocol 2.4).

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use worknode_tests::binaries::workspace;
use worknode_tests::cluster::Cluster;
use worknode_tests::mesh::{
    Kind::{self, Go, Ours},
    free_port, linked_with,
};
use worknode_tests::python::{ANSIBLE_RUNNER, Environment, Packages, RECEPTORCTL, RECEPTORCTL_1_4, environment};
use worknode_tests::{Harness, Node};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/clients/controller_calls.py");
/// A namespace of podsim's in which no pod may be made.
const FULL: &str = "full";

/// The key that signs and the one that verifies.
fn key(kind: &str) -> Value {
    json!(workspace().join(format!("daemon/src/work/signature/keys/signing.{kind}.pem")))
}

/// The work types that AWX configures on a node. `local` runs scripts here, for AWX's own program has a test of its own.
pub(crate) fn with_work_types(harness: Harness, runner: &Environment) -> Harness {
    let home = harness.directory().to_owned();
    harness
        .environment("HOME", home)
        .action("work-verification", json!({"publickey": key("pub")}))
        .action("work-signing", json!({"privatekey": key("pkcs8"), "tokenexpiration": "5m"}))
        .action(
            "work-command",
            json!({"worktype": "local", "command": "sh", "allowruntimeparams": true, "verifysignature": true}),
        )
        .action(
            "work-command",
            json!({
                "worktype": "ansible-runner", "command": runner.program("ansible-runner"), "params": "worker",
                "allowruntimeparams": true, "verifysignature": true,
            }),
        )
        .action(
            "work-kubernetes",
            json!({
                "worktype": "kubernetes-runtime-auth", "authmethod": "runtime", "allowruntimeauth": true,
                "allowruntimepod": true, "allowruntimeparams": true,
            }),
        )
}

/// A pod definition of the controller's own.
fn pod(image: &str, namespace: &str) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "automation-job-", "namespace": namespace, "labels": {"job": "1"}},
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "worker", "image": image, "args": ["sh", "-c", "echo in the pod; cat; echo"]}],
        },
    })
    .to_string()
}

fn kubernetes(cluster: &Cluster) -> Result<Value> {
    let refused = match cluster.simulator() {
        Some(_) => {
            cluster.make_full_namespace(FULL)?;
            Some(pod("busybox", FULL))
        }
        // Nobody may fill a real cluster, and a quota of one takes its time to be known.
        None => None,
    };
    let pods = json!({
        "good": pod("busybox", "default"), "absent": pod("busybox:nowhere-to-be-had", "default"), "refused": refused,
    });
    Ok(json!({"kubeconfig": cluster.kubeconfig(), "pods": pods}))
}

/// Runs the script with these settings added to those of the node, and gives what it has printed.
fn run(client: &Environment, node: &Node, more: &Value) -> Result<String> {
    let mut settings = json!({
        "socket": node.socket(), "config": node.config(), "node": "localhost", "tls_client": null, "peer": null,
        "kubernetes": null,
    });
    for (name, value) in more.as_object().context("no settings")? {
        settings[name] = value.clone();
    }
    let file = node.root().join("settings.json");
    std::fs::write(&file, settings.to_string())?;
    let output = Command::new("timeout").arg("240").arg(client.program("python")).arg(SCRIPT).arg(file).output()?;
    let printed = String::from_utf8(output.stdout)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}\n{printed}{errors}{}", output.status, node.log_tail());
    Ok(printed)
}

/// On the own node, with a link to another that comes and goes with the file.
fn calls(client: Packages, cluster: &Cluster) -> Result<()> {
    let (Some(client), Some(runner)) = (environment(client), environment(ANSIBLE_RUNNER)) else { return Ok(()) };
    let port = free_port()?;
    let _other =
        Harness::new()?.id("other").action("tcp-listener", json!({"bindaddr": "127.0.0.1", "port": port})).start()?;
    let id = format!("test-{:08x}", rand::random::<u32>());
    let node = with_work_types(Harness::new()?.id(&id), &runner).start()?;
    let more = json!({"peer": [format!("127.0.0.1:{port}"), "other"], "kubernetes": kubernetes(cluster)?});
    let printed = run(&client, &node, &more)?;
    let parts =
        "where work can go\nslow payload\nfailure\ncancel\nhealth check\nunknown work\nreload\ncontainer group\n";
    assert_eq!(printed, parts);
    cluster.wait_without_pods_of(&id)
}

#[test]
fn the_controllers_calls() -> Result<()> {
    calls(RECEPTORCTL, &Cluster::podsim()?)
}

#[test]
fn the_controllers_calls_by_the_older_library() -> Result<()> {
    calls(RECEPTORCTL_1_4, &Cluster::podsim()?)
}

#[test]
fn the_controllers_calls_on_a_real_cluster() -> Result<()> {
    Cluster::real()?.map_or(Ok(()), |cluster| calls(RECEPTORCTL, &cluster))
}

/// From the own node to another, of either kind, by signed requests.
fn calls_of_another_node(kinds: &[Kind]) -> Result<()> {
    let (Some(client), Some(runner)) = (environment(RECEPTORCTL), environment(ANSIBLE_RUNNER)) else { return Ok(()) };
    let Some(nodes) = linked_with(kinds, false, |_, harness| with_work_types(harness, &runner))? else { return Ok(()) };
    let other = nodes.last().context("no node")?;
    let printed = run(&client, &nodes[0], &json!({"node": other.id()}))?;
    assert_eq!(printed, "where work can go\nslow payload\nfailure\ncancel\nhealth check\nunknown work\n");
    ensure!(other.list()?.is_empty(), "left on the other node: {:?}", other.list()?);
    Ok(())
}

#[test]
fn the_controllers_calls_of_another_node() -> Result<()> {
    calls_of_another_node(&[Ours, Ours, Ours])
}

#[test]
fn the_controllers_calls_of_a_receptor() -> Result<()> {
    calls_of_another_node(&[Ours, Go])
}
