//! The handle by which a test looks at pods, past the API.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Handle;

use crate::cluster::Cluster;
use crate::resource::Resource;
use crate::store::Key;

/// What was waited for did not come.
#[derive(Debug, thiserror::Error)]
#[error("pod {pod} did not get there within {limit:?}; it is {last}")]
pub struct NotInTime {
    pod: String,
    limit: Duration,
    last: Value,
}

/// Looks at pods without a request. Cheap to clone.
#[derive(Clone)]
pub struct Pods {
    cluster: Arc<Cluster>,
    runtime: Handle,
}

impl std::fmt::Debug for Pods {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pods").finish_non_exhaustive()
    }
}

impl Pods {
    pub(crate) fn new(cluster: Arc<Cluster>, runtime: Handle) -> Self {
        Self { cluster, runtime }
    }

    /// All pods, in order of namespace and name.
    pub fn list(&self) -> Vec<Value> {
        self.cluster.store.list(Resource::Pods, None).0.iter().map(|object| object.value.clone()).collect()
    }

    /// One pod, if it is there.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Value> {
        self.cluster.store.get(&Key::pod(namespace, name)).map(|object| object.value.clone())
    }

    /// Containers whose process runs, those of deleted pods included.
    pub fn running_containers(&self) -> usize {
        let handles = self.cluster.kubelet.all();
        handles.iter().flat_map(|pod| pod.current()).filter(|(_, container)| container.end().is_none()).count()
    }

    /// Waits until the pod (`None`: gone, or not there yet) is as `wanted` says, and gives it as it is then.
    pub async fn until(
        &self,
        namespace: &str,
        name: &str,
        limit: Duration,
        wanted: impl Fn(Option<&Value>) -> bool,
    ) -> Result<Option<Value>, NotInTime> {
        let mut changes = self.cluster.store.subscribe();
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            changes.borrow_and_update();
            let pod = self.get(namespace, name);
            if wanted(pod.as_ref()) {
                return Ok(pod);
            }
            if !matches!(tokio::time::timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
                return Err(NotInTime { pod: name.to_owned(), limit, last: pod.unwrap_or(Value::Null) });
            }
        }
    }

    /// [`Self::until`] for code that is not async; blocks the thread.
    pub fn wait_until(
        &self,
        namespace: &str,
        name: &str,
        limit: Duration,
        wanted: impl Fn(Option<&Value>) -> bool + Send + 'static,
    ) -> Result<Option<Value>, NotInTime> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let (this, place, pod) = (self.clone(), namespace.to_owned(), name.to_owned());
        let task = self.runtime.spawn(async move {
            // Fails only where the caller has gone.
            let _ = sender.send(this.until(&place, &pod, limit, wanted).await);
        });
        let outcome = receiver.recv();
        drop(task);
        outcome.unwrap_or_else(|_| Err(NotInTime { pod: name.to_owned(), limit, last: Value::Null }))
    }
}
