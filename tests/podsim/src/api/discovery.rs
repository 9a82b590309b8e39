//! What there is to be asked for: version, health, API groups and resources, enough for `kubectl`.

use http::Method;
use http::header::HeaderValue;
use serde_json::{Map, Value, json};

use super::body::{Answer, json, whole};
use crate::refusal::Refusal;
use crate::resource::Resource;

/// The version that podsim behaves like.
pub(crate) const GIT_VERSION: &str = "v1.34.4+podsim";

pub(super) fn answer(method: &Method, path: &str) -> Result<Answer, Refusal> {
    if *method != Method::GET && *method != Method::HEAD {
        return Err(Refusal::method_not_allowed());
    }
    let value = match path.trim_end_matches('/') {
        "/healthz" | "/livez" | "/readyz" => {
            return Ok(whole(200, HeaderValue::from_static("text/plain; charset=utf-8"), "ok"));
        }
        "/version" => version(),
        "/api" => json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        "/apis" => json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []}),
        "/openapi/v3" => json!({"paths": {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1"}}}),
        "/openapi/v3/api/v1" => openapi(),
        "/api/v1" => json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": resources()}),
        _ => return Err(Refusal::text(404, "404 page not found\n")),
    };
    Ok(json(200, &value))
}

fn version() -> Value {
    json!({
        "major": "1",
        "minor": "34",
        "emulationMajor": "1",
        "emulationMinor": "34",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "33",
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "linux/amd64",
    })
}

fn resources() -> Value {
    let mut all: Vec<Value> = Resource::ALL
        .into_iter()
        .map(|resource| {
            let short = match resource {
                Resource::Pods => json!(["po"]),
                Resource::Namespaces => json!(["ns"]),
                Resource::Events => json!(["ev"]),
                Resource::ConfigMaps => json!(["cm"]),
                Resource::ServiceAccounts => json!(["sa"]),
                Resource::Quotas => json!(["quota"]),
                Resource::Secrets => json!([]),
            };
            json!({
                "name": resource.plural(),
                "singularName": resource.kind().to_lowercase(),
                "namespaced": resource.namespaced(),
                "kind": resource.kind(),
                "shortNames": short,
                "verbs": ["create", "delete", "deletecollection", "get", "list", "watch"],
            })
        })
        .collect();
    for (sub, kind, verbs) in [
        ("attach", "PodAttachOptions", json!(["create", "get"])),
        ("eviction", "Eviction", json!(["create"])),
        ("log", "Pod", json!(["get"])),
    ] {
        all.push(json!({
            "name": format!("pods/{sub}"),
            "singularName": "",
            "namespaced": true,
            "kind": kind,
            "verbs": verbs,
        }));
    }
    Value::Array(all)
}

/// As much of a description as `kubectl` wants before it leaves the checking of fields to the server.
fn openapi() -> Value {
    let paths: Map<String, Value> = Resource::ALL
        .into_iter()
        .map(|resource| {
            let place = if resource.namespaced() { "/namespaces/{namespace}" } else { "" };
            let operation = json!({
                "x-kubernetes-group-version-kind": {"group": "", "version": "v1", "kind": resource.kind()},
                "parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}],
                "responses": {},
            });
            (format!("/api/v1{place}/{}/{{name}}", resource.plural()), json!({"patch": operation}))
        })
        .collect();
    json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "1.34"}, "paths": paths})
}
