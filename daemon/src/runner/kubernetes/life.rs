//! One unit from its start to its end.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use worknode_protocol::unit::{Detail, PodProblem, RestartProblem, State};

use super::{
    Cluster,
    attach::Payload,
    cleanup,
    client::{self, Api, ApiError},
    create::Creation,
    follow::{Failure, Following, Stdout},
    outcome::{Case, End},
    output::Output,
    plan::Order,
    pod::Manifest,
    record::{Journal, Record, Step},
    shim,
    view::Pod,
};
use crate::runner::{BoxFuture, Ending, Found, Report, Runner, StartError, UnitContext};
use worknode_protocol::config::model::{DeletePodPolicy, StreamMethod};

/// How long the API server's answer to a deletion is waited for (work-types 2.6).
const DELETION: Duration = Duration::from_secs(5);

/// The life of one pod.
pub(crate) struct PodRunner {
    cluster: Arc<Cluster>,
    order: Order,
    api: Option<Api>,
    origin: Origin,
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
        Self { cluster, order, api: None, origin: Origin::Own(None) }
    }

    /// A unit of an earlier daemon.
    pub(crate) fn resume(cluster: Arc<Cluster>, order: Order, record: Option<Record>) -> Self {
        Self { cluster, order, api: None, origin: Origin::Own(record.map(Box::new)) }
    }

    /// A unit of receptor.
    pub(crate) fn adopt(cluster: Arc<Cluster>, order: Order, found: &Found) -> Self {
        Self { cluster, order, api: None, origin: Origin::Receptor { running: found.status.state == State::Running } }
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
        let (dir, shim) = (unit.dir.clone(), journal.record().shim);
        let open = move || {
            let stdout = match shim {
                true => shim::Stdout::open(&dir).map(Stdout::Shim),
                false => Output::open(&dir).map(Stdout::Log),
            };
            (stdout, Payload::open(&dir.stdin()))
        };
        let opened = tokio::task::spawn_blocking(open).await;
        let (output, payload) = match opened {
            Ok((Ok(opened), Ok(payload))) => (output.insert(opened), payload),
            Ok((Err(fault), _)) => return Some((State::Failed, Detail::ErrorOpeningStdout(fault.to_string()))),
            Ok((_, Err(fault))) => return Some((State::Failed, Detail::ErrorOpeningStdin(fault.to_string()))),
            Err(fault) => return Some((State::Failed, Detail::Internal(fault.to_string()))),
        };
        let containers = pod.status.container_statuses.len();
        let following = Following { cluster: &self.cluster, api, unit, pod: &pod, payload };
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

    /// Sees to it that the pod is gone whose place another one takes, and begins its record.
    async fn clear_away(&self, unit: &UnitContext, api: &Api, journal: &mut Journal) -> Result<(), Detail> {
        let record = journal.record().clone();
        let labels = self.cluster.labels(unit.id.as_str());
        let mut tries = self.cluster.patience().tries();
        loop {
            let begin = Instant::now();
            let fault = match cleanup::remove(api, &record, &labels, self.cluster.kind.grace_period).await {
                Ok(()) => break,
                Err(cleanup::Remains::Api(fault)) if fault.is_temporary() => fault,
                Err(fault) => {
                    return Err(Detail::ErrorGettingPod { pod: record.pod(), message: fault.to_string() });
                }
            };
            let pause = tries.after_failure(begin.elapsed(), fault.retry_after());
            let pause =
                pause.ok_or_else(|| Detail::ErrorGettingPod { pod: record.pod(), message: fault.to_string() })?;
            tracing::debug!(pod = record.pod(), error = %fault, ?pause, "deleting the pod again");
            sleep(pause).await;
        }
        journal.note(|record| *record = record.of_next()).await.map_err(|fault| Detail::Internal(fault.to_string()))
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

    /// Makes the pod, or finds the one that was made.
    async fn pod(&mut self, unit: &UnitContext, api: &Api, journal: &mut Journal) -> Begun {
        if let Origin::Receptor { running: false } = self.origin {
            // Whether its stdin was sent nobody knows (control-protocol 5.8).
            if self.cluster.kind.delete_pod_on_restart {
                self.end_pod(unit, api, journal, State::Failed, true).await;
            }
            return Begun::Over(State::Failed, Detail::FailedToRestart(RestartProblem::NotRunning));
        }
        if journal.record().anew
            && let Err(detail) = self.clear_away(unit, api, journal).await
        {
            return Begun::Over(State::Failed, detail);
        }
        let record = journal.record().clone();
        let stdin_is_over = record.step == Step::SendingStdin && !record.shim && self.has_payload(unit).await;
        if record.stdin_cut || stdin_is_over {
            // Before the pod goes: a kill between must not forget why.
            if let Err(fault) = journal.note(|record| record.stdin_cut = true).await {
                return Begun::Over(State::Failed, Detail::Internal(fault.to_string()));
            }
            self.end_pod(unit, api, journal, State::Failed, true).await;
            let total = stdin_bytes(unit).await;
            return Begun::Over(State::Failed, Detail::StdinCut { sent: record.stdin_sent.min(total), total });
        }
        match record.step {
            Step::Creating => self.create(unit, api, journal).await,
            // Ended, but the unit's status does not say so yet.
            Step::Ended | Step::Deleted if record.end.is_some() => {
                let outcome = self.case(&record, record.ran).outcome(&record.end().unwrap_or(End::Deleted));
                let (state, detail) = with_gaps(outcome, &record, false, self.output_guard());
                Begun::Over(state, detail)
            }
            step => self.find(api, journal, step > Step::Created).await,
        }
    }

    async fn has_payload(&self, unit: &UnitContext) -> bool {
        stdin_bytes(unit).await > 0
    }

    async fn create(&mut self, unit: &UnitContext, api: &Api, journal: &mut Journal) -> Begun {
        let failed = |problem: PodProblem| Begun::Over(State::Failed, Detail::ErrorCreatingPod(problem));
        let prefix = format!("{}-", self.cluster.kind.work_type.to_lowercase());
        let mut manifest = match Manifest::build(&self.order.wanted(), &prefix) {
            Ok(manifest) => manifest,
            Err(problem) => return failed(problem),
        };
        // A pod that may have been asked for is as it was then.
        let begun = !journal.record().name.is_empty();
        let shim = if begun { journal.record().shim } else { self.cluster.kind.stream_method == StreamMethod::Shim };
        if shim && let Err(problem) = shim::fit(manifest.spec_mut()) {
            return failed(problem);
        }
        if let Err(fault) = journal.note(|record| record.shim = shim).await {
            return Begun::Over(State::Failed, Detail::Internal(fault.to_string()));
        }
        let own = Some(&self.order.extra.kube_namespace).filter(|namespace| !namespace.is_empty());
        let namespace = manifest.namespace.as_ref().or(own).unwrap_or(&api.default_namespace).clone();
        if namespace.is_empty() {
            return failed(PodProblem::Message("could not determine namespace".to_owned()));
        }
        let labels = self.cluster.labels(unit.id.as_str());
        let patience = self.cluster.patience();
        let creation = Creation { api, manifest: &manifest, labels: &labels, namespace: &namespace, patience };
        match creation.once(journal).await {
            Ok(pod) => {
                self.order.extra.pod_name.clone_from(&pod.metadata.name);
                let extra_data = Some((&self.order.extra).into());
                let news = Report { state: Some(State::Pending), detail: Some(Detail::PodCreated), extra_data };
                unit.reporter.report(news).await;
                Begun::Pod(Box::new(pod))
            }
            Err(problem) => failed(problem),
        }
    }

    /// Finds the pod that an earlier daemon made.
    async fn find(&self, api: &Api, journal: &mut Journal, ran: bool) -> Begun {
        let record = journal.record().clone();
        let found = match client::get_pod(&record.namespace, &record.name) {
            Ok(request) => api.object_patiently::<Pod>(&request, self.cluster.patience()).await,
            Err(fault) => Err(fault),
        };
        match found {
            Ok(pod) if record.uid.is_empty() || pod.metadata.uid == record.uid => {
                let uid = pod.metadata.uid.clone();
                match journal.note(|record| record.uid = uid).await {
                    Ok(()) => Begun::Pod(Box::new(pod)),
                    Err(fault) => Begun::Over(State::Failed, Detail::Internal(fault.to_string())),
                }
            }
            Err(fault) if !fault.is_not_found() => {
                Begun::Over(State::Failed, Detail::ErrorGettingPod { pod: record.pod(), message: fault.to_string() })
            }
            _ => {
                let (state, detail) = self.case(&record, ran).outcome(&End::Deleted);
                Begun::Over(state, detail)
            }
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
    fn start<'a>(&'a mut self, unit: &'a UnitContext) -> BoxFuture<'a, Result<(), StartError>> {
        Box::pin(async move {
            let connecting = Report { detail: Some(Detail::ConnectingToKubernetes), ..Report::default() };
            unit.reporter.report(connecting).await;
            let api = self.cluster.connect(&self.order).await.map_err(|fault| StartError(fault.to_string()))?;
            if self.order.extra.kube_namespace.is_empty() {
                self.order.extra.kube_namespace.clone_from(&api.default_namespace);
            }
            self.api = Some(api);
            Ok(())
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
