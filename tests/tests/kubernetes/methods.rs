//! The other ways of the streams: `streammethod: attach`, and `tcp`, which only a real cluster's pods can dial from addresses
//! of their own.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use worknode_tests::cluster::Cluster;
use worknode_tests::{Harness, Node, State};

use crate::on_clusters;
use crate::world::{clean, pod, submit};

/// Other tests stop the API server meanwhile.
const RECOVERY: Duration = Duration::from_secs(180);

fn node(cluster: &Cluster, keys: &Value) -> Result<Node> {
    let id = format!("test-{:08x}", rand::random::<u32>());
    Harness::new()?.id(&id).kubernetes("kubeit", cluster, keys).start()
}

on_clusters! {
    /// Carriage returns, which the log drops, and standard error in a file of its own.
    fn attached_output_is_exact(cluster) -> Result<()> {
        let node = node(cluster, &json!({"streammethod": "attach", "stderr": "separate"}))?;
        let payload: Vec<u8> = (0..300_000).flat_map(|line| format!("{line}\r\n").into_bytes()).collect();
        let unit = submit(&node, "cat; echo bad >&2; printf 'last'; sleep 1; exit 3", &payload)?;
        let status = node.wait_ended_within(&unit, RECOVERY)?;
        assert_eq!((status.state, status.detail.as_str()), (State::Failed, "exit status 3"));
        let expected = [payload.as_slice(), b"last"].concat();
        let output = node.results(&unit)?;
        ensure!(output == expected, "{} of {} bytes", output.len(), expected.len());
        assert_eq!(std::fs::read(node.unit_directory(&unit).join("stderr"))?, b"bad\n");
        clean(&node, cluster, &[&unit])
    }

    fn what_was_written_before_the_attach_is_there(cluster) -> Result<()> {
        let node = node(cluster, &json!({"streammethod": "attach"}))?;
        let unit = submit(&node, "seq 1 1000; cat; sleep 1", b"payload\n")?;
        assert_eq!(node.wait_ended_within(&unit, RECOVERY)?.detail, "Finished");
        let expected: String = (1..=1000).map(|line| format!("{line}\n")).collect::<String>() + "payload\n";
        assert_eq!(String::from_utf8(node.results(&unit)?)?, expected);
        clean(&node, cluster, &[&unit])
    }

    /// The API server goes away in the middle, and the daemon is killed.
    fn attached_output_goes_on_from_the_log(cluster) -> Result<()> {
        let mut node = node(cluster, &json!({"streammethod": "attach"}))?;
        let script = "cat; i=0; while [ $i -lt 150 ]; do i=$((i+1)); echo $i; sleep 0.1; done; sleep 1";
        let unit = submit(&node, script, b"payload\r\n")?;
        for (written, then) in [(20, true), (60, false)] {
            let mut results = node.open_results(&unit, written)?;
            results.set_patience(RECOVERY);
            results.bytes(1)?;
            if then {
                cluster.restart_api()?;
            }
        }
        node.crash_and_restart()?;
        assert_eq!(node.wait_ended_within(&unit, RECOVERY)?.detail, "Finished");
        let lines: String = (1..=150).map(|line| format!("{line}\n")).collect();
        // From the attach, or from the log, where the carriage return is not.
        let output = String::from_utf8(node.results(&unit)?)?;
        ensure!(output == format!("payload\r\n{lines}") || output == format!("payload\n{lines}"), "{output:?}");
        clean(&node, cluster, &[&unit])
    }
}

/// From the pod's own address, which is that of the cluster's node, without a token.
#[test]
fn a_real_pod_dials() -> Result<()> {
    let Some(cluster) = Cluster::real()? else { return Ok(()) };
    let node = node(&cluster, &json!({"streammethod": "tcp", "tcpaddress": "127.0.0.1"}))?;
    let script = "nc $RECEPTOR_HOST $RECEPTOR_PORT -e wc -c; sleep 1; exit 3";
    let mut definition: Value = serde_json::from_str(&pod(script))?;
    definition["spec"]["hostNetwork"] = true.into();
    let parameters = [("secret_kube_pod", definition.to_string())];
    let parameters = parameters.each_ref().map(|(name, value)| (*name, value.as_str()));
    let unit = node.submit_with("kubeit", &parameters, &vec![b'x'; 3_000_000])?;
    let status = node.wait_ended_within(&unit, RECOVERY)?;
    assert_eq!((status.state, status.detail.as_str()), (State::Failed, "exit status 3"));
    assert_eq!(String::from_utf8(node.results(&unit)?)?, "3000000\n");
    clean(&node, &cluster, &[&unit])
}
