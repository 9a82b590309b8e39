//! The pods that carry this node's label, whichever unit they belong to (work-types 2.4: `pruneonstart`, 2.5).

use worknode_protocol::config::model::{AuthMethod, DeletePodPolicy};

use super::{
    Cluster,
    auth::Source,
    cleanup,
    client::{self, Api, ApiError, Way},
    names,
    view::Pod,
    watch::{List, selector},
};
use crate::runner::Object;

impl Cluster {
    /// A client with the configured credentials; `None` if they come with each unit.
    async fn connect_configured(&self) -> Result<Option<Api>, ApiError> {
        if self.kind.auth_method == AuthMethod::Runtime {
            return Ok(None);
        }
        let way = Way {
            pool: self.pool.clone(),
            source: Source::of(&self.kind, None),
            kind: self.kind.clone(),
            world: self.world.clone(),
            named: self.kind.namespace.is_some(),
        };
        Api::connect(way).await.map(Some)
    }

    /// The pods with this node's label that are not about to go: those of the whole cluster, or of the type's own namespace
    /// where the role allows no more.
    pub(super) async fn objects(&self) -> Result<Vec<Object>, ApiError> {
        let node = names::label_value(&self.node);
        let Some(api) = self.connect_configured().await?.filter(|_| !node.is_empty()) else { return Ok(Vec::new()) };
        let selector = selector(&node);
        let pods = match list(&api, client::ALL_PODS, &selector).await {
            Err(fault) if fault.code() == Some(403) => {
                let namespace = self.kind.namespace.as_ref().unwrap_or(&api.default_namespace);
                list(&api, &client::pods_path(namespace), &selector).await?
            }
            pods => pods?,
        };
        Ok(pods
            .into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .map(|pod| self.object(pod))
            .collect())
    }

    fn object(&self, pod: Pod) -> Object {
        let label = |key: &str| pod.metadata.labels.get(key).cloned().unwrap_or_default();
        let own = label(names::WORK_TYPE_LABEL) == names::label_value(&self.kind.work_type);
        let finished = matches!(pod.status.phase.as_str(), "Succeeded" | "Failed");
        let kept = own && finished && self.kind.delete_pod_policy == DeletePodPolicy::Never;
        let unit = label(names::UNIT_LABEL);
        Object {
            kind: "pods",
            namespace: pod.metadata.namespace,
            name: pod.metadata.name,
            uid: pod.metadata.uid,
            unit,
            own,
            kept,
        }
    }

    /// Deletes one of [`Cluster::objects`], and no other that has its name by now.
    pub(super) async fn remove(&self, object: &Object) -> Result<(), ApiError> {
        let Some(api) = self.connect_configured().await? else { return Ok(()) };
        let Object { namespace, name, uid, .. } = object;
        cleanup::delete(&api, &cleanup::Target { namespace, name, uid }, self.kind.grace_period).await
    }
}

async fn list(api: &Api, path: &str, selector: &str) -> Result<Vec<Pod>, ApiError> {
    let mut list = List::default();
    let mut pods = Vec::new();
    while list.version().is_none() {
        pods.extend(list.next(api, path, selector).await?);
    }
    Ok(pods)
}
