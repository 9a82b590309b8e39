//! Work in a Kubernetes cluster: one pod for each unit.
//!
//! | Room | Holds |
//! |---|---|
//! | [`plan`] | what a submission may say |
//! | [`auth`], [`proxy`], [`client`], [`limiter`], [`retry`], [`absence`] | the way to the API server: credentials, requests, rate, patience |
//! | [`names`], [`pod`], [`create`] | the pod that is asked for, and asking for it once |
//! | [`view`], [`watch`], [`outcome`], [`waiting`] | the pod as it changes, and what that means (`outcome` is pure) |
//! | [`attach`] | stdin on its way into the container |
//! | [`tcp`] | both directions through a connection that the pod dials |
//! | [`shim`] | both directions through a helper in the pod, in place of attach and log |
//! | [`stamp`], [`position`], [`pace`], [`resume`], [`evidence`], [`follower`] | the container's log: its lines, what is known of gaps, what is asked for and when (pure) |
//! | [`logs`], [`output`] | the follower's requests, and its bytes on their way into `stdout` |
//! | [`attached`] | output by attach, in place of the log or before it |
//! | [`record`] | `worknode.json`: each step on disk before it is taken |
//! | [`cleanup`], [`orphans`] | no pod outlives its unit |
//! | [`life`], [`follow`] | one unit from its start to its end, out of these parts |
//!
//! Types of kube stay in here.

mod absence;
mod attach;
mod attached;
mod auth;
mod cleanup;
mod client;
mod create;
mod evidence;
mod follow;
mod follower;
mod life;
mod limiter;
mod logs;
mod names;
mod orphans;
mod outcome;
mod output;
mod pace;
mod plan;
mod pod;
mod policy;
mod pool;
mod position;
mod proxy;
mod record;
mod resume;
mod retry;
mod shim;
mod stamp;
mod tcp;
mod transport;
mod view;
mod waiting;
mod watch;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use secrecy::ExposeSecret;
use worknode_protocol::{
    config::model::{DeletePodPolicy, KubeTuning, KubernetesType},
    unit::{Detail, RestartProblem, State},
};

pub use auth::Environment;

use self::{
    auth::Source,
    client::{Api, ApiError, Way},
    life::PodRunner,
    plan::Order,
    pod::Labels,
    pool::Pool,
    record::{Journal, Record, Step},
    retry::Patience,
};
use super::{BoxFuture, DiscardError, Found, Object, Params, Plan, PlanError, Recovery, WorkKind};

/// One configured Kubernetes work type.
pub struct KubernetesKind {
    cluster: Arc<Cluster>,
}

/// What the units of one work type share. Nothing in it changes but the clients in use.
pub(crate) struct Cluster {
    pub(crate) kind: Arc<KubernetesType>,
    /// This node's id, for labels.
    pub(crate) node: String,
    pub(crate) pool: Arc<Pool>,
    pub(crate) world: Environment,
}

/// The clients of all work types: types that come to the same cluster under the same identity share one, with its rate and
/// its watches.
pub struct Clients(Arc<Pool>);

impl Clients {
    /// None yet; a client is made when a unit needs it.
    pub fn new(tuning: KubeTuning) -> Self {
        Self(Arc::new(Pool::new(tuning)))
    }
}

impl KubernetesKind {
    /// The work type `kind` on the node `node`. Nothing is read or sent before a unit is.
    pub fn new(kind: KubernetesType, clients: &Clients, node: impl Into<String>, world: Environment) -> Self {
        let pool = Arc::clone(&clients.0);
        Self { cluster: Arc::new(Cluster { kind: Arc::new(kind), node: node.into(), pool, world }) }
    }
}

impl Cluster {
    /// How long an unreachable API server is borne.
    pub(crate) fn patience(&self) -> Patience {
        Patience::new(self.kind.api_retry_timeout)
    }

    /// The labels of a unit's objects; none where receptor's bare body is wanted.
    pub(crate) fn labels(&self, unit: &str) -> Labels {
        if self.kind.label_units { Labels::of(&self.node, unit, &self.kind.work_type) } else { Labels::default() }
    }

    /// A client with the credentials of a unit.
    pub(crate) async fn connect(&self, order: &Order) -> Result<Api, ApiError> {
        let own = order.kubeconfig.as_ref().map(|text| text.expose_secret());
        Api::connect(Way {
            pool: Arc::clone(&self.pool),
            source: Source::of(&self.kind, own),
            kind: Arc::clone(&self.kind),
            world: self.world.clone(),
            named: !order.extra.kube_namespace.is_empty(),
        })
        .await
    }
}

impl WorkKind for KubernetesKind {
    fn name(&self) -> &str {
        &self.cluster.kind.work_type
    }

    fn verifies_signature(&self) -> bool {
        self.cluster.kind.verify_signature
    }

    fn plan(&self, params: &Params) -> Result<Plan, PlanError> {
        let order = Order::plan(&self.cluster.kind, params)?;
        Ok(Plan {
            extra_data: (&order.extra).into(),
            secrets: order.secrets(),
            runner: Box::new(PodRunner::new(Arc::clone(&self.cluster), order)),
        })
    }

    fn recover(&self, found: &Found) -> Recovery {
        let order = Order::of_found(found);
        let not_running = || Recovery::Ended(State::Failed, Detail::FailedToRestart(RestartProblem::NotRunning));
        let record = Record::load(&found.dir);
        // Before `Connecting to Kubernetes` the submission had not been accepted.
        let accepted =
            [Detail::ConnectingToKubernetes, Detail::PodCreated, Detail::SendingStdinToPod, Detail::PodRunning];
        let accepted = accepted.iter().any(|detail| found.status.detail.starts_with(&detail.to_string()));
        // Receptor may have asked for a pod of which it never learned the name: another one would run the job twice. Its units
        // have no output before they have a pod; ours have the file from the first moment.
        let receptors = !found.dir.stdout().exists();
        match record {
            None if order.extra.pod_name.is_empty() && (receptors || !accepted) => not_running(),
            // Receptor's own unit: a pod of which nothing more is known than its name.
            None if !order.extra.pod_name.is_empty() => {
                Recovery::Resume(Box::new(PodRunner::adopt(Arc::clone(&self.cluster), order, found)))
            }
            record => Recovery::Resume(Box::new(PodRunner::resume(Arc::clone(&self.cluster), order, record))),
        }
    }

    fn prunes(&self) -> bool {
        self.cluster.kind.operation.prune_on_start
    }

    fn objects(&self) -> BoxFuture<'_, Result<Vec<Object>, DiscardError>> {
        Box::pin(async { self.cluster.objects().await.map_err(|fault| DiscardError(fault.to_string())) })
    }

    fn remove<'a>(&'a self, object: &'a Object) -> BoxFuture<'a, Result<(), DiscardError>> {
        Box::pin(async { self.cluster.remove(object).await.map_err(|fault| DiscardError(fault.to_string())) })
    }

    fn discard<'a>(&'a self, found: &'a Found) -> BoxFuture<'a, Result<(), DiscardError>> {
        Box::pin(async move {
            let owned = found.clone();
            let read = move || (Order::of_found(&owned), Record::load(&owned.dir));
            let (order, record) =
                tokio::task::spawn_blocking(read).await.map_err(|fault| DiscardError(fault.to_string()))?;
            let record = record.unwrap_or_else(|| life::record_of_receptor(&order));
            self.cluster.discard(found, &order, record).await
        })
    }
}

impl Cluster {
    /// Deletes the pod of a unit, if there is one and it is to go.
    async fn discard(&self, found: &Found, order: &Order, record: Record) -> Result<(), DiscardError> {
        let failed = |fault: ApiError| DiscardError(format!("pod {}: {fault}", record.pod()));
        let kept = self.kind.delete_pod_policy == DeletePodPolicy::Never && record.step == Step::Ended;
        if record.name.is_empty() || record.step == Step::Deleted || kept {
            return Ok(());
        }
        let api = self.connect(order).await.map_err(failed)?;
        let labels = self.labels(found.id.as_str());
        let removed = cleanup::remove(&api, &record, &labels, self.kind.grace_period).await;
        if let Err(cleanup::Remains::Api(fault)) = &removed
            && let Some(asked) = fault.retry_after()
        {
            // The caller comes back after a pause of its own, which does not know of the server's.
            tokio::time::sleep(asked.min(retry::LONGEST_ASKED)).await;
        }
        removed.map_err(|fault| DiscardError(format!("pod {}: {fault}", record.pod())))?;
        let mut journal = Journal::new(found.dir.clone(), record);
        journal.note_deleted().await.map_err(|fault| DiscardError(fault.to_string()))
    }
}
