//! Attach after attach, until the payload was handed over or cannot be.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use worknode_protocol::unit::{Detail, State};

use super::{Failure, Following, note};
use crate::runner::{
    Report,
    kubernetes::{
        attach::{self, AttachError, Delivery},
        follower::Stage,
        record::{Journal, Step},
    },
};

/// How long a session may go on after the worker's end was seen.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// Pause before another attach where the kubelet had no container yet, or none any more.
const NO_CONTAINER: Duration = Duration::from_millis(200);

impl Following<'_> {
    /// Sends the payload once the worker runs. A worker that is over before has no use for it.
    pub(super) async fn send_stdin(
        &self,
        journal: &mut Journal,
        mut stage: watch::Receiver<Stage>,
    ) -> Result<(), Failure> {
        // Fails when the watcher has failed: then this is dropped, too.
        let _ = stage.wait_for(|stage| *stage >= Stage::Running).await;
        if journal.record().step < Step::StdinSent && *stage.borrow() == Stage::Running {
            let sending =
                Report { state: Some(State::Pending), detail: Some(Detail::SendingStdinToPod), ..Report::default() };
            self.unit.reporter.report(sending).await;
            self.attach(journal, &mut stage).await?;
            note(journal, |record| record.step = Step::StdinSent).await?;
        }
        if *stage.borrow() == Stage::NotStarted {
            return Ok(());
        }
        let running = Report { state: Some(State::Running), detail: Some(Detail::PodRunning), ..Report::default() };
        self.unit.reporter.report(running).await;
        Ok(())
    }

    /// Attaches until a session has taken the payload, or the worker is over.
    async fn attach(&self, journal: &mut Journal, stage: &mut watch::Receiver<Stage>) -> Result<(), Failure> {
        let mut tries = self.cluster.patience().tries();
        loop {
            // Before, not after: a session that breaks uses stdin up even if nothing was sent.
            note(journal, |record| record.step = Step::SendingStdin).await?;
            let begin = Instant::now();
            let fault = match self.attach_once(journal, stage.clone()).await {
                Ok(_) => return Ok(()),
                Err(fault) => fault,
            };
            // A worker that is over has no use for a payload; but the end of a stream that broke may be why it is over.
            let is_cut = matches!(fault, AttachError::Cut { .. }) && self.payload.length() > 0;
            if *stage.borrow() >= Stage::Over && !is_cut {
                return Ok(());
            }
            let pause = match &fault {
                AttachError::NoContainer(_) => tries.after_failure(begin.elapsed(), Some(NO_CONTAINER)),
                AttachError::NotBegun(fault) if fault.is_temporary() => {
                    tries.after_failure(begin.elapsed(), fault.retry_after())
                }
                // An empty stdin cannot be cut: the end of it is all there is.
                AttachError::Cut { .. } if self.payload.length() == 0 => tries.after_failure(begin.elapsed(), None),
                _ => None,
            };
            let Some(pause) = pause else { return Err(self.stdin_failure(journal, fault).await) };
            tracing::debug!(pod = self.path(), error = %fault, ?pause, "attaching again");
            note(journal, |record| record.step = Step::Created).await?;
            if timeout(pause, stage.wait_for(|stage| *stage >= Stage::Over)).await.is_ok() {
                return Ok(());
            }
        }
    }

    async fn attach_once(
        &self,
        journal: &mut Journal,
        mut stage: watch::Receiver<Stage>,
    ) -> Result<Delivery, AttachError> {
        let (progress, mut told) = watch::channel(0);
        let so_far = told.clone();
        let sending = attach::send(self.target(false), &self.payload, progress);
        let noting = async {
            while told.changed().await.is_ok() {
                let sent = *told.borrow_and_update();
                // Only words depend on it.
                let _ = journal.note(|record| record.stdin_sent = sent).await;
            }
            std::future::pending().await
        };
        let over = async {
            let _ = stage.wait_for(|stage| *stage >= Stage::Over).await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        tokio::select! {
            biased;
            delivery = sending => delivery,
            never = noting => never,
            () = over => match self.payload.length() {
                0 => Ok(Delivery::Unread),
                // An end of stdin that nobody tells of may be why the worker is over.
                _ => {
                    let message = "the session stays silent although the worker is over".to_owned();
                    Err(AttachError::Cut { sent: *so_far.borrow(), unread: false, message })
                }
            },
        }
    }

    pub(super) async fn stdin_failure(&self, journal: &mut Journal, fault: AttachError) -> Failure {
        let unread = matches!(fault, AttachError::Cut { unread: true, .. });
        let detail = match fault {
            // With the helper it may break as often as it likes, within the patience.
            AttachError::Cut { message, .. } if journal.record().shim => {
                Detail::ErrorStreamingStdin { pod: self.path(), message }
            }
            AttachError::Cut { sent, message, .. } => {
                tracing::warn!(pod = self.path(), error = message, "stdin was cut");
                let noted = journal.note(|record| {
                    record.stdin_cut = true;
                    record.stdin_sent = sent;
                });
                if let Err(fault) = noted.await {
                    tracing::warn!(error = %fault, "record could not be written");
                }
                Detail::StdinCut { sent, total: self.payload.length() }
            }
            AttachError::Payload(fault) => Detail::ErrorReadingStdin(fault.to_string()),
            AttachError::Refused(refusals) if refusals.are_of_the_role() => Detail::AttachForbidden {
                pod: self.path(),
                message: refusals.to_string(),
                namespace: refusals.namespace,
            },
            fault @ (AttachError::NotBegun(_) | AttachError::Refused(_) | AttachError::NoContainer(_)) => {
                Detail::ErrorStreamingStdin { pod: self.path(), message: fault.to_string() }
            }
        };
        Failure { detail, delete: true, unread }
    }
}
