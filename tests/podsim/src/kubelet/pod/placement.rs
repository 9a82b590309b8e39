//! From binding to the start of the containers.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container as Spec;
use serde_json::json;
use tokio::time::Instant;

use super::status_writer::set;
use super::{PodTask, Step};
use crate::kubelet::events;
use crate::kubelet::slot::Slot;
use crate::kubelet::status::{Condition, NODE_NAME, Seen};
use crate::resource::Resource;
use crate::store::Key;

/// Time between two looks for the source of a volume.
const VOLUME_RETRY: Duration = Duration::from_millis(500);

impl PodTask {
    pub(super) fn schedule(&mut self) {
        if !self.node_matches() {
            self.step = Step::Unschedulable;
            let message = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
            events::warn(&self.cluster, &self.pod, "FailedScheduling", message);
            let condition = Condition::new("PodScheduled", false).because("Unschedulable", Some(message.to_owned()));
            let conditions = self.transitions.json(&[condition], self.generation);
            self.edit(|pod| set(pod, "/status", "conditions", conditions));
            return;
        }
        self.step = Step::Create;
        self.step_at = Some(Instant::now() + self.timing().create);
        let conditions = self.transitions.json(&[Condition::new("PodScheduled", true)], self.generation);
        self.edit(|pod| {
            set(pod, "/spec", "nodeName", json!(NODE_NAME));
            set(pod, "/status", "conditions", conditions);
        });
        self.started = Timestamp::now();
        if let Some(seconds) = self.spec.active_deadline_seconds.and_then(|seconds| u64::try_from(seconds).ok()) {
            self.deadline_at = Some(Instant::now() + Duration::from_secs(seconds));
        }
        self.publish();
    }

    fn node_matches(&self) -> bool {
        let labels = [("kubernetes.io/hostname", NODE_NAME), ("kubernetes.io/os", "linux")];
        let mut wanted = self.spec.node_selector.iter().flatten();
        wanted.all(|(key, value)| labels.contains(&(key.as_str(), value.as_str())))
    }

    pub(super) fn create(&mut self) {
        if let Some(message) = self.missing_volume() {
            events::warn(&self.cluster, &self.pod, "FailedMount", &message);
            self.step_at = Some(Instant::now() + VOLUME_RETRY);
            return;
        }
        self.step = Step::Run;
        self.start_next();
    }

    /// Message of the `FailedMount` event, if a volume's secret or config map is not there.
    fn missing_volume(&self) -> Option<String> {
        self.spec.volumes.iter().flatten().find_map(|volume| {
            let (resource, kind, name) = if let Some(secret) = &volume.secret {
                let needed = secret.optional != Some(true);
                (Resource::Secrets, "secret", secret.secret_name.as_deref().filter(|_| needed)?)
            } else {
                let map = volume.config_map.as_ref().filter(|map| map.optional != Some(true))?;
                (Resource::ConfigMaps, "configmap", map.name.as_str())
            };
            let there = self.cluster.store.get(&Key::new(resource, &self.handle.key.namespace, name)).is_some();
            let volume = &volume.name;
            (!there).then(|| format!("MountVolume.SetUp failed for volume \"{volume}\" : {kind} \"{name}\" not found"))
        })
    }

    /// Starts the next init container, or all others when those are done.
    pub(super) fn start_next(&mut self) {
        let done = |seen: &Seen| seen.state.terminated().is_some_and(|end| end.exit_code == 0);
        let policy = self.spec.restart_policy.as_deref().unwrap_or("Always");
        let after_failure: fn(i32) -> bool = |code| code != 0;
        match self.init.iter().position(|seen| !done(seen)) {
            Some(next) => {
                let again = if policy == "Never" { |_| false } else { after_failure };
                let spec = self.spec.init_containers.iter().flatten().nth(next).cloned();
                self.start_slots(spec.into_iter().collect(), again);
            }
            None => {
                let again = match policy {
                    "Never" => |_| false,
                    "OnFailure" => after_failure,
                    _ => |_| true,
                };
                self.start_slots(self.spec.containers.clone(), again);
            }
        }
    }

    fn start_slots(&mut self, specs: Vec<Spec>, restarts_after: fn(i32) -> bool) {
        for spec in specs {
            let slot = Slot {
                cluster: Arc::clone(&self.cluster),
                pod: Arc::clone(&self.pod),
                handle: Arc::clone(&self.handle),
                directory: self.directory.join(&spec.name),
                spec,
                restarts_after,
                reports: self.report_to.clone(),
                stop: self.stop.clone(),
                kill: self.kill.clone(),
            };
            self.slots.spawn(slot.run());
        }
    }
}
