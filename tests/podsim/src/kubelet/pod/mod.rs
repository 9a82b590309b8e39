//! The task of one pod: from binding to removal. It alone writes the pod's `status`.

mod placement;
mod status_writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as Spec, Pod, PodSpec};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::slot::Report;
use super::status::{Condition, Phase, Seen, State, Transitions};
use super::{Order, PodHandle};
use crate::cluster::Cluster;
use crate::options::Timing;
use crate::store::Object;

/// Reports waiting for one pod's task.
const REPORTS: usize = 16;
/// What the task waits for next, beside orders and reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Schedule,
    /// Never leaves by itself: the node does not change.
    Unschedulable,
    Create,
    Run,
}

pub(super) struct PodTask {
    cluster: Arc<Cluster>,
    handle: Arc<PodHandle>,
    uid: String,
    pod: Arc<Pod>,
    spec: PodSpec,
    directory: PathBuf,
    orders: mpsc::Receiver<Order>,
    reports: mpsc::Receiver<Report>,
    report_to: mpsc::Sender<Report>,
    slots: JoinSet<()>,
    stop: CancellationToken,
    kill: CancellationToken,

    init: Vec<Seen>,
    main: Vec<Seen>,
    phase: Phase,
    /// Of the object: 1, and 2 from its deletion on.
    generation: u32,
    started: Timestamp,
    transitions: Transitions,
    disruption: Option<Condition>,
    /// Set by a deadline or an eviction: (reason, message) of the status.
    failure: Option<(&'static str, String)>,
    ending: Ending,

    step: Step,
    step_at: Option<Instant>,
    deadline_at: Option<Instant>,
    kill_at: Option<Instant>,
    phase_at: Option<Instant>,
}

/// Why the containers are being ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    No,
    /// The object stays, as `Failed`.
    Fail,
    /// The object goes when the containers are gone.
    Delete,
    /// The object is gone.
    Gone,
}

impl PodTask {
    pub(super) fn new(
        cluster: Arc<Cluster>,
        handle: Arc<PodHandle>,
        object: &Object,
        orders: mpsc::Receiver<Order>,
    ) -> serde_json::Result<Self> {
        let pod: Pod = serde_json::from_value(object.value.clone())?;
        let spec = pod.spec.clone().unwrap_or_default();
        let (report_to, reports) = mpsc::channel(REPORTS);
        let uid = object.uid().to_owned();
        let has_init = spec.init_containers.as_ref().is_some_and(|init| !init.is_empty());
        let reason = if has_init { "PodInitializing" } else { "ContainerCreating" };
        let seen = |spec: &Spec| Seen {
            name: spec.name.clone(),
            image: spec.image.clone().unwrap_or_default(),
            state: State::waiting(reason),
            last: None,
            restarts: 0,
        };
        Ok(Self {
            directory: cluster.pod_directory(&uid),
            init: spec.init_containers.iter().flatten().map(seen).collect(),
            main: spec.containers.iter().map(seen).collect(),
            step_at: Some(Instant::now() + cluster.options.timing.schedule),
            cluster,
            handle,
            uid,
            pod: Arc::new(pod),
            spec,
            orders,
            reports,
            report_to,
            slots: JoinSet::new(),
            stop: CancellationToken::new(),
            kill: CancellationToken::new(),
            phase: Phase::Pending,
            generation: 1,
            started: Timestamp::now(),
            transitions: Transitions::default(),
            disruption: None,
            failure: None,
            ending: Ending::No,
            step: Step::Schedule,
            deadline_at: None,
            kill_at: None,
            phase_at: None,
        })
    }

    pub(super) async fn run(mut self) {
        let shutdown = self.cluster.shutdown.clone();
        while !self.is_over() {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(order) = self.orders.recv() => self.obey(order),
                Some(report) = self.reports.recv() => self.note(report),
                Some(_) = self.slots.join_next() => self.slot_is_over(),
                () = at(self.kill_at) => self.kill(),
                () = at(self.deadline_at) => self.miss_deadline(),
                () = at(self.step_at) => self.advance(),
                () = at(self.phase_at) => self.reach_phase(),
            }
        }
        self.stop.cancel();
        if self.ending == Ending::Delete && !shutdown.is_cancelled() {
            self.remove_object().await;
        }
        self.kill();
        // Nobody reads them any more: a slot that has something to say must not wait for that.
        self.reports.close();
        while self.slots.join_next().await.is_some() {}
        // Followers of its logs hold the files open and read them to their end.
        if let Err(error) = tokio::fs::remove_dir_all(&self.directory).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "cannot remove a pod's directory");
        }
    }

    fn timing(&self) -> Timing {
        self.cluster.options.timing
    }

    fn is_over(&self) -> bool {
        self.ending >= Ending::Delete && self.slots.is_empty() && self.reports.is_empty()
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Delete { grace } => {
                self.generation = 2;
                self.end_containers(Ending::Delete, grace);
            }
            Order::Gone => self.end_containers(Ending::Gone, self.timing().force_grace),
            Order::Fail { reason, message } => {
                self.failure = Some((reason, message));
                self.end_containers(Ending::Fail, self.grace());
            }
            Order::Disrupt { reason, message } => {
                let condition = Condition::new("DisruptionTarget", true);
                self.disruption = Some(condition.because(reason, Some(message)));
                self.publish();
            }
        }
    }

    /// Of the pod's own spec.
    fn grace(&self) -> Duration {
        let seconds = self.spec.termination_grace_period_seconds.unwrap_or(30);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }

    fn end_containers(&mut self, ending: Ending, grace: Duration) {
        self.ending = self.ending.max(ending);
        self.stop.cancel();
        self.step_at = None;
        for (_, container) in self.handle.current() {
            if container.end().is_none() {
                container.terminate();
            }
        }
        let at = Instant::now() + grace;
        self.kill_at = Some(self.kill_at.map_or(at, |before| before.min(at)));
        if self.slots.is_empty() && self.ending == Ending::Fail {
            self.slot_is_over();
        }
    }

    fn kill(&mut self) {
        self.kill_at = None;
        self.kill.cancel();
        for (_, container) in self.handle.current() {
            container.kill();
        }
    }

    fn miss_deadline(&mut self) {
        self.deadline_at = None;
        if self.ending == Ending::No && !self.phase.is_final() {
            let message = "Pod was active on the node longer than the specified deadline".to_owned();
            self.failure = Some(("DeadlineExceeded", message));
            self.end_containers(Ending::Fail, self.grace());
            self.publish();
        }
    }

    /// A step that takes time is done.
    fn advance(&mut self) {
        self.step_at = None;
        match self.step {
            Step::Schedule => self.schedule(),
            Step::Create => self.create(),
            Step::Unschedulable | Step::Run => {}
        }
    }

    fn note(&mut self, report: Report) {
        let Some(seen) = self.init.iter_mut().chain(&mut self.main).find(|seen| seen.name == report.name) else {
            return;
        };
        let init_is_over = report.state.terminated().is_some_and(|end| end.exit_code == 0);
        (seen.state, seen.last, seen.restarts) = (report.state, report.last, report.restarts);
        let is_init = self.init.iter().any(|seen| seen.name == report.name);
        self.publish();
        if is_init && init_is_over && self.ending == Ending::No {
            self.start_next();
        }
    }

    fn slot_is_over(&mut self) {
        // Reports still queued come first: the last of them decides what there is to publish.
        while let Ok(report) = self.reports.try_recv() {
            self.note(report);
        }
        let computed = self.computed_phase();
        if self.slots.is_empty() && computed.is_final() && self.phase_at.is_none() && !self.phase.is_final() {
            self.phase_at = Some(Instant::now() + self.timing().phase);
        }
    }

    fn reach_phase(&mut self) {
        self.phase_at = None;
        self.phase = self.computed_phase();
        self.publish();
    }
}

/// Never, without a time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
