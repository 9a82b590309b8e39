//! `SelfSubjectAccessReview`: whether the asking account may do something.

use serde_json::{Value, json};

use super::body::{Answer, json};
use crate::accounts::Identity;
use crate::refusal::Refusal;
use crate::resource::text_at;

/// Where such a review is asked for.
pub(super) const PATH: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

pub(super) fn answer(identity: &Identity, body: &[u8]) -> Result<Answer, Refusal> {
    let mut review: Value = serde_json::from_slice(body).map_err(|error| Refusal::bad_request(error.to_string()))?;
    let about = review.pointer("/spec/resourceAttributes").cloned().unwrap_or_default();
    let resource = match (text_at(&about, "resource"), text_at(&about, "subresource")) {
        (resource, "") => resource.to_owned(),
        (resource, sub) => format!("{resource}/{sub}"),
    };
    let namespace = Some(text_at(&about, "namespace")).filter(|namespace| !namespace.is_empty());
    let allowed = match text_at(&review, "spec.nonResourceAttributes.path") {
        "" => identity.may(text_at(&about, "verb"), &resource, namespace),
        path => identity.may_read(path),
    };
    if let Some(fields) = review.as_object_mut() {
        fields.insert("status".to_owned(), json!({"allowed": allowed}));
    }
    Ok(json(201, &review))
}
