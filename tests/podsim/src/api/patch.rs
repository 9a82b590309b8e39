//! Changes to labels and annotations, by JSON merge patch; nothing else of an object can be changed here.

use serde_json::{Value, json};

use super::body::{Answer, json_bytes};
use crate::cluster::Cluster;
use crate::refusal::{Mistake, Refusal};
use crate::store::Key;

pub(super) fn patch(cluster: &Cluster, key: &Key, content_type: &str, body: &[u8]) -> Result<Answer, Refusal> {
    let (resource, name) = (key.resource, key.name.as_str());
    let object = cluster.store.get(key).ok_or_else(|| Refusal::not_found(resource.plural(), name))?;
    if !content_type.contains("merge-patch+json") {
        return Err(Refusal::unsupported_media_type(
            content_type,
            "application/merge-patch+json, application/strategic-merge-patch+json",
        ));
    }
    let patch: Value =
        serde_json::from_slice(body).map_err(|error| Refusal::bad_request(format!("error decoding patch: {error}")))?;
    let mut wanted = object.value.clone();
    merge(&mut wanted, &patch);
    let mut plain = wanted.clone();
    for field in ["labels", "annotations"] {
        copy(&object.value, &mut plain, field);
    }
    if plain != object.value {
        return Err(Refusal::invalid(
            resource.kind(),
            name,
            &[Mistake {
                reason: "FieldValueForbidden",
                field: String::new(),
                message: "Forbidden: podsim changes labels and annotations only".to_owned(),
            }],
        ));
    }
    let edited = cluster.store.edit(key, object.uid(), |value| {
        let before = value.clone();
        for field in ["labels", "annotations"] {
            copy(&wanted, value, field);
        }
        *value != before
    });
    let edited = edited.ok_or_else(|| Refusal::not_found(resource.plural(), name))?;
    Ok(json_bytes(200, edited.json.clone()))
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(fields) = target.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Makes one field of the metadata what it is in `from`.
fn copy(from: &Value, to: &mut Value, field: &str) {
    let value = from.get("metadata").and_then(|metadata| metadata.get(field)).cloned();
    if let Some(metadata) = to.get_mut("metadata").and_then(Value::as_object_mut) {
        match value {
            Some(value) => metadata.insert(field.to_owned(), value),
            None => metadata.remove(field),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        for (target, patch, expected) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!([1]), json!({"a": {"b": null}}), json!({"a": {}})),
        ] {
            let mut merged = target;
            merge(&mut merged, &patch);
            assert_eq!(merged, expected);
        }
    }
}
