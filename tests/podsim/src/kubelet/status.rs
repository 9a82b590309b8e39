//! A pod's `status`, out of what is known about its containers.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::image::full_name;

/// The node that all pods are bound to.
pub(crate) const NODE_NAME: &str = "podsim";

/// A container as the status sees it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) state: State,
    pub(super) last: Option<Terminated>,
    pub(super) restarts: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    Waiting {
        reason: &'static str,
        message: Option<String>,
    },
    Running {
        started: Timestamp,
        id: String,
    },
    Terminated(Terminated),
    /// It never ran, and its pod is over.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Terminated {
    pub(super) exit_code: i32,
    pub(super) reason: &'static str,
    pub(super) message: Option<String>,
    pub(super) started: Timestamp,
    pub(super) finished: Timestamp,
    pub(super) id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

impl Phase {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }

    pub(super) fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

impl State {
    pub(super) fn waiting(reason: &'static str) -> Self {
        Self::Waiting { reason, message: None }
    }

    pub(super) fn terminated(&self) -> Option<&Terminated> {
        match self {
            Self::Terminated(terminated) => Some(terminated),
            _ => None,
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Waiting { reason, message: None } => json!({"waiting": {"reason": reason}}),
            Self::Waiting { reason, message } => json!({"waiting": {"reason": reason, "message": message}}),
            Self::Running { started, .. } => json!({"running": {"startedAt": second(*started)}}),
            Self::Terminated(terminated) => json!({"terminated": terminated.json()}),
            Self::Unknown => json!({"terminated": {
                "exitCode": 137,
                "reason": "ContainerStatusUnknown",
                "message": "The container could not be located when the pod was terminated",
                "startedAt": null,
                "finishedAt": null,
            }}),
        }
    }

    fn id(&self) -> Option<&str> {
        match self {
            Self::Waiting { .. } | Self::Unknown => None,
            Self::Running { id, .. } => Some(id),
            Self::Terminated(terminated) => Some(&terminated.id),
        }
    }
}

impl Terminated {
    fn json(&self) -> Value {
        let mut json = json!({
            "exitCode": self.exit_code,
            "reason": self.reason,
            "startedAt": second(self.started),
            "finishedAt": second(self.finished),
            "containerID": self.id,
        });
        if let (Some(message), Some(fields)) = (&self.message, json.as_object_mut()) {
            fields.insert("message".to_owned(), json!(message));
        }
        json
    }
}

impl Seen {
    fn json(&self) -> Value {
        let running = matches!(self.state, State::Running { .. });
        let started = self.state.id().is_some();
        let mut json = json!({
            "name": self.name,
            "image": if started { full_name(&self.image) } else { self.image.clone() },
            "imageID": if started { image_id(&self.image) } else { String::new() },
            "ready": running,
            "started": running,
            "restartCount": self.restarts,
            "state": self.state.json(),
            "lastState": self.last.as_ref().map_or_else(|| json!({}), |last| json!({"terminated": last.json()})),
        });
        if let (Some(id), Some(fields)) = (self.state.id(), json.as_object_mut()) {
            fields.insert("containerID".to_owned(), json!(id));
        }
        json
    }
}

/// Phase that the containers alone amount to, with `restartPolicy: Never` unless `restarts`.
pub(super) fn phase_of(init: &[Seen], main: &[Seen], restarts: bool) -> Phase {
    let init_failed = init.iter().filter_map(|seen| seen.state.terminated()).any(|end| end.exit_code != 0);
    if init_failed && !restarts {
        return Phase::Failed;
    }
    if init.iter().any(|seen| seen.state.terminated().is_none()) {
        return Phase::Pending;
    }
    let ends: Vec<_> = main.iter().filter_map(|seen| seen.state.terminated()).collect();
    if ends.len() == main.len() && !restarts {
        return if ends.iter().all(|end| end.exit_code == 0) { Phase::Succeeded } else { Phase::Failed };
    }
    let waits = |seen: &Seen| matches!(seen.state, State::Waiting { .. }) && seen.last.is_none();
    if main.iter().any(waits) { Phase::Pending } else { Phase::Running }
}

/// One of `status.conditions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) kind: &'static str,
    pub(super) status: bool,
    pub(super) reason: Option<&'static str>,
    pub(super) message: Option<String>,
}

impl Condition {
    pub(super) fn new(kind: &'static str, status: bool) -> Self {
        Self { kind, status, reason: None, message: None }
    }

    pub(super) fn because(mut self, reason: &'static str, message: Option<String>) -> Self {
        self.reason = Some(reason);
        self.message = message;
        self
    }
}

/// When each condition last changed between true and false.
#[derive(Debug, Default)]
pub(super) struct Transitions(BTreeMap<&'static str, (bool, Timestamp)>);

impl Transitions {
    /// `generation` is that of the object which the conditions are about.
    pub(super) fn json(&mut self, conditions: &[Condition], generation: u32) -> Value {
        conditions.iter().map(|condition| self.one(condition, generation)).collect()
    }

    fn one(&mut self, condition: &Condition, generation: u32) -> Value {
        let now = Timestamp::now();
        let known = self.0.entry(condition.kind).or_insert((condition.status, now));
        if known.0 != condition.status {
            *known = (condition.status, now);
        }
        let mut fields = Map::new();
        fields.insert("type".to_owned(), json!(condition.kind));
        fields.insert("status".to_owned(), json!(if condition.status { "True" } else { "False" }));
        fields.insert("lastProbeTime".to_owned(), Value::Null);
        fields.insert("lastTransitionTime".to_owned(), json!(second(known.1)));
        fields.insert("observedGeneration".to_owned(), json!(generation));
        if let Some(reason) = condition.reason {
            fields.insert("reason".to_owned(), json!(reason));
        }
        if let Some(message) = &condition.message {
            fields.insert("message".to_owned(), json!(message));
        }
        Value::Object(fields)
    }
}

/// The conditions of a pod that is bound to the node; `phase` is what its containers amount to, whether it was said
/// yet or not, `sandbox` whether there is a place for them to run in.
pub(super) fn conditions(phase: Phase, sandbox: bool, init: &[Seen], main: &[Seen]) -> Vec<Condition> {
    let unready = |all: &[Seen], is_ready: fn(&State) -> bool| -> Vec<String> {
        all.iter().filter(|seen| !is_ready(&seen.state)).map(|seen| seen.name.clone()).collect()
    };
    let uninitialized = unready(init, |state| state.terminated().is_some_and(|end| end.exit_code == 0));
    let not_running = unready(main, |state| matches!(state, State::Running { .. }));
    let completed = match phase {
        Phase::Succeeded => Some("PodCompleted"),
        Phase::Failed => Some("PodFailed"),
        _ => None,
    };
    let initialized = match (uninitialized.is_empty(), completed) {
        (true, Some("PodCompleted")) => Condition::new("Initialized", true).because("PodCompleted", None),
        (true, _) => Condition::new("Initialized", true),
        (false, _) => {
            let message = format!("containers with incomplete status: [{}]", uninitialized.join(" "));
            Condition::new("Initialized", false).because("ContainersNotInitialized", Some(message))
        }
    };
    let ready = |kind| match (not_running.is_empty(), completed) {
        (_, Some(reason)) => Condition::new(kind, false).because(reason, None),
        (true, None) => Condition::new(kind, true),
        (false, None) => {
            let message = format!("containers with unready status: [{}]", not_running.join(" "));
            Condition::new(kind, false).because("ContainersNotReady", Some(message))
        }
    };
    vec![
        Condition::new("PodReadyToStartContainers", sandbox),
        initialized,
        ready("Ready"),
        ready("ContainersReady"),
        Condition::new("PodScheduled", true),
    ]
}

/// Container statuses as the API has them: sorted by name, init containers in their own order.
pub(super) fn statuses(all: &[Seen], sorted: bool) -> Value {
    let mut all: Vec<&Seen> = all.iter().collect();
    if sorted {
        all.sort_by(|a, b| a.name.cmp(&b.name));
    }
    all.into_iter().map(Seen::json).collect()
}

/// A digest that is the same for the same image.
fn image_id(name: &str) -> String {
    let full = full_name(name);
    let repository = full.rsplit_once(':').map_or(full.as_str(), |(repository, _)| repository);
    let mut hasher = DefaultHasher::new();
    full.hash(&mut hasher);
    format!("{repository}@sha256:{:064x}", hasher.finish())
}

/// An address of the pod network; nothing answers there.
pub(super) fn pod_ip(uid: &str) -> String {
    let mut hasher = DefaultHasher::new();
    uid.hash(&mut hasher);
    let [a, b, ..] = hasher.finish().to_be_bytes();
    format!("10.244.{a}.{b}")
}

/// `2026-11-21T08:32:26Z`: whole seconds, as all times of the API's objects.
pub(crate) fn second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(name: &str, state: State) -> Seen {
        Seen { name: name.to_owned(), image: "busybox".to_owned(), state, last: None, restarts: 0 }
    }

    fn ended(exit_code: i32) -> State {
        let now = Timestamp::now();
        let (started, finished, id) = (now, now, String::new());
        State::Terminated(Terminated { exit_code, reason: "Error", message: None, started, finished, id })
    }

    fn running() -> State {
        State::Running { started: Timestamp::now(), id: String::new() }
    }

    #[test]
    fn phases() {
        let creating = || State::waiting("ContainerCreating");
        for (init, main, expected) in [
            (vec![], vec![creating()], Phase::Pending),
            (vec![], vec![running(), creating()], Phase::Pending),
            (vec![], vec![running()], Phase::Running),
            (vec![], vec![running(), ended(4)], Phase::Running),
            (vec![], vec![ended(0), ended(4)], Phase::Failed),
            (vec![], vec![ended(0), ended(0)], Phase::Succeeded),
            (vec![running()], vec![creating()], Phase::Pending),
            (vec![ended(5)], vec![creating()], Phase::Failed),
            (vec![ended(0)], vec![ended(0)], Phase::Succeeded),
        ] {
            let all = |states: Vec<State>| states.into_iter().map(|state| seen("c", state)).collect::<Vec<_>>();
            let (init, main) = (all(init), all(main));
            assert_eq!(phase_of(&init, &main, false), expected, "{init:?} {main:?}");
        }
    }
}
