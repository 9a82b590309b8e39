//! From a pod that exists to a worker that is over: three things at once, the pod's states, stdin, and the log.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use worknode_protocol::unit::{Detail, PodProblem, State};

use super::{
    Cluster,
    attach::{self, AttachError, Delivery, Payload, Target},
    client::{Api, ApiError},
    create,
    follower::{Stage, Worker},
    logs::{Log, LogError},
    outcome::{End, Judge, Sight},
    output::Output,
    pod::WORKER,
    position::Gap,
    record::{Journal, Record, Step},
    shim::{self, Shim},
    stamp::Stamp,
    view::Pod,
    watch::{Event, Watch},
};
use crate::runner::{Report, UnitContext};

/// How long a session may go on after the worker's end was seen.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// Pause before another attach where the kubelet had no container yet, or none any more.
const NO_CONTAINER: Duration = Duration::from_millis(200);

/// A unit whose pod exists.
pub(crate) struct Following<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) api: &'a Api,
    pub(crate) unit: &'a UnitContext,
    /// The pod as it was last seen.
    pub(crate) pod: &'a Pod,
    pub(crate) payload: Payload,
}

/// The unit's `stdout`, by what it is written from.
#[derive(Debug)]
pub(crate) enum Stdout {
    /// The container's log.
    Log(Output),
    /// What the helper in the pod keeps.
    Shim(shim::Stdout),
}

impl Stdout {
    /// Returns when no write is under way.
    pub(crate) async fn settle(&mut self) -> std::io::Result<()> {
        match self {
            Self::Log(output) => output.settle().await,
            Self::Shim(stdout) => stdout.settle().await,
        }
    }
}

/// A worker that is over, with all of its output on disk.
#[derive(Debug)]
pub(crate) struct Followed {
    /// How it ended.
    pub(crate) end: End,
    /// It was seen running.
    pub(crate) ran: bool,
    /// Containers of the pod.
    pub(crate) containers: usize,
    /// The cluster's node.
    node: String,
    /// What rotation took of the output.
    gaps: Vec<Gap>,
    /// Where the output ends that the helper could not hand over all of.
    cut: Option<u64>,
    /// The log did not agree with the output that was there.
    pub(crate) differs: bool,
}

/// Why a unit failed although its worker may go on.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) detail: Detail,
    /// The pod is to go: nothing good can come of it.
    pub(crate) delete: bool,
}

/// What the watcher saw.
struct Seen {
    end: End,
    ran: bool,
    containers: usize,
    node: String,
}

impl Followed {
    /// Writes the end down.
    pub(crate) fn note(&self, record: &mut Record) {
        record.ran = self.ran;
        record.node.clone_from(&self.node);
        record.gaps.extend_from_slice(&self.gaps);
        record.output_cut = self.cut;
        record.set_end(&self.end);
    }
}

impl Following<'_> {
    /// Follows the worker to its end.
    pub(crate) async fn to_the_end(&self, journal: &mut Journal, stdout: &mut Stdout) -> Result<Followed, Failure> {
        let (stage, stages) = watch::channel(Stage::Waiting);
        let (worker, seen) = watch::channel(Worker::default());
        let judge = Judge::new(journal.record().step >= Step::SendingStdin);
        let deadline = pending_deadline(journal.record());
        let watching = self.watch(judge, deadline, stage, worker);
        let (seen, gaps, cut, differs) = match stdout {
            Stdout::Log(output) => {
                let log = Log {
                    api: self.api,
                    namespace: &self.pod.metadata.namespace,
                    pod: &self.pod.metadata.name,
                    patience: self.cluster.patience(),
                };
                let followed = tokio::try_join!(watching, self.send_stdin(journal, stages), async {
                    log.follow(output, seen).await.map_err(|fault| self.log_failure(fault))
                },);
                let (seen, (), gaps) = followed?;
                (seen, gaps, None, output.differs())
            }
            Stdout::Shim(stdout) => {
                let (seen, ()) = tokio::try_join!(watching, self.through_shim(journal, stdout, stages))?;
                let cut = journal.record().job_code.is_none().then(|| stdout.length());
                (seen, Vec::new(), cut, false)
            }
        };
        let Seen { end, ran, containers, node } = seen;
        Ok(Followed { end, ran, containers, node, gaps, cut, differs })
    }

    async fn through_shim(
        &self,
        journal: &mut Journal,
        stdout: &mut shim::Stdout,
        stages: watch::Receiver<Stage>,
    ) -> Result<(), Failure> {
        let shim = Shim {
            target: self.target(true),
            payload: &self.payload,
            patience: self.cluster.patience(),
            reporter: &self.unit.reporter,
        };
        match shim.follow(journal, stdout, stages).await {
            Ok(()) => Ok(()),
            Err(shim::Fault::Attach(fault)) => Err(self.stdin_failure(journal, fault).await),
            Err(shim::Fault::NotReceived) => {
                let words = "the shim could not be received or run: it takes sh, head and chmod in the worker's image, \
                             and a node of the daemon's kind of processor";
                let words = words.to_owned();
                Err(Failure { detail: Detail::ErrorStreamingStdin { pod: self.path(), message: words }, delete: true })
            }
            Err(shim::Fault::Lost(at)) => Err(Failure { detail: Detail::OutputCut(at), delete: true }),
            Err(shim::Fault::Output(fault)) => {
                Err(Failure { detail: Detail::PodStdout(fault.to_string()), delete: false })
            }
            Err(shim::Fault::Payload(fault)) => {
                Err(Failure { detail: Detail::ErrorReadingStdin(fault.to_string()), delete: true })
            }
            Err(shim::Fault::Record(fault)) => Err(not_noted(&fault)),
        }
    }

    fn target(&self, output: bool) -> Target<'_> {
        let metadata = &self.pod.metadata;
        Target { api: self.api, namespace: &metadata.namespace, pod: &metadata.name, output }
    }

    fn path(&self) -> String {
        self.pod.path()
    }

    fn log_failure(&self, fault: LogError) -> Failure {
        let detail = match fault {
            LogError::Api(fault) => Detail::ErrorOpeningLogStream { pod: self.path(), message: fault.to_string() },
            LogError::Output(fault) => Detail::PodStdout(fault.to_string()),
        };
        Failure { detail, delete: false }
    }

    /// Tells the others how far the worker is, until it is over.
    async fn watch(
        &self,
        mut judge: Judge,
        deadline: Option<Instant>,
        stage: watch::Sender<Stage>,
        worker: watch::Sender<Worker>,
    ) -> Result<Seen, Failure> {
        let mut watch = Watch::from(self.api, self.pod, self.cluster.patience());
        let mut pod = Arc::new(self.pod.clone());
        let mut words = None;
        let end = loop {
            match judge.look(&pod) {
                Sight::Over(end) => break end,
                Sight::Running => {
                    stage.send_if_modified(|stage| std::mem::replace(stage, Stage::Running) != Stage::Running);
                    worker.send_if_modified(|worker| change(worker, &pod, Stage::Running));
                }
                Sight::Waiting(unschedulable) => self.tell_waiting(&mut words, unschedulable).await,
            }
            let waiting = deadline.filter(|_| !judge.ran());
            let event = tokio::select! {
                event = watch.next() => event,
                () = at(waiting) => break End::NotStarted(PodProblem::TimedOut),
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
        Failure { detail, delete: false }
    }

    /// Shows the scheduler's words, or that there are none any more.
    async fn tell_waiting(&self, shown: &mut Option<String>, words: Option<String>) {
        if *shown == words {
            return;
        }
        shown.clone_from(&words);
        let detail = words.map_or(Detail::PodCreated, Detail::PodUnschedulable);
        self.unit.reporter.report(Report { detail: Some(detail), ..Report::default() }).await;
    }

    /// Sends the payload once the worker runs. A worker that is over before has no use for it.
    async fn send_stdin(&self, journal: &mut Journal, mut stage: watch::Receiver<Stage>) -> Result<(), Failure> {
        // Fails when the watcher has failed: then this is dropped, too.
        let _ = stage.wait_for(|stage| *stage >= Stage::Running).await;
        if journal.record().step < Step::StdinSent && *stage.borrow() == Stage::Running {
            let sending =
                Report { state: Some(State::Pending), detail: Some(Detail::SendingStdinToPod), extra_data: None };
            self.unit.reporter.report(sending).await;
            self.attach(journal, &mut stage).await?;
            note(journal, |record| record.step = Step::StdinSent).await?;
        }
        if *stage.borrow() == Stage::NotStarted {
            return Ok(());
        }
        let running = Report { state: Some(State::Running), detail: Some(Detail::PodRunning), extra_data: None };
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
            () = over => Ok(Delivery::Unread),
        }
    }

    async fn stdin_failure(&self, journal: &mut Journal, fault: AttachError) -> Failure {
        let detail = match fault {
            // With the helper it may break as often as it likes, within the patience.
            AttachError::Cut { message, .. } if journal.record().shim => {
                Detail::ErrorStreamingStdin { pod: self.path(), message }
            }
            AttachError::Cut { sent, message } => {
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
        Failure { detail, delete: true }
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

async fn note(journal: &mut Journal, change: impl FnOnce(&mut Record)) -> Result<(), Failure> {
    journal.note(change).await.map_err(|fault| not_noted(&fault))
}

fn not_noted(fault: &std::io::Error) -> Failure {
    Failure { detail: Detail::Internal(format!("{}: {fault}", super::record::FILE)), delete: true }
}

/// When the worker must run at the latest.
fn pending_deadline(record: &Record) -> Option<Instant> {
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
