//! One unit from its start to its end.

mod begin;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use worknode_protocol::unit::{Detail, PodProblem, State};

use super::{
    Cluster,
    attach::Payload,
    attached::Stderr,
    cleanup,
    client::{Api, ApiError},
    follow::{Failure, Following, Stdout},
    outcome::{Case, End},
    output::Output,
    plan::Order,
    pod::Manifest,
    record::{Journal, Record, Step},
    shim,
    tcp::Dialed,
    view::Pod,
};
use crate::runner::{BoxFuture, Ending, Found, Report, Runner, StartError, Started, UnitContext};
use worknode_protocol::config::model::{DeletePodPolicy, PodStderr};

/// How long the API server's answer to a deletion is waited for (work-types 2.6).
const DELETION: Duration = Duration::from_secs(5);

/// The life of one pod.
pub(crate) struct PodRunner {
    cluster: Arc<Cluster>,
    order: Order,
    api: Option<Api>,
    origin: Origin,
    /// Where the pod dials, with `streammethod: tcp`.
    dialed: Option<Dialed>,
}

/// What is known of the pod before the runner begins.
enum Origin {
    /// Nothing; it may have been asked for.
    Own(Option<Box<Record>>),
    /// Receptor made it. `running`: and had sent all of stdin.
    Receptor { running: bool },
}

/// What there is to begin with: a pod, or an end.
enum Begun {
    Pod(Box<Pod>),
    Over(State, Detail),
}

impl PodRunner {
    /// A unit just submitted.
    pub(crate) fn new(cluster: Arc<Cluster>, order: Order) -> Self {
        Self { cluster, order, api: None, origin: Origin::Own(None), dialed: None }
    }

    /// A unit of an earlier daemon.
    pub(crate) fn resume(cluster: Arc<Cluster>, order: Order, record: Option<Record>) -> Self {
        Self { cluster, order, api: None, origin: Origin::Own(record.map(Box::new)), dialed: None }
    }

    /// A unit of receptor.
    pub(crate) fn adopt(cluster: Arc<Cluster>, order: Order, found: &Found) -> Self {
        let origin = Origin::Receptor { running: found.status.state == State::Running };
        Self { cluster, order, api: None, origin, dialed: None }
    }

    /// Connects, unless [`Runner::start`] did. A unit of an earlier daemon has a pod, which is not given up because of a
    /// file or a plugin that is not well just now.
    async fn connected(&mut self) -> Result<Api, ApiError> {
        if let Some(api) = self.api.take() {
            return Ok(api);
        }
        let mut tries = self.cluster.patience().tries();
        loop {
            let begin = Instant::now();
            let fault = match self.cluster.connect(&self.order).await {
                Err(fault @ ApiError::Auth(_)) => fault,
                answer => return answer,
            };
            let Some(pause) = tries.after_failure(begin.elapsed(), None) else { return Err(fault) };
            tracing::debug!(error = %fault, ?pause, "reading the credentials again");
            sleep(pause).await;
        }
    }

    fn journal(&mut self, unit: &UnitContext) -> Journal {
        let record = match &mut self.origin {
            Origin::Own(record) => record.take().map(|record| *record),
            Origin::Receptor { .. } => Some(record_of_receptor(&self.order)),
        };
        let limit = self.order.pending_timeout.or(self.cluster.kind.pod_pending_timeout);
        Journal::new(unit.dir.clone(), record.unwrap_or_else(|| Record::new(limit)))
    }

    /// The whole life. May be dropped at any moment: what is on disk is as after a kill.
    async fn live(
        &mut self,
        unit: &UnitContext,
        api: &Api,
        journal: &mut Journal,
        output: &mut Option<Stdout>,
    ) -> (State, Detail) {
        loop {
            let pod = match self.pod(unit, api, journal).await {
                Begun::Pod(pod) => *pod,
                Begun::Over(state, detail) => return (state, detail),
            };
            if let Some(end) = self.follow(unit, api, journal, output, pod).await {
                return end;
            }
        }
    }

    /// The pod to its end; none: another pod is to take its place.
    async fn follow(
        &mut self,
        unit: &UnitContext,
        api: &Api,
        journal: &mut Journal,
        output: &mut Option<Stdout>,
        pod: Pod,
    ) -> Option<(State, Detail)> {
        let (dir, shim, attached) = (unit.dir.clone(), journal.record().shim, journal.record().attached);
        let apart = attached && self.cluster.kind.operation.stderr != PodStderr::Merged;
        let open = move || {
            let stdout = match shim {
                true => shim::Stdout::open(&dir).map(Stdout::Shim),
                false => Output::open(&dir).map(|output| Stdout::Log(output.attached(attached))),
            };
            let stderr = apart.then(|| Stderr::open(&dir)).transpose();
            (stdout.and_then(|stdout| Ok((stdout, stderr?))), Payload::open(&dir.stdin()))
        };
        let opened = tokio::task::spawn_blocking(open).await;
        let (output, stderr, payload) = match opened {
            Ok((Ok((opened, stderr)), Ok(payload))) => (output.insert(opened), stderr, payload),
            Ok((Err(fault), _)) => return Some((State::Failed, Detail::ErrorOpeningStdout(fault.to_string()))),
            Ok((_, Err(fault))) => return Some((State::Failed, Detail::ErrorOpeningStdin(fault.to_string()))),
            Err(fault) => return Some((State::Failed, Detail::Internal(fault.to_string()))),
        };
        let containers = pod.status.container_statuses.len();
        let following =
            Following { cluster: &self.cluster, api, unit, pod: &pod, payload, stderr, dialed: self.dialed.take() };
        match following.to_the_end(journal, output).await {
            Ok(followed) => {
                let end = followed.end.clone();
                let noted = journal.note(|record| followed.note(record)).await;
                if let Err(fault) = noted {
                    return Some((State::Failed, Detail::Internal(fault.to_string())));
                }
                let case = Case {
                    containers: containers.max(followed.containers),
                    ..self.case(journal.record(), followed.ran)
                };
                let (state, detail) =
                    with_gaps(case.outcome(&end), journal.record(), followed.differs, self.output_guard());
                self.end_pod(unit, api, journal, state, matches!(end, End::NotStarted(_))).await;
                Some((state, detail))
            }
            Err(Failure { unread: true, .. }) if self.may_try_again(journal.record(), output).await => {
                tracing::info!(pod = journal.record().pod(), "nothing of the payload was read; another pod is tried");
                match journal.note(|record| record.anew = true).await {
                    Ok(()) => None,
                    Err(fault) => Some((State::Failed, Detail::Internal(fault.to_string()))),
                }
            }
            Err(Failure { detail, delete, .. }) => {
                if delete {
                    self.end_pod(unit, api, journal, State::Failed, true).await;
                }
                Some((State::Failed, detail))
            }
        }
    }

    /// True if another pod may take the place of one that has read nothing of its payload: it must have written nothing, too.
    async fn may_try_again(&self, record: &Record, output: &mut Stdout) -> bool {
        record.retries < self.cluster.kind.operation.stdin_retry && output.is_empty().await
    }

    fn output_guard(&self) -> bool {
        self.cluster.kind.operation.output_guard_fails
    }

    fn case<'a>(&self, record: &'a Record, ran: bool) -> Case<'a> {
        Case {
            namespace: &record.namespace,
            name: &record.name,
            ran,
            containers: 1,
            fail_on_exit_code: self.cluster.kind.fail_on_exit_code,
        }
    }

    /// The unit is over: its pod goes if it must, or if the work type says so.
    async fn end_pod(&self, unit: &UnitContext, api: &Api, journal: &mut Journal, state: State, must: bool) {
        let wanted = match self.cluster.kind.delete_pod_policy {
            DeletePodPolicy::Always => true,
            DeletePodPolicy::OnSuccess => state == State::Succeeded,
            DeletePodPolicy::Release | DeletePodPolicy::Never => false,
        };
        if (must || wanted) && self.delete(unit, api, journal).await.is_err() {
            tracing::warn!(pod = journal.record().pod(), "pod could not be deleted; its unit's release will do it");
        }
    }

    /// Deletes the pod. `Err`: it may still be there.
    async fn delete(&self, unit: &UnitContext, api: &Api, journal: &mut Journal) -> Result<(), ()> {
        let record = journal.record().clone();
        if record.name.is_empty() || record.step == Step::Deleted {
            return Ok(());
        }
        let labels = self.cluster.labels(unit.id.as_str());
        let removal = timeout(DELETION, cleanup::remove(api, &record, &labels, self.cluster.kind.grace_period)).await;
        match removal {
            Ok(Ok(())) => journal.note_deleted().await.map_err(drop),
            Ok(Err(fault)) => {
                tracing::debug!(pod = record.pod(), error = %fault, "pod could not be deleted");
                Err(())
            }
            Err(_) => Err(()),
        }
    }
}

impl Runner for PodRunner {
    fn start<'a>(&'a mut self, unit: &'a UnitContext) -> BoxFuture<'a, Result<Started, StartError>> {
        Box::pin(async move {
            let connecting = Report { detail: Some(Detail::ConnectingToKubernetes), ..Report::default() };
            unit.reporter.report(connecting).await;
            let api = self.cluster.connect(&self.order).await.map_err(|fault| StartError(fault.to_string()))?;
            if self.order.extra.kube_namespace.is_empty() {
                self.order.extra.kube_namespace.clone_from(&api.default_namespace);
            }
            self.api = Some(api);
            Ok(Started::Now)
        })
    }

    fn run(mut self: Box<Self>, unit: UnitContext) -> BoxFuture<'static, Ending> {
        Box::pin(async move {
            let mut journal = self.journal(&unit);
            let api = tokio::select! {
                biased;
                () = unit.detach.cancelled() => return Ending::Detached,
                () = unit.cancel.cancelled(), if self.api.is_none() => {
                    return Ending::Cancelled { leftover: !journal.record().name.is_empty() };
                }
                api = self.connected() => api,
            };
            let api = match api {
                Ok(api) => api,
                Err(fault) => return Ending::Done(State::Failed, unreachable(journal.record(), &fault)),
            };
            let mut output = None;
            let outcome = tokio::select! {
                biased;
                () = unit.detach.cancelled() => None,
                () = unit.cancel.cancelled() => None,
                outcome = self.live(&unit, &api, &mut journal, &mut output) => Some(outcome),
            };
            // A write that was under way is no part of what was dropped.
            if let Some(output) = &mut output {
                let _ = output.settle().await;
            }
            let _ = journal.settle().await;
            match outcome {
                Some((state, detail)) => Ending::Done(state, detail),
                None if unit.detach.is_cancelled() => Ending::Detached,
                None => Ending::Cancelled { leftover: self.delete(&unit, &api, &mut journal).await.is_err() },
            }
        })
    }
}

fn unreachable(record: &Record, fault: &ApiError) -> Detail {
    if record.name.is_empty() {
        Detail::ErrorCreatingPod(PodProblem::Message(fault.to_string()))
    } else {
        Detail::ErrorGettingPod { pod: record.pod(), message: fault.to_string() }
    }
}

/// A warning takes the place of a good end's words, or fails the unit where the work type wants that (work-types 2.4). It is
/// added to the words of a bad one.
fn with_gaps(outcome: (State, Detail), record: &Record, differs: bool, fails: bool) -> (State, Detail) {
    let (state, detail) = outcome;
    if let (State::Succeeded, Some(at)) = (state, record.output_cut) {
        return (State::Failed, Detail::OutputCut(at));
    }
    if record.gaps.is_empty() && !differs {
        return (state, detail);
    }
    let time = |stamp: Option<super::stamp::Stamp>, else_: &str| {
        stamp.map_or_else(|| else_.to_owned(), |stamp| stamp.to_string())
    };
    let from = record.gaps.first().and_then(|gap| gap.after);
    let to = record.gaps.last().and_then(|gap| gap.before);
    let warning = Detail::OutputIncomplete { from: time(from, "its begin"), to: time(to, "its end") };
    match state {
        State::Succeeded => (if fails { State::Failed } else { state }, warning),
        // What failed the unit comes first.
        _ => (state, Detail::WithWarning { end: Box::new(detail), warning: Box::new(warning) }),
    }
}

/// What receptor leaves to know of a unit.
pub(crate) fn record_of_receptor(order: &Order) -> Record {
    let manifest = Manifest::build(&order.wanted(), "").ok();
    // Its `KubeNamespace` is not the pod's where the definition names another (control-protocol 5.6).
    let namespace = manifest.and_then(|manifest| manifest.namespace);
    let mut record = Record::new(None);
    record.namespace = namespace.unwrap_or_else(|| order.extra.kube_namespace.clone());
    record.name.clone_from(&order.extra.pod_name);
    record.step = Step::StdinSent;
    record
}

async fn stdin_bytes(unit: &UnitContext) -> u64 {
    let path = unit.dir.stdin();
    let length = tokio::task::spawn_blocking(move || std::fs::metadata(path).map(|file| file.len())).await;
    length.ok().and_then(Result::ok).unwrap_or_default()
}
