//! Units of pods while their daemon is killed, stopped and started again.

use worknode_tests::State;

use crate::on_clusters;
use crate::world::{clean, node, submit};

/// Numbered lines with a pause now and then.
const COUNT: &str = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; [ $((i % 100)) != 0 ] || sleep 0.1; done";

fn counted() -> Vec<u8> {
    (1..=3000).flat_map(|line| format!("{line}\n").into_bytes()).collect()
}

on_clusters! {
    fn a_crash_while_the_pod_writes_loses_and_doubles_nothing(cluster) -> Result<()> {
        let mut node = node(cluster)?;
        let unit = submit(&node, COUNT, b"")?;
        for position in [10, 2_000, 6_000] {
            node.open_results(&unit, position)?.bytes(1)?;
            node.crash_and_restart()?;
        }
        assert_eq!(node.wait_ended(&unit)?.detail, "Finished");
        assert_eq!(String::from_utf8(node.results(&unit)?)?, String::from_utf8(counted())?);
        clean(&node, cluster, &[&unit])
    }

    fn a_stop_leaves_the_pod_to_the_next_daemon(cluster) -> Result<()> {
        let mut node = node(cluster)?;
        let unit = submit(&node, COUNT, b"")?;
        node.open_results(&unit, 500)?.bytes(1)?;
        assert_eq!(node.stop()?.code(), Some(0));
        assert_eq!(cluster.pods_of(node.id())?.len(), 1);
        node.start()?;
        assert_eq!(node.wait_ended(&unit)?.state, State::Succeeded);
        assert_eq!(node.results(&unit)?, counted());
        clean(&node, cluster, &[&unit])
    }

    /// Go receptor leaves the pod in the cluster (weakness 23).
    fn release_after_a_restart_deletes_the_pod(cluster) -> Result<()> {
        let mut node = node(cluster)?;
        let unit = submit(&node, "echo begun; exec sleep 1000", b"")?;
        assert_eq!(node.open_results(&unit, 0)?.line()?, "begun");
        node.crash_and_restart()?;
        clean(&node, cluster, &[&unit])
    }

    fn an_end_that_no_daemon_saw_is_known_afterwards(cluster) -> Result<()> {
        let mut node = node(cluster)?;
        let unit = submit(&node, "cat; sleep 3; echo last; exit 3", b"payload\n")?;
        assert_eq!(node.open_results(&unit, 0)?.line()?, "payload");
        // Only now is the payload known to have arrived: a daemon that dies before must call it cut (work-types 6).
        node.wait_status(&unit, |status| status.state == State::Running)?;
        node.kill9()?;
        // The pod's end is an event of the cluster: it is there when the pod's phase says so.
        cluster.wait_for_phase_of(node.id(), &["Failed"])?;
        node.start()?;
        let status = node.wait_ended(&unit)?;
        assert_eq!((status.state, status.detail.as_str()), (State::Failed, "exit status 3"));
        assert_eq!(node.results(&unit)?, b"payload\nlast\n");
        clean(&node, cluster, &[&unit])
    }
}
