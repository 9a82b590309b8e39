//! A Kubernetes cluster for tests: podsim, or the real one that `WORKNODE_KUBECONFIG` names.

mod api;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use worknode_podsim::{Fault, Options, PodSim};

use crate::skipped;
use crate::wait::{Deadline, PATIENCE};

/// Kubeconfig of a real cluster on which the tests may make and delete pods in the namespace `default`.
pub const KUBECONFIG: &str = "WORKNODE_KUBECONFIG";

/// Kubeconfig for the same cluster with the stock role of an AWX container group in `default`.
pub const RESTRICTED_KUBECONFIG: &str = "WORKNODE_RESTRICTED_KUBECONFIG";

/// Program that stops and starts the API server of that cluster, which must be nobody else's then.
pub const FAULT_PROGRAM: &str = "WORKNODE_FAULT_CLUSTER";

/// How long a real cluster may take until its kubelet does something again after its API server was away.
const RECOVERY: Duration = Duration::from_secs(180);

fn order(verb: &str) -> Result<()> {
    let program = std::env::var_os(FAULT_PROGRAM).context(FAULT_PROGRAM)?;
    let done = Command::new(program).arg(verb).status().context(verb.to_owned())?;
    ensure!(done.success(), "{verb}: {done}");
    Ok(())
}

/// An API server and what tests want to know from it.
#[derive(Debug)]
pub struct Cluster {
    kubeconfig: PathBuf,
    api: api::Api,
    podsim: Option<PodSim>,
}

impl Cluster {
    /// A pod simulator of the test's own.
    ///
    /// # Errors
    /// Fails if it cannot be started.
    pub fn podsim() -> Result<Self> {
        Self::podsim_with(Options::default())
    }

    /// A pod simulator with other options.
    ///
    /// # Errors
    /// Fails if it cannot be started.
    pub fn podsim_with(options: Options) -> Result<Self> {
        let podsim = PodSim::start(options).context("starting podsim")?;
        let kubeconfig = podsim.kubeconfig_path().to_owned();
        Ok(Self { api: api::Api::of(&kubeconfig)?, kubeconfig, podsim: Some(podsim) })
    }

    /// The real cluster, or nothing, and a reason printed.
    ///
    /// # Errors
    /// Fails if the kubeconfig cannot be read.
    pub fn real() -> Result<Option<Self>> {
        let Some(kubeconfig) = std::env::var_os(KUBECONFIG).map(PathBuf::from) else {
            skipped(format_args!("{KUBECONFIG} names no real cluster"));
            return Ok(None);
        };
        Ok(Some(Self { api: api::Api::of(&kubeconfig)?, kubeconfig, podsim: None }))
    }

    /// The real cluster, if it can be made to fail: `WORKNODE_FAULT_CLUSTER` names the program that does it. Else nothing,
    /// and a reason printed.
    ///
    /// # Errors
    /// Fails if the kubeconfig cannot be read.
    pub fn real_with_faults() -> Result<Option<Self>> {
        if std::env::var_os(FAULT_PROGRAM).is_none() {
            skipped(format_args!("{FAULT_PROGRAM} names no program that stops the API server of a real cluster"));
            return Ok(None);
        }
        Self::real()
    }

    /// Ends the API server, as SIGKILL does.
    ///
    /// # Errors
    /// Fails if that cannot be done.
    pub fn stop_api(&self) -> Result<()> {
        match &self.podsim {
            Some(podsim) => podsim.faults().inject(Fault::StopApi { orderly: false }).map(drop).context("stop"),
            None => order("stop-api"),
        }
    }

    /// Starts it again.
    ///
    /// # Errors
    /// Fails if that cannot be done.
    pub fn start_api(&self) -> Result<()> {
        match &self.podsim {
            Some(podsim) => podsim.faults().inject(Fault::StartApi).map(drop).context("start"),
            None => order("start-api"),
        }
    }

    /// Waits until the kubelet has taken every pod of this node.
    ///
    /// # Errors
    /// Fails with the pods at the deadline.
    pub fn wait_for_node_of(&self, node: &str) -> Result<()> {
        let taken = |pod: &Value| {
            pod.pointer("/status/startTime").is_some() || pod.pointer("/status/initContainerStatuses").is_some()
        };
        self.wait_for_pods_of(node, |pods| pods.iter().all(taken))
    }

    /// The kubeconfig of its administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The kubeconfig of an account with the stock role of an AWX container group, or nothing, and a reason printed.
    #[must_use]
    pub fn restricted_kubeconfig(&self) -> Option<PathBuf> {
        if let Some(podsim) = &self.podsim {
            return Some(podsim.restricted_kubeconfig_path().to_owned());
        }
        let path = std::env::var_os(RESTRICTED_KUBECONFIG).map(PathBuf::from);
        if path.is_none() {
            skipped(format_args!("{RESTRICTED_KUBECONFIG} names no account of the real cluster"));
        }
        path
    }

    /// The simulator, where this is one: for faults on demand.
    #[must_use]
    pub fn simulator(&self) -> Option<&PodSim> {
        self.podsim.as_ref()
    }

    /// The pods in `default` that carry the label of this node (work-types 2.5).
    ///
    /// # Errors
    /// Fails if the API does.
    pub fn pods_of(&self, node: &str) -> Result<Vec<Value>> {
        let path = format!("/api/v1/namespaces/default/pods?labelSelector=worknode%2Fnode%3D{node}");
        let list = self.api.get(&path)?;
        let items = list.get("items").and_then(Value::as_array).with_context(|| format!("not a list: {list}"))?;
        Ok(items.clone())
    }

    /// Waits until no pod of this node is there, not even one that is being deleted.
    ///
    /// # Errors
    /// Fails with the pods at the deadline.
    pub fn wait_without_pods_of(&self, node: &str) -> Result<()> {
        self.wait_for_pods_of(node, <[Value]>::is_empty)
    }

    /// Waits until every pod of this node is in one of these phases.
    ///
    /// # Errors
    /// Fails with the pods at the deadline.
    pub fn wait_for_phase_of(&self, node: &str, phases: &[&str]) -> Result<()> {
        let phase =
            |pod: &Value| pod.pointer("/status/phase").and_then(Value::as_str).is_some_and(|is| phases.contains(&is));
        self.wait_for_pods_of(node, |pods| pods.iter().all(phase))
    }

    /// Waits until this pod of the node is gone.
    ///
    /// # Errors
    /// Fails with the pods at the deadline.
    pub fn wait_without_pod(&self, node: &str, name: &str) -> Result<()> {
        let is = |pod: &Value| pod.pointer("/metadata/name").and_then(Value::as_str) == Some(name);
        self.wait_for_pods_of(node, |pods| !pods.iter().any(is))
    }

    fn wait_for_pods_of(&self, node: &str, wanted: impl Fn(&[Value]) -> bool) -> Result<()> {
        let deadline = Deadline::after(if self.podsim.is_some() { PATIENCE } else { RECOVERY });
        loop {
            let pods = self.pods_of(node)?;
            if wanted(&pods) {
                return Ok(());
            }
            let shown =
                |pod: &Value| format!("{:?}: {:?}", pod.pointer("/metadata/name"), pod.pointer("/status/phase"));
            deadline.left(&format!("waiting on {:?}", pods.iter().map(shown).collect::<Vec<_>>()))?;
            self.api.await_change("/api/v1/namespaces/default/pods")?;
        }
    }

    /// Stops the API server and starts it again, if that can be done here.
    ///
    /// # Errors
    /// Fails if it could not be done.
    pub fn restart_api(&self) -> Result<()> {
        if self.podsim.is_none() && std::env::var_os(FAULT_PROGRAM).is_none() {
            skipped(format_args!("{FAULT_PROGRAM} names no program that stops the API server of a real cluster"));
            return Ok(());
        }
        self.stop_api()?;
        self.start_api()
    }

    /// Makes a namespace in which there is no room for any pod.
    ///
    /// # Errors
    /// Fails if the API refuses.
    pub fn make_full_namespace(&self, name: &str) -> Result<()> {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.api.create("/api/v1/namespaces", &namespace)?;
        let quota = json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}},
        });
        self.api.create(&format!("/api/v1/namespaces/{name}/resourcequotas"), &quota)
    }

    /// Makes a pod in `default`, as somebody else would.
    ///
    /// # Errors
    /// Fails if the API refuses.
    pub fn create_pod(&self, pod: &Value) -> Result<()> {
        self.api.create("/api/v1/namespaces/default/pods", pod)
    }

    /// The pod of this name in `default`, if there is one.
    ///
    /// # Errors
    /// Fails if the API does.
    pub fn pod(&self, name: &str) -> Result<Option<Value>> {
        let list = self.api.get(&format!("/api/v1/namespaces/default/pods?fieldSelector=metadata.name%3D{name}"))?;
        Ok(list.pointer("/items/0").cloned())
    }

    /// Waits until this pod is in one of these phases, or, without any, gone.
    ///
    /// # Errors
    /// Fails at the deadline.
    pub fn wait_for_pod(&self, name: &str, phases: &[&str]) -> Result<()> {
        let deadline = Deadline::after(PATIENCE);
        loop {
            let pod = self.pod(name)?;
            let phase = pod.as_ref().and_then(|pod| pod.pointer("/status/phase")).and_then(Value::as_str);
            if phase.map_or(pod.is_none() && phases.is_empty(), |phase| phases.contains(&phase)) {
                return Ok(());
            }
            deadline.left(&format!("pod {name} is {phase:?}"))?;
            self.api.await_change("/api/v1/namespaces/default/pods")?;
        }
    }

    /// Evicts a pod, as somebody who empties a node would.
    ///
    /// # Errors
    /// Fails if the API refuses.
    pub fn evict_pod(&self, name: &str) -> Result<()> {
        let object = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": name, "namespace": "default"},
        });
        self.api.create(&format!("/api/v1/namespaces/default/pods/{name}/eviction"), &object)
    }

    /// Deletes a pod at once, as somebody else would.
    ///
    /// # Errors
    /// Fails if the API refuses.
    pub fn delete_pod(&self, name: &str) -> Result<()> {
        let code = self.api.delete(&format!("/api/v1/namespaces/default/pods/{name}?gracePeriodSeconds=0"))?;
        ensure!(code == 200, "deleting pod {name}: {code}");
        Ok(())
    }
}
