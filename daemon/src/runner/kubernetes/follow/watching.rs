//! The pod's states: what the others have to know, and the detail's words while it waits.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use worknode_protocol::unit::{Detail, PodProblem};

use super::{Failure, Following, Seen};
use crate::runner::kubernetes::{
    client::ApiError,
    create,
    follower::{Stage, Worker},
    outcome::{End, Judge, Sight},
    pod::WORKER,
    record::Record,
    stamp::Stamp,
    view::Pod,
    waiting::Waiting,
    watch::{Event, Watch},
};

impl Following<'_> {
    /// Tells the others how far the worker is, until it is over.
    pub(super) async fn watch(
        &self,
        mut judge: Judge,
        deadline: Option<Instant>,
        stage: watch::Sender<Stage>,
        worker: watch::Sender<Worker>,
    ) -> Result<Seen, Failure> {
        let mut watch = Watch::from(self.api, self.pod, self.cluster.patience());
        let mut pod = Arc::new(self.pod.clone());
        let mut waiting = Waiting::new(self.api, self.pod, &self.unit.reporter);
        let end = loop {
            match judge.look(&pod) {
                Sight::Over(end) => break end,
                Sight::Running => {
                    stage.send_if_modified(|stage| std::mem::replace(stage, Stage::Running) != Stage::Running);
                    worker.send_if_modified(|worker| change(worker, &pod, Stage::Running));
                }
                Sight::Waiting(why) => waiting.tell(why).await,
            }
            let deadline = deadline.filter(|_| !judge.ran());
            let event = tokio::select! {
                event = watch.next() => event,
                () = at(deadline) => break End::NotStarted(PodProblem::TimedOut),
                () = waiting.look_at_events(), if !judge.ran() => continue,
            };
            match event {
                Ok(Event::Pod(now)) => pod = now,
                Ok(Event::Gone(last)) => {
                    let end = judge.gone(last.as_deref());
                    if let Some(last) = last {
                        pod = last;
                    }
                    break end;
                }
                Err(fault) => return Err(self.lost(&fault)),
            }
        };
        let last = if matches!(end, End::NotStarted(_)) { Stage::NotStarted } else { Stage::Over };
        stage.send_replace(last);
        worker.send_modify(|worker| {
            change(worker, &pod, last);
        });
        let containers = pod.status.container_statuses.len();
        Ok(Seen { end, ran: judge.ran(), containers, node: pod.spec.node_name.clone() })
    }

    fn lost(&self, fault: &ApiError) -> Failure {
        let detail = Detail::ErrorGettingPod { pod: self.path(), message: fault.to_string() };
        Failure::new(detail, false)
    }
}

/// Takes over what the pod says of its worker's times. True if anything is new.
fn change(worker: &mut Worker, pod: &Pod, stage: Stage) -> bool {
    let state = pod.container(WORKER).map(|container| &container.state);
    let running = state.and_then(|state| state.running.as_ref());
    let terminated = state.and_then(|state| state.terminated.as_ref());
    let stamp = |text: Option<&String>| text.and_then(|text| Stamp::parse(text.as_bytes()));
    let started = running.and_then(|running| running.started_at.as_ref());
    let started = started.or_else(|| terminated.and_then(|terminated| terminated.started_at.as_ref()));
    let finished = terminated.and_then(|terminated| terminated.finished_at.as_ref());
    // Of what never started the API says that it did in 1970 (kubernetes-streams 6).
    let real = |stamp: &Stamp| *stamp > Stamp(0);
    let now = Worker {
        stage,
        started: stamp(started).filter(real).or(worker.started),
        finished: stamp(finished).filter(real).or(worker.finished),
    };
    std::mem::replace(worker, now) != now
}

/// When the worker must run at the latest.
pub(super) fn pending_deadline(record: &Record) -> Option<Instant> {
    let limit = Duration::from_millis(record.pending_timeout?);
    let since = Duration::from_millis(create::now().saturating_sub(record.asked_at));
    Instant::now().checked_add(limit.saturating_sub(since))
}

/// That time, or never.
async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
