//! From a pod that exists to a worker that is over: three things at once, the pod's states, stdin, and the log.
//!
//! | File | Holds |
//! |---|---|
//! | `watching` | the pod's states: what the others have to know, and the detail's words while it waits |
//! | `stdin` | attach after attach, until the payload was handed over or cannot be |

mod stdin;
mod watching;

use tokio::sync::{oneshot, watch};
use worknode_protocol::{
    config::model::PodStderr,
    unit::{Detail, State},
};

use super::{
    Cluster,
    attach::{Payload, Target},
    attached::{Attached, Heard, Stderr},
    client::Api,
    follower::{Stage, Worker},
    logs::{Log, LogError},
    outcome::{End, Judge},
    output::Output,
    position::Gap,
    record::{Journal, Record, Step},
    shim::{self, Shim},
    tcp::{self, Dialed, TcpError},
    view::Pod,
};
use crate::runner::{Report, UnitContext};

/// A unit whose pod exists.
pub(crate) struct Following<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) api: &'a Api,
    pub(crate) unit: &'a UnitContext,
    /// The pod as it was last seen.
    pub(crate) pod: &'a Pod,
    pub(crate) payload: Payload,
    /// Where standard error goes; none: into the output.
    pub(crate) stderr: Option<Stderr>,
    /// Where the pod dials, with `streammethod: tcp`.
    pub(crate) dialed: Option<Dialed>,
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
    /// True if nothing was ever written.
    pub(crate) async fn is_empty(&mut self) -> bool {
        self.settle().await.is_ok()
            && match self {
                Self::Log(output) => output.length() == 0,
                Self::Shim(stdout) => stdout.length() == 0,
            }
    }

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
    /// The worker has got nothing of its payload: another pod may be tried in its place.
    pub(crate) unread: bool,
}

impl Failure {
    fn new(detail: Detail, delete: bool) -> Self {
        Self { detail, delete, unread: false }
    }
}

/// Where the output comes from.
struct Source {
    /// An attach first; told when stdin may be sent.
    attached: Option<oneshot::Sender<()>>,
    stages: watch::Receiver<Stage>,
    worker: watch::Receiver<Worker>,
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
        let deadline = watching::pending_deadline(journal.record());
        let watching = self.watch(judge, deadline, stage, worker);
        let (seen, gaps, cut, differs) = match stdout {
            Stdout::Log(output) if let Some(dialed) = &self.dialed => {
                let talking = self.through_tcp(journal, output, dialed, stages);
                let (seen, ()) = tokio::try_join!(watching, talking)?;
                (seen, Vec::new(), None, false)
            }
            Stdout::Log(output) => {
                // What an earlier daemon attached to is taken up from the log, where that has all of it.
                let attached =
                    journal.record().attached && (journal.record().step <= Step::Created || self.stderr.is_some());
                let (ready, may_send) = oneshot::channel();
                let source = Source { attached: attached.then_some(ready), stages: stages.clone(), worker: seen };
                let sending = async {
                    if attached {
                        // Fails when there is no such attach.
                        let _ = may_send.await;
                    }
                    self.send_stdin(journal, stages).await
                };
                let (seen, (), (gaps, missed)) =
                    tokio::try_join!(watching, sending, self.follow_output(output, source))?;
                (seen, gaps, None, missed || output.differs())
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

    /// Appends the worker's output. Answers what rotation took of it, and whether more may be missing.
    async fn follow_output(&self, output: &mut Output, source: Source) -> Result<(Vec<Gap>, bool), Failure> {
        if let Some(ready) = source.attached {
            let attached = Attached { target: self.target(false), stderr: self.stderr.as_ref() };
            let heard = attached.follow(output, source.stages, ready).await;
            let why = match heard.map_err(|fault| self.log_failure(fault.into()))? {
                Heard::All => return Ok((Vec::new(), false)),
                Heard::Missed => return Ok((Vec::new(), true)),
                Heard::Log(why) => why,
            };
            if self.cluster.kind.operation.stderr == PodStderr::Separate {
                let message = format!("stderr cannot be separated with streammethod attach on this cluster: {why}");
                return Err(Failure::new(Detail::ErrorOpeningLogStream { pod: self.path(), message }, true));
            }
            tracing::info!(pod = self.path(), why, "the output is taken from the log");
            output.go_back_to_log().await.map_err(|fault| self.log_failure(fault.into()))?;
        }
        let log = Log {
            api: self.api,
            namespace: &self.pod.metadata.namespace,
            pod: &self.pod.metadata.name,
            patience: self.cluster.patience(),
        };
        let gaps = log.follow(output, source.worker).await.map_err(|fault| self.log_failure(fault))?;
        Ok((gaps, false))
    }

    async fn through_tcp(
        &self,
        journal: &mut Journal,
        output: &mut Output,
        dialed: &Dialed,
        stages: watch::Receiver<Stage>,
    ) -> Result<(), Failure> {
        let never = async {
            let mut stages = stages.clone();
            if stages.wait_for(|stage| *stage == Stage::NotStarted).await.is_err() {
                // It is over otherwise.
                std::future::pending::<()>().await;
            }
        };
        let stream = tokio::select! {
            accepted = dialed.accept(self.api, self.pod, stages.clone()) => accepted.map_err(|fault| self.tcp_failure(fault))?,
            () = never => return Ok(()),
        };
        self.report(State::Pending, Detail::SendingStdinToPod).await;
        note(journal, |record| record.step = Step::SendingStdin).await?;
        let (from_pod, to_pod) = stream.into_split();
        let sending = async {
            let to_pod = tcp::send(to_pod, &self.payload).await.map_err(|fault| self.tcp_failure(fault))?;
            note(journal, |record| record.step = Step::StdinSent).await?;
            self.report(State::Running, Detail::PodRunning).await;
            Ok(to_pod)
        };
        let receiving = async { tcp::receive(from_pod, output, stages).await.map_err(|fault| self.tcp_failure(fault)) };
        tokio::try_join!(sending, receiving).map(drop)
    }

    fn tcp_failure(&self, fault: TcpError) -> Failure {
        let total = self.payload.length();
        let detail = match fault {
            TcpError::Accept(words) => Detail::ErrorAccepting(words),
            TcpError::Send { sent, message } if sent < total => {
                tracing::warn!(pod = self.path(), error = message, "stdin was cut");
                Detail::StdinCut { sent, total }
            }
            TcpError::Send { message, .. } => Detail::ErrorSendingStdin(message),
            TcpError::Payload(fault) => Detail::ErrorReadingStdin(fault.to_string()),
            TcpError::Receive(words) => Detail::ErrorReadingPodStdout(words),
            TcpError::Output(fault) => Detail::PodStdout(fault.to_string()),
        };
        Failure::new(detail, true)
    }

    async fn report(&self, state: State, detail: Detail) {
        let report = Report { state: Some(state), detail: Some(detail), ..Report::default() };
        self.unit.reporter.report(report).await;
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
            Err(shim::Fault::Attach { fault, begun }) => {
                let failure = self.stdin_failure(journal, fault).await;
                Err(Failure { unread: !begun, ..failure })
            }
            Err(shim::Fault::NotReceived) => {
                let words = "the shim could not be received or run: it takes sh, head and chmod in the worker's image, \
                             and a node of the daemon's kind of processor";
                let words = words.to_owned();
                Err(Failure::new(Detail::ErrorStreamingStdin { pod: self.path(), message: words }, true))
            }
            Err(shim::Fault::Lost(at)) => Err(Failure::new(Detail::OutputCut(at), true)),
            Err(shim::Fault::Output(fault)) => Err(Failure::new(Detail::PodStdout(fault.to_string()), false)),
            Err(shim::Fault::Payload(fault)) => Err(Failure::new(Detail::ErrorReadingStdin(fault.to_string()), true)),
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
        Failure::new(detail, false)
    }
}

async fn note(journal: &mut Journal, change: impl FnOnce(&mut Record)) -> Result<(), Failure> {
    journal.note(change).await.map_err(|fault| not_noted(&fault))
}

fn not_noted(fault: &std::io::Error) -> Failure {
    Failure::new(Detail::Internal(format!("{}: {fault}", super::record::FILE)), true)
}
