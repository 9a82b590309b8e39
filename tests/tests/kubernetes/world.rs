//! A node with a Kubernetes type, and pods for it.

use anyhow::Result;
use serde_json::json;
use worknode_tests::cluster::Cluster;
use worknode_tests::{Harness, Node};

/// A node that runs pods of the type `kubeit` on the cluster. Its name is its own, for pods are found by it.
pub(crate) fn node(cluster: &Cluster) -> Result<Node> {
    let id = format!("test-{:08x}", rand::random::<u32>());
    Harness::new()?.id(&id).kubernetes("kubeit", cluster, &json!({})).start()
}

/// A pod definition, as a client gives it: one container `worker` that runs a script.
pub(crate) fn pod(script: &str) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "myapp-pod-"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "worker", "image": "busybox", "command": ["sh", "-c", script]}],
        },
    })
    .to_string()
}

/// Submits a script as a pod.
pub(crate) fn submit(node: &Node, script: &str, payload: &[u8]) -> Result<String> {
    node.submit_with("kubeit", &[("secret_kube_pod", &pod(script))], payload)
}

/// Releases the units and checks that no pod is left.
pub(crate) fn clean(node: &Node, cluster: &Cluster, units: &[&str]) -> Result<()> {
    for unit in units {
        node.release(unit)?;
    }
    cluster.wait_without_pods_of(node.id())
}
