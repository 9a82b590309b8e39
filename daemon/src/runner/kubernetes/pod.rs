//! Building the pod that is asked for (control-protocol 5.4).
//!
//! A definition is kept as a JSON value, so that fields this program has never heard of reach the API server as they were
//! written. Only `metadata` and `spec` are kept.

use serde_json::{Map, Value, json};
use worknode_protocol::{shell, unit::PodProblem, yaml};

use super::{names, view::Pod};

/// The container that gets stdin and whose output and end are the unit's.
pub(crate) const WORKER: &str = "worker";

/// What a unit asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The text of a definition, YAML or JSON. Secret.
    Definition(String),
    /// One container with these, each as the user wrote it.
    Container {
        /// Its image.
        image: String,
        /// Its command, to be split like a shell does.
        command: String,
        /// Its arguments, likewise.
        params: String,
    },
}

/// The labels of work-types 2.5, sanitised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Labels(pub(crate) Vec<(&'static str, String)>);

impl Labels {
    /// Those of a unit.
    pub(crate) fn of(node: &str, unit: &str, work_type: &str) -> Self {
        let value = names::label_value;
        Self(vec![
            (names::NODE_LABEL, value(node)),
            (names::UNIT_LABEL, value(unit)),
            (names::WORK_TYPE_LABEL, value(work_type)),
        ])
    }

    /// True if the pod has all of them.
    pub(crate) fn are_on(&self, pod: &Pod) -> bool {
        self.0.iter().all(|(key, value)| pod.metadata.labels.get(*key) == Some(value))
    }
}

/// A pod ready to be asked for, but for its name.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    /// What its name begins with, as in `generateName`.
    pub(crate) prefix: String,
    /// The namespace of the definition, which wins over every other (control-protocol 5.4).
    pub(crate) namespace: Option<String>,
    metadata: Map<String, Value>,
    spec: Value,
}

impl Manifest {
    /// Reads the definition or makes one. `prefix` is that of the work type, for pods which do not bring their own.
    pub(crate) fn build(wanted: &Wanted, prefix: &str) -> Result<Self, PodProblem> {
        match wanted {
            Wanted::Definition(text) => Self::from_definition(text, prefix),
            Wanted::Container { image, command, params } => Self::from_container(image, command, params, prefix),
        }
    }

    /// What is asked for, to be changed.
    pub(crate) fn spec_mut(&mut self) -> &mut Value {
        &mut self.spec
    }

    /// Gives the worker these variables, in place of others of the same names.
    pub(crate) fn add_variables(&mut self, variables: &[(&str, String)]) {
        let containers = self.spec.get_mut("containers").and_then(Value::as_array_mut);
        let mut workers = containers.into_iter().flatten().filter_map(Value::as_object_mut);
        let Some(worker) = workers.find(|container| container.get("name").is_some_and(|name| name == WORKER)) else {
            return;
        };
        let mut all = match worker.remove("env") {
            Some(Value::Array(all)) => all,
            _ => Vec::new(),
        };
        all.retain(|own| !variables.iter().any(|(name, _)| own.get("name").is_some_and(|of| of == name)));
        all.extend(variables.iter().map(|(name, value)| json!({ "name": name, "value": value })));
        worker.insert("env".to_owned(), all.into());
    }

    fn from_definition(text: &str, prefix: &str) -> Result<Self, PodProblem> {
        let document: Value = yaml::from_str(text).map_err(|fault| PodProblem::Message(fault.to_string()))?;
        let Value::Object(mut document) = document else { return Err(PodProblem::NoWorker) };
        if !is_pod(&document) {
            return Err(PodProblem::NoWorker);
        }
        let mut spec = document.remove("spec").unwrap_or_default();
        let containers = spec.get_mut("containers").and_then(Value::as_array_mut).ok_or(PodProblem::NoWorker)?;
        let worker = containers.iter_mut().find(|container| container.get("name").is_some_and(|name| name == WORKER));
        let worker = worker.and_then(Value::as_object_mut).ok_or(PodProblem::NoWorker)?;
        worker.insert("stdin".to_owned(), true.into());
        worker.insert("stdinOnce".to_owned(), true.into());
        if let Value::Object(spec) = &mut spec {
            spec.insert("restartPolicy".to_owned(), "Never".into());
        }
        let mut metadata = match document.remove("metadata") {
            Some(Value::Object(metadata)) => metadata,
            _ => Map::new(),
        };
        let mut take = |key: &str| match metadata.remove(key) {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        };
        let (name, generate_name, namespace) = (take("name"), take("generateName"), take("namespace"));
        let prefix = name.map(|name| format!("{name}-")).or(generate_name).unwrap_or_else(|| prefix.to_owned());
        Ok(Self { prefix, namespace, metadata, spec })
    }

    fn from_container(image: &str, command: &str, params: &str, prefix: &str) -> Result<Self, PodProblem> {
        let mut worker = json!({ "name": WORKER, "stdin": true, "stdinOnce": true });
        let command = shell::split(command).map_err(PodProblem::Params)?;
        let args = shell::split(params).map_err(PodProblem::Params)?;
        if let Value::Object(worker) = &mut worker {
            if !image.is_empty() {
                worker.insert("image".to_owned(), image.into());
            }
            for (key, words) in [("command", command), ("args", args)] {
                if !words.is_empty() {
                    worker.insert(key.to_owned(), words.into());
                }
            }
        }
        let spec = json!({ "containers": [worker], "restartPolicy": "Never" });
        Ok(Self { prefix: prefix.to_owned(), namespace: None, metadata: Map::new(), spec })
    }

    /// The pod under this name. `labels` are joined to its own and win.
    pub(crate) fn body(&self, name: &str, namespace: &str, labels: &Labels) -> Value {
        let mut metadata = self.metadata.clone();
        metadata.insert("name".to_owned(), name.into());
        metadata.insert("namespace".to_owned(), namespace.into());
        if !labels.0.is_empty() {
            let mut all = match metadata.remove("labels") {
                Some(Value::Object(own)) => own,
                _ => Map::new(),
            };
            all.extend(labels.0.iter().map(|(key, value)| ((*key).to_owned(), value.as_str().into())));
            metadata.insert("labels".to_owned(), all.into());
        }
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": self.spec })
    }
}

fn is_pod(document: &Map<String, Value>) -> bool {
    let says = |key: &str| document.get(key).and_then(Value::as_str);
    says("kind") == Some("Pod") && matches!(says("apiVersion"), None | Some("v1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(text: &str) -> Result<Manifest, PodProblem> {
        Manifest::build(&Wanted::Definition(text.to_owned()), "kubeit-")
    }

    fn body(manifest: &Manifest) -> Value {
        manifest.body("NAME", "ns", &Labels::default())
    }

    #[test]
    fn a_container_becomes_the_pod_of_control_protocol_5_4() {
        let wanted =
            Wanted::Container { image: "img:1".into(), command: "sh -c 'a b'".into(), params: "p1 'p 2'".into() };
        let manifest = Manifest::build(&wanted, "kubeit-").unwrap();
        assert_eq!((manifest.prefix.as_str(), &manifest.namespace), ("kubeit-", &None));
        assert_eq!(
            manifest.body("kubeit-x", "ctxns", &Labels::default()),
            json!({"kind":"Pod","apiVersion":"v1","metadata":{"name":"kubeit-x","namespace":"ctxns"},
                "spec":{"containers":[{"name":"worker","image":"img:1","command":["sh","-c","a b"],"args":["p1","p 2"],
                "stdin":true,"stdinOnce":true}],"restartPolicy":"Never"}})
        );
        let bare = Wanted::Container { image: "i".into(), command: String::new(), params: String::new() };
        assert_eq!(
            body(&Manifest::build(&bare, "t-").unwrap())["spec"]["containers"],
            json!([{"name":"worker","image":"i","stdin":true,"stdinOnce":true}])
        );
        let open = Wanted::Container { image: "i".into(), command: "sh -c 'a".into(), params: String::new() };
        let problem = Manifest::build(&open, "t-").unwrap_err();
        assert_eq!(problem.to_string(), "EOF found when expecting closing quote");
    }

    #[test]
    fn a_definition_keeps_what_it_says() {
        let manifest = definition(
            "apiVersion: v1\nkind: Pod\nmetadata: {name: MyPod, generateName: gen-, namespace: podns, labels: {app: a}}\n\
             spec:\n  serviceAccountName: sa\n  restartPolicy: Always\n  fieldOfTomorrow: {x: [1]}\n  containers:\n  \
             - {name: side, image: s}\n  - {name: worker, image: w, env: [{name: A, value: b}], stdinOnce: false}\n\
             status: {phase: Failed}\n",
        )
        .unwrap();
        assert_eq!((manifest.prefix.as_str(), manifest.namespace.as_deref()), ("MyPod-", Some("podns")));
        assert_eq!(
            manifest.body("MyPod-x", "podns", &Labels::default()),
            json!({"apiVersion":"v1","kind":"Pod","metadata":{"name":"MyPod-x","namespace":"podns","labels":{"app":"a"}},
                "spec":{"containers":[{"name":"side","image":"s"},
                    {"name":"worker","image":"w","env":[{"name":"A","value":"b"}],"stdin":true,"stdinOnce":true}],
                "restartPolicy":"Never","serviceAccountName":"sa","fieldOfTomorrow":{"x":[1]}}})
        );
    }

    #[test]
    fn variables_are_joined_to_the_workers_own() {
        let mut manifest = definition(
            "{kind: Pod, spec: {containers: [{name: side, env: [{name: A, value: s}]}, {name: worker, env: [{name: A, \
             value: a}, {name: B, value: b}]}]}}",
        )
        .unwrap();
        manifest.add_variables(&[("B", "new".to_owned()), ("C", "c".to_owned())]);
        let containers = body(&manifest)["spec"]["containers"].clone();
        assert_eq!(containers[0]["env"], json!([{"name": "A", "value": "s"}]));
        assert_eq!(
            containers[1]["env"],
            json!([{"name": "A", "value": "a"}, {"name": "B", "value": "new"}, {"name": "C", "value": "c"}])
        );
    }

    #[test]
    fn a_generate_name_is_kept() {
        let prefix = |metadata: &str| {
            definition(&format!("kind: Pod\nmetadata: {metadata}\nspec: {{containers: [{{name: worker}}]}}"))
                .unwrap()
                .prefix
        };
        assert_eq!(prefix("{generateName: myapp-pod-}"), "myapp-pod-");
        assert_eq!(prefix("{name: my, generateName: g-}"), "my-");
        assert_eq!(prefix("{}"), "kubeit-");
        assert_eq!(prefix(""), "kubeit-");
        assert_eq!(prefix("{name: '', generateName: ''}"), "kubeit-");
    }

    #[test]
    fn labels_are_joined_to_those_of_the_definition() {
        let pod =
            "{kind: Pod, metadata: {labels: {app: a, worknode/unit: forged}}, spec: {containers: [{name: worker}]}}";
        let manifest = definition(pod).unwrap();
        let labels = Labels::of("node 1", "fdHK6b5O", "kubeit");
        assert_eq!(
            manifest.body("n", "ns", &labels)["metadata"]["labels"],
            json!({"app":"a","worknode/node":"node-1","worknode/unit":"fdHK6b5O","worknode/worktype":"kubeit"})
        );
        assert_eq!(manifest.body("n", "ns", &Labels::default())["metadata"]["labels"]["app"], "a");
    }

    #[test]
    fn what_is_no_pod_with_a_worker_is_refused() {
        for text in [
            "kind: Pod",
            "{kind: Pod, spec: {containers: []}}",
            "{kind: Pod, spec: {containers: [{name: other}]}}",
            "{kind: Pod, spec: {containers: {name: worker}}}",
            "{kind: Pod, spec: {containers: [worker]}}",
            "{kind: Job, spec: {containers: [{name: worker}]}}",
            "{kind: Pod, apiVersion: v2, spec: {containers: [{name: worker}]}}",
            "[]",
            "",
            "just words",
        ] {
            assert_eq!(
                definition(text).unwrap_err().to_string(),
                "at least one container must be named worker",
                "{text}"
            );
        }
        assert!(definition("{").unwrap_err().to_string().starts_with("yaml: line 1: "));
        assert!(definition("a: 1\n---\nb: 2").unwrap_err().to_string().starts_with("yaml: "));
    }
}
