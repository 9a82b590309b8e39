//! Removing a unit's pod from the cluster.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::json;

use super::{
    client::{self, Api, ApiError},
    create,
    pod::Labels,
    record::{Record, Step},
    view::Pod,
};

/// How long a pod that was asked for without an answer may yet come into being: the API server gives up after 60 s.
const UNSETTLED: Duration = Duration::from_secs(90);

/// Why a pod may still be there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Remains {
    /// The API server did not do it.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The request to make it may still be on its way.
    #[error("it may yet be created")]
    Unsettled,
}

/// Deletes the pod that `record` tells of, be it certain or only possible that it was made. `labels` are those that tell
/// a unit's own pod from a stranger's of the same name.
pub(crate) async fn remove(
    api: &Api,
    record: &Record,
    labels: &Labels,
    grace: Option<Duration>,
) -> Result<(), Remains> {
    let (namespace, name) = (record.namespace.as_str(), record.name.as_str());
    if record.step > Step::Creating || !record.uid.is_empty() {
        return Ok(delete(api, &Target { namespace, name, uid: &record.uid }, grace).await?);
    }
    match find(api, namespace, name).await? {
        Some(pod) if labels.are_on(&pod) => {
            Ok(delete(api, &Target { namespace, name, uid: &pod.metadata.uid }, grace).await?)
        }
        Some(_) => Ok(()),
        None if Duration::from_millis(create::now().saturating_sub(record.asked_at)) < UNSETTLED => {
            Err(Remains::Unsettled)
        }
        None => Ok(()),
    }
}

/// A pod to be deleted.
pub(crate) struct Target<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    /// Empty if it is not known, for receptor's units; then whoever has the name goes.
    pub(crate) uid: &'a str,
}

/// Asks the API server to delete the pod. One that is gone, or whose name another pod has by now, counts as deleted.
pub(crate) async fn delete(api: &Api, pod: &Target<'_>, grace: Option<Duration>) -> Result<(), ApiError> {
    // Fields that are `null` count as not given.
    let options = json!({
        "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
        "preconditions": Some(pod.uid).filter(|uid| !uid.is_empty()).map(|uid| json!({ "uid": uid })),
        "gracePeriodSeconds": grace.map(|grace| grace.as_secs()),
    });
    let body = Bytes::from(options.to_string());
    let request = client::request(Method::DELETE, &client::pod_path(pod.namespace, pod.name), body)?;
    match api.object::<serde_json::Value>(&request).await {
        Err(fault) if fault.is_not_found() || fault.code() == Some(409) => Ok(()),
        other => other.map(drop),
    }
}

/// The pod, or `None` if there is none of that name.
async fn find(api: &Api, namespace: &str, name: &str) -> Result<Option<Pod>, ApiError> {
    match api.object::<Pod>(&client::get_pod(namespace, name)?).await {
        Err(fault) if fault.is_not_found() => Ok(None),
        other => other.map(Some),
    }
}
