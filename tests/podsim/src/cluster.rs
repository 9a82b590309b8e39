//! Everything that the parts of the simulator share.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accounts::Accounts;
use crate::api::new_uid;
use crate::connections::Connections;
use crate::faults::Traps;
use crate::kubelet::{Kubelet, second, sweep};
use crate::options::Options;
use crate::requests::Requests;
use crate::resource::Resource;
use crate::store::{Key, Store};

/// Namespaces that are there from the start.
const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// Shared by the API, the kubelet and the faults.
pub(crate) struct Cluster {
    pub(crate) options: Options,
    pub(crate) directory: PathBuf,
    /// In the environment of every process that is started.
    pub(crate) mark: String,
    pub(crate) store: Store,
    pub(crate) kubelet: Kubelet,
    pub(crate) accounts: Accounts,
    pub(crate) connections: Arc<Connections>,
    pub(crate) traps: Traps,
    pub(crate) requests: Requests,
    /// Steps that running watches take notice of.
    pub(crate) watch_faults: watch::Sender<WatchFaults>,
    /// All tasks of pods and containers.
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

/// How often each thing was done to the running watches; one that began before knows by the difference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct WatchFaults {
    pub(crate) expired: u64,
    pub(crate) silenced: u64,
    pub(crate) ended: u64,
}

impl Cluster {
    pub(crate) fn new(options: Options, directory: PathBuf) -> Arc<Self> {
        let cluster = Self {
            store: Store::new(options.history),
            options,
            directory,
            mark: new_uid(),
            kubelet: Kubelet::default(),
            accounts: Accounts::default(),
            connections: Arc::default(),
            traps: Traps::default(),
            requests: Requests::new(),
            watch_faults: watch::Sender::default(),
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        };
        for name in NAMESPACES {
            cluster.add_namespace(name);
        }
        Arc::new(cluster)
    }

    fn add_namespace(&self, name: &str) {
        let namespace = json!({
            "kind": "Namespace",
            "apiVersion": "v1",
            "metadata": {
                "name": name,
                "uid": new_uid(),
                "creationTimestamp": second(jiff::Timestamp::now()),
                "labels": {"kubernetes.io/metadata.name": name},
            },
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        });
        // The store is new, so none of them is taken.
        let _ = self.store.add::<()>(Key::new(Resource::Namespaces, "", name), namespace, |_| Ok(()));
    }

    /// Logs and scratch files of one pod.
    pub(crate) fn pod_directory(&self, uid: &str) -> PathBuf {
        self.directory.join("pods").join(uid)
    }

    /// Rotates what is over the limit, as often as the kubelet looks; for ever.
    pub(crate) async fn rotate_logs(&self) {
        let Some(rotation) = self.options.log_rotation else { return };
        loop {
            tokio::time::sleep(rotation.interval).await;
            for (_, container) in self.kubelet.all().iter().flat_map(|pod| pod.current()) {
                if container.end().is_none()
                    && container.log.size() > rotation.limit_bytes
                    && let Err(error) = container.log.rotate(rotation.files)
                {
                    tracing::warn!(%error, "cannot rotate a log");
                }
            }
        }
    }

    /// Ends all pods' tasks and processes.
    pub(crate) async fn end(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let mark = self.mark.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || sweep(&mark)).await {
            tracing::warn!(%error, "the last look for processes failed");
        }
    }
}
