//! The way to the API server: an account that may do little, and proxies.

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use rand::RngExt as _;
use serde_json::json;
use sha2::{Digest, Sha256};
use worknode_podsim::ConnectProxy;
use worknode_tests::cluster::Cluster;
use worknode_tests::{Harness, Node, State};

use crate::on_clusters;
use crate::world::{clean, pod};

/// A node whose clients bring the kubeconfig and the pod, as in the main example of receptor's documentation.
fn runtime_node() -> Result<Harness> {
    let kubeit = json!({
        "worktype": "kubeit", "authmethod": "runtime",
        "allowruntimeauth": true, "allowruntimepod": true, "allowruntimeparams": true,
    });
    let id = format!("test-{:08x}", rand::random::<u32>());
    Ok(Harness::new()?.id(&id).action("work-kubernetes", kubeit))
}

/// Submits a script under the stock role of an AWX container group.
fn submit(node: &Node, kubeconfig: &str, script: &str, payload: &[u8]) -> Result<String> {
    let parameters = [("secret_kube_config", kubeconfig), ("secret_kube_pod", &pod(script))];
    node.submit_with("kubeit", &parameters, payload)
}

/// `None`: there is none, and the reason is printed.
fn stock_role(cluster: &Cluster) -> Result<Option<String>> {
    cluster.restricted_kubeconfig().map(|path| std::fs::read_to_string(path).context("reading it")).transpose()
}

on_clusters! {
    fn the_main_job_under_the_stock_role(cluster) -> Result<()> {
        let Some(kubeconfig) = stock_role(cluster)? else { return Ok(()) };
        let node = runtime_node()?.start()?;
        let unit = submit(&node, &kubeconfig, "cat; echo done", b"hello pod\n")?;
        let status = node.wait_ended(&unit)?;
        assert_eq!((status.state, status.detail.as_str()), (State::Succeeded, "Finished"));
        assert_eq!(node.results(&unit)?, b"hello pod\ndone\n");
        clean(&node, cluster, &[&unit])
    }

    fn megabytes_under_the_stock_role_are_the_same(cluster) -> Result<()> {
        let Some(kubeconfig) = stock_role(cluster)? else { return Ok(()) };
        let mut random = vec![0_u8; 6 << 20];
        rand::rng().fill(random.as_mut_slice());
        let text = base64::engine::general_purpose::STANDARD.encode(random);
        let payload: Vec<u8> = text.as_bytes().chunks(76).flat_map(|line| line.iter().chain(b"\n")).copied().collect();
        let node = runtime_node()?.start()?;
        let unit = submit(&node, &kubeconfig, "cat; sleep 1", &payload)?;
        let output = node.results(&unit)?;
        assert_eq!(Sha256::digest(&output), Sha256::digest(&payload), "{} of {} bytes", output.len(), payload.len());
        assert_eq!(node.wait_ended(&unit)?.state, State::Succeeded);
        clean(&node, cluster, &[&unit])
    }

    fn an_empty_payload_under_the_stock_role(cluster) -> Result<()> {
        let Some(kubeconfig) = stock_role(cluster)? else { return Ok(()) };
        let node = runtime_node()?.start()?;
        let unit = submit(&node, &kubeconfig, "cat; echo end", b"")?;
        assert_eq!(node.results(&unit)?, b"end\n");
        assert_eq!(node.wait_ended(&unit)?.state, State::Succeeded);
        clean(&node, cluster, &[&unit])
    }
}

/// The server's name leads nowhere: what arrives has come through the proxy.
#[test]
fn the_environments_proxy_carries_the_streams_too() -> Result<()> {
    let cluster = Cluster::podsim()?;
    let sim = cluster.simulator().context("a simulator")?;
    let proxy = ConnectProxy::start(sim.address())?;
    let kubeconfig = std::fs::read_to_string(cluster.kubeconfig())?.replace(&sim.url(), "https://kubernetes:6443");
    let node = runtime_node()?
        .environment("HTTPS_PROXY", format!("http://{}", proxy.address()))
        .environment("NO_PROXY", "example.org,10.0.0.0/8")
        .start()?;
    let unit = submit(&node, &kubeconfig, "cat", b"through the proxy\n")?;
    assert_eq!(node.results(&unit)?, b"through the proxy\n");
    assert_eq!(node.wait_ended(&unit)?.state, State::Succeeded);
    let tunnels = proxy.tunnels();
    ensure!(tunnels.len() >= 2 && tunnels.iter().all(|tunnel| tunnel.target == "kubernetes:6443"), "{tunnels:?}");
    clean(&node, &cluster, &[&unit])
}
