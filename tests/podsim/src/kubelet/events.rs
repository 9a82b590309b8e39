//! `Event` objects about pods, for what their status does not say.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::status::{NODE_NAME, second};
use crate::cluster::Cluster;
use crate::resource::Resource;
use crate::store::Key;

/// Notes a `Warning` about a pod. The same reason again counts up the event that is there, so that a pod has at most
/// one of each kind.
pub(super) fn warn(cluster: &Cluster, pod: &Pod, reason: &str, message: &str) {
    let metadata = &pod.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or("default");
    let (name, uid) = (metadata.name.as_deref().unwrap_or(""), metadata.uid.as_deref().unwrap_or(""));
    let key = Key::new(Resource::Events, namespace, &format!("{name}.{}.{uid}", reason.to_lowercase()));
    let now = second(Timestamp::now());
    let counted = cluster.store.edit(&key, "", |event| {
        let count = event.get("count").and_then(Value::as_u64).unwrap_or(0);
        if let Some(fields) = event.as_object_mut() {
            fields.insert("count".to_owned(), json!(count + 1));
            fields.insert("lastTimestamp".to_owned(), json!(now));
            fields.insert("message".to_owned(), json!(message));
        }
        true
    });
    if counted.is_some() {
        return;
    }
    let event = json!({
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": {
            "name": key.name,
            "namespace": namespace,
            "uid": crate::api::new_uid(),
            "creationTimestamp": now,
        },
        "involvedObject": {
            "kind": "Pod",
            "apiVersion": "v1",
            "namespace": namespace,
            "name": name,
            "uid": uid,
        },
        "reason": reason,
        "message": message,
        "type": "Warning",
        "count": 1,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "source": {"component": "kubelet", "host": NODE_NAME},
        "reportingComponent": "kubelet",
        "reportingInstance": NODE_NAME,
    });
    // Two at the same moment: one of them is enough.
    let _ = cluster.store.add::<()>(key, event, |_| Ok(()));
}
