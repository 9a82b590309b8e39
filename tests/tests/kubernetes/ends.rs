//! How units of pods end.

use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use worknode_tests::{Harness, State};

use crate::on_clusters;
use crate::world::{clean, node, pod, submit};

on_clusters! {
    /// Go receptor never looks at it once the pod was ready (control-protocol 5.5, work-types 2.9).
    fn exit_codes_count(cluster) -> Result<()> {
        let node = node(cluster)?;
        let unit = submit(&node, "echo out; exit 7", b"")?;
        let status = node.wait_ended(&unit)?;
        assert_eq!((status.state, status.detail.as_str()), (State::Failed, "exit status 7"));
        assert_eq!(node.results(&unit)?, b"out\n");
        clean(&node, cluster, &[&unit])
    }

    fn with_the_original_rule_they_do_not(cluster) -> Result<()> {
        let id = format!("test-{:08x}", rand::random::<u32>());
        let node = Harness::new()?.id(&id).kubernetes("kubeit", cluster, &json!({"failonexitcode": false})).start()?;
        // Long enough to be seen ready: a pod that has failed before that fails the unit by either rule.
        let unit = submit(&node, "echo out; sleep 3; exit 7", b"")?;
        let status = node.wait_ended(&unit)?;
        assert_eq!((status.state, status.detail.as_str()), (State::Succeeded, "Finished"));
        clean(&node, cluster, &[&unit])
    }

    fn cancel_of_a_running_unit_deletes_the_pod(cluster) -> Result<()> {
        let node = node(cluster)?;
        let unit = submit(&node, "echo begun; exec sleep 1000", b"")?;
        assert_eq!(node.open_results(&unit, 0)?.line()?, "begun");
        node.cancel(&unit)?;
        let status = node.wait_ended(&unit)?;
        assert_eq!((status.state, status.detail.as_str()), (State::Canceled, "Canceled"));
        assert_eq!(node.results(&unit)?, b"begun\n");
        cluster.wait_without_pods_of(node.id())?;
        assert_eq!(node.status(&unit)?.state, State::Canceled, "it stays so (weakness 24)");
        clean(&node, cluster, &[&unit])
    }

    fn cancel_of_a_pending_unit_deletes_the_pod(cluster) -> Result<()> {
        let node = node(cluster)?;
        let definition = pod("true").replace("busybox", "no-such-image");
        let unit = node.submit_with("kubeit", &[("secret_kube_pod", &definition)], b"payload")?;
        node.wait_status(&unit, |status| status.extra["PodName"] != "")?;
        node.cancel(&unit)?;
        assert_eq!(node.wait_ended(&unit)?.state, State::Canceled);
        cluster.wait_without_pods_of(node.id())?;
        clean(&node, cluster, &[&unit])
    }

    fn release_of_a_running_unit_deletes_the_pod(cluster) -> Result<()> {
        let node = node(cluster)?;
        let unit = submit(&node, "echo begun; exec sleep 1000", b"")?;
        let mut results = node.open_results(&unit, 0)?;
        assert_eq!(results.line()?, "begun");
        node.release(&unit)?;
        assert_eq!(results.line_or_end()?, None);
        cluster.wait_without_pods_of(node.id())
    }

    /// On a real cluster Go receptor ended such a unit as canceled (control-protocol 5.5).
    fn a_pod_that_cannot_start_in_time_fails_the_unit(cluster) -> Result<()> {
        let node = node(cluster)?;
        let mut definition: Value = serde_json::from_str(&pod("true"))?;
        definition["spec"]["initContainers"] = json!([{"name": "first", "image": "busybox", "command": ["sleep", "1000"]}]);
        let definition = definition.to_string();
        let parameters = [("secret_kube_pod", definition.as_str()), ("pod_pending_timeout", "2s")];
        let unit = node.submit_with("kubeit", &parameters, b"")?;
        let status = node.wait_ended(&unit)?;
        let words = "Error creating pod: timed out waiting for the condition";
        assert_eq!((status.state, status.detail.as_str()), (State::Failed, words));
        clean(&node, cluster, &[&unit])
    }

    fn an_image_that_cannot_be_pulled_fails_the_unit(cluster) -> Result<()> {
        let node = node(cluster)?;
        let definition = pod("true").replace("busybox", "no-such-image");
        let unit = node.submit_with("kubeit", &[("secret_kube_pod", &definition)], b"")?;
        let status = node.wait_ended_within(&unit, Duration::from_secs(150))?;
        let words = "Error creating pod: container failed to start, ImagePullBackOff";
        assert_eq!((status.state, status.detail.as_str()), (State::Failed, words));
        clean(&node, cluster, &[&unit])
    }

    fn a_pod_without_a_worker_fails_the_unit(cluster) -> Result<()> {
        let node = node(cluster)?;
        let definition = pod("true").replace("\"worker\"", "\"other\"");
        let unit = node.submit_with("kubeit", &[("secret_kube_pod", &definition)], b"")?;
        let status = node.wait_ended(&unit)?;
        let words = "Error creating pod: at least one container must be named worker";
        assert_eq!((status.state, status.detail.as_str()), (State::Failed, words));
        clean(&node, cluster, &[&unit])
    }

    fn a_pod_that_the_api_refuses_fails_the_unit_with_its_words(cluster) -> Result<()> {
        let node = node(cluster)?;
        let definition = pod("true").replace("\"sh\"", "\"sh\", 7");
        let unit = node.submit_with("kubeit", &[("secret_kube_pod", &definition)], b"")?;
        let status = node.wait_ended(&unit)?;
        assert_eq!(status.state, State::Failed, "{status}");
        assert!(status.detail.starts_with("Error creating pod: "), "{status}");
        clean(&node, cluster, &[&unit])
    }

    fn a_pod_deleted_by_somebody_else_fails_the_unit(cluster) -> Result<()> {
        let node = node(cluster)?;
        let unit = submit(&node, "echo begun; exec sleep 1000", b"")?;
        assert_eq!(node.open_results(&unit, 0)?.line()?, "begun");
        let extra = node.status(&unit)?.extra;
        let name = extra["PodName"].as_str().context("no PodName")?;
        cluster.delete_pod(name)?;
        let status = node.wait_ended(&unit)?;
        assert_eq!(status.state, State::Failed, "{status}");
        assert!(status.detail.contains(name), "{status}");
        assert_eq!(node.results(&unit)?, b"begun\n");
        clean(&node, cluster, &[&unit])
    }

    /// A pod's own ending of its input is no fault (work-types 6).
    fn a_pod_that_does_not_read_its_payload_succeeds(cluster) -> Result<()> {
        let node = node(cluster)?;
        let unit = submit(&node, "echo not interested", &vec![b'x'; 4 << 20])?;
        let status = node.wait_ended(&unit)?;
        assert_eq!((status.state, status.detail.as_str()), (State::Succeeded, "Finished"));
        clean(&node, cluster, &[&unit])
    }
}
