//! What a pod's status means for its unit (control-protocol 5.5, work-types 6, kubernetes-streams 6). Pure.
//!
//! The worker's `terminated` decides, not the pod's phase: it comes up to 13 s earlier, and the phase also waits for
//! containers that nobody waits for.

use worknode_protocol::unit::{Detail, PodProblem, State};

use super::{
    pod::WORKER,
    stamp::Stamp,
    view::{ContainerStatus, Pod, Terminated},
    waiting::pending,
};

/// Sightings of `ImagePullBackOff` that end a unit (control-protocol 5.5).
const PULL_BACK_OFFS: u32 = 4;

/// Reasons to wait that waiting does not cure (work-types 6).
const HOPELESS: [&str; 4] =
    ["ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError"];

/// Reasons to wait of every container that has not started yet.
const ON_THE_WAY: [&str; 3] = ["", "ContainerCreating", "PodInitializing"];

/// Reasons of a failed pod that name an act of the cluster, not of the container.
const ACTS_OF_THE_CLUSTER: [&str; 6] = ["Evicted", "Preempting", "NodeLost", "NodeShutdown", "Shutdown", "Terminated"];

/// What is known of the worker after one look at its pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Not started. With the cluster's words if it says why.
    Waiting(Option<Detail>),
    /// It runs.
    Running,
    /// It will not run any more.
    Over(End),
}

/// How the worker came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Its process ended by itself, or was killed for a reason that lies in itself.
    Exited(Terminated),
    /// It never started.
    NotStarted(PodProblem),
    /// The cluster ended the pod: evicted, preempted, node lost.
    Ended {
        /// The pod's or the condition's reason.
        reason: String,
        /// Their words.
        message: String,
        /// The worker had run until then.
        exited: bool,
    },
    /// The pod's deadline passed.
    Deadline(i64),
    /// Somebody deleted the pod.
    Deleted,
}

/// Looks at one pod again and again, in the order of its changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judge {
    ran: bool,
    /// It ran while its deletion had been asked for.
    dying: bool,
    back_offs: u32,
    counted: String,
}

impl Judge {
    /// A judge that knows whether the worker was seen running before.
    pub(crate) fn new(ran: bool) -> Self {
        Self { ran, ..Self::default() }
    }

    /// True if the worker was ever seen running.
    pub(crate) fn ran(&self) -> bool {
        self.ran
    }

    /// The pod as it is now.
    pub(crate) fn look(&mut self, pod: &Pod) -> Sight {
        let worker = pod.container(WORKER);
        let state = worker.map(|worker| &worker.state);
        if let Some(terminated) = state.and_then(|state| state.terminated.as_ref()) {
            if is_being_failed(pod) {
                return Sight::Running;
            }
            return Sight::Over(self.terminated_end(pod, terminated));
        }
        match pod.status.phase.as_str() {
            "Succeeded" => return Sight::Over(End::Exited(Terminated::default())),
            "Failed" => return Sight::Over(self.failed_end(pod, worker)),
            _ => {}
        }
        if state.is_some_and(|state| state.running.is_some()) {
            self.ran = true;
            self.dying |= pod.metadata.deletion_timestamp.is_some();
            return Sight::Running;
        }
        self.waiting(pod, worker)
    }

    /// The pod is gone; this is the last that was seen of it, if anything.
    pub(crate) fn gone(&mut self, last: Option<&Pod>) -> End {
        match last.map(|pod| self.look(pod)) {
            Some(Sight::Over(end)) => end,
            _ => End::Deleted,
        }
    }

    /// The worker's process is over: by itself, or with its pod?
    fn terminated_end(&self, pod: &Pod, terminated: &Terminated) -> End {
        // Whatever its exit code: a process may take the cluster's signal as a reason to end well.
        if let Some(end) = act_of_the_cluster(pod, true) {
            return end;
        }
        if self.dying || ended_by_deletion(pod, terminated) { End::Deleted } else { End::Exited(terminated.clone()) }
    }

    fn failed_end(&self, pod: &Pod, worker: Option<&ContainerStatus>) -> End {
        let status = &pod.status;
        if let Some(end) = act_of_the_cluster(pod, self.ran) {
            return end;
        }
        if self.ran {
            let reason = if status.reason.is_empty() { "failed" } else { &status.reason };
            return End::Ended { reason: reason.to_owned(), message: status.message.clone(), exited: true };
        }
        let waiting = worker.and_then(|worker| worker.state.waiting.as_ref());
        End::NotStarted(if let Some(problem) = init_problem(pod) {
            problem
        } else if let Some(waiting) = waiting.filter(|waiting| !waiting.reason.is_empty()) {
            PodProblem::FailedWithReason(waiting.reason.clone())
        } else if status.reason.is_empty() {
            PodProblem::FailedToStart
        } else {
            PodProblem::FailedWithReason(with_message(&status.reason, &status.message))
        })
    }

    fn waiting(&mut self, pod: &Pod, worker: Option<&ContainerStatus>) -> Sight {
        // A container beside the worker that cannot start does not keep the worker from running.
        let before = pod.status.init_container_statuses.iter().chain(worker);
        let reasons: Vec<&str> = before
            .filter_map(|container| container.state.waiting.as_ref())
            .map(|waiting| waiting.reason.as_str())
            .collect();
        if let Some(reason) = reasons.iter().find(|reason| HOPELESS.contains(reason)) {
            return Sight::Over(End::NotStarted(PodProblem::ContainerFailedToStart((*reason).to_owned())));
        }
        if reasons.contains(&"ImagePullBackOff") && self.counted != pod.metadata.resource_version {
            self.counted.clone_from(&pod.metadata.resource_version);
            self.back_offs += 1;
            if self.back_offs >= PULL_BACK_OFFS {
                let problem = PodProblem::ContainerFailedToStart("ImagePullBackOff".to_owned());
                return Sight::Over(End::NotStarted(problem));
            }
        }
        Sight::Waiting(why(pod, worker))
    }
}

/// Why the worker has not started, if the pod's status says more than that it has not.
fn why(pod: &Pod, worker: Option<&ContainerStatus>) -> Option<Detail> {
    let before = pod.status.init_container_statuses.iter().chain(worker);
    let mut waiting = before.filter_map(|container| container.state.waiting.as_ref());
    if let Some(waiting) = waiting.find(|waiting| !ON_THE_WAY.contains(&waiting.reason.as_str())) {
        return Some(pending(&waiting.reason, &waiting.message));
    }
    let condition = pod.condition("PodScheduled", "False").filter(|condition| !condition.reason.is_empty())?;
    Some(match condition.reason.as_str() {
        "Unschedulable" => Detail::PodUnschedulable(condition.message.clone()),
        reason => pending(reason, &condition.message),
    })
}

/// The kubelet is about to fail the pod and will say why once its containers are over (kubernetes-streams 6).
fn is_being_failed(pod: &Pod) -> bool {
    let not_ready = pod.condition("Ready", "False").is_some_and(|condition| condition.reason == "PodFailed");
    not_ready && !matches!(pod.status.phase.as_str(), "Failed" | "Succeeded")
}

fn act_of_the_cluster(pod: &Pod, exited: bool) -> Option<End> {
    let status = &pod.status;
    if status.reason == "DeadlineExceeded" {
        return Some(End::Deadline(pod.spec.active_deadline_seconds.unwrap_or_default()));
    }
    if ACTS_OF_THE_CLUSTER.contains(&status.reason.as_str()) {
        return Some(End::Ended { reason: status.reason.clone(), message: status.message.clone(), exited });
    }
    let disrupted = pod.condition("DisruptionTarget", "True")?;
    Some(End::Ended { reason: "Evicted".to_owned(), message: disrupted.message.clone(), exited })
}

/// A process that ended after the pod's deletion was asked for ended because of it. Both times have whole seconds; the
/// deletion's is that of the request plus the grace.
fn ended_by_deletion(pod: &Pod, terminated: &Terminated) -> bool {
    let Some(deletion) = &pod.metadata.deletion_timestamp else { return false };
    let time = |text: &str| Stamp::parse(text.as_bytes()).map(|stamp| stamp.0.div_euclid(1_000_000_000));
    let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or_default();
    let asked = time(deletion).map(|deletion| deletion - grace);
    let ended = terminated.finished_at.as_deref().and_then(time);
    match (ended, asked) {
        (Some(ended), Some(asked)) => ended > asked || (ended == asked && terminated.exit_code != 0),
        _ => true,
    }
}

fn init_problem(pod: &Pod) -> Option<PodProblem> {
    pod.status.init_container_statuses.iter().find_map(|container| {
        let ended = container.state.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
        let name = &container.name;
        let words = with_message(&format!("init container {name}: exit status {}", ended.exit_code), &ended.message);
        Some(PodProblem::FailedWithReason(words))
    })
}

fn with_message(words: &str, message: &str) -> String {
    match message.trim() {
        "" => words.to_owned(),
        message => format!("{words}: {message}"),
    }
}

/// What is to be known besides the end to put it into words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case<'a> {
    /// The pod's namespace.
    pub(crate) namespace: &'a str,
    /// The pod's name.
    pub(crate) name: &'a str,
    /// The worker was seen running.
    pub(crate) ran: bool,
    /// Containers of the pod, init containers left aside.
    pub(crate) containers: usize,
    /// The work type's `failonexitcode`.
    pub(crate) fail_on_exit_code: bool,
}

impl Case<'_> {
    /// The last state and detail of the unit.
    pub(crate) fn outcome(&self, end: &End) -> (State, Detail) {
        let receptors_rule = !self.fail_on_exit_code && self.ran;
        match end {
            End::Exited(terminated) if terminated.exit_code == 0 => (State::Succeeded, Detail::Finished),
            End::Exited(_) | End::Ended { exited: true, .. } | End::Deadline(_) if receptors_rule => {
                (State::Succeeded, Detail::Finished)
            }
            End::Exited(terminated) if self.fail_on_exit_code => (State::Failed, exit_detail(terminated)),
            End::Exited(terminated) => (State::Failed, Detail::ErrorCreatingPod(self.receptors_words(terminated))),
            End::NotStarted(problem) => (State::Failed, Detail::ErrorCreatingPod(problem.clone())),
            End::Ended { reason, message, .. } => {
                let (reason, message) = (reason.clone(), message.clone());
                (State::Failed, Detail::PodEnded { pod: self.pod(), reason, message })
            }
            End::Deadline(seconds) => (State::Failed, Detail::PodDeadline { pod: self.pod(), seconds: *seconds }),
            End::Deleted => (State::Failed, self.not_found()),
        }
    }

    fn pod(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn receptors_words(&self, terminated: &Terminated) -> PodProblem {
        match self.containers {
            0 | 1 => PodProblem::FailedWithExitCode(terminated.exit_code, terminated.message.clone()),
            _ => PodProblem::FailedToStart,
        }
    }

    fn not_found(&self) -> Detail {
        let problem = PodProblem::NotFound(self.name.to_owned());
        if self.ran {
            Detail::ErrorGettingPod { pod: self.pod(), message: problem.to_string() }
        } else {
            Detail::ErrorCreatingPod(problem)
        }
    }
}

fn exit_detail(terminated: &Terminated) -> Detail {
    let message = terminated.message.trim();
    if terminated.reason == "OOMKilled" {
        Detail::OomKilled(terminated.exit_code)
    } else if message.is_empty() {
        Detail::ExitStatus(terminated.exit_code)
    } else {
        Detail::ExitStatusMessage(terminated.exit_code, message.to_owned())
    }
}

#[cfg(test)]
mod tests;
