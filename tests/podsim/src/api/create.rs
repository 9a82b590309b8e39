//! New objects: read, checked as a whole, stored, and for a pod handed to the kubelet.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use rand::seq::IndexedRandom as _;
use serde_json::error::Category;
use serde_json::{Map, Value, json};

use super::call::Query;
use super::{new_uid, validation};
use crate::cluster::Cluster;
use crate::kubelet::second;
use crate::refusal::{Mistake, Refusal};
use crate::resource::{Resource, text_at};
use crate::store::{Key, Object};

/// Largest object that the store behind an API server takes, in bytes.
const OBJECT_LIMIT: usize = 1536 * 1024;
/// Letters of generated names.
const SUFFIX_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LEN: usize = 5;
/// Longest base of a generated name; the suffix makes it 63.
const GENERATE_NAME_LIMIT: usize = 58;
/// Names tried for one `generateName`.
const NAME_ATTEMPTS: usize = 8;

/// What came of a create.
pub(super) struct Created {
    pub(super) object: Arc<Object>,
    /// For `Warning` headers.
    pub(super) warnings: Vec<String>,
}

pub(super) fn create(
    cluster: &Arc<Cluster>,
    resource: Resource,
    namespace: &str,
    query: &Query,
    body: &[u8],
) -> Result<Created, Refusal> {
    let mut value = read(resource, body)?;
    let mut warnings = Vec::new();
    if resource == Resource::Pods {
        let pod = read_pod(&value)?;
        warnings = judge_unknown(&pod.unknown, query.text("fieldValidation"))?;
        value = pod.value;
    }
    let stated = text_at(&value, "metadata.namespace");
    if resource.namespaced() && !stated.is_empty() && stated != namespace {
        return Err(Refusal::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if resource.namespaced() {
        check_namespace(cluster, resource, namespace, text_at(&value, "metadata.name"))?;
    }
    let object = store(cluster, resource, namespace, value)?;
    if resource == Resource::Pods {
        cluster.kubelet.begin(cluster, &object);
    }
    Ok(Created { object, warnings })
}

/// The checks that come before the type's own.
fn read(resource: Resource, body: &[u8]) -> Result<Value, Refusal> {
    let kind = resource.kind();
    let unrecognized = |why: String| {
        let text = if body.is_empty() { "<empty>".into() } else { String::from_utf8_lossy(body) };
        Refusal::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {why} ({text})"
        ))
    };
    let value: Value = serde_json::from_slice(body).map_err(|error| match error.classify() {
        Category::Eof => unrecognized("unexpected end of JSON input".to_owned()),
        _ => unrecognized(error.to_string()),
    })?;
    if !value.is_object() {
        return Err(unrecognized("json: cannot unmarshal into Go value of type struct".to_owned()));
    }
    let (api, stated) = (text_at(&value, "apiVersion"), text_at(&value, "kind"));
    let refuse = |version: &str, why: &str| {
        Refusal::bad_request(format!("{stated} in version \"{version}\" cannot be handled as a {kind}: {why}"))
    };
    match (api, stated) {
        ("" | "v1", stated) if stated.is_empty() || stated == kind => Ok(value),
        ("" | "v1", _) => Err(refuse("v1", &format!("converting (v1.{stated}) to (core.{kind}): unknown conversion"))),
        (api, _) => Err(refuse(api, &format!("no kind \"{stated}\" is registered for version \"{api}\" in scheme"))),
    }
}

/// What becomes of unknown fields: refused, or dropped with these warnings.
fn judge_unknown(unknown: &[String], validation: &str) -> Result<Vec<String>, Refusal> {
    let list = unknown.iter().map(|path| format!("unknown field \"{path}\""));
    match validation {
        "Ignore" => Ok(Vec::new()),
        "" | "Warn" => Ok(list.collect()),
        "Strict" if unknown.is_empty() => Ok(Vec::new()),
        "Strict" => {
            let list: Vec<String> = list.collect();
            let why = format!("strict decoding error: {}", list.join(", "));
            Err(Refusal::bad_request(format!("Pod in version \"v1\" cannot be handled as a Pod: {why}")))
        }
        other => Err(Refusal::invalid_option(Mistake {
            reason: "FieldValueNotSupported",
            field: "fieldValidation".to_owned(),
            message: format!(
                "Unsupported value: \"{other}\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\""
            ),
        })),
    }
}

fn check_namespace(cluster: &Cluster, resource: Resource, namespace: &str, name: &str) -> Result<(), Refusal> {
    let object = cluster.store.get(&Key::new(Resource::Namespaces, "", namespace));
    let object = object.ok_or_else(|| Refusal::not_found("namespaces", namespace))?;
    if object.terminating() {
        return Err(Refusal::namespace_terminating(resource.plural(), name, namespace));
    }
    Ok(())
}

/// Names, stamps and stores it.
fn store(cluster: &Cluster, resource: Resource, namespace: &str, value: Value) -> Result<Arc<Object>, Refusal> {
    let generate = text_at(&value, "metadata.generateName").to_owned();
    let given = text_at(&value, "metadata.name").to_owned();
    let attempts = if given.is_empty() && !generate.is_empty() { NAME_ATTEMPTS } else { 1 };
    let mut refusal = None;
    for _ in 0..attempts {
        let name = if given.is_empty() { generated_name(&generate) } else { given.clone() };
        let mut value = value.clone();
        complete(resource, namespace, &name, &mut value);
        let mistakes = validation::mistakes(resource, &value);
        if !mistakes.is_empty() {
            return Err(Refusal::invalid(resource.kind(), &name, &mistakes));
        }
        if value.to_string().len() > OBJECT_LIMIT {
            return Err(Refusal::object_too_large());
        }
        let key = Key::new(resource, namespace, &name);
        match cluster.store.add(key.clone(), value, |objects| check_quota(&key, objects)) {
            Ok(object) => return Ok(object),
            Err(Some(why)) => return Err(why),
            Err(None) => {
                let terminating = cluster.store.get(&key).is_some_and(|object| object.terminating());
                let taken = if terminating { Refusal::being_deleted } else { Refusal::already_exists };
                refusal = Some(taken(resource.plural(), &name));
            }
        }
    }
    Err(refusal.unwrap_or_else(|| Refusal::internal("no name was tried")))
}

/// Whether the quotas of the namespace let another pod in; those that have ended do not count.
fn check_quota(key: &Key, objects: &BTreeMap<Key, Arc<Object>>) -> Result<(), Refusal> {
    if key.resource != Resource::Pods {
        return Ok(());
    }
    let all = |resource: Resource| {
        let here = move |(other, _): &(&Key, _)| other.resource == resource && other.namespace == key.namespace;
        objects.range(Key::new(resource, &key.namespace, "")..).take_while(here).map(|(_, object)| object)
    };
    for quota in all(Resource::Quotas) {
        let hard = quota.value.pointer("/spec/hard/pods");
        let text = hard.and_then(Value::as_str).map(str::to_owned).or(hard.map(Value::to_string));
        let Some(limit) = text.and_then(|text| text.parse::<usize>().ok()) else { continue };
        let counts = |object: &&Arc<Object>| !["Succeeded", "Failed"].contains(&text_at(&object.value, "status.phase"));
        let used = all(Resource::Pods).filter(counts).count();
        if used >= limit {
            let name = &quota.key.name;
            let why = format!("exceeded quota: {name}, requested: pods=1, used: pods={used}, limited: pods={limit}");
            return Err(Refusal::admission("pods", &key.name, &why));
        }
    }
    Ok(())
}

fn generated_name(base: &str) -> String {
    if base.is_empty() {
        return String::new();
    }
    let base: String = base.chars().take(GENERATE_NAME_LIMIT).collect();
    let mut rng = rand::rng();
    let suffix = (0..SUFFIX_LEN).filter_map(|_| SUFFIX_LETTERS.choose(&mut rng).map(|&letter| char::from(letter)));
    suffix.fold(base, |mut name, letter| {
        name.push(letter);
        name
    })
}

/// What the server adds to every object, and to a pod's spec.
fn complete(resource: Resource, namespace: &str, name: &str, value: &mut Value) {
    let Some(fields) = value.as_object_mut() else { return };
    fields.insert("kind".to_owned(), json!(resource.kind()));
    fields.insert("apiVersion".to_owned(), json!("v1"));
    let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
    if !metadata.is_object() {
        *metadata = json!({});
    }
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("name".to_owned(), json!(name));
        metadata.insert("uid".to_owned(), json!(new_uid()));
        metadata.insert("creationTimestamp".to_owned(), json!(second(Timestamp::now())));
        if resource.namespaced() {
            metadata.insert("namespace".to_owned(), json!(namespace));
        }
        for served in ["deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion", "selfLink"] {
            metadata.remove(served);
        }
        if resource == Resource::Pods {
            metadata.insert("generation".to_owned(), json!(1));
        }
        if resource == Resource::Namespaces {
            let labels = metadata.entry("labels").or_insert_with(|| json!({}));
            if let Some(labels) = labels.as_object_mut() {
                labels.insert("kubernetes.io/metadata.name".to_owned(), json!(name));
            }
        }
    }
    match resource {
        Resource::Pods => {
            if let Some(spec) = fields.entry("spec").or_insert_with(|| json!({})).as_object_mut() {
                default_spec(spec);
            }
            let qos = if fields.get("spec").is_some_and(has_resources) { "Burstable" } else { "BestEffort" };
            fields.insert("status".to_owned(), json!({"phase": "Pending", "qosClass": qos}));
        }
        Resource::Namespaces => {
            fields.insert("spec".to_owned(), json!({"finalizers": ["kubernetes"]}));
            fields.insert("status".to_owned(), json!({"phase": "Active"}));
        }
        Resource::Quotas => {
            let hard = fields.get("spec").and_then(|spec| spec.get("hard")).cloned().unwrap_or_else(|| json!({}));
            fields.insert("status".to_owned(), json!({"hard": hard, "used": {}}));
        }
        _ => {}
    }
}

fn has_resources(spec: &Value) -> bool {
    let containers = spec.get("containers").and_then(Value::as_array).into_iter().flatten();
    containers.filter_map(|container| container.get("resources")?.as_object()).any(|resources| !resources.is_empty())
}

fn default_spec(spec: &mut Map<String, Value>) {
    for (key, value) in [
        ("restartPolicy", json!("Always")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("dnsPolicy", json!("ClusterFirst")),
        ("enableServiceLinks", json!(true)),
        ("preemptionPolicy", json!("PreemptLowerPriority")),
        ("priority", json!(0)),
        ("schedulerName", json!("default-scheduler")),
        ("securityContext", json!({})),
        ("serviceAccount", json!("default")),
        ("serviceAccountName", json!("default")),
    ] {
        spec.entry(key).or_insert(value);
    }
    if spec.get("terminationGracePeriodSeconds").and_then(Value::as_i64).is_some_and(|seconds| seconds < 0) {
        spec.insert("terminationGracePeriodSeconds".to_owned(), json!(1));
    }
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(container) = container.as_object_mut() {
                default_container(container);
            }
        }
    }
}

fn default_container(container: &mut Map<String, Value>) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or("");
    let last = image.rsplit('/').next().unwrap_or("");
    let newest = !last.contains([':', '@']) || last.ends_with(":latest");
    let pull = if newest { "Always" } else { "IfNotPresent" };
    for (key, value) in [
        ("imagePullPolicy", json!(pull)),
        ("resources", json!({})),
        ("terminationMessagePath", json!("/dev/termination-log")),
        ("terminationMessagePolicy", json!("File")),
    ] {
        container.entry(key).or_insert(value);
    }
}

struct ReadPod {
    /// Without the fields that no pod has.
    value: Value,
    /// Paths of those.
    unknown: Vec<String>,
}

/// Reads a pod by its type, so that wrong types are refused and unknown fields are found: they are what is missing
/// when it is written again.
fn read_pod(value: &Value) -> Result<ReadPod, Refusal> {
    let refuse = |error: serde_json::Error| {
        Refusal::bad_request(format!("Pod in version \"v1\" cannot be handled as a Pod: {error}"))
    };
    let pod: Pod = serde_json::from_value(value.clone()).map_err(refuse)?;
    let known = serde_json::to_value(&pod).map_err(refuse)?;
    let mut unknown = Vec::new();
    collect_unknown(value, &known, &mut String::new(), &mut unknown);
    Ok(ReadPod { value: known, unknown })
}

fn collect_unknown(given: &Value, known: &Value, path: &mut String, unknown: &mut Vec<String>) {
    let length = path.len();
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (key, value) in given {
                if length > 0 {
                    path.push('.');
                }
                path.push_str(key);
                match known.get(key) {
                    Some(known) => collect_unknown(value, known, path, unknown),
                    None if value.is_null() || [json!({}), json!([])].contains(value) => {}
                    None => unknown.push(path.clone()),
                }
                path.truncate(length);
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (index, (value, known)) in given.iter().zip(known).enumerate() {
                path.push_str(&format!("[{index}]"));
                collect_unknown(value, known, path, unknown);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_found_and_dropped() {
        let given = json!({
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {"name": "a", "labels": {"any": "thing"}, "creationTimestamp": null},
            "spec": {"bogus": 1, "containers": [{"name": "w", "image": "busybox", "wrong": true, "resources": {}}]},
        });
        let read = read_pod(&given).unwrap();
        assert_eq!(read.unknown, ["spec.bogus", "spec.containers[0].wrong"]);
        assert_eq!(read.value.pointer("/spec/bogus"), None);
        assert_eq!(read.value.pointer("/metadata/labels/any"), Some(&json!("thing")));
    }

    #[test]
    fn a_wrong_type_is_refused() {
        assert_eq!(read_pod(&json!({"spec": {"containers": "none"}})).err().unwrap().code, 400);
    }

    #[test]
    fn generated_names() {
        let name = generated_name("gen-");
        assert!(name.starts_with("gen-") && name.len() == 9, "{name}");
        assert_eq!(generated_name(""), "");
    }
}
