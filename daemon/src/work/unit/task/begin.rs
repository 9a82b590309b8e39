//! The beginning of a unit's job: with its payload whole, or while it is coming.

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use worknode_protocol::unit::{Detail, State};

use super::{Job, JobEnd, Phase, StartAnswer, StartRefused, UnitTask};
use crate::runner::{Payload, Reporter, Runner, UnitContext};

impl UnitTask {
    pub(super) async fn start(&mut self, answer: StartAnswer) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Waiting(runner) => {
                // From here on the payload is known to be complete, also to a later daemon.
                self.commit(|status| status.detail = Detail::StartingWorker.to_string()).await;
                self.phase = Phase::Running(self.begin(runner, Payload::whole(), Some(answer)));
            }
            other => {
                self.phase = other;
                let _ = answer.send(Err(StartRefused::Canceled));
            }
        }
    }

    pub(super) fn begin_early(&mut self, payload: Payload, answer: StartAnswer) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Waiting(runner) => self.phase = Phase::Running(self.begin(runner, payload, Some(answer))),
            other => {
                self.phase = other;
                let _ = answer.send(Err(StartRefused::Canceled));
            }
        }
    }

    /// The payload of a job that has begun is whole, also to a later daemon once this is answered. A job that is over says
    /// itself how it ended.
    pub(super) async fn seal(&mut self, answer: oneshot::Sender<Result<(), StartRefused>>) {
        if let Phase::Running(job) = &mut self.phase
            && !job.cancel.is_cancelled()
        {
            job.sealed = true;
            self.commit(|status| status.detail = Detail::StartingWorker.to_string()).await;
        } else if self.status.state == State::Canceled || matches!(self.phase, Phase::Running(_)) {
            let _ = answer.send(Err(StartRefused::Canceled));
            return;
        }
        let _ = answer.send(Ok(()));
    }

    /// The payload did not come whole.
    pub(super) async fn fail(&mut self, detail: Box<Detail>) {
        match &mut self.phase {
            Phase::Waiting(_) => {
                self.phase = Phase::Idle;
                self.finish(State::Failed, *detail).await;
            }
            Phase::Running(job) if !job.sealed => {
                job.broken = Some(detail);
                self.end_job().await;
            }
            _ => {}
        }
    }

    /// Sets a job going in a task of its own, so that its panic is only its own.
    pub(super) fn begin(&self, mut runner: Box<dyn Runner>, payload: Payload, start: Option<StartAnswer>) -> Job {
        let (reporter, news) = Reporter::channel();
        let (cancel, detach) = (CancellationToken::new(), self.detach.child_token());
        let sealed = payload.is_whole();
        let unit = UnitContext {
            id: self.id.clone(),
            dir: self.dir.clone(),
            payload,
            reporter,
            cancel: cancel.clone(),
            detach: detach.clone(),
        };
        let task = tokio::spawn(async move {
            if let Some(answer) = start {
                match runner.start(&unit).await {
                    Ok(started) => drop(answer.send(Ok(started))),
                    Err(fault) => return JobEnd::NotStarted(fault, answer),
                }
            }
            JobEnd::Ran(runner.run(unit).await)
        });
        Job { task, news, cancel, detach, sealed, broken: None, cancelled: Vec::new(), cancel_outcome: None }
    }
}
