//! Pods for a cluster that another node has: submitted on a leaf, run by the hub (on podsim, and on the real cluster that
//! `WORKNODE_KUBECONFIG` names). Their definition is a secret, and goes over TLS alone.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use worknode_tests::{
    Node, State, certificates,
    cluster::Cluster,
    mesh::{Kind::Ours, linked_with},
    work::{answer, created, submit_line},
};

use super::SOON;

/// A leaf `n1` without a cluster, and the hub `n2`, of which the streams to the control service have TLS.
fn leaf_and_hub(cluster: &Cluster, directory: &Path) -> Result<Option<Vec<Node>>> {
    certificates::of_nodes(directory, &["n1", "n2"])?;
    let file = |name: &str| directory.join(name);
    linked_with(&[Ours, Ours], false, |place, harness| {
        if place == 0 {
            let client =
                json!({"name": "hub", "rootcas": file("ca.crt"), "cert": file("n1.crt"), "key": file("n1.key")});
            return harness.action("tls-client", client);
        }
        let server = json!({"name": "in", "cert": file("n2.crt"), "key": file("n2.key"),
                            "clientcas": file("ca.crt"), "requireclientcert": true});
        harness.action("tls-server", server).control("tls", json!("in")).kubernetes("kubeit", cluster, &json!({}))
    })
}

fn a_pod_by_way_of_the_hub(cluster: &Cluster) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let Some(nodes) = leaf_and_hub(cluster, directory.path())? else { return Ok(()) };
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "myapp-pod-"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "worker", "image": "busybox", "command": ["sh", "-c", "tr a-z A-Z"]}],
        },
    });
    let pod = pod.to_string();
    let fields = [("node", "n2"), ("secret_kube_pod", pod.as_str())];
    let mut session = nodes[0].connect()?;
    let refused = session.ask(&submit_line("kubeit", &fields))?;
    ensure!(refused == "ERROR: cannot send secrets over a non-TLS connection", "{refused}");

    let with_tls: Vec<_> = fields.into_iter().chain([("tlsclient", "hub")]).collect();
    let id = created(&session.ask(&submit_line("kubeit", &with_tls))?)?;
    session.send(b"hello pod\n")?;
    session.half_close()?;
    let reply = answer(&session.line()?)?;
    ensure!(reply["result"] == "Job Started", "{reply}");
    let mut results = nodes[0].open_results(&id, 0)?;
    results.set_patience(SOON * 4);
    let output = results.rest()?;
    ensure!(output == b"HELLO POD\n", "{:?}: {}", String::from_utf8_lossy(&output), nodes[0].status(&id)?);
    let status = nodes[0].wait_ended(&id)?;
    ensure!(status.state == State::Succeeded && status.detail == "Finished", "{status}");
    for node in &nodes {
        let shown = Value::Object(node.list()?).to_string();
        ensure!(!shown.contains("tr a-z A-Z"), "{}: {shown}", node.id());
    }
    ensure!(nodes[0].connect()?.ask(&format!("work release {id}"))? == json!({"released": id}).to_string());
    cluster.wait_without_pods_of("n2")
}

#[test]
fn a_pod_on_the_hubs_podsim() -> Result<()> {
    a_pod_by_way_of_the_hub(&Cluster::podsim()?)
}

#[test]
fn a_pod_on_the_hubs_real_cluster() -> Result<()> {
    Cluster::real()?.map_or(Ok(()), |cluster| a_pod_by_way_of_the_hub(&cluster))
}
