//! Ends: of a pod with or without grace, of a namespace with all that is in it, of anything else at once.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::body::{Answer, json, json_bytes};
use super::call::Query;
use crate::cluster::Cluster;
use crate::kubelet::{Order, second};
use crate::refusal::Refusal;
use crate::resource::{Resource, text_at};
use crate::selector::Selector;
use crate::store::{Key, Object};

/// How to delete; from the body or the query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DeleteOptions {
    /// `None`: as the pod says.
    pub(crate) grace_seconds: Option<u64>,
    /// Only the object with this uid.
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
}

impl DeleteOptions {
    pub(super) fn parse(query: &Query, body: &[u8]) -> Result<Self, Refusal> {
        let body: Value = if body.is_empty() {
            json!({})
        } else {
            serde_json::from_slice(body).map_err(|error| {
                Refusal::bad_request(format!("couldn't get version/kind; json parse error: {error}"))
            })?
        };
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let in_query = query.number("gracePeriodSeconds").map_err(Refusal::bad_request)?;
        let grace = body.get("gracePeriodSeconds").and_then(Value::as_i64).or(in_query);
        Ok(Self {
            // A negative time is taken for one second, as the API server does.
            grace_seconds: grace.map(|seconds| u64::try_from(seconds).unwrap_or(1)),
            uid: text("/preconditions/uid"),
            resource_version: text("/preconditions/resourceVersion"),
        })
    }

    fn check(&self, object: &Object) -> Result<(), Refusal> {
        let (kind, name) = (object.key.resource.kind(), object.key.name.as_str());
        match (&self.uid, &self.resource_version) {
            (Some(uid), _) if uid != object.uid() => Err(Refusal::uid_conflict(kind, name, uid, object.uid())),
            (_, Some(version)) if *version != object.version.to_string() => {
                Err(Refusal::version_conflict(kind, name, version, &object.version.to_string()))
            }
            _ => Ok(()),
        }
    }
}

pub(super) async fn delete(cluster: &Arc<Cluster>, key: &Key, options: &DeleteOptions) -> Result<Answer, Refusal> {
    match key.resource {
        Resource::Pods => Ok(json_bytes(200, delete_pod(cluster, key, options).await?.json.clone())),
        Resource::Namespaces => {
            let object = find(cluster, key)?;
            options.check(&object)?;
            Ok(json_bytes(200, delete_namespace(cluster, key, &object).json.clone()))
        }
        resource => {
            let object = find(cluster, key)?;
            options.check(&object)?;
            cluster.store.remove(key, object.uid(), |_| ());
            Ok(json(200, &success(resource, &key.name, object.uid())))
        }
    }
}

pub(super) async fn delete_all(
    cluster: &Arc<Cluster>,
    resource: Resource,
    namespace: &str,
    query: &Query,
    options: &DeleteOptions,
) -> Result<Answer, Refusal> {
    let selector = Selector::parse(resource, query.text("labelSelector"), query.text("fieldSelector"))
        .map_err(Refusal::bad_request)?;
    let (objects, version) = cluster.store.list(resource, Some(namespace));
    let mut deleted = Vec::new();
    for object in objects.iter().filter(|object| selector.matches(&object.value)) {
        match delete(cluster, &object.key, options).await {
            Ok(_) => deleted.push(object.value.clone()),
            // Gone meanwhile.
            Err(refusal) if refusal.code == 404 => {}
            Err(refusal) => return Err(refusal),
        }
    }
    let list = json!({
        "kind": format!("{}List", resource.kind()),
        "apiVersion": "v1",
        "metadata": {"resourceVersion": version.to_string()},
        "items": deleted,
    });
    Ok(json(200, &list))
}

/// Deletes a pod as its strategy says: at once if it is not bound, has ended or no time is given; else it is marked,
/// and goes when its containers have ended. Gives the pod as it is then.
pub(crate) async fn delete_pod(
    cluster: &Arc<Cluster>,
    key: &Key,
    options: &DeleteOptions,
) -> Result<Arc<Object>, Refusal> {
    let object = find(cluster, key)?;
    options.check(&object)?;
    let bound = !text_at(&object.value, "spec.nodeName").is_empty();
    let ended = ["Succeeded", "Failed"].contains(&text_at(&object.value, "status.phase"));
    let own = object.value.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_u64);
    let grace = if bound && !ended { options.grace_seconds.or(own).unwrap_or(30) } else { 0 };
    let gone = || Refusal::not_found(key.resource.plural(), &key.name);
    let handle = cluster.kubelet.handle(object.uid());
    let (object, order) = if grace == 0 {
        // Said first and then done, as a real API server does.
        cluster.store.edit(key, object.uid(), |pod| {
            mark(pod, 0);
            true
        });
        (cluster.store.remove(key, object.uid(), |_| ()).ok_or_else(gone)?, Order::Gone)
    } else {
        let marked = cluster.store.edit(key, object.uid(), |pod| {
            let before = pod.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_u64);
            let shorter = before.is_none_or(|before| grace < before);
            if shorter {
                mark(pod, grace);
            }
            shorter
        });
        (marked.ok_or_else(gone)?, Order::Delete { grace: Duration::from_secs(grace) })
    };
    if let Some(handle) = handle {
        handle.order(order).await;
    }
    Ok(object)
}

/// `POST .../eviction`.
pub(super) async fn eviction(cluster: &Arc<Cluster>, key: &Key, body: &[u8]) -> Result<Answer, Refusal> {
    let eviction: Value = serde_json::from_slice(body).map_err(|error| Refusal::bad_request(error.to_string()))?;
    let options = eviction.get("deleteOptions").map(Value::to_string).unwrap_or_default();
    evict_pod(cluster, key, DeleteOptions::parse(&Query::default(), options.as_bytes())?).await?;
    Ok(json(201, &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})))
}

/// Marks the pod as disrupted and deletes it.
pub(crate) async fn evict_pod(cluster: &Arc<Cluster>, key: &Key, options: DeleteOptions) -> Result<(), Refusal> {
    let object = find(cluster, key)?;
    options.check(&object)?;
    if let Some(handle) = cluster.kubelet.handle(object.uid()) {
        let message = "Eviction API: evicting".to_owned();
        handle.order(Order::Disrupt { reason: "EvictionByEvictionAPI", message }).await;
    }
    delete_pod(cluster, key, &DeleteOptions { uid: Some(object.uid().to_owned()), ..options }).await?;
    Ok(())
}

fn find(cluster: &Cluster, key: &Key) -> Result<Arc<Object>, Refusal> {
    cluster.store.get(key).ok_or_else(|| Refusal::not_found(key.resource.plural(), &key.name))
}

fn mark(pod: &mut Value, grace: u64) {
    let seconds = i64::try_from(grace).unwrap_or(i64::MAX);
    let when = Timestamp::now().saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX);
    if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("deletionTimestamp".to_owned(), json!(second(when)));
        metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
        metadata.insert("generation".to_owned(), json!(2));
    }
}

/// Marks it, and sees in the background that everything in it goes and then itself.
fn delete_namespace(cluster: &Arc<Cluster>, key: &Key, object: &Arc<Object>) -> Arc<Object> {
    if object.terminating() {
        return Arc::clone(object);
    }
    let marked = cluster.store.edit(key, object.uid(), |namespace| {
        mark(namespace, 0);
        if let Some(metadata) = namespace.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("deletionGracePeriodSeconds");
            metadata.remove("generation");
        }
        if let Some(status) = namespace.get_mut("status").and_then(Value::as_object_mut) {
            status.insert("phase".to_owned(), json!("Terminating"));
        }
        true
    });
    let (cluster, key) = (Arc::clone(cluster), key.clone());
    cluster.tasks.clone().spawn(async move {
        let shutdown = cluster.shutdown.clone();
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = empty_namespace(&cluster, &key) => {}
        }
    });
    marked.unwrap_or_else(|| Arc::clone(object))
}

async fn empty_namespace(cluster: &Arc<Cluster>, key: &Key) {
    let mut changes = cluster.store.subscribe();
    for pod in cluster.store.list(Resource::Pods, Some(&key.name)).0 {
        // Refused only where it is gone already.
        let _ = delete_pod(cluster, &pod.key, &DeleteOptions::default()).await;
    }
    while !cluster.store.list(Resource::Pods, Some(&key.name)).0.is_empty() {
        if changes.changed().await.is_err() {
            return;
        }
    }
    for resource in Resource::ALL.into_iter().filter(|resource| resource.namespaced()) {
        for object in cluster.store.list(resource, Some(&key.name)).0 {
            cluster.store.remove(&object.key, object.uid(), |_| ());
        }
    }
    cluster.store.remove(key, "", |_| ());
}

fn success(resource: Resource, name: &str, uid: &str) -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": name, "kind": resource.plural(), "uid": uid},
    })
}
