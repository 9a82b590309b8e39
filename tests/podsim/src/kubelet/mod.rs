//! What a scheduler, a kubelet and a container runtime do with pods, on this machine's own processes.
//!
//! Each pod is one task ([`pod`]) that alone writes the pod's `status`; each of its containers is another ([`slot`]).
//! The API finds a pod's running containers through its [`PodHandle`].

mod container;
mod events;
mod image;
mod output;
mod pod;
mod process;
mod program;
mod slot;
mod status;
mod stdin;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

pub(crate) use container::Container;
pub(crate) use output::Wanted;
pub(crate) use process::sweep;
pub(crate) use status::second;
pub(crate) use stdin::Stdin;

use crate::cluster::Cluster;
use crate::store::{Key, Object};

/// Orders waiting for one pod's task.
const ORDERS: usize = 16;

/// What may be asked of a pod's task.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    /// End the containers within that time, then take the object away. A shorter time than before counts.
    Delete { grace: Duration },
    /// The object is gone: end the containers, nobody looks any more.
    Gone,
    /// End the containers, then be `Failed` for this reason, as under node pressure.
    Fail { reason: &'static str, message: String },
    /// Say in the conditions that something other than the work ends this pod.
    Disrupt { reason: &'static str, message: String },
}

/// One pod that has a task.
#[derive(Debug)]
pub(crate) struct PodHandle {
    pub(crate) key: Key,
    orders: mpsc::Sender<Order>,
    runs: Mutex<BTreeMap<String, Runs>>,
}

/// The runs of a container that can still be asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Runs {
    pub(crate) current: Option<Arc<Container>>,
    pub(crate) previous: Option<Arc<Container>>,
}

impl PodHandle {
    /// Waits only while [`ORDERS`] others are before it.
    pub(crate) async fn order(&self, order: Order) {
        // A pod whose task is over has nothing left to end.
        let _ = self.orders.send(order).await;
    }

    pub(crate) fn runs_of(&self, container: &str) -> Runs {
        self.runs().get(container).cloned().unwrap_or_default()
    }

    /// The newest run of every container that has been started.
    pub(crate) fn current(&self) -> Vec<(String, Arc<Container>)> {
        let runs = self.runs();
        runs.iter().filter_map(|(name, runs)| Some((name.clone(), Arc::clone(runs.current.as_ref()?)))).collect()
    }

    fn set_current(&self, name: &str, container: Arc<Container>) {
        let mut all = self.runs();
        let runs = all.entry(name.to_owned()).or_default();
        runs.previous = runs.current.replace(container);
    }

    fn runs(&self) -> MutexGuard<'_, BTreeMap<String, Runs>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pods that have tasks, by uid: a new pod may bear the name of one whose processes still run.
#[derive(Debug, Default)]
pub(crate) struct Kubelet {
    pods: Mutex<HashMap<String, Arc<PodHandle>>>,
}

impl Kubelet {
    /// Begins the life of a pod that was just stored.
    pub(crate) fn begin(&self, cluster: &Arc<Cluster>, object: &Object) {
        let (orders, inbox) = mpsc::channel(ORDERS);
        let handle = Arc::new(PodHandle { key: object.key.clone(), orders, runs: Mutex::default() });
        let uid = object.uid().to_owned();
        let task = match pod::PodTask::new(Arc::clone(cluster), Arc::clone(&handle), object, inbox) {
            Ok(task) => task,
            Err(error) => {
                tracing::error!(%error, pod = object.key.name, "a stored pod cannot be read back");
                return;
            }
        };
        self.lock().insert(uid.clone(), handle);
        let cluster = Arc::clone(cluster);
        cluster.tasks.clone().spawn(async move {
            task.run().await;
            cluster.kubelet.lock().remove(&uid);
        });
    }

    pub(crate) fn handle(&self, uid: &str) -> Option<Arc<PodHandle>> {
        self.lock().get(uid).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<PodHandle>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<PodHandle>>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
