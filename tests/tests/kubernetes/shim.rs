//! `streammethod: shim`: nothing is lost, whatever breaks on the way.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use worknode_podsim::{Effect, Fault, Trap, Use, Which};
use worknode_tests::cluster::Cluster;
use worknode_tests::{Harness, Node, State};

use crate::on_clusters;
use crate::world::{clean, submit};

fn node(cluster: &Cluster) -> Result<Node> {
    let id = format!("test-{:08x}", rand::random::<u32>());
    Harness::new()?.id(&id).kubernetes("kubeit", cluster, &json!({"streammethod": "shim"})).start()
}

/// How long a cluster may take until it starts pods again after another test stopped its API server.
const RECOVERY: Duration = Duration::from_secs(180);

/// What `seq 1 LAST` writes.
fn sequence(last: u32) -> Vec<u8> {
    (1..=last).flat_map(|line| format!("{line}\n").into_bytes()).collect()
}

/// Fails with the first line that is not the one that should be there.
fn ensure_sequence(output: &[u8], last: u32) -> Result<()> {
    if output == sequence(last) {
        return Ok(());
    }
    let lines = output.split_inclusive(|&byte| byte == b'\n');
    let wrong = lines.zip(1..).find(|(line, number)| *line != format!("{number}\n").as_bytes());
    let wrong = wrong.map(|(line, number)| format!("line {number} is {:?}", String::from_utf8_lossy(line)));
    anyhow::bail!("{} bytes of {last} lines: {wrong:?}", output.len())
}

on_clusters! {
    /// Bytes, not lines: the log would drop the carriage returns and add what it thinks is missing.
    fn both_directions_are_exact(cluster) -> Result<()> {
        let node = node(cluster)?;
        let payload: Vec<u8> = (0..=255_u8).cycle().take(3_000_001).chain(*b"\r\n\r").collect();
        let unit = submit(&node, "printf 'a\\r\\n'; cat; printf 'err' >&2; printf 'last'; exit 3", &payload)?;
        let status = node.wait_ended(&unit)?;
        assert_eq!((status.state, status.detail.as_str()), (State::Failed, "exit status 3"));
        let expected = [b"a\r\n".as_slice(), &payload, b"errlast"].concat();
        let output = node.results(&unit)?;
        ensure!(output == expected, "{} of {} bytes", output.len(), expected.len());
        clean(&node, cluster, &[&unit])
    }

    /// As the whole container it loses its last lines in the runtime, or in the log, nearly always.
    fn a_fast_writer_that_exits_at_once_loses_nothing(cluster) -> Result<()> {
        let node = node(cluster)?;
        let unit = submit(&node, "seq 1 200000", b"")?;
        assert_eq!(node.wait_ended(&unit)?.detail, "Finished");
        ensure_sequence(&node.results(&unit)?, 200_000)?;
        clean(&node, cluster, &[&unit])
    }

    /// Without the helper the job would take the kill for the end of its payload.
    fn a_payload_goes_on_where_a_killed_daemon_left_it(cluster) -> Result<()> {
        let mut node = node(cluster)?;
        let payload = sequence(2_000_000);
        let unit = submit(&node, "read one; echo $one; sleep 2; cat", &payload)?;
        node.open_results(&unit, 0)?.bytes(1)?;
        node.crash_and_restart()?;
        node.open_results(&unit, 3_000_000)?.bytes(1)?;
        node.crash_and_restart()?;
        assert_eq!(node.wait_ended(&unit)?.detail, "Finished");
        ensure_sequence(&node.results(&unit)?, 2_000_000)?;
        clean(&node, cluster, &[&unit])
    }

    fn output_waits_in_the_pod_for_the_next_daemon(cluster) -> Result<()> {
        let mut node = node(cluster)?;
        let unit = submit(&node, "echo 1; read go; sleep 1; seq 2 300000", b"go\n")?;
        node.open_results(&unit, 0)?.bytes(1)?;
        node.kill9()?;
        node.start()?;
        assert_eq!(node.wait_ended(&unit)?.detail, "Finished");
        ensure_sequence(&node.results(&unit)?, 300_000)?;
        clean(&node, cluster, &[&unit])
    }

    /// The issue's own measure, with the kubelet's rotation where the cluster rotates early.
    fn a_million_lines_through_kills_and_outages(cluster) -> Result<()> {
        const LAST: u32 = 1_000_000;
        let mut node = node(cluster)?;
        let script = "p=0; while [ $p -lt 50 ]; do seq $((p*20000+1)) $((p*20000+20000)); p=$((p+1)); sleep 0.2; done";
        let unit = submit(&node, script, b"")?;
        node.wait_status_within(&unit, RECOVERY, |status| status.state != State::Pending)?;
        for position in [500_000, 3_000_000, 5_000_000] {
            node.open_results(&unit, position)?.bytes(1)?;
            node.crash_and_restart()?;
            node.open_results(&unit, position + 500_000)?.bytes(1)?;
            cluster.restart_api()?;
        }
        assert_eq!(node.wait_ended(&unit)?.detail, "Finished");
        let output = node.results(&unit)?;
        ensure_sequence(&output, LAST)?;
        clean(&node, cluster, &[&unit])
    }

    /// A process that holds the job's output open does not hold up its end.
    fn what_a_job_leaves_behind_ends_with_it(cluster) -> Result<()> {
        let node = node(cluster)?;
        let unit = submit(&node, "sleep 1000 & echo begun", b"")?;
        assert_eq!(node.wait_ended(&unit)?.detail, "Finished");
        assert_eq!(node.results(&unit)?, b"begun\n");
        clean(&node, cluster, &[&unit])
    }

    /// By SPDY and POST: AWX's role grants no more.
    fn the_stock_role_is_enough(cluster) -> Result<()> {
        let Some(kubeconfig) = cluster.restricted_kubeconfig() else { return Ok(()) };
        let id = format!("test-{:08x}", rand::random::<u32>());
        let more = json!({"streammethod": "shim", "kubeconfig": kubeconfig});
        let mut node = Harness::new()?.id(&id).kubernetes("kubeit", cluster, &more).start()?;
        let payload = sequence(1_000_000);
        let unit = submit(&node, "read one; echo $one; sleep 1; cat", &payload)?;
        node.wait_status_within(&unit, RECOVERY, |status| {
            status.detail == "Sending stdin to pod" || status.state != State::Pending
        })?;
        node.open_results(&unit, 0)?.bytes(1)?;
        node.crash_and_restart()?;
        node.open_results(&unit, 2_000_000)?.bytes(1)?;
        cluster.restart_api()?;
        assert_eq!(node.wait_ended(&unit)?.detail, "Finished");
        ensure_sequence(&node.results(&unit)?, 1_000_000)?;
        clean(&node, cluster, &[&unit])
    }

    fn a_cancel_ends_the_job_at_once(cluster) -> Result<()> {
        let node = node(cluster)?;
        let unit = submit(&node, "echo begun; exec sleep 1000", b"")?;
        assert_eq!(node.open_results(&unit, 0)?.line()?, "begun");
        clean(&node, cluster, &[&unit])
    }

    fn a_command_that_cannot_be_run_says_why(cluster) -> Result<()> {
        let node = node(cluster)?;
        let parameters = [("kube_image", "busybox"), ("kube_command", "/no/such/program --x")];
        let unit = node.submit_with("kubeit", &parameters, b"")?;
        assert_eq!(node.wait_ended(&unit)?.detail, "exit status 127");
        let output = String::from_utf8(node.results(&unit)?)?;
        assert_eq!(output, "worknode shim: /no/such/program: No such file or directory (os error 2)\n");
        clean(&node, cluster, &[&unit])
    }

    fn a_worker_without_command_is_refused_before_there_is_a_pod(cluster) -> Result<()> {
        let node = node(cluster)?;
        let unit = node.submit_with("kubeit", &[("kube_image", "busybox")], b"")?;
        let status = node.wait_ended(&unit)?;
        assert_eq!(
            status.detail,
            "Error creating pod: streammethod shim: the container worker needs a command; that of its image is not known here"
        );
        assert_eq!(cluster.pods_of(node.id())?.len(), 0);
        node.release(&unit)?;
        Ok(())
    }

    /// The worker and the helper in it: what it kept is gone with it.
    fn output_that_died_with_the_pod_is_not_called_complete(cluster) -> Result<()> {
        let node = node(cluster)?;
        let unit = submit(&node, "echo begun; exec sleep 1000", b"")?;
        assert_eq!(node.open_results(&unit, 0)?.line()?, "begun");
        let pods = cluster.pods_of(node.id())?;
        let name = pods[0].pointer("/metadata/name").and_then(|name| name.as_str()).context("no name")?;
        cluster.delete_pod(name)?;
        assert_eq!(node.wait_ended(&unit)?.state, State::Failed);
        clean(&node, cluster, &[&unit])
    }
}

/// The attach breaks while the helper is being sent, and then while it works.
#[test]
fn broken_attaches_are_made_up_for() -> Result<()> {
    let cluster = Cluster::podsim()?;
    let podsim = cluster.simulator().context("no podsim")?;
    for bytes in [1, 400_000, 1_000_000] {
        let on = serde_json::from_value(json!({"verb": "get", "resource": "pods/attach"}))?;
        podsim.faults().set(Trap { on, skip: 0, times: Some(1), effect: Effect::CutAfter { bytes } });
    }
    let node = node(&cluster)?;
    let payload = sequence(1_500_000);
    let unit = submit(&node, "cat", &payload)?;
    for position in (0..8_000_000).step_by(1_000_000) {
        node.open_results(&unit, position)?.bytes(1)?;
        let which = Which { usage: Some(Use::Attach), ..Which::default() };
        let fault = if position % 2_000_000 == 0 { Fault::Cut(which) } else { Fault::Reset(which) };
        podsim.faults().inject(fault)?;
    }
    assert_eq!(node.wait_ended(&unit)?.detail, "Finished");
    ensure_sequence(&node.results(&unit)?, 1_500_000)?;
    clean(&node, &cluster, &[&unit])
}
