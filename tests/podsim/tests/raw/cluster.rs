//! The API under test, and pods in it that are gone when the test is.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use worknode_podsim::{Options, PodSim};

use crate::raw::client::{Answer, Client};
use crate::raw::kubeconfig::Access;
use crate::raw::websocket::Session;

/// A pod gets where it is wanted within this time, or never.
const LIMIT: Duration = Duration::from_secs(120);
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";
pub(crate) const V5: &str = "v5.channel.k8s.io";
pub(crate) const V4: &str = "v4.channel.k8s.io";

pub(crate) struct Cluster {
    pub(crate) admin: Client,
    pub(crate) restricted: Option<Client>,
    podsim: Option<PodSim>,
}

impl Cluster {
    pub(crate) fn podsim() -> Self {
        Self::podsim_with(Options::default())
    }

    pub(crate) fn podsim_with(options: Options) -> Self {
        let podsim = PodSim::start(options).unwrap();
        Self {
            admin: Client::new(Access::load(podsim.kubeconfig_path())),
            restricted: Some(Client::new(Access::load(podsim.restricted_kubeconfig_path()))),
            podsim: Some(podsim),
        }
    }

    pub(crate) fn real() -> Option<Self> {
        let path = |variable| std::env::var_os(variable).map(PathBuf::from);
        let Some(admin) = path("WORKNODE_KUBECONFIG") else {
            say_once("skipped on a real cluster: WORKNODE_KUBECONFIG is not set");
            return None;
        };
        let restricted = path("WORKNODE_RESTRICTED_KUBECONFIG");
        let client = |path: PathBuf| Client::new(Access::load(&path));
        Some(Self { admin: client(admin), restricted: restricted.map(client), podsim: None })
    }

    /// The simulator itself, for tests that are about it.
    #[track_caller]
    pub(crate) fn sim(&self) -> &PodSim {
        self.podsim.as_ref().expect("a simulator")
    }

    /// The restricted account's client, or a reason printed.
    pub(crate) fn restricted(&self) -> Option<&Client> {
        if self.restricted.is_none() {
            say_once(
                "skipped on a real cluster where a restricted account is needed: WORKNODE_RESTRICTED_KUBECONFIG is not set",
            );
        }
        self.restricted.as_ref()
    }

    /// Creates a pod with that spec, under a name of its own.
    #[track_caller]
    pub(crate) fn pod(&self, spec: Value) -> Pod<'_> {
        self.pod_with(json!({}), spec)
    }

    #[track_caller]
    pub(crate) fn pod_with(&self, mut metadata: Value, spec: Value) -> Pod<'_> {
        if metadata.get("name").is_none() && metadata.get("generateName").is_none() {
            metadata["name"] = json!(unique("contract"));
        }
        let answer = self.admin.post(PODS, &pod_object(metadata, spec));
        assert_eq!(answer.code(), 201, "{}", answer.text());
        let created = answer.json();
        let text = |pointer: &str| created.pointer(pointer).unwrap().as_str().unwrap().to_owned();
        Pod { cluster: self, name: text("/metadata/name"), uid: text("/metadata/uid"), created, left: false }
    }
}

/// Says why something is skipped, past the capture of a test's output, for whoever reads the whole.
fn say_once(reason: &'static str) {
    static SAID: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    if SAID.lock().unwrap().insert(reason) {
        std::io::stderr().write_all(format!("{reason}\n").as_bytes()).unwrap();
    }
}

pub(crate) fn pod_object(metadata: Value, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

/// A name that nothing else has.
pub(crate) fn unique(base: &str) -> String {
    format!("{base}-{:08x}", rand::random::<u32>())
}

/// One container `worker` that runs a script, without stdin.
pub(crate) fn script(text: &str) -> Value {
    json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 5, "containers": [container("worker", text)]})
}

/// The same with stdin that the first attach uses up.
pub(crate) fn script_with_stdin(text: &str) -> Value {
    let mut spec = script(text);
    spec["containers"][0]["stdin"] = json!(true);
    spec["containers"][0]["stdinOnce"] = json!(true);
    spec
}

pub(crate) fn container(name: &str, text: &str) -> Value {
    json!({"name": name, "image": "busybox", "command": ["sh", "-c", text]})
}

/// A pod of a test; deleted without grace when it is dropped.
pub(crate) struct Pod<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) name: String,
    pub(crate) uid: String,
    /// The answer to the create.
    pub(crate) created: Value,
    left: bool,
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        // A simulator that has failed may not answer; its pods go with it.
        let answers = self.cluster.podsim.is_none() || !std::thread::panicking();
        if answers && !self.left {
            self.cluster.admin.delete(&format!("{}?gracePeriodSeconds=0", self.path()));
        }
    }
}

impl Pod<'_> {
    /// Does not delete it.
    pub(crate) fn leave(mut self) {
        self.left = true;
    }

    pub(crate) fn path(&self) -> String {
        format!("{PODS}/{}", self.name)
    }

    pub(crate) fn get(&self) -> Value {
        self.cluster.admin.get(&self.path()).json()
    }

    /// Watches from the creation until `wanted`; gives every event up to that one, which is the last.
    #[track_caller]
    pub(crate) fn events_until(&self, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        let version = self.created["metadata"]["resourceVersion"].as_str().unwrap();
        let seconds = LIMIT.as_secs();
        let path = format!(
            "{PODS}?watch=1&fieldSelector=metadata.name%3D{}&resourceVersion={version}&timeoutSeconds={seconds}",
            self.name
        );
        let mut watch = self.cluster.admin.open("GET", &path, &[], b"");
        let mut events = Vec::new();
        let begun = Instant::now();
        loop {
            let line = watch.line();
            assert!(!line.is_empty() && begun.elapsed() < LIMIT, "not in time: {}", self.get());
            let event = Event::parse(&line);
            let found = wanted(&event);
            events.push(event);
            if found {
                return events;
            }
        }
    }

    /// Waits until the pod is as wanted, and gives it.
    #[track_caller]
    pub(crate) fn until(&self, wanted: impl Fn(&Event) -> bool) -> Value {
        self.events_until(wanted).pop().unwrap().pod
    }

    #[track_caller]
    pub(crate) fn until_running(&self) -> Value {
        self.until(|event| event.state("worker").starts_with("running"))
    }

    /// Waits for the phase `Succeeded` or `Failed`.
    #[track_caller]
    pub(crate) fn until_over(&self) -> Value {
        self.until(|event| ["Succeeded", "Failed"].contains(&event.phase()))
    }

    /// `GET .../log` with these parameters.
    pub(crate) fn log(&self, query: &str) -> Answer {
        self.cluster.admin.get(&format!("{}/log?{query}", self.path()))
    }

    /// The log's text; only where it can be had.
    #[track_caller]
    pub(crate) fn log_text(&self, query: &str) -> String {
        let answer = self.log(query);
        assert_eq!(answer.code(), 200, "{}", answer.text());
        answer.text()
    }

    /// The first line of the log of a container that runs, as soon as it is there; without spaces around it.
    #[track_caller]
    pub(crate) fn first_line(&self) -> String {
        let path = format!("{}/log?container=worker&follow=true", self.path());
        let mut log = self.cluster.admin.open("GET", &path, &[], b"");
        assert_eq!(log.head.code, 200);
        String::from_utf8(log.line()).unwrap().trim().to_owned()
    }

    /// `Err` is the answer that was not 101.
    pub(crate) fn try_attach(&self, query: &str, protocols: &str) -> Result<Session, Answer> {
        Session::open(&self.cluster.admin, &format!("{}/attach?{query}", self.path()), protocols)
    }

    #[track_caller]
    pub(crate) fn attach(&self, query: &str, protocols: &str) -> Session {
        self.try_attach(query, protocols).unwrap_or_else(|answer| panic!("{}: {}", answer.code(), answer.text()))
    }

    pub(crate) fn delete(&self, query: &str) -> Answer {
        self.cluster.admin.delete(&format!("{}?{query}", self.path()))
    }
}

/// One line of a watch.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) pod: Value,
}

impl Event {
    pub(crate) fn parse(line: &[u8]) -> Self {
        let mut event: Value = serde_json::from_slice(line).unwrap();
        Self { kind: event["type"].as_str().unwrap().to_owned(), pod: event["object"].take() }
    }

    pub(crate) fn phase(&self) -> &str {
        self.pod["status"]["phase"].as_str().unwrap_or("")
    }

    /// `waiting REASON`, `running`, `terminated CODE REASON`, or nothing.
    pub(crate) fn state(&self, container: &str) -> String {
        state(&self.pod, container)
    }

    /// `True`, `False` or nothing.
    pub(crate) fn condition(&self, kind: &str) -> Option<&Value> {
        self.pod["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
    }
}

/// As [`Event::state`], of a pod.
pub(crate) fn state(pod: &Value, container: &str) -> String {
    let all = ["containerStatuses", "initContainerStatuses"].map(|list| pod["status"][list].as_array().cloned());
    let statuses = all.into_iter().flatten().flatten();
    let Some(status) = statuses.into_iter().find(|status| status["name"] == container) else { return String::new() };
    let state = &status["state"];
    if let Some(waiting) = state.get("waiting") {
        format!("waiting {}", waiting["reason"].as_str().unwrap_or(""))
    } else if let Some(terminated) = state.get("terminated") {
        format!("terminated {} {}", terminated["exitCode"], terminated["reason"].as_str().unwrap_or(""))
    } else if state.get("running").is_some() {
        "running".to_owned()
    } else {
        String::new()
    }
}
