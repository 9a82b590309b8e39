//! The handle by which a test makes things go wrong.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::api::{DeleteOptions, delete_pod, evict_pod};
use crate::cluster::Cluster;
use crate::faults::{Fault, Trap};
use crate::kubelet::{Order, PodHandle};
use crate::server::Server;
use crate::store::Key;
use crate::wire::Close;

/// Files kept when a log is rotated on demand; as the kubelet's default.
const ROTATED_FILES: usize = 5;

/// A fault that could not be done.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// There is no such pod, or it has ended.
    #[error("no pod {0} to do it to")]
    NoPod(String),
    /// The container has not been started.
    #[error("no container {0} has been started")]
    NoContainer(String),
    /// A log could not be renamed, the port not be opened, ...
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The simulator has ended.
    #[error("the simulator has ended")]
    Ended,
}

/// Makes things go wrong. Cheap to clone; may be used from any thread, inside and outside of async code: calls block
/// until the simulator, on its own threads, has done what was asked.
#[derive(Clone)]
pub struct Faults {
    cluster: Arc<Cluster>,
    server: Arc<Server>,
    runtime: Handle,
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faults").finish_non_exhaustive()
    }
}

impl Faults {
    pub(crate) fn new(cluster: Arc<Cluster>, server: Arc<Server>, runtime: Handle) -> Self {
        Self { cluster, server, runtime }
    }

    /// Does it now. Returns how many connections, containers or pods it hit.
    pub fn inject(&self, fault: Fault) -> Result<usize, FaultError> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let this = self.clone();
        let task = self.runtime.spawn(async move {
            // Fails only where the caller has gone.
            let _ = sender.send(this.apply(fault).await);
        });
        let outcome = receiver.recv().map_err(|_| FaultError::Ended)?;
        drop(task);
        outcome
    }

    /// Lays a trap for requests to come; returns its number.
    pub fn set(&self, trap: Trap) -> u64 {
        self.cluster.traps.set(trap)
    }

    /// Takes a trap away; unknown numbers are ignored.
    pub fn remove(&self, number: u64) {
        self.cluster.traps.remove(number);
    }

    /// Takes all traps away.
    pub fn clear(&self) {
        self.cluster.traps.clear();
    }

    /// Gives a user another token; the old one is answered with 401 from now on. `None`: there is no such user.
    pub fn renew_token(&self, user: &str) -> Option<String> {
        self.cluster.accounts.renew(user)
    }

    pub(crate) async fn apply(&self, fault: Fault) -> Result<usize, FaultError> {
        let cluster = &self.cluster;
        match fault {
            Fault::Cut(which) => Ok(cluster.connections.close(&which, Close::Drop)),
            Fault::Reset(which) => Ok(cluster.connections.close(&which, Close::Reset)),
            Fault::Stall { which, millis } => Ok(cluster.connections.freeze(&which, Duration::from_millis(millis))),
            Fault::ExpireWatches => Ok(self.tell_watches(|faults| faults.expired += 1)),
            Fault::SilenceWatches => Ok(self.tell_watches(|faults| faults.silenced += 1)),
            Fault::ForgetHistory => {
                cluster.store.forget_history();
                Ok(0)
            }
            Fault::StopApi { orderly } => {
                self.server.stop(orderly).await;
                Ok(0)
            }
            Fault::StartApi => {
                self.server.restart()?;
                Ok(0)
            }
            Fault::RotateLogs { namespace, pod } => {
                let containers = self.handle(&namespace, &pod)?.current();
                for (_, container) in &containers {
                    container.log.rotate(ROTATED_FILES)?;
                }
                Ok(containers.len())
            }
            Fault::OutOfMemory { namespace, pod, container } => {
                let run = self.handle(&namespace, &pod)?.runs_of(&container).current;
                run.ok_or(FaultError::NoContainer(container))?.kill_out_of_memory();
                Ok(1)
            }
            Fault::DeletePod { namespace, pod, grace_seconds } => {
                let options = DeleteOptions { grace_seconds, ..DeleteOptions::default() };
                let deleted = delete_pod(cluster, &Key::pod(&namespace, &pod), &options).await;
                deleted.map(|_| 1).map_err(|_| FaultError::NoPod(pod))
            }
            Fault::EvictPod { namespace, pod } => {
                let evicted = evict_pod(cluster, &Key::pod(&namespace, &pod), DeleteOptions::default()).await;
                evicted.map(|()| 1).map_err(|_| FaultError::NoPod(pod))
            }
            Fault::NodePressure { namespace, pod } => {
                let message =
                    "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. ".to_owned();
                let order = Order::Fail { reason: "Evicted", message };
                self.handle(&namespace, &pod)?.order(order).await;
                Ok(1)
            }
        }
    }

    fn tell_watches(&self, change: impl FnOnce(&mut crate::cluster::WatchFaults)) -> usize {
        self.cluster.watch_faults.send_modify(change);
        self.cluster.connections.count(&crate::Which::of(crate::Use::Watch))
    }

    fn handle(&self, namespace: &str, pod: &str) -> Result<Arc<PodHandle>, FaultError> {
        let object = self.cluster.store.get(&Key::pod(namespace, pod));
        object
            .and_then(|object| self.cluster.kubelet.handle(object.uid()))
            .ok_or_else(|| FaultError::NoPod(pod.to_owned()))
    }
}
