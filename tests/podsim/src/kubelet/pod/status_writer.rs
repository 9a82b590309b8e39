//! What is written to the object: the status, and its end.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Ending, PodTask, Step};
use crate::kubelet::status::{Condition, Phase, Seen, State, conditions, phase_of, pod_ip, second, statuses};

impl PodTask {
    pub(super) fn computed_phase(&self) -> Phase {
        if self.failure.is_some() {
            return Phase::Failed;
        }
        let well = |seen: &Seen| seen.state.terminated().is_some_and(|end| end.exit_code == 0);
        let over = match self.spec.restart_policy.as_deref() {
            _ if self.stop.is_cancelled() => true,
            Some("Never") => true,
            Some("OnFailure") => self.main.iter().all(well),
            _ => false,
        };
        phase_of(&self.init, &self.main, !over)
    }

    /// Writes the status, if the object is still there. A final phase is said only when its time has come.
    pub(super) fn publish(&mut self) {
        if matches!(self.step, Step::Schedule | Step::Unschedulable) {
            return;
        }
        let computed = self.computed_phase();
        // A pod that was made to end has nothing more to be waited for once its containers have.
        let ended = self.ending != Ending::No && self.main.iter().all(|seen| seen.state.terminated().is_some());
        if !self.phase.is_final() && (ended || !computed.is_final()) {
            self.phase = computed;
        }
        let sandbox = self.step == Step::Run && !self.phase.is_final();
        let mut conditions = conditions(computed, sandbox, &self.init, &self.main);
        conditions.extend(self.disruption.clone());
        let status = self.status(&conditions);
        self.edit(|pod| {
            if let (Some(target), Value::Object(fields)) =
                (pod.pointer_mut("/status").and_then(Value::as_object_mut), status)
            {
                target.extend(fields);
            }
        });
    }

    fn status(&mut self, conditions: &[Condition]) -> Value {
        let mut status = json!({
            "phase": self.phase.name(),
            "observedGeneration": self.generation,
            "conditions": self.transitions.json(conditions, self.generation),
            "hostIP": "127.0.0.1",
            "hostIPs": [{"ip": "127.0.0.1"}],
            "startTime": second(self.started),
            "containerStatuses": statuses(&self.main, true),
        });
        let Some(fields) = status.as_object_mut() else { return status };
        if self.step == Step::Run {
            let ip = pod_ip(&self.uid);
            fields.insert("podIPs".to_owned(), json!([{"ip": ip}]));
            fields.insert("podIP".to_owned(), json!(ip));
        }
        if !self.init.is_empty() {
            fields.insert("initContainerStatuses".to_owned(), statuses(&self.init, false));
        }
        if let Some((reason, message)) = self.failure.as_ref().filter(|_| self.phase.is_final()) {
            fields.insert("reason".to_owned(), json!(reason));
            fields.insert("message".to_owned(), json!(message));
        }
        status
    }

    /// The last steps of a pod that was deleted with grace.
    pub(super) async fn remove_object(&mut self) {
        self.phase = match self.computed_phase() {
            phase if phase.is_final() => phase,
            _ => Phase::Failed,
        };
        for seen in self.main.iter_mut().filter(|seen| matches!(seen.state, State::Waiting { .. })) {
            seen.state = State::Unknown;
        }
        self.publish();
        tokio::time::sleep(self.timing().removal).await;
        self.edit(|pod| {
            set(pod, "/metadata", "deletionGracePeriodSeconds", json!(0));
            set(pod, "/metadata", "deletionTimestamp", json!(second(Timestamp::now())));
        });
        self.cluster.store.remove(&self.handle.key, &self.uid, |_| ());
    }

    pub(super) fn edit(&self, edit: impl FnOnce(&mut Value)) {
        self.cluster.store.edit(&self.handle.key, &self.uid, |pod| {
            edit(pod);
            true
        });
    }
}

pub(super) fn set(object: &mut Value, pointer: &str, key: &str, value: Value) {
    if let Some(fields) = object.pointer_mut(pointer).and_then(Value::as_object_mut) {
        fields.insert(key.to_owned(), value);
    }
}
