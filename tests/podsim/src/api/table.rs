//! Objects as `kubectl get` wants to print them: a `Table`, its columns made here.

use http::header::ACCEPT;
use http::request::Parts;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::resource::{Resource, text_at};
use crate::store::Object;

/// Whether the client would rather have a table than the objects.
pub(super) fn wanted(parts: &Parts) -> bool {
    let accept = parts.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    accept.split(',').next().is_some_and(|first| first.contains("as=Table") && first.contains("v=v1;"))
}

/// A table of these objects; the events of a watch leave the heads of the columns out after the first.
pub(super) fn table(resource: Resource, objects: &[&Object], version: u64, heads: bool) -> Value {
    let columns: &[(&str, &str)] = match resource {
        Resource::Pods => {
            &[("Name", "string"), ("Ready", "string"), ("Status", "string"), ("Restarts", "string"), ("Age", "string")]
        }
        Resource::Namespaces => &[("Name", "string"), ("Status", "string"), ("Age", "string")],
        Resource::Events => &[
            ("Last Seen", "string"),
            ("Type", "string"),
            ("Reason", "string"),
            ("Object", "string"),
            ("Message", "string"),
        ],
        _ => &[("Name", "string"), ("Age", "string")],
    };
    let definitions: Vec<Value> = columns
        .iter()
        .map(|(name, kind)| {
            let format = if *name == "Name" { "name" } else { "" };
            json!({"name": name, "type": kind, "format": format, "description": "", "priority": 0})
        })
        .collect();
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            json!({
                "cells": cells(resource, object),
                "object": {
                    "kind": "PartialObjectMetadata",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": object.value.get("metadata"),
                },
            })
        })
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version.to_string()},
        "columnDefinitions": if heads { Value::Array(definitions) } else { Value::Null },
        "rows": rows,
    })
}

fn cells(resource: Resource, object: &Object) -> Value {
    let value = &object.value;
    let (name, age) = (&object.key.name, age(text_at(value, "metadata.creationTimestamp")));
    match resource {
        Resource::Pods => {
            let statuses = list(value, "/status/containerStatuses");
            let count =
                |wanted: &str| statuses.iter().filter(|status| status.get(wanted) == Some(&json!(true))).count();
            let restarts: u64 = statuses.iter().filter_map(|status| status.get("restartCount")?.as_u64()).sum();
            let total = list(value, "/spec/containers").len();
            json!([name, format!("{}/{total}", count("ready")), pod_status(value), restarts.to_string(), age])
        }
        Resource::Namespaces => json!([name, text_at(value, "status.phase"), age]),
        Resource::Events => json!([
            self::age(text_at(value, "lastTimestamp")),
            text_at(value, "type"),
            text_at(value, "reason"),
            format!("pod/{}", text_at(value, "involvedObject.name")),
            text_at(value, "message"),
        ]),
        _ => json!([name, age]),
    }
}

/// One word for where a pod stands.
fn pod_status(pod: &Value) -> String {
    let reason = |status: &Value| -> Option<String> {
        let state = status.get("state")?;
        let reason = text_at(state, "waiting.reason");
        let reason = if reason.is_empty() { text_at(state, "terminated.reason") } else { reason };
        (!reason.is_empty()).then(|| reason.to_owned())
    };
    if pod.pointer("/metadata/deletionTimestamp").is_some() {
        return "Terminating".to_owned();
    }
    let stated = text_at(pod, "status.reason");
    if !stated.is_empty() {
        return stated.to_owned();
    }
    let mut reasons = list(pod, "/status/containerStatuses").iter().rev().filter_map(reason);
    reasons.next().unwrap_or_else(|| text_at(pod, "status.phase").to_owned())
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// `5s`, `3m`, `2h`, `4d`.
fn age(since: &str) -> String {
    let Ok(since) = since.parse::<Timestamp>() else { return "<unknown>".to_owned() };
    let seconds = Timestamp::now().as_second().saturating_sub(since.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}
