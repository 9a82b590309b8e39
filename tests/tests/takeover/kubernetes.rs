//! Kubernetes units (control-protocol 5.6 and 5.8), as the Go daemon leaves them on disk: both secrets in clear in the status,
//! pods without labels, `KubeNamespace` not always the pod's.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use worknode_tests::cluster::Cluster;
use worknode_tests::{Harness, Node, State};

const POD: &str = "job-abc24";

/// A cluster with a pod of the Go daemon's, and a node of the daemon under test that is about to take over.
struct Scene {
    cluster: Cluster,
    node: Node,
    units: PathBuf,
    kubeconfig: String,
    definition: String,
}

impl Scene {
    /// `script` is what the pod runs.
    fn new(script: &str) -> Result<Self> {
        let cluster = Cluster::podsim()?;
        let kubeconfig = fs::read_to_string(cluster.kubeconfig())?;
        let types = json!({
            "worktype": "runtime", "authmethod": "runtime", "allowruntimeauth": true, "allowruntimepod": true,
            "allowruntimeparams": true,
        });
        let harness = Harness::new()?.action("work-kubernetes", types);
        let units = harness.units();
        fs::create_dir_all(&units)?;
        let definition = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "job", "namespace": "default"},
            "spec": {
                "containers": [{"name": "worker", "image": "busybox", "command": ["sh", "-c", script]}],
                "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
            },
        });
        let mut pod = definition.clone();
        pod["metadata"]["name"] = json!(POD);
        cluster.create_pod(&pod)?;
        Ok(Self { cluster, node: harness.prepare()?, units, kubeconfig, definition: definition.to_string() })
    }

    /// Writes a unit as the Go daemon does.
    fn unit(&self, id: &str, state: u8, detail: &str, pod: &str, stdout: Option<&str>) -> Result<()> {
        let directory = self.units.join(id);
        fs::create_dir(&directory)?;
        let extra = json!({
            "Image": "", "Command": "", "Params": "", "KubeNamespace": "elsewhere", "KubeConfig": self.kubeconfig,
            "KubePod": self.definition, "PodName": pod,
        });
        let size = stdout.map_or(0, str::len);
        let status = json!({
            "State": state, "Detail": detail, "StdoutSize": size, "WorkType": "runtime", "ExtraData": extra,
        });
        fs::write(directory.join("status"), format!("{status}\n"))?;
        fs::write(directory.join("status.lock"), "")?;
        fs::write(directory.join("stdin"), "")?;
        stdout.map_or(Ok(()), |text| fs::write(directory.join("stdout"), text))?;
        Ok(())
    }

    /// The pod goes within its grace period.
    fn pod_goes(&self) -> Result<()> {
        self.cluster.wait_for_pod(POD, &[])
    }
}

#[test]
fn a_running_pod_is_followed_to_its_end_and_goes_with_its_unit() -> Result<()> {
    let gate = tempfile::tempdir()?;
    let gate = gate.path().join("gate");
    let script = format!("echo begun; until [ -e {} ]; do sleep 0.05; done; echo done; exit 3", gate.display());
    let mut scene = Scene::new(&script)?;
    scene.cluster.wait_for_pod(POD, &["Running"])?;
    scene.unit("running1", 1, "Pod Running", POD, Some("begun\n"))?;
    scene.node.start()?;
    let status = scene.node.status("running1")?;
    ensure!(status.state == State::Running, "{status}");
    for secret in ["KubeConfig", "KubePod"] {
        assert_eq!(status.extra[secret], "", "{secret} is shown");
    }
    fs::write(gate, "")?;
    let status = scene.node.wait_ended("running1")?;
    assert_eq!((status.state, status.detail.as_str()), (State::Failed, "exit status 3"));
    assert_eq!(scene.node.results("running1")?, b"begun\ndone\n", "nothing lost, nothing twice");
    scene.node.release("running1")?;
    scene.pod_goes()
}

/// Whether its payload was sent nobody knows: it is not run again.
#[test]
fn what_had_not_begun_fails_and_its_pod_goes() -> Result<()> {
    for detail in ["Pod created", "Sending stdin to pod"] {
        let mut scene = Scene::new("exec sleep 1000")?;
        scene.unit("created1", 0, detail, POD, None)?;
        scene.node.start()?;
        let status = scene.node.wait_ended("created1")?;
        assert_eq!(status.state, State::Failed);
        assert_eq!(status.detail, "Failed to restart: work unit is not in running state, cannot be restarted");
        scene.pod_goes().context(detail)?;
        scene.node.release("created1")?;
    }
    Ok(())
}

/// The Go daemon may have asked for the pod before it was killed, under a name that nobody knows: a second pod would run the
/// job twice.
#[test]
fn a_unit_without_a_pods_name_is_not_begun_again() -> Result<()> {
    let mut scene = Scene::new("true")?;
    for (id, detail) in [("connect1", "Connecting to Kubernetes"), ("starting", "Starting Worker")] {
        scene.unit(id, 0, detail, "", None)?;
    }
    scene.node.start()?;
    for id in ["connect1", "starting"] {
        let status = scene.node.wait_ended(id)?;
        assert_eq!(status.state, State::Failed);
        assert_eq!(status.detail, "Failed to restart: work unit is not in running state, cannot be restarted");
        scene.node.release(id)?;
    }
    let podsim = scene.cluster.simulator().context("no podsim")?;
    assert_eq!(podsim.requests().count("create", "pods"), 1, "only that of the scene");
    Ok(())
}

/// The Go daemon leaves such pods in the cluster when the unit is released after a restart (weakness 23).
#[test]
fn the_pod_of_an_ended_unit_goes_with_it() -> Result<()> {
    for (state, detail) in [(2, "Finished"), (3, "Error opening log stream for pod"), (4, "Canceled")] {
        let mut scene = Scene::new("exec sleep 1000")?;
        scene.unit("ended111", state, detail, POD, Some("what it said"))?;
        scene.node.start()?;
        let status = scene.node.status("ended111")?;
        assert_eq!((status.state as u8, status.detail.as_str(), status.stdout_size), (state, detail, 12));
        assert_eq!(scene.node.results("ended111")?, b"what it said");
        ensure!(scene.cluster.pod(POD)?.is_some(), "the pod went before its unit");
        scene.node.release("ended111")?;
        scene.pod_goes().context(detail)?;
    }
    Ok(())
}

/// A pod that has gone meanwhile, with the machine or by somebody's hand.
#[test]
fn a_running_unit_whose_pod_is_gone_fails_with_what_was_written() -> Result<()> {
    let mut scene = Scene::new("exec sleep 1000")?;
    scene.unit("gone1111", 1, "Pod Running", "job-other", Some("what it said\n"))?;
    scene.node.start()?;
    let status = scene.node.wait_ended("gone1111")?;
    ensure!(status.state == State::Failed && status.detail.contains("job-other"), "{status}");
    assert_eq!(scene.node.results("gone1111")?, b"what it said\n");
    scene.node.release("gone1111")
}
