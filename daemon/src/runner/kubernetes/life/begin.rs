//! How a unit comes by its pod: it is made, found again, or takes another one's place.

use tokio::time::{Instant, sleep};
use worknode_protocol::{
    config::model::StreamMethod,
    unit::{Detail, PodProblem, RestartProblem, State},
};

use super::{Begun, Origin, PodRunner, stdin_bytes, with_gaps};
use crate::runner::{
    Report, UnitContext,
    kubernetes::{
        cleanup,
        client::{self, Api},
        create::Creation,
        outcome::End,
        pod::Manifest,
        record::{Journal, Step},
        shim,
        tcp::Dialed,
        view::Pod,
    },
};

impl PodRunner {
    /// Makes the pod, or finds the one that was made.
    pub(super) async fn pod(&mut self, unit: &UnitContext, api: &Api, journal: &mut Journal) -> Begun {
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
        if record.tcp && !record.name.is_empty() && record.end.is_none() {
            if self.cluster.kind.delete_pod_on_restart {
                self.end_pod(unit, api, journal, State::Failed, true).await;
            }
            return Begun::Over(State::Failed, Detail::FailedToRestart(RestartProblem::StreamMethodTcp));
        }
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
        let attached =
            if begun { journal.record().attached } else { self.cluster.kind.stream_method == StreamMethod::Attach };
        if self.cluster.kind.stream_method == StreamMethod::Tcp {
            match Dialed::listen(&self.cluster.kind.tcp).await {
                Ok(dialed) => manifest.add_variables(&self.dialed.insert(dialed).variables()),
                Err(words) => return Begun::Over(State::Failed, Detail::ErrorListening(words)),
            }
        }
        let tcp = self.dialed.is_some();
        let noted = journal.note(|record| {
            record.tcp = tcp;
            record.shim = shim;
            record.attached = attached;
        });
        if let Err(fault) = noted.await {
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
                let news = Report {
                    state: Some(State::Pending),
                    detail: Some(Detail::PodCreated),
                    extra_data,
                    ..Report::default()
                };
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
}
