//! `streammethod: shim`: the job runs under a helper in the pod, which keeps what it writes until it is on disk here, and
//! says how much of the payload the job was given. So nothing is lost with a session, with the log's rotation, with the API
//! server or with this daemon (docs/decisions/0013-shim.md).
//!
//! | File | Holds |
//! |---|---|
//! | `program` | the helper, the shell words that receive it, and the pod that it fits into |
//! | `session` | one attach: its begin, both directions, its end |
//! | `stdout` | the unit's `stdout`, and how much of it is on disk |
//!
//! The conversation itself is the crate `worknode-shim`, which the helper is made of, too. How much of the output is here is
//! the length of `stdout`: there is no other record that could be at odds with it.

mod program;
mod session;
mod stdout;

use std::{io, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use worknode_protocol::unit::{Detail, State};

use self::session::{Session, SessionEnd};
pub(crate) use self::{program::fit, stdout::Stdout};
use super::{
    attach::{AttachError, Payload, Target},
    follower::Stage,
    record::{Journal, Step},
    retry::{Patience, Tries},
};
use crate::runner::{Report, Reporter};

/// How long a session may go on after the worker's end was seen.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// Pause before another attach where the kubelet had no container yet, or none any more.
const NO_CONTAINER: Duration = Duration::from_millis(200);
/// Pause after a session that had begun well.
const BROKEN: Duration = Duration::from_millis(100);

/// A worker that runs under the helper.
pub(crate) struct Shim<'a> {
    pub(crate) target: Target<'a>,
    pub(crate) payload: &'a Payload,
    pub(crate) patience: Patience,
    pub(crate) reporter: &'a Reporter,
}

/// Why the unit cannot go on.
#[derive(Debug)]
pub(crate) enum Fault {
    /// No session can be had.
    Attach {
        /// What became of the last one.
        fault: AttachError,
        /// The helper was there in one of them: the job may have begun.
        begun: bool,
    },
    /// The worker's image has not what it takes to receive the helper, or cannot run it.
    NotReceived,
    /// Output before this byte is neither here nor in the pod.
    Lost(u64),
    /// `stdout` cannot be written.
    Output(io::Error),
    /// The payload cannot be read.
    Payload(io::Error),
    /// The record cannot be written.
    Record(io::Error),
}

impl Shim<'_> {
    /// Session after session, until the worker is over. The record then says whether all of its output is here.
    pub(crate) async fn follow(
        &self,
        journal: &mut Journal,
        stdout: &mut Stdout,
        mut stage: watch::Receiver<Stage>,
    ) -> Result<(), Fault> {
        // Fails when the watcher has failed: then this is dropped, too.
        let _ = stage.wait_for(|stage| *stage >= Stage::Running).await;
        if *stage.borrow() == Stage::Running && journal.record().step < Step::StdinSent {
            self.report(State::Pending, Detail::SendingStdinToPod).await;
        }
        let mut tries = self.patience.tries();
        // What came of an earlier daemon's sessions is not known.
        let mut ever = journal.record().session > 0;
        while *stage.borrow() < Stage::Over {
            let begin = Instant::now();
            let mut begun = false;
            let end = self.session(journal, stdout, &mut stage, &mut begun).await?;
            if begun {
                tries.reset();
            }
            ever |= begun;
            let Some(pause) = pause(&end, begun, begin, &mut tries) else { return Err(end.into_fault(ever)) };
            if *stage.borrow() < Stage::Over {
                tracing::debug!(pod = self.target.pod, ?end, ?pause, "attaching again");
                let _ = timeout(pause, stage.wait_for(|stage| *stage >= Stage::Over)).await;
            }
        }
        stdout.all().await.map_err(Fault::Output)?;
        if *stage.borrow() != Stage::NotStarted {
            self.report(State::Running, Detail::PodRunning).await;
        }
        Ok(())
    }

    /// One session. `begun`: the helper answered.
    async fn session(
        &self,
        journal: &mut Journal,
        stdout: &mut Stdout,
        stage: &mut watch::Receiver<Stage>,
        begun: &mut bool,
    ) -> Result<SessionEnd, Fault> {
        // What another session received and is not on disk comes once more.
        stdout.forget().await.map_err(Fault::Output)?;
        let noted = journal.note(|record| {
            record.step = record.step.max(Step::SendingStdin);
            record.session += 1;
        });
        noted.await.map_err(Fault::Record)?;
        let over = async {
            let _ = stage.wait_for(|stage| *stage >= Stage::Over).await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        let session = Session { shim: self, journal, stdout, begun };
        tokio::select! {
            biased;
            end = session.run() => end,
            () = over => Ok(SessionEnd::Silent),
        }
    }

    async fn report(&self, state: State, detail: Detail) {
        self.reporter.report(Report { state: Some(state), detail: Some(detail), ..Report::default() }).await;
    }
}

/// How long to wait for the next session; none: not at all.
fn pause(end: &SessionEnd, begun: bool, begin: Instant, tries: &mut Tries) -> Option<Duration> {
    match end {
        SessionEnd::Attach(AttachError::NoContainer(_)) => tries.after_failure(begin.elapsed(), Some(NO_CONTAINER)),
        SessionEnd::Attach(AttachError::NotBegun(fault)) if fault.is_temporary() => {
            tries.after_failure(begin.elapsed(), fault.retry_after())
        }
        SessionEnd::Attach(AttachError::Cut { .. }) | SessionEnd::Silent if begun => Some(BROKEN),
        SessionEnd::Attach(AttachError::Cut { .. }) | SessionEnd::Silent => tries.after_failure(begin.elapsed(), None),
        SessionEnd::Attach(_) => None,
    }
}

impl SessionEnd {
    fn into_fault(self, begun: bool) -> Fault {
        match self {
            Self::Attach(fault) => Fault::Attach { fault, begun },
            Self::Silent => Fault::NotReceived,
        }
    }
}
