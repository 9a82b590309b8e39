//! What a pod may be, as the node's operator wants it (work-types 2.2, 2.4): `imageallow`, `podforbid`, `maxcpulimit` and
//! `maxmemorylimit`. Pure: a definition goes in, the first field that is against the rules comes out.
//!
//! Checked when a unit is submitted, before anything is made. A definition that is no pod is not judged here: the
//! creation refuses it in the original's words.

use serde_json::Value;
use worknode_protocol::{
    config::model::{
        KubernetesType,
        kubernetes::{PodForbid, Quantity, amount},
    },
    yaml,
};

use super::pod::Wanted;
use crate::runner::PlanError;

/// The lists of containers a pod has.
const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// A container of a definition, and where it stands.
struct Container<'a> {
    list: &'static str,
    index: usize,
    fields: &'a Value,
}

impl Container<'_> {
    fn path(&self, field: &str) -> String {
        format!("spec.{}[{}].{field}", self.list, self.index)
    }

    fn at(&self, pointer: &str) -> Option<&Value> {
        self.fields.pointer(pointer).filter(|value| !value.is_null())
    }

    /// An init container that ends before the next begins; others run beside the worker.
    fn ends_first(&self) -> bool {
        self.list == "initContainers" && self.at("/restartPolicy").is_none_or(|policy| policy != "Always")
    }
}

/// Judges what a unit asks for. `by_client`: its definition came with the submission.
///
/// # Errors
/// The first thing that is not allowed, with its place.
pub(crate) fn check(kind: &KubernetesType, wanted: &Wanted, by_client: bool) -> Result<(), PlanError> {
    let text = match wanted {
        Wanted::Container { image, .. } => return check_image(kind, image),
        Wanted::Definition(text) => text,
    };
    if is_unbounded(kind) {
        return Ok(());
    }
    let Ok(pod) = yaml::from_str::<Value>(text) else { return Ok(()) };
    for image in images(&pod) {
        check_image(kind, image)?;
    }
    if by_client {
        for forbid in &kind.worker.pod_forbid {
            if let Some(path) = forbidden(&pod, *forbid) {
                return Err(PlanError::PodForbidden { path, what: name(*forbid) });
            }
        }
        for (resource, maximum) in
            [("cpu", &kind.shape.resources.max_cpu_limit), ("memory", &kind.shape.resources.max_memory_limit)]
        {
            if let Some(maximum) = maximum {
                check_limit(&pod, resource, maximum)?;
            }
        }
    }
    Ok(())
}

fn is_unbounded(kind: &KubernetesType) -> bool {
    let resources = &kind.shape.resources;
    kind.worker.image_allow.is_empty()
        && kind.worker.pod_forbid.is_empty()
        && resources.max_cpu_limit.is_none()
        && resources.max_memory_limit.is_none()
}

fn check_image(kind: &KubernetesType, image: &str) -> Result<(), PlanError> {
    let allowed = &kind.worker.image_allow;
    if allowed.is_empty() || image.is_empty() || allowed.iter().any(|pattern| pattern.matches(image)) {
        return Ok(());
    }
    Err(PlanError::ImageNotAllowed(image.to_owned()))
}

fn containers(pod: &Value) -> impl Iterator<Item = Container<'_>> {
    CONTAINERS.into_iter().flat_map(move |list| {
        let all = pod.pointer("/spec").and_then(|spec| spec.get(list)).and_then(Value::as_array);
        all.into_iter().flatten().enumerate().map(move |(index, fields)| Container { list, index, fields })
    })
}

fn volumes(pod: &Value) -> impl Iterator<Item = (usize, &Value)> {
    pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten().enumerate()
}

/// Images of containers, and images mounted as volumes.
fn images(pod: &Value) -> impl Iterator<Item = &str> {
    let run = containers(pod).filter_map(|container| container.fields.get("image")?.as_str());
    run.chain(volumes(pod).filter_map(|(_, volume)| volume.pointer("/image/reference")?.as_str()))
}

/// The word of the configuration.
fn name(forbid: PodForbid) -> &'static str {
    match forbid {
        PodForbid::Privileged => "privileged",
        PodForbid::HostPath => "hostpath",
        PodForbid::HostNetwork => "hostnetwork",
        PodForbid::HostPid => "hostpid",
        PodForbid::HostIpc => "hostipc",
        PodForbid::Capabilities => "capabilities",
        PodForbid::Namespace => "namespace",
        PodForbid::ServiceAccount => "serviceaccount",
    }
}

/// The place of the first field that is forbidden.
fn forbidden(pod: &Value, forbid: PodForbid) -> Option<String> {
    let says = |pointer: &str| pod.pointer(pointer).filter(|value| is_said(value));
    let field = |pointer: &str| says(pointer).map(|_| pointer.trim_start_matches('/').replace('/', "."));
    match forbid {
        PodForbid::Privileged => in_containers(pod, &["/securityContext/privileged", HOST_PROCESS])
            .or_else(|| field("/spec/securityContext/windowsOptions/hostProcess")),
        PodForbid::HostPath => volumes(pod)
            .find(|(_, volume)| volume.get("hostPath").is_some_and(|value| !value.is_null()))
            .map(|(index, _)| format!("spec.volumes[{index}].hostPath")),
        PodForbid::HostNetwork => field("/spec/hostNetwork").or_else(|| host_port(pod)),
        PodForbid::HostPid => field("/spec/hostPID"),
        PodForbid::HostIpc => field("/spec/hostIPC"),
        PodForbid::Capabilities => in_containers(pod, &["/securityContext/capabilities/add"]),
        PodForbid::Namespace => field("/metadata/namespace"),
        PodForbid::ServiceAccount => field("/spec/serviceAccountName").or_else(|| field("/spec/serviceAccount")),
    }
}

/// What Windows calls privileged.
const HOST_PROCESS: &str = "/securityContext/windowsOptions/hostProcess";

/// A port of the cluster node itself.
fn host_port(pod: &Value) -> Option<String> {
    containers(pod).find_map(|container| {
        let ports = container.at("/ports").and_then(Value::as_array)?;
        let index = ports.iter().position(|port| port.get("hostPort").is_some_and(is_said))?;
        Some(container.path(&format!("ports[{index}].hostPort")))
    })
}

/// Neither absent nor what the API takes for absent.
fn is_said(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Number(number) => number.as_i64() != Some(0),
        Value::Bool(true) | Value::Object(_) => true,
    }
}

fn in_containers(pod: &Value, pointers: &[&str]) -> Option<String> {
    containers(pod).find_map(|container| {
        let found = pointers.iter().find(|pointer| container.at(pointer).is_some_and(is_said))?;
        Some(container.path(&found.trim_start_matches('/').replace('/', ".")))
    })
}

/// Every container has a limit, and all that run at once stay below the ceiling together: otherwise many small ones
/// would be the way around it.
fn check_limit(pod: &Value, resource: &'static str, maximum: &Quantity) -> Result<(), PlanError> {
    let field = format!("resources.limits.{resource}");
    let most = maximum.amount().unwrap_or(i128::MAX);
    let mut together = 0_i128;
    for container in containers(pod) {
        let path = container.path(&field);
        let limit = container.at("/resources/limits").and_then(|limits| limits.get(resource));
        let Some(limit) = limit.filter(|limit| !limit.is_null()) else {
            return Err(PlanError::PodLimitMissing { path, maximum: maximum.to_string() });
        };
        let text = limit.as_str().map_or_else(|| limit.to_string(), str::to_owned);
        // What is no quantity is for the API server to refuse, in its words.
        let limit = amount(&text).unwrap_or(i128::MAX);
        if !container.ends_first() {
            together = together.saturating_add(limit.max(0));
        }
        if limit.max(together) > most {
            return Err(PlanError::PodLimit { path, maximum: maximum.to_string() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
