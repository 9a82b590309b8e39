//! The release of a unit that another node runs (control-protocol 3.9, 4.6).

use std::{sync::Arc, time::Duration};

use tracing::warn;

use super::{Phase, ReleaseError, Released, UnitTask};
use crate::runner::{Recovery, ReleaseThereError, WorkKind};

/// How long the answer to a release waits for the other node.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

impl UnitTask {
    /// Asks the node that runs the unit to release it, once before the client is answered. What it cannot be asked now is
    /// asked again until it is done, by a later daemon, too; the unit stays in the list as it is meanwhile.
    pub(super) async fn release_there(
        &mut self,
        kind: Arc<dyn WorkKind>,
        force: bool,
    ) -> Result<Released, ReleaseError> {
        let noting = kind.clone();
        self.commit(move |status| noting.note_release(&mut status.extra_data)).await;
        self.leave_job().await;
        self.leftovers.stop().await;
        let found = self.found();
        let Some(asked) = kind.release_there(&found) else { return self.delete(force).await };
        let released = match tokio::time::timeout(ANSWER_WAIT, asked).await {
            Ok(released) => released,
            Err(_) => Err(ReleaseThereError::Unreachable("no answer in time".to_owned())),
        };
        match released {
            Ok(()) => self.delete(force).await,
            Err(fault) if force => {
                warn!("unit {}: not released on its node: {fault}", self.id);
                self.delete(true).await
            }
            Err(ReleaseThereError::Unreachable(why)) => {
                warn!("unit {}: its node cannot be asked to release it yet: {why}", self.id);
                self.phase = Phase::Releasing;
                self.clear_leftovers();
                Ok(Released::Pending)
            }
            Err(ReleaseThereError::Refused(words)) => {
                self.unmark("release");
                if !self.status.state.is_final()
                    && let Recovery::Resume(runner) = kind.recover(&self.found())
                {
                    self.phase = Phase::Running(self.begin(runner, crate::runner::Payload::whole(), None));
                }
                Err(words.into())
            }
        }
    }

    /// Leaves the job alone, where it is.
    async fn leave_job(&mut self) {
        if let Phase::Running(job) = &mut self.phase {
            job.detach.cancel();
            self.await_job().await;
        }
        self.phase = Phase::Idle;
    }
}
